//! What a decision costs among many members of a family of large models.

use std::{collections::BTreeMap, time::Instant};

use half::bf16;
use herdbook::lineage::weights::{
    Fingerprint,
    family::{Seen, judge_all},
    herd::Herd,
    judge::judge,
    judgment::Tree,
    print::{Precision, RowPanel, TensorPrint, VERSION},
    sample::splitmix64,
    shape::Shape,
    slots::{Role, Slot},
};

use crate::support::{Times, Unit, print};

const LAYERS: u16 = 32;
const CANDIDATES: usize = 200;
/// Members of a herd that is judged whole.
const HERD: usize = 24;
const SAMPLES: usize = 3;

pub(super) fn run() -> anyhow::Result<()> {
    let prints: Vec<Fingerprint> = (0..=CANDIDATES as u64).map(fingerprint).collect();
    let mut tree = Tree::default();
    tree.roots.extend((0..=CANDIDATES).map(|member| (member, 0)));
    let candidates: Vec<usize> = (0..CANDIDATES).collect();
    let (mut one, mut all) = (Times::default(), Times::default());
    for _ in 0..SAMPLES {
        // Nothing was compared before.
        let herd = Herd::new(prints.iter().collect());
        let started = Instant::now();
        judge(&herd, &tree, CANDIDATES, &candidates);
        one.push(started.elapsed());
        let herd = Herd::new(prints.iter().take(HERD).collect());
        all.take(|| Ok(judge_all(&herd, &[Seen::default(); HERD])))?;
    }
    print(&format!("decision with {CANDIDATES} candidates, {LAYERS} layers, one core"), &one, Unit::Milliseconds, &[]);
    print(&format!("judging {HERD} members of a herd, {LAYERS} layers"), &all, Unit::Milliseconds, &[]);
    Ok(())
}

/// A member of a family: all its weights a little off the others', a quarter of its embedding rows its own.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "noise")]
fn fingerprint(member: u64) -> Fingerprint {
    let value = |seed: u64| (splitmix64(seed) >> 40) as f32 / 16_777_216.0 - 0.5;
    let mut tensors = BTreeMap::new();
    for layer in 0..LAYERS {
        for (at, role) in (0..).zip(Role::MATRICES) {
            let first = (u64::from(layer) * 8 + at) << 20;
            let own = splitmix64(member + 99);
            let sample = (first..first + 1024).map(|i| 0.05_f32.mul_add(value(i ^ own), value(i)));
            let tensor = TensorPrint {
                rows: 4096,
                columns: 4096,
                precision: Precision::Bf16,
                exact: Some([member as u8; 16]),
                canonical: Some([member as u8; 16]),
                zeros: 0.0,
                distinct: 1.0,
                lattice: 0.25,
                sample: sample.map(|value| bf16::from_f32(value).to_f32()).collect(),
            };
            tensors.insert(Slot::at(role, layer), tensor);
        }
    }
    let is_own = |row: u64| splitmix64(member << 12 | row).is_multiple_of(4);
    let rows = (0..8192_u64).map(|i| if is_own(i / 8) { value(i ^ splitmix64(member)) } else { value(i) });
    let values = rows.map(|value| bf16::from_f32(value).to_f32()).collect();
    let shape = Shape {
        hidden: 4096,
        layers: LAYERS,
        feed_forward: 4096,
        vocabulary: 32_000,
        heads: 32,
        kv_heads: 32,
        head_dim: 128,
        ..Shape::default()
    };
    let panel = Some(RowPanel { precision: Precision::Bf16, vocabulary: 32_000, columns: 8, values });
    let (covered, skipped) = ((1, 1), Vec::new());
    Fingerprint { version: VERSION, shape, tensors, panel, invariant: None, covered, skipped }
}
