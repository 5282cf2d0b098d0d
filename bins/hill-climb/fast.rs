//! Scores that are searched by passes over the data, made quick: threads over trials, rows in the order of their classes, and
//! trials that cannot win are given up as soon as that is certain. What is found is what every trial in full would find.
//!
//! Sums of losses and areas are given up by partial sums and counts; labels are not decided for every trial, but where they
//! change along the line to a model ([`decide`]); correlations follow from products that are taken once a step.

mod build;
mod decide;
mod losses;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use climb::ranks::key;
use climb::space::Blending;
use climb::{Metric, Objective, Space, Square};
use common::{Error, Result};
use rayon::prelude::*;

use crate::hill_climb::curve::{Curve, Scratch};
use crate::hill_climb::judge::clipped;
use crate::hill_climb::labels::of_confusion;
use crate::hill_climb::ordered::{Falling, correlation, falling, ranks};
use crate::hill_climb::samples::Samples;
pub use build::Quick;
use decide::Decision;
use losses::{Finish, Loss, logarithms, summed};

/// What is counted or summed.
enum Kind {
    /// Area below the receiver's curve, of two classes, unweighted.
    Auc,
    /// Log loss of two classes.
    Logloss,
    /// Log loss of the probability that a row's own class was given.
    OwnClass,
    /// A score of labels.
    Labels(Metric, Decision),
    /// A sum of losses.
    Sum(Loss, Finish),
    /// A mean of losses of whole rows.
    Rows(RowLoss),
    /// Pearson's correlation of numbers that are centred and, where rows have weights, scaled by their roots.
    Pearson { squares: f64 },
    /// What needs all rows at once.
    Whole(Whole),
}

enum RowLoss {
    OwnClass,
    Brier,
    Crps(Samples),
    Angle(Samples),
}

enum Whole {
    Auc,
    AveragePrecision,
    /// The truth is ranked already.
    Spearman,
    Pearson,
    Threshold(Metric),
}

/// An objective for one column of numbers, a column a class, or columns that are judged together.
pub struct Fast<'a> {
    kind: Kind,
    blending: Blending,
    /// Numbers a row.
    width: usize,
    /// Members, row-major; where there are classes, rows are in their order.
    models: Vec<Cow<'a, [f64]>>,
    /// The truth, row by row as the members; where there are classes, positions of them.
    truth: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// Sum of the weights, or number of rows.
    total: f64,
    /// Where the rows of every class end.
    ends: Vec<usize>,
    current: Vec<f64>,
    curve: Curve,
    /// Products with the current blend: of itself, of every model; and of every model with the truth and itself.
    products: Products,
}

#[derive(Default)]
struct Products {
    current: [f64; 2],
    cross: Vec<f64>,
    truth: Vec<f64>,
    own: Vec<f64>,
}

