//! Data far larger than memory: stores of holes as large as the published ones, whose opening, order, first batches and
//! resumption take no longer and no more memory than those of small ones, and preparations of many gigabytes.
#![allow(clippy::zombie_processes, reason = "`ended` waits for them, and asks what they took")]
#![allow(clippy::print_stdout)] // a skipped test says why

#[path = "support/mod.rs"]
mod support;
#[path = "support/training.rs"]
mod training;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::durable::{self, Written};
use serde_json::Value;
use support::{binary, cmd};
use training::workshop;

/// Bytes of a row of chain A: 556 inputs and 368 targets in f32.
const ROW: u64 = (556 + 368) * 4;

fn long() -> bool {
    std::env::var_os("PODIUM_LONG").is_some()
}

/// A file of arrays like `from`, with so many rows that were never written.
fn hollow(from: &Path, to: &Path, rows: u64) {
    let content = fs::read(from).unwrap();
    let length = u64::from_le_bytes(*content.first_chunk().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&content[8..8 + length]).unwrap();
    // Places and steps before are left out: training asks for them only where a network learns them.
    header.as_object_mut().unwrap().retain(|name, _| ["__metadata__", "inputs", "targets"].contains(&name.as_str()));
    let inputs = rows * 556 * 4;
    for (name, width, begin, end) in [("inputs", 556, 0, inputs), ("targets", 368, inputs, rows * ROW)] {
        header[name]["shape"] = serde_json::json!([rows, width]);
        header[name]["data_offsets"] = serde_json::json!([begin, end]);
    }
    let mut text = header.to_string();
    text += &" ".repeat(text.len().next_multiple_of(64) + 56 - text.len());
    let head = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    durable::write(to, &head).unwrap();
    fs::File::options().write(true).open(to).unwrap().set_len(head.len() as u64 + rows * ROW).unwrap();
}

/// A finished stage like the workshop's, with so many months of so many rows, known by the state of its files as after a real run.
fn store(months: u32, rows: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let real = workshop().join("data");
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(real.join("stage.json")).unwrap()).unwrap();
    let outputs = manifest["outputs"].as_object_mut().unwrap();
    outputs.retain(|name, _| ["a/valid", "config"].contains(&name.as_str()));
    let mut written = Vec::new();
    for output in outputs.values() {
        let below = PathBuf::from(output["path"].as_str().unwrap());
        let content = fs::read(real.join(&below)).unwrap();
        written.push(Written { path: below.clone(), ..durable::write(folder.path().join(below), &content).unwrap() });
    }
    for month in 0..months {
        let name = format!("a/train_{:02}_{:02}", 1 + month / 12, 1 + month % 12);
        let below = PathBuf::from(format!("{name}.safetensors"));
        hollow(&real.join("a/train_01_02.safetensors"), &folder.path().join(&below), rows);
        let bytes = fs::metadata(folder.path().join(&below)).unwrap().len();
        // What it would have: nobody reads it to find out.
        let blake3 = "0".repeat(64);
        outputs.insert(name, serde_json::json!({ "path": below, "bytes": bytes, "blake3": blake3 }));
        written.push(Written { path: below, bytes, blake3 });
    }
    common::verified::record(folder.path(), &written).unwrap();
    durable::write(folder.path().join("stage.json"), manifest.to_string().as_bytes()).unwrap();
    folder
}

fn train(data: &Path, out: &Path) -> Command {
    let mut command = Command::new(binary("train-model"));
    command.arg("train.yaml").arg("--from").arg(data).args(["-q", "--threads", "1", "--device=cpu", "--out"]).arg(out);
    command.current_dir(workshop()).stdin(Stdio::null());
    command
}

