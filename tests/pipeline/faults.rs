//! The runner killed or failing at each of its system calls that touch the disk. Whatever happens, the next run ends
//! with the same bytes, and nothing half-done is taken for finished.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::project::Project;
use crate::support::binary;

/// Outs in DVC's cache and out of it, a folder, parameters; the `seen` file is written because stages ran.
const PIPELINE: &str = "\
stages:
  a:
    cmd: mkdir -p all && cat in.txt > all/a.txt && echo b > all/b.txt
    deps: [in.txt]
    outs: [all]
  b:
    cmd: cat all/a.txt all/b.txt > b.txt
    deps: [all]
    params: [seed]
    outs: [b.txt: {cache: false}]
";

fn project() -> Project {
    let project = Project::new(&[("dvc.yaml", PIPELINE), ("params.yaml", "seed: 7\n"), ("in.txt", "hello\n")]);
    fs::create_dir(project.at(".dvc")).unwrap();
    project
}

/// Every file but what is kept beside the pipeline.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>, base: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files(&path, found, base);
        } else {
            let name = path.strip_prefix(base).unwrap().display().to_string();
            // A temporary in DVC's cache is never swept: another run may be writing beside it.
            let passed_over = name.starts_with(".podium/") && !name.contains(".podium-tmp-")
                || name.starts_with(".dvc/cache") && name.contains(".podium-tmp-");
            if !passed_over {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
}

fn all_files(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(project.path(), &mut found, project.path());
    found
}

/// `run-pipeline` under strace, without its stages; and whether the fault struck.
fn strace(project: &Project, calls: &str, inject: &str) -> (Output, bool) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-q", "-b", "execve", "-e", &format!("trace={calls}"), "-e", inject, "-o"])
        .arg(trace.path())
        .arg(binary("run-pipeline"))
        .args(["-q", "-j", "2"])
        .current_dir(project.path())
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let struck = !output.status.success() || fs::read_to_string(trace.path()).unwrap().contains("(INJECTED)");
    (output, struck)
}

/// Strikes at the N-th such call for N = 1, 2, ... until a run ends unharmed. `prepare` brings a project to the state that
/// the run starts from.
fn sweep(calls: &str, fault: &str, prepare: fn() -> Project) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let reference = prepare();
    reference.run(&["-q", "-j", "2"]);
    let expected = all_files(&reference);
    assert!(expected.contains_key("dvc.lock") && expected.contains_key("b.txt"), "{:?}", expected.keys());
    for n in 1.. {
        let project = prepare();
        let inject = format!("inject={calls}:{fault}:when={n}");
        let (traced, hit) = strace(&project, calls, &inject);
        let text = String::from_utf8_lossy(&traced.stderr);
        if !hit {
            assert_eq!(all_files(&project), expected, "`{inject}`");
            assert!(n > 1, "`{inject}` never struck");
            return;
        }
        // An error that changes nothing may be passed over: that a record could not be removed, say.
        if fault.starts_with("error") && !traced.status.success() {
            // What a stage could not do is its failure; what the runner could not do names the file and the cause.
            assert_eq!(traced.status.code(), Some(4), "`{inject}`: {text}");
            assert!(text.contains("error: ") && text.contains("os error"), "`{inject}`: {text}");
        }
        project.run(&["-q", "-j", "2"]);
        assert_eq!(all_files(&project), expected, "after `{inject}`: {text}");
        assert_eq!(project.stale(&[]), [], "after `{inject}`");
    }
}

/// All stages are up to date, but nothing is kept beside the pipeline: hashes are taken and kept anew.
fn finished() -> Project {
    let project = project();
    project.run(&["-q"]);
    fs::remove_dir_all(project.at(".podium")).unwrap();
    // Files younger than a clock tick are not kept.
    std::thread::sleep(std::time::Duration::from_millis(80));
    project
}

#[test]
fn r2_a_kill_at_any_durable_call_of_the_runner_loses_nothing() {
    for calls in ["renameat2,rename,renameat", "fsync,fdatasync", "openat", "unlink,unlinkat", "write"] {
        sweep(calls, "signal=KILL", project);
    }
    sweep("renameat2,rename,renameat", "signal=KILL", finished);
}

#[test]
fn r3_a_failing_call_of_the_runner_is_named_and_the_next_run_makes_up_for_it() {
    sweep("fsync,fdatasync", "error=EIO", project);
    sweep("renameat2,rename,renameat", "error=EXDEV", project);
    sweep("write", "error=ENOSPC", project);
}
