//! The search itself: one climb over all columns and, where asked, one for every group or target.

use climb::{
    Climbed, Direct, Gram, GramObjective, GramScore, Method, Metric, Objective, Plan, Space, Start, climb, equal,
    simplex, sum_one,
};
use common::metrics::{Matrix, Moments};
use common::seed::seed_for;
use common::{Error, Result};
use rayon::prelude::*;

use crate::hill_climb::fast::{Fast, Quick, Several};
use crate::hill_climb::judge::{Asked, Judge, Threshold};
use crate::hill_climb::problem::{Bag, Blend, Problem, Scope};

/// Rounds that a closed form takes where its quadratic form depends on the weights.
const ROUNDS: usize = 50;

/// Numbers of several columns that a quick way may copy, 2 GiB.
const COPIED: usize = 1 << 28;

/// A problem with the numbers that are blended.
pub struct Solver<'p> {
    problem: &'p Problem<'p>,
    /// The members, and behind them perhaps one that predicts nothing.
    models: Vec<Matrix<'p>>,
    nothing: Option<usize>,
}

impl<'p> Solver<'p> {
    /// Takes the members as they are, or `own` numbers.
    pub fn new(problem: &'p Problem<'p>, own: Option<&'p [Vec<f64>]>) -> Result<Self> {
        let columns = problem.truth.columns();
        let models = match own {
            None => problem.models.clone(),
            Some(own) => own.iter().map(|values| Matrix::f64(values, columns)).collect::<Result<_>>()?,
        };
        let nothing = (models.len() > problem.members.len()).then_some(problem.members.len());
        Ok(Self { problem, models, nothing })
    }

    /// Searches.
    pub fn solve(&self) -> Result<Blend> {
        let problem = self.problem;
        let gram = self.gram()?;
        let columns: Vec<usize> = (0..problem.table.columns()).collect();
        let global = self.scope("all", columns.clone(), gram.as_ref())?;
        let free = |c: &usize| !problem.rules.fixed.contains(c);
        let mut groups = Vec::new();
        if problem.config.per_group {
            for group in problem.table.groups() {
                let columns: Vec<usize> = (group.start..group.end).collect();
                // A group that no model decides has nothing to search.
                if columns.iter().any(free) {
                    groups.push(self.scope(&group.name, columns, gram.as_ref())?);
                }
            }
        }
        if problem.config.per_target {
            for &c in columns.iter().filter(|&c| free(c)) {
                groups.push(self.scope(&problem.table.column_name(c), vec![c], gram.as_ref())?);
            }
        }
        let without = self.without(&global, gram.as_ref())?;
        let mut blend =
            Blend { score: global.score, global, groups, zero_list: vec![], without, gram: None, thresholds: None };
        if !blend.groups.is_empty() {
            let scores: Vec<f64> = blend.groups.iter().map(|group| group.score).collect();
            blend.score = self.joint_score(&blend, &scores, gram.as_ref())?;
        }
        if let (Some(gram), Metric::R2) = (&gram, problem.config.metric) {
            let weights = blend.by_column(columns.len());
            blend.zero_list = gram.scores(|c| weights[c], &problem.rules).zero_list;
        }
        if problem.config.search_threshold {
            blend.thresholds = Some(self.thresholds(&blend.global.weights)?);
        }
        if let Some(nothing) = self.nothing {
            // What predicts nothing is of no interest to anybody else.
            let cut = |weights: &mut Vec<f64>| weights.truncate(nothing);
            blend.without.truncate(nothing);
            for scope in std::iter::once(&mut blend.global).chain(&mut blend.groups) {
                cut(&mut scope.weights);
                scope.singles.truncate(nothing);
                scope.bags.iter_mut().for_each(|bag| cut(&mut bag.weights));
            }
        } else {
            blend.gram = gram;
        }
        Ok(blend)
    }

