//! A whole training run: build, train, predict the validation rows with the best weights.

use std::path::PathBuf;
use std::sync::Arc;

use common::durable::Written;
use common::stage::Manifest;
use common::{Error, Result, exhausted};
use neural::Params;
use neural::layers::Network;
use neural::loader::{Order, Source};
use neural::precision::Precision;
use neural::trainer::{self, Options, Outcome, Plan, Training};
use neural::weights;
use serde_json::{Value, json};
use tch::Device;

use super::config::{InitialConfig, TrainConfig};
use super::evaluate::{Evaluator, predict};
use super::{LeapTask, Objective, zero_list_of_file};
use crate::constants;
use crate::models::ModelConfig;
use crate::norm::{Chain, Constants, NORMALISATION, target_metadata};
use crate::score::{Rules, Score};

/// Name of the out-of-fold file.
pub const OOF: &str = "oof.safetensors";

/// The rows of a run.
#[derive(Clone)]
pub struct Arrays {
    /// Training rows: `inputs`, `targets`.
    pub train: Arc<dyn Source>,
    /// Their order; drawn from the seed where not given.
    pub order: Option<Arc<Order>>,
    /// Validation rows.
    pub valid: Arc<dyn Source>,
    /// The constants that normalised the targets.
    pub constants: Constants,
    /// Which constants those are; none for the published ones of the chain.
    pub normalisation: Option<String>,
}

/// What a run left behind.
pub struct Trained {
    /// How training went.
    pub outcome: Outcome,
    /// The best weights.
    pub model: PathBuf,
    /// Out-of-fold predictions of the best evaluation.
    pub oof: Written,
    /// R2 of those.
    pub score: Score,
    /// Mean correlation of the errors that the network expects and makes, where it expects any.
    pub confidence: Option<f64>,
}

/// A network with its parameters.
pub struct Built {
    /// The parameters; the network shares their memory.
    pub params: Params,
    /// The network.
    pub network: Box<dyn Network>,
}

/// Builds a network with initial weights drawn from `seed`.
pub fn build(model: &ModelConfig, device: Device, seed: u64) -> Result<Built> {
    build_for(model, Constants::published(model.chain())?, device, seed)
}

/// The same for arrays that were normalised with `constants`: further channels of the input depend on them.
fn build_for(model: &ModelConfig, constants: &Constants, device: Device, seed: u64) -> Result<Built> {
    exhausted::working_on(
        format!("building the network `{}`", model.name()),
        vec!["a narrower network: the widths below `model`".into(), "--device cpu".into()],
    );
    let params = Params::new(device, seed);
    let network = model.build_for(&params, constants)?;
    Ok(Built { params, network })
}

/// What a checkpoint says about itself: enough to predict with it. The zero list comes with the best evaluation.
pub fn about(member: &str, model: &ModelConfig, chain: Chain, apply_zero_list: bool) -> Result<Value> {
    let mut about = target_metadata(chain);
    about["member"] = json!(member);
    about["model"] = serde_json::to_value(model).map_err(|e| Error::failed(format!("describing the model: {e}")))?;
    about["apply_zero_list"] = json!(apply_zero_list);
    Ok(about)
}

/// `constants` with those that the inputs were normalised with, for what leads back to physical inputs; `key` is what asks
/// for that.
pub fn inputs_of(prepared: &Manifest, constants: &Constants, key: &str) -> Result<Constants> {
    let (chain, mut constants) = (constants.chain, constants.clone());
    let [mean, std] = ["mean", "std"].map(|what| format!("norm/{what}_{chain}.json"));
    if prepared.outputs.contains_key(&mean) {
        let weights = prepared.output("norm/old_sample_weight.csv")?;
        let fitted = Constants::read(chain, &prepared.output(&mean)?, &prepared.output(&std)?, &weights)?;
        (constants.input_mean, constants.input_std) = (fitted.input_mean, fitted.input_std);
        return Ok(constants);
    }
    let published = Constants::published(chain)?;
    if (&constants.target_mean, &constants.target_std) == (&published.target_mean, &published.target_std) {
        return Ok(constants);
    }
    Err(Error::usage(format!(
        "`{key}`: the arrays were normalised with constants that `prepare-data` did not put beside them"
    ))
    .hint("prepare them with `normalisation: given` or with fitted constants, or leave it out"))
}

