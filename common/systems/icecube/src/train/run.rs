//! A whole training run: build, train, predict the validation events with the resulting weights.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::durable::{self, Written};
use common::provenance;
use common::stage::{Artifact, Manifest};
use common::{Error, Result};
use neural::loader::{Order, Source};
use neural::stages;
use neural::trainer::{self, CHECKPOINTS, LAST, Options, Outcome, Plan};
use neural::weights;
use serde_json::{Value, json};
use tch::Tensor;

use super::config::{Select, TrainConfig};
use super::{IceCubeTask, Measures, Visits, outputs};
use crate::dataset::{EventSource, Events, InputConfig};
use crate::detector::Frame;
use crate::import;
use crate::losses;
use crate::models::{Built, ModelConfig, Targets, build_with};
use crate::predict::Rows;
use crate::sampler;

/// Name of the table of validation predictions.
pub const OOF: &str = "oof.parquet";
/// Name of the table of sub-epochs, as upstream writes it.
pub const HISTORY: &str = "history.csv";

/// The events of a run.
#[derive(Clone)]
pub struct Data {
    /// Training events.
    pub train: Arc<dyn Source>,
    /// Their order, batch after batch.
    pub order: Arc<Order>,
    /// Validation events.
    pub valid: Visits,
    /// How their positions and times are scaled.
    pub frame: Frame,
}

/// What a run left behind.
pub struct Trained {
    /// How training went.
    pub outcome: Outcome,
    /// The resulting weights.
    pub model: PathBuf,
    /// Predictions of the validation events by them.
    pub oof: Written,
    /// The table of sub-epochs.
    pub history: Written,
    /// Losses of those.
    pub measures: Measures,
}

/// The events of a prepared stage as a config asks for them; with a `limit` only so many validation batches.
pub fn data(config: &TrainConfig, prepared: &Manifest, limit: Option<u64>) -> Result<Data> {
    let mut events = Events::training(prepared, &config.held_back(prepared), config.lengths)?;
    if let Some(filter) = &config.kappa_filter {
        events = events.with_kappa(&filter.predictions, filter.least)?;
    }
    let valid = Arc::new(Events::validation(prepared, &config.validation, config.lengths)?);
    for (part, set) in [("training", &events), ("validation", &*valid)] {
        if !set.directed() {
            let problem = format!("the {part} events have no true directions");
            return Err(Error::input(&prepared.folder, problem).hint("prepare them with their meta files"));
        }
    }
    let (shared, first) = valid.shared_with(&events)?;
    if let Some(first) = first {
        tracing::warn!(
            "{shared} of {} validation events are trained on as well, event {first} among them: their score says nothing of \
             new events",
            valid.len()
        );
    }
    if !config.targets.is_none() && (!events.extra() || !valid.extra()) {
        return Err(Error::input(&prepared.folder, "knows neither energy, vertex nor kind of all its events, which `targets` asks for")
            .hint("prepare events whose meta files have the columns `energy`, `vertex_x`, .. or `kind`; or leave `targets` out"));
    }
    let frame = events.sensors().frame.clone();
    let events = Arc::new(events);
    let length = config.input.length;
    let order = sampler::training(&events, &config.sampler, length, config.training.batch_size, config.seed)?;
    let batch = config.val_batch_size;
    let valid_order = sampler::evaluation(&valid, config.valid_length, batch)?;
    let valid_order = match limit {
        Some(batches) if batches * batch < valid.len() => {
            Order::given(vec![valid_order.epoch(0)?.rows(0, batches * batch)])?
        }
        _ => valid_order,
    };
    let valid_input = InputConfig { length: config.valid_length, ..config.input.clone() };
    Ok(Data {
        frame,
        train: Arc::new(EventSource::new(events, config.input.clone(), config.seed)),
        order: Arc::new(order),
        valid: Visits {
            source: Arc::new(EventSource::new(valid, valid_input, config.seed)),
            order: Arc::new(valid_order),
            batch,
        },
    })
}