    /// Scores of weights that were found on other rows: the blend, a member alone, equal weights.
    pub fn judged(&self, blend: &Blend, best: usize) -> Result<[f64; 3]> {
        let problem = self.problem;
        let columns: Vec<usize> = (0..problem.table.columns()).collect();
        let members = problem.members.len();
        let gram = self.gram()?;
        let threshold = |place: usize| blend.thresholds.as_ref().map(|all| all[place]);
        let score = |columns: &[usize], weights: &[f64], threshold: Option<f64>| match &gram {
            Some(gram) => self.exact(gram, columns)?.score(&self.whole(weights)),
            None => self.direct(columns, threshold)?.score(&self.whole(weights)),
        };
        let mut alone = vec![0.0; members];
        alone[best] = 1.0;
        let blended = if blend.groups.is_empty() {
            score(&columns, &blend.global.weights, threshold(0))?
        } else {
            let one = |group: &Scope| score(&group.columns, &group.weights, None);
            let scores = blend.groups.iter().map(one).collect::<Result<Vec<f64>>>()?;
            self.joint_score(blend, &scores, gram.as_ref())?
        };
        let equal = equal(members);
        Ok([blended, score(&columns, &alone, threshold(1 + best))?, score(&columns, &equal, threshold(1 + members))?])
    }

    /// The blended predictions in the space of the truth.
    pub fn blended(&self, blend: &Blend) -> Result<Vec<f64>> {
        let columns = self.problem.table.columns();
        let by_column = blend.by_column(columns);
        let weights: Vec<Vec<f64>> = by_column.iter().map(|weights| self.whole(weights)).collect();
        let mut total = vec![0.0; self.problem.rows() * columns];
        let mut values = vec![0.0; columns];
        for (row, out) in total.chunks_exact_mut(columns).enumerate() {
            for (k, model) in self.models.iter().enumerate() {
                model.read(row, 0..columns, &mut values);
                out.iter_mut().zip(&values).zip(&weights).for_each(|((sum, value), w)| *sum += w[k] * value);
            }
        }
        Ok(self.problem.blending().back_all(&total, columns))
    }

    /// The sums behind scores of squared errors, for those; with weights, of rows that are scaled by the roots of theirs.
    fn gram(&self) -> Result<Option<Gram>> {
        let problem = self.problem;
        if !problem.config.of_squares() {
            problem.not_finite()?;
            return Ok(None);
        }
        let Some(weights) = &problem.weights else {
            let gram = Gram::of(&problem.truth, &self.models).map_err(|e| problem.no_squares(e))?;
            return Ok(Some(gram));
        };
        problem.not_finite()?;
        let (rows, columns) = (problem.rows(), problem.truth.columns());
        let total: f64 = weights.iter().sum();
        if total == 0.0 {
            return Err(Error::input(problem.table.path(), "all rows have the weight 0")
                .hint("`--sample-weight` names the column with the weight of every row"));
        }
        let share = |row: usize| weights[row] / total * rows as f64;
        let read = |matrix: &Matrix| {
            let mut values = vec![0.0; rows * columns];
            values.chunks_exact_mut(columns).enumerate().for_each(|(row, out)| matrix.read(row, 0..columns, out));
            values
        };
        let scaled = |mut values: Vec<f64>| {
            values.chunks_exact_mut(columns).enumerate().for_each(|(row, out)| {
                let root = share(row).sqrt();
                out.iter_mut().for_each(|value| *value *= root);
            });
            values
        };
        let truth = read(&problem.truth);
        let mut moments = Moments::new(columns);
        moments.rows = rows as u64;
        // From the first row on, so that a column without variance has none to the last bit.
        let first = &truth[..columns];
        for (row, values) in truth.chunks_exact(columns).enumerate() {
            let away = values.iter().zip(first).map(|(y, first)| y - first);
            moments.mean.iter_mut().zip(away).for_each(|(mean, away)| *mean += share(row) * away / rows as f64);
        }
        moments.mean.iter_mut().zip(first).for_each(|(mean, first)| *mean += first);
        for (row, values) in truth.chunks_exact(columns).enumerate() {
            let squares = moments.m2.iter_mut().zip(&moments.mean).zip(values);
            squares.for_each(|((squares, mean), y)| *squares += share(row) * (y - mean).powi(2));
        }
        let models: Vec<Vec<f64>> = self.models.par_iter().map(|model| scaled(read(model))).collect();
        let models = models.iter().map(|values| Matrix::f64(values, columns)).collect::<Result<Vec<_>>>()?;
        let mut gram = Gram::of(&Matrix::f64(&scaled(truth), columns)?, &models)?;
        gram.truth = moments;
        Ok(Some(gram))
    }

