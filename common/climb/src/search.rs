//! The hill climb.

use crate::objective::Objective;
use common::{Error, Result};

/// Weights nearer to zero than this are not tried: the published grid holds a residue of 1e-16 in place of 0, and
/// accepting it on rounding noise would use up a model.
const NO_WEIGHT: f64 = 1e-9;
/// Exchanges that polishing makes at most, per model.
const EXCHANGES: usize = 1000;

/// Which steps a candidate is tried with.
#[derive(Debug, Clone, PartialEq)]
pub enum Trials {
    /// These weights, in this order; among equally good ones the first wins.
    Grid(Vec<f64>),
    /// The best weight between two bounds, in closed form.
    Continuous {
        /// Smallest step.
        min: f64,
        /// Largest step.
        max: f64,
    },
}

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps to try.
    pub trials: Trials,
    /// Whether a model stays a candidate after it was taken.
    pub replacement: bool,
    /// A step must raise the score by more than this.
    pub tolerance: f64,
    /// Accepted steps at most, the start not counted.
    pub max_steps: Option<usize>,
    /// Smallest and largest weight that any model may have in the end.
    pub bounds: Option<(f64, f64)>,
    /// Whether to exchange weight between pairs of models at the end until nothing is gained.
    pub polish: bool,
    /// Where to start.
    pub start: Start,
    /// Models with a weight at most.
    pub max_models: Option<usize>,
    /// The only models that may get a weight, ascending; none is all.
    pub among: Option<Vec<usize>>,
    /// The model that predicts nothing, by which the weights of the others need not sum to one. It counts for no model.
    pub nothing: Option<usize>,
}

/// Where a climb starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// The best model alone.
    Best,
    /// The same weight for every model.
    Equal,
    /// These weights, with sum 1.
    Given(Vec<f64>),
}

impl Plan {
    /// The search of `hillclimbers` 0.1.4 for a step and with or without negative weights.
    pub fn published(negative: bool, step: f64) -> Self {
        let trials = Trials::Grid(published_grid(negative, step));
        Self {
            trials,
            replacement: false,
            tolerance: 1e-12,
            max_steps: None,
            bounds: None,
            polish: false,
            start: Start::Best,
            max_models: None,
            among: None,
            nothing: None,
        }
    }
}

/// The published grid: from -0.5 (or from `step`) while below 0.51.
pub fn published_grid(negative: bool, step: f64) -> Vec<f64> {
    arange(if negative { -0.5 } else { step }, 0.51, step)
}

/// A grid of our own: multiples of `step` from `min` to `max`, both ends included.
pub fn grid(min: f64, max: f64, step: f64) -> Vec<f64> {
    let count = ((max - min) / step + 1e-9).floor();
    (0..=count.max(0.0) as usize).map(|i| min + i as f64 * step).collect()
}

/// NumPy's `arange`: the increment is `(start + step) - start` as rounded, and the parity of the search hangs on it.
fn arange(start: f64, stop: f64, step: f64) -> Vec<f64> {
    let count = ((stop - start) / step).ceil().max(0.0) as usize;
    let increment = (start + step) - start;
    (0..count).map(|i| start + i as f64 * increment).collect()
}

/// The same weight for every model.
pub fn equal(models: usize) -> Vec<f64> {
    vec![1.0 / models as f64; models]
}

/// What an accepted step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveKind {
    /// The best single model, or the best ones if the bounds allow no weight of 1.
    Start,
    /// A model was mixed in: `(1 - weight) * blend + weight * model`.
    Climb,
    /// Weight went from one model to another.
    Polish,
}

impl MoveKind {
    /// The word used in the history file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Climb => "climb",
            Self::Polish => "polish",
        }
    }
}

