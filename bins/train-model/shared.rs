//! What training is for every system: config and flags in, the stage begun, files and figures named at the end.

use std::path::{Path, PathBuf};

use common::config::{Config, Resolved};
use common::curves::Curves;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::device;
use neural::trainer::{Options, Outcome, Resume};
use tch::Device;

use crate::train_model::args::Args;

/// The config of the run; `smoke` are the overrides of a smoke run. None when it was only to be printed.
pub fn resolve_config<C: Config>(args: &Args, smoke: &[&str]) -> Result<Option<Resolved<C>>> {
    args.run.config(&args.config, smoke_overrides(args, smoke))
}

/// What `--fast-dev-run` means for the config.
pub fn smoke_overrides(args: &Args, smoke: &[&str]) -> Vec<String> {
    if args.fast_dev_run { smoke.iter().map(ToString::to_string).collect() } else { vec![] }
}

/// The stage that `--from` names. `what` says which stages a system takes.
pub fn source(args: &Args, what: &str) -> Result<Manifest> {
    let from = args.from.from.as_deref().ok_or_else(|| {
        Error::usage(format!("`--from` is missing: the folder of {what}"))
            .hint("for example `--from data`, or `--from -` behind a pipe")
    })?;
    Manifest::read(from)
}

/// The prepared data of `system` that `--from` leads to.
pub fn prepared(args: &Args, system: &str) -> Result<Manifest> {
    prepared_of(&source(args, "a finished `prepare-data` stage")?, system)
}

/// The prepared data of `system` behind a stage.
pub fn prepared_of(stage: &Manifest, system: &str) -> Result<Manifest> {
    let prepared = stage.find("prepare-data")?;
    if prepared.system != system {
        let problem = format!("is of the system `{}`, the config is of `{system}`", prepared.system);
        return Err(Error::input(&prepared.folder, problem).hint("give data and config of one system"));
    }
    Ok(prepared)
}

/// The device and threads that the flags choose, made ready.
pub fn compute(args: &Args) -> Result<Device> {
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    Ok(device)
}

/// Steps an epoch that the flags allow.
pub fn limit(args: &Args) -> Option<u64> {
    if args.fast_dev_run { Some(2) } else { args.run.limit }
}

/// Identity of a run for its checkpoints: another config, other data, other weights to begin with or another limit make
/// another run, which does not continue this one.
pub fn identity(config: &str, prepared: &Manifest, initial: Option<&Path>, limit: Option<u64>) -> Result<String> {
    let mut identity = format!("{config} data {}", prepared.identity());
    if let Some(path) = initial {
        identity += &format!(" from {}", durable::hash_file(path)?.blake3);
    }
    if let Some(limit) = limit {
        identity += &format!(" limit {limit}");
    }
    Ok(identity)
}

/// The folder of the run.
pub fn folder(args: &Args) -> PathBuf {
    args.run.folder("train-model")
}

/// Begins the stage in `folder`: its lock, its inputs, and the config where TensorBoard users look for it.
pub fn begin<C>(args: &Args, system: &str, seed: u64, config: &Resolved<C>, upstream: &[&Manifest]) -> Result<Stage> {
    let mut stage = Stage::begin("train-model", system, &folder(args), &config.text, seed, args.run.force)?;
    upstream.iter().for_each(|manifest| stage.upstream(manifest));
    let hparams = durable::write(stage.folder().join("hparams.yaml"), config.text.as_bytes())?;
    stage.output("hparams", &hparams);
    Ok(stage)
}

/// What the flags say about a run in the folder of `stage`.
pub fn options<'a>(args: &Args, stage: &Stage, device: Device, initial: Option<&'a Path>) -> Options<'a> {
    Options {
        folder: stage.folder().to_path_buf(),
        device,
        // A checkpoint that was named is taken up in a folder that is replaced, too.
        resume: if args.run.force && args.resume == Resume::Auto { Resume::Never } else { args.resume.clone() },
        max_steps: limit(args),
        initial,
        observer: None,
    }
}

/// Names the weights, the metric files and the page of curves, which it writes.
pub fn publish(stage: &mut Stage, model: &Path, member: &str, subtitle: &str, annotated: &str) -> Result<()> {
    stage.output("model", &durable::hash_file(model)?);
    let folder = stage.folder().to_path_buf();
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    let report = Curves::read(&folder.join("metrics.jsonl"))?.report(member, subtitle, annotated)?;
    stage.output("report", &report.write(&folder.join("report.html"))?);
    stage.metric("member", member);
    Ok(())
}

/// Says how a run ended. `rows` names what it counts: `rows_per_s`, `events_per_s`.
pub fn ending(stage: &mut Stage, outcome: &Outcome, rows: &str) {
    let state = &outcome.state;
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("ended", state.finished.clone().unwrap_or_default());
    stage.metric(rows, (outcome.rows_per_s * 10.0).round() / 10.0);
    stage.metric("data_wait", (outcome.data_wait * 1e4).round() / 1e4);
    if outcome.rate_factor != 1.0 {
        stage.metric("learning_rate_factor", outcome.rate_factor);
    }
    if let Some(bytes) = outcome.gpu_peak {
        stage.metric("gpu_peak_mib", bytes >> 20);
    }
}
