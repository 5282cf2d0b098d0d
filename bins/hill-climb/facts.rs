//! What the result says beside the weights, gathered once for `weights.json` and the page: the history of the search, how the
//! members go together, how certain each weight is, and what the blend is worth beside its best member and equal weights.

use climb::{Gram, MoveKind};
use common::Result;
use common::metrics::{Matrix, Moments};
use serde_json::{Value, json};

use crate::hill_climb::bootstrap::{Bootstrap, LEVELS, Spread};
use crate::hill_climb::folds::OutOfFold;
use crate::hill_climb::problem::{Blend, Problem};

/// Everything that is shown. Scores are those of the metric, as a user reads them; models are in the order of the arguments.
pub struct Facts {
    /// Names of the models.
    pub models: Vec<String>,
    /// Accepted steps of the search over all columns, the start first; none where the weights are a mean over bags.
    pub history: Vec<Step>,
    /// How alike the members are; none where none of the columns varies.
    pub correlations: Option<Correlations>,
    /// Spread of every model's weight over resamples of the rows; empty without `--bootstrap`.
    pub spread: Vec<Spread>,
    /// Number of resamples.
    pub resamples: usize,
    /// On the rows that were searched.
    pub in_sample: Figures,
    /// On held-out rows, mean over folds; none without folds.
    pub out_of_fold: Option<Figures>,
}

/// An accepted step.
pub struct Step {
    /// `start`, `climb` or `polish`.
    pub kind: &'static str,
    /// The model that gained (or lost) weight.
    pub model: String,
    /// The model that gave weight, when polishing.
    pub from: Option<String>,
    /// Weight of the step.
    pub weight: f64,
    /// Score after it.
    pub score: f64,
}

/// Correlations between members.
pub struct Correlations {
    /// `errors`, or `predictions` where only the order of predictions counts and their scale says nothing.
    pub of: &'static str,
    /// `[model][model]`; NaN where one of both does not vary.
    pub matrix: Vec<Vec<f64>>,
}

/// Scores beside each other.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// The blend.
    pub blend: f64,
    /// The best member; out of fold the one that is best on the other rows.
    pub best_member: f64,
    /// The same weight for all members.
    pub equal_weights: f64,
    /// Standard errors of the three over the folds.
    pub errors: Option<[f64; 3]>,
}

impl Facts {
    /// Gathers them.
    pub fn of(
        problem: &Problem,
        blend: &Blend,
        honest: Option<&OutOfFold>,
        bootstrap: Option<&Bootstrap>,
    ) -> Result<Self> {
        let metric = problem.config.shown();
        let models: Vec<String> = problem.members.iter().map(|m| m.name.clone()).collect();
        let step = |m: &climb::Move| Step {
            kind: m.kind.name(),
            model: problem.name(m.model).into(),
            from: m.from.map(|k| problem.name(k).into()),
            weight: m.weight,
            score: metric.signed(m.score),
        };
        let equal = blend.global.others.iter().find(|(name, _)| *name == "equal weights").and_then(|(_, s)| *s);
        let best = blend.global.singles.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(Self {
            history: blend.global.moves.iter().map(step).collect(),
            correlations: correlations(problem, blend)?,
            spread: bootstrap.map_or(vec![], |all| (0..models.len()).map(|k| all.spread(k)).collect()),
            resamples: bootstrap.map_or(0, Bootstrap::resamples),
            in_sample: Figures {
                blend: metric.signed(blend.score),
                best_member: metric.signed(best),
                equal_weights: metric.signed(equal.unwrap_or(f64::NAN)),
                errors: None,
            },
            out_of_fold: honest.map(|honest| {
                let all = [0, 1, 2].map(|which| honest.score(which));
                let [blend, best_member, equal_weights] = all.map(|estimate| metric.signed(estimate.mean));
                Figures { blend, best_member, equal_weights, errors: Some(all.map(|estimate| estimate.error)) }
            }),
            models,
        })
    }

    /// The share of `weights.json`; docs/blending.md says what the keys mean.
    pub fn json(&self) -> Value {
        let step = |(i, s): (usize, &Step)| {
            let starts = self.history.iter().filter(|s| s.kind == MoveKind::Start.name()).count();
            json!({
                "step": (i + 1).saturating_sub(starts), "kind": s.kind, "model": s.model, "from": s.from,
                "weight": s.weight, "score": s.score,
            })
        };
        let mut all = json!({
            "history": self.history.iter().enumerate().map(step).collect::<Vec<_>>(),
            "in_sample": {
                "blend": self.in_sample.blend,
                "best_member": self.in_sample.best_member,
                "equal_weights": self.in_sample.equal_weights,
            },
        });
        if let Some(Correlations { of, matrix }) = &self.correlations {
            all["correlations"] = json!({ "of": of, "models": self.models, "matrix": matrix });
        }
        if !self.spread.is_empty() {
            let of = |s: &Spread| json!({ "mean": s.mean, "std": s.std, "quantiles": s.quantiles, "taken": s.taken });
            let weights: serde_json::Map<String, Value> =
                self.models.iter().cloned().zip(self.spread.iter().map(of)).collect();
            all["bootstrap"] = json!({ "resamples": self.resamples, "levels": LEVELS, "weights": weights });
        }
        all
    }
}

/// Correlations over all scored columns, each column on the scale of its variance.
fn correlations(problem: &Problem, blend: &Blend) -> Result<Option<Correlations>> {
    let models = problem.members.len();
    let ordered = problem.config.metric.of_order() && problem.command.is_none();
    let columns = problem.truth.columns();
    let free = |c: &usize| !problem.rules.fixed.contains(c);
    let own;
    let (square, of) = if ordered {
        // Around the mean of the first model, which keeps the sums small.
        let moments: Vec<Moments> = problem.models.iter().take(models).map(Moments::of).collect();
        let middle = moments[0].mean.repeat(problem.rows());
        let gram = Gram::of(&Matrix::f64(&middle, columns)?, &problem.models[..models])?;
        let rows = problem.rows() as f64;
        let mut total = climb::Square::zeros(models);
        for c in (0..columns).filter(free).filter(|&c| moments[0].m2[c] > 0.0) {
            let (square, scale) = (gram.column(c), moments[0].m2[c]);
            let away = |k: usize| moments[0].mean[c] - moments[k].mean[c];
            for k in 0..models {
                for m in 0..models {
                    total.values[k * models + m] += (square.at(k, m) - rows * away(k) * away(m)) / scale;
                }
            }
        }
        (total, "predictions")
    } else {
        let gram = match &blend.gram {
            Some(gram) => gram,
            None => {
                own = Gram::of(&problem.truth, &problem.models[..models])?;
                &own
            }
        };
        let scored = (0..columns).filter(free).filter(|&c| gram.truth.m2[c] > 0.0);
        (gram.weighted(scored.map(|c| (c, 1.0 / gram.truth.m2[c]))), "errors")
    };
    let one = |k: usize, m: usize| {
        let scale = (square.at(k, k) * square.at(m, m)).sqrt();
        if scale > 0.0 { square.at(k, m) / scale } else { f64::NAN }
    };
    let matrix: Vec<Vec<f64>> = (0..models).map(|k| (0..models).map(|m| one(k, m)).collect()).collect();
    let any = matrix.iter().flatten().any(|r| r.is_finite());
    Ok(any.then_some(Correlations { of, matrix }))
}
