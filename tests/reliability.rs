//! Promises that hold for every stage: one owner of a folder, the same bytes whatever the threads, the folder or the
//! locale, full disks and closed pipes, and a crash at any system call. The stage under test is `prepare-data` on a
//! few simulated files; training has tests of its own.

#![allow(clippy::print_stderr)] // a skipped test says why

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::{binary, cmd};
use tempfile::TempDir;

const SIMULATE: &str = "\
system: leap
seed: 3
columns: 2
months:
  - {months: [0001-02], days: 1, step_stride: 24}
  - {months: [0008-07], days: 1, step_stride: 36}
format: cdf5
kaggle: {test_months: [0009-02], test_rows: 4, train_rows: 0}
";

const PREPARE: &str = "\
system: leap
seed: 3
chains: [a, b]
normalisation: given
train: {netcdf: {months: [0001-02], stride: 1}}
valid: {netcdf: {months: [0008-07], stride: 1, table: false}}
test: {csv: test.csv}
";

/// Simulated raw data that all tests of this file share, and the config that prepares it.
fn raw() -> &'static Path {
    static RAW: OnceLock<TempDir> = OnceLock::new();
    RAW.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        common::durable::write(folder.path().join("simulate.yaml"), SIMULATE.as_bytes()).unwrap();
        common::durable::write(folder.path().join("prepare.yaml"), PREPARE.as_bytes()).unwrap();
        let simulate = ["leap", "simulate.yaml", "--out", "raw", "-q"];
        cmd("simulate-data").args(simulate).within(folder.path()).succeeds();
        folder
    })
    .path()
}

fn prepare(out: &Path) -> support::Cmd {
    cmd("prepare-data").args(["leap", "prepare.yaml", "--from", "raw", "-q", "--out"]).arg(out).within(raw())
}

fn prepare_command(out: &Path) -> Command {
    let mut command = Command::new(binary("prepare-data"));
    command.args(["leap", "prepare.yaml", "--from", "raw", "-q", "--out"]).arg(out).current_dir(raw());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Name and content hash of every array file below a finished stage's folder.
fn arrays(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for chain in ["a", "b"] {
        let mut files: Vec<PathBuf> = fs::read_dir(folder.join(chain)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            let hash = common::durable::hash_file(&file).unwrap().blake3;
            found.push((file.strip_prefix(folder).unwrap().to_path_buf(), hash));
        }
    }
    assert!(!found.is_empty());
    found
}

fn reference() -> &'static Vec<(PathBuf, String)> {
    static REFERENCE: OnceLock<Vec<(PathBuf, String)>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).succeeds();
        arrays(folder.path())
    })
}

#[test]
fn r10_eight_processes_on_one_folder_have_one_owner() {
    let out = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8).map(|_| prepare_command(out.path()).spawn().unwrap()).collect();
    let outcomes: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    let codes: Vec<_> = outcomes.iter().map(|o| o.status.code().unwrap()).collect();
    // A process that came after the owner had finished finds a finished stage (2); the others find it in use (6).
    assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|c| [0, 2, 6].contains(c)), "{codes:?}");
    for outcome in outcomes.iter().filter(|o| o.status.code() == Some(6)) {
        assert!(String::from_utf8_lossy(&outcome.stderr).contains("in use by pid"));
    }
    assert_eq!(&arrays(out.path()), reference());
}

#[test]
fn r11_threads_folder_locale_and_time_zone_do_not_change_a_byte() {
    for (threads, zone, locale) in [("1", "UTC", "C"), ("2", "Asia/Kathmandu", "de_DE.UTF-8"), ("4", "", "tr_TR")] {
        let out = tempfile::tempdir().unwrap();
        prepare(out.path()).args(["--threads", threads]).env("TZ", zone).env("LC_ALL", locale).succeeds();
        assert_eq!(&arrays(out.path()), reference(), "{threads} threads, zone {zone}, locale {locale}");
    }
}

