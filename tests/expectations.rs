//! What users of such software already like elsewhere, one test a line of the list that Podium is built to. The
//! number in a test's name is the line's; the sentence is the expectation.

mod support;

use std::fs;

use support::{cmd, root};

/// Names of all binaries, from the manifest.
fn binaries() -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let sections = text.split("[[bin]]").skip(1);
    let names = sections.filter_map(|s| s.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')));
    names.map(str::to_owned).collect()
}

/// The first subcommand of a binary that has some.
fn subcommand(name: &str) -> Option<String> {
    let help = cmd(name).arg("-h").succeeds().stdout;
    let line = help.split_once("\nCommands:\n")?.1.lines().next()?.to_owned();
    line.split_whitespace().next().map(str::to_owned)
}

#[test]
fn e01_short_help_fits_one_screen_and_long_help_has_examples() {
    for name in binaries() {
        let short = cmd(&name).arg("-h").succeeds().stdout;
        let longest = short.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(longest < 80, "`{name} -h` has a line of {longest} columns:\n{short}");
        assert!(short.lines().count() <= 50, "`{name} -h` has {} lines", short.lines().count());
        assert!(short.contains("Usage:"), "{short}");
        let purpose = short.lines().next().unwrap();
        assert!(!purpose.is_empty() && !purpose.ends_with('.'), "`{name}`: first line is `{purpose}`");
        let long = cmd(&name).arg("--help").succeeds().stdout;
        let examples = long.split_once("Examples:").unwrap_or_else(|| panic!("`{name} --help` has no examples")).1;
        let count = examples.lines().filter(|l| l.trim_start().contains(&name) && l.starts_with("  ")).count();
        assert!(count >= 2, "`{name} --help` has {count} examples");
    }
}

#[test]
fn e02_a_mistyped_flag_is_answered_with_the_nearest_one() {
    for name in binaries() {
        let sub = subcommand(&name);
        cmd(&name).args(sub.iter().map(String::as_str).chain(["--colr=never"])).fails(2).says("--color");
    }
    cmd("run-pipeline").arg("docter").fails(2).says("doctor");
}

const CONFIG: &str = "configs/leap/demo/prepare.yaml";

/// `prepare-data` with the demo's config, in the root of the repository.
fn prepare(more: &[&str]) -> support::Cmd {
    cmd("prepare-data").args(["leap", CONFIG]).args(more).within(root())
}

