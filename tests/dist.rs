//! What `make dist` hands out: a wheel and an archive, the same bytes twice, that run where the checkout's own library is
//! not looked for.

#![allow(clippy::disallowed_methods)] // fixtures are written plainly

#[path = "support/debian.rs"]
mod debian;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{binary, root};

const TEN: [&str; 10] = [
    "convert-weights",
    "finetune-group",
    "hill-climb",
    "hit-density",
    "predict",
    "prepare-data",
    "run-pipeline",
    "score",
    "simulate-data",
    "train-model",
];

/// The newest versions that the programs may need: those of RHEL 8 and Debian 10 (`packaging/oldest`). The wheel's tag says the same
/// of glibc.
const HIGHEST_GLIBC: [u32; 2] = [2, 28];
const HIGHEST_GLIBCXX: [u32; 3] = [3, 4, 25];

/// Ready to run as a user would: nothing of cargo's, and no library path.
fn plain(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for name in ["LD_LIBRARY_PATH", "LIBTORCH", "CARGO_MANIFEST_DIR", "PYTHONPATH"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("CUDA_VISIBLE_DEVICES", "");
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn libtorch() -> PathBuf {
    let torch = std::env::var_os("LIBTORCH").map_or_else(|| root().join(".libtorch/torch"), PathBuf::from);
    torch.canonicalize().unwrap()
}

/// Whether a command ends well.
fn works(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}

fn dist(folder: &Path, arguments: &[&str]) {
    let tools = || works(&["zstd", "--version"]) && works(&["strip", "--version"]) && works(&["readelf", "--version"]);
    debian::install(tools, "zstd binutils").unwrap();
    let programs = binary("podium");
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/dist")).arg("--out").arg(folder).args(["--level", "1"]).args(arguments);
    command.arg("--binaries").arg(programs.parent().unwrap()).arg("--libtorch").arg(libtorch().parent().unwrap());
    succeeds(&mut command);
}

/// A folder with the wheel or the archive. Each test makes its own: they run as processes of their own.
fn made(kind: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    dist(folder.path(), &["--only", kind]);
    folder
}

fn only(folder: &Path, end: &str) -> PathBuf {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = paths.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{end} in {}: {found:?}", folder.display());
    found.into_iter().next().unwrap()
}

/// A pipe of four programs, by the names of the shipped configs, in a folder that has none.
fn pipe(path: &Path, folder: &Path) {
    let script = "set -euo pipefail
        simulate-data leap configs/leap/demo/simulate.yaml --fast-dev-run --out raw |
          prepare-data leap configs/leap/demo/prepare.yaml --from - --fast-dev-run --out data |
          train-model configs/leap/demo/exp195.yaml --from - --device cpu --fast-dev-run --out run |
          predict --from - --device cpu --limit 8 --out submission";
    let path = format!("{}:/usr/bin:/bin", path.display());
    let output = succeeds(plain("bash").args(["-c", script]).env("PATH", path).current_dir(folder));
    let manifest: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(manifest["stage"], "predict", "{manifest}");
    assert!(folder.join("submission/stage.json").is_file());
}

#[test]
fn the_archive_runs_under_any_path() {
    let (made, place) = (made("archive"), tempfile::tempdir().unwrap());
    succeeds(Command::new("tar").arg("--zstd").arg("-xf").arg(only(made.path(), ".tar.zst")).current_dir(place.path()));
    let unpacked = fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
    let moved = place.path().join("moved here");
    fs::rename(unpacked, &moved).unwrap();
    let bin = moved.join("bin");

    let notices = fs::read_to_string(moved.join("share/doc/podium/THIRD-PARTY.txt")).unwrap();
    assert!(["The HDF Group", "Unidata", "polars-core ", "zstd-sys "].iter().all(|part| notices.contains(part)));
    let loaded = text(&succeeds(plain(bin.join("podium-torch")).env("LD_TRACE_LOADED_OBJECTS", "1")).stdout);
    let library = loaded.lines().find(|line| line.contains("libtorch_cpu.so")).unwrap();
    assert!(library.contains("moved here/bin/../lib/"), "{library}");
    assert!(!loaded.contains("not found"), "{loaded}");
    for name in TEN {
        assert!(text(&succeeds(plain(bin.join(name)).arg("--version")).stdout).starts_with(&format!("{name} ")));
    }
    let work = tempfile::tempdir().unwrap();
    pipe(&bin, work.path());

    // The front: a list, the programs, the configs.
    let front = || plain(bin.join("podium"));
    let listed = text(&succeeds(&mut front()).stdout);
    assert!(TEN.iter().all(|name| listed.contains(&format!("  {name} "))), "{listed}");
    for name in ["predict", "score"] {
        assert!(text(&succeeds(front().args([name, "--version"])).stdout).starts_with(name));
    }
    let doctor = text(&succeeds(front().args(["doctor", "--json"])).stdout);
    assert!(doctor.contains("moved here/") && doctor.contains("2.11.0, "), "{doctor}");
    let refused = front().arg("predcit").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("did you mean `podium predict`"), "{}", text(&refused.stderr));
    let project = work.path().join("project");
    succeeds(front().arg("configs").arg(&project));
    let config = project.join("configs/leap/adam/exp195.yaml");
    assert_eq!(fs::read(&config).unwrap(), fs::read(root().join("configs/leap/adam/exp195.yaml")).unwrap());
    fs::write(&config, "mine: 1\n").unwrap();
    let again = succeeds(front().arg("configs").arg(&project));
    assert!(text(&again.stderr).contains("exp195.yaml` differs"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(&config).unwrap(), "mine: 1\n");
    let pipeline = || {
        let mut command = plain(bin.join("run-pipeline"));
        command.current_dir(&project).arg("pipelines/leap-data");
        command
    };
    succeeds(pipeline().arg("--dry-run"));
    let planned = text(&succeeds(pipeline().args(["--size", "small", "--explain"])).stdout);
    assert!(planned.contains("leap-small"), "{planned}");
}

#[test]
fn the_wheel_runs_with_the_torch_of_its_environment_and_without() {
    let (made, place) = (made("wheel"), tempfile::tempdir().unwrap());
    let environment = place.path().join("venv");
    debian::install(|| works(&["python3", "-c", "import ensurepip, venv"]), "python3-venv").unwrap();
    succeeds(plain("python3").args(["-m", "venv"]).arg(&environment));
    let install = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"];
    succeeds(plain(environment.join("bin/python")).args(install).arg(only(made.path(), ".whl")));
    let bin = environment.join("bin");

    let packages = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    let info = packages.join("podium-0.1.0.dist-info");
    for text in ["LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt"] {
        assert!(info.join("licenses").join(text).is_file(), "{text}");
    }
    assert!(fs::read_to_string(info.join("METADATA")).unwrap().contains("\nRequires-Dist: torch==2.11.*\n"));

    // Without torch all answer; six programs run, and four say what is missing when it comes to computing: mistakes before.
    for name in TEN {
        for asked in ["--version", "--help"] {
            let output = plain(bin.join(name)).arg(asked).output().unwrap();
            assert!(output.status.success(), "{name} {asked}: {}", text(&output.stderr));
        }
    }
    for name in ["convert-weights", "finetune-group", "predict", "train-model"] {
        let output = plain(bin.join(name)).arg("--no-such-flag").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output.stderr));
    }
    let apart = tempfile::tempdir().unwrap();
    let prepare = "set -euo pipefail
        simulate-data leap configs/leap/demo/simulate.yaml --fast-dev-run --out raw |
          prepare-data leap configs/leap/demo/prepare.yaml --from - --fast-dev-run --out data";
    let path = format!("{}:/usr/bin:/bin", bin.display());
    succeeds(plain("bash").args(["-c", prepare]).env("PATH", path).current_dir(apart.path()));
    let train = ["train-model", "configs/leap/demo/exp195.yaml", "--from", "data", "--device", "cpu", "--out", "run"];
    let refused = |command: &mut Command, problem: &str| {
        let output = command.current_dir(apart.path()).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{told}");
        assert!(told.contains(problem) && told.contains("hint: pip install 'torch==2.11.*'"), "{told}");
    };
    refused(plain(bin.join(train[0])).args(&train[1..]), "torch is not installed in this environment");
    refused(plain(bin.join("podium")).args(train), "torch is not installed in this environment");
    assert!(environment.join("share/man/man1/predict.1").is_file());

    // With it: the folder that the tests have, where pip would have put it.
    symlink(libtorch(), packages.join("torch")).unwrap();
    let work = tempfile::tempdir().unwrap();
    pipe(&bin, work.path());
    let doctor = text(&succeeds(plain(bin.join("podium")).args(["doctor", "--json"])).stdout);
    assert!(doctor.contains("site-packages/podium") || doctor.contains("libtorch"), "{doctor}");

    // Another torch is refused by its version.
    let info = packages.join("torch-2.10.0.dist-info");
    fs::create_dir(&info).unwrap();
    fs::write(info.join("METADATA"), "Metadata-Version: 2.1\nName: torch\nVersion: 2.10.0\n").unwrap();
    refused(plain(bin.join(train[0])).args(&train[1..]), "torch is version 2.10.0 here");
}

