//! `run-pipeline doctor`: what it prints where all is well, and where something is missing.

use crate::support::{cmd, root};
use serde_json::Value;

fn report(outcome: &str) -> Value {
    serde_json::from_str(outcome).unwrap_or_else(|e| panic!("not one JSON object ({e}): {outcome}"))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check `{name}` in {report}"))
}

#[test]
fn a_machine_that_was_set_up_passes() {
    let outcome = cmd("run-pipeline").args(["doctor", "--json"]).within(root()).succeeds();
    let report = report(&outcome.stdout);
    assert_eq!(report["ok"], true);
    assert_eq!(check(&report, "podium")["value"], env!("CARGO_PKG_VERSION"));
    assert!(check(&report, "libtorch")["value"].as_str().unwrap().starts_with("2.11.0, /"), "{report}");
    for (name, part) in [
        ("built with", "rustc 1."),
        ("HDF5", "2."),
        ("netCDF", "4."),
        ("threads", "cores usable"),
        ("memory", "GiB available"),
        ("disk", "GiB free"),
    ] {
        let value = check(&report, name)["value"].as_str().unwrap();
        assert!(value.contains(part), "{name}: {value}");
    }
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
}

#[test]
fn the_list_for_people_has_the_same_lines() {
    let text = cmd("run-pipeline").arg("doctor").within(root()).succeeds().stdout;
    let report = report(&cmd("run-pipeline").args(["doctor", "--json"]).within(root()).succeeds().stdout);
    for check in report["checks"].as_array().unwrap() {
        let name = check["name"].as_str().unwrap();
        assert!(text.lines().any(|l| l.contains(&format!("  {name} "))), "no line for {name}:\n{text}");
    }
}

#[test]
fn a_missing_libtorch_fails_with_a_remedy() {
    // A copy of the binary alone: nothing beside it, above it or in the environment leads to a libtorch.
    let folder = tempfile::tempdir().unwrap();
    #[allow(clippy::disallowed_methods)] // a fixture
    std::fs::copy(crate::support::binary("run-pipeline"), folder.path().join("doctor")).unwrap();
    let output = std::process::Command::new(folder.path().join("doctor"))
        .args(["doctor", "--json"])
        .env_remove("LIBTORCH")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = report(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(report["ok"], false);
    assert_eq!(check(&report, "libtorch")["status"], "fail");
    assert!(check(&report, "libtorch")["hint"].as_str().unwrap().contains("make setup"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: runs will fail here: libtorch") && said.contains("hint: "), "{said}");
}

#[test]
fn too_many_threads_are_warned_about() {
    let outcome =
        cmd("run-pipeline").args(["doctor", "--json"]).within(root()).env("OMP_NUM_THREADS", "4096").succeeds();
    let report = report(&outcome.stdout);
    assert_eq!(check(&report, "threads")["status"], "warn");
    assert!(check(&report, "threads")["value"].as_str().unwrap().contains("OMP_NUM_THREADS=4096"));
}

#[test]
fn a_folder_that_does_not_exist_yet_is_judged_by_its_disk() {
    let outcome = cmd("run-pipeline").args(["doctor", "--json", "--out", "/tmp/not/yet/there"]).succeeds();
    assert!(check(&report(&outcome.stdout), "disk")["value"].as_str().unwrap().ends_with("free in /tmp"));
}
