//! `--rehearse`: a pipeline end to end in a scratch folder, and the published pipelines so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::project::Project;
use crate::support::{cmd, root};

/// A chain whose raw data a stage makes up where they are not there.
const PIPELINE: &str = "\
stages:
  prepare:
    cmd: cat raw/x > data/x
    deps: [raw]
    outs: [data/: {cache: false}]
    meta: {rehearse: [test -e raw || mkdir raw, test -e raw/x || echo made up > raw/x, mkdir -p data && cp raw/x data/x]}
  train:
    cmd: train-model --from data --out runs/a > log.txt; cat data/x > runs/a
    deps: [data]
    outs: [runs/a: {cache: false}]
  fixed:
    cmd: exit 9
    outs: [given]
    frozen: true
  score:
    cmd: cat runs/a given > score.txt
    deps: [runs/a, given]
    outs: [score.txt]
";

/// What lies below a folder, by name, but for what the runner keeps.
fn listing(folder: &Path) -> Vec<String> {
    let list = Command::new("find").arg(".").current_dir(folder).output().unwrap().stdout;
    let mut lines: Vec<String> = String::from_utf8(list).unwrap().lines().map(String::from).collect();
    lines.sort();
    lines
}

#[test]
fn a_rehearsal_runs_everything_and_leaves_the_repository_as_it_is() {
    let project = Project::new(&[("dvc.yaml", PIPELINE), ("given", "frozen\n")]);
    let before = listing(project.path());
    let scratch = tempfile::tempdir().unwrap();
    let kept = scratch.path().join("kept");
    let outcome = project.run(&[".", &format!("--rehearse={}", kept.display())]);
    outcome.says("rehearsal in").says("score: done");
    assert_eq!(fs::read_to_string(kept.join("files/score.txt")).unwrap(), "made up\nfrozen\n");
    assert_eq!(listing(project.path()), before);
    // The programs are given a smoke run.
    let program = fs::read_to_string(kept.join("bin/train-model")).unwrap();
    assert!(program.contains("\"$@\" --fast-dev-run"), "{program}");
    // Raw data that are there are taken.
    fs::create_dir(project.at("raw")).unwrap();
    project.write("raw/x", "real\n");
    let kept = scratch.path().join("real");
    project.run(&[".", &format!("--rehearse={}", kept.display())]);
    assert_eq!(fs::read_to_string(kept.join("files/score.txt")).unwrap(), "real\nfrozen\n");
    // A run afterwards knows nothing of it.
    assert_eq!(project.stale(&["."]).len(), 4);
}

#[test]
fn a_rehearsal_that_ends_well_goes_and_one_that_fails_stays_and_is_named() {
    let project = Project::new(&[("dvc.yaml", PIPELINE), ("given", "frozen\n")]);
    let temporary = tempfile::tempdir().unwrap();
    let rehearse =
        || cmd("run-pipeline").args([".", "--rehearse"]).within(project.path()).env("TMPDIR", temporary.path());
    rehearse().succeeds().says("all 4 stages pass; the scratch folder is removed");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    project.edit("dvc.yaml", "cat runs/a given > score.txt", "cat runs/b > score.txt");
    let failed = rehearse().fails(1);
    failed
        .says("stage `score` failed with exit code 1")
        .says("`run-pipeline --rehearse --until score`")
        .says("what the rehearsal wrote is kept in");
    let kept = fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("files/runs/a").is_file());
    project.edit("dvc.yaml", "cat runs/b > score.txt", "echo nothing");
    rehearse().fails(1).says("stage `score` ended well but did not write `score.txt`");
    // An out outside of the repository would be the real one.
    project.edit("dvc.yaml", "outs: [score.txt]", "outs: [/nowhere/score.txt]");
    rehearse().fails(2).says("outside of");
    let full = format!("--rehearse={}", project.path().display());
    cmd("run-pipeline").args([".", &full]).within(project.path()).fails(2);
}

