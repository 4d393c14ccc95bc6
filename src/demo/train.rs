//! Trains tiny Llamas on the CPU: a forward pass through which candle can differentiate, and `AdamW`.
//!
//! Only here does the demonstration use candle; weights go in and come out as plain numbers.

use std::{collections::BTreeMap, f64::consts::PI};

use candle_core::{D, DType, Device, Result, Tensor, Var, backprop::GradStore};
use rayon::prelude::*;

use super::weights::{Array, BEGIN, EPSILON, HEAD, HEADS, INTERMEDIATE, KV_HEADS, LAYERS, Random, THETA, Weights};

/// Rank of the adapters.
pub(super) const RANK: usize = 8;
/// What an adapter's product is multiplied by, times the rank.
pub(super) const ALPHA: usize = 16;
/// The modules that adapters adapt.
pub(super) const ADAPTED: [&str; 4] = ["q_proj", "k_proj", "v_proj", "o_proj"];

/// Tokens of a training sequence.
const LENGTH: usize = 60;
/// Sequences that are computed together: so few that candle does each operation on one thread.
const BATCH: usize = 4;
/// Batches of a step, each on a thread of its own where there are so many. Not more of them: candle asks the system
/// for the number of cores at each matrix product, which is not free.
const BATCHES: usize = 2;
/// Rows of logits that are computed together, for the same reason as sequences.
const ROWS: usize = 128;
/// Share of the target that is spread over all tokens: a model that has seen little shall not be too sure.
const SMOOTHING: f64 = 0.05;
const DEVICE: Device = Device::Cpu;

/// How to train.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Number of steps.
    pub(super) steps: usize,
    /// Largest learning rate.
    pub(super) rate: f64,
    /// Seed of the order of the texts.
    pub(super) seed: u64,
}

impl From<candle_core::Error> for super::Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Compute(error.to_string())
    }
}

type Tensors = BTreeMap<String, Tensor>;
type Vars = BTreeMap<String, Var>;

/// Trains all weights; `progress` hears the steps done.
pub(super) fn full(
    start: &Weights,
    documents: &[Vec<u32>],
    course: Course,
    progress: &mut dyn FnMut(usize),
) -> Result<Weights> {
    let vars = variables(start)?;
    let network = Network { weights: tensors_of(&vars), tables: Tables::new(LENGTH)? };
    train(&network, &vars, documents, course, progress)?;
    to_weights(&vars)
}

/// Trains an adapter beside weights that stay as they are, and returns it under the names that PEFT gives.
pub(super) fn adapter(
    base: &Weights,
    documents: &[Vec<u32>],
    course: Course,
    progress: &mut dyn FnMut(usize),
) -> Result<Weights> {
    let vars = variables(&fresh_adapter(base, course.seed))?;
    let mut weights = tensors(base)?;
    weights.extend(tensors_of(&vars));
    let network = Network { weights, tables: Tables::new(LENGTH)? };
    train(&network, &vars, documents, course, progress)?;
    let trained = to_weights(&vars)?;
    Ok(trained.into_iter().map(|(name, array)| (format!("base_model.model.{name}"), array)).collect())
}

/// Returns the mean surprise in nats a token over documents, each read by itself.
#[cfg(test)]
pub(super) fn surprise(weights: &Weights, documents: &[Vec<u32>]) -> Result<f32> {
    let context = super::weights::CONTEXT;
    let network = Network { weights: tensors(weights)?, tables: Tables::new(context)? };
    let (mut sum, mut count) = (0.0, 0.0);
    for document in documents {
        let read = &document[..document.len().min(context)];
        let ids = Tensor::new(read, &DEVICE)?.unsqueeze(0)?;
        sum += loss(&network, &ids, 0.0)?.to_scalar::<f32>()?;
        count += 1.0;
    }
    Ok(sum / count)
}

/// An adapter that changes nothing yet: `A` at random, `B` zero.
fn fresh_adapter(base: &Weights, seed: u64) -> Weights {
    let mut numbers = Random::new(seed);
    let mut adapter = Weights::new();
    for (name, array) in base {
        let Some(module) = name.strip_suffix(".weight").filter(|name| ADAPTED.iter().any(|end| name.ends_with(end)))
        else {
            continue;
        };
        let (rows, columns) = (array.shape[0], array.shape[1]);
        let values = (0..RANK * columns).map(|_| 0.1 * numbers.normal()).collect();
        adapter.insert(format!("{module}.lora_A.weight"), Array { shape: vec![RANK, columns], values });
        let values = vec![0.0; rows * RANK];
        adapter.insert(format!("{module}.lora_B.weight"), Array { shape: vec![rows, RANK], values });
    }
    adapter
}

