//! What a training is for every system: what the flags say about it, and the files and figures named at its end.

use std::path::{Path, PathBuf};

use common::driver::Request;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use tch::Device;

use super::page::{self, Told};
use super::{FinetuneFlags, TrainFlags, compute};
use crate::trainer::{Options, Outcome, Resume};

/// What the flags say about a run.
pub struct Begun {
    /// Where the network runs.
    pub device: Device,
    /// Steps an epoch, and batches of an evaluation.
    pub limit: Option<u64>,
    resume: Resume,
}

impl Begun {
    /// Of `train-model`.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn training(request: &Request<TrainFlags>) -> Result<Self> {
        let device = compute(request)?;
        Ok(Self { device, limit: request.limit, resume: resume(&request.flags.resume, request.run.force) })
    }

    /// Of `finetune-group`.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn finetuning(request: &Request<FinetuneFlags>) -> Result<Self> {
        let device = compute(request)?;
        Ok(Self { device, limit: request.limit, resume: resume(&request.flags.resume, request.run.force) })
    }

    /// What the trainer is to know of a run in the folder of `stage`.
    pub fn options<'a>(&self, stage: &Stage, initial: Option<&'a Path>) -> Options<'a> {
        Options {
            folder: stage.folder().to_path_buf(),
            device: self.device,
            resume: self.resume.clone(),
            max_steps: self.limit,
            initial,
            observer: None,
        }
    }
}

/// A checkpoint that was named is taken up in a folder that is replaced, too.
fn resume(asked: &Resume, force: bool) -> Resume {
    if force && *asked == Resume::Auto { Resume::Never } else { asked.clone() }
}

/// The file of weights that `--init` or a config names: itself, or the model of the training in that folder.
///
/// # Errors
/// Where there is neither.
pub fn weights_of(named: &Path) -> Result<PathBuf> {
    match (named.is_file(), named.is_dir()) {
        (true, _) => Ok(named.to_path_buf()),
        (_, true) => Manifest::read(&named.to_string_lossy())?.find("train-model")?.output("model"),
        _ => Err(Error::input(named, "no such file or folder")
            .hint("name a file of weights, or the folder of a finished `train-model` stage")),
    }
}

/// The prepared data of `system` that `--from` leads to.
///
/// # Errors
/// When it is not given, or leads to none.
pub fn prepared(request: &Request<TrainFlags>, system: &str) -> Result<Manifest> {
    prepared_of(request.demanded("a finished `prepare-data` stage")?, system)
}

/// The prepared data of `system` behind a stage.
///
/// # Errors
/// When there are none, or they are of another system.
pub fn prepared_of(stage: &Manifest, system: &str) -> Result<Manifest> {
    let prepared = stage.find("prepare-data")?;
    if prepared.system != system {
        let problem =
            format!("is of the system `{}`, expected `{system}`, that of the config or network", prepared.system);
        return Err(Error::input(&prepared.folder, problem).hint("give data, config and network of one system"));
    }
    Ok(prepared)
}

/// Identity of a run for its checkpoints: another config, other data, other weights to begin with or another limit make
/// another run, which does not continue this one.
///
/// # Errors
/// When the weights cannot be read.
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

/// Writes the config where TensorBoard users look for it.
///
/// # Errors
/// Those of writing.
pub fn hparams(stage: &mut Stage, config: &str) -> Result<()> {
    let written = durable::write(stage.folder().join("hparams.yaml"), config.as_bytes())?;
    stage.output("hparams", &written);
    Ok(())
}

/// Names the weights and the metric files.
///
/// # Errors
/// Those of reading these files.
pub fn publish(stage: &mut Stage, model: &Path, member: &str) -> Result<()> {
    stage.output("model", &durable::hash_file(model)?);
    let folder = stage.folder().to_path_buf();
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    stage.metric("member", member);
    Ok(())
}

/// Says how a run ended, in figures and on the page that it writes.
///
/// # Errors
/// Those of reading the metric log and of writing the page.
pub fn ending(stage: &mut Stage, outcome: &Outcome, told: &Told) -> Result<()> {
    let state = &outcome.state;
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("ended", state.finished.clone().unwrap_or_default());
    stage.metric(told.rows, (outcome.rows_per_s * 10.0).round() / 10.0);
    stage.metric("data_wait", (outcome.data_wait * 1e4).round() / 1e4);
    if outcome.rate_factor != 1.0 {
        stage.metric("learning_rate_factor", outcome.rate_factor);
    }
    if let Some(bytes) = outcome.gpu_peak {
        stage.metric("gpu_peak_mib", bytes >> 20);
    }
    let made = page::of_run(stage, told, outcome)?;
    page::write(stage, &made)
}
