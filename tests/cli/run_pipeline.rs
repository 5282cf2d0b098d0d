//! `run-pipeline`: what it prints, and how it refuses.

use std::path::Path;

use crate::support::cmd;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        common::durable::write(path, text.as_bytes()).unwrap();
    }
    folder
}

const CHAIN: &str = "\
stages:
  prepare:
    cmd: cp in.txt a.txt
    deps: [in.txt]
    outs: [a.txt: {cache: false}]
  train:
    foreach: [m1, m2]
    do:
      cmd: cp a.txt ${item}.txt
      deps: [a.txt]
      outs:
      - ${item}.txt: {cache: false}
  score:
    cmd: cat m1.txt m2.txt > s.txt
    deps: [m1.txt, m2.txt]
    outs: [s.txt: {cache: false}]
";

fn chain() -> tempfile::TempDir {
    folder(&[("dvc.yaml", CHAIN), ("in.txt", "x\n")])
}

fn stdout(args: &[&str], folder: &Path) -> String {
    cmd("run-pipeline").args(args).within(folder).succeeds().stdout
}

#[test]
fn a_mistake_shows_file_line_column_and_the_nearest_key() {
    let folder = folder(&[("p/dvc.yaml", "stages:\n  a:\n    cmd: x\n    dep: [y]\n")]);
    let outcome = cmd("run-pipeline").arg("p").within(folder.path()).fails(2);
    assert_eq!(outcome.stdout, "");
    assert_eq!(
        outcome.stderr,
        "error: p/dvc.yaml:4:5: unknown key `dep` in stage `a`\n  3 |     cmd: x\n  4 |     dep: [y]\n    |     ^^^ \
         expected one of: cmd, wdir, deps, params, outs, metrics, plots, vars, frozen, always_changed, desc, meta, \
         matrix\n\nhint: did you mean `deps`?\n"
    );
}

#[test]
fn a_stage_in_the_place_of_a_pipeline_or_behind_it_is_answered_with_until() {
    let folder = chain();
    for args in [&["train"][..], &[".", "train"], &[".", "train", "score"], &["-j", "2", ".", "train"]] {
        let refused = cmd("run-pipeline").args(args).within(folder.path()).fails(2);
        refused.says("hint: ").says("`run-pipeline . --until train`");
    }
    cmd("run-pipeline")
        .args([".", "-j", "-1"])
        .within(folder.path())
        .fails(2)
        .says("invalid value '-1' for '--jobs <N>'");
    assert!(!folder.path().join("dvc.lock").exists());
}

#[test]
fn cycles_duplicate_outs_missing_deps_and_bad_expressions_are_refused_with_their_place() {
    for (text, code, says) in [
        (
            "stages:\n  a: {cmd: x, deps: [b], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n",
            2,
            "dvc.yaml:2:3: the stages wait for each other: `a` -> `b` -> `a`",
        ),
        ("stages:\n  a: {cmd: x, outs: [o]}\n  b: {cmd: x, outs: [o]}\n", 2, "dvc.yaml:3:22: `"),
        ("stages:\n  a:\n    cmd: x\n    deps: [none.txt]\n", 3, "dvc.yaml:4:12`: stage `a` reads `none.txt`"),
        ("stages:\n  a:\n    cmd: echo ${nme}\n", 2, "dvc.yaml:3:15: `${nme}`: there is no variable `nme`"),
        ("stages:\n  a:\n    cmd: x\n    params: [lr]\n", 3, "dvc.yaml:4:14`: stage `a` reads `params.yaml`"),
    ] {
        let folder = folder(&[("dvc.yaml", text)]);
        cmd("run-pipeline").within(folder.path()).fails(code).says(says);
        assert!(!folder.path().join("dvc.lock").exists());
    }
    cmd("run-pipeline").arg("nowhere").fails(2).says("`nowhere` is no folder and no `dvc.yaml`");
}

