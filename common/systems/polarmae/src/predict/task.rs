//! `predict polarmae`: a class for every point of prepared events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::stages::{self, PredictFlags};
use serde_json::json;

use super::{NetworkConfig, PredictConfig, Segmenter, Settings, Writer};
use crate::dataset::Events;
use crate::models::segmentation::CLASS_NAMES;
use crate::picture;
use crate::train::published;

/// A prediction about to run.
pub struct Predict {
    config: PredictConfig,
    settings: Settings,
    segmenter: Segmenter,
    weights: PathBuf,
    events: Arc<Events>,
    /// Events that are predicted, the first ones.
    most: u64,
    upstream: Vec<Manifest>,
    trained_seed: Option<u64>,
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
            ("--weights", "one file; a published checkpoint needs the `train-model` config of its network"),
        ],
        examples: "  \
  Classes of all points of the validation events, and of a published network:
    predict --from runs/polarmae_fft --out classes
    predict configs/polarmae/segment/polarmae_fft.yaml --data store \\
      --weights polarmae_fft_segsem_10k.ckpt --out classes",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--set", "--picture", "--batch-size", "--precision"];
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
        let network = NetworkConfig::of(&published::load(file, request.overrides)?.value);
        let text = json!({ "system": Self::SYSTEM, "network": network });
        config::load_text(file, &format!("{text:#}\n"), &request.run_overrides::<Self>()?)
    }

    fn plan(request: &Request<PredictFlags>, config: Resolved<PredictConfig>) -> Result<Self> {
        let config = config.value;
        let settings =
            Settings { device: stages::compute(request)?, batch: config.batch_size, precision: config.precision };
        let instead = "`CONFIG --weights FILE --data FOLDER` for a published checkpoint";
        let (weights, trained) = stages::one_network(request, instead)?;
        let prepared = stages::data_of(request.flags.data.as_deref(), trained.as_ref())?;
        let segmenter = Segmenter::open(&weights, config.network.as_ref(), &settings)?;
        let events = Arc::new(Events::of_stage(&prepared, config.set.name())?);
        let most = request.limit.unwrap_or(events.len()).min(events.len());
        let trained_seed = trained.as_ref().map(|trained| trained.seed);
        let upstream = trained.into_iter().chain([prepared]).collect();
        Ok(Self { config, settings, segmenter, weights, events, most, upstream, trained_seed })
    }

    fn describe(&self) -> Vec<String> {
        let set = self.config.set.name();
        vec![format!("{}: {} events of `{set}`", self.segmenter.member, self.most)]
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
        let most = self.most;
        let scale = self.events.energy_scale().ok_or_else(|| {
            Error::failed("the prepared events do not say how their energies were scaled").hint("prepare them again")
        })?;
        let classes = self.segmenter.classes();
        let mut writer = Writer::create(stage.folder(), classes, scale)?;
        let mut shown = None;
        self.segmenter.run(&self.events, most, &self.settings, |number, event, predicted| {
            if number == self.config.picture {
                shown = Some(picture::Scene::new(event, &predicted.classes, scale));
            }
            writer.append(number, event, predicted)
        })?;
        let (lists, table, counted) = writer.finish()?;
        stage.output("predictions.h5", &lists);
        stage.output("predictions", &table);
        if let Some(scene) = shown {
            stage.output("picture", &scene.write_html(&stage.folder().join("event.html"))?);
            stage.output("picture.svg", &scene.write_svg(&stage.folder().join("event.svg"))?);
        }
        let figures = counted.figures(&CLASS_NAMES[..classes]);
        tracing::info!(
            "{most} events, {} points: mean F1 {:.4}, accuracy {:.4}",
            counted.points(),
            figures["f1_mean"].as_f64().unwrap_or(0.0),
            counted.accuracy()
        );
        stage.metric("member", self.segmenter.member.clone());
        stage.metric("events", most);
        for key in ["f1_mean", "iou_mean", "accuracy"] {
            stage.metric(key, figures[key].clone());
        }
        Ok(Ending::Finished)
    }
}
