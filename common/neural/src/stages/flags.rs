//! The flags of stages with networks. A binary parses them; a system's task says which of them it reads.

use std::path::PathBuf;

use clap::ValueEnum;
use common::Result;
use common::driver::{Flags, path_override};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::precision::Precision;
use crate::trainer::Resume;
use crate::weights::Choice;

/// Flags of a stage that computes with tensors.
pub trait Computes: Flags {
    /// What `--device` says.
    fn device(&self) -> &str;
}

/// Names of the flags that were given.
fn given<const N: usize>(flags: [(&'static str, bool); N]) -> Vec<&'static str> {
    flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}

/// Flags of `train-model`.
#[derive(Debug, Clone, Default)]
pub struct TrainFlags {
    /// Where the network runs.
    pub device: String,
    /// Where to take up; every system reads it.
    pub resume: Resume,
    /// Weights to begin with: a file, or the folder of a training.
    pub init: Option<PathBuf>,
    /// Which part of their file.
    pub part: Choice,
}

impl TrainFlags {
    /// `--init` and what was said about the part of its file, as overrides of two keys of the config.
    ///
    /// # Errors
    /// As [`path_override`].
    pub fn init_as(&self, weights: &str, part: &str) -> Result<Vec<String>> {
        let file = self.init.iter().map(|file| path_override(weights, file));
        file.chain(self.part_below(part).into_iter().map(Ok)).collect()
    }

    /// What was said about the part of a file, as overrides below a key of the config.
    pub fn part_below(&self, key: &str) -> Vec<String> {
        let prefix = self.part.prefix.iter().map(|prefix| format!("{key}.prefix={}", json!(prefix)));
        let drop = Some(&self.part.drop).filter(|drop| !drop.is_empty());
        prefix.chain(drop.map(|drop| format!("{key}.drop={}", json!(drop)))).collect()
    }
}

impl Flags for TrainFlags {
    fn given(&self) -> Vec<&'static str> {
        given([
            ("--init", self.init.is_some()),
            ("--prefix", self.part.prefix.is_some()),
            ("--drop", !self.part.drop.is_empty()),
        ])
    }
}

impl Computes for TrainFlags {
    fn device(&self) -> &str {
        &self.device
    }
}

/// Flags of `finetune-group`; every system reads them.
#[derive(Debug, Clone, Default)]
pub struct FinetuneFlags {
    /// Where the networks run.
    pub device: String,
    /// Where to take up.
    pub resume: Resume,
    /// Folder of prepared data.
    pub data: Option<String>,
    /// Weights of the base.
    pub base: Option<PathBuf>,
    /// Which groups.
    pub group: String,
}

impl Flags for FinetuneFlags {
    fn given(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Computes for FinetuneFlags {
    fn device(&self) -> &str {
        &self.device
    }
}

/// Sets of prepared data. Which of them a system predicts is said by its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// What networks are trained on
    Train,
    /// What they are judged on while they are trained
    Valid,
    /// What is handed in
    Test,
}

impl Set {
    /// Its name in prepared data.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

/// Whether columns that scored worse than zero become 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroList {
    /// As the network's config says
    #[default]
    Auto,
    /// Always
    Apply,
    /// Never
    Ignore,
}

/// Flags of `predict`. Those that are short for a key of the config are none where they were not given.
#[derive(Debug, Clone, Default)]
pub struct PredictFlags {
    /// Where the networks run.
    pub device: String,
    /// Weights instead of those of a stage; every system reads it.
    pub weights: Vec<PathBuf>,
    /// Folder of the data; every system reads it.
    pub data: Option<String>,
    /// Sample submission.
    pub sample: Option<PathBuf>,
    /// `set` of the config.
    pub set: Option<Set>,
    /// `picture` of the config.
    pub picture: Option<u64>,
    /// `batch_size` of the config.
    pub batch_size: Option<u64>,
    /// `precision` of the config.
    pub precision: Option<Precision>,
    /// `zero_list` of the config.
    pub zero_list: Option<ZeroList>,
    /// `csv` of the config.
    pub csv: bool,
    /// `embeddings` of the config.
    pub embeddings: bool,
}

impl Flags for PredictFlags {
    fn given(&self) -> Vec<&'static str> {
        given([
            ("--sample", self.sample.is_some()),
            ("--set", self.set.is_some()),
            ("--picture", self.picture.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--precision", self.precision.is_some()),
            ("--zero-list", self.zero_list.is_some()),
            ("--csv", self.csv),
            ("--embeddings", self.embeddings),
        ])
    }

    fn overrides(&self) -> Vec<String> {
        let pairs = [
            ("set", self.set.map(typed)),
            ("picture", self.picture.map(|n| n.to_string())),
            ("batch_size", self.batch_size.map(|n| n.to_string())),
            ("precision", self.precision.map(typed)),
            ("zero_list", self.zero_list.map(typed)),
            ("csv", self.csv.then(|| "true".to_string())),
            ("embeddings", self.embeddings.then(|| "true".to_string())),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect()
    }
}

/// A value as it is typed, which is also how configs write it.
fn typed<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

impl Computes for PredictFlags {
    fn device(&self) -> &str {
        &self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_prediction_are_overrides_of_its_config() {
        let flags = PredictFlags {
            set: Some(Set::Train),
            precision: Some(Precision::Bf16),
            zero_list: Some(ZeroList::Ignore),
            batch_size: Some(7),
            ..PredictFlags::default()
        };
        assert_eq!(flags.overrides(), ["set=train", "batch_size=7", "precision=bf16", "zero_list=ignore"]);
        assert_eq!(flags.given(), ["--set", "--batch-size", "--precision", "--zero-list"]);
        assert!(PredictFlags::default().given().is_empty() && PredictFlags::default().overrides().is_empty());
    }
}
