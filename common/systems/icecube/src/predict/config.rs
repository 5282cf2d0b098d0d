//! What `predict` does for IceCube, as a config: the members of the ensemble.

use std::path::PathBuf;

use common::config::{Config, Problems};
use neural::precision::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use crate::dataset::InputConfig;
use crate::models::ModelConfig;

/// Everything that a prediction depends on, beside events and weights.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictConfig {
    /// Always `icecube`.
    pub system: String,
    /// Name of the ensemble.
    #[serde(default = "ensemble")]
    pub member: String,
    /// Seed of the choice of pulses of events that are longer than the sequence.
    #[serde(default)]
    pub seed: u64,
    /// How an event becomes a sequence. Published: length 512 for predictions.
    #[serde(default = "input")]
    pub input: InputConfig,
    /// Events of a batch, >= 1.
    #[serde(default = "batch_size")]
    pub batch_size: u64,
    /// Number format of the forward pass.
    #[serde(default)]
    pub precision: Precision,
    /// Which events.
    #[serde(default)]
    pub set: Set,
    /// Also write a table of vectors for each member, which `hill-climb` fits weights on.
    #[serde(default = "yes")]
    pub tables: bool,
    /// Draws events, from this one on in the order of their ids, counted from 0: `event.html`, in which one is chosen, and
    /// `event.svg`. `null`: none.
    #[serde(default)]
    pub picture: Option<u64>,
    /// Calibrates kappa and the regions of the ensemble: the folder of a `score` stage on validation events, or its
    /// `score.json`. `null`: as the networks give it.
    #[serde(default)]
    pub calibration: Option<PathBuf>,
    /// The networks.
    pub members: Vec<MemberConfig>,
}

/// Events of a prepared stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Those of the test files.
    #[default]
    Test,
    /// Those of all training and validation files, for a filter by kappa.
    Train,
}

/// One network of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Its name.
    pub name: String,
    /// Its weights: a file (`.pth`, `.safetensors`) or the folder of a `train-model` stage, below the folder of
    /// `--weights` where that is given.
    pub weights: PathBuf,
    /// Its share in the sum of vectors; shares are divided by their sum.
    #[serde(default = "one")]
    pub weight: f64,
    /// Which network it is. `null`: as its weights file says.
    #[serde(default)]
    pub model: Option<ModelConfig>,
}

impl PredictConfig {
    /// The config of weights files that say themselves which networks they hold, as those of `train-model` and
    /// `convert-weights` do: one network, or several of equal weight. Events are read as the first one was trained.
    ///
    /// # Errors
    /// [`common::Error::Input`] for a file that does not say it.
    pub fn of_weights(files: &[PathBuf]) -> common::Result<serde_json::Value> {
        let abouts = files.iter().map(|file| About::read(file)).collect::<common::Result<Vec<_>>>()?;
        let Some(first) = abouts.first() else {
            return Err(common::Error::usage("no weights file is named"));
        };
        let mut members: Vec<MemberConfig> = Vec::new();
        for (file, about) in files.iter().zip(&abouts) {
            let twice =
                members.iter().filter(|other| other.name.split('.').next() == about.member.split('.').next()).count();
            let name = if twice == 0 { about.member.clone() } else { format!("{}.{}", about.member, twice + 1) };
            members.push(MemberConfig { name, weights: file.clone(), weight: 1.0, model: None });
        }
        let member = if members.len() == 1 { first.member.clone() } else { ensemble() };
        Ok(serde_json::json!({ "system": "icecube", "member": member, "input": first.input, "members": members }))
    }
}

fn ensemble() -> String {
    "ensemble".into()
}

fn input() -> InputConfig {
    InputConfig { length: 512, ..InputConfig::default() }
}

fn batch_size() -> u64 {
    32
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

impl Config for PredictConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "icecube", "system", || format!("is `{}`, expected `icecube`", self.system));
        problems.demand(self.input.length > 0, "input.length", || "is 0, expected at least 1".into());
        problems.demand(self.batch_size > 0, "batch_size", || "is 0, expected at least 1".into());
        problems.demand(!self.members.is_empty(), "members", || "is empty, expected at least one network".into());
        for (i, member) in self.members.iter().enumerate() {
            let key = format!("members.{i}");
            problems.demand(member.weight.is_finite(), &format!("{key}.weight"), || "is not a finite number".into());
            let plain =
                !member.name.is_empty() && member.name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            problems.demand(plain, &format!("{key}.name"), || {
                format!("is `{}`, expected letters, digits, `_`, `-` and `.`: it names a file", member.name)
            });
            let twice = self.members[..i].iter().any(|other| other.name == member.name);
            problems
                .demand(!twice, &format!("{key}.name"), || format!("`{}` names an earlier member too", member.name));
            if let Some(model) = &member.model {
                model.validate(&format!("{key}.model"), problems);
            }
        }
    }
}
