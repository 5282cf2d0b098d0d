//! `run-pipeline PIPELINE`: what was typed, and what is done about it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use common::cli::{Verbosity, print_line};
use common::{Error, ExitCode, Result, durable};

use crate::run_pipeline::choice::{self, Choices, Wanted};
use crate::run_pipeline::declare::file::FILE;
use crate::run_pipeline::declare::text::quote;
use crate::run_pipeline::graph::Project;
use crate::run_pipeline::rehearse;
use crate::run_pipeline::run::missing;
use crate::run_pipeline::run::schedule::{self, Options};
use crate::run_pipeline::show::{dag, estimate, plan, snakemake};

/// Engines that a pipeline can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A Snakefile
    Snakemake,
}

/// Arguments for running a pipeline.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// Folder of a `dvc.yaml`, or the file [default: .]
    #[arg(value_name = "PIPELINE", help_heading = "Input")]
    pub pipeline: Option<PathBuf>,
    /// Nothing: read to say where a stage is named
    #[arg(value_name = "STAGE", hide = true)]
    pub stray: Vec<PathBuf>,
    /// Stages that may run at the same time; 0: as many as cores
    #[arg(short, long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, help_heading = "Run")]
    pub jobs: usize,
    /// Run only this stage (or group) and what it needs
    #[arg(long, value_name = "STAGE", help_heading = "Run")]
    pub until: Vec<String>,
    /// Run this stage (or group) even when up to date; without a name all
    #[arg(
        short,
        long,
        value_name = "STAGE",
        num_args = 0..=1,
        default_missing_value = "",
        help_heading = "Run"
    )]
    pub force: Vec<String>,
    /// Size to run, from now on: that of the file `SYSTEM.SIZE.yaml`
    #[arg(long, value_name = "SIZE", help_heading = "Run")]
    pub size: Option<String>,
    /// Value that differs from the size's, with outs of its own
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Run")]
    pub set: Vec<String>,
    /// Run every stage at its smallest in a scratch folder, to see that all of it works
    ///
    /// The repository is there as links, with room for outs. `simulate-data`, `prepare-data`, `train-model` and
    /// `finetune-group` are given `--fast-dev-run`, all others take the little that those made; networks have
    /// their published sizes. A stage whose raw data are not there makes some of the same layout, where the pipeline says how
    /// (`meta.rehearse`). A stage that takes more memory than its `meta.mem_mb` fails. FOLDER is kept; without it a temporary
    /// folder is taken (`TMPDIR`), and kept only when something failed.
    #[arg(
        long,
        value_name = "FOLDER",
        num_args = 0..=1,
        require_equals = true,
        help_heading = "Run",
        conflicts_with_all = ["look", "force", "result"],
        hide_short_help = true
    )]
    pub rehearse: Option<Option<PathBuf>>,
    /// After a failure go on with what does not need it
    #[arg(short, long, help_heading = "Run")]
    pub keep_going: bool,
    /// After a failure end the running stages, too; they save their work
    #[arg(long, help_heading = "Run", conflicts_with = "keep_going", hide_short_help = true)]
    pub fail_fast: bool,
    /// GPUs to give to stages [default: as found]
    #[arg(long, value_name = "N", help_heading = "Run", hide_short_help = true)]
    pub gpus: Option<u64>,
    /// Memory to give to stages, in MB [default: as found]
    #[arg(long, value_name = "MB", help_heading = "Run", hide_short_help = true)]
    pub mem_mb: Option<u64>,
    /// Print named outs and metrics as one line of JSON
    #[arg(long, help_heading = "Run", conflicts_with_all = ["json", "look"])]
    pub result: bool,
    /// Print what would run and why; run nothing
    #[arg(short = 'n', long, help_heading = "Look", group = "look")]
    pub dry_run: bool,
    /// The same for all stages, with their commands
    #[arg(long, help_heading = "Look", group = "look", hide_short_help = true)]
    pub explain: bool,
    /// Print the size in force and what would run; exit code 1 if anything
    #[arg(long, help_heading = "Look", group = "look")]
    pub status: bool,
    /// Print what a run would take: inputs, bytes, memory, time, and whether the disk holds it
    #[arg(long, help_heading = "Look", group = "look", hide_short_help = true)]
    pub estimate: bool,
    /// Print the stages and what they wait for
    #[arg(long, help_heading = "Look", group = "look")]
    pub dag: bool,
    /// With --dag: for Graphviz
    #[arg(long, help_heading = "Look", conflicts_with = "mermaid", hide_short_help = true)]
    pub dot: bool,
    /// With --dag: for Mermaid
    #[arg(long, help_heading = "Look", hide_short_help = true)]
    pub mermaid: bool,
    /// Write the pipeline for another engine
    #[arg(long, value_enum, value_name = "ENGINE", help_heading = "Look", group = "look", hide_short_help = true)]
    pub export: Option<Engine>,
    /// File for --export [default: standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Look", requires = "export", hide_short_help = true)]
    pub out: Option<PathBuf>,
    /// Print the plan or the record of the run as JSON
    #[arg(long, help_heading = "Look")]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// The command that was given, as messages repeat it. A size stays in force after a run, not after a rehearsal.