#[test]
fn the_plan_says_what_would_run_and_why_and_runs_nothing() {
    let folder = chain();
    assert_eq!(
        stdout(&["-n"], folder.path()),
        "prepare: would run: never ran\ntrain@m1: would run: never ran\ntrain@m2: would run: never ran\n\
         score: would run: never ran\n"
    );
    assert!(!folder.path().join("a.txt").exists() && !folder.path().join(".podium").exists());
    stdout(&["-q"], folder.path());
    assert_eq!(stdout(&["-n"], folder.path()), "nothing to run: all 4 stages are up to date\n");
    common::durable::write(folder.path().join("in.txt"), b"y\n").unwrap();
    std::fs::remove_file(folder.path().join("m2.txt")).unwrap();
    assert_eq!(
        stdout(&["-n"], folder.path()),
        "prepare: would run: dep `in.txt` modified\ntrain@m1: may run: if `prepare` changes what it reads\n\
         train@m2: would run: out `m2.txt` deleted\nscore: would run: dep `m2.txt` deleted\n"
    );
    let explained = stdout(&["--explain", "--until", "prepare"], folder.path());
    assert_eq!(explained, "prepare: would run: dep `in.txt` modified\n  $ cp in.txt a.txt\n");
}

#[test]
fn stages_are_skipped_forced_and_limited_with_a_visible_line() {
    let folder = chain();
    let run = |args: &[&str]| cmd("run-pipeline").args(args).within(folder.path()).succeeds();
    run(&["--until", "train@m1"]).says("train@m1: done in");
    assert!(!folder.path().join("m2.txt").exists());
    run(&[]).says("train@m1: unchanged").says("train@m2: running (never ran)");
    let forced = run(&["--force", "train"]);
    let forced = forced.says("train@m1: running (forced)").says("train@m2: running (forced)").says("score: unchanged");
    assert!(forced.stderr.contains("stage     state"), "{}", forced.stderr);
    cmd("run-pipeline").args(["--force", "scor"]).within(folder.path()).fails(2).says("did you mean `score`?");
}

#[test]
fn a_failure_shows_the_command_the_last_lines_and_how_to_go_on() {
    let text = CHAIN.replace("cp a.txt ${item}.txt", "echo trouble; test ${item} = m2 && cp a.txt m2.txt");
    let folder = folder(&[("dvc.yaml", &text), ("in.txt", "x\n")]);
    let outcome = cmd("run-pipeline").within(folder.path()).fails(1);
    let outcome = outcome.says("stage `train@m1` failed with exit code 1").says("  command: echo trouble; test m1");
    let outcome = outcome.says("    trouble\n").says("hint: to run only this stage again: `run-pipeline --until");
    assert!(!folder.path().join("m2.txt").exists(), "{}", outcome.stderr);
    let outcome = cmd("run-pipeline").arg("--keep-going").within(folder.path()).fails(1);
    assert!(folder.path().join("m2.txt").exists() && !folder.path().join("s.txt").exists(), "{}", outcome.stderr);
    let outcome = outcome.says("score     not reached");
    assert!(outcome.stderr.contains("train@m1  failed"), "{}", outcome.stderr);
}

#[test]
fn the_first_failure_ends_all_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let text = "stages:\n  a: {cmd: sleep 0.5; false, outs: [a]}\n  b: {cmd: 'sleep 60; touch b', outs: [b]}\n";
    common::durable::write(folder.path().join("dvc.yaml"), text.as_bytes()).unwrap();
    let begun = std::time::Instant::now();
    let outcome = cmd("run-pipeline").args(["-j", "2", "--fail-fast"]).within(folder.path()).fails(1);
    assert!(begun.elapsed().as_secs() < 30, "the other stage went on");
    outcome.says("stage `a` failed").says("because another one failed");
}

#[test]
fn a_stage_that_does_not_write_its_out_fails() {
    let folder = folder(&[("dvc.yaml", "stages:\n  a: {cmd: 'true', outs: [o]}\n")]);
    cmd("run-pipeline").within(folder.path()).fails(1).says("ended well but did not write `o`");
    cmd("run-pipeline").within(folder.path()).fails(1);
}

#[test]
fn the_graph_is_printed_as_text_dot_and_mermaid() {
    let folder = chain();
    assert_eq!(
        stdout(&["--dag"], folder.path()),
        "prepare\n  train@m1  <- prepare\n  train@m2  <- prepare\n    score  <- train@m1, train@m2\n"
    );
    assert_eq!(
        stdout(&["--dag", "--dot", "--until", "train@m1"], folder.path()),
        "strict digraph {\n  \"prepare\";\n  \"train@m1\";\n  \"prepare\" -> \"train@m1\";\n}\n"
    );
    assert_eq!(
        stdout(&["--dag", "--mermaid", "--until", "train@m1"], folder.path()),
        "flowchart TD\n\tnode1[\"prepare\"]\n\tnode2[\"train@m1\"]\n\tnode1-->node2\n"
    );
}

