//! What users of such software already like elsewhere, one test a line of the list that Podium is built to. The
//! number in a test's name is the line's; the sentence is the expectation.

mod support;
#[path = "support/training.rs"]
mod training;

use std::fs;

use support::{cmd, root};

/// Names of all binaries, from the manifest.
fn binaries() -> Vec<String> {
    // The two that hold several of them are looked at by tests/dist.rs.
    let handed_out = |name: &str| name == "podium" || name == "podium-torch";
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let sections = text.split("[[bin]]").skip(1);
    let names = sections.filter_map(|s| s.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')));
    names.filter(|name| !handed_out(name)).map(str::to_owned).collect()
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
    cmd("run-pipeline").args(["doctor", "--jsn"]).fails(2).says("--json");
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
    let spaced = cmd("prepare-data").arg("leap").arg(&json).args(["seed", "9", "train.netcdf.stride", "2"]);
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

/// The log, the messages and the folder of one small training run, said loudly.
fn trained() -> &'static (tempfile::TempDir, String) {
    static RUN: std::sync::OnceLock<(tempfile::TempDir, String)> = std::sync::OnceLock::new();
    RUN.get_or_init(|| {
        let out = tempfile::tempdir().unwrap();
        let arguments = ["train.yaml", "--from", "data", "--threads", "1", "--device=cpu", "--out"];
        let outcome = cmd("train-model").args(arguments).arg(out.path()).within(training::workshop()).succeeds();
        (out, outcome.stderr)
    })
}

#[test]
fn e06_a_summary_of_the_network_comes_before_training() {
    let (_, said) = trained();
    let place = |part: &str| said.find(part).unwrap_or_else(|| panic!("no `{part}` in:\n{said}"));
    let first_score = place("score ");
    for part in ["layer", "lstm1", "fc2", "parameters", "trainable", " not", " MB"] {
        assert!(place(part) < first_score, "`{part}` comes late:\n{said}");
    }
}

#[test]
fn e07_progress_is_plain_lines_where_stderr_is_no_terminal() {
    let (_, said) = trained();
    assert!(!said.contains('\x1b') && !said.contains('\r'), "{said:?}");
    for part in ["epoch 1 step", "score ", "loss ", "lr "] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
    let out = tempfile::tempdir().unwrap();
    let quiet = training::train(out.path()).succeeds().stderr;
    assert!(quiet.is_empty(), "--quiet says: {quiet}");
}

#[test]
fn e08_throughput_and_memory_stand_in_the_log() {
    let (out, _) = trained();
    let log = fs::read_to_string(out.path().join("run.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let line = lines.iter().filter_map(|l| l["message"].as_str()).find(|m| m.contains("rows/s")).expect(&log);
    for part in ["step ", "loss ", "data wait ", "memory ", " MiB"] {
        assert!(line.contains(part), "no `{part}` in `{line}`");
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(out.path().join("stage.json")).unwrap()).unwrap();
    assert!(manifest["peak_anonymous_bytes"].as_u64().unwrap() > 1 << 20, "{manifest}");
}

#[test]
fn e09_tensorboard_events_need_no_setup() {
    let (out, _) = trained();
    let files = fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().path());
    let events = files.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    let bytes = fs::read(events.last().expect("an event file")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("brain.Event:2") && holds("train/loss") && holds("valid/r2"));
    // The records follow each other to the last byte: length, checksum, data, checksum.
    let (mut at, mut records) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        at += 16 + usize::try_from(length).unwrap();
        records += 1;
    }
    assert!(at == bytes.len() && records > 10, "{records} records, {at} of {} bytes", bytes.len());
}

#[test]
fn e10_metrics_are_plain_csv_and_json_lines() {
    let (out, _) = trained();
    let csv = fs::read_to_string(out.path().join("metrics.csv")).unwrap();
    let mut rows = csv.lines().map(|l| l.split(',').collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap(), ["epoch", "step", "name", "value"]);
    for row in rows {
        assert!(row.len() == 4 && row[0].parse::<u64>().is_ok() && row[3].parse::<f64>().is_ok(), "{row:?}");
    }
    let lines = fs::read_to_string(out.path().join("metrics.jsonl")).unwrap();
    for line in lines.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }
}

#[test]
fn e11_a_run_folder_is_complete_and_overwritten_only_with_force() {
    let (out, _) = trained();
    for file in
        ["config.yaml", "run.jsonl", "metrics.csv", "metrics.jsonl", "checkpoints/last/manifest.json", "stage.json"]
    {
        assert!(out.path().join(file).is_file(), "no {file}");
    }
    training::train(out.path()).fails(2).says("--force");
    training::train(out.path()).arg("--force").succeeds();
}

#[test]
fn e12_the_best_and_the_last_checkpoint_stay_and_resume_takes_up_by_itself() {
    let (out, _) = trained();
    let entries = fs::read_dir(out.path().join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.contains(&"best".into()) && names.contains(&"last".into()), "{names:?}");
    assert!(names.iter().any(|n| n.starts_with("epoch") && n.contains("score")), "{names:?}");
    assert!(cmd("train-model").arg("--help").succeeds().stdout.contains("[default: auto]"));
}

