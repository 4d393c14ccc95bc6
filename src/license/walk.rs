//! The walk from a model up its ancestors, and where cycles of imported lineage are cut.
//!
//! Breadth first: the first path of a class to an ancestor is its shortest; among paths of one length the more certain
//! one wins, then the alphabet. The order in which models and links were given changes nothing.

use std::{cmp::Reverse, collections::HashMap};

use super::graph::{Certainty, Edge, Graph, Link};
use crate::lineage::Relation;

/// How an ancestor's terms reach a model; the weakest edge of a path decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mode {
    /// Its weights are in the model.
    Weights,
    /// The model is parameters beside it.
    Adapter,
    /// The model was trained on its outputs.
    Output,
    /// The model was trained on it.
    Data,
}

/// What was done to the ancestor's weights on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    /// Nothing.
    Copied,
    /// They are stored in another form.
    Reformatted,
    /// They were modified.
    Modified,
}

/// What rules ask of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class {
    /// The weakest of its edges.
    pub(super) mode: Mode,
    /// The gravest of its changes.
    pub(super) change: Change,
    /// Beyond the model whose outputs were used.
    pub(super) is_indirect: bool,
    /// An edge is only detected, does not say what was done, or is a difference of weights.
    pub(super) is_uncertain: bool,
    /// It leads through a release of a licensor, who may set other terms over what is its own.
    pub(super) is_released: bool,
}

impl Class {
    const START: Self = Self {
        mode: Mode::Weights,
        change: Change::Copied,
        is_indirect: false,
        is_uncertain: false,
        is_released: false,
    };

    /// The class after one more edge; `None`: nothing passes.
    fn then(self, edge: &Edge) -> Option<Self> {
        let is_uncertain = self.is_uncertain
            || edge.certainty == Certainty::Detected
            || matches!(edge.link, Link::Made(Relation::Unknown) | Link::WeightDiff);
        let change = self.change.max(change_of(edge.link));
        let (mode, is_indirect) = match edge.link {
            Link::Architecture | Link::Tokenizer => return None,
            // Outputs of what made the outputs, and data behind a teacher, are one step further than a text speaks of.
            Link::Made(Relation::Distill) | Link::GeneratedBy => {
                (Mode::Output, self.mode == Mode::Output || self.is_indirect)
            }
            Link::TrainedOn => (Mode::Data, self.mode == Mode::Output || self.is_indirect),
            Link::Made(Relation::Adapter) => {
                (self.mode.max(Mode::Adapter), self.mode == Mode::Output || self.is_indirect)
            }
            Link::Made(_) | Link::AdapterMerged | Link::WeightDiff => {
                (self.mode, self.mode == Mode::Output || self.is_indirect)
            }
        };
        Some(Self { mode, change, is_indirect, is_uncertain, ..self })
    }

    /// A bit per class.
    fn bit(self) -> u128 {
        let flags = [self.is_indirect, self.is_uncertain, self.is_released];
        let number =
            flags.iter().fold(self.mode as u32 * 3 + self.change as u32, |number, flag| number * 2 + u32::from(*flag));
        1 << number
    }
}

fn change_of(link: Link) -> Change {
    match link {
        Link::Made(Relation::Copy) => Change::Copied,
        Link::Made(Relation::Quantized) => Change::Reformatted,
        _ => Change::Modified,
    }
}

/// One step of the walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    /// The model.
    pub(super) model: usize,
    /// The class of the path up to it.
    pub(super) class: Class,
    /// The step before; the start names itself.
    pub(super) before: usize,
    /// Number of edges up to it.
    pub(super) depth: usize,
    /// The last edge.
    pub(super) link: Link,
    /// Certainty of the last edge.
    pub(super) certainty: Certainty,
    /// The least certain edge up to it.
    least: Certainty,
}

impl Visit {
    /// The least certain edge up to it.
    pub(super) fn least(&self) -> Certainty {
        self.least
    }
}

/// Beyond so many steps the nearest ancestors must do: no lineage of real models comes near.
const MAX_VISITS: usize = 2_000;

/// What stands above a model: the steps in the order of their paths, the model itself first.
#[derive(Debug, Default)]
pub(super) struct Above {
    /// The steps.
    pub(super) visits: Vec<Visit>,
}

impl Above {
    /// The models from the first to this step's.
    pub(super) fn path(&self, visit: usize) -> Vec<usize> {
        let mut path: Vec<usize> = self.steps(visit).map(|step| step.model).collect();
        path.reverse();
        path
    }

