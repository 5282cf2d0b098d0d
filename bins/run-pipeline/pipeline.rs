//! `run-pipeline PIPELINE`: what was typed, and what is done about it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use common::cli::{Verbosity, print_line};
use common::{Error, Result, durable};

use crate::declare::text::quote;
use crate::graph::Project;
use crate::run::schedule::{self, Options};
use crate::show::{dag, plan, snakemake};

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
    /// Stages that may run at the same time
    #[arg(short, long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub jobs: usize,
    /// Run only this stage (or group) and what it needs
    #[arg(long, value_name = "STAGE", help_heading = "Run")]
    pub until: Vec<String>,
    /// Run this stage (or group) even when up to date
    #[arg(short, long, value_name = "STAGE", help_heading = "Run")]
    pub force: Vec<String>,
    /// After a failure go on with what does not need it
    #[arg(short, long, help_heading = "Run")]
    pub keep_going: bool,
    /// GPUs to give to stages [default: as found]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub gpus: Option<u64>,
    /// Memory to give to stages, in MB [default: as found]
    #[arg(long, value_name = "MB", help_heading = "Run")]
    pub mem_mb: Option<u64>,
    /// Print named outs and metrics as one line of JSON
    #[arg(long, help_heading = "Run", conflicts_with_all = ["json", "look"])]
    pub result: bool,
    /// Print what would run and why; run nothing
    #[arg(short = 'n', long, help_heading = "Look", group = "look")]
    pub dry_run: bool,
    /// The same for all stages, with their commands
    #[arg(long, help_heading = "Look", group = "look")]
    pub explain: bool,
    /// Print the stages and what they wait for
    #[arg(long, help_heading = "Look", group = "look")]
    pub dag: bool,
    /// With --dag: for Graphviz
    #[arg(long, help_heading = "Look", conflicts_with = "mermaid")]
    pub dot: bool,
    /// With --dag: for Mermaid
    #[arg(long, help_heading = "Look")]
    pub mermaid: bool,
    /// Write the pipeline for another engine
    #[arg(long, value_enum, value_name = "ENGINE", help_heading = "Look", group = "look")]
    pub export: Option<Engine>,
    /// File for --export [default: standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Look", requires = "export")]
    pub out: Option<PathBuf>,
    /// Print the plan or the record of the run as JSON
    #[arg(long, help_heading = "Look")]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Does what was asked for.
pub fn run(arguments: &PipelineArgs) -> anyhow::Result<()> {
    let given = arguments.pipeline.clone().unwrap_or_else(|| PathBuf::from("."));
    let mut project = Project::read(&given)?;
    if !arguments.until.is_empty() {
        let mut wanted = Vec::new();
        for name in &arguments.until {
            wanted.extend(project.find(name)?);
        }
        project = project.until(&wanted)?;
    }
    let mut forced = vec![false; project.units.len()];
    for name in &arguments.force {
        project.find(name)?.into_iter().for_each(|unit| forced[unit] = true);
    }
    if arguments.dag || arguments.dot || arguments.mermaid {
        let text = match (arguments.dot, arguments.mermaid) {
            (true, _) => dag::dot(&project),
            (_, true) => dag::mermaid(&project),
            _ => dag::text(&project),
        };
        return Ok(print_line(&text)?);
    }
    if arguments.dry_run || arguments.explain {
        let planned = plan::plan(&project, &forced)?;
        let text = if arguments.json { json(&planned)? } else { plan::text(&planned, arguments.explain) };
        return Ok(print_line(&text)?);
    }
    if arguments.export == Some(Engine::Snakemake) {
        let (text, _) = snakemake::export(&project)?;
        match &arguments.out {
            Some(file) => durable::write(file, text.as_bytes()).map(|_| ())?,
            None => print_line(text.trim_end())?,
        }
        return Ok(());
    }
    let call = match &arguments.pipeline {
        Some(path) => format!("run-pipeline {}", quote(&path.to_string_lossy())),
        None => "run-pipeline".into(),
    };
    let options = Options {
        jobs: arguments.jobs,
        forced,
        keep_going: arguments.keep_going,
        gpus: arguments.gpus,
        mem_mb: arguments.mem_mb,
        call,
    };
    let done = schedule::run(project, &options)?;
    tracing::info!("{}", done.record.table());
    if arguments.json {
        print_line(&done.record.json()?)?;
    }
    done.result?;
    let text = done.results.text();
    if !text.is_empty() {
        tracing::info!("\n{text}");
    }
    if arguments.result {
        print_line(&done.results.json()?)?;
    }
    Ok(())
}

fn json(planned: &[plan::Planned]) -> Result<String> {
    serde_json::to_string_pretty(planned).map_err(|e| Error::failed(format!("plan: {e}")))
}
