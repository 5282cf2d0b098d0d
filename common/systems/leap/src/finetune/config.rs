//! What `finetune-group leap` does, as a config. The network, its constants and its chain come from the base checkpoint.

use common::config::{Config, Problems};
use neural::trainer::Training;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::GROUPS;
use crate::raw::month::Months;
use crate::train::RowsConfig;

/// Seven fine-tunings from one base, one a group of targets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Always `leap`.
    pub system: String,
    /// Name of the result in the blend: `max022`.
    pub member: String,
    /// Seed of the order of rows and of dropout; every group has a stream of its own.
    pub seed: u64,
    /// Which rows are trained on.
    #[serde(default)]
    pub rows: RowsConfig,
    /// Groups that keep the base weights, 0..=6 (published: `[0]` for gf038, else none).
    #[serde(default)]
    pub skip: Vec<usize>,
    /// What becomes of a group whose best score is not better than the base's.
    #[serde(default)]
    pub bad_groups: BadGroups,
    /// Rows of a batch of the evaluation, >= 1.
    #[serde(default = "val_batch_size")]
    pub val_batch_size: u64,
    /// Also write the out-of-fold predictions as `oof.npy`, as published.
    #[serde(default)]
    pub oof_npy: bool,
    /// How each group is trained.
    pub training: Training,
}

/// What becomes of a group that fine-tuning did not improve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadGroups {
    /// The base weights are used for it, in the out-of-fold predictions and in the submission.
    #[default]
    Base,
    /// The fine-tuned weights are used all the same, as published for Max2020 and `ForcewithMe`.
    Keep,
    /// As published for Jo912: a group is bad if |best| < |base|, which calls an improved negative R2 worse; the
    /// submission uses the base for it, the out-of-fold predictions the fine-tuned weights.
    Parity,
}

impl BadGroups {
    /// Whether a group of mean R2 `best` after fine-tuning and `base` before is bad.
    pub fn is_bad(self, best: f64, base: f64) -> bool {
        match self {
            // NaN is never better.
            Self::Base => best.is_nan() || best <= base,
            Self::Keep => false,
            Self::Parity => best.abs() < base.abs(),
        }
    }
}

fn val_batch_size() -> u64 {
    4096
}

impl Config for FinetuneConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "leap", "system", || format!("is `{}`, expected `leap`", self.system));
        problems.demand(!self.member.is_empty(), "member", || "is empty, expected a name such as `max022`".into());
        problems.demand(self.val_batch_size > 0, "val_batch_size", || "is 0, expected at least 1".into());
        for group in self.skip.iter().filter(|&&group| group >= GROUPS) {
            problems.push("skip", format!("names group {group}, expected 0 to {}", GROUPS - 1));
        }
        if let Some(Err(problem)) = self.rows.months.as_ref().map(|months: &Months| months.resolve("rows.months")) {
            problems.push("rows.months", problem.to_string());
        }
        problems.demand(self.rows.sources.is_empty(), "rows.sources", || {
            "is set, but groups are fine-tuned on the arrays of `--from` alone: leave it out".into()
        });
        self.training.validate("training", problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_group_is_one_that_did_not_gain() {
        assert!(BadGroups::Base.is_bad(0.5, 0.5) && BadGroups::Base.is_bad(f64::NAN, 0.5));
        assert!(!BadGroups::Base.is_bad(-0.1, -0.2));
        assert!(!BadGroups::Keep.is_bad(-1.0, 0.5));
    }

    #[test]
    fn the_published_rule_calls_an_improved_negative_score_bad() {
        assert!(BadGroups::Parity.is_bad(-0.1, -0.2));
        assert!(!BadGroups::Parity.is_bad(-0.3, -0.2));
    }
}