/// Every path below a folder, relative to it, folders too.
fn tree(folder: &Path) -> Vec<String> {
    let listing = succeeds(Command::new("find").arg(".").current_dir(folder)).stdout;
    let mut paths: Vec<_> = text(&listing).lines().map(str::to_owned).collect();
    paths.sort();
    paths
}

#[test]
fn what_is_installed_runs_by_itself_and_is_taken_away_again() {
    let place = tempfile::tempdir().unwrap();
    let prefix = place.path().join("a prefix");
    for shared in ["bin/mine", "share/man/man1/mine.1"] {
        common::durable::write(prefix.join(shared), b"not podium's\n").unwrap();
    }
    let before = tree(&prefix);
    let target = binary("podium").ancestors().nth(2).unwrap().to_path_buf();
    let make = |target: &Path, goal: &str| {
        let mut command = Command::new("make");
        command.current_dir(root()).arg("--silent").arg(goal).arg(format!("PREFIX={}", prefix.display()));
        // Were anything built, this would be called. Root has a cache of its own, without the wheels.
        command.env("CARGO_TARGET_DIR", target).env("CARGO", "false").env("XDG_CACHE_HOME", place.path().join("cache"));
        command
    };
    // Nothing was built there: refused, and nothing is built.
    let refused = make(place.path(), "install").output().unwrap();
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("hint: run `make build` first"), "{}", text(&refused.stderr));
    assert_eq!(tree(&prefix), before);

    succeeds(&mut make(&target, "install"));
    let bin = prefix.join("bin");
    let loaded = text(&succeeds(plain(bin.join("podium-torch")).env("LD_TRACE_LOADED_OBJECTS", "1")).stdout);
    let library = loaded.lines().find(|line| line.contains("libtorch_cpu.so")).unwrap();
    assert!(library.contains("a prefix/bin/../lib/podium/"), "{library}");
    let work = tempfile::tempdir().unwrap();
    pipe(&bin, work.path());
    for file in [
        "share/man/man1/predict.1",
        "share/bash-completion/completions/predict",
        "share/podium/pipelines/leap.demo.yaml",
    ] {
        assert!(prefix.join(file).is_file(), "{file}");
    }
    let debug = Command::new("readelf").args(["--sections", "--wide"]).arg(bin.join("podium")).output().unwrap();
    assert!(!text(&debug.stdout).contains(".symtab"));

    // Again over what is there, with a file of a version before that this one lacks.
    common::durable::write(prefix.join("share/podium/configs/old.yaml"), b"gone: 1\n").unwrap();
    let list = prefix.join("share/podium/installed");
    let listed = fs::read_to_string(&list).unwrap();
    common::durable::write(&list, (listed.clone() + "share/podium/configs/old.yaml\n").as_bytes()).unwrap();
    let installed = tree(&prefix);
    succeeds(&mut make(&target, "install"));
    let left: Vec<_> = installed.into_iter().filter(|path| !path.ends_with("configs/old.yaml")).collect();
    assert_eq!(tree(&prefix), left);
    assert_eq!(fs::read_to_string(&list).unwrap(), listed);

    succeeds(&mut make(&target, "uninstall"));
    assert_eq!(tree(&prefix), before);
    let again = make(&target, "uninstall").output().unwrap();
    assert!(!again.status.success() && text(&again.stderr).contains("nothing was installed there"));
}

