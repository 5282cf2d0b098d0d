//! `predict polarmae`: a class for every point of prepared events, or embeddings of their tokens and points.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::stages::{self, PredictFlags, Set};
use polarmae_data::labels::{LEARNS, TRAIN_EVENTS};
use serde_json::{Value, json};

use super::embed::{Embedder, EmbeddingWriter};
use super::{NetworkConfig, PredictConfig, Segmenter, Settings, Writer};
use crate::dataset::{EventView, Events, Target};
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;
use crate::picture::{Columns, Pictures, Token, feature_colors};
use crate::probe::Embedded;
use crate::probe::points::{PointProbeConfig, gather, judge};
use crate::published;
use crate::svm::Components;
use crate::train::TrainConfig;

/// A prediction about to run.
pub struct Predict {
    config: PredictConfig,
    settings: Settings,
    work: Work,
    weights: PathBuf,
    events: Arc<Events>,
    /// Training events of the same preparation, for the probe of embeddings.
    train: Option<Arc<Events>>,
    /// Events that are predicted, the first ones.
    most: u64,
    upstream: Vec<Manifest>,
    trained_seed: Option<u64>,
    /// What of the training's figures goes on.
    taught: Vec<(&'static str, Value)>,
}

/// What is made of events.
#[allow(clippy::large_enum_variant, reason = "one value a run")]
enum Work {
    Classes(Segmenter),
    Embeddings(Box<Embedder>),
}

impl Task for Predict {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "predict";
    const HELP: Help = Help {
        limit: "the first N events",
        flags: &[
            ("--set", "`valid` (the default), `train` or `test`"),
            (
                "--batch-size",
                "1 event unless the config says otherwise; with the published norm the events of a batch change one \
                 another's classes, 1 keeps them apart",
            ),
            ("--picture", "the event that `event.html` shows first and `event.svg` shows; the page holds all that fit"),
            (
                "--embeddings",
                "features of tokens and points (`.npy`, `.parquet`) and probes of the points' classes beside an encoder that \
                 learned nothing; all that a pretraining has",
            ),
            ("--weights", "one file; a published checkpoint needs the `train-model` config of its network"),
        ],
        examples: "  \
  Classes of all points of the validation events, of a published network, and
  what a pretraining makes of tokens and points:
    predict --from runs/polarmae_fft --out classes
    predict configs/polarmae/segment/polarmae_fft.yaml --data store \\
      --weights polarmae_fft_segsem_10k.ckpt --out classes
    predict --from runs/pretrain --embeddings --out features",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--set", "--picture", "--batch-size", "--precision", "--embeddings"];
    type Flags = PredictFlags;
    type Config = PredictConfig;

    fn recognises(file: &Path) -> Result<bool> {
        published::recognises(file)
    }

    /// A config of `train-model` (also the original's) says which network it is; overrides are then its own. Without one
    /// they are those of the prediction.
    fn config(request: &Request<PredictFlags>) -> Result<Resolved<PredictConfig>> {
        let of_training = match request.config {
            Some(file) => config::peek(file, "model")?.and(Some(file)),
            None => None,
        };
        let Some(file) = of_training else {
            return config::load(request.config, &request.all_overrides::<Self>()?);
        };
        let network = NetworkConfig::of(&published::load::<TrainConfig>(file, request.overrides)?.value);
        let text = json!({ "system": Self::SYSTEM, "network": network });
        config::load_text(file, &format!("{text:#}\n"), &request.run_overrides::<Self>()?)
    }

    fn plan(request: &Request<PredictFlags>, config: Resolved<PredictConfig>) -> Result<Self> {
        let config = config.value;
        let settings =
            Settings { device: stages::compute(request)?, batch: config.batch_size, precision: config.precision };
        let instead = "`CONFIG --weights FILE --data FOLDER` for a published checkpoint";
        let (weights, trained) = stages::one_network(request, instead)?;
        let prepared = stages::data_of(request.flags.data.as_deref(), trained.as_ref(), Self::SYSTEM)?;
        let (work, learned) = if config.embeddings {
            let embedder = Embedder::open(&weights, config.network.as_ref(), settings.device)?;
            let learned = embedder.learned.clone();
            (Work::Embeddings(Box::new(embedder)), learned)
        } else {
            let segmenter = Segmenter::open(&weights, config.network.as_ref(), &settings)?;
            let learned = segmenter.learned().clone();
            (Work::Classes(segmenter), learned)
        };
        let events = learned.fit(Events::of_stage(&prepared, config.set.name())?, config.adapt_energies)?;
        let probed = config.embeddings && config.probe.is_some() && config.set != Set::Train && events.labelled();
        let train = match probed && !prepared.outputs_with_prefix("train/")?.is_empty() {
            true => Some(Arc::new(match events.moved_onto() {
                Some(scale) => Events::of_stage(&prepared, "train")?.onto(scale),
                None => Events::of_stage(&prepared, "train")?,
            })),
            false => None,
        };
        let events = Arc::new(events);
        let most = request.limit.unwrap_or(events.len()).min(events.len());
        if config.picture >= most {
            let problem =
                format!("`picture` is {}, there are {most} events: 0 to {}", config.picture, most.saturating_sub(1));
            return Err(Error::usage(problem).hint("name one of them: `--picture N`"));
        }
        let trained_seed = trained.as_ref().map(|trained| trained.seed);
        let taught = [TRAIN_EVENTS, LEARNS]
            .into_iter()
            .filter(|_| !config.embeddings)
            .filter_map(|name| trained.as_ref().and_then(|trained| Some((name, trained.metrics.get(name)?.clone()))));
        let taught = taught.collect();
        let upstream = trained.into_iter().chain([prepared]).collect();
        Ok(Self { config, settings, work, weights, events, train, most, upstream, trained_seed, taught })
    }