    /// The steps from this one back to the first.
    pub(super) fn steps(&self, visit: usize) -> impl Iterator<Item = &Visit> {
        let mut next = Some(visit);
        std::iter::from_fn(move || {
            let at = next?;
            let step = &self.visits[at];
            next = (step.depth > 0).then_some(step.before);
            Some(step)
        })
    }
}

/// Lineage prepared for walks: links sorted by name, cycles cut.
#[derive(Debug)]
pub(super) struct Ways {
    /// For each model its place in the alphabet.
    rank: Vec<usize>,
    /// Whether a model stands where a licensor publishes.
    is_release: Vec<bool>,
    /// Links that pass something, without cut ones.
    edges: Vec<Vec<Edge>>,
    /// For each model the first member, in the alphabet, of its cycle.
    pub(super) cycle_of: HashMap<usize, usize>,
    /// Of each circle, by its first member, the first link that was cut, from child to parent.
    pub(super) cut: HashMap<usize, (usize, usize)>,
}

impl Ways {
    /// Sorts and cuts.
    pub(super) fn new(graph: &Graph, is_release: Vec<bool>) -> Self {
        let rank = rank(graph);
        let mut edges: Vec<Vec<Edge>> = Vec::with_capacity(graph.parents.len());
        for parents in &graph.parents {
            let mut kept: Vec<Edge> =
                parents.iter().filter(|edge| !edge.is_contradicted && !edge.link.carries_nothing()).copied().collect();
            if kept.len() > 1 {
                kept.sort_by_key(|edge| (rank[edge.parent], Reverse(edge.certainty), edge.link.as_str()));
                kept.dedup();
            }
            edges.push(kept);
        }
        edges.resize(graph.models.len(), Vec::new());
        let mut ways = Self { rank, is_release, edges, cycle_of: HashMap::new(), cut: HashMap::new() };
        ways.cut_cycles();
        ways
    }

    /// The place of a model in the alphabet.
    pub(super) fn rank(&self, model: usize) -> usize {
        self.rank[model]
    }

    /// Walks up from a model.
    pub(super) fn above(&self, model: usize) -> Above {
        let start = Visit {
            model,
            class: Class::START,
            before: 0,
            depth: 0,
            link: Link::Made(Relation::Copy),
            certainty: Certainty::Confirmed,
            least: Certainty::Confirmed,
        };
        let mut above = Above { visits: vec![start] };
        if self.edges[model].is_empty() {
            return above;
        }
        let mut seen: HashMap<usize, u128> = HashMap::new();
        let mut level = 0..1;
        while !level.is_empty() && above.visits.len() < MAX_VISITS {
            let mut next: Vec<Visit> = Vec::new();
            for before in level.clone() {
                let at = above.visits[before];
                let is_released = at.class.is_released || (at.depth > 0 && self.is_release[at.model]);
                let so_far = Class { is_released, ..at.class };
                for edge in &self.edges[at.model] {
                    let Some(class) = so_far.then(edge) else { continue };
                    let is_known = seen.get(&edge.parent).is_some_and(|classes| classes & class.bit() != 0);
                    if edge.parent == model || is_known {
                        continue;
                    }
                    next.push(Visit {
                        model: edge.parent,
                        class,
                        before,
                        depth: at.depth + 1,
                        link: edge.link,
                        certainty: edge.certainty,
                        least: at.least.min(edge.certainty),
                    });
                }
            }
            // `before` is in the order of paths within its level, so that it stands for the path.
            next.sort_by_key(|visit| {
                (visit.model, visit.class, Reverse(visit.least), visit.before, visit.link.as_str())
            });
            next.dedup_by_key(|visit| (visit.model, visit.class));
            next.sort_by_key(|visit| (visit.before, self.rank[visit.model], visit.class));
            for visit in &next {
                *seen.entry(visit.model).or_default() |= visit.class.bit();
            }
            level = above.visits.len()..above.visits.len() + next.len();
            above.visits.extend(next);
        }
        above
    }

    /// Cuts each cycle at its least certain link, then by name. Where cycles are entangled beyond a few dozen, the links
    /// that lead back are cut in the order of the alphabet, so that the effort stays linear.
    fn cut_cycles(&mut self) {
        const ROUNDS: usize = 32;
        const ENTANGLED: usize = 100;
        let all: Vec<usize> = (0..self.edges.len()).filter(|model| !self.edges[*model].is_empty()).collect();
        let mut candidates = all;
        for round in 0.. {
            let components = self.cycles(&candidates);
            if components.is_empty() {
                return;
            }
            if round == 0 {
                for members in &components {
                    let first = members.iter().copied().min_by_key(|member| self.rank[*member]).unwrap_or(members[0]);
                    self.cycle_of.extend(members.iter().map(|member| (*member, first)));
                }
            }
            for members in &components {
                let is_small = round < ROUNDS && members.len() <= ENTANGLED;
                if is_small { self.cut_weakest(members) } else { self.cut_back_links(members) }
            }
            candidates = components.into_iter().flatten().collect();
        }
    }