fn call(arguments: &PipelineArgs, given: &Path) -> String {
    let mut words = vec!["run-pipeline".to_string()];
    if given.as_os_str() != "." {
        words.push(quote(&given.to_string_lossy()));
    }
    if arguments.rehearse.is_some() {
        words.push("--rehearse".into());
        words.extend(arguments.size.iter().flat_map(|size| ["--size".into(), quote(size)]));
        words.extend(arguments.set.iter().flat_map(|set| ["--set".into(), quote(set)]));
    }
    words.join(" ")
}

/// Does what was asked for.
pub fn run(arguments: &PipelineArgs) -> anyhow::Result<()> {
    let (given, force) = split(arguments);
    if let Some(name) = arguments.stray.first() {
        let [name, given] = [name, &given].map(|word| quote(&word.to_string_lossy()));
        return Err(Error::usage(format!("`{name}` is one word too many: one pipeline is named"))
            .hint(format!("a stage is named with `--until`: `run-pipeline {given} --until {name}`"))
            .into());
    }
    let wanted = Wanted { size: arguments.size.clone(), sets: arguments.set.clone() };
    let mut choices = Choices::find(&given, &wanted)?;
    if arguments.rehearse.is_some() {
        choices = choices.of_its_size(&given)?;
    }
    let mut project = Project::read(&given, &choices.shared())?;
    if !arguments.until.is_empty() {
        let mut wanted = Vec::new();
        for name in &arguments.until {
            wanted.extend(project.find(name)?);
        }
        project = project.until(&wanted)?;
    }
    let mut forced = vec![false; project.units.len()];
    for name in &force {
        let named = if name.is_empty() { (0..project.units.len()).collect() } else { project.find(name)? };
        named.into_iter().for_each(|unit| forced[unit] = true);
    }
    if arguments.dag || arguments.dot || arguments.mermaid {
        let text = match (arguments.dot, arguments.mermaid) {
            _ if arguments.json => dag::json(&project)?,
            (true, _) => dag::dot(&project),
            (_, true) => dag::mermaid(&project),
            _ => dag::text(&project),
        };
        return Ok(print_line(&text)?);
    }
    if arguments.dry_run || arguments.explain {
        let planned = plan::plan(&project, &forced)?;
        let text = if arguments.json { json(&planned)? } else { plan::text(&planned, arguments.explain) };
        print_line(&text)?;
        return Ok(refuse_blocked(&project, &planned)?);
    }
    if arguments.status {
        let planned = plan::plan(&project, &forced)?;
        let choice = choices.in_force();
        let text = if arguments.json {
            let choice = choice.map(|choice| serde_json::json!({ "size": choice.size, "set": choice.sets }));
            serde_json::json!({ "choice": choice, "stages": planned }).to_string()
        } else {
            let choice = choice.map(|choice| choice::status(&choice) + "\n").unwrap_or_default();
            choice + &plan::text(&planned, false)
        };
        print_line(&text)?;
        if planned.iter().any(|stage| stage.state != "unchanged") {
            std::process::exit(ExitCode::Failed as i32);
        }
        return Ok(());
    }
    if arguments.estimate {
        let planned = plan::plan(&project, &forced)?;
        let found = estimate::estimate(&project, &planned)?;
        let text = if arguments.json { json(&found)? } else { found.text() };
        print_line(&text)?;
        found.demand_room()?;
        return Ok(refuse_blocked(&project, &planned)?);
    }
    if arguments.export == Some(Engine::Snakemake) {
        let (text, _) = snakemake::export(&project)?;
        match &arguments.out {
            Some(file) => durable::write(file, text.as_bytes()).map(|_| ())?,
            None => print_line(text.trim_end())?,
        }
        return Ok(());
    }
    let call = call(arguments, &given);
    // Nobody else makes another choice while this run goes on; a rehearsal makes none.
    let _held = if arguments.rehearse.is_none() { choices.enforce()? } else { None };
    if let Some(choice) = choices.in_force() {
        tracing::info!("{}", choice.shown());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        jobs: if arguments.jobs == 0 { cores } else { arguments.jobs },
        stream: arguments.verbosity.verbose > 0,
        forced,
        keep_going: arguments.keep_going,
        fail_fast: arguments.fail_fast,
        gpus: arguments.gpus,
        mem_mb: arguments.mem_mb,
        call,
        rehearsal: None,
    };
    let done = match &arguments.rehearse {
        Some(folder) => rehearse::run(project, folder.as_deref(), options)?,
        None => schedule::run(project, &options)?,
    };
    tracing::info!("{}", done.record.table());
    if arguments.json {
        print_line(&done.record.json()?)?;
    }
    done.result?;
    if matches!(arguments.rehearse, Some(None)) {
        // Its outs are gone, and figures of a smoke run say nothing.
        let stages = done.record.stages.len();
        tracing::info!("\nall {stages} stages pass; the scratch folder is removed");
        return Ok(());
    }
    let text = done.results.text();
    if !text.is_empty() {
        tracing::info!("\n{text}");
    }
    if arguments.result {
        print_line(&done.results.json()?)?;
    }
    Ok(())
}

