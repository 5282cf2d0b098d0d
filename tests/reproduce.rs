//! The blend pipeline from nothing, byte for byte: `make reproduce`.
//!
//! The pipeline of the demo runs at its smallest size in a clean folder, and every data file that it writes is compared
//! with what is committed in `submissions/leap/small`. Kernels are chosen by the processor, so on another one than the
//! recorded one two clean runs have to agree to the byte, and the blend with the committed one within 1e-5.
//!
//! `PODIUM_UPDATE=1 make reproduce` commits what this machine computes, after two runs that agree.

#[path = "support/small.rs"]
mod small;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::durable;
use common::submission::SubmissionFile;
use serde_json::{Value, json};
use small::{BLEND, FOLDER, PINS};
use support::{cmd, root};

/// What is committed, below the root of the repository.
const REFERENCE: &str = "submissions/leap/small";
/// Largest difference from the committed blend on another processor, as a part of the column's largest value.
const TOLERANCE: f64 = 1e-5;

/// What the pipeline left behind.
struct Run {
    folder: tempfile::TempDir,
    /// Hash of every data file behind the raw ones. Manifests, logs and reports hold wall times and are left out.
    files: BTreeMap<String, String>,
    /// The line of `--result`.
    result: Value,
}

/// Runs everything from nothing in a folder of its own.
fn run() -> Run {
    let folder = tempfile::tempdir().unwrap();
    small::copy_into(folder.path());
    // Two stages at a time, each on one thread: the pins hide GPUs, so that `--gpus` counts places.
    let mut command = cmd("run-pipeline").args(["pipelines/leap-blend", "-q", "-j", "2", "--gpus", "2", "--result"]);
    for (name, value) in PINS {
        command = command.env(name, value);
    }
    let outcome = command.within(folder.path()).succeeds();
    let result = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    let mut files = BTreeMap::new();
    collect(folder.path(), &folder.path().join(FOLDER), &mut files);
    Run { folder, files, result }
}

fn collect(base: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let is_data = path.extension().is_some_and(|e| ["safetensors", "parquet", "csv"].iter().any(|d| e == *d));
        if entry.file_type().unwrap().is_dir() {
            // The numbers of a page's charts belong to the page.
            if path.file_name().is_some_and(|name| name == "plots") {
                continue;
            }
            collect(base, &path, files);
        } else if is_data {
            let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_string();
            files.insert(name, durable::hash_file(&path).unwrap().blake3);
        }
    }
}

/// Hash of the blend in a lock of the pipeline.
fn locked_blend(lock: &Path) -> String {
    let text = fs::read_to_string(lock).unwrap_or_else(|e| panic!("{}: {e}", lock.display()));
    let lock: Value = serde_saphyr::from_str(&text).unwrap();
    let outs = lock["stages"]["blend"]["outs"].as_array().unwrap();
    let blend = outs.iter().find(|out| out["path"] == BLEND).unwrap();
    blend["md5"].as_str().unwrap().into()
}

/// What chooses the kernels: the processor and its instructions, and the C library's.
fn processor() -> Value {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|l| l.split_once(':')).map_or(String::new(), |(_, value)| value.trim().to_string())
    };
    let flags = field("flags");
    let of_interest = |flag: &&str| ["avx", "fma", "amx"].iter().any(|family| flag.starts_with(family));
    let mut flags: Vec<&str> = flags.split_whitespace().filter(of_interest).collect();
    flags.sort_unstable();
    // SAFETY: the call takes nothing and gives a text that lives as long as the process.
    let libc = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    json!({
        "vendor": field("vendor_id"),
        "name": field("model name"),
        "family": field("cpu family"),
        "model": field("model"),
        "instructions": flags.join(" "),
        "libc": libc.to_string_lossy(),
    })
}

