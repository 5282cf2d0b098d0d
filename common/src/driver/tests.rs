//! The driver on a task that counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::cli::RunFlags;
use crate::config::Problems;
use crate::{ExitCode, durable};

/// A config of the task.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct CountConfig {
    system: String,
    seed: u64,
    to: u64,
}

impl Default for CountConfig {
    fn default() -> Self {
        Self { system: "moon".into(), seed: 7, to: 5 }
    }
}

impl Config for CountConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.to > 0, "to", || "is 0".into());
    }
}

/// Two flags, of which the moon reads the first.
struct CountFlags {
    init: Option<&'static str>,
    picture: bool,
}

impl Flags for CountFlags {
    fn given(&self) -> Vec<&'static str> {
        let given = [("--init", self.init.is_some()), ("--picture", self.picture)];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

struct Count {
    to: u64,
}

impl Task for Count {
    const SYSTEM: &'static str = "moon";
    const STAGE: &'static str = "count";
    const HELP: Help =
        Help { makes: "numbers", limit: "numbers", flags: &[("--init", "a file of numbers")], ..Help::NONE };
    const READS: &'static [&'static str] = &["--init"];
    const SMOKE: &'static [&'static str] = &["seed=1"];
    type Flags = CountFlags;
    type Config = CountConfig;

    fn plan(request: &Request<CountFlags>, config: Resolved<CountConfig>) -> Result<Self> {
        let to = request.limit.map_or(config.value.to, |n| n.min(config.value.to));
        Ok(Self { to })
    }

    fn describe(&self) -> Vec<String> {
        vec![format!("{} numbers", self.to)]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let written = durable::write(stage.folder().join("count"), self.to.to_string().as_bytes())?;
        stage.output("count", &written);
        stage.metric("to", self.to);
        Ok(if self.to == 1 { Ending::Part } else { Ending::Finished })
    }
}

static MOON: Entry<CountFlags> = Entry::of::<Count>();
static STAR: Entry<CountFlags> = Entry { system: "star", reads: &["--picture"], ..Entry::of::<Count>() };

fn choice() -> Choice<CountFlags> {
    Choice::new([Some(&MOON), None, Some(&STAR)])
}

fn flags(out: &Path) -> RunFlags {
    RunFlags {
        out: Some(out.to_path_buf()),
        seed: None,
        threads: Some(1),
        limit: None,
        force: false,
        verify: false,
        dry_run: false,
        print_config: false,
    }
}

const NONE: CountFlags = CountFlags { init: None, picture: false };

fn run(run: &RunFlags, smoke: bool, flags: &CountFlags, overrides: &[String]) -> Result<()> {
    let command = Command { config: None, overrides, from: None, before: None, run, smoke, flags };
    choice().run(choice().named("moon")?, command)
}

#[test]
fn a_run_leaves_config_seed_figures_and_manifest() {
    let folder = tempfile::tempdir().unwrap();
    run(&flags(folder.path()), false, &NONE, &["to=4".to_string()]).unwrap();
    let manifest = Manifest::read(folder.path().to_str().unwrap()).unwrap();
    assert_eq!((manifest.stage.as_str(), manifest.system.as_str(), manifest.seed), ("count", "moon", 7));
    assert_eq!(manifest.metrics["to"], 4);
    let text = std::fs::read_to_string(manifest.output("config").unwrap()).unwrap();
    assert_eq!(text, "system: moon\nseed: 7\nto: 4\n");
}

#[test]
fn a_smoke_run_takes_its_overrides_and_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    run(&flags(folder.path()), true, &NONE, &[]).unwrap();
    let manifest = Manifest::read(folder.path().to_str().unwrap()).unwrap();
    assert_eq!((manifest.seed, &manifest.metrics["to"]), (1, &2.into()));
}

#[test]
fn a_dry_run_writes_nothing_and_a_part_finishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    run(&RunFlags { dry_run: true, ..flags(&out) }, false, &NONE, &[]).unwrap();
    assert!(!out.exists());
    run(&RunFlags { limit: Some(1), ..flags(&out) }, false, &NONE, &[]).unwrap();
    assert!(out.join("count").is_file() && !out.join(crate::stage::MANIFEST).exists());
}

#[test]
fn a_flag_that_the_system_does_not_read_is_refused_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let read = CountFlags { init: Some("w"), ..NONE };
    run(&RunFlags { dry_run: true, ..flags(folder.path()) }, false, &read, &[]).unwrap();
    let error = run(&flags(folder.path()), false, &CountFlags { picture: true, ..NONE }, &[]).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage);
    assert_eq!(error.to_string(), "`--picture` is not read by `moon`");
    assert_eq!(error.hint_text().unwrap(), "leave `--picture` out; it is for `star`");
}

#[test]
fn configs_and_stages_lead_to_their_system() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("count.yaml");
    durable::write(&file, b"system: star\n").unwrap();
    assert_eq!(choice().of_config(&file).unwrap().system, "star");
    durable::write(&file, b"system: mars\n").unwrap();
    let message = choice().of_config(&file).err().unwrap().to_string();
    assert!(message.ends_with("has system `mars`, expected `system: moon` or `system: star`"), "{message}");
    assert!(choice().named("mars").err().unwrap().to_string().contains("expected `moon` or `star`"));
    run(&flags(&folder.path().join("out")), false, &NONE, &[]).unwrap();
    let manifest = Manifest::read(folder.path().join("out").to_str().unwrap()).unwrap();
    assert_eq!(choice().of_stage(&manifest).unwrap().system, "moon");
}
