//! Folders with models, made from the fixture by changing one thing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use herdbook::smoke::{self, Check, Input, Report, Status};
use safetensors::{
    SafeTensors,
    tensor::{Dtype, TensorView, serialize_to_file},
};
use serde_json::Value;
use tempfile::TempDir;

pub(super) const HERDBOOK: &str = env!("CARGO_BIN_EXE_herdbook");

/// A tensor that can be changed.
pub(super) struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A copy of the trained model of the fixtures.
pub(super) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(super) fn stories() -> Self {
        Self::copy_of(&fixture())
    }

    pub(super) fn copy_of(model: &Path) -> Self {
        let folder = Self::empty();
        for entry in model.read_dir().unwrap() {
            let path = entry.unwrap().path();
            folder.write(&path.file_name().unwrap().to_string_lossy(), fs::read(&path).unwrap());
        }
        folder
    }

    pub(super) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }

    /// Sets one field of a JSON file.
    pub(super) fn set(&self, file: &str, field: &str, value: impl Into<Value>) {
        let mut json: Value = serde_json::from_slice(&self.read(file)).unwrap();
        json[field] = value.into();
        self.write(file, json.to_string());
    }

    /// Changes the tensors of `model.safetensors`.
    pub(super) fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
        let bytes = self.read("model.safetensors");
        let mut tensors: BTreeMap<String, Tensor> = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(name, view)| (name.to_owned(), tensor(&view)))
            .collect();
        change(&mut tensors);
        write_tensors(&self.path().join("model.safetensors"), &tensors);
    }

    pub(super) async fn test(&self) -> Report {
        let input = Input { program: Some(PathBuf::from(HERDBOOK)), ..Input::new(self.path()) };
        smoke::run(&input).await.unwrap()
    }
}

fn tensor(view: &TensorView<'_>) -> Tensor {
    let pairs = || view.data().chunks_exact(2).map(|b| [b[0], b[1]]);
    let values = match view.dtype() {
        Dtype::BF16 => pairs().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => pairs().map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
        other => {
            assert_eq!(other, Dtype::F32);
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        }
    };
    Tensor { shape: view.shape().to_vec(), values }
}

pub(super) fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    let bytes: Vec<(String, &Tensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor, tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, tensor, bytes)| (name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

pub(super) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K")
}

/// The check of this id, which must be there.
pub(super) fn check<'a>(report: &'a Report, id: &str) -> &'a Check {
    report.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id} in {report:#?}"))
}

/// Asserts that a check failed, and so the run, with this in the reason.
#[track_caller]
pub(super) fn assert_failed(report: &Report, id: &str, reason: &str) {
    let check = check(report, id);
    assert_eq!((check.status, report.verdict), (Status::Failed, Status::Failed), "{report:#?}");
    assert!(check.detail.contains(reason), "`{reason}` is not in `{}`", check.detail);
}
