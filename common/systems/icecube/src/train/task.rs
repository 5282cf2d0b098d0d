//! `train-model icecube`: one network on prepared events, and its predictions of the validation events.

use std::path::{Path, PathBuf};

use common::Result;
use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::durable;
use common::stage::{Manifest, Stage};
use neural::stages::{self, Begun, Told, TrainFlags};
use neural::trainer::{AVERAGED, CHECKPOINTS, LAST, MODEL};

use super::{Data, TrainConfig, Trained, data, identity_of_filter, train};
use crate::published;

/// A training about to run.
pub struct Train {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data, other weights or a limit make another run.
    hash: String,
    prepared: Manifest,
    /// The file of weights to begin with.
    weights: Option<PathBuf>,
    data: Data,
    begun: Begun,
}

impl Task for Train {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "train-model";
    const HELP: Help = Help {
        flags: &[("--init", "as `weights` of the config, which `weights_only` narrows")],
        examples: "  \
  IceCube: the next stage of a network from the weights of the one before,
  and a published config as it is:
    train-model configs/icecube/b64/stage2.yaml --from data \\
      --out runs/b64-2 weights=runs/b64-1
    train-model config.json LR_MAX 1e-5 MODEL_KWARGS.dim 768 --from data",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--init", "--prefix", "--drop"];
    const SMOKE: &'static [&'static str] = &[
        "training.epochs=1",
        "training.batch_size=8",
        "training.accumulate_rows=8",
        "val_batch_size=12", // two batches are enough to calibrate by
        "sampler.sub_epochs=1",
    ];
    type Flags = TrainFlags;
    type Config = TrainConfig;

    fn recognises(file: &Path) -> Result<bool> {
        Ok(published::read(file)?.is_some())
    }

    fn overrides(request: &Request<TrainFlags>) -> Result<Vec<String>> {
        request.flags.init_as("weights", "weights_part")
    }

    fn config(request: &Request<TrainFlags>) -> Result<Resolved<TrainConfig>> {
        let theirs = match request.config {
            Some(file) => published::read(file)?.map(|theirs| (file, theirs)),
            None => None,
        };
        let Some((file, theirs)) = theirs else {
            return config::load(request.config, &request.all_overrides::<Self>()?);
        };
        let ours = published::text(&published::override_pairs(&theirs, request.overrides)?)?;
        config::load_text(file, &ours, &request.run_overrides::<Self>()?)
    }

    fn plan(request: &Request<TrainFlags>, config: Resolved<TrainConfig>) -> Result<Self> {
        let prepared = stages::prepared(request, Self::SYSTEM)?;
        let begun = Begun::training(request)?;
        let data = data(&config.value, &prepared, begun.limit)?;
        let weights = config.value.weights.as_deref().map(stages::weights_of).transpose()?;
        let hash = stages::identity(&config.hash, &prepared, weights.as_deref(), begun.limit)?;
        let hash = hash + &identity_of_filter(&config.value)?;
        Ok(Self { config, hash, prepared, weights, data, begun })
    }

    fn describe(&self) -> Vec<String> {
        let config = &self.config.value;
        let training = &config.training;
        let steps = self.data.order.len() / training.batch_size;
        vec![
            format!("{}: {} on {:?}", config.member, config.model.name(), self.begun.device),
            format!(
                "{} training events, {} batches of {} a sub-epoch, {} sub-epochs; {} validation events",
                self.data.train.rows(),
                self.begun.limit.map_or(steps, |limit| steps.min(limit)),
                training.batch_size,
                training.epochs,
                self.data.valid.order.len()
            ),
        ]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        vec![&self.prepared]
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        self.weights.iter().map(|weights| ("weights".to_string(), weights.clone())).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let config = &self.config.value;
        stages::hparams(stage, &self.config.text)?;
        let trained = train(config, &self.hash, &self.data, self.begun.options(stage, None))?;
        publish(stage, config, self.config.annotated(), &trained)?;
        Ok(Ending::Finished)
    }
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    let measures = &trained.measures;
    let averaged = trained.model.ends_with(AVERAGED);
    let whose = if averaged { "averaged" } else { "raw" };
    let subtitle = format!(
        "{}, seed {}: mean opening angle {:.6} rad on {} validation events, {whose} weights",
        config.model.name(),
        config.seed,
        measures.angle,
        measures.events
    );
    stages::publish(stage, &trained.model, &config.member)?;
    stage.output("oof", &trained.oof);
    stage.output("history", &trained.history);
    // Both kinds of weights of the last sub-epoch, whichever is the result.
    let last = stage.folder().join(CHECKPOINTS).join(LAST);
    for (name, file) in [("last", MODEL), ("last_ema", AVERAGED)] {
        if last.join(file).is_file() {
            stage.output(name, &durable::hash_file(last.join(file))?);
        }
    }
    stage.metric("angle", measures.angle);
    stage.metric("vms", measures.vms);
    stage.metric("undirected", measures.undirected);
    stage.metric("weights", whose);
    if let Some(kept) = &trained.outcome.state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_angle", kept.score);
    }
    let told = Told { member: &config.member, subtitle: &subtitle, annotated, rows: "events_per_s" };
    stages::ending(stage, &trained.outcome, &told)?;
    tracing::info!(
        "{}: mean opening angle {:.4} rad on {} validation events",
        config.member,
        measures.angle,
        measures.events
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::models::ModelConfig;

    #[test]
    fn gradient_checkpointing_of_a_published_config_is_taken_by_every_network() {
        for class in ["DeepIceModel", "EncoderWithDirectionReconstructionV22", "EncoderWithDirectionReconstructionV23"]
        {
            for on in [true, false] {
                let theirs = json!({ "MODEL": class, "LR_MAX": 1e-5, "MODEL_KWARGS": { "use_checkpoint": on } });
                let ours: TrainConfig = serde_json::from_value(published::translate(&theirs).unwrap()).unwrap();
                let found = match &ours.model {
                    ModelConfig::DeepIce(c) => c.use_checkpoint,
                    ModelConfig::V22(c) | ModelConfig::V23(c) => c.use_checkpoint,
                    ModelConfig::Encoder(_) => panic!("no published network"),
                };
                assert_eq!(found, on, "{class}");
            }
        }
    }
}
