//! What stages with networks have beside the driver ([`common::driver`]): their flags, device and threads, what a training
//! leaves behind, and what a system knows of files of weights.

mod curves;
mod flags;
mod import;
pub mod page;
mod training;

use std::path::PathBuf;

use common::driver::{Entry, Request};
use common::stage::Manifest;
use common::{Error, Result};
use tch::Device;

pub use flags::{Computes, FinetuneFlags, PredictFlags, Set, TrainFlags, ZeroList};
pub use import::{Import, Network, Weights, says_system};
pub use page::Told;
pub use training::{Begun, ending, hparams, identity, prepared, prepared_of, publish, weights_of};

use crate::{device, memory};

/// A system's stages with networks, as its crate describes them. What a system does not have is none.
pub struct Networks {
    /// Its name in configs, manifests and command lines.
    pub name: &'static str,
    /// `train-model`.
    pub train: Option<Entry<TrainFlags>>,
    /// `finetune-group`.
    pub finetune: Option<Entry<FinetuneFlags>>,
    /// `predict`.
    pub predict: Option<Entry<PredictFlags>>,
    /// `convert-weights`.
    pub import: Option<Import>,
}

/// The device that the flags choose, made ready with the threads of the run.
///
/// # Errors
/// When there is no such device.
pub fn compute<F: Computes>(request: &Request<F>) -> Result<Device> {
    let device = device::choose(request.flags.device())?;
    device::set_threads(request.threads)?;
    memory::for_long_runs();
    Ok(device)
}

/// The prepared data of `system`: those that `--data` names, else those behind the stage `trained`.
///
/// # Errors
/// Where there are none, or they are of another system.
pub fn data_of(data: Option<&str>, trained: Option<&Manifest>, system: &str) -> Result<Manifest> {
    match (data, trained) {
        (Some(data), _) => prepared_of(&Manifest::read(data)?, system),
        (None, Some(trained)) => prepared_of(trained, system),
        (None, None) => Err(Error::usage("`--data` is missing: the folder of a finished `prepare-data` stage")),
    }
}

/// The one file of `--weights`, or the output `model` of the `train-model` stage that `--from` leads to, with that stage.
/// `instead` says what can be given in place of `--from`.
///
/// # Errors
/// Where neither is given, or more than one file.
pub fn one_network(request: &Request<PredictFlags>, instead: &str) -> Result<(PathBuf, Option<Manifest>)> {
    let before = request.before()?.map(|stage| stage.find("train-model")).transpose()?;
    match (request.flags.weights.as_slice(), before) {
        ([one], trained) => Ok((one.clone(), trained)),
        ([], Some(trained)) => Ok((trained.output("model")?, Some(trained))),
        ([], None) => Err(Error::usage("`--from` is missing: the folder of a finished `train-model` stage")
            .hint(format!("for example `--from runs/one`, or {instead}"))),
        (files, _) => {
            Err(Error::usage(format!("`--weights` gives {} files, this system has one network", files.len())))
        }
    }
}
