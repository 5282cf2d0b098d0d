//! Kills at random points. The next run ends with the same bytes, and nothing that was cut off is taken for fresh.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::parallel::wait_for;
use crate::project::Project;
use crate::support::binary;

/// Two chains that meet; every stage leaves a half-written out for a while.
fn pipeline() -> String {
    let mut text = String::from("stages:\n");
    for chain in ["x", "y"] {
        for n in 0..4 {
            let from = if n == 0 { String::new() } else { format!(" {chain}{}.txt", n - 1) };
            let out = format!("{chain}{n}.txt");
            text += &format!(
                "  {chain}{n}:\n    cmd: echo half > {out}; sleep 0.02; echo \"{chain}{n} ${{seed}}\" > {out}; \
                 true{from}; cat /dev/null{from} >> {out}\n    outs: [{out}: {{cache: false}}]\n"
            );
            if n > 0 {
                text += &format!("    deps: [{chain}{}.txt]\n", n - 1);
            }
        }
    }
    text + "  end:\n    cmd: cat x3.txt y3.txt > end.txt\n    deps: [x3.txt, y3.txt]\n    outs: [end.txt]\n"
}

fn project(seed: u32) -> Project {
    Project::new(&[("dvc.yaml", &pipeline()), ("params.yaml", &format!("seed: {seed}\n"))])
}

/// All files of the pipeline and its lock.
fn files(project: &Project) -> BTreeMap<String, String> {
    let entries = fs::read_dir(project.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.filter(|n| n != ".podium").map(|name| (name.clone(), project.read(&name))).collect()
}

/// Processes that belong to a stage of this project, by the working folder.
fn stage_processes(project: &Project) -> Vec<String> {
    let here = project.path().canonicalize().unwrap();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().into_string().ok());
    let pids = pids.filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    pids.filter(|pid| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == here)
            && fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|e| e.split(|b| *b == 0).any(|v| v.starts_with(b"DVC_STAGE=")))
    })
    .collect()
}

fn start(project: &Project) -> std::process::Child {
    let mut command = Command::new(binary("run-pipeline"));
    command.args(["-q", "-j", "2"]).current_dir(project.path()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn kill(pid: &str) {
    let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
}

#[test]
fn thirty_kills_of_runner_and_stages_end_with_the_same_bytes() {
    let reference = project(7);
    let started = std::time::Instant::now();
    reference.run(&["-q", "-j", "2"]);
    let whole = started.elapsed();
    // The lock lists stages in the order in which they first ended; one job at a time gives one order.
    let expected: BTreeMap<String, String> = files(&reference).into_iter().filter(|(n, _)| n != "dvc.lock").collect();
    let mut random = Pcg64::seed_from_u64(20);
    let victim = project(7);
    for trial in 0..30_u32 {
        if trial % 3 == 0 {
            // Begin anew now and then, so that early stages are hit as well.
            for name in files(&victim).keys().filter(|n| n.ends_with(".txt") || *n == "dvc.lock") {
                fs::remove_file(victim.at(name)).unwrap();
            }
        } else {
            victim.write("params.yaml", &format!("seed: {}\n", 100 + trial));
        }
        let mut runner = start(&victim);
        std::thread::sleep(whole.mul_f64(random.random::<f64>() * 0.9));
        if trial % 2 == 0 {
            kill(&runner.id().to_string());
        } else if let Some(pid) = stage_processes(&victim).first() {
            kill(pid);
        }
        runner.wait().unwrap();
        victim.write("params.yaml", "seed: 7\n");
        victim.run(&["-q", "-j", "2"]);
        let found: BTreeMap<String, String> = files(&victim).into_iter().filter(|(n, _)| n != "dvc.lock").collect();
        assert_eq!(found, expected, "trial {trial}");
        assert_eq!(victim.ran(&[]), [""; 0], "trial {trial}: all is up to date");
        assert!(!victim.at(".podium/journal").exists(), "trial {trial}");
    }
}

#[test]
fn a_stage_that_was_cut_off_is_never_fresh_even_when_its_files_look_so() {
    // The stage writes what the lock expects at once, and is killed only then.
    let text = "stages:\n  a:\n    cmd: echo a > a.txt; echo written; sleep 0.3\n    outs: [a.txt: {cache: false}]\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    project.run(&["-q"]);
    let log = project.at(".podium/logs/a.log");
    fs::remove_file(&log).unwrap();
    let mut runner =
        Command::new(binary("run-pipeline")).args(["-q", "--force", "a"]).current_dir(project.path()).spawn().unwrap();
    wait_for("the stage", || fs::read_to_string(&log).is_ok_and(|log| log.ends_with("\nwritten\n")));
    kill(&runner.id().to_string());
    runner.wait().unwrap();
    let stale = project.stale(&[]);
    assert_eq!(stale, [("a".to_string(), vec!["its last run did not finish".to_string()])]);
    assert_eq!(project.ran(&[]), ["a"]);
    assert_eq!(project.stale(&[]), []);
}

#[test]
fn what_an_earlier_run_left_behind_is_ended_before_the_next() {
    // The child of the shell survives its parent and would write into the out later.
    let text = "stages:\n  a:\n    cmd: (sleep 1; echo late >> a.txt) & echo a > a.txt; sleep 0.5; wait\n    \
                outs: [a.txt: {cache: false}]\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    let mut runner = Command::new(binary("run-pipeline")).args(["-q"]).current_dir(project.path()).spawn().unwrap();
    wait_for("the stage", || project.at("a.txt").exists());
    kill(&runner.id().to_string());
    runner.wait().unwrap();
    project.edit("dvc.yaml", "(sleep 1; echo late >> a.txt) & ", "");
    project.run(&["-q"]);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(project.read("a.txt"), "a\n");
}

#[test]
fn a_file_with_its_old_times_and_new_bytes_is_noticed() {
    let text = "stages:\n  a:\n    cmd: printf 12345 > a.txt\n    outs: [a.txt: {cache: false}]\n";
    let project = Project::new(&[("dvc.yaml", text)]);
    project.run(&["-q"]);
    std::thread::sleep(Duration::from_millis(100));
    project.run(&["-q"]); // now the hash is kept
    let path = project.at("a.txt");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"54321").unwrap();
    file.set_modified(before).unwrap();
    drop(file);
    assert_eq!(project.stale(&[])[0].1, ["out `a.txt` modified"]);
}