#[test]
fn e13_a_resumed_run_says_from_where_it_continues() {
    let out = tempfile::tempdir().unwrap();
    let mut child = training::train_command(out.path()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while !out.path().join("checkpoints/best/manifest.json").exists() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let loud = ["train.yaml", "--from", "data", "--threads", "1", "--device=cpu", "--out"];
    let said = cmd("train-model").args(loud).arg(out.path()).within(training::workshop()).succeeds().stderr;
    let line = said.lines().find(|l| l.contains("resuming from")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("epoch ") && line.contains("step ") && line.contains("best score"), "{line}");
}

#[test]
fn e14_a_smoke_run_of_every_heavy_binary_ends_within_a_minute() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let timed = |name: &str, arguments: &[&str]| {
        let begun = std::time::Instant::now();
        cmd(name).args(arguments).arg("--fast-dev-run").within(training::workshop()).succeeds();
        assert!(begun.elapsed().as_secs() < 60, "{name} took {:?}", begun.elapsed());
    };
    let (raw, data, run) = (path("raw"), path("data"), path("run"));
    timed("simulate-data", &["leap", "simulate.yaml", "--out", &raw]);
    timed("prepare-data", &["leap", "prepare.yaml", "--from", &raw, "--out", &data]);
    timed("train-model", &["train.yaml", "--from", "data", "--device=cpu", "--out", &run]);
    timed("predict", &["--from", &run, "--device=cpu", "--out", &path("submission")]);
    let groups = root().join("configs/leap/demo/max022_gf.yaml");
    let groups =
        [groups.to_str().unwrap(), "rows.months=null", "--from", &run, "--device=cpu", "--out", &path("groups")];
    timed("finetune-group", &groups);
}

#[test]
fn e20_a_submission_is_checked_and_comes_with_rows_hash_and_the_line_to_send_it() {
    let (run, _) = trained();
    let out = tempfile::tempdir().unwrap();
    let sample = training::workshop().join("raw/raw/kaggle-data/sample_submission.csv");
    let predict = |folder: &str, sample: &std::path::Path| {
        let from = run.path().to_str().unwrap();
        let arguments = ["--from", from, "--device=cpu", "--out"];
        cmd("predict").args(arguments).arg(out.path().join(folder)).arg("--sample").arg(sample)
    };
    let said = predict("good", &sample).succeeds().stderr;
    for part in ["20 rows", "blake3 ", "kaggle competitions submit -c leap-atmospheric-physics-ai-climsim -f ", " -m "]
    {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
    let other = out.path().join("other.csv");
    let text = fs::read_to_string(&sample).unwrap().replacen("test_", "row_", 1);
    common::durable::write(&other, text.as_bytes()).unwrap();
    predict("bad", &other).fails(3).says("id");
    assert!(!out.path().join("bad/stage.json").exists());
}

/// A pipeline of two stages, the second on what the first writes.
fn pipeline() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "\
stages:
  first: {cmd: cp in.txt a.txt, deps: [in.txt], outs: [{a.txt: {cache: false}}]}
  second: {cmd: cat a.txt > b.txt, deps: [a.txt], outs: [{b.txt: {cache: false}}]}
";
    common::durable::write(folder.path().join("dvc.yaml"), text.as_bytes()).unwrap();
    common::durable::write(folder.path().join("in.txt"), b"one").unwrap();
    folder
}

#[test]
fn e15_a_dry_run_lists_what_would_run_and_why() {
    let folder = pipeline();
    let plan = |why: &str| {
        let text = cmd("run-pipeline").arg("--dry-run").within(folder.path()).succeeds().stdout;
        assert!(text.contains("first") && text.contains("second") && text.contains(why), "no `{why}` in:\n{text}");
    };
    plan("never ran");
    assert!(!folder.path().join("a.txt").exists(), "a dry run runs nothing");
    cmd("run-pipeline").within(folder.path()).succeeds();
    common::durable::write(folder.path().join("in.txt"), b"two").unwrap();
    plan("`in.txt`");
    fs::remove_file(folder.path().join("b.txt")).unwrap();
    plan("b.txt");
}

#[test]
fn e16_the_graph_comes_as_text_for_graphviz_and_for_mermaid() {
    let folder = pipeline();
    let dag = |more: &[&str]| cmd("run-pipeline").arg("--dag").args(more).within(folder.path()).succeeds().stdout;
    assert!(dag(&[]).contains("second") && dag(&[]).contains("first"));
    assert!(dag(&["--dot"]).contains("\"first\" -> \"second\""));
    assert!(dag(&["--mermaid"]).starts_with("flowchart TD"));
}

#[test]
fn e17_stages_that_are_up_to_date_are_skipped_visibly() {
    let folder = pipeline();
    let go = |more: &[&str]| cmd("run-pipeline").args(more).within(folder.path()).succeeds().stderr;
    assert!(!go(&["--until", "first"]).contains("second: running"));
    assert!(!folder.path().join("b.txt").exists());
    let text = go(&[]);
    assert!(text.contains("first: unchanged") && text.contains("second: running"), "{text}");
    let text = go(&["--force", "first"]);
    assert!(text.contains("first: running (forced)") && text.contains("second: unchanged"), "{text}");
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
fn e21_a_run_leaves_one_page_that_opens_offline_with_its_curves_and_config() {
    let (out, _) = trained();
    let html = fs::read_to_string(out.path().join("report.html")).unwrap();
    for part in ["Loss", "valid/r2", "Learning rate", "# default", "All figures", "default-src &#39;none&#39;"] {
        assert!(html.contains(&part.replace("&#39;", "'")), "{part}");
    }
    for outside in ["src=", "href=\"http", "href=\"//", "@import", "url(h", "fetch(", "XMLHttpRequest", "WebSocket"] {
        assert!(!html.contains(outside), "{outside}");
    }
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
