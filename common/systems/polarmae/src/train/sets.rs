//! The events of a run, and whether they are those that its config and its pretraining mean.

use std::path::Path;
use std::sync::Arc;

use common::{Error, Result};

use super::config::{ModelConfig, TrainConfig};
use crate::dataset::Events;
use crate::predict::Learned;
use crate::preparation::Preparation;

/// The events of a run.
#[derive(Clone)]
pub struct Sets {
    /// Training events.
    pub train: Arc<Events>,
    /// Validation events.
    pub valid: Arc<Events>,
    /// How the events that the network will learn from are prepared: its weights say so.
    pub learned: Option<Preparation>,
}

impl Sets {
    /// Training and validation events as they were prepared, compared with what the config asks for and with those that
    /// `pretrained` weights were trained on.
    ///
    /// # Errors
    /// Events without labels for a segmentation; energies on another scale, unless the config adapts them.
    pub fn new(train: Events, valid: Events, config: &TrainConfig, pretrained: Option<&Path>) -> Result<Self> {
        if matches!(config.model, ModelConfig::Segmentation(_)) {
            demand_labels(&train, config)?;
        }
        let mut learned = train.preparation();
        let (mut train, mut valid) = (train, valid);
        if let Some(found) = &mut learned {
            tell_differences(config, found);
            let before = match pretrained {
                Some(path) => Learned::of(path)?.data,
                None => None,
            };
            let hint = "prepare the events as those of the pretraining, or bring their energies onto its scale: \
                        `data.adapt_energies=true`";
            let scale = match before {
                Some(before) => before.demand(found, train.place(), config.data.adapt_energies, hint)?,
                None => None,
            };
            if let Some(scale) = scale {
                (train, valid) = (train.onto(scale), valid.onto(scale));
                found.energy = scale;
            }
        }
        Ok(Self { train: Arc::new(train), valid: Arc::new(valid), learned })
    }
}

fn demand_labels(train: &Events, config: &TrainConfig) -> Result<()> {
    if !train.labelled() {
        return Err(Error::input(
            train.place(),
            "the training events have no labels, which a segmentation learns from",
        )
        .hint("prepare files with labels, or pretrain on these: they need none"));
    }
    if !train.knows(config.data.target) {
        return Err(Error::input(train.place(), "the training events do not say the kinds of their particles").hint(
            "prepare a later release, whose clusters have a sixth column, or classify by `data.target=semantic`",
        ));
    }
    Ok(())
}

/// What a config of the original would have selected otherwise.
fn tell_differences(config: &TrainConfig, found: &Preparation) {
    let differences = config.data.expected.as_ref().map_or(vec![], |expected| expected.differences(found));
    if !differences.is_empty() {
        tracing::warn!(
            "the events were prepared otherwise than the config asks for:\n  {}\n  nothing is selected in training: prepare them \
             again where it matters",
            differences.join("\n  ")
        );
    }
}