impl Fast<'_> {
    fn rows(&self) -> usize {
        self.truth.len() / self.truth_width()
    }

    /// Numbers of the truth a row.
    fn truth_width(&self) -> usize {
        match self.kind {
            Kind::Sum(..) | Kind::Rows(RowLoss::Angle(_)) => self.width,
            _ => 1,
        }
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    fn blend(&self, weights: &[f64]) -> Vec<f64> {
        let mut total = vec![0.0; self.models.first().map_or(0, |model| model.len())];
        total.par_chunks_mut(1 << 14).enumerate().for_each(|(chunk, out)| {
            let from = chunk << 14;
            for (model, &weight) in self.models.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                out.iter_mut().zip(&model[from..]).for_each(|(sum, value)| *sum += weight * value);
            }
        });
        total
    }

    /// The score of blended numbers `z`, turned back from their space; nothing where it is certain to be below `floor`.
    fn scored(&self, scratch: &mut Scratch, floor: f64, z: &impl Fn(usize) -> f64) -> Option<f64> {
        let blending = self.blending;
        match blending.space {
            Space::Value | Space::Rank => self.judged(scratch, floor, z),
            Space::Logit => self.judged(scratch, floor, &|i| Blending::new(Space::Logit, false).back(z(i))),
            Space::Geometric => self.judged(scratch, floor, &|i| Blending::new(Space::Geometric, false).back(z(i))),
        }
    }

    fn judged(&self, scratch: &mut Scratch, floor: f64, at: &impl Fn(usize) -> f64) -> Option<f64> {
        let rows = self.rows();
        let mean = Finish::Mean(self.total);
        match &self.kind {
            Kind::Auc => self.curve.area(self.ends[0], rows, scratch, floor, at),
            Kind::Logloss => {
                let (split, most) = (self.ends[0], mean.most(floor));
                let sum = match &self.weights {
                    None => {
                        let first = logarithms(0..split, 0.0, most, |row| 1.0 - clipped(at(row)))?;
                        logarithms(split..rows, first, most, |row| clipped(at(row)))?
                    }
                    Some(weights) => {
                        let first = summed(0..split, 0.0, most, |row| -weights[row] * (1.0 - clipped(at(row))).ln())?;
                        summed(split..rows, first, most, |row| -weights[row] * clipped(at(row)).ln())?
                    }
                };
                Some(mean.score(sum))
            }
            Kind::OwnClass => {
                let most = mean.most(floor);
                let sum = match &self.weights {
                    None => logarithms(0..rows, 0.0, most, |row| clipped(at(row)))?,
                    Some(weights) => summed(0..rows, 0.0, most, |row| -weights[row] * clipped(at(row)).ln())?,
                };
                Some(mean.score(sum))
            }
            Kind::Labels(metric, decision) => {
                let mut start = 0;
                let mut table = Vec::with_capacity(self.ends.len());
                for &end in &self.ends {
                    let mut counts = vec![0.0; decision.labels()];
                    (start..end).for_each(|row| counts[decision.label(row, at)] += self.weight(row));
                    table.push(counts);
                    start = end;
                }
                Some(metric.signed(of_confusion(*metric, &table)))
            }
            Kind::Sum(loss, finish) => {
                let (most, y) = (finish.most(floor), self.truth.as_slice());
                let sum = match &self.weights {
                    None => loss.sum(y, most, at, |_| 1.0),
                    Some(weights) if self.width == 1 => loss.sum(y, most, at, |i| weights[i]),
                    Some(weights) => loss.sum(y, most, at, |i| weights[i / self.width]),
                };
                sum.map(|sum| finish.score(sum))
            }
            Kind::Rows(loss) => self.of_rows(loss, mean.most(floor), at).map(|sum| mean.score(sum)),
            Kind::Pearson { squares } => {
                let (mut both, mut own) = (0.0, 0.0);
                for (row, y) in self.truth.iter().enumerate() {
                    let p = at(row);
                    both += y * p;
                    own += p * p;
                }
                Some(related(both, own, *squares))
            }
            Kind::Whole(score) => {
                let values = &mut scratch.whole;
                values.clear();
                values.extend((0..rows).map(at));
                self.of_all(score, scratch)
            }
        }
    }

    /// A sum of losses of whole rows.
    fn of_rows(&self, loss: &RowLoss, most: f64, at: &impl Fn(usize) -> f64) -> Option<f64> {
        let width = self.width;
        let (mut row, mut sorted) = (vec![0.0; width], vec![0.0; width]);
        let mut total = 0.0;
        for r in 0..self.rows() {
            row.iter_mut().enumerate().for_each(|(k, value)| *value = at(r * width + k));
            self.blending.close(&mut row);
            total += self.weight(r)
                * match loss {
                    RowLoss::OwnClass => -clipped(row[self.truth[r] as usize]).ln(),
                    RowLoss::Brier => {
                        let of = |(k, p): (usize, &f64)| (p - f64::from(u8::from(k as f64 == self.truth[r]))).powi(2);
                        row.iter().enumerate().map(of).sum::<f64>()
                    }
                    RowLoss::Crps(samples) => samples.crps(self.truth[r], &row, &mut sorted),
                    RowLoss::Angle(samples) => samples.angle(&self.truth[r * width..(r + 1) * width], &row),
                };
            if total > most {
                return None;
            }
        }
        Some(total)
    }

    /// A score of all numbers in `scratch.whole`.
    fn of_all(&self, score: &Whole, scratch: &mut Scratch) -> Option<f64> {
        if let Whole::Pearson = score {
            return Some(correlation(&self.truth, &scratch.whole, self.weights.as_deref()));
        }
        let split = self.ends.first().copied().unwrap_or(0);
        let order = if self.current.is_empty() { falling(&scratch.whole) } else { self.curve.falling(scratch) };
        let rows = Falling {
            order: &order,
            values: &scratch.whole,
            positive: |row| row >= split,
            weight: |row| self.weight(row),
        };
        let found = match score {
            Whole::Auc => rows.areas().0,
            Whole::AveragePrecision => rows.areas().1,
            Whole::Threshold(metric) => metric.signed(rows.threshold(*metric).1),
            Whole::Spearman | Whole::Pearson => {
                ranks(&order, &scratch.whole, &mut scratch.ranks);
                correlation(&self.truth, &scratch.ranks, self.weights.as_deref())
            }
        };
        scratch.order = order;
        Some(found)
    }

    fn whole(&self, values: &[f64]) -> Result<f64> {
        let score = self.scored(&mut Scratch::default(), f64::NEG_INFINITY, &|i| values[i]);
        score.filter(|score| !score.is_nan()).ok_or_else(|| Error::failed("the metric of a blend is not a number"))
    }

    fn trial(&self, scratch: &mut Scratch, model: usize, w: f64, floor: f64) -> Option<f64> {
        if let Kind::Pearson { squares } = self.kind {
            let Products { current, cross, truth, own } = &self.products;
            let keep = 1.0 - w;
            let both = keep * current[0] + w * truth[model];
            let squared = keep * keep * current[1] + 2.0 * w * keep * cross[model] + w * w * own[model];
            return Some(related(both, squared, squares));
        }
        let (current, model) = (self.current.as_slice(), &self.models[model][..self.current.len()]);
        self.scored(scratch, floor, &|i| (1.0 - w) * current[i] + w * model[i])
    }

    /// Scores of all steps to a model at once, where labels are followed along the line.
    fn along(&self, model: usize, steps: &[f64]) -> Option<Vec<f64>> {
        let Kind::Labels(metric, decision) = &self.kind else { return None };
        if !matches!(self.blending.space, Space::Value | Space::Rank) {
            return None;
        }
        let (current, model) = (self.current.as_slice(), &self.models[model][..self.current.len()]);
        let tables = decision.along(current, model, steps, &self.ends, &|row| self.weight(row))?;
        Some(tables.into_iter().map(|table| metric.signed(of_confusion(*metric, &table))).collect())
    }
}

