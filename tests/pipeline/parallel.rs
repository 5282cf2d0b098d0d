//! Stages side by side, two runners, interruptions.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project::Project;
use crate::support::{binary, cmd};

fn sleeps(meta: &str) -> String {
    let stage = |n: u32| {
        format!(
            "  s{n}:\n    cmd: sleep 3; echo {n} > {n}.txt\n    outs: [{n}.txt: {{cache: false}}]\n    meta: {meta}\n"
        )
    };
    format!("stages:\n{}{}", stage(1), stage(2))
}

/// Waits until `ready` is true, at most half a minute.
pub fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn seconds(project: &Project, args: &[&str]) -> f64 {
    let started = Instant::now();
    project.run(args);
    started.elapsed().as_secs_f64()
}

#[test]
fn two_independent_sleeps_take_as_long_as_one() {
    let project = Project::new(&[("dvc.yaml", &sleeps("{}"))]);
    let both = seconds(&project, &["-q", "-j", "2"]);
    assert!(both <= 1.15 * 3.0, "{both} s");
}

#[test]
fn stages_that_hold_the_gpu_or_the_memory_wait_for_each_other() {
    for meta in ["{gpu: 1}", "{mem_mb: 600}"] {
        let project = Project::new(&[("dvc.yaml", &sleeps(meta).replace("sleep 3", "sleep 1"))]);
        let both = seconds(&project, &["-q", "-j", "2", "--gpus", "1", "--mem-mb", "1000"]);
        assert!(both >= 2.0, "{meta}: {both} s");
    }
}

#[test]
fn each_stage_sees_the_gpus_that_it_holds() {
    let stage = |n: u32| {
        let cmd = format!("echo $CUDA_VISIBLE_DEVICES > {n}.txt; sleep 1");
        format!("  s{n}:\n    cmd: {cmd}\n    outs: [{n}.txt: {{cache: false}}]\n    meta: {{gpu: 1}}\n")
    };
    let project = Project::new(&[("dvc.yaml", &format!("stages:\n{}{}", stage(1), stage(2)))]);
    project.run(&["-q", "-j", "2", "--gpus", "2"]);
    let mut seen = [project.read("1.txt"), project.read("2.txt")];
    seen.sort();
    assert_eq!(seen, ["0\n", "1\n"]);
}

#[test]
fn the_second_runner_ends_at_once_and_names_the_first() {
    let project = Project::new(&[("dvc.yaml", &sleeps("{}"))]);
    let mut first = Command::new(binary("run-pipeline"))
        .args(["-q"])
        .current_dir(project.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first runner", || project.at(".podium/journal").exists());
    let started = Instant::now();
    cmd("run-pipeline").within(project.path()).fails(6).says(&format!("is in use by pid {}", first.id()));
    assert!(started.elapsed() < Duration::from_secs(2));
    // Looking is allowed at any time.
    let plan = project.run(&["-n"]).stdout;
    assert!(plan.contains("s1"), "{plan}");
    assert!(first.wait().unwrap().success());
    assert_eq!(project.ran(&[]), [""; 0]);
}

#[test]
fn an_interruption_reaches_the_stage_and_the_next_run_goes_on() {
    let text = "stages:\n  a:\n    cmd: echo a > a.txt\n    outs: [a.txt: {cache: false}]\n  b:\n    \
                cmd: trap 'echo saved > b.txt; exit 130' INT; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; done; \
                cp a.txt b.txt\n    deps: [a.txt]\n    outs: [b.txt: {cache: false}]\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    let runner = Command::new(binary("run-pipeline"))
        .args(["-q"])
        .current_dir(project.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("stage b", || std::fs::read_to_string(project.at(".podium/logs/b.log")).is_ok_and(|log| !log.is_empty()));
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    assert!(Command::new("kill").args(["-INT", &runner.id().to_string()]).status().unwrap().success());
    let output = runner.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(project.read("b.txt"), "saved\n", "the stage had its chance to save");
    assert_eq!(project.ran(&[]), ["b"]);
    assert_eq!(project.read("b.txt"), "a\n");
}