/// What the predictions that a filter by kappa reads add to the identity of a run, whose events they choose; nothing
/// without a filter. Names the table among the inputs of the stage.
pub fn identity_of_filter(config: &TrainConfig) -> Result<String> {
    let Some(filter) = &config.kappa_filter else { return Ok(String::new()) };
    let table = durable::hash_file(&filter.predictions)?;
    let path = std::fs::canonicalize(&filter.predictions).map_err(|e| Error::opening(&filter.predictions, e))?;
    let identity = format!(" kappa {}", table.blake3);
    provenance::file("kappa_filter.predictions".into(), Artifact { path, bytes: table.bytes, blake3: table.blake3 });
    Ok(identity)
}

/// What a checkpoint says about itself: enough to predict with it.
pub fn about(member: &str, model: &ModelConfig, input: &InputConfig) -> Result<Value> {
    let bad = |e: serde_json::Error| Error::failed(format!("describing the model: {e}"));
    Ok(json!({
        "system": "icecube",
        "member": member,
        "model": serde_json::to_value(model).map_err(bad)?,
        "input": serde_json::to_value(input).map_err(bad)?,
    }))
}

/// Where the parameters of heads stand.
const HEADS: &str = "heads.";

/// Loads the weights that a run begins with: all of them, or those whose names begin with one of `only`.
pub fn begin_with(built: &Built, path: &Path, only: &[String], choice: &weights::Choice) -> Result<()> {
    let file = stages::weights_of(path)?;
    let mut state = built.params.state();
    if built.heads.is_some() && !weights::read(&file)?.iter().any(|(name, _)| name.contains(HEADS)) {
        tracing::info!("`{}` has no heads beside the direction: they begin as drawn from the seed", file.display());
        state.retain(|(name, _)| !name.starts_with(HEADS));
    }
    let allow = choice.on(import::allow());
    let wanted = |name: &str| only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let some = |list: Vec<(String, Tensor)>| list.into_iter().filter(|(name, _)| wanted(name)).collect::<Vec<_>>();
    let targets = some(state);
    if targets.is_empty() {
        return Err(Error::usage(format!(
            "`weights_only`: no parameter's name begins with {}",
            only.iter().map(|prefix| format!("`{prefix}`")).collect::<Vec<_>>().join(" or ")
        )));
    }
    let found = weights::read_for(&targets, &file, &allow)?;
    import::warn_of_pulse_count(&file, found.dialect);
    let report = weights::load_strict(&targets, &some(found.tensors), &allow).map_err(|error| match only {
        [] => weights::in_file(&file, error),
        _ => Error::input(&file, error.to_string()).hint("the sizes of that part must be those of the other network"),
    })?;
    tracing::info!("beginning with `{}`: {report}", file.display());
    Ok(())
}

/// What checkpoints say, with the heads that the network has.
pub fn with_targets(mut about: Value, targets: &Targets) -> Result<Value> {
    if !targets.is_none() {
        about["targets"] =
            serde_json::to_value(targets).map_err(|e| Error::failed(format!("describing the heads: {e}")))?;
    }
    Ok(about)
}

/// What checkpoints say, with the data that the network was trained on.
pub fn framed(mut about: Value, frame: &Frame) -> Result<Value> {
    about["frame"] = serde_json::to_value(frame).map_err(|e| Error::failed(format!("describing the detector: {e}")))?;
    Ok(about)
}

/// Refuses weights that were trained on data of another detector or another scale. Files that do not say it are taken.
///
/// # Errors
/// [`Error::Input`] with what differs.
pub fn demand_frame(file: &Path, frame: &Frame) -> Result<()> {
    if file.extension().is_none_or(|e| e != "safetensors") {
        return Ok(());
    }
    let about = weights::metadata(file)?.unwrap_or(Value::Null);
    let Some(theirs) = about.get("frame") else { return Ok(()) };
    let theirs: Frame = serde_json::from_value(theirs.clone())
        .map_err(|e| Error::input(file, format!("describes no detector of this version: {e}")))?;
    match theirs.difference(frame) {
        None => Ok(()),
        Some(difference) => {
            let problem = format!("was trained on data that were prepared otherwise: {difference}");
            Err(Error::input(file, problem)
                .hint("prepare the data with the `detector` that the network was trained with"))
        }
    }
}