    fn cut_weakest(&mut self, members: &[usize]) {
        let inside: std::collections::HashSet<usize> = members.iter().copied().collect();
        let links = members.iter().flat_map(|child| {
            let is_inside = |edge: &&Edge| edge.link.is_lineage() && inside.contains(&edge.parent);
            self.edges[*child].iter().filter(is_inside).map(|edge| (*child, edge.parent, edge.certainty))
        });
        let weakest =
            links.min_by_key(|(child, parent, certainty)| (*certainty, self.rank[*child], self.rank[*parent]));
        if let Some((child, parent, _)) = weakest {
            self.cut_link(child, parent);
        }
    }

    /// In the order of the alphabet: a link to a member that comes later stays.
    fn cut_back_links(&mut self, members: &[usize]) {
        let inside: std::collections::HashSet<usize> = members.iter().copied().collect();
        for child in members {
            let backwards: Vec<usize> = self.edges[*child]
                .iter()
                .filter(|edge| edge.link.is_lineage() && inside.contains(&edge.parent))
                .filter(|edge| self.rank[edge.parent] <= self.rank[*child])
                .map(|edge| edge.parent)
                .collect();
            for parent in backwards {
                self.cut_link(*child, parent);
            }
        }
    }

    fn cut_link(&mut self, child: usize, parent: usize) {
        self.edges[child].retain(|edge| edge.parent != parent || !edge.link.is_lineage());
        if let Some(first) = self.cycle_of.get(&child) {
            let place = |(child, parent): (usize, usize)| (self.rank[child], self.rank[parent]);
            let link = self.cut.entry(*first).or_insert((child, parent));
            if place((child, parent)) < place(*link) {
                *link = (child, parent);
            }
        }
    }

    /// Strongly connected components of lineage with more than one member, or with a link to itself (Tarjan, without
    /// recursion), each sorted by name.
    fn cycles(&self, candidates: &[usize]) -> Vec<Vec<usize>> {
        let lineage =
            |model: usize| self.edges[model].iter().filter(|edge| edge.link.is_lineage()).map(|edge| edge.parent);
        let mut components = components(self.edges.len(), candidates, lineage);
        components.retain(|members| members.len() > 1 || lineage(members[0]).any(|parent| parent == members[0]));
        for members in &mut components {
            members.sort_by_key(|member| self.rank[*member]);
        }
        components
    }
}

/// Strongly connected components, the ancestors' first (Tarjan, without recursion).
pub(super) fn components<I: Iterator<Item = usize>>(
    count: usize,
    candidates: &[usize],
    next: impl Fn(usize) -> I,
) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let (mut index, mut low) = (vec![UNSEEN; count], vec![0; count]);
    let mut is_open = vec![false; count];
    let (mut open, mut found, mut counter) = (Vec::new(), Vec::new(), 0);
    let mut calls: Vec<(usize, I)> = Vec::new();
    for start in candidates.iter().copied() {
        if index[start] != UNSEEN {
            continue;
        }
        calls.push((start, next(start)));
        while let Some((at, rest)) = calls.last_mut() {
            let at = *at;
            if index[at] == UNSEEN {
                (index[at], low[at]) = (counter, counter);
                counter += 1;
                open.push(at);
                is_open[at] = true;
            }
            if let Some(parent) = rest.next() {
                if index[parent] == UNSEEN {
                    calls.push((parent, next(parent)));
                } else if is_open[parent] {
                    low[at] = low[at].min(index[parent]);
                }
                continue;
            }
            calls.pop();
            if let Some((child, _)) = calls.last() {
                low[*child] = low[*child].min(low[at]);
            }
            if low[at] == index[at] {
                let mut members = Vec::new();
                while let Some(member) = open.pop() {
                    is_open[member] = false;
                    members.push(member);
                    if member == at {
                        break;
                    }
                }
                found.push(members);
            }
        }
    }
    found
}

/// The place of each model in the alphabet, without case as names are compared; equal ones by their letters.
fn rank(graph: &Graph) -> Vec<usize> {
    let mut order: Vec<usize> = (0..graph.models.len()).collect();
    order.sort_by_cached_key(|model| {
        let id = &graph.models[*model].id;
        (id.to_lowercase(), id.clone())
    });
    let mut rank = vec![0; order.len()];
    for (place, model) in order.into_iter().enumerate() {
        rank[model] = place;
    }
    rank
}