/// A correlation from centred products, 0 without variance.
fn related(both: f64, own: f64, squares: f64) -> f64 {
    if own > 0.0 && squares > 0.0 { both / (own.sqrt() * squares.sqrt()) } else { 0.0 }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    let blocks = a.par_chunks(1 << 14).zip(b.par_chunks(1 << 14));
    // Blocks are added in their order, whatever the number of threads.
    let parts: Vec<f64> = blocks.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).collect();
    parts.iter().sum()
}

impl Objective for Fast<'_> {
    fn models(&self) -> usize {
        self.models.len()
    }

    fn score(&self, weights: &[f64]) -> Result<f64> {
        self.whole(&self.blend(weights))
    }

    fn stand(&mut self, weights: &[f64]) -> Result<f64> {
        self.current = self.blend(weights);
        match self.kind {
            Kind::Auc | Kind::Whole(_) => {
                let back: Cow<[f64]> = match self.blending.space {
                    Space::Value | Space::Rank => Cow::Borrowed(&self.current),
                    _ => Cow::Owned(self.current.iter().map(|&z| self.blending.back(z)).collect()),
                };
                self.curve = Curve::new(&back);
            }
            Kind::Pearson { .. } => {
                if self.products.own.is_empty() {
                    self.products.truth = self.models.iter().map(|model| product(model, &self.truth)).collect();
                    self.products.own = self.models.iter().map(|model| product(model, model)).collect();
                }
                self.products.current = [product(&self.current, &self.truth), product(&self.current, &self.current)];
                self.products.cross = self.models.iter().map(|model| product(model, &self.current)).collect();
            }
            _ => {}
        }
        self.whole(&self.current)
    }

    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>> {
        if let Some(scores) = self.along(model, steps) {
            return Ok(scores);
        }
        let one = |scratch: &mut Scratch, w: &f64| {
            self.trial(scratch, model, *w, f64::NEG_INFINITY)
                .ok_or_else(|| Error::failed("the metric of a trial blend is not a number"))
        };
        steps.par_iter().map_init(Scratch::default, one).collect()
    }

    fn best(&self, trials: &[(usize, Vec<f64>)], floor: f64) -> Result<Option<(usize, f64, f64)>> {
        let pairs: Vec<(usize, f64)> =
            trials.iter().flat_map(|(model, steps)| steps.iter().map(move |w| (*model, *w))).collect();
        let lines: Option<Vec<Vec<f64>>> = trials.par_iter().map(|(model, steps)| self.along(*model, steps)).collect();
        let scores: Vec<Option<f64>> = match lines {
            Some(lines) => lines.into_iter().flatten().map(Some).collect(),
            None => self.tried(&pairs, floor),
        };
        let (mut most, mut found) = (floor, None);
        for ((model, weight), score) in pairs.into_iter().zip(scores) {
            if let Some(score) = score
                && score > most
            {
                most = score;
                found = Some((model, weight, score));
            }
        }
        Ok(found)
    }

    fn quadratic(&self) -> Option<Square> {
        None
    }
}