#[test]
fn r12_a_reader_that_closes_its_end_early_is_no_error() {
    let out = tempfile::tempdir().unwrap();
    let mut child = prepare_command(out.path()).spawn().unwrap();
    drop(child.stdout.take());
    let outcome = child.wait_with_output().unwrap();
    assert_eq!(outcome.status.code(), Some(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(outcome.stderr.is_empty(), "{}", String::from_utf8_lossy(&outcome.stderr));
}

#[test]
fn r4_a_full_device_as_standard_output_is_an_io_error() {
    let out = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let outcome = prepare_command(out.path()).stdout(full).output().unwrap();
    assert_eq!(outcome.status.code(), Some(4), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(String::from_utf8_lossy(&outcome.stderr).contains("standard output"));
}

#[test]
fn r4_a_full_disk_leaves_nothing_half_written_and_the_next_run_finishes() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = |size: &str, more: &str| {
        let options = format!("size={size}{more}");
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "podium"])
            .arg(mount.path())
            .stderr(Stdio::null())
            .status()
    };
    if !mounted("48k", "").is_ok_and(|s| s.success()) {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    }
    let out = mount.path().join("out");
    let failed = prepare(&out).fails(4).says("No space left");
    assert!(failed.stderr.contains("hint: free some space"), "{}", failed.stderr);
    let leftovers: Vec<_> = walk(&out).into_iter().filter(|p| p.to_string_lossy().contains(".podium-tmp-")).collect();
    let finished = out.join("stage.json").exists();
    mounted("64m", ",remount").unwrap();
    let resumed = prepare(&out).run();
    let after = if resumed.code == Some(0) { arrays(&out) } else { Vec::new() };
    let unmounted = Command::new("umount").arg(mount.path()).status().unwrap();
    assert!(unmounted.success());
    assert!(leftovers.is_empty(), "{leftovers:?}");
    assert!(!finished);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(&after, reference());
}

#[test]
fn r2_a_kill_at_any_durable_call_leaves_a_folder_that_the_next_start_finishes() {
    sweep("renameat2,rename,renameat", "signal=KILL");
    sweep("fsync,fdatasync", "signal=KILL");
}

#[test]
fn r3_an_error_of_any_durable_call_ends_with_the_code_of_its_class() {
    sweep("fsync,fdatasync", "error=EIO");
    sweep("renameat2,rename,renameat", "error=EXDEV");
    sweep("write", "error=ENOSPC");
}

/// Runs the stage under strace with the fault injected at the N-th such call, N = 1, 2, ... until a run ends well, and
/// after each fault once more without: that run must succeed and give the reference bytes.
fn sweep(calls: &str, fault: &str) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let long = std::env::var_os("PODIUM_LONG").is_some();
    let mut n = 1;
    loop {
        let out = tempfile::tempdir().unwrap();
        let inject = format!("inject={calls}:{fault}:when={n}");
        let filter = format!("trace={calls}");
        let log = tempfile::NamedTempFile::new().unwrap();
        let traced = Command::new("strace")
            .args(["-f", "-q", "-e", &filter, "-e", &inject, "-o"])
            .arg(log.path())
            .arg(binary("prepare-data"))
            .args(["leap", "prepare.yaml", "--from", "raw", "-q", "--threads", "1", "--out"])
            .arg(out.path())
            .current_dir(raw())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&traced.stderr);
        let step = if long || n < 6 { 1 } else { 5 };
        if traced.status.code() == Some(0) {
            assert_eq!(&arrays(out.path()), reference());
            if fs::read_to_string(log.path()).unwrap().contains("(INJECTED)") {
                n += step; // a fault that may be passed over: a log line, a message
                continue;
            }
            assert!(n > 1, "`{inject}` never struck");
            return;
        }
        if fault.starts_with("error") {
            assert_eq!(traced.status.code(), Some(4), "`{inject}`: {text}");
            assert!(text.contains("error:"), "`{inject}`: {text}");
        }
        let again = prepare(out.path()).run();
        // Killed after `stage.json` appeared: the stage is finished, and says so.
        let finished = again.code == Some(2) && again.stderr.contains("finished stage");
        assert!(again.code == Some(0) || finished, "after `{inject}`: {}", again.stderr);
        assert_eq!(&arrays(out.path()), reference(), "after `{inject}`");
        let stray: Vec<_> =
            walk(out.path()).into_iter().filter(|p| p.to_string_lossy().contains(".podium-tmp-")).collect();
        assert!(stray.is_empty(), "after `{inject}`: {stray:?}");
        // The calls of one kind repeat the same few situations: the short run takes every call of the first file and
        // strides over the rest.
        n += step;
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}