#[test]
fn made_twice_both_are_the_same_bytes() {
    let (made, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    [&made, &again].iter().for_each(|folder| dist(folder.path(), &[]));
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(made.path()), sums(again.path()));
    succeeds(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(made.path()));
    let parts: serde_json::Value = serde_json::from_slice(&fs::read(only(made.path(), ".cdx.json")).unwrap()).unwrap();
    let names: Vec<_> =
        parts["components"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert!(["polars", "netcdf-src", "torch"].iter().all(|name| names.contains(name)), "{names:?}");
}

#[test]
fn the_programs_state_the_oldest_system_that_they_run_on() {
    let script = "import elf, sys, json; print(json.dumps(elf.highest(sys.argv[1:])))";
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", root().join("scripts/dist")).env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", script]);
    let found = succeeds(command.args([binary("podium"), binary("podium-torch")])).stdout;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let version = |name: &str| -> Vec<u32> { serde_json::from_value(found[name].clone()).unwrap() };
    assert!(version("GLIBC") <= HIGHEST_GLIBC.to_vec(), "{found} needs a newer glibc than {HIGHEST_GLIBC:?}");
    assert!(
        version("GLIBCXX") <= HIGHEST_GLIBCXX.to_vec(),
        "{found} needs a newer C++ library than {HIGHEST_GLIBCXX:?}"
    );
    assert!(version("CXXABI") <= vec![1, 3, 11], "{found}");
    let made = made("wheel");
    let wheel = only(made.path(), ".whl");
    let tag = format!("manylinux_{}_{}_x86_64", version("GLIBC")[0], version("GLIBC")[1]);
    assert!(wheel.to_str().unwrap().contains(&tag), "{}", wheel.display());
    let megabytes = fs::metadata(&wheel).unwrap().len() as f64 / 1e6;
    assert!(megabytes <= 60.0, "the wheel has {megabytes:.1} MB");
}