/// One accepted step.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// What was done.
    pub kind: MoveKind,
    /// The model that gained weight (or lost it, at a negative weight).
    pub model: usize,
    /// The model that gave weight, when polishing.
    pub from: Option<usize>,
    /// Weight of the step.
    pub weight: f64,
    /// Score after it.
    pub score: f64,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Climbed {
    /// Weight of every model; their sum is 1.
    pub weights: Vec<f64>,
    /// Score of the blend.
    pub score: f64,
    /// Score of every model alone.
    pub singles: Vec<f64>,
    /// Every accepted step, the start first.
    pub moves: Vec<Move>,
}

/// Climbs from the start of the plan. Equal scores keep the order of the models and of the grid.
pub fn climb(objective: &mut impl Objective, plan: &Plan) -> Result<Climbed> {
    let models = objective.models();
    let mut singles = Vec::with_capacity(models);
    for k in 0..models {
        let mut alone = vec![0.0; models];
        alone[k] = 1.0;
        singles.push(objective.score(&alone)?);
    }
    let mut candidates: Vec<usize> = plan.among.clone().unwrap_or_else(|| (0..models).collect());
    candidates.sort_by(|&a, &b| singles[b].total_cmp(&singles[a]));
    let mut weights = started(plan, &candidates, models)?;
    if let (Some(most), count) = (plan.max_models, plan.count(&weights))
        && count > most
    {
        return Err(Error::usage(format!("the climb starts with {count} models, but `max_models` is {most}"))
            .hint("start from fewer models, or allow more"));
    }
    let mut score = objective.stand(&weights)?;
    let mut moves: Vec<Move> = candidates
        .iter()
        .filter(|&&k| weights[k] != 0.0)
        .map(|&model| Move { kind: MoveKind::Start, model, from: None, weight: weights[model], score })
        .collect();
    let started = moves.len();
    // What a start took by itself may be taken again; otherwise equal weights could not be climbed from.
    if !plan.replacement && plan.start == Start::Best {
        candidates.retain(|&k| weights[k] == 0.0);
    }

    while plan.max_steps.is_none_or(|most| moves.len() < started + most) {
        let Some((model, weight)) = best_step(objective, plan, &candidates, &weights, score)? else { break };
        for a in &mut weights {
            *a *= 1.0 - weight;
        }
        weights[model] += weight;
        score = objective.stand(&weights)?;
        moves.push(Move { kind: MoveKind::Climb, model, from: None, weight, score });
        if !plan.replacement {
            candidates.retain(|&k| k != model);
        }
    }
    if plan.polish {
        for _ in 0..EXCHANGES * models {
            let Some((from, to, weight, exchanged)) = best_exchange(objective, plan, &weights, score)? else { break };
            weights = exchanged;
            score = objective.stand(&weights)?;
            moves.push(Move { kind: MoveKind::Polish, model: to, from: Some(from), weight, score });
        }
    }
    Ok(Climbed { weights, score, singles, moves })
}

/// The step with the highest score, if it gains more than the tolerance.
fn best_step(
    objective: &impl Objective,
    plan: &Plan,
    candidates: &[usize],
    weights: &[f64],
    score: f64,
) -> Result<Option<(usize, f64)>> {
    let full = plan.max_models.is_some_and(|most| plan.count(weights) >= most);
    let mut trials = Vec::with_capacity(candidates.len());
    for &model in candidates {
        if full && weights[model] == 0.0 && plan.nothing != Some(model) {
            continue;
        }
        let steps = match &plan.trials {
            Trials::Grid(steps) => steps.clone(),
            Trials::Continuous { min, max } => closed_form(objective, model, weights, (*min, *max), plan.bounds)?,
        };
        let steps: Vec<f64> =
            steps.into_iter().filter(|w| w.abs() >= NO_WEIGHT && allowed(weights, model, *w, plan.bounds)).collect();
        trials.push((model, steps));
    }
    let found = objective.best(&trials, score + plan.tolerance)?;
    Ok(found.map(|(model, weight, _)| (model, weight)))
}

