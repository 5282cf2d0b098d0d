//! The config of a weight search.

use common::criterion::Better;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::search::{Plan, Trials, grid, published_grid};
use common::config::{Config, Problems};

/// What the search optimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean over columns of R2, higher is better. Exact from Gram matrices.
    R2,
    /// Mean squared error, lower is better. Exact from Gram matrices.
    Mse,
    /// Root mean squared error, mean over columns, lower is better. Exact from Gram matrices.
    Rmse,
    /// Mean absolute error, lower is better. Every trial is a pass over the data.
    Mae,
    /// Mean over columns of Pearson's correlation, higher is better. Every trial is a pass over the data.
    Pearson,
    /// Spearman's correlation of ranks, mean over columns, higher is better.
    Spearman,
    /// Root mean squared error of `ln(1 + x)`, lower is better.
    Rmsle,
    /// Mean absolute error relative to the truth, lower is better.
    Mape,
    /// Mean absolute error relative to the mean size of truth and prediction, lower is better.
    Smape,
    /// Log loss of probabilities of two classes, or of a column a class; lower is better.
    Logloss,
    /// Squared error of probabilities, summed over the classes where there is a column a class; lower is better.
    Brier,
    /// Area below the receiver's curve, higher is better; mean over the classes where there is a column a class.
    Auc,
    /// Average precision, higher is better.
    AveragePrecision,
    /// Share of right labels, higher is better.
    Accuracy,
    /// Mean share of right labels of the classes, higher is better.
    BalancedAccuracy,
    /// F1 of the second of two classes, higher is better; of more classes, `f1_macro`.
    F1,
    /// Mean F1 of the classes, higher is better.
    F1Macro,
    /// F1 of all labels together, which is the accuracy; higher is better.
    F1Micro,
    /// Mean F1 of the classes, each by its number of rows, higher is better.
    F1Weighted,
    /// Matthews' correlation of labels, higher is better.
    Mcc,
    /// Cohen's kappa with quadratic weights, of labels or rounded numbers; higher is better.
    Qwk,
}

impl Metric {
    /// The word in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::R2 => "r2",
            Self::Mse => "mse",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::Rmsle => "rmsle",
            Self::Mape => "mape",
            Self::Smape => "smape",
            Self::Logloss => "logloss",
            Self::Brier => "brier",
            Self::Auc => "auc",
            Self::AveragePrecision => "average_precision",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1 => "f1",
            Self::F1Macro => "f1_macro",
            Self::F1Micro => "f1_micro",
            Self::F1Weighted => "f1_weighted",
            Self::Mcc => "mcc",
            Self::Qwk => "qwk",
        }
    }

    /// Which way is better.
    pub fn better(self) -> Better {
        match self {
            Self::Mse
            | Self::Rmse
            | Self::Mae
            | Self::Rmsle
            | Self::Mape
            | Self::Smape
            | Self::Logloss
            | Self::Brier => Better::Lower,
            _ => Better::Higher,
        }
    }

    /// The metric from the score that the search maximises, and back.
    pub fn signed(self, score: f64) -> f64 {
        -self.better().minimised(score)
    }
}

/// Where the weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Hill climb from the best model.
    Climb,
    /// Closed-form optimum under sum 1; weights may be negative.
    Optimum,
    /// Optimum under sum 1 without negative weights.
    NonNegative,
}

/// How to search for the weights of a blend. The defaults are the published search of `hillclimbers` 0.1.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// What to optimise.
    pub metric: Metric,
    /// Probability from which the second of two classes is predicted, for scores of labels.
    pub threshold: f64,
    /// How: climb, optimum, non_negative.
    pub method: Method,
    /// Whether steps may have negative weights (published: true).
    pub negative: bool,
    /// Distance of the trial weights (published: 0.01).
    pub step: f64,
    /// Smallest and largest trial weight; null is the published grid, -0.5 (or `step`) to 0.5.
    pub step_range: Option<(f64, f64)>,
    /// Whether a step takes the best weight of the range in closed form instead of one of the grid.
    pub continuous: bool,
    /// Whether a model may be taken more than once (the published weights need it).
    pub with_replacement: bool,
    /// A step must gain more than this.
    pub tolerance: f64,
    /// Steps at most; null is no limit.
    pub max_steps: Option<usize>,
    /// Smallest and largest final weight of a model; null is no limit.
    pub weight_range: Option<(f64, f64)>,
    /// Whether weight is exchanged between pairs of models at the end until nothing is gained.
    pub polish: bool,
    /// Whether every group of columns gets weights of its own, beside the global ones.
    pub per_group: bool,
    /// Multiple of the mean diagonal that the closed forms add to the diagonal.
    pub ridge: f64,
    /// Whether the R2 of a column counts at least as much as predicting physical zero.
    pub zero_rule: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            metric: Metric::R2,
            threshold: 0.5,
            method: Method::Climb,
            negative: true,
            step: 0.01,
            step_range: None,
            continuous: false,
            with_replacement: false,
            tolerance: 1e-12,
            max_steps: None,
            weight_range: None,
            polish: false,
            per_group: false,
            ridge: 0.0,
            zero_rule: true,
        }
    }
}

impl SearchConfig {
    /// The plan of the climb.
    pub fn plan(&self) -> Plan {
        let range = self.step_range.unwrap_or((if self.negative { -0.5 } else { 0.0 }, 0.5));
        let trials = match (self.continuous, self.step_range) {
            (true, _) => Trials::Continuous { min: range.0, max: range.1 },
            (false, None) => Trials::Grid(published_grid(self.negative, self.step)),
            (false, Some(_)) => Trials::Grid(grid(range.0, range.1, self.step)),
        };
        Plan {
            trials,
            replacement: self.with_replacement,
            tolerance: self.tolerance,
            max_steps: self.max_steps,
            bounds: self.weight_range,
            polish: self.polish,
        }
    }

    /// Whether the score is a function of squared errors.
    pub fn of_squares(&self) -> bool {
        matches!(self.metric, Metric::R2 | Metric::Mse | Metric::Rmse)
    }
}

impl Config for SearchConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.step > 0.0 && self.step <= 0.5, "step", || {
            format!("is {}, expected more than 0 and at most 0.5", self.step)
        });
        for (key, range) in [("step_range", self.step_range), ("weight_range", self.weight_range)] {
            if let Some((min, max)) = range {
                problems.demand(min.is_finite() && max.is_finite() && min < max, key, || {
                    format!("is [{min}, {max}], expected two numbers, the smaller first")
                });
            }
        }
        if let Some((min, _)) = self.step_range {
            problems.demand(self.negative || min >= 0.0, "step_range", || {
                format!("begins at {min}, but `negative` is false")
            });
        }
        problems
            .demand(self.threshold.is_finite(), "threshold", || format!("is {}, expected a number", self.threshold));
        problems.demand(self.tolerance >= 0.0 && self.tolerance.is_finite(), "tolerance", || {
            format!("is {}, expected 0 or more", self.tolerance)
        });
        problems.demand(self.ridge >= 0.0 && self.ridge.is_finite(), "ridge", || {
            format!("is {}, expected 0 or more", self.ridge)
        });
        if !self.of_squares() {
            let name = self.metric.name();
            problems.demand(!self.continuous, "continuous", || format!("needs r2, mse or rmse, not `{name}`"));
            problems.demand(!self.polish, "polish", || format!("needs r2, mse or rmse, not `{name}`"));
            problems.demand(self.method == Method::Climb, "method", || format!("must be `climb` for `{name}`"));
        }
    }
}