/// Trains by `config`, and writes the out-of-fold predictions of the best evaluation.
pub fn train<'a>(config: &'a TrainConfig, hash: &str, arrays: &Arrays, options: Options<'a>) -> Result<Trained> {
    let chain = config.chain();
    let Built { params, network } = build_for(&config.model, &arrays.constants, options.device, config.seed)?;
    if let Some(path) = options.initial {
        if path.extension().is_some_and(|e| e == "safetensors") {
            let theirs = weights::metadata(path)?.unwrap_or_default();
            if let Some(difference) = constants::difference(&theirs, &arrays.normalisation, path) {
                tracing::warn!("the training data: each {difference}; the weights begin on another scale");
            }
        }
        let InitialConfig { drop, prefix } = config.initial.clone().unwrap_or_default();
        // What is dropped may be of another shape here, or not here at all.
        let missing = drop.iter().filter(|name| params.get(name).is_some()).cloned().collect();
        let allow = weights::Allow { dropped: drop, missing, prefix, ..weights::Allow::default() };
        let report = weights::load(&params.state(), path, &allow)?;
        tracing::info!("begins with `{}`: {report}", path.display());
    }
    if let Some(files) = &config.representations {
        files.give(&params)?;
    }
    tracing::info!("{}", neural::summary::summary(config.model.name(), &params.state()));
    let evaluator = evaluator(arrays, options.device, config.val_batch_size, config.training.precision);
    let mut about = about(&config.member, &config.model, chain, config.apply_zero_list)?;
    if let Some(identity) = &arrays.normalisation {
        about[NORMALISATION] = json!(identity);
    }
    let mut task = LeapTask::new(network, Objective::All(config.loss.clone()), evaluator, about.clone());
    task.augmentation = config.augmentation.clone().map(|augmentation| (augmentation, config.seed));
    let folder = options.folder.clone();
    let outcome = fit(&mut task, &params, &config.training, hash, config.seed, arrays, options, &config.member)?;

    // The weights are those of the last step now: back to the best ones.
    let model = outcome.weights();
    weights::load(&params.state(), &model, &weights::Allow::default())?;
    let kept = outcome.state.kept.as_ref().map(|kept| zero_list_of_file(&kept.detail, &model)).transpose()?;
    let zero_list = kept.unwrap_or_default();
    let mut metadata = about;
    metadata["zero_list"] = json!(zero_list);
    let network = task.network.as_ref();
    let (oof, found) =
        task.evaluator.write_oof(&folder.join(OOF), &arrays.constants, &metadata, &zero_list, |rows| {
            Ok(predict(network, rows))
        })?;
    Ok(Trained { outcome, model, oof, score: found.score, confidence: found.confidence })
}

/// Predicts and judges the validation rows of `arrays`.
pub fn evaluator(arrays: &Arrays, device: Device, batch: u64, precision: Precision) -> Evaluator {
    let rows = Arc::clone(&arrays.valid);
    Evaluator { rows, rules: Rules::of(&arrays.constants), batch, device, precision }
}

/// Runs the trainer on a task.
#[allow(clippy::too_many_arguments)]
pub fn fit<'a>(
    task: &mut LeapTask,
    params: &Params,
    training: &'a Training,
    hash: &str,
    seed: u64,
    arrays: &Arrays,
    options: Options<'a>,
    label: &str,
) -> Result<Outcome> {
    let source = Arc::clone(&arrays.train);
    let order = match &arrays.order {
        Some(order) => Arc::clone(order),
        None => Arc::new(Order::new(source.rows(), &training.shuffle, seed)?),
    };
    let plan = Plan::new(options, training, (hash, seed), (source, order), params, label);
    trainer::train(plan, task)
}
