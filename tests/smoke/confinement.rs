//! The child cannot get out, and the parent survives whatever the child does.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use herdbook::smoke::{self, Input, Report, Status};

use super::folder::{Folder, HERDBOOK, check};

/// Starts a confined child that tries one thing and says what came of it.
fn probe(dir: &Path, name: &str) -> String {
    let child = Command::new(HERDBOOK)
        .arg("smoke-child")
        .arg(dir)
        .args(["--level", "0", "--memory", "1000000000", "--cpu-seconds", "20", "--probe", name])
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    String::from_utf8(child.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_child_reads_its_folder_only_and_writes_nothing() {
    let folder = Folder::empty();
    assert_eq!(probe(folder.path(), "read-outside"), "refused: Permission denied (os error 13)");
    assert_eq!(probe(folder.path(), "write"), "refused: Permission denied (os error 13)");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_child_has_no_network_no_processes_and_no_signals_but_threads() {
    let folder = Folder::empty();
    for name in ["connect", "start", "signal"] {
        assert_eq!(probe(folder.path(), name), "refused: Operation not permitted (os error 1)", "{name}");
    }
    assert_eq!(probe(folder.path(), "thread"), "allowed");
}

/// Runs a test whose child does this instead of testing.
async fn misbehave(probe: &str, change: impl FnOnce(&mut Input)) -> Report {
    let scripts = Folder::empty();
    let script = scripts.path().join("program");
    fs::write(&script, format!("#!/bin/sh\nexec '{HERDBOOK}' \"$@\" --probe {probe}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = Folder::stories();
    let mut input = Input { program: Some(script), ..Input::new(folder.path()) };
    change(&mut input);
    smoke::run(&input).await.unwrap()
}

fn assert_inconclusive(report: &Report, cause: &str) {
    assert_eq!((report.verdict, report.cause.as_deref()), (Status::Error, Some(cause)), "{report:#?}");
    assert!(check(report, "run.completed").detail.contains("says nothing about the model"));
}

#[tokio::test]
async fn a_child_that_waits_forever_is_stopped() {
    let report = misbehave("wait", |input| input.limits.wall = Duration::from_millis(300)).await;
    assert_inconclusive(&report, "timeout");
    assert!((300..3000).contains(&report.duration_ms), "{report:?}");
}

#[tokio::test]
async fn a_child_that_computes_forever_runs_out_of_time() {
    let report = misbehave("spin", |input| input.limits.cpu = Duration::from_secs(1)).await;
    assert_inconclusive(&report, "cpu_exceeded");
}

#[tokio::test]
async fn a_child_that_takes_all_memory_gets_none() {
    assert_inconclusive(&misbehave("allocate", |_| ()).await, "memory_exceeded");
}

#[tokio::test]
async fn a_child_that_panics_overflows_or_floods_is_an_error_and_no_failure() {
    let report = misbehave("panic", |_| ()).await;
    assert_inconclusive(&report, "engine_panic");
    assert!(check(&report, "run.completed").detail.contains("a deliberate panic"));
    assert_inconclusive(&misbehave("overflow", |_| ()).await, "crash");
    assert_inconclusive(&misbehave("flood", |_| ()).await, "crash");
}

#[tokio::test]
async fn a_test_that_nobody_waits_for_ends() {
    let waiting = misbehave("wait", |_| ());
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
}

#[tokio::test]
async fn a_program_that_cannot_be_started_and_a_folder_that_is_none_are_errors() {
    let folder = Folder::stories();
    let input = Input { program: Some("/nonexistent".into()), ..Input::new(folder.path()) };
    assert!(matches!(smoke::run(&input).await, Err(smoke::Error::Start(_))));
    let error = smoke::run(&Input::new("/nonexistent")).await.unwrap_err();
    assert!(error.to_string().starts_with("folder `/nonexistent` cannot be read"), "{error}");
}