/// The pipeline and the stages of `--force`. `-f` without a name takes the word behind it, which may be the pipeline.
fn split(arguments: &PipelineArgs) -> (PathBuf, Vec<String>) {
    let mut force = arguments.force.clone();
    if let Some(given) = &arguments.pipeline {
        return (given.clone(), force);
    }
    let is_pipeline = |name: &String| {
        let path = Path::new(name);
        !name.is_empty() && (path.join(FILE).is_file() || (path.ends_with(FILE) && path.is_file()))
    };
    match force.iter_mut().find(|name| is_pipeline(name)) {
        Some(name) => {
            let given = PathBuf::from(std::mem::take(name));
            (given, force)
        }
        None => (PathBuf::from("."), force),
    }
}

/// What a run would refuse is refused here, too, after all has been shown.
fn refuse_blocked(project: &Project, planned: &[plan::Planned]) -> Result<()> {
    let blocked = planned.iter().zip(&project.units).find(|(stage, _)| stage.state == "blocked");
    match blocked.and_then(|(_, unit)| missing::of(unit, &project.units)) {
        Some(missing) => Err(missing.error()),
        None => Ok(()),
    }
}

fn json(planned: &(impl serde::Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string_pretty(planned).map_err(|e| Error::failed(format!("plan: {e}")))
}
