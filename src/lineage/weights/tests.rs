//! A model stays the same model however its files are written: under other names, in other files, orders and types.

use std::{io, ops::Range};

use half::{bf16, f16};
use proptest::prelude::*;

use super::{
    Fingerprint,
    full::{Full, compare_full},
    herd::{Herd, Tie},
    judge::judge,
    judgment::{Kind, Tree},
    make::{Model, Source, assemble, choose_rows, make},
    sample::splitmix64,
    tap::{Error, Tap},
};
use crate::formats::{config, gguf, safetensors};

const HIDDEN: u64 = 64;
const FEED: u64 = 96;
const VOCABULARY: u64 = 256;
const HEADS: u64 = 4;
const KV_HEADS: u64 = 2;
const LAYERS: u64 = 2;

#[derive(Clone)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    values: Vec<f32>,
}

/// A Llama of random weights under the names of transformers.
fn llama(seed: u64) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[u64]| {
        let start = splitmix64(seed << 20 | tensors.len() as u64);
        let noise = |at: u64| f32::from(u16::try_from(splitmix64(start ^ at) >> 48).unwrap()) / 65_536.0 - 0.5;
        let count: u64 = shape.iter().product();
        let values = (0..count).map(|at| noise(3 * at) * noise(3 * at + 1) + f32::from(u8::from(shape.len() == 1)));
        tensors.push(Tensor { name, shape: shape.to_vec(), values: values.collect() });
    };
    add("model.embed_tokens.weight".to_owned(), &[VOCABULARY, HIDDEN]);
    for layer in 0..LAYERS {
        let keys = HIDDEN / HEADS * KV_HEADS;
        for (name, shape) in [
            ("self_attn.q_proj", &[HIDDEN, HIDDEN][..]),
            ("self_attn.k_proj", &[keys, HIDDEN]),
            ("self_attn.v_proj", &[keys, HIDDEN]),
            ("self_attn.o_proj", &[HIDDEN, HIDDEN]),
            ("mlp.gate_proj", &[FEED, HIDDEN]),
            ("mlp.up_proj", &[FEED, HIDDEN]),
            ("mlp.down_proj", &[HIDDEN, FEED]),
            ("input_layernorm", &[HIDDEN]),
            ("post_attention_layernorm", &[HIDDEN]),
        ] {
            add(format!("model.layers.{layer}.{name}.weight"), shape);
        }
    }
    add("model.norm.weight".to_owned(), &[HIDDEN]);
    add("lm_head.weight".to_owned(), &[VOCABULARY, HIDDEN]);
    tensors
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    F32,
    F16,
    Bf16,
    Q8,
}

fn encode(values: &[f32], kind: Type) -> Vec<u8> {
    match kind {
        Type::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Type::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        Type::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
        Type::Q8 => values.chunks(32).flat_map(q8_block).collect(),
    }
}

/// A block of Q8_0: a scale and 32 eighths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "steps from -127 to 127")]
fn q8_block(block: &[f32]) -> Vec<u8> {
    let scale = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
    let steps = block.iter().map(|value| (value / scale).round() as i8 as u8);
    f16::from_f32(scale).to_le_bytes().into_iter().chain(steps).collect()
}

fn safetensors_file(tensors: &[Tensor], kind: Type) -> Vec<u8> {
    let dtype = ["F32", "F16", "BF16"][kind as usize];
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for tensor in tensors {
        let start = body.len();
        body.extend(encode(&tensor.values, kind));
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, body.len()]});
        header.insert(tensor.name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &body].concat()
}