fn train(
    network: &Network,
    vars: &Vars,
    documents: &[Vec<u32>],
    course: Course,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let mut numbers = Random::new(course.seed);
    let mut optimizer = AdamW::new(vars)?;
    for step in 0..course.steps {
        let batches: Vec<Vec<u32>> = (0..BATCHES).map(|_| batch(documents, &mut numbers)).collect();
        let gradients = batches.into_par_iter().map(|ids| gradients(network, ids)).collect::<Result<Vec<_>>>()?;
        optimizer.step(vars, &gradients, rate(course, step))?;
        progress(step + 1);
    }
    Ok(())
}

fn batch(documents: &[Vec<u32>], numbers: &mut Random) -> Vec<u32> {
    (0..BATCH).flat_map(|_| sequence(documents, numbers)).collect()
}

fn gradients(network: &Network, ids: Vec<u32>) -> Result<GradStore> {
    let ids = Tensor::from_vec(ids, (BATCH, LENGTH), &DEVICE)?;
    loss(network, &ids, SMOOTHING)?.backward()
}

/// Rises over the first tenth of the steps, then falls to a twentieth along a cosine.
#[expect(clippy::cast_precision_loss, reason = "steps are few")]
fn rate(course: Course, step: usize) -> f64 {
    let done = (step as f64 + 0.5) / course.steps as f64;
    if done < 0.1 {
        return course.rate * done / 0.1;
    }
    let fall = f64::midpoint(1.0, (PI * (done - 0.1) / 0.9).cos());
    course.rate * (0.05 + 0.95 * fall)
}

/// Returns a training sequence: a document from its beginning or from anywhere, then others until it is long enough.
fn sequence(documents: &[Vec<u32>], numbers: &mut Random) -> Vec<u32> {
    let mut ids = Vec::with_capacity(2 * LENGTH);
    while ids.len() < LENGTH {
        let document = documents.get(numbers.below(documents.len())).map_or(&[BEGIN][..], Vec::as_slice);
        let from_beginning = !ids.is_empty() || numbers.below(2) == 0;
        let start = if from_beginning { 0 } else { numbers.below(document.len()) };
        ids.extend_from_slice(&document[start..]);
    }
    ids.truncate(LENGTH);
    ids
}

/// The mean cross-entropy of each token given those before it.
fn loss(network: &Network, ids: &Tensor, smoothing: f64) -> Result<Tensor> {
    let (batch, length) = ids.dims2()?;
    let count = batch * (length - 1);
    let hidden = network.hidden(&ids.narrow(1, 0, length - 1)?.contiguous()?)?;
    let targets = ids.narrow(1, 1, length - 1)?.contiguous()?.reshape((count, 1))?;
    let mut sum = Tensor::zeros((), DType::F32, &DEVICE)?;
    for start in (0..count).step_by(ROWS) {
        let rows = ROWS.min(count - start);
        let logits = network.linear(&hidden.narrow(0, start, rows)?, "lm_head")?;
        sum = (sum + losses(&logits, &targets.narrow(0, start, rows)?, smoothing)?)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "tokens of a batch are few")]
    let count = count as f64;
    sum / count
}

/// The sum of the cross-entropies of rows of logits.
fn losses(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let normalizer = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let hit = (&normalizer - shifted.gather(targets, D::Minus1)?)?.sum_all()?;
    if smoothing == 0.0 {
        return Ok(hit);
    }
    let spread = (normalizer - shifted.mean_keepdim(D::Minus1)?)?.sum_all()?;
    (hit * (1.0 - smoothing))? + (spread * smoothing)?
}

/// What does not depend on the weights.
struct Tables {
    cos: Tensor,
    sin: Tensor,
    /// 0 where a position may look, low where it may not: low enough to count for nothing, not so low that the
    /// exponential underflows, which is slow.
    mask: Tensor,
}

