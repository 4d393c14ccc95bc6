//! What can be told without geometry: copies, rewritten copies, and models stacked from the layers of others.

use super::{
    herd::Herd,
    judgment::{Judgment, Kind},
    merge,
    order::repeats_layers,
    slots::Role,
};

pub(super) fn find_copy(herd: &Herd, x: usize, related: &[usize]) -> Option<Judgment> {
    let identical = related.iter().find(|c| herd.compare(x, **c).identical == 1.0 && same_but_width(herd, x, **c));
    if let Some(original) = identical {
        return Some(Judgment::new(vec![*original], Kind::Copy { how: "identical" }, "every tensor is identical"));
    }
    let cast = related.iter().find(|c| {
        let comparison = herd.compare(x, **c);
        comparison.in_place && herd.same_matrices(x, **c) && comparison.equal > 0.995
    })?;
    let reason = format!("{:.2} % of the values are equal after rounding", herd.compare(x, *cast).equal * 100.0);
    Some(Judgment::new(vec![*cast], Kind::Copy { how: "cast" }, reason))
}

fn same_but_width(herd: &Herd, a: usize, b: usize) -> bool {
    let (x, y) = (&herd.print(a).shape, &herd.print(b).shape);
    (x.layers, x.feed_forward, x.vocabulary) == (y.layers, y.feed_forward, y.vocabulary)
}

/// Finds the model that this one computes the same as, with other weights.
pub(super) fn find_rewritten(herd: &Herd, x: usize, related: &[usize], direct: &[usize]) -> Option<Judgment> {
    if direct.iter().any(|c| herd.compare(x, *c).aligned > 0.9) {
        return None;
    }
    let shape = &herd.print(x).shape;
    let scores: Vec<(usize, f64)> = related
        .iter()
        .filter(|c| {
            let other = &herd.print(**c).shape;
            (other.layers, other.feed_forward) == (shape.layers, shape.feed_forward)
        })
        .map(|c| (*c, herd.invariant(x, *c)))
        .collect();
    let top = scores.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
    // Among those that are equally alike: equal norms, then equal rows, then the earliest.
    let hundredths = |value: f64| (value * 100.0).round();
    let key = |c: usize| {
        let rows = f64::from(herd.equal_rows(x, c)) / 1024.0;
        (-hundredths(herd.compare(x, c).norm_equal), -hundredths(rows))
    };
    let near = scores.iter().filter(|(_, score)| *score >= top - 0.0015);
    let original = near.min_by(|(a, _), (b, _)| key(*a).partial_cmp(&key(*b)).unwrap_or(std::cmp::Ordering::Equal))?.0;
    let score = herd.invariant(x, original);
    (score > 0.95).then(|| {
        let reason = format!("its products of weights are those of the original ({score:.3})");
        Judgment::new(vec![original], Kind::Copy { how: "re-parameterized" }, reason)
    })
}

/// Finds the models whose layers, one by one, make up this one. `before` are those that can be ancestors by their
/// distance from the root; others can by their depth.
pub(super) fn find_stacked(
    herd: &Herd,
    x: usize,
    before: &[usize],
    direct: &[usize],
    nearest: usize,
) -> Option<Judgment> {
    let (print, comparison) = (herd.print(x), herd.compare(x, nearest));
    if print.shape.layers == herd.print(nearest).shape.layers && comparison.in_place {
        return None;
    }
    let is_layer = |i: u16, c: usize, j: u16| {
        let other = herd.print(c);
        let mut compared = 0;
        let same = Role::MATRICES.iter().all(|role| match (print.get(role.clone(), i), other.get(role.clone(), j)) {
            (Some(a), Some(b)) => {
                compared += 1;
                a.canonical.is_some() && a.canonical == b.canonical
            }
            (None, None) => true,
            _ => false,
        });
        same && compared > 0
    };
    let sources: Vec<Vec<usize>> = (0..print.shape.layers)
        .map(|i| {
            let has = |c: &&usize| {
                herd.print(**c).shape.vocabulary <= print.shape.vocabulary
                    && (repeats_layers(print) || !repeats_layers(herd.print(**c)))
                    && (0..herd.print(**c).shape.layers).any(|j| is_layer(i, **c, j))
            };
            direct.iter().filter(has).copied().collect()
        })
        .collect();
    if sources.is_empty() || sources.iter().any(Vec::is_empty) {
        return None;
    }
    let depth = |c: usize| herd.print(c).shape.layers;
    // A model that has a layer twice was made deeper; whoever has fewer of the same layers is its source.
    let may_be_source = |c: usize| {
        before.contains(&c)
            || match depth(c).cmp(&print.shape.layers) {
                std::cmp::Ordering::Less => repeats_layers(print),
                std::cmp::Ordering::Greater => !repeats_layers(herd.print(c)),
                std::cmp::Ordering::Equal => false,
            }
    };
    let is_one = |c: &&usize| may_be_source(**c) && sources.iter().all(|source| source.contains(c));
    if let Some(one) = direct.iter().find(is_one) {
        let kind = if print.shape.layers < herd.print(*one).shape.layers {
            Kind::Pruned { what: "layers" }
        } else {
            Kind::Extended { what: "layers" }
        };
        return Some(Judgment::new(vec![*one], kind, "every layer is one of the parent's"));
    }
    let mut names: Vec<usize> = sources.iter().flatten().copied().collect();
    names.sort_unstable();
    names.dedup();
    for size in [2, 3, 4] {
        for chosen in merge::combinations(names.len().min(merge::MOST), size) {
            let parents: Vec<usize> = chosen.iter().map(|i| names[*i]).collect();
            let is_whole = sources.iter().all(|source| parents.iter().any(|parent| source.contains(parent)));
            let is_made_of_them = parents.iter().all(|parent| depth(*parent) != print.shape.layers)
                || parents.iter().any(|parent| before.contains(parent));
            if is_whole && is_made_of_them {
                let kind = Kind::Merge { method: "passthrough", coefficients: Vec::new(), base: None };
                return Some(Judgment::new(parents, kind, "every layer is one of a parent's"));
            }
        }
    }
    None
}