    /// Weights of the members with that of nothing behind them.
    fn whole(&self, weights: &[f64]) -> Vec<f64> {
        let mut all = weights.to_vec();
        if self.nothing.is_some() && all.len() < self.models.len() {
            all.push(1.0 - weights.iter().sum::<f64>());
        }
        all
    }

    /// The best thresholds of the blend, every member alone and equal weights.
    fn thresholds(&self, weights: &[f64]) -> Result<Vec<f64>> {
        let problem = self.problem;
        let judge = self.judge(&[0], None)?;
        let members = problem.members.len();
        let mut all = vec![weights.to_vec()];
        all.extend((0..members).map(|k| (0..members).map(|m| f64::from(u8::from(m == k))).collect()));
        all.push(equal(members));
        let of = |weights: &Vec<f64>| {
            let mut total = vec![0.0; problem.rows()];
            let mut value = [0.0];
            for (k, weight) in self.whole(weights).iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                total.iter_mut().enumerate().for_each(|(row, sum)| {
                    self.models[k].read(row, 0..1, &mut value);
                    *sum += weight * value[0];
                });
            }
            judge.threshold(&problem.blending().back_all(&total, 1)).unwrap_or(problem.config.threshold)
        };
        Ok(all.iter().map(of).collect())
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

    /// Score over all columns when groups have weights of their own and these `scores`.
    fn joint_score(&self, blend: &Blend, scores: &[f64], gram: Option<&Gram>) -> Result<f64> {
        let problem = self.problem;
        let rest: Vec<usize> = (0..problem.table.columns())
            .filter(|c| !blend.groups.iter().any(|group| group.columns.contains(c)))
            .collect();
        let mut parts: Vec<(&[usize], f64)> =
            blend.groups.iter().zip(scores).map(|(g, score)| (g.columns.as_slice(), *score)).collect();
        if rest.iter().any(|c| !problem.rules.fixed.contains(c)) {
            let weights = self.whole(&blend.global.weights);
            let score = match gram {
                Some(gram) => self.exact(gram, &rest)?.score(&weights)?,
                None => self.direct(&rest, None)?.score(&weights)?,
            };
            parts.push((&rest, score));
        } else {
            parts.push((&rest, 1.0));
        }
        // Fixed columns count 1 in R2 and are left out of the other scores.
        let counts = |columns: &[usize]| match problem.config.metric {
            Metric::R2 => columns.len(),
            _ => columns.iter().filter(|c| !problem.rules.fixed.contains(c)).count(),
        };
        let total: f64 = parts.iter().map(|(columns, score)| counts(columns) as f64 * score).sum();
        Ok(total / parts.iter().map(|(columns, _)| counts(columns) as f64).sum::<f64>())
    }

    fn plan(&self) -> Plan {
        let mut plan = self.problem.config.plan();
        plan.nothing = self.nothing;
        if let Some(start) = &self.problem.start {
            plan.start = Start::Given(self.whole(start));
        }
        plan
    }

