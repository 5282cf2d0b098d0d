//! The events of a run, and whether they are those that its config and its pretraining mean.

use std::path::Path;
use std::sync::Arc;

use common::{Error, Result};

use super::config::{ModelConfig, TrainConfig};
use crate::dataset::Events;
use crate::predict::learned_from;
use crate::preparation::Preparation;

/// The events of a run.
#[derive(Clone)]
pub struct Sets {
    /// Training events.
    pub train: Arc<Events>,
    /// Validation events.
    pub valid: Arc<Events>,
}

impl Sets {
    /// Compares the events with what the config asks for and with those that `pretrained` weights were trained on. Gives how
    /// the events that the network will learn from are prepared.
    ///
    /// # Errors
    /// Events without labels for a segmentation; energies on another scale, unless the config adapts them.
    pub fn fitted(mut self, config: &TrainConfig, pretrained: Option<&Path>) -> Result<(Self, Option<Preparation>)> {
        let segments = matches!(config.model, ModelConfig::Segmentation(_));
        if segments && self.train.labelled() && !self.train.knows(config.data.target) {
            return Err(Error::failed("the training events do not say the kinds of their particles").hint(
                "prepare a later release, whose clusters have a sixth column, or classify by `data.target=semantic`",
            ));
        }
        if segments && !self.train.labelled() {
            return Err(Error::failed("the training events have no labels, which a segmentation learns from")
                .hint("prepare files with labels, or pretrain on these: they need none"));
        }
        let Some(found) = self.train.preparation() else { return Ok((self, None)) };
        if let Some(expected) = &config.data.expected {
            let differences = expected.differences(&found);
            if !differences.is_empty() {
                tracing::warn!(
                    "the events were prepared otherwise than the config asks for:\n  {}\n  nothing is selected in training: prepare \
                     them again where it matters",
                    differences.join("\n  ")
                );
            }
        }
        let Some(path) = pretrained else { return Ok((self, Some(found))) };
        let Some(learned) = learned_from(path)? else { return Ok((self, Some(found))) };
        let hint = "prepare the events as those of the pretraining, or bring their energies onto its scale: \
                    `data.adapt_energies=true`";
        if let Some(scale) = learned.demand(&found, config.data.adapt_energies, hint)? {
            self.train = Arc::new(Events::clone(&self.train).onto(scale));
            self.valid = Arc::new(Events::clone(&self.valid).onto(scale));
            return Ok((self, Some(Preparation { energy: scale, ..found })));
        }
        Ok((self, Some(found)))
    }
}
