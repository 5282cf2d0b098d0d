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
