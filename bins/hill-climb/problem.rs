//! The search itself: one climb over all columns and, where asked, one for every group.

use climb::{
    Climbed, Direct, Gram, GramObjective, GramScore, Method, Metric, Move, Objective, SearchConfig, climb, equal,
    simplex, sum_one,
};
use common::metrics::{Matrix, Rules};
use common::oof::{Member, Set, Table};
use common::{Error, Result};

use crate::hill_climb::judge::Judge;
use crate::hill_climb::measure;
use crate::hill_climb::members;

/// Rounds that a closed form takes where its quadratic form depends on the weights.
const ROUNDS: usize = 50;

/// Everything that a search reads.
pub struct Problem<'a> {
    /// The truth.
    pub table: &'a Table,
    /// The models.
    pub members: &'a [Member],
    /// How to search.
    pub config: &'a SearchConfig,
    /// Predictions in the space of the truth.
    pub models: Vec<Matrix<'a>>,
    /// Fixed columns and zero rule.
    pub rules: Rules,
    truth: Matrix<'a>,
    /// Whether a column is a class.
    classes: bool,
    /// Weight of every row.
    weights: Option<Vec<f64>>,
}

/// Weights for a set of columns, and how they were found.
pub struct Scope {
    /// `all`, or the name of the group.
    pub name: String,
    /// Columns that the weights are for.
    pub columns: Vec<usize>,
    /// Weight of every model.
    pub weights: Vec<f64>,
    /// Score of the blend on these columns, higher is better.
    pub score: f64,
    /// Score of every model alone.
    pub singles: Vec<f64>,
    /// Accepted steps of the climb.
    pub moves: Vec<Move>,
    /// Scores of other ways to blend; none where there is no answer.
    pub others: Vec<(&'static str, Option<f64>)>,
}

/// The result.
pub struct Blend {
    /// Weights for all columns.
    pub global: Scope,
    /// Weights for groups; columns of no group keep the global weights.
    pub groups: Vec<Scope>,
    /// Score over all columns with the groups' weights.
    pub score: f64,
    /// Columns that physical zero predicts better than the blend.
    pub zero_list: Vec<usize>,
    /// Score over all columns if a model's weight were shared out among the others in proportion; none where nothing
    /// is left, or where the score needs more than squared errors.
    pub without: Vec<Option<f64>>,
    /// Sums of products of the errors, for scores that are functions of squared errors.
    pub gram: Option<Gram>,
}

impl Blend {
    /// The weights in force for every column.
    pub fn by_column(&self, columns: usize) -> Vec<&[f64]> {
        let mut all = vec![self.global.weights.as_slice(); columns];
        for scope in &self.groups {
            for &c in &scope.columns {
                all[c] = &scope.weights;
            }
        }
        all
    }
}

impl<'a> Problem<'a> {
    /// Checks that the models go with the truth; takes the first `rows`.
    pub fn new(set: &'a Set, rows: usize, config: &'a SearchConfig) -> Result<Self> {
        let Set { truth: table, members, .. } = set;
        let labels = [Metric::Logloss, Metric::Brier];
        let decided = matches!(
            config.metric,
            Metric::Accuracy | Metric::BalancedAccuracy | Metric::F1 | Metric::F1Macro | Metric::F1Micro
        ) || matches!(config.metric, Metric::F1Weighted | Metric::Mcc | Metric::Qwk);
        if config.per_group && set.one_hot && (decided || labels.contains(&config.metric)) {
            return Err(Error::usage(format!("`{}` is a score of all classes together", config.metric.name()))
                .hint("leave out `--per-group`"));
        }
        let weights = set.weights.as_ref().map(|weights| weights[..rows].to_vec());
        if weights.is_some() && (config.continuous || config.polish || config.method != Method::Climb) {
            return Err(Error::usage("weighted rows are climbed on a grid")
                .hint("leave out `--method`, `--polish` and `continuous`, or `--sample-weight`"));
        }
        let truth = table.matrix()?.head(rows);
        let models = members::matrices(members, table, rows)?;
        Ok(Self {
            table,
            members,
            config,
            models,
            rules: table.rules(config.zero_rule),
            truth,
            classes: set.one_hot,
            weights,
        })
    }

