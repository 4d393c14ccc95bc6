//! Weights that are not in the folder: the child reads them through its parent, and finds what it finds beside them.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::future::BoxFuture;
use herdbook::smoke::{self, Input, Logits, Remote, Report, Status, Weights};

use super::folder::{Folder, HERDBOOK, check, fixture};

/// Files elsewhere, of which some bytes may be out of reach.
struct Elsewhere {
    files: Vec<PathBuf>,
    broken_from: u64,
    given: AtomicU64,
}

impl Weights for Elsewhere {
    fn read(&self, file: usize, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            if range.end > self.broken_from {
                return Err("the bucket is gone".to_owned());
            }
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            File::open(&self.files[file]).unwrap().read_exact_at(&mut bytes, range.start).unwrap();
            self.given.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes.into())
        })
    }
}

fn elsewhere(files: &[PathBuf], broken_from: u64) -> Arc<Elsewhere> {
    Arc::new(Elsewhere { files: files.to_vec(), broken_from, given: AtomicU64::new(0) })
}

/// Takes the weights out of a folder, and tests it with a parent that knows where they are.
fn without_weights(folder: &Folder, names: &[&str], broken_from: u64) -> (Folder, Input, Arc<Elsewhere>) {
    let rest = Folder::copy_of(folder.path());
    names.iter().for_each(|name| rest.remove(name));
    let files: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
    let sizes: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    let weights = elsewhere(&files, broken_from);
    let listed = names.iter().zip(sizes).map(|(name, size)| ((*name).to_owned(), size));
    let input = Input::new(rest.path()).with_weights(Remote::new(listed, weights.clone()));
    (rest, Input { program: Some(HERDBOOK.into()), ..input }, weights)
}

/// What does not depend on time.
fn said(report: &Report) -> Vec<(String, Status, String)> {
    report.checks.iter().map(|check| (check.id.clone(), check.status, check.detail.clone())).collect()
}

async fn logits(input: &Input) -> Logits {
    let input = Input { input_ids: Some(vec![1, 5, 9, 13]), ..input.clone() };
    smoke::run_with_logits(&input).await.unwrap().1
}

#[tokio::test]
async fn weights_elsewhere_give_what_weights_in_the_folder_give() {
    let folder = Folder::stories();
    let (_rest, input, weights) = without_weights(&folder, &["model.safetensors"], u64::MAX);
    let (near, far) = (folder.test().await, smoke::run(&input).await.unwrap());
    assert_eq!(far.verdict, Status::Passed, "{far:#?}");
    assert_eq!(said(&far), said(&near));
    assert_eq!((&far.sample, &far.record, far.level), (&near.sample, &near.record, near.level));
    let given = weights.given.load(Ordering::Relaxed);
    let size = folder.path().join("model.safetensors").metadata().unwrap().len();
    assert!(given >= size && given < 12 * size, "{given} bytes were read of a file of {size}");

    let near = Input { program: Some(HERDBOOK.into()), ..Input::new(folder.path()) };
    let (near, far) = (logits(&near).await, logits(&input).await);
    assert_eq!((near.len(), near), (4, far));
}

#[tokio::test]
async fn large_weights_elsewhere_are_read_block_by_block() {
    let folder = Folder::stories();
    let wide = 40_000;
    folder.set("config.json", "intermediate_size", wide);
    folder.change(|tensors| {
        for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains(".mlp.")) {
            tensor.shape = if name.contains("down_proj") { vec![64, wide] } else { vec![wide, 64] };
            tensor.values = (0..64 * wide).map(|i| (i * i % 1009) as f32 / 1e6).collect();
        }
    });
    let near = Input { program: Some(HERDBOOK.into()), ..Input::new(folder.path()) };
    let (_rest, far, _) = without_weights(&folder, &["model.safetensors"], u64::MAX);
    let limited = |mut input: Input| {
        // 154 MB of weights.
        input.limits.memory = 96 << 20;
        input
    };
    let (near, far) = (limited(near), limited(far));
    assert_eq!(logits(&near).await, logits(&far).await);
}

#[tokio::test]
async fn an_adapter_and_its_base_are_both_read_from_elsewhere() {
    let adapter = super::adapters::peft(serde_json::json!({}));
    let near = Input { program: Some(HERDBOOK.into()), ..Input::new(adapter.path()).with_base(fixture()) };
    let rest = Folder::copy_of(adapter.path());
    rest.remove("adapter_model.safetensors");
    let base = Folder::stories();
    base.remove("model.safetensors");
    let files = [adapter.path().join("adapter_model.safetensors"), fixture().join("model.safetensors")];
    let size = |file: &PathBuf| file.metadata().unwrap().len();
    let own = [("adapter_model.safetensors".to_owned(), size(&files[0]))];
    let of_base = [("model.safetensors".to_owned(), size(&files[1]))];
    let far = Input::new(rest.path()).with_base(base.path());
    let far = far.with_weights(Remote::new(own, elsewhere(&files, u64::MAX)).with_base(of_base));
    let far = Input { program: Some(HERDBOOK.into()), ..far };
    let (near, far) = (smoke::run(&near).await.unwrap(), smoke::run(&far).await.unwrap());
    assert_eq!(said(&far), said(&near));
    assert_eq!(check(&far, "forward.finite").status, Status::Passed, "{far:#?}");
}

#[tokio::test]
async fn a_store_that_gives_nothing_is_no_fault_of_the_model() {
    let folder = Folder::stories();
    for broken_from in [0, 300_000] {
        let (_rest, input, _) = without_weights(&folder, &["model.safetensors"], broken_from);
        let error = smoke::run(&input).await.unwrap_err();
        assert_eq!(error.to_string(), "the weights cannot be read: the bucket is gone");
    }
}