    fn describe(&self) -> Vec<String> {
        let set = self.config.set.name();
        let (member, what) = match &self.work {
            Work::Classes(segmenter) => (&segmenter.member, "classes"),
            Work::Embeddings(embedder) => (&embedder.member, "embeddings"),
        };
        vec![format!("{member}: {what} of {} events of `{set}`", self.most)]
    }

    fn seed(&self) -> Option<u64> {
        self.trained_seed
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.upstream.iter().collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        vec![("weights".into(), self.weights.clone())]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let scale = self.events.energy_scale().ok_or_else(|| {
            let problem = "the prepared events do not say how their energies were scaled";
            Error::input(self.events.place(), problem).hint("prepare them again")
        })?;
        // A curve over the number of labels needs them: the training may be gone when it is drawn.
        for (name, value) in &self.taught {
            stage.metric(name, value.clone());
        }
        match &self.work {
            Work::Classes(segmenter) => self.classes(segmenter, scale, stage)?,
            Work::Embeddings(embedder) => self.embeddings(embedder, scale, stage)?,
        }
        Ok(Ending::Finished)
    }
}

/// Writes the pictures of a prediction.
fn drawn(pictures: Pictures, events: u64, stage: &mut Stage) -> Result<()> {
    if let Some((page, still)) = pictures.write(stage.folder(), events)? {
        stage.output("picture", &page);
        stage.output("picture.svg", &still);
    }
    Ok(())
}

/// Three principal components of an event's tokens as red, green and blue of its points and tokens; nothing where it has
/// fewer than two tokens.
fn components(event: &EventView, embedded: &Embedded) -> Result<(Vec<[u8; 3]>, Vec<Token>)> {
    if embedded.tokens.size()[0] < 2 {
        return Ok((vec![], vec![]));
    }
    let components = Components::fit(&embedded.tokens, 3)?;
    let width = components.axes.size()[0] as usize;
    let colors = |features: &tch::Tensor| -> Result<Vec<[u8; 3]>> {
        Ok(feature_colors(&crate::models::floats(&components.project(features))?, width))
    };
    let groups = &embedded.batch.groups[0];
    let (mut begin, mut tokens) = (0, vec![]);
    for (&count, color) in groups.counts.iter().zip(colors(&embedded.tokens)?) {
        let members = &groups.members[begin..begin + count as usize];
        begin += count as usize;
        let middle = |axis: usize| {
            members.iter().map(|&m| event.points[m as usize * CHANNELS + axis]).sum::<f32>() / count.max(1) as f32
        };
        tokens.push(Token { place: std::array::from_fn(middle), points: i64::from(count), color });
    }
    Ok((colors(&embedded.points)?, tokens))
}

impl Predict {
    /// Classes of all points.
    fn classes(&self, segmenter: &Segmenter, scale: EnergyScale, stage: &mut Stage) -> Result<()> {
        let most = self.most;
        let names = segmenter.class_names();
        let target = segmenter.learned().target;
        let mut writer = Writer::create(stage.folder(), &names, scale, self.config.instances)?;
        let preparation = self.events.preparation();
        let mut pictures = Pictures::new(&names, scale, preparation.as_ref(), self.config.picture);
        segmenter.run(&self.events, most, &self.settings, |number, event, predicted| {
            let truth = event.labels_of(target);
            let instances = writer.append(number, event, predicted, &truth)?.unwrap_or_default();
            let columns =
                Columns { truth: &truth, predicted: &predicted.classes, instances: &instances, features: &[] };
            pictures.add(number, event, &columns, &[], None);
            Ok(())
        })?;
        let finished = writer.finish(stage.folder())?;
        finished.outputs.iter().for_each(|(name, written)| stage.output(name, written));
        drawn(pictures, self.most, stage)?;
        stage.metric("member", segmenter.member.clone());
        stage.metric("events", most);
        let counted = finished.counted;
        if counted.points() == 0 {
            tracing::info!("{most} events: no point has a class to compare with");
        } else {
            let figures = counted.figures(&names.iter().map(String::as_str).collect::<Vec<_>>());
            tracing::info!(
                "{most} events, {} points: mean F1 {:.4}, accuracy {:.4}",
                counted.points(),
                figures["f1_mean"].as_f64().unwrap_or(0.0),
                counted.accuracy()
            );
            for key in ["f1_mean", "iou_mean", "accuracy"] {
                stage.metric(key, figures[key].clone());
            }
        }
        if let Some(found) = finished.instances {
            tracing::info!(
                "instances: adjusted Rand index {:.4}, efficiency {:.4}, purity {:.4}",
                found.ari,
                found.efficiency,
                found.purity
            );
            stage.metric("instances/ari", found.ari);
            stage.metric("instances/efficiency", found.efficiency);
            stage.metric("instances/purity", found.purity);
        }
        Ok(())
    }