/// The minimum of the objective's quadratic form along the line to a model, cut to the ranges.
fn closed_form(
    objective: &impl Objective,
    model: usize,
    weights: &[f64],
    (mut min, mut max): (f64, f64),
    bounds: Option<(f64, f64)>,
) -> Result<Vec<f64>> {
    let form = quadratic(objective)?;
    let slope = form.times(weights);
    let here: f64 = weights.iter().zip(&slope).map(|(a, b)| a * b).sum();
    let curvature = here - 2.0 * slope[model] + form.at(model, model);
    if curvature <= 0.0 {
        return Ok(Vec::new());
    }
    if let Some((low, high)) = bounds {
        for (i, &a) in weights.iter().enumerate() {
            let direction = if i == model { 1.0 - a } else { -a };
            if direction != 0.0 {
                let (one, other) = ((low - a) / direction, (high - a) / direction);
                min = min.max(one.min(other));
                max = max.min(one.max(other));
            }
        }
    }
    Ok(vec![((here - slope[model]) / curvature).max(min).min(max)])
}

/// The pair `(from, to, weight, weights after it)` whose exchange gains most.
#[allow(clippy::type_complexity)]
fn best_exchange(
    objective: &impl Objective,
    plan: &Plan,
    weights: &[f64],
    score: f64,
) -> Result<Option<(usize, usize, f64, Vec<f64>)>> {
    let form = quadratic(objective)?;
    let slope = form.times(weights);
    let bounds = plan.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let mut pairs = Vec::new();
    let models: Vec<usize> = plan.among.clone().unwrap_or_else(|| (0..weights.len()).collect());
    for &from in &models {
        for &to in models.iter().filter(|&&to| to != from) {
            let curvature = form.at(from, from) + form.at(to, to) - 2.0 * form.at(from, to);
            // One direction a pair: the other one is the same exchange with the sign turned.
            if curvature <= 0.0 || slope[from] <= slope[to] {
                continue;
            }
            let most = (weights[from] - bounds.0).min(bounds.1 - weights[to]).max(0.0);
            let weight = ((slope[from] - slope[to]) / curvature).min(most);
            if weight > 0.0 {
                let gain = weight * (2.0 * (slope[from] - slope[to]) - weight * curvature);
                pairs.push((gain, from, to, weight));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, from, to, weight) in pairs {
        let mut exchanged = weights.to_vec();
        exchanged[from] -= weight;
        exchanged[to] += weight;
        if objective.score(&exchanged)? > score + plan.tolerance {
            return Ok(Some((from, to, weight, exchanged)));
        }
    }
    Ok(None)
}

fn quadratic(objective: &impl Objective) -> Result<super::Square> {
    objective.quadratic().ok_or_else(|| {
        Error::usage("continuous steps and polishing need a score of squared errors")
            .hint("choose the metric `r2`, `mse` or `rmse`, or search on a grid without polishing")
    })
}

impl Plan {
    /// Number of models with a weight.
    fn count(&self, weights: &[f64]) -> usize {
        (0..weights.len()).filter(|&k| weights[k] != 0.0 && self.nothing != Some(k)).count()
    }
}

/// The first weights of all `models`, of which the `ranked` ones take part.
fn started(plan: &Plan, ranked: &[usize], models: usize) -> Result<Vec<f64>> {
    let best = || start(ranked, models, plan.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)));
    let mut weights = vec![0.0; models];
    match &plan.start {
        Start::Best => return best(),
        Start::Equal => {
            let taken: Vec<usize> = ranked.iter().copied().filter(|&k| plan.nothing != Some(k)).collect();
            taken.iter().for_each(|&k| weights[k] = 1.0 / taken.len() as f64);
        }
        Start::Given(given) => {
            let sum: f64 = ranked.iter().map(|&k| given[k]).sum();
            // A subset of the models may have none of the given weight.
            if sum.abs() < NO_WEIGHT {
                return best();
            }
            ranked.iter().for_each(|&k| weights[k] = given[k] / sum);
        }
    }
    if let Some((low, high)) = plan.bounds
        && let Some(weight) = weights.iter().find(|w| !(low - 1e-12..=high + 1e-12).contains(*w))
    {
        return Err(Error::usage(format!("the climb starts with a weight of {weight}, outside of {low} to {high}"))
            .hint("start from the best model, or widen the range"));
    }
    Ok(weights)
}