    /// Number of rows that are used.
    pub fn rows(&self) -> usize {
        self.truth.rows()
    }

    /// Searches.
    pub fn solve(&self) -> Result<Blend> {
        let gram = if self.config.of_squares() && self.weights.is_none() {
            Some(Gram::of(&self.truth, &self.models).map_err(|e| self.not_finite().err().unwrap_or(e))?)
        } else {
            self.not_finite()?;
            None
        };
        let columns: Vec<usize> = (0..self.table.columns()).collect();
        let global = self.scope("all", columns.clone(), gram.as_ref())?;
        let mut groups = Vec::new();
        if self.config.per_group {
            for group in self.table.groups() {
                let columns: Vec<usize> = (group.start..group.end).collect();
                // A group that no model decides has nothing to search.
                if columns.iter().any(|c| !self.rules.fixed.contains(c)) {
                    groups.push(self.scope(&group.name, columns, gram.as_ref())?);
                }
            }
        }
        let without = self.without(&global, gram.as_ref())?;
        let mut blend = Blend { score: global.score, global, groups, zero_list: vec![], without, gram: None };
        if !blend.groups.is_empty() {
            blend.score = self.joint_score(&blend, gram.as_ref())?;
        }
        if let (Some(gram), Metric::R2) = (&gram, self.config.metric) {
            let weights = blend.by_column(columns.len());
            blend.zero_list = gram.scores(|c| weights[c], &self.rules).zero_list;
        }
        blend.gram = gram;
        Ok(blend)
    }

    /// See [`Blend::without`].
    fn without(&self, global: &Scope, gram: Option<&Gram>) -> Result<Vec<Option<f64>>> {
        let Some(gram) = gram else { return Ok(vec![None; self.models.len()]) };
        let objective = self.exact(gram, &global.columns)?;
        let one = |k: usize| {
            let rest = 1.0 - global.weights[k];
            if rest.abs() < 1e-9 {
                return Ok(None);
            }
            let mut weights: Vec<f64> = global.weights.iter().map(|w| w / rest).collect();
            weights[k] = 0.0;
            objective.score(&weights).map(Some)
        };
        (0..self.models.len()).map(one).collect()
    }

    /// Score over all columns when groups have weights of their own.
    fn joint_score(&self, blend: &Blend, gram: Option<&Gram>) -> Result<f64> {
        let rest: Vec<usize> =
            (0..self.table.columns()).filter(|c| !blend.groups.iter().any(|group| group.columns.contains(c))).collect();
        let mut parts: Vec<(&[usize], f64)> = blend.groups.iter().map(|g| (g.columns.as_slice(), g.score)).collect();
        if rest.iter().any(|c| !self.rules.fixed.contains(c)) {
            let score = match gram {
                Some(gram) => self.exact(gram, &rest)?.score(&blend.global.weights)?,
                None => self.direct(&rest)?.score(&blend.global.weights)?,
            };
            parts.push((&rest, score));
        } else {
            parts.push((&rest, 1.0));
        }
        // Fixed columns count 1 in R2 and are left out of the other scores.
        let counts = |columns: &[usize]| match self.config.metric {
            Metric::R2 => columns.len(),
            _ => columns.iter().filter(|c| !self.rules.fixed.contains(c)).count(),
        };
        let total: f64 = parts.iter().map(|(columns, score)| counts(columns) as f64 * score).sum();
        Ok(total / parts.iter().map(|(columns, _)| counts(columns) as f64).sum::<f64>())
    }