impl Tables {
    #[expect(clippy::cast_precision_loss, reason = "positions and widths are small")]
    fn new(length: usize) -> Result<Self> {
        let angle = |position: usize, place: usize| {
            let exponent = 2.0 * (place % (HEAD / 2)) as f32 / HEAD as f32;
            position as f32 / THETA.powf(exponent)
        };
        let angles: Vec<f32> = (0..length).flat_map(|at| (0..HEAD).map(move |place| angle(at, place))).collect();
        let angles = Tensor::from_vec(angles, (length, HEAD), &DEVICE)?;
        let hidden = |query: usize, key: usize| if key > query { -50.0_f32 } else { 0.0 };
        let mask: Vec<f32> = (0..length).flat_map(|query| (0..length).map(move |key| hidden(query, key))).collect();
        let mask = Tensor::from_vec(mask, (length, length), &DEVICE)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, mask })
    }

    /// Turns the last dimension of `[…, length, head]` as transformers does: the first half against the second.
    fn rotate(&self, x: &Tensor, length: usize) -> Result<Tensor> {
        let half = HEAD / 2;
        let turned = Tensor::cat(&[x.narrow(D::Minus1, half, half)?.neg()?, x.narrow(D::Minus1, 0, half)?], D::Minus1)?;
        let cos = self.cos.narrow(0, 0, length)?;
        let sin = self.sin.narrow(0, 0, length)?;
        x.broadcast_mul(&cos)? + turned.broadcast_mul(&sin)?
    }
}

/// A Llama, with adapters where there are any among the weights.
struct Network {
    weights: Tensors,
    tables: Tables,
}

impl Network {
    /// Returns what the last layer says of each token of `[batch, length]`, one row each, ready for the head.
    fn hidden(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        let mut x = self.get("model.embed_tokens.weight")?.index_select(&ids.flatten_all()?, 0)?;
        for layer in 0..LAYERS {
            let at = format!("model.layers.{layer}");
            let normed = self.norm(&x, &format!("{at}.input_layernorm"))?;
            x = (x + self.attention(&normed, &format!("{at}.self_attn"), batch, length)?)?;
            let normed = self.norm(&x, &format!("{at}.post_attention_layernorm"))?;
            x = (x + self.feed_forward(&normed, &format!("{at}.mlp"))?)?;
        }
        self.norm(&x, "model.norm")
    }

    fn get(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).ok_or_else(|| candle_core::Error::Msg(format!("tensor `{name}` is missing")))
    }

    fn linear(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let y = x.matmul(&self.get(&format!("{module}.weight"))?.t()?)?;
        let Some(a) = self.weights.get(&format!("{module}.lora_A.weight")) else { return Ok(y) };
        let b = self.get(&format!("{module}.lora_B.weight"))?;
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let scale = ALPHA as f64 / RANK as f64;
        y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * scale)?
    }

    fn norm(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let size = (x.sqr()?.mean_keepdim(D::Minus1)? + EPSILON)?.sqrt()?;
        x.broadcast_div(&size)?.broadcast_mul(self.get(&format!("{module}.weight"))?)
    }

    fn feed_forward(&self, x: &Tensor, at: &str) -> Result<Tensor> {
        let gate = self.linear(x, &format!("{at}.gate_proj"))?.silu()?;
        let up = self.linear(x, &format!("{at}.up_proj"))?;
        debug_assert_eq!(up.dim(D::Minus1)?, INTERMEDIATE);
        self.linear(&(gate * up)?, &format!("{at}.down_proj"))
    }

    /// Several query heads share a key head: they are put below one another, so that one product serves the group.
    fn attention(&self, x: &Tensor, at: &str, batch: usize, length: usize) -> Result<Tensor> {
        let group = HEADS / KV_HEADS;
        let grouped = (batch, KV_HEADS, group, length, HEAD);
        let q = self.linear(x, &format!("{at}.q_proj"))?.reshape((batch, length, KV_HEADS, group, HEAD))?;
        let q = self.tables.rotate(&q.permute((0, 2, 3, 1, 4))?.contiguous()?, length)?;
        let q = q.reshape((batch, KV_HEADS, group * length, HEAD))?;
        let key_heads = |x: Tensor| x.reshape((batch, length, KV_HEADS, HEAD))?.transpose(1, 2)?.contiguous();
        let k = self.tables.rotate(&key_heads(self.linear(x, &format!("{at}.k_proj"))?)?, length)?;
        let v = key_heads(self.linear(x, &format!("{at}.v_proj"))?)?;
        #[expect(clippy::cast_precision_loss, reason = "a head is small")]
        let scale = 1.0 / (HEAD as f64).sqrt();
        let scores = (q * scale)?.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        let mask = self.tables.mask.narrow(0, 0, length)?.narrow(1, 0, length)?.contiguous()?;
        let scores = scores.reshape((batch, KV_HEADS, group, length, length))?.broadcast_add(&mask)?;
        let highest = scores.detach().max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&highest)?.exp()?.reshape((batch, KV_HEADS, group * length, length))?;
        // Softmax divides by the sum; there is less to divide after the product than before.
        let mixed = weights.matmul(&v)?.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let mixed = mixed.reshape(grouped)?.permute((0, 3, 1, 2, 4))?;
        self.linear(&mixed.contiguous()?.reshape((batch * length, HEADS * HEAD))?, &format!("{at}.o_proj"))
    }
}

