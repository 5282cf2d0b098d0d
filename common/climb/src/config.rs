//! The config of a weight search.

use common::criterion::Better;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use common::config::{Config, Problems};

use crate::search::{Plan, Start, Trials, grid, published_grid};

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
    /// Continuous ranked probability score of members with several columns, lower is better: quantiles where the columns
    /// are named after their levels (`q0.1`), else draws.
    Crps,
    /// Mean angle between vectors in radians, lower is better: the columns are the parts of a vector.
    MeanAngle,
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
            Self::Crps => "crps",
            Self::MeanAngle => "mean_angle",
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
            | Self::Brier
            | Self::Crps
            | Self::MeanAngle => Better::Lower,
            _ => Better::Higher,
        }
    }

    /// The metric from the score that the search maximises, and back.
    pub fn signed(self, score: f64) -> f64 {
        -self.better().minimised(score)
    }

    /// Whether labels are judged, which a threshold, rounding or the likeliest class decides.
    pub fn of_labels(self) -> bool {
        matches!(
            self,
            Self::Accuracy
                | Self::BalancedAccuracy
                | Self::F1
                | Self::F1Macro
                | Self::F1Micro
                | Self::F1Weighted
                | Self::Mcc
                | Self::Qwk
        )
    }

    /// Whether only the order of the predictions counts.
    pub fn of_order(self) -> bool {
        matches!(self, Self::Auc | Self::AveragePrecision | Self::Spearman)
    }
}

/// What members are blended as. The score is that of the blend turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// As they are.
    Value,
    /// As shares of their ranks, 1 being the largest; for scores that depend on the order alone.
    Rank,
    /// As log odds of probabilities.
    Logit,
    /// As logarithms: the blend is the geometric mean.
    Geometric,
}

impl Space {
    /// The word in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Rank => "rank",
            Self::Logit => "logit",
            Self::Geometric => "geometric",
        }
    }
}

/// Whether a number of a user's own metric should be large or small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Higher is better.
    Maximize,
    /// Lower is better.
    Minimize,
}

/// How a score is shown: the search maximises, users read their metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    name: &'static str,
    sign: f64,
}

impl Shown {
    /// The name of the metric.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether higher values of the metric are better.
    pub fn higher(self) -> bool {
        self.sign > 0.0
    }

    /// The metric from the score that the search maximises, and back.
    pub fn signed(self, score: f64) -> f64 {
        self.sign * score
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
    /// A command in place of the metric: it reads the truth and then trial blends as npy, and answers a number a line.
    pub metric_command: Option<String>,
    /// Whether the command's number should be large or small.
    pub direction: Option<Direction>,
    /// Seconds that the command may take for an answer.
    pub metric_timeout_s: f64,
    /// Probability from which the second of two classes is predicted, for scores of labels.
    pub threshold: f64,
    /// Whether every trial has the threshold that is best for it; the found one is stored.
    pub search_threshold: bool,
    /// What members are blended as: value, rank, logit, geometric.
    pub space: Space,
    /// How: climb, optimum, non_negative.
    pub method: Method,
    /// Where the climb starts: `best` (the best model alone), `equal`, or a file of weights.
    pub start: String,
    /// Models with a weight at most; null is no limit.
    pub max_models: Option<usize>,
    /// Climbs over seeded subsets of the models whose weights are averaged; 0 is one climb over all.
    pub bags: usize,
    /// Share of the models that a bag has.
    pub bag_share: f64,
    /// Whether the weights sum to one; if not, a model that predicts nothing takes the rest.
    pub sum_one: bool,
    /// Folds of the honest score: weights are searched on the other rows and scored on those of the fold; null is none.
    pub folds: Option<usize>,
    /// Resamples of the rows, drawn with replacement, that are searched for the spread of the weights; 0 is none.
    pub bootstrap: usize,
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
    /// Whether every target (or class) gets weights of its own, beside the global ones.
    pub per_target: bool,
    /// Multiple of the mean diagonal that the closed forms add to the diagonal.
    pub ridge: f64,
    /// Whether the R2 of a column counts at least as much as predicting physical zero.
    pub zero_rule: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            metric: Metric::R2,
            metric_command: None,
            direction: None,
            metric_timeout_s: 600.0,
            threshold: 0.5,
            search_threshold: false,
            space: Space::Value,
            start: "best".into(),
            max_models: None,
            bags: 0,
            bag_share: 0.5,
            sum_one: true,
            folds: None,
            bootstrap: 0,
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
            per_target: false,
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
            start: if self.start == "equal" { Start::Equal } else { Start::Best },
            max_models: self.max_models,
            among: None,
            nothing: None,
        }
    }

    /// Whether the score is a function of squared errors.
    pub fn of_squares(&self) -> bool {
        matches!(self.metric, Metric::R2 | Metric::Mse | Metric::Rmse)
            && self.space == Space::Value
            && self.metric_command.is_none()
    }

    /// How scores are shown.
    pub fn shown(&self) -> Shown {
        match (&self.metric_command, self.direction) {
            (None, _) => Shown { name: self.metric.name(), sign: self.metric.signed(1.0) },
            (Some(_), Some(Direction::Minimize)) => Shown { name: "command", sign: -1.0 },
            (Some(_), _) => Shown { name: "command", sign: 1.0 },
        }
    }

    /// The file of weights to start from.
    pub fn start_file(&self) -> Option<&str> {
        (self.start != "best" && self.start != "equal").then_some(self.start.as_str())
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
        self.validate_more(problems);
        if !self.of_squares() {
            let name = if self.space == Space::Value { self.shown().name() } else { self.space.name() };
            problems.demand(!self.continuous, "continuous", || format!("needs r2, mse or rmse, not `{name}`"));
            problems.demand(!self.polish, "polish", || format!("needs r2, mse or rmse, not `{name}`"));
            problems.demand(self.method == Method::Climb, "method", || format!("must be `climb` for `{name}`"));
        }
    }
}

