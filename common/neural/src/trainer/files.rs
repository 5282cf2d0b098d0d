//! The files of a run's checkpoints: their names, what stands in them, and which of them a run may go on from.

use std::path::Path;

use common::durable::Written;
use common::{Error, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::Plan;
use crate::checkpoint::{Checkpoints, Found};
use crate::ema::Ema;
use crate::errors::Doing;
use crate::weights;

/// Checkpoint that a run resumes from.
pub const LAST: &str = "last";
/// Checkpoint with the best score.
pub const BEST: &str = "best";
/// Folder of the checkpoints inside the run folder.
pub const CHECKPOINTS: &str = "checkpoints";
/// Weights of a checkpoint.
pub const MODEL: &str = "model.safetensors";
/// Averaged weights of a checkpoint; they are the ones to predict with, where present.
pub const AVERAGED: &str = "ema.safetensors";
/// Gradients that wait for more rows, in checkpoints between two updates of the weights.
pub const GRADIENTS: &str = "gradients.safetensors";
/// State of the optimizer.
pub const OPTIMIZER: &str = "optimizer.safetensors";

/// The gradients at hand under the names of their parameters.
pub(super) fn gradients(plan: &Plan) -> Vec<(String, Tensor)> {
    let grads = plan.trainable.iter().map(|(name, parameter)| (name.clone(), parameter.grad()));
    grads.filter(|(_, grad)| grad.defined()).collect()
}

/// Gives parameters the gradients that a checkpoint holds.
pub(super) fn restore_gradients(plan: &Plan, saved: &[(String, Tensor)]) -> Result<()> {
    for (name, parameter) in &plan.trainable {
        if let Some((_, grad)) = saved.iter().find(|(n, _)| n == name) {
            let what = || format!("restoring the gradient of `{name}`");
            let grad = grad.f_to_device(parameter.device()).doing(what())?;
            // Backward through a product with a constant leaves that constant as gradient, bit for bit.
            (parameter * grad).f_sum(Kind::Float).doing(what())?.f_backward().doing(what())?;
        }
    }
    Ok(())
}

/// Writes the averaged weights as a whole model.
pub(super) fn averaged(folder: &Path, ema: &Ema, plan: &Plan, metadata: &Value) -> Result<Written> {
    // Buffers are not averaged; the file holds the whole model all the same, so that it loads strictly.
    let average = ema.state();
    let whole: Vec<(String, Tensor)> = plan
        .state
        .iter()
        .map(|(name, tensor)| {
            let mean = average.iter().find(|(n, _)| n == name).map_or(tensor, |(_, mean)| mean);
            (name.clone(), mean.shallow_clone())
        })
        .collect();
    weights::save(folder.join(AVERAGED), &whole, Some(metadata))
}

/// The newest checkpoint that verifies; others are named in warnings.
pub(super) fn newest(checkpoints: &Checkpoints) -> Result<Option<Found>> {
    let (found, rejected) = checkpoints.newest()?;
    for error in rejected {
        tracing::warn!("not resuming from this checkpoint: {error}");
    }
    Ok(found)
}

/// Refuses a checkpoint of another run.
pub(super) fn demand_own(found: &Found, config_hash: &str, checkpoints: &Checkpoints) -> Result<()> {
    if found.manifest.config_hash == config_hash {
        return Ok(());
    }
    let sentence = format!("`{}` was written under another config or from other data", found.folder.display());
    let run = checkpoints.folder().parent().unwrap_or(checkpoints.folder());
    Err(Error::usage(sentence).hint(format!(
        "give the config and data of that run to continue it; or start anew with `--resume never`, which replaces its \
         checkpoints, or `rm -r {}`",
        run.display()
    )))
}