    /// One climb, or the mean of climbs over subsets of the models.
    fn climbed(&self, objective: &mut impl Objective, name: &str) -> Result<(Climbed, Vec<Bag>)> {
        let plan = self.plan();
        let config = self.problem.config;
        if config.bags == 0 {
            return Ok((climb(objective, &plan)?, vec![]));
        }
        let members = self.problem.members.len();
        let share = ((members as f64 * config.bag_share).ceil() as usize).clamp(1, members);
        let mut bags = Vec::with_capacity(config.bags);
        let mut weights = vec![0.0; self.models.len()];
        let mut singles = vec![];
        for bag in 0..config.bags {
            let seed = seed_for(self.problem.seed, &format!("bag/{name}"), bag as u64);
            let mut drawn: Vec<usize> = (0..members).collect();
            drawn.sort_by_key(|&k| seed_for(seed, "member", k as u64));
            drawn.truncate(share);
            drawn.sort_unstable();
            drawn.extend(self.nothing);
            let found = climb(objective, &Plan { among: Some(drawn), ..plan.clone() })?;
            weights.iter_mut().zip(&found.weights).for_each(|(mean, w)| *mean += w / config.bags as f64);
            singles = found.singles;
            bags.push(Bag { weights: found.weights, moves: found.moves });
        }
        let score = objective.stand(&weights)?;
        Ok((Climbed { weights, score, singles, moves: vec![] }, bags))
    }

    fn scope(&self, name: &str, columns: Vec<usize>, gram: Option<&Gram>) -> Result<Scope> {
        let equal = self.whole(&equal(self.problem.members.len()));
        let Some(gram) = gram else {
            let ((found, bags), same) = match self.fast(&columns)? {
                Some(mut objective) => (self.climbed(&mut objective, name)?, objective.score(&equal)?),
                None => {
                    let mut objective = self.direct(&columns, None)?;
                    (self.climbed(&mut objective, name)?, objective.score(&equal)?)
                }
            };
            return Ok(scope(name, columns, found, bags, vec![("equal weights", Some(same))]));
        };
        let mut objective = self.exact(gram, &columns)?;
        let (mut found, bags) = self.climbed(&mut objective, name)?;
        let mut others = vec![("equal weights", Some(objective.score(&equal)?)), ("hill climb", Some(found.score))];
        let sum = if self.nothing.is_some() { "optimum, any sum" } else { "optimum, sum 1" };
        for (method, label) in [(Method::Optimum, sum), (Method::NonNegative, "optimum, none negative")] {
            match self.closed_form(&mut objective, &found.weights, method) {
                Ok((weights, score)) => {
                    others.push((label, Some(score)));
                    if method == self.problem.config.method {
                        (found.weights, found.score) = (weights, score);
                    }
                }
                Err(error) if method == self.problem.config.method => return Err(error),
                Err(_) => others.push((label, None)),
            }
        }
        Ok(scope(name, columns, found, bags, others))
    }