impl SearchConfig {
    /// What the keys demand of each other.
    fn validate_more(&self, problems: &mut Problems) {
        let command = self.metric_command.is_some();
        problems.demand(command == self.direction.is_some(), "direction", || {
            let said = if command {
                "is missing: should the number of `metric_command` be large or small"
            } else {
                "belongs to `metric_command`, which is missing"
            };
            format!("{said} (`--maximize`, `--minimize`)")
        });
        problems.demand(self.metric_timeout_s > 0.0 && self.metric_timeout_s <= 1e9, "metric_timeout_s", || {
            format!("is {}, expected more than 0", self.metric_timeout_s)
        });
        problems.demand(!self.search_threshold || self.metric.of_labels() && !command, "search_threshold", || {
            format!("needs a score of labels, not `{}`", self.shown().name())
        });
        problems.demand(self.space != Space::Rank || command || self.metric.of_order(), "space", || {
            format!(
                "is `rank`, which only auc, average_precision and spearman understand, not `{}`",
                self.metric.name()
            )
        });
        problems.demand(self.max_models != Some(0), "max_models", || "is 0, expected 1 or more".into());
        problems.demand(self.bag_share > 0.0 && self.bag_share <= 1.0, "bag_share", || {
            format!("is {}, expected more than 0 and at most 1", self.bag_share)
        });
        problems.demand(self.bootstrap <= 100_000, "bootstrap", || format!("is {}, too many", self.bootstrap));
        problems.demand(self.folds.is_none_or(|folds| folds >= 2), "folds", || "is below 2".into());
        problems.demand(!(self.per_group && self.per_target), "per_target", || "excludes `per_group`".into());
        let least = self.weight_range.map_or(0.0, |(min, _)| min);
        for (key, asked) in [("bags", self.bags > 0), ("max_models", self.max_models.is_some())] {
            problems.demand(!asked || self.method == Method::Climb, key, || "needs `method: climb`".into());
            problems.demand(!asked || least <= 0.0, key, || {
                format!("leaves models without weight, but `weight_range` begins at {least}")
            });
        }
        problems.demand(self.sum_one || self.weight_range.is_none(), "weight_range", || "needs `sum_one: true`".into());
        problems.demand(self.max_models.is_none() || !self.polish, "polish", || "excludes `max_models`".into());
    }
}