    /// Embeddings of all tokens and points, and what lies open in them.
    fn embeddings(&self, embedder: &Embedder, scale: EnergyScale, stage: &mut Stage) -> Result<()> {
        let mut writer = EmbeddingWriter::create(stage.folder(), embedder.width(), scale)?;
        let names = embedder.learned.class_names(embedder.classes);
        let preparation = self.events.preparation();
        let mut pictures = Pictures::of_features(&names, scale, preparation.as_ref(), self.config.picture);
        if embedder.rebuilds() {
            pictures = pictures.with_rebuilt();
        }
        embedder.run(&self.events, self.most, |number, event, embedded| {
            if pictures.takes(number) {
                let (features, tokens) = components(event, embedded)?;
                let rebuilt = embedder.rebuild(embedded, event.points, number)?;
                let truth = event.labels();
                let columns = Columns { truth: &truth, features: &features, ..Columns::default() };
                pictures.add(number, event, &columns, &tokens, rebuilt.as_ref());
            }
            writer.append(number, event, embedded)
        })?;
        let (tokens, points) = writer.counted;
        writer.finish()?.iter().for_each(|(name, written)| stage.output(name, written));
        drawn(pictures, self.most, stage)?;
        tracing::info!("{} events: {tokens} tokens and {points} points", self.most);
        stage.metric("member", embedder.member.clone());
        stage.metric("events", self.most);
        stage.metric("tokens", tokens);
        stage.metric("points", points);
        if let (Some(train), Some(config)) = (&self.train, &self.config.probe) {
            let report = self.probe(embedder, train, config, stage)?;
            stage.metric(TRAIN_EVENTS, config.train_events.map_or(train.len(), |most| most.min(train.len())));
            stage.metric(LEARNS, "a linear map of the pretrained features");
            let text = format!("{report:#}\n");
            stage.output("probe", &common::durable::write(stage.folder().join("probe.json"), text.as_bytes())?);
        } else if self.config.probe.is_some() {
            tracing::info!("no probe: it is fitted on labelled events of `train` and judged on another set");
        }
        Ok(())
    }

    /// What a linear map and the nearest points make of the features, before and after training.
    fn probe(
        &self,
        embedder: &Embedder,
        train: &Events,
        config: &PointProbeConfig,
        stage: &mut Stage,
    ) -> Result<Value> {
        let classes = embedder.classes;
        let names = match embedder.learned.target {
            Target::Semantic => embedder.learned.class_names(classes),
            // The probe is of the semantic types, whatever a fine-tuning learned.
            Target::Particle => crate::classes::names(classes, &[]),
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let untrained = Embedder::untrained(&self.weights, self.config.network.as_ref(), self.settings.device)?;
        let mut report = json!({});
        for (key, embedder) in [("trained", embedder), ("untrained", &untrained)] {
            let embedding = embedder.embedding();
            let fitted = gather(&embedding, train, config.train_events.unwrap_or(u64::MAX), classes, config)?;
            let judged = gather(&embedding, &self.events, self.most, classes, config)?;
            report[key] = judge(&fitted, &judged, classes, config)?.report(&names);
        }
        let mut lines = format!("classes of points in the features, F1 {:>17}{:>24}", "trained", "untrained");
        lines += &format!(
            "\n  {:10}{:>9}{:>12}{:>12}{:>12}{:>12}",
            "class", "points", "linear", "nearest", "linear", "nearest"
        );
        let figure = |of: &str, by: &str, name: Option<&str>| {
            let found = &report[of][by];
            name.map_or(&found["f1_mean"], |name| &found["f1"][name]).as_f64().unwrap_or(0.0)
        };
        for name in names.iter().map(|name| Some(*name)).chain([None]) {
            let points = name.map_or(Value::Null, |name| report["trained"]["supports"][name].clone());
            let points = points.as_u64().map_or(String::new(), |points| points.to_string());
            lines += &format!("\n  {:10}{points:>9}", name.unwrap_or("mean"));
            for (of, by) in
                [("trained", "linear"), ("trained", "nearest"), ("untrained", "linear"), ("untrained", "nearest")]
            {
                lines += &format!("{:12.4}", figure(of, by, name));
            }
        }
        tracing::info!("{lines}");
        for (of, prefix) in [("trained", ""), ("untrained", "untrained/")] {
            stage.metric(&format!("{prefix}linear_f1"), figure(of, "linear", None));
            stage.metric(&format!("{prefix}nearest_f1"), figure(of, "nearest", None));
        }
        Ok(report)
    }
}