/// What 2.28 lacks and `packaging/oldest` brings, asked for by a program in C, gives what the system's own does.
#[test]
fn what_older_systems_lack_does_what_the_newer_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let source = r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/stat.h>
        long __isoc23_strtol(const char *, char **, int);
        unsigned long long __isoc23_strtoull(const char *, char **, int);
        int __isoc23_sscanf(const char *, const char *, ...);
        size_t strlcpy(char *, const char *, size_t), strlcat(char *, const char *, size_t);
        extern char __libc_single_threaded;
        static int started;
        __attribute__((constructor)) static void before(int count, char **arguments) { started = count + (arguments[1] != NULL); }
        static void show(int code, struct stat64 *of) { printf("%d %lu %lu %o\n", code, of->st_ino, of->st_size, of->st_mode); }
        int main(int count, char **arguments) {
          struct stat64 of = {0};
          show(stat64(arguments[1], &of), &of);
          show(lstat64(arguments[1], &of), &of);
          int file = open(arguments[1], O_RDONLY);
          show(fstat64(file, &of), &of);
          show(fstatat64(AT_FDCWD, arguments[1], &of, AT_SYMLINK_NOFOLLOW), &of);
          printf("%d\n", stat64("/no/such/file", &of));
          char *end, text[8] = "ab";
          long value = __isoc23_strtol("-0x1fz", &end, 0);
          printf("%ld %s %llu\n", value, end, __isoc23_strtoull("18446744073709551615", NULL, 10));
          int one = 0, read = __isoc23_sscanf("7 seven", "%d %s", &one, text);
          printf("%d %d %s\n", read, one, text);
          size_t length = strlcat(text, "ty-seven", sizeof text);
          printf("%zu %s\n", length, text);
          length = strlcpy(text, "0123456789", 4);
          printf("%zu %s\n", length, text);
          printf("%d %d\n", started, __libc_single_threaded);
        }"#;
    fs::write(folder.path().join("probe.c"), source).unwrap();
    fs::write(folder.path().join("file"), "twelve bytes").unwrap();
    symlink("file", folder.path().join("link")).unwrap();
    let compile = ["-std=gnu11", "-O1", "-fPIE", "-o", "probe", "probe.c", "-Wl,--wrap=__libc_start_main"];
    let compiler = || std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let later = root().join("packaging/oldest/later.c");
    succeeds(Command::new(compiler()).args(compile).arg(later).current_dir(folder.path()));
    let said = text(&succeeds(Command::new("./probe").arg("link").current_dir(folder.path())).stdout);

    let of = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let found = fs::symlink_metadata(folder.path().join(path)).unwrap();
        format!("0 {} {} {:o}", found.ino(), found.len(), found.mode())
    };
    let wanted = [
        of("file"),
        of("link"),
        of("file"),
        of("link"),
        "-1".into(),
        "-31 z 18446744073709551615".into(),
        "2 7 seven".into(),
        "13 seventy".into(),
        "10 012".into(),
        "3 0".into(),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
}