#[test]
fn e03_overrides_follow_the_config_dotted_and_typed() {
    let text = prepare(&["train.netcdf.stride=3", "seed=7", "chains=[a]", "--print-config"]).succeeds().stdout;
    for part in ["stride: 3", "seed: 7", "chains: [a]"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    prepare(&["train.netcdf.strde=3"]).fails(2).says("`strde`").says("did you mean `stride`");
    prepare(&["seed=abc"]).fails(2).says("seed=abc");
    // The original's form, KEY VALUE, behind a JSON config.
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("config.json");
    common::durable::write(&json, br#"{"system": "leap", "seed": 1, "chains": ["a"]}"#).unwrap();
    let spaced = cmd("prepare-data").arg("leap").arg(&json).args(["SEED", "9", "train.netcdf.stride", "2"]);
    let spaced = spaced.arg("--print-config").run();
    assert!(spaced.code == Some(0) && spaced.stdout.contains("seed: 9"), "{}\n{}", spaced.stdout, spaced.stderr);
}

#[test]
fn e04_the_resolved_config_shows_its_layers_and_feeds_back() {
    let text = prepare(&["seed=7", "--print-config"]).succeeds().stdout;
    let origin = |key: &str| {
        let line = text.lines().find(|l| l.trim_start().starts_with(key)).unwrap_or_else(|| panic!("no {key}: {text}"));
        line.split("  # ").nth(1).unwrap().to_owned()
    };
    assert_eq!(origin("seed:"), "override");
    assert!(origin("stride:").starts_with(&format!("{CONFIG}:")), "{}", origin("stride:"));
    assert_eq!(origin("non_finite:"), "default");
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again.yaml");
    common::durable::write(&again, text.as_bytes()).unwrap();
    let second = cmd("prepare-data").arg("leap").arg(&again).arg("--print-config").within(root()).succeeds().stdout;
    let values = |text: &str| text.lines().map(|l| l.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&text), values(&second));
}

#[test]
fn e05_a_yaml_mistake_shows_its_place_and_what_is_allowed() {
    let text = fs::read_to_string(root().join(CONFIG)).unwrap().replace("stride: 1", "strde: 1");
    let line = text.lines().position(|l| l.contains("strde")).unwrap() + 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    common::durable::write(&path, text.as_bytes()).unwrap();
    let said = cmd("prepare-data").arg("leap").arg(&path).fails(2).stderr;
    let expected = format!("error: {}:{line}:5: unknown key `strde` in `train.netcdf`\n", path.display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains(&format!("{line} |     strde: 1\n")), "{said}");
    assert!(said.contains("|     ^^^^^ expected one of: months, stride\n"), "{said}");
    assert!(said.contains("\nhint: did you mean `stride`?"), "{said}");
}

#[test]
fn e19_missing_data_names_the_tree_and_where_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().to_str().unwrap().to_owned();
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    let outcome = prepare(&["--raw", &raw, "--out", &out]).fails(3);
    for part in [&raw[..], "train/YYYY-MM/E3SM-MMF", "huggingface.co/datasets/LEAP/ClimSim_low-res"] {
        assert!(outcome.stderr.contains(part), "no `{part}` in:\n{}", outcome.stderr);
    }
}

#[test]
fn e23_an_error_is_one_sentence_and_a_hint() {
    let said = prepare(&["--raw", "/nonexistent"]).fails(3).stderr;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("error: ") && !lines[0].ends_with('.'), "{said}");
    assert_eq!(lines[1], "");
    assert!(lines[2].starts_with("hint: "), "{said}");
    assert_eq!(lines.len(), 3, "no backtrace unless asked for:\n{said}");
    let traced = prepare(&["--raw", "/nonexistent"]).env("RUST_BACKTRACE", "1").fails(3).stderr;
    assert!(traced.lines().count() > 3, "{traced}");
}

#[test]
fn e22_stdout_is_data_and_stderr_is_messages() {
    for name in binaries() {
        let outcome = cmd(&name).arg("--no-such-flag").fails(2);
        assert!(outcome.stdout.is_empty(), "`{name}` wrote a message to standard output: {}", outcome.stdout);
        let version = cmd(&name).arg("--version").succeeds();
        assert_eq!(version.stdout.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
        assert!(version.stderr.is_empty());
    }
    let outcome = cmd("run-pipeline").args(["doctor", "--json"]).within(root()).run();
    serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap();
}

#[test]
fn e24_doctor_shows_versions_libtorch_devices_memory_and_threads() {
    let text = cmd("run-pipeline").arg("doctor").within(root()).succeeds().stdout;
    for part in ["podium", "built with", "libtorch", "HDF5", "netCDF", "CUDA devices", "memory", "threads"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

#[test]
fn e25_completions_and_man_pages_come_from_the_definitions() {
    for name in binaries() {
        let bash = cmd(&name).args(["--generate", "complete-bash"]).succeeds().stdout;
        assert!(bash.contains("complete -F _") && bash.contains("--no-progress"), "{bash}");
        assert!(cmd(&name).args(["--generate", "complete-zsh"]).succeeds().stdout.starts_with("#compdef"));
        assert!(
            cmd(&name).args(["--generate", "complete-fish"]).succeeds().stdout.contains(&format!("complete -c {name}"))
        );
        assert!(cmd(&name).args(["--generate", "man"]).succeeds().stdout.contains(".SH SYNOPSIS"));
    }
}