/// Adam with decoupled weight decay (<https://arxiv.org/abs/1711.05101>).
struct AdamW {
    moments: BTreeMap<String, (Tensor, Tensor)>,
    /// The decays of both moments, multiplied up: their share of zeros from the beginning.
    remaining: (f64, f64),
}

impl AdamW {
    const FIRST: f64 = 0.9;
    const SECOND: f64 = 0.98;
    const DECAY: f64 = 0.05;

    fn new(vars: &Vars) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, var) in vars {
            moments.insert(name.clone(), (var.zeros_like()?, var.zeros_like()?));
        }
        Ok(Self { moments, remaining: (1.0, 1.0) })
    }

    fn step(&mut self, vars: &Vars, gradients: &[GradStore], rate: f64) -> Result<()> {
        self.remaining = (self.remaining.0 * Self::FIRST, self.remaining.1 * Self::SECOND);
        for (name, var) in vars {
            let (Some(gradient), Some((first, second))) = (mean_of(gradients, var)?, self.moments.get_mut(name)) else {
                continue;
            };
            *first = ((&*first * Self::FIRST)? + (&gradient * (1.0 - Self::FIRST))?)?;
            *second = ((&*second * Self::SECOND)? + (gradient.sqr()? * (1.0 - Self::SECOND))?)?;
            let mean = (&*first / (1.0 - self.remaining.0))?;
            let size = ((&*second / (1.0 - self.remaining.1))?.sqrt()? + 1e-8)?;
            let is_norm = var.rank() == 1;
            let kept = if is_norm { 1.0 } else { 1.0 - rate * Self::DECAY };
            var.set(&((var.as_tensor() * kept)? - ((mean / size)? * rate)?)?)?;
        }
        Ok(())
    }
}

/// The mean of a variable's gradients, always summed in the same order.
#[expect(clippy::cast_precision_loss, reason = "batches are few")]
fn mean_of(gradients: &[GradStore], var: &Var) -> Result<Option<Tensor>> {
    let mut sum: Option<Tensor> = None;
    for gradient in gradients.iter().filter_map(|store| store.get(var)) {
        sum = Some(match sum {
            Some(sum) => (sum + gradient)?,
            None => gradient.clone(),
        });
    }
    sum.map(|sum| sum / gradients.len() as f64).transpose()
}

fn tensors(weights: &Weights) -> Result<Tensors> {
    let tensor = |array: &Array| Tensor::from_slice(&array.values, array.shape.as_slice(), &DEVICE);
    weights.iter().map(|(name, array)| Ok((name.clone(), tensor(array)?))).collect()
}

fn variables(weights: &Weights) -> Result<Vars> {
    tensors(weights)?.into_iter().map(|(name, tensor)| Ok((name, Var::from_tensor(&tensor)?))).collect()
}

fn tensors_of(vars: &Vars) -> Tensors {
    vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
}

fn to_weights(vars: &Vars) -> Result<Weights> {
    let array = |var: &Var| -> Result<Array> {
        let values = var.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Array { shape: var.dims().to_vec(), values })
    };
    vars.iter().map(|(name, var)| Ok((name.clone(), array(var)?))).collect()
}
