//! Training under faults: killed or failing at each durable system call, a full disk, signals.

#![allow(clippy::print_stderr)] // a skipped test says why

#[path = "support/mod.rs"]
mod support;
#[path = "support/training.rs"]
mod training;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::binary;
use training::{TRAIN_ARGS, assert_same_results, reference, strays, train, train_command, workshop};

#[test]
fn r2_a_kill_at_any_durable_call_leaves_a_run_that_resumes_to_the_same_bytes() {
    sweep("renameat2,rename,renameat", "signal=KILL");
    sweep("fsync,fdatasync", "signal=KILL");
}

#[test]
fn r3_a_failing_call_ends_with_the_code_of_its_class_and_keeps_the_checkpoint() {
    sweep("fsync,fdatasync", "error=EIO");
    sweep("write", "error=ENOSPC");
}

/// Runs training under strace with the fault injected at the N-th such call; after each fault once more without. That
/// run must succeed with the reference bytes.
fn sweep(calls: &str, fault: &str) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    reference();
    let long = std::env::var_os("PODIUM_LONG").is_some();
    let (mut n, mut struck) = (1, 0);
    loop {
        let out = tempfile::tempdir().unwrap();
        let inject = format!("inject={calls}:{fault}:when={n}");
        let traced = strace(calls, &inject, out.path());
        let text = String::from_utf8_lossy(&traced.stderr);
        if traced.status.code() == Some(0) {
            assert_same_results(out.path(), &inject);
            assert!(struck > 0, "`{inject}` never struck");
            return;
        }
        struck += 1;
        if fault.starts_with("error") {
            assert_eq!(traced.status.code(), Some(4), "`{inject}`: {text}");
            assert!(text.contains("error:"), "`{inject}`: {text}");
        }
        let again = train(out.path()).run();
        let finished = again.code == Some(2) && again.stderr.contains("finished stage");
        assert!(again.code == Some(0) || finished, "after `{inject}`: {}", again.stderr);
        assert_same_results(out.path(), &inject);
        // Each saved checkpoint repeats the calls of the one before: the short run strides over them, with a step that
        // shares no factor with their number.
        n += if long { 1 } else { 1 + n / 2 };
    }
}

fn strace(calls: &str, inject: &str, out: &Path) -> std::process::Output {
    Command::new("strace")
        .args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", inject])
        .arg(binary("train-model"))
        .args(TRAIN_ARGS)
        .arg(out)
        .current_dir(workshop())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn r4_a_full_disk_keeps_the_checkpoint_and_the_run_goes_on_with_space() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = |size: &str, more: &str| {
        let options = format!("size={size}{more}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "podium"]).arg(mount.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mounted("500k", "") {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    }
    let out = mount.path().join("out");
    let failed = train(&out).run();
    let left = strays(&out);
    let kept = fs::read_dir(out.join("checkpoints")).map(|entries| entries.count()).unwrap_or(0);
    mounted("64m", ",remount");
    let resumed = train(&out).run();
    if resumed.code == Some(0) {
        assert_same_results(&out, "a full disk");
    }
    assert!(Command::new("umount").arg(mount.path()).status().unwrap().success());
    assert_eq!(failed.code, Some(4), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("No space left") && failed.stderr.contains("hint: free some space"),
        "{}",
        failed.stderr
    );
    assert!(left.is_empty(), "{left:?}");
    assert!(kept > 0, "no checkpoint was left");
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
}

#[test]
fn r12_one_signal_saves_and_ends_with_130_within_five_seconds() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let out = tempfile::tempdir().unwrap();
        let mut child = started(out.path());
        send(&child, signal);
        let asked = Instant::now();
        let status = child.wait().unwrap();
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
        assert_eq!(status.code(), Some(130), "{text}");
        assert!(text.contains("is saved in") && text.contains("--resume auto"), "{text}");
        assert!(!out.path().join("stage.json").exists());
        train(out.path()).succeeds();
        assert_same_results(out.path(), "a signal");
    }
}

#[test]
fn r12_no_thread_that_computes_takes_a_signal() {
    let out = tempfile::tempdir().unwrap();
    let mut child = started(out.path());
    let mut takers = vec![];
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    for task in tasks.flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0").trim().to_owned();
        // The thread that waits in `sigwait` shows the signals as unblocked while it waits.
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        let wanted = 1 << (libc::SIGINT - 1) | 1 << (libc::SIGTERM - 1);
        if blocked & wanted != wanted {
            takers.push(field("Name:"));
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(takers.iter().all(|name| name == "signals"), "{takers:?}");
}

#[test]
fn r12_a_second_signal_ends_at_once() {
    let out = tempfile::tempdir().unwrap();
    let mut child = started(out.path());
    send(&child, libc::SIGINT);
    send(&child, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    train(out.path()).succeeds();
    assert_same_results(out.path(), "two signals");
}

/// A long run that has written its first checkpoint.
fn started(out: &Path) -> Child {
    let child = train_command(out).spawn().unwrap();
    let begun = Instant::now();
    while !out.join("checkpoints/last/manifest.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn send(child: &Child, signal: i32) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success(), "the run was over before the signal");
}