impl Fast<'_> {
    /// Scores of all trials that may be above `floor` and above those before.
    fn tried(&self, pairs: &[(usize, f64)], floor: f64) -> Vec<Option<f64>> {
        // Some trials of every model first: the sooner a good one is known, the more is given up.
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|i| i % 5 != 0);
        let best = AtomicU64::new(key(floor));
        let one = |scratch: &mut Scratch, &i: &usize| {
            let (model, w) = pairs[i];
            let score = self.trial(scratch, model, w, value(best.load(Ordering::Relaxed)));
            if let Some(score) = score {
                best.fetch_max(key(score), Ordering::Relaxed);
            }
            (i, score)
        };
        let mut scores: Vec<(usize, Option<f64>)> = order.par_iter().map_init(Scratch::default, one).collect();
        scores.sort_unstable_by_key(|(i, _)| *i);
        scores.into_iter().map(|(_, score)| score).collect()
    }
}

/// Columns that are judged one by one; their mean counts.
pub struct Several<'a>(pub Vec<Fast<'a>>);

impl Objective for Several<'_> {
    fn models(&self) -> usize {
        self.0.first().map_or(0, |column| column.models())
    }

    fn score(&self, weights: &[f64]) -> Result<f64> {
        let scores = self.0.iter().map(|column| column.score(weights)).collect::<Result<Vec<f64>>>()?;
        Ok(common::metrics::mean(&scores))
    }

    fn stand(&mut self, weights: &[f64]) -> Result<f64> {
        let scores = self.0.iter_mut().map(|column| column.stand(weights)).collect::<Result<Vec<f64>>>()?;
        Ok(common::metrics::mean(&scores))
    }

    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>> {
        if let [only] = self.0.as_slice() {
            return only.line(model, steps);
        }
        let lines = self.0.iter().map(|column| column.line(model, steps)).collect::<Result<Vec<Vec<f64>>>>()?;
        let of = |i: usize| common::metrics::mean(&lines.iter().map(|line| line[i]).collect::<Vec<f64>>());
        Ok((0..steps.len()).map(of).collect())
    }

    fn best(&self, trials: &[(usize, Vec<f64>)], floor: f64) -> Result<Option<(usize, f64, f64)>> {
        if let [only] = self.0.as_slice() {
            return only.best(trials, floor);
        }
        let (mut best, mut found) = (floor, None);
        for (model, steps) in trials {
            for (weight, score) in steps.iter().zip(self.line(*model, steps)?) {
                if score > best {
                    best = score;
                    found = Some((*model, *weight, score));
                }
            }
        }
        Ok(found)
    }

    fn quadratic(&self) -> Option<Square> {
        None
    }
}

