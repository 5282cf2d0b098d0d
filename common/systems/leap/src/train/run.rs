//! A whole training run: build, train, predict the validation rows with the best weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::durable::Written;
use common::stage::Manifest;
use common::store::tensors::TensorFile;
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
use crate::models::ModelConfig;
use crate::norm::{Chain, Constants, target_metadata};
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
    exhausted::working_on(
        format!("building the network `{}`", model.name()),
        vec!["a narrower network: the widths below `model`".into(), "--device cpu".into()],
    );
    let params = Params::new(device, seed);
    let network = model.build(&params)?;
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

/// The published constants of a chain with the mean and std of the targets that the arrays were made with.
pub fn constants_of(valid: &Path, chain: Chain) -> Result<Constants> {
    let file = TensorFile::open(valid)?;
    let mut constants = Constants::published(chain)?.clone();
    for (name, values) in [("target_mean", &mut constants.target_mean), ("target_std", &mut constants.target_std)] {
        *values = file.elements_of_shape::<f64>(name, &[Some(crate::columns::TARGETS)])?.to_vec();
    }
    Ok(constants)
}

/// Refuses data of other constants than those that the network of a finished run learned from: the same inputs would be other
/// numbers to it. The run's out-of-fold predictions hold the constants of its targets.
///
/// # Errors
/// [`Error::Input`] with the first column that differs.
pub fn demand_constants(trained: &Manifest, constants: &Constants, prepared: &Path) -> Result<()> {
    if !trained.outputs.contains_key("oof") {
        return Ok(());
    }
    let path = trained.output("oof")?;
    let file = TensorFile::open(&path)?;
    for (name, found) in [("mean", &constants.target_mean), ("std", &constants.target_std)] {
        let learned = file.elements_of_shape::<f64>(name, &[Some(crate::columns::TARGETS)])?;
        if let Some(column) = (0..learned.len()).find(|&c| learned[c] != found[c]) {
            let target = crate::columns::train_targets()[column];
            let problem = format!(
                "is normalised by other constants than the data that the network learned from: {name} of `{target}` is {}, \
                 it was {}",
                found[column], learned[column]
            );
            return Err(Error::input(prepared, problem)
                .hint("prepare it with the constants of the training: `normalisation={files: TRAINED/norm}`"));
        }
    }
    Ok(())
}

/// Trains by `config`, and writes the out-of-fold predictions of the best evaluation.
pub fn train<'a>(config: &'a TrainConfig, hash: &str, arrays: &Arrays, options: Options<'a>) -> Result<Trained> {
    let chain = config.chain();
    let Built { params, network } = build(&config.model, options.device, config.seed)?;
    if let Some(path) = options.initial {
        let InitialConfig { drop, prefix } = config.initial.clone().unwrap_or_default();
        // What is dropped may be of another shape here, or not here at all.
        let missing = drop.iter().filter(|name| params.get(name).is_some()).cloned().collect();
        let allow = weights::Allow { dropped: drop, missing, prefix, ..weights::Allow::default() };
        let report = weights::load(&params.state(), path, &allow)?;
        tracing::info!("begins with `{}`: {report}", path.display());
    }
    tracing::info!("{}", neural::summary::summary(config.model.name(), &params.state()));
    let evaluator = evaluator(arrays, options.device, config.val_batch_size, config.training.precision);
    let about = about(&config.member, &config.model, chain, config.apply_zero_list)?;
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
    Ok(Trained { outcome, model, oof, score: found.score })
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

#[cfg(test)]
mod tests {
    use common::stage::Stage;
    use common::store::tensors::{self, TensorView};

    use super::*;

    #[test]
    fn data_of_other_constants_than_those_of_the_training_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let constants = Constants::published(Chain::B).unwrap().clone();
        let mut stage = Stage::begin("train-model", "leap", folder.path(), "", 1, false).unwrap();
        let shape = [crate::columns::TARGETS];
        let views = [
            TensorView::of("mean", &shape, &constants.target_mean),
            TensorView::of("std", &shape, &constants.target_std),
        ];
        let written = tensors::write(stage.folder().join(OOF), &views, None).unwrap();
        stage.output("oof", &written);
        let trained = stage.finish().unwrap();
        demand_constants(&trained, &constants, Path::new("data")).unwrap();
        let mut other = constants;
        other.target_std[7] *= 2.0;
        let error = demand_constants(&trained, &other, Path::new("data")).unwrap_err().to_string();
        assert!(error.starts_with("`data`: is normalised by other constants") && error.contains("std of"), "{error}");
    }
}