/// Where the climb starts: all weight on the best model or, where the bounds forbid that, as much on the best ones as
/// they allow.
fn start(ranked: &[usize], all: usize, (low, high): (f64, f64)) -> Result<Vec<f64>> {
    let models = ranked.len();
    if models == 0 {
        return Err(Error::failed("nothing to blend: no models"));
    }
    let least = low.max(0.0).min(high);
    let mut weights = vec![0.0; all];
    ranked.iter().for_each(|&k| weights[k] = least);
    let mut rest = 1.0 - least * models as f64;
    for &k in ranked {
        let more = rest.min(high - least);
        weights[k] += more;
        rest -= more;
        if rest == 0.0 {
            break;
        }
    }
    if rest.abs() > 1e-12 {
        return Err(Error::usage(format!("{models} weights between {low} and {high} cannot sum to 1")));
    }
    Ok(weights)
}

/// Whether a step keeps all weights in bounds.
fn allowed(weights: &[f64], model: usize, step: f64, bounds: Option<(f64, f64)>) -> bool {
    let Some((low, high)) = bounds else { return true };
    weights.iter().enumerate().all(|(i, &a)| {
        let moved = (1.0 - step) * a + if i == model { step } else { 0.0 };
        (low - 1e-12..=high + 1e-12).contains(&moved)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Direct, Gram, GramObjective, GramScore, sum_one};
    use super::*;
    use common::metrics::{ColumnSums, Matrix, Rules, Scores};
    use common::seed::rng_for;
    use rand::RngExt;

    const ROWS: usize = 200;
    const COLUMNS: usize = 6;

    /// A truth and models that see it with noise, each with one column worse than nothing.
    fn data(models: usize, index: u64) -> (Vec<f32>, Vec<Vec<f32>>) {
        let mut rng = rng_for(index, "climb", 0);
        let y: Vec<f32> = (0..ROWS * COLUMNS).map(|_| rng.random_range(-1.0..1.0)).collect();
        let shared: Vec<f32> = (0..ROWS * COLUMNS).map(|_| rng.random_range(-0.4..0.4)).collect();
        let model = |k: usize, rng: &mut rand_pcg::Pcg64| {
            let share = 0.6 + 0.3 * k as f32;
            let noise =
                |i: usize, rng: &mut rand_pcg::Pcg64| if i % COLUMNS == 5 { 3.0 } else { rng.random_range(-0.5..0.5) };
            y.iter().zip(&shared).enumerate().map(|(i, (y, s))| y + share * s + noise(i, rng)).collect()
        };
        let p = (0..models).map(|k| model(k, &mut rng)).collect();
        (y, p)
    }

    fn matrices(p: &[Vec<f32>]) -> Vec<Matrix<'_>> {
        p.iter().map(|p| Matrix::f32(p, COLUMNS).unwrap()).collect()
    }

    fn all() -> Vec<usize> {
        (0..COLUMNS).collect()
    }

    #[test]
    fn the_published_grids_are_those_of_numpy() {
        let fine = published_grid(true, 0.01);
        assert_eq!((fine.len(), fine[0]), (101, -0.5));
        assert_eq!(fine[1] - fine[0], 0.010000000000000009);
        assert!(fine[50] != 0.0 && fine[50].abs() < 1e-14);
        assert_eq!(published_grid(true, 0.05).len(), 21);
        assert_eq!(published_grid(false, 0.01).len(), 50);
        assert_eq!(published_grid(false, 0.05).len(), 10);
        assert_eq!(grid(-0.1, 0.1, 0.05).len(), 5);
    }

    #[test]
    fn gram_and_direct_scores_climb_the_same_way() {
        let (y, p) = data(5, 1);
        let (truth, models) = (Matrix::f32(&y, COLUMNS).unwrap(), matrices(&p));
        let gram = Gram::of(&truth, &models).unwrap();
        let mean = vec![0.05; COLUMNS];
        let std = vec![1.0; COLUMNS];
        let rules = Rules { fixed: vec![2], zero: Some((mean.clone(), std.clone())) };
        let by_r2 = |e: &[f64]| -> Result<f64> {
            Ok(Scores::new(&ColumnSums::of(&truth, &Matrix::f64(e, COLUMNS)?)?, &rules).mean())
        };
        let by_rmse = |e: &[f64]| -> Result<f64> {
            let sums = ColumnSums::of(&truth, &Matrix::f64(e, COLUMNS).unwrap()).unwrap();
            Ok(-common::metrics::mean(&all().into_iter().map(|c| sums.rmse(c)).collect::<Vec<_>>()))
        };
        let plan = Plan { replacement: true, max_steps: Some(12), ..Plan::published(true, 0.05) };
        let check = |mut exact: GramObjective, direct: Climbed| {
            let exact = climb(&mut exact, &plan).unwrap();
            assert!(exact.moves.len() > 3, "{exact:?}");
            for (a, b) in exact.moves.iter().zip(&direct.moves) {
                assert_eq!((a.kind, a.model, a.weight), (b.kind, b.model, b.weight));
                assert!((a.score - b.score).abs() < 1e-12);
            }
        };
        let exact = GramObjective::new(&gram, GramScore::R2, &all(), &[2], Some((&mean, &std))).unwrap();
        check(exact, climb(&mut Direct::new(&models, by_r2), &plan).unwrap());
        let exact = GramObjective::new(&gram, GramScore::Rmse, &all(), &[], None).unwrap();
        check(exact, climb(&mut Direct::new(&models, by_rmse), &plan).unwrap());
    }

    #[test]
    fn weights_sum_to_one_and_each_move_raises_the_score() {
        let (y, p) = data(6, 2);
        let gram = Gram::of(&Matrix::f32(&y, COLUMNS).unwrap(), &matrices(&p)).unwrap();
        for replacement in [false, true] {
            let mut objective = GramObjective::new(&gram, GramScore::R2, &all(), &[], None).unwrap();
            let found = climb(&mut objective, &Plan { replacement, ..Plan::published(true, 0.01) }).unwrap();
            assert!((found.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(found.moves.windows(2).all(|pair| pair[1].score > pair[0].score));
            assert!((objective.score(&found.weights).unwrap() - found.score).abs() < 1e-14);
            let used: std::collections::BTreeSet<usize> = found.moves.iter().map(|m| m.model).collect();
            assert!(replacement || used.len() == found.moves.len());
        }
    }

    #[test]
    fn polishing_a_continuous_climb_reaches_the_closed_form_optimum() {
        let (y, p) = data(5, 3);
        let gram = Gram::of(&Matrix::f32(&y, COLUMNS).unwrap(), &matrices(&p)).unwrap();
        let mut objective = GramObjective::new(&gram, GramScore::R2, &all(), &[], None).unwrap();
        let plan = Plan {
            trials: Trials::Continuous { min: -0.5, max: 0.5 },
            replacement: true,
            tolerance: 0.0,
            max_steps: Some(30),
            polish: true,
            ..Plan::published(true, 0.05)
        };
        let found = climb(&mut objective, &plan).unwrap();
        let optimum = sum_one(&objective.quadratic().unwrap(), 0.0).unwrap();
        let best = objective.score(&optimum).unwrap();
        assert!(found.score <= best + 1e-13 && found.score > best - 1e-9, "{} against {best}", found.score);
    }

    #[test]
    fn bounds_hold_for_the_final_weights() {
        let (y, p) = data(5, 4);
        let gram = Gram::of(&Matrix::f32(&y, COLUMNS).unwrap(), &matrices(&p)).unwrap();
        for trials in [Trials::Grid(grid(-0.5, 0.5, 0.05)), Trials::Continuous { min: -0.5, max: 0.5 }] {
            let mut objective = GramObjective::new(&gram, GramScore::R2, &all(), &[], None).unwrap();
            let plan = Plan {
                trials,
                replacement: true,
                bounds: Some((0.0, 0.4)),
                polish: true,
                ..Plan::published(true, 0.05)
            };
            let found = climb(&mut objective, &plan).unwrap();
            assert!(found.weights.iter().all(|a| (-1e-12..=0.4 + 1e-12).contains(a)), "{:?}", found.weights);
        }
        let mut objective = GramObjective::new(&gram, GramScore::R2, &all(), &[], None).unwrap();
        let impossible = Plan { bounds: Some((0.0, 0.1)), ..Plan::published(true, 0.05) };
        let error = climb(&mut objective, &impossible).unwrap_err();
        assert_eq!(error.to_string(), "5 weights between 0 and 0.1 cannot sum to 1");
    }

    #[test]
    fn starts_subsets_and_limits_are_kept() {
        let (y, p) = data(5, 6);
        let gram = Gram::of(&Matrix::f32(&y, COLUMNS).unwrap(), &matrices(&p)).unwrap();
        let run = |plan: &Plan| climb(&mut GramObjective::new(&gram, GramScore::Mse, &all(), &[], None).unwrap(), plan);
        let plan = Plan { replacement: true, ..Plan::published(true, 0.05) };
        let used = |weights: &[f64]| weights.iter().filter(|w| **w != 0.0).count();
        let free = run(&plan).unwrap();
        assert!(used(&free.weights) > 2, "{:?}", free.weights);
        let few = run(&Plan { max_models: Some(2), ..plan.clone() }).unwrap();
        assert!(used(&few.weights) == 2 && few.score < free.score, "{:?}", few.weights);
        let some = run(&Plan { among: Some(vec![1, 3, 4]), ..plan.clone() }).unwrap();
        assert!(some.weights[0] == 0.0 && some.weights[2] == 0.0 && some.score < free.score);
        let from = run(&Plan { start: Start::Equal, max_steps: Some(0), ..plan.clone() }).unwrap();
        assert_eq!(from.weights, equal(5));
        let given = vec![0.5, 0.0, 0.5, 0.0, 0.0];
        let start = Start::Given(given.clone());
        let from = run(&Plan { start: start.clone(), max_steps: Some(0), ..plan.clone() }).unwrap();
        assert_eq!(from.weights, given);
        let among = Some(vec![1, 2]);
        let from = run(&Plan { start, among, max_steps: Some(0), ..plan.clone() }).unwrap();
        assert_eq!(from.weights, [0.0, 0.0, 1.0, 0.0, 0.0]);
        let error = run(&Plan { start: Start::Equal, max_models: Some(2), ..plan }).unwrap_err();
        assert!(error.to_string().contains("starts with 5 models"), "{error}");
    }

    #[test]
    fn equal_models_are_taken_in_the_order_given() {
        let (y, mut p) = data(3, 5);
        p[2] = p[1].clone();
        let gram = Gram::of(&Matrix::f32(&y, COLUMNS).unwrap(), &matrices(&p)).unwrap();
        let mut objective = GramObjective::new(&gram, GramScore::Mse, &all(), &[], None).unwrap();
        let found = climb(&mut objective, &Plan::published(false, 0.05)).unwrap();
        let order: Vec<usize> = found.moves.iter().map(|m| m.model).collect();
        let at = |k| order.iter().position(|&m| m == k).unwrap_or(usize::MAX);
        assert!(at(1) <= at(2), "{order:?}");
    }
}