/// The number of a [`key`].
fn value(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hill_climb::judge::{Asked, Judge, Threshold};
    use climb::{Direct, Plan, Trials, climb};
    use common::metrics::Matrix;
    use common::oof::Table;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn keys_lead_back_to_their_numbers() {
        for number in [-1.5, -0.0, 0.0, 1e-300, 0.25, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(value(key(number)), number);
        }
    }

    struct Case {
        metric: Metric,
        space: Space,
        threshold: Threshold,
        weighted: bool,
    }

    /// Climbs with the quick objective and with one that measures every trial, and compares every step.
    fn compare(case: &Case, y: &[f64], p: &[Vec<f64>], names: &[&str], classes: bool) {
        let Case { metric, space, threshold, weighted } = *case;
        let said = format!("{metric:?} {space:?} {threshold:?} {weighted}");
        let (width, blending) = (names.len(), Blending::new(space, classes));
        let spaced: Vec<Vec<f64>> = p
            .iter()
            .map(|p| {
                let mut p = p.clone();
                blending.forward_all(&mut p, width).unwrap();
                p
            })
            .collect();
        let models: Vec<Matrix> = spaced.iter().map(|p| Matrix::f64(p, width).unwrap()).collect();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let table = Table::loaded(std::path::Path::new("y"), y.to_vec(), names, None).unwrap();
        let truth = Matrix::f64(y, width).unwrap();
        let weights: Vec<f64> = (0..truth.rows()).map(|row| (row % 5) as f64 * 0.5).collect();
        let weights = weighted.then_some(weights.as_slice());
        let columns: Vec<usize> = (0..width).collect();
        let asked = Asked { metric, classes, weights, threshold, labels: None };
        let judge = Judge::new(asked, &table, &truth, &columns).unwrap();
        let quick = Quick { metric, classes, blending, threshold, weights, labels: None, table: &table, truth: &truth };
        let joint = columns.len() == 1 || Fast::new(quick, &models, &columns).unwrap().is_some();
        let parts: Vec<Vec<usize>> = if joint { vec![columns] } else { (0..width).map(|c| vec![c]).collect() };
        let fast = parts.iter().map(|c| Fast::new(quick, &models, c).unwrap().expect(&said)).collect();
        // No step is another's negative, and none is one half: from equal shares of two models, more of one is less of the
        // other, and rounding alone would tell which is better.
        let trials = Trials::Grid(climb::grid(-0.497, 0.5, 0.02));
        let plan = Plan { trials, replacement: true, max_steps: Some(5), ..Plan::published(true, 0.02) };
        let found = climb(&mut Several(fast), &plan).unwrap();
        let mut direct = Direct::new(&models, |z| Ok(judge.score(&blending.back_all(z, width))));
        let expected = climb(&mut direct, &plan).unwrap();
        assert_eq!(found.moves.len(), expected.moves.len(), "{said}");
        for (a, b) in found.moves.iter().zip(&expected.moves) {
            assert_eq!((a.model, a.weight), (b.model, b.weight), "{said}");
            let apart = (a.score - b.score).abs();
            assert!(apart < 1e-12 * b.score.abs().max(1.0), "{said}: {} {}", a.score, b.score);
        }
        for (a, b) in found.singles.iter().zip(&expected.singles) {
            assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{said}: {a} {b}");
        }
    }

    /// Labels from 0 and numbers near them in `0..=1` times `classes - 1`, rounded.
    fn labels(rows: usize, classes: u32, digits: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
        let mut rng = rng_for(8, "fast", u64::from(classes));
        let y: Vec<f64> = (0..rows).map(|_| f64::from(rng.random_range(0..classes))).collect();
        let shared: Vec<f64> = (0..rows).map(|_| rng.random_range(-0.6..0.6)).collect();
        let scale = f64::from(classes) - 1.0;
        let member = |k: i32, rng: &mut rand_pcg::Pcg64| {
            let one = |(y, s): (&f64, &f64)| {
                let value = y / scale + s * f64::from(k + 1) / 3.0 + rng.random_range(-0.8..0.8);
                (value.clamp(0.0, 1.0) * digits).round() / digits * scale
            };
            y.iter().zip(&shared).map(one).collect::<Vec<f64>>()
        };
        let p = (0..4).map(|k| member(k, &mut rng)).collect();
        (y, p)
    }

    #[test]
    fn what_is_given_up_or_followed_would_not_have_won() {
        use Metric::{
            Accuracy, Auc, AveragePrecision, Brier, F1, F1Macro, Logloss, Mae, Mape, Mcc, Pearson, Qwk, R2, Rmse,
            Rmsle, Smape, Spearman,
        };
        let half = Threshold::Fixed(0.5);
        for digits in [1.0, 100.0, 1e12] {
            for metric in [Auc, Logloss, F1, Accuracy, AveragePrecision, Brier, Mcc] {
                let (y, p) = labels(1500, 2, digits);
                for weighted in [false, true] {
                    compare(&Case { metric, space: Space::Value, threshold: half, weighted }, &y, &p, &["y"], false);
                    if digits > 1.0 && metric != AveragePrecision {
                        compare(
                            &Case { metric, space: Space::Logit, threshold: half, weighted },
                            &y,
                            &p,
                            &["y"],
                            false,
                        );
                    }
                }
            }
            for metric in [F1, Mcc, F1Macro] {
                let (y, p) = labels(600, 2, digits);
                let case = Case { metric, space: Space::Value, threshold: Threshold::Searched, weighted: digits > 1.0 };
                compare(&case, &y, &p, &["y"], false);
            }
            for metric in [Qwk, F1Macro, Mcc, Mae, Mape, Smape, Rmsle, Rmse, R2, Pearson, Spearman] {
                let (mut y, p) = labels(1500, 5, digits);
                if metric == Mape {
                    // Against zeros all of it is rounding.
                    y.iter_mut().for_each(|y| *y += 1.0);
                }
                for weighted in [false, true] {
                    compare(&Case { metric, space: Space::Value, threshold: half, weighted }, &y, &p, &["y"], false);
                }
                if digits > 1.0 && !metric.of_labels() {
                    let case = Case { metric, space: Space::Geometric, threshold: half, weighted: false };
                    compare(&case, &y, &p, &["y"], false);
                }
            }
        }
    }

    #[test]
    fn classes_and_several_columns_climb_as_in_full() {
        let (rows, width) = (1200, 3);
        let mut rng = rng_for(8, "classes", 0);
        let class: Vec<usize> = (0..rows).map(|_| rng.random_range(0..width)).collect();
        let y: Vec<f64> = class.iter().flat_map(|c| (0..width).map(move |k| f64::from(u8::from(k == *c)))).collect();
        let mut member = || -> Vec<f64> {
            let raw: Vec<f64> = y.iter().map(|y| 0.2 + 0.4 * y + rng.random_range(0.0..0.8)).collect();
            raw.chunks(width).flat_map(|row| row.iter().map(move |v| v / row.iter().sum::<f64>())).collect()
        };
        let p: Vec<Vec<f64>> = (0..4).map(|_| member()).collect();
        let names = ["a", "b", "c"];
        for metric in [Metric::Logloss, Metric::F1Macro, Metric::Accuracy, Metric::Brier, Metric::Auc] {
            for weighted in [false, true] {
                for space in [Space::Value, Space::Logit, Space::Geometric] {
                    if metric == Metric::Auc && space != Space::Value {
                        continue;
                    }
                    compare(&Case { metric, space, threshold: Threshold::Fixed(0.5), weighted }, &y, &p, &names, true);
                }
            }
        }
        for metric in [Metric::Mae, Metric::Auc, Metric::Pearson, Metric::Crps, Metric::MeanAngle] {
            let case = Case { metric, space: Space::Value, threshold: Threshold::Fixed(0.5), weighted: true };
            compare(&case, &y, &p, &names, false);
        }
    }
}