/// Waits for a process; its exit code and the processor seconds that it took, which other programs do not stretch.
fn ended(child: &Child) -> (Option<i32>, f64) {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid, the pointers are to live locals, and the child has not been waited for.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(
            libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage),
            child.id() as libc::pid_t
        );
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    (code, seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// Processor seconds and peak anonymous bytes of the first steps on a store; the best of some.
fn first_steps(data: &Path) -> (f64, u64) {
    let once = || {
        let out = tempfile::tempdir().unwrap();
        let run = out.path().join("run");
        let mut command = train(data, &run);
        let child = command.args(["--limit", "3", "training.epochs=1"]).stdout(Stdio::null()).spawn().unwrap();
        let (code, seconds) = ended(&child);
        assert_eq!(code, Some(0));
        let manifest: Value = serde_json::from_str(&fs::read_to_string(run.join("stage.json")).unwrap()).unwrap();
        (seconds, manifest["peak_anonymous_bytes"].as_u64().unwrap())
    };
    let runs: Vec<_> = (0..4).map(|_| once()).collect();
    (runs.iter().map(|run| run.0).fold(f64::MAX, f64::min), runs.iter().map(|run| run.1).min().unwrap())
}

/// Processor seconds until a training on a store has written a checkpoint that was not there before and was interrupted.
fn until_a_checkpoint(data: &Path, out: &Path) -> (f64, String) {
    let last = out.join("checkpoints/last/manifest.json");
    let state = || fs::read_to_string(&last).unwrap_or_default();
    let (before, begun) = (state(), Instant::now());
    let child = train(data, out).arg("training.checkpoint.every_steps=8").stdout(Stdio::null()).spawn().unwrap();
    while state() == before {
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let (code, seconds) = ended(&child);
    assert_eq!(code, Some(130));
    (seconds, state())
}

#[test]
fn a_store_of_300_gigabytes_is_opened_ordered_read_and_resumed_as_a_small_one() {
    // 1.3 GB, 13 GB, and what chain A of the published arrays takes.
    let stores = [store(1, 350_000), store(10, 350_000), store(96, 846_000)];
    let apparent = |folder: &Path| {
        fs::read_dir(folder.join("a")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let bytes: Vec<u64> = stores.iter().map(|store| apparent(store.path())).collect();
    assert!((1.2e9..1.5e9).contains(&(bytes[0] as f64)) && bytes[1] > 12_000_000_000 && bytes[2] > 300_000_000_000);
    let on_disk: u64 =
        fs::read_dir(stores[2].path().join("a")).unwrap().map(|e| e.unwrap().metadata().unwrap().blocks()).sum();
    assert!(on_disk * 512 < 100_000_000, "holes take no room");
    let found: Vec<(f64, u64)> = stores.iter().map(|store| first_steps(store.path())).collect();
    println!("first steps on {bytes:?} bytes: {found:?}");
    for (seconds, memory) in &found[1..] {
        assert!(*seconds <= 1.3 * found[0].0 + 0.1, "{found:?}");
        assert!(*memory <= found[0].1 + found[0].1 / 5, "{found:?}");
    }
    let resumed: Vec<[f64; 2]> = [&stores[0], &stores[2]]
        .map(|store| {
            let out = tempfile::tempdir().unwrap();
            let out = out.path().join("run");
            let (first, before) = until_a_checkpoint(store.path(), &out);
            let (again, after) = until_a_checkpoint(store.path(), &out);
            let step = |text: &str| serde_json::from_str::<Value>(text).unwrap()["global_step"].as_u64().unwrap();
            assert!(step(&after) > step(&before) && step(&before) > 0, "it went on in the middle");
            [first, again]
        })
        .into();
    println!("processor seconds to a checkpoint, and to the next one after an interruption: {resumed:?}");
    assert!(resumed[1][1] <= 1.3 * resumed[0][1].max(resumed[0][0]) + 0.5, "{resumed:?}");
}

/// Raw months of so many steps: names for the same few files, with which they share their place on disk.
fn months(folder: &Path, raw: &Path, months: u32, steps: u32) {
    let mut files: Vec<PathBuf> = fs::read_dir(raw.join("train/0001-02")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mli, mlo): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.file_name().unwrap().to_string_lossy().contains(".mli."));
    for month in 0..months {
        let name = format!("{:04}-{:02}", 1 + month / 12, 1 + month % 12);
        let to = folder.join("train").join(&name);
        fs::create_dir_all(&to).unwrap();
        for step in 0..steps {
            let time = format!("{name}-{:02}-{:05}", 1 + step / 72, step % 72 * 1200);
            for (kind, files) in [("mli", &mli), ("mlo", &mlo)] {
                let from = &files[step as usize % files.len()];
                fs::hard_link(from, to.join(format!("E3SM-MMF.{kind}.{time}.nc"))).unwrap();
            }
        }
    }
}

#[test]
fn memory_does_not_grow_with_what_is_prepared() {
    let scratch = tempfile::tempdir().unwrap();
    // A time step of 384 columns becomes 2.8 MB in both chains: 0.1 and 0.4 GB, or 2 and 20 GB.
    let (small, large, steps) = if long() { (1, 10, 700) } else { (1, 4, 36) };
    let needed = u64::from(large) * u64::from(steps) * 3_000_000 * 3 / 2;
    let free = Command::new("df").args(["--output=avail", "-B1"]).arg(scratch.path()).output().unwrap().stdout;
    let free: u64 = String::from_utf8_lossy(&free).lines().last().unwrap().trim().parse().unwrap();
    if free < needed {
        println!("skipped: {free} bytes are free, {needed} needed");
        return;
    }
    let at = |name: &str| scratch.path().join(name);
    let simulate = "system: leap\nseed: 3\ncolumns: 384\nmonths: [{months: [0001-02], days: 1, step_stride: 36}]\nformat: cdf5\n\
                    kaggle: {test_months: [0009-02], test_rows: 4, train_rows: 0}\n";
    durable::write(at("simulate.yaml"), simulate.as_bytes()).unwrap();
    cmd("simulate-data").args(["leap", "simulate.yaml", "--out", "raw", "-q"]).within(scratch.path()).succeeds();
    let prepare = "system: leap\nchains: [a, b]\nnormalisation: given\ntrain: {netcdf: {months: [0001-01..0001-12]}}\nvalid: null\n\
                   test: null\n";
    durable::write(at("prepare.yaml"), prepare.as_bytes()).unwrap();
    let peak = |count: u32| {
        let (raw, out) = (at(&format!("raw-{count}")), at(&format!("data-{count}")));
        months(&raw, &at("raw/raw"), count, steps);
        let begun = Instant::now();
        let outcome = cmd("prepare-data")
            .args(["leap", "prepare.yaml", "-q", "--threads", "2", "--raw"])
            .arg(&raw)
            .arg("--out")
            .arg(&out);
        let manifest: Value = serde_json::from_str(&outcome.within(scratch.path()).succeeds().stdout).unwrap();
        let bytes: u64 = manifest["outputs"].as_object().unwrap().values().map(|o| o["bytes"].as_u64().unwrap()).sum();
        let (peak, seconds) = (manifest["peak_anonymous_bytes"].as_u64().unwrap(), begun.elapsed().as_secs_f64());
        println!("{count} months: {bytes} bytes in {seconds:.1} s, peak anonymous memory {peak}");
        // Room for the next one.
        fs::remove_dir_all(out).unwrap();
        (bytes, peak)
    };
    let ((few, before), (many, after)) = (peak(small), peak(large));
    assert!(many > 3 * few && (!long() || many > 19_000_000_000), "{few} {many}");
    assert!(after <= before + before / 4 + (8 << 20) && after < 2 << 30, "{before} {after}");
}