    /// Repeats the closed form until its quadratic form stays; R2 and MSE without the zero rule need one round.
    fn closed_form(&self, objective: &mut GramObjective, from: &[f64], method: Method) -> Result<(Vec<f64>, f64)> {
        let mut weights = from.to_vec();
        let mut best: Option<(Vec<f64>, f64)> = None;
        let ridge = self.problem.config.ridge;
        for _ in 0..ROUNDS {
            objective.stand(&weights)?;
            let Some(form) = objective.quadratic() else { break };
            let solved = match method {
                Method::NonNegative => simplex(&form, ridge),
                _ => sum_one(&form, ridge),
            };
            let next = solved.map_err(|dependent| dependent.error(self.problem.name(dependent.0)))?;
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
        let score = match self.problem.config.metric {
            Metric::Mse => GramScore::Mse,
            Metric::Rmse => GramScore::Rmse,
            _ => GramScore::R2,
        };
        let rules = &self.problem.rules;
        let zero = rules.zero.as_ref().map(|(mean, std)| (mean.as_slice(), std.as_slice()));
        GramObjective::new(gram, score, columns, &rules.fixed, zero)
    }

    fn judge(&self, free: &[usize], threshold: Option<f64>) -> Result<Judge> {
        let problem = self.problem;
        let config = problem.config;
        let threshold = match threshold {
            Some(threshold) => Threshold::Fixed(threshold),
            None if config.search_threshold => Threshold::Searched,
            None => Threshold::Fixed(config.threshold),
        };
        let asked = Asked {
            metric: config.metric,
            classes: problem.classes,
            weights: problem.weights.as_deref(),
            threshold,
            labels: problem.labels.as_deref(),
        };
        Judge::new(asked, problem.table, &problem.truth, free)
    }

    /// The quick way to the same score, where there is one.
    fn fast(&self, columns: &[usize]) -> Result<Option<Several<'_>>> {
        let problem = self.problem;
        let config = problem.config;
        if problem.command.is_some() {
            return Ok(None);
        }
        let free: Vec<usize> = columns.iter().copied().filter(|c| !problem.rules.fixed.contains(c)).collect();
        // Says what is wrong with the truth.
        self.judge(&free, None)?;
        // Very many columns are read where they are, trial by trial, and not copied.
        if free.len() > 1 && problem.rows() * free.len() * self.models.len() > COPIED {
            return Ok(None);
        }
        let threshold = if config.search_threshold { Threshold::Searched } else { Threshold::Fixed(config.threshold) };
        let asked = |column: Option<usize>| Quick {
            metric: config.metric,
            classes: problem.classes,
            blending: problem.blending(),
            threshold,
            weights: problem.weights.as_deref(),
            labels: column.and_then(|c| problem.labels.as_ref().map(|known| known[c])),
            table: problem.table,
            truth: &problem.truth,
        };
        let only = if let [only] = free.as_slice() { Some(*only) } else { None };
        if let Some(joint) = Fast::new(asked(only), &self.models, &free)? {
            return Ok(Some(Several(vec![joint])));
        }
        let joint = config.metric.of_labels() || matches!(config.metric, Metric::Logloss | Metric::Brier);
        if only.is_some() || problem.classes && joint {
            return Ok(None);
        }
        let each = |&c: &usize| Fast::new(asked(Some(c)), &self.models, &[c]);
        Ok(free.iter().map(each).collect::<Result<Option<Vec<_>>>>()?.map(Several))
    }

    /// Blends and measures, the blend turned back from its space.
    fn direct<'b>(
        &'b self,
        columns: &[usize],
        threshold: Option<f64>,
    ) -> Result<Direct<'b, impl Fn(&[f64]) -> Result<f64> + Sync + use<'p, 'b>>> {
        let problem = self.problem;
        let free: Vec<usize> = columns.iter().copied().filter(|c| !problem.rules.fixed.contains(c)).collect();
        let judge = if problem.command.is_some() { None } else { Some(self.judge(&free, threshold)?) };
        let (blending, width) = (problem.blending(), problem.truth.columns());
        let (shown, truth) = (problem.config.shown(), &problem.truth);
        Ok(Direct::new(&self.models, move |values| {
            let back;
            let values: &[f64] = if problem.config.space == Space::Value {
                values
            } else {
                back = blending.back_all(values, width);
                &back
            };
            Ok(match (&problem.command, &judge) {
                (Some(command), _) => shown.signed(command.ask(truth, values)?),
                (None, Some(judge)) => judge.score(values),
                (None, None) => f64::NAN,
            })
        }))
    }
}

fn scope(
    name: &str,
    columns: Vec<usize>,
    found: Climbed,
    bags: Vec<Bag>,
    others: Vec<(&'static str, Option<f64>)>,
) -> Scope {
    let Climbed { weights, score, singles, moves } = found;
    Scope { name: name.into(), columns, weights, score, singles, moves, bags, others }
}
