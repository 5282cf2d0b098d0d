//! Binaries find libtorch by themselves, and those that use no tensor do not ask for it.

use std::path::Path;
use std::process::Command;

/// Whether the loader would load `libtorch_cpu.so` for the program: with this variable it lists and does not run.
fn needs_libtorch(program: &Path) -> bool {
    let output = Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    let listing = String::from_utf8_lossy(&output.stdout);
    assert!(listing.contains("libc.so"), "{listing}");
    listing.contains("libtorch_cpu.so")
}

#[test]
fn programs_without_tensors_do_not_need_libtorch() {
    for program in [
        env!("CARGO_BIN_EXE_hill-climb"),
        env!("CARGO_BIN_EXE_hit-density"),
        env!("CARGO_BIN_EXE_prepare-data"),
        env!("CARGO_BIN_EXE_run-pipeline"),
        env!("CARGO_BIN_EXE_score"),
        env!("CARGO_BIN_EXE_simulate-data"),
    ] {
        assert!(!needs_libtorch(Path::new(program)), "{program}");
    }
}

#[test]
fn programs_with_tensors_start_without_a_library_path() {
    let one = tch::Tensor::from_slice(&[1.0_f32]);
    assert_eq!(one.double_value(&[0]), 1.0);
    let program = std::env::current_exe().unwrap();
    assert!(needs_libtorch(&program));
    let output = Command::new(&program).arg("--list").env_remove("LD_LIBRARY_PATH").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