/// Trains by `config`, and predicts the validation events with the resulting weights.
pub fn train<'a>(config: &'a TrainConfig, hash: &str, data: &Data, options: Options<'a>) -> Result<Trained> {
    let built = build_with(&config.model, &config.targets, options.device, config.seed)?;
    if let Some(path) = &config.weights {
        let file = stages::weights_of(path)?;
        demand_frame(&file, &data.frame)?;
        import::warn_of_other_input(&file, &config.input);
        begin_with(&built, path, &config.weights_only, &config.weights_part)?;
    }
    let Built { params, network, heads } = built;
    for prefix in &config.freeze {
        if !params.named().iter().any(|(name, _)| name.starts_with(prefix)) {
            return Err(Error::usage(format!("`freeze`: no parameter's name begins with `{prefix}`")));
        }
    }
    params.set_trainable(|name| !config.freeze.iter().any(|prefix| name.starts_with(prefix)));
    tracing::info!("{}", neural::summary::summary(config.model.name(), &params.state()));
    let mut task = IceCubeTask {
        network,
        heads: heads.map(|heads| (heads, config.targets)),
        loss: config.loss,
        normalisation: config.normalisation,
        valid: data.valid.clone(),
        precision: config.training.precision,
        device: options.device,
        about: framed(
            with_targets(about(&config.member, &config.model, &config.input)?, &config.targets)?,
            &data.frame,
        )?,
    };
    let folder = options.folder.clone();
    let rows = (Arc::clone(&data.train), Arc::clone(&data.order));
    let device = options.device;
    let plan = Plan::new(options, &config.training, (hash, config.seed), rows, &params, &config.member);
    let outcome = trainer::train(plan, &mut task)?;
    let model = result_weights(&folder, &outcome, config.select);
    weights::load(&params.state(), &model, &weights::Allow::default())?;
    let mut rows = Rows::default();
    let mut measures = Measures::default();
    data.valid.each(device, |batch| {
        let heads = task.heads.as_ref().map(|(heads, _)| heads);
        let (predicted, more) = outputs(task.network.as_ref(), heads, batch, config.training.precision)?;
        measures.add(&predicted, batch.truth()?, (config.loss, config.normalisation))?;
        rows.add(batch, &losses::as_vectors(&predicted))?;
        match &more {
            Some(more) => rows.add_extra(more, &data.frame),
            None => Ok(()),
        }
    })?;
    let oof = rows.sorted(&folder)?.write(&folder.join(OOF))?;
    let history = history(&outcome, &folder.join(HISTORY))?;
    Ok(Trained { outcome, model, oof, history, measures })
}

/// The weights that a run results in.
pub fn result_weights(folder: &Path, outcome: &Outcome, select: Select) -> PathBuf {
    let checkpoint = match select {
        Select::Best => outcome.best.clone(),
        Select::Last | Select::LastRaw => folder.join(CHECKPOINTS).join(LAST),
    };
    let averaged = checkpoint.join(trainer::AVERAGED);
    if select != Select::LastRaw && averaged.is_file() { averaged } else { checkpoint.join(trainer::MODEL) }
}

/// `epoch,train_loss,valid_loss,loss`: a line for every sub-epoch. No times, so that a resumed run ends with the same
/// bytes.
fn history(outcome: &Outcome, path: &Path) -> Result<Written> {
    let mut text = String::from("epoch,train_loss,valid_loss,loss\n");
    for evaluated in &outcome.state.history {
        let valid = evaluated.metrics.iter().find(|m| m.name == "loss").map_or(f64::NAN, |m| m.value);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{},{},{valid},{}", evaluated.epoch, evaluated.smooth_loss, evaluated.score);
    }
    durable::write(path, text.as_bytes())
}