/// Writes what llama.cpp's converter makes of a Llama: heads' halves interleaved, norms as f32.
fn gguf_file(tensors: &[Tensor], kind: Type) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(4_u64.to_le_bytes());
    file.extend([text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat());
    for (key, number) in
        [("embedding_length", HIDDEN), ("attention.head_count", HEADS), ("attention.head_count_kv", KV_HEADS)]
    {
        let number = u32::try_from(number).unwrap().to_le_bytes();
        file.extend([text(&format!("llama.{key}")), 4_u32.to_le_bytes().to_vec(), number.to_vec()].concat());
    }
    let mut body = Vec::new();
    for tensor in tensors {
        let kind = if tensor.shape.len() == 1 { Type::F32 } else { kind };
        let number = [0_u32, 1, 30, 8][kind as usize];
        file.extend(text(&renamed(&tensor.name, GGUF_NAMES)));
        file.extend(u32::try_from(tensor.shape.len()).unwrap().to_le_bytes());
        tensor.shape.iter().rev().for_each(|side| file.extend(side.to_le_bytes()));
        file.extend(number.to_le_bytes());
        file.extend((body.len() as u64).to_le_bytes());
        body.extend(encode(&interleaved(tensor).values, kind));
        body.resize(body.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    [file, body].concat()
}

/// Rows reordered from `[head, 2, half]` to `[head, half, 2]`, for queries and keys.
fn interleaved(tensor: &Tensor) -> Tensor {
    if !tensor.name.contains("q_proj") && !tensor.name.contains("k_proj") {
        return tensor.clone();
    }
    let width = usize::try_from(HIDDEN).unwrap();
    let rows: Vec<&[f32]> = tensor.values.chunks(width).collect();
    let half = usize::try_from(HIDDEN / HEADS / 2).unwrap();
    let of_head =
        |head: &[&[f32]]| -> Vec<f32> { (0..half).flat_map(|at| [head[at], head[half + at]].concat()).collect() };
    let values = rows.chunks(2 * half).flat_map(of_head).collect();
    Tensor { values, ..tensor.clone() }
}

const GGUF_NAMES: &[(&str, &str)] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers", "blk"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
];

const META_NAMES: &[(&str, &str)] = &[
    ("model.embed_tokens", "tok_embeddings"),
    ("model.norm", "norm"),
    ("lm_head", "output"),
    ("model.layers", "layers"),
    ("self_attn.q_proj", "attention.wq"),
    ("self_attn.k_proj", "attention.wk"),
    ("self_attn.v_proj", "attention.wv"),
    ("self_attn.o_proj", "attention.wo"),
    ("mlp.gate_proj", "feed_forward.w1"),
    ("mlp.up_proj", "feed_forward.w3"),
    ("mlp.down_proj", "feed_forward.w2"),
    ("input_layernorm", "attention_norm"),
    ("post_attention_layernorm", "ffn_norm"),
];

fn renamed(name: &str, names: &[(&str, &str)]) -> String {
    names.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

struct Memory(Vec<Vec<u8>>);

impl Source for Memory {
    fn read(&mut self, file: usize, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        self.0[file].get(start..end).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A model of these files.
fn model(files: &[Vec<u8>]) -> Model {
    let config = format!(
        r#"{{"architectures":["LlamaForCausalLM"],"hidden_size":{HIDDEN},"num_attention_heads":{HEADS},"num_key_value_heads":{KV_HEADS}}}"#
    );
    let mut model = Model { tokens: choose_rows(VOCABULARY), ..Model::default() };
    for file in files {
        let length = file.len() as u64;
        if file.starts_with(b"GGUF") {
            model.files.push(gguf::parse(file, length).unwrap().into());
            continue;
        }
        let end = 8 + usize::try_from(safetensors::header_length(file, length).unwrap()).unwrap();
        model.files.push(safetensors::parse(&file[8..end], length).unwrap().into());
        model.config = Some(config::parse(config.as_bytes()).unwrap());
    }
    model
}

/// The fingerprint of these files, which is the same whether they are read or pass by in pieces.
fn print(files: &[Vec<u8>], piece: usize) -> Fingerprint {
    let model = model(files);
    let mut prints = Vec::new();
    for (file, weights) in files.iter().zip(&model.files) {
        let length = file.len() as u64;
        let shape = model.shape_of(weights);
        let is_gguf = file.starts_with(b"GGUF");
        let mut tap = if is_gguf { Tap::gguf(length) } else { Tap::safetensors(length, Some(shape)) };
        file.chunks(piece).for_each(|piece| tap.push(piece));
        let print = tap.finish().unwrap();
        prints.push(Fingerprint::decode(&print.encode()).unwrap());
    }
    let mut source = Memory(files.to_vec());
    let whole = make(&model, &mut source, &mut |_| ()).unwrap();
    assert_eq!(assemble(prints, &model, &mut source).unwrap(), whole);
    assert_eq!(Fingerprint::decode(&whole.encode()).unwrap(), whole);
    assert!(whole.invariant.is_some() && whole.panel.is_some() && whole.skipped.is_empty());
    whole
}

/// What the second is to the first.
fn kind(original: &Fingerprint, variant: &Fingerprint) -> Kind {
    let herd = Herd::new(vec![original, variant]);
    assert_eq!(herd.tie(1, 0), Some(Tie::Direct));
    judge(&herd, &Tree::default(), 1, &[0]).kind
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn a_model_stays_itself_however_it_is_written(seed in 0_u64..1000, piece in 1_usize..9000) {
        let model = llama(seed);
        let original = print(&[safetensors_file(&model, Type::F32)], piece);
        let reversed: Vec<Tensor> = model.iter().rev().cloned().collect();
        let (even, odd): (Vec<_>, Vec<_>) = (0..).zip(&model).partition(|(number, _)| number % 2 == 0);
        let shards = [even, odd].map(|half| -> Vec<Tensor> { half.into_iter().map(|(_, t)| t.clone()).collect() });
        let meta: Vec<Tensor> =
            model.iter().map(|t| Tensor { name: renamed(&t.name, META_NAMES), ..interleaved(t) }).collect();
        let identical = Kind::Copy { how: "identical" };
        for files in [
            vec![safetensors_file(&reversed, Type::F32)],
            shards.map(|shard| safetensors_file(&shard, Type::F32)).to_vec(),
            vec![safetensors_file(&meta, Type::F32)],
            vec![gguf_file(&model, Type::F32)],
        ] {
            prop_assert_eq!(kind(&original, &print(&files, piece)), identical.clone());
        }
        let cast = Kind::Copy { how: "cast" };
        for file in [
            safetensors_file(&model, Type::F16),
            safetensors_file(&model, Type::Bf16),
            gguf_file(&model, Type::F16),
            gguf_file(&model, Type::Bf16),
        ] {
            prop_assert_eq!(kind(&original, &print(&[file], piece)), cast.clone());
        }
        let packed = Kind::Quantized { grid: "packed" };
        prop_assert_eq!(kind(&original, &print(&[gguf_file(&model, Type::Q8)], piece)), packed);
    }

    #[test]
    fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0_u64..400, piece in 1_usize..50) {
        for mut tap in [Tap::safetensors(length, None), Tap::gguf(length)] {
            bytes.chunks(piece).for_each(|piece| tap.push(piece));
            prop_assert!(tap.finish().is_err() || bytes.len() as u64 == length);
        }
    }
}

#[test]
fn a_file_that_ends_early_has_no_print() {
    let file = safetensors_file(&llama(1), Type::Bf16);
    let mut tap = Tap::safetensors(file.len() as u64, None);
    tap.push(&file[..file.len() - 1]);
    let (announced, passed) = (file.len() as u64, file.len() as u64 - 1);
    assert_eq!(tap.finish(), Err(Error::WrongLength { announced, passed }));
}

#[test]
fn fused_matrices_wait_for_the_config() {
    let name = "model.layers.0.self_attn.qkv_proj.weight";
    let file =
        safetensors_file(&[Tensor { name: name.to_owned(), shape: vec![4, 2], values: vec![0.5; 8] }], Type::F32);
    let mut tap = Tap::safetensors(file.len() as u64, None);
    tap.push(&file);
    assert_eq!(tap.finish(), Err(Error::NeedsShape(name.to_owned())));
}

#[test]
fn a_model_of_a_hundred_thousand_tensors_has_a_fingerprint() {
    let expert = |number: u64| Tensor {
        name: format!("model.layers.{}.mlp.experts.{}.up_proj.weight", number / 1000, number % 1000),
        shape: vec![2, 2],
        values: vec![0.5; 4],
    };
    let experts: Vec<Tensor> = (0..100_000).map(expert).collect();
    let print_of = |files: &[&[Tensor]]| {
        let files: Vec<Vec<u8>> = files.iter().map(|tensors| safetensors_file(tensors, Type::F32)).collect();
        let taps = files.iter().map(|file| {
            let mut tap = Tap::safetensors(file.len() as u64, None);
            tap.push(file);
            tap.finish().unwrap()
        });
        assemble(taps.collect(), &Model::default(), &mut Memory(Vec::new())).unwrap()
    };
    let whole = print_of(&[&experts]);
    let bytes = whole.encode();
    assert_eq!(Fingerprint::decode(&bytes).unwrap(), whole);
    assert!(whole.tensors.len() > 10_000 && bytes.len() < super::file::MAX_FILE, "{}", bytes.len());
    // Whatever was left out, how the model is cut into files does not matter.
    let (first, second) = experts.split_at(99_000);
    assert_eq!(print_of(&[second, first]).tensors, whole.tensors);
    let mut changed = experts.clone();
    changed[99_999].values[3] = 0.25;
    assert_ne!(print_of(&[&changed]).tensors, whole.tensors);
}

/// Two sets of files compared value by value.
fn full(left: &[Vec<u8>], right: &[Vec<u8>], alignment: &[(u16, u16)]) -> Full {
    let (mut a, mut b) = (Memory(left.to_vec()), Memory(right.to_vec()));
    compare_full(&model(left), &mut a, &model(right), &mut b, alignment, &mut |_| ()).unwrap()
}

#[test]
fn a_conversion_keeps_every_value_and_another_model_none() {
    let (one, other) = (llama(1), llama(2));
    let original = [safetensors_file(&one, Type::F32)];
    let same = full(&original, &[gguf_file(&one, Type::F32)], &[]);
    assert_eq!((same.change, same.covered, same.identical_rows), (0.0, 1.0, same.rows));
    assert!((same.cosine - 1.0).abs() < 1e-12 && same.slots.len() == one.len());
    let packed = full(&original, &[gguf_file(&one, Type::Q8)], &[]);
    assert!(packed.cosine > 0.999 && packed.change > 0.001 && packed.identical_rows == 0, "{packed:?}");
    let apart = full(&original, &[safetensors_file(&other, Type::Bf16)], &[]);
    assert!(apart.largest_cosine.abs() < 0.1 && apart.covered == 1.0, "{apart:?}");
}

#[test]
fn layers_of_another_depth_are_compared_as_they_are_aligned() {
    let one = llama(1);
    let last: Vec<Tensor> = one.iter().filter(|tensor| !tensor.name.contains("layers.0")).cloned().collect();
    let first = last.iter().map(|t| Tensor { name: t.name.replace("layers.1", "layers.0"), ..t.clone() }).collect();
    let files = |tensors: &Vec<Tensor>| [safetensors_file(tensors, Type::F32)];
    let pruned: Vec<Tensor> = first;
    let aligned = full(&files(&pruned), &files(&one), &[(0, 1)]);
    assert_eq!((aligned.change, aligned.covered), (0.0, 1.0));
    assert_eq!(aligned.slots.iter().filter(|slot| slot.other.is_some()).count(), 9);
    let misaligned = full(&files(&pruned), &files(&one), &[(0, 0)]);
    assert!(misaligned.change > 0.1 && misaligned.covered == 1.0);
    assert!(full(&files(&pruned), &files(&one), &[]).covered < 0.9);
}