#[test]
fn a_pipeline_takes_along_what_it_needs_from_the_ones_beside_it() {
    let member = "stages:\n  train: {cmd: 'echo m > ../../m.txt', outs: [../../m.txt: {cache: false}]}\n  \
                  other: {cmd: 'false', outs: [../../none.txt]}\n";
    let blend = "stages:\n  blend:\n    wdir: ../..\n    cmd: cp m.txt b.txt\n    deps: [m.txt]\n    outs: [b.txt: {cache: false}]\n";
    let folder = folder(&[("pipelines/member/dvc.yaml", member), ("pipelines/blend/dvc.yaml", blend)]);
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    let outcome = cmd("run-pipeline").arg("pipelines/blend").within(folder.path()).succeeds();
    outcome.says("member:train: done in").says("blend: done in");
    assert!(folder.path().join("pipelines/member/dvc.lock").exists());
    cmd("run-pipeline")
        .arg("pipelines/member")
        .args(["--until", "train"])
        .within(folder.path())
        .succeeds()
        .says("train: unchanged");
}

#[test]
fn the_record_holds_time_memory_and_outputs() {
    let text = "stages:\n  a:\n    cmd: x=$(head -c 4000000 /dev/zero | tr '\\0' a); sleep 0.5; head -c 50000000 /dev/zero > o.bin\n    outs: [o.bin: {cache: false}]\n";
    let folder = folder(&[("dvc.yaml", text)]);
    let record: serde_json::Value = serde_json::from_str(&stdout(&["--json", "-q"], folder.path())).unwrap();
    let stage = &record["stages"][0];
    assert_eq!((&stage["state"], &stage["outs"][0]["bytes"]), (&"ran".into(), &50_000_000.into()));
    assert!(stage["peak_bytes"].as_u64().unwrap() > 1_000_000, "{record}");
    let runs: Vec<_> = std::fs::read_dir(folder.path().join(".podium/runs")).unwrap().collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(std::fs::read_to_string(folder.path().join(".podium/.gitignore")).unwrap(), "*\n");
}

#[test]
fn running_needs_nothing_but_a_shell() {
    let folder = chain();
    let outcome = cmd("run-pipeline")
        .env("LD_LIBRARY_PATH", "")
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .within(folder.path());
    outcome.succeeds();
}

/// All binaries, as folders of `bins`.
fn binaries() -> Vec<String> {
    let folders = std::fs::read_dir(crate::support::root().join("bins")).unwrap().flatten();
    let programs = folders.filter(|entry| entry.path().join("main.rs").is_file());
    let mut names: Vec<String> = programs.map(|entry| entry.file_name().into_string().unwrap()).collect();
    // That one goes by the names of the programs in it.
    names.retain(|name| name != "podium-torch");
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

#[test]
fn an_argument_that_is_not_utf8_is_no_bug_of_any_binary() {
    use std::os::unix::ffi::OsStrExt;
    for name in binaries() {
        let outcome = cmd(&name).arg(std::ffi::OsStr::from_bytes(b"data\xff")).run();
        let code = outcome.code.unwrap();
        assert!((1..70).contains(&code), "{name}: {code}\n{}", outcome.stderr);
    }
}

#[test]
fn a_mistake_in_the_arguments_of_any_binary_ends_with_a_hint_and_obeys_the_color_flag() {
    for name in binaries() {
        cmd(&name).arg("--no-such-flag").fails(2).says("hint: ");
        let outcome = cmd(&name).env("CLICOLOR_FORCE", "1").args(["--color", "never", "--no-such-flag"]).fails(2);
        assert!(!outcome.stderr.contains('\x1b'), "{name}: {}", outcome.stderr);
        // The flags of hill-climb belong to its commands.
        let command: &[&str] = if name == "hill-climb" { &["search"] } else { &[] };
        let outcome = cmd(&name).args(command).args(["--color", "always", "--help"]).succeeds();
        assert!(outcome.stdout.contains('\x1b'), "{name}");
    }
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for name in binaries() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(crate::support::binary(&name));
        assert_eq!(command.arg("--help").stdout(full).output().unwrap().status.code(), Some(4), "{name}");
    }
}
