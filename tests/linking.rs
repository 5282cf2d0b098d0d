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
        env!("CARGO_BIN_EXE_podium"),
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

/// Copies of the programs with networks, alone in a folder: without `podium-torch` beside them.
#[test]
#[allow(clippy::disallowed_methods, reason = "a program in a folder of the test")]
fn programs_with_networks_answer_without_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let built = Path::new(env!("CARGO_BIN_EXE_podium-torch")).with_file_name(name);
        assert!(!needs_libtorch(&built), "{name}");
        let alone = folder.path().join(name);
        if !alone.exists() {
            std::fs::copy(built, &alone).unwrap();
        }
        let output = Command::new(alone).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let config = "configs/leap/adam/exp195.yaml";
    for name in ["convert-weights", "finetune-group", "predict", "train-model"] {
        for asked in ["--help", "-h", "--version"] {
            let (code, out, _) = run(name, &[asked]);
            assert!(code == Some(0) && out.contains(name), "{name} {asked}: {out}");
        }
        let (code, _, said) = run(name, &["--no-such-flag"]);
        assert!(code == Some(2) && said.contains("--no-such-flag"), "{said}");
    }
    let (code, out, _) = run("train-model", &[config, "--print-config", "training.epochs=3"]);
    assert!(code == Some(0) && out.contains("epochs: 3"), "{out}");
    for (mistake, named) in
        [("trainig.epochs=3", "trainig"), ("training.epochs=x", "training.epochs"), ("--from=nowhere", "`nowhere`")]
    {
        let (code, _, said) = run("train-model", &[config, mistake]);
        assert!(matches!(code, Some(2 | 3)) && said.contains(named), "{code:?} {said}");
    }
    // There is work to do, and nobody who does it.
    let (code, _, said) = run("train-model", &[config]);
    assert!(code == Some(1) && said.contains("podium-torch"), "{code:?} {said}");
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
