//! A whole training run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result};
use neural::loader::{Order, Source};
use neural::params::Params;
use neural::trainer::{self, Options, Outcome, Plan};
use neural::weights::{self, Allow, Choice};
use serde_json::json;

use super::{TrackTask, TrainConfig};
use crate::density::DensityMap;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;

/// What a run left behind.
pub struct Trained {
    /// How training went.
    pub outcome: Outcome,
    /// The best weights.
    pub model: PathBuf,
    /// The last weights.
    pub params: Params,
}

/// Trains by `config` on tracks normalised by `normalizer`.
pub fn train<'a>(
    config: &'a TrainConfig,
    hash: &str,
    (source, valid): (Arc<dyn Source>, Arc<dyn Source>),
    normalizer: Normalizer,
    options: Options<'a>,
) -> Result<Trained> {
    let params = Params::new(options.device, config.seed);
    let network = StepAhead::new(&params, &config.model)?;
    if let Some(path) = options.initial {
        begin_with(&params, path, &config.pretrained_part)?;
    }
    tracing::info!("{}", neural::summary::summary("StepAheadTrackNET", &params.state()));
    let about = json!({
        "system": "tracknet",
        "network": "step_ahead",
        "member": config.member,
        "model": serde_json::to_value(&config.model).map_err(|e| Error::failed(format!("describing the model: {e}")))?,
        "normalizer": normalizer,
        "loss_alpha": config.loss_alpha,
    });
    let mut task = TrackTask {
        network,
        alpha: config.loss_alpha,
        valid,
        val_batch_size: config.val_batch_size,
        device: options.device,
        map: map(config)?,
        normalizer,
        about,
        last: None,
    };
    let order = Arc::new(Order::new(source.rows(), &config.training.shuffle, config.seed)?);
    let limit = [options.max_steps, config.limit_train_batches].into_iter().flatten().min();
    let options = Options { max_steps: limit, ..options };
    let rows = (source, order);
    let plan = Plan::new(options, &config.training, (hash, config.seed), rows, &params, &config.member);
    let outcome = trainer::train(plan, &mut task)?;
    Ok(Trained { model: outcome.weights(), outcome, params })
}

/// Loads the weights that a run begins with; what is dropped of them stays as it was drawn.
pub fn begin_with(params: &Params, path: &Path, part: &Choice) -> Result<()> {
    let missing = part.drop.clone();
    let report = weights::load(&params.state(), path, &part.on(Allow { missing, ..Allow::default() }))?;
    tracing::info!("begins with `{}`: {report}", path.display());
    Ok(())
}

/// Differs: without the map the original stops; here only its metric is left out, with a warning.
fn map(config: &TrainConfig) -> Result<Option<DensityMap>> {
    let Some(path) = &config.hit_density_stats_path else { return Ok(None) };
    if !path.exists() {
        tracing::warn!("`{}` does not exist: no hit density is reported; `hit-density` makes it", path.display());
        return Ok(None);
    }
    DensityMap::read(path).map(Some)
}