#[test]
fn a_stage_that_takes_more_memory_than_it_states_fails_the_rehearsal() {
    let text = "stages:\n  a:\n    cmd: python3 -c \"x = bytearray(150000000); import time; time.sleep(1)\" && touch a\n    outs: [a]\n    \
                meta: {mem_mb: 100}\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    let temporary = tempfile::tempdir().unwrap();
    let rehearse =
        || cmd("run-pipeline").args([".", "--rehearse"]).within(project.path()).env("TMPDIR", temporary.path());
    rehearse().fails(1).says("its `meta.mem_mb` gives it 100 MB").says("mem_mb:");
    project.edit("dvc.yaml", "mem_mb: 100", "mem_mb: 500");
    rehearse().succeeds();
}

#[test]
fn a_rehearsal_computes_on_the_cores_there_are() {
    let text = "stages:\n  a:\n    cmd: echo $OMP_NUM_THREADS > a\n    outs: [a]\n    meta: {threads: 1000}\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    let scratch = tempfile::tempdir().unwrap();
    let kept = scratch.path().join("kept");
    project.run(&[".", &format!("--rehearse={}", kept.display())]);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(fs::read_to_string(kept.join("files/a")).unwrap(), format!("{cores}\n"));
    // A run computes with what is stated, on any machine.
    project.run(&["."]);
    assert_eq!(project.read("a"), "1000\n");
}

/// The published networks at their published sizes, with as little data as they take.
fn published(pipeline: &str, more: &[&str]) {
    let is_of_one_size = root().join("pipelines").join(pipeline).join("dvc.lock").symlink_metadata().is_err();
    of_size((!is_of_one_size).then_some("published"), pipeline, more);
}

fn of_size(size: Option<&str>, pipeline: &str, more: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let sizes: Vec<&str> = size.iter().flat_map(|size| ["--size", size]).collect();
    let pipeline = format!("pipelines/{pipeline}");
    let rehearse = cmd("run-pipeline").args([pipeline.as_str(), "--rehearse"]).args(sizes).args(more.iter().copied());
    rehearse.within(root()).env("TMPDIR", temporary.path()).env("CUDA_VISIBLE_DEVICES", "").succeeds();
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "all of it is gone");
}

#[test]
fn a_leap_network_passes_its_rehearsal() {
    published("leap-adam", &["--until", "predict@exp195"]);
}

#[test]
fn an_icecube_network_passes_its_rehearsal() {
    published("icecube-s-gnn", &["--until", "stage2"]);
}

#[test]
fn a_polarmae_pretraining_passes_its_rehearsal() {
    published("polarmae-pretrain", &["--until", "pretrain@polarmae"]);
}

#[test]
fn tracknet_passes_its_rehearsal() {
    published("tracknet", &["--until", "score@published"]);
}

/// Every stage of a published pipeline: minutes each.
fn whole(pipeline: &str) {
    if is_long() {
        published(pipeline, &[]);
    }
}

fn is_long() -> bool {
    let is_long = std::env::var_os("PODIUM_LONG").is_some();
    if !is_long {
        println!("skipped: it takes minutes (`make test-long`)");
    }
    is_long
}

#[test]
fn the_months_of_leap_pass_their_rehearsal() {
    if is_long() {
        of_size(Some("months"), "leap-adam", &["--until", "predict@exp195"]);
    }
}

#[test]
fn all_of_leap_passes_its_rehearsal() {
    whole("leap-blend");
}

#[test]
fn all_of_icecube_passes_its_rehearsal() {
    whole("icecube-blend");
}

#[test]
fn all_of_polarmaes_peft_passes_its_rehearsal() {
    whole("polarmae-segment-peft");
}

#[test]
fn all_of_polarmaes_fft_passes_its_rehearsal() {
    whole("polarmae-segment-fft");
}

#[test]
fn all_of_tracknet_passes_its_rehearsal() {
    whole("tracknet");
}
