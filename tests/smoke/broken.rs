//! Models that do not work: each fault fails the check it belongs to, with a reason that names the place.

use herdbook::smoke::Status;

use super::folder::{Folder, assert_failed, check};

/// A plain generator of numbers: the same on each run.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

fn randomize(folder: &Folder, size: f32) {
    let mut next = noise(7);
    folder.change(|tensors| {
        for tensor in tensors.values_mut() {
            let is_norm = tensor.shape.len() == 1;
            tensor.values.fill_with(|| if is_norm { 1.0 } else { next() * size });
        }
    });
}

#[tokio::test]
async fn a_freshly_initialized_model_is_not_called_sound() {
    let folder = Folder::stories();
    randomize(&folder, 0.03);
    assert_failed(&folder.test().await, "logits.spread", "looks untrained");
}

#[tokio::test]
async fn a_random_model_with_strong_opinions_is_not_called_sound() {
    let folder = Folder::stories();
    randomize(&folder, 0.8);
    assert_failed(&folder.test().await, "ppl.absolute", "sure of what is wrong");
}

#[tokio::test]
async fn one_nan_is_found_and_its_tensor_named() {
    let folder = Folder::stories();
    folder.change(|tensors| tensors.get_mut("model.layers.2.mlp.up_proj.weight").unwrap().values[777] = f32::NAN);
    let report = folder.test().await;
    assert_failed(&report, "values.finite", "1 NaN and 0 infinite values in `model.layers.2.mlp.up_proj.weight`");
    assert_failed(&report, "forward.finite", "layer 2 is the first");
}

#[tokio::test]
async fn an_infinite_value_is_found() {
    let folder = Folder::stories();
    folder.change(|tensors| tensors.get_mut("model.norm.weight").unwrap().values[0] = f32::NEG_INFINITY);
    let report = folder.test().await;
    assert_failed(&report, "values.finite", "0 NaN and 1 infinite values in `model.norm.weight`");
    assert_failed(&report, "forward.finite", "the logits are not");
}

#[tokio::test]
async fn a_flipped_bit_in_an_exponent_is_found() {
    let folder = Folder::stories();
    folder.change(|tensors| {
        let value = &mut tensors.get_mut("model.layers.1.mlp.down_proj.weight").unwrap().values[5];
        *value = f32::from_bits(value.to_bits() | 0x4000_0000);
    });
    assert_failed(&folder.test().await, "values.range", "`model.layers.1.mlp.down_proj.weight`");
}

#[tokio::test]
async fn a_layer_of_zeros_is_found() {
    let folder = Folder::stories();
    folder.change(|tensors| {
        let layer = tensors.iter_mut().filter(|(name, tensor)| name.contains("layers.3.") && tensor.shape.len() > 1);
        layer.for_each(|(_, tensor)| tensor.values.fill(0.0));
    });
    assert_failed(&folder.test().await, "values.zero", "all matrices of `model.layers.3` are zero");
}

#[tokio::test]
async fn a_missing_tensor_is_named() {
    let folder = Folder::stories();
    folder.change(|tensors| drop(tensors.remove("model.layers.4.self_attn.o_proj.weight")));
    let report = folder.test().await;
    assert_failed(&report, "tensors.missing", "`model.layers.4.self_attn.o_proj.weight` is missing");
    assert_eq!(check(&report, "forward.finite").status, Status::Skipped);
}

#[tokio::test]
async fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let folder = Folder::stories();
    folder.change(|tensors| tensors.get_mut("model.layers.0.self_attn.k_proj.weight").unwrap().shape = vec![64, 32]);
    let reason = "`model.layers.0.self_attn.k_proj.weight` has shape [64, 32], config.json asks for [32, 64]";
    assert_failed(&folder.test().await, "tensors.shape", reason);
}

#[tokio::test]
async fn layers_that_are_not_there_and_layers_too_many_are_found() {
    let folder = Folder::stories();
    folder.set("config.json", "num_hidden_layers", 7);
    let report = folder.test().await;
    assert_failed(&report, "layers.count", "config.json says 7 layers, the files hold 5");
    folder.set("config.json", "num_hidden_layers", 0);
    assert_failed(&folder.test().await, "layers.count", "says 0 layers");
}

#[tokio::test]
async fn a_tensor_that_nothing_uses_is_a_warning() {
    let folder = Folder::stories();
    folder.change(|tensors| {
        let copy = tensors["model.norm.weight"].values.clone();
        tensors.insert("model.extra.weight".into(), super::folder::Tensor { shape: vec![64], values: copy });
    });
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Warned, "{report:#?}");
    assert_eq!(check(&report, "tensors.unexpected").detail, "`model.extra.weight` is not used");
}

#[tokio::test]
async fn a_truncated_file_is_said_to_be_one() {
    let folder = Folder::stories();
    let bytes = folder.read("model.safetensors");
    folder.write("model.safetensors", &bytes[..bytes.len() / 2]);
    assert_failed(&folder.test().await, "files.parse", "the file is truncated");
    folder.write("model.safetensors", &bytes[..100]);
    assert_failed(&folder.test().await, "files.parse", "truncated or no safetensors file");
    folder.write("model.safetensors", b"");
    assert_failed(&folder.test().await, "files.parse", "has 0 bytes");
}

#[tokio::test]
async fn a_tokenizer_of_another_model_is_found() {
    let folder = Folder::stories();
    folder.set("config.json", "vocab_size", 500);
    folder.change(|tensors| {
        let embedding = tensors.get_mut("model.embed_tokens.weight").unwrap();
        embedding.shape = vec![500, 64];
        embedding.values.truncate(500 * 64);
    });
    assert_failed(&folder.test().await, "tokenizer.vocab_fits", "has id 511, the embedding has 500 rows");
}