/// Names of the files that differ, the earliest written first as far as names tell.
fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// The largest difference of two blends, as a part of the largest value of its column.
fn distance(one: &Path, other: &Path) -> f64 {
    let scratch = tempfile::tempdir().unwrap();
    let open = |path: &Path| SubmissionFile::open(path, scratch.path()).unwrap();
    let (one, other) = (open(one), open(other));
    assert_eq!(one.columns(), other.columns());
    assert_eq!(one.ids(), other.ids());
    let names: Vec<&str> = one.columns().iter().map(String::as_str).collect();
    let columns = one.read(&names).unwrap().into_iter().zip(other.read(&names).unwrap());
    let far = columns.map(|(a, b)| {
        let scale = a.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
        let apart = a.iter().zip(&b).fold(0.0_f64, |max, (a, b)| max.max((a - b).abs()));
        if apart > 0.0 { apart / scale.max(f64::MIN_POSITIVE) } else { 0.0 }
    });
    far.fold(0.0, f64::max)
}

fn reference_files() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join(REFERENCE).join("files.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn commit(run: &Run) {
    let folder = root().join(REFERENCE);
    let bytes = |name: &str| fs::read(run.folder.path().join(name)).unwrap();
    durable::write(folder.join("dvc.lock"), &bytes("pipelines/leap-blend/dvc.lock")).unwrap();
    durable::write(folder.join("blend.parquet"), &bytes(BLEND)).unwrap();
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap() + "\n";
    durable::write(folder.join("processor.json"), pretty(&processor()).as_bytes()).unwrap();
    durable::write(folder.join("files.json"), pretty(&json!(run.files)).as_bytes()).unwrap();
}

#[test]
fn the_blend_pipeline_from_nothing_gives_the_committed_bytes() {
    let first = run();
    assert!(first.files.len() > 10, "{:?}", first.files);
    let update = std::env::var_os("PODIUM_UPDATE").is_some();
    let text = fs::read_to_string(root().join(REFERENCE).join("processor.json")).unwrap_or_default();
    let recorded: Value = serde_json::from_str(&text).unwrap_or_default();
    let same = recorded == processor();
    if update || !same {
        let second = run();
        let differ = differences(&first.files, &second.files);
        assert!(differ.is_empty(), "two runs on this machine differ in {differ:#?}");
    }
    if update {
        commit(&first);
    }
    let reference = root().join(REFERENCE);
    let blend = first.folder.path().join(BLEND);
    if same || update {
        let differ = differences(&reference_files(), &first.files);
        assert!(differ.is_empty(), "these files differ from the committed run ({REFERENCE}/files.json): {differ:#?}");
        let (found, expected) = (
            locked_blend(&first.folder.path().join("pipelines/leap-blend/dvc.lock")),
            locked_blend(&reference.join("dvc.lock")),
        );
        assert_eq!(found, expected, "the blend's hash differs from the committed lock ({REFERENCE}/dvc.lock)");
    }
    let apart = distance(&reference.join("blend.parquet"), &blend);
    assert!(apart <= TOLERANCE, "the blend is {apart:e} away from the committed one, {TOLERANCE:e} is allowed");
    // What came out is a pipeline's result: it learned something, and the blend is better than each member.
    let metrics = &first.result["metrics"];
    let best = metrics["members"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).fold(f64::MIN, f64::max);
    let score = metrics["blend"].as_f64().unwrap();
    assert!(score > best && score > 0.1, "{metrics}");
    assert!(first.result["outputs"]["submission"]["path"].as_str().unwrap().ends_with(BLEND), "{}", first.result);
}

#[test]
fn one_changed_byte_of_the_blend_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("a/blend.parquet"), folder.path().join("b/blend.parquet"));
    let mut bytes = fs::read(root().join(REFERENCE).join("blend.parquet")).unwrap();
    durable::write(&one, &bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    durable::write(&other, &bytes).unwrap();
    let hashes = |base: &str| {
        let mut files = BTreeMap::new();
        collect(&folder.path().join(base), &folder.path().join(base), &mut files);
        files
    };
    assert_eq!(differences(&hashes("a"), &hashes("a")), [""; 0]);
    assert_eq!(differences(&hashes("a"), &hashes("b")), ["blend.parquet"]);
    assert_eq!(distance(&one, &one), 0.0);
}

#[test]
fn the_committed_lock_names_the_committed_blend() {
    use md5::{Digest, Md5};
    let reference = root().join(REFERENCE);
    let md5 = Md5::digest(fs::read(reference.join("blend.parquet")).unwrap());
    let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(md5, locked_blend(&reference.join("dvc.lock")));
}