    fn scope(&self, name: &str, columns: Vec<usize>, gram: Option<&Gram>) -> Result<Scope> {
        let plan = self.config.plan();
        let Some(gram) = gram else {
            let mut objective = self.direct(&columns)?;
            let found = climb(&mut objective, &plan)?;
            let others = vec![("equal weights", Some(objective.score(&equal(self.models.len()))?))];
            return Ok(scope(name, columns, found, others));
        };
        let mut objective = self.exact(gram, &columns)?;
        let mut found = climb(&mut objective, &plan)?;
        let mut others = vec![
            ("equal weights", Some(objective.score(&equal(self.models.len()))?)),
            ("hill climb", Some(found.score)),
        ];
        for (method, label) in [(Method::Optimum, "optimum, sum 1"), (Method::NonNegative, "optimum, none negative")] {
            match self.closed_form(&mut objective, &found.weights, method) {
                Ok((weights, score)) => {
                    others.push((label, Some(score)));
                    if method == self.config.method {
                        (found.weights, found.score) = (weights, score);
                    }
                }
                Err(error) if method == self.config.method => return Err(error),
                Err(_) => others.push((label, None)),
            }
        }
        Ok(scope(name, columns, found, others))
    }

    /// Repeats the closed form until its quadratic form stays; R2 and MSE without the zero rule need one round.
    fn closed_form(&self, objective: &mut GramObjective, from: &[f64], method: Method) -> Result<(Vec<f64>, f64)> {
        let mut weights = from.to_vec();
        let mut best: Option<(Vec<f64>, f64)> = None;
        for _ in 0..ROUNDS {
            objective.stand(&weights)?;
            let Some(form) = objective.quadratic() else { break };
            let solved = match method {
                Method::NonNegative => simplex(&form, self.config.ridge),
                _ => sum_one(&form, self.config.ridge),
            };
            let next = solved.map_err(|dependent| dependent.error(&self.members[dependent.0].name))?;
            let score = objective.score(&next)?;
            if best.as_ref().is_none_or(|(_, s)| score > *s) {
                best = Some((next.clone(), score));
            }
            let moved = weights.iter().zip(&next).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            weights = next;
            if moved < 1e-12 {
                break;
            }
        }
        best.ok_or_else(|| Error::failed("the closed form has no answer"))
    }

    fn exact(&self, gram: &Gram, columns: &[usize]) -> Result<GramObjective> {
        let score = match self.config.metric {
            Metric::Mse => GramScore::Mse,
            Metric::Rmse => GramScore::Rmse,
            _ => GramScore::R2,
        };
        let zero = self.rules.zero.as_ref().map(|(mean, std)| (mean.as_slice(), std.as_slice()));
        GramObjective::new(gram, score, columns, &self.rules.fixed, zero)
    }

    fn direct<'b>(&'b self, columns: &[usize]) -> Result<Direct<'b, impl Fn(&[f64]) -> f64 + Sync + use<'a, 'b>>> {
        let free: Vec<usize> = columns.iter().copied().filter(|c| !self.rules.fixed.contains(c)).collect();
        let plain = matches!(self.config.metric, Metric::Mae | Metric::Pearson) && self.weights.is_none();
        let judge = if plain {
            None
        } else {
            let (metric, threshold) = (self.config.metric, self.config.threshold);
            let weights = self.weights.as_deref();
            Some(Judge::new(metric, self.table, &self.truth, &free, self.classes, weights, threshold)?)
        };
        let metric = self.config.metric;
        Ok(Direct::new(&self.models, move |values| match (&judge, metric) {
            (Some(judge), _) => judge.score(values),
            (None, Metric::Pearson) => measure::pearson(&self.truth, values, &free),
            (None, _) => -measure::mae(&self.truth, values, &free),
        }))
    }

    /// Names the file, row and column of the first value that is not finite.
    fn not_finite(&self) -> Result<()> {
        self.table.demand_finite(&self.truth)?;
        self.members.iter().zip(&self.models).try_for_each(|(m, matrix)| m.table.demand_finite(matrix))
    }
}

fn scope(name: &str, columns: Vec<usize>, found: Climbed, others: Vec<(&'static str, Option<f64>)>) -> Scope {
    let Climbed { weights, score, singles, moves } = found;
    Scope { name: name.into(), columns, weights, score, singles, moves, others }
}
