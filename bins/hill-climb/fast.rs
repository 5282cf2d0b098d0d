//! Scores that are searched by passes over the data, made quick: rows in the order of their classes, threads over trials, and
//! trials that cannot win are given up as soon as that is certain. What is found is what every trial in full would find.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use climb::{Metric, Objective, Square};
use common::metrics::Matrix;
use common::{Error, Result};
use rayon::prelude::*;

use crate::hill_climb::curve::{Curve, Scratch};
use crate::hill_climb::judge::{Labels, clipped};
use crate::hill_climb::labels::of_confusion;
use climb::ranks::key;

/// Rows between two looks at whether a trial can still win.
const BLOCK: usize = 4096;

/// What is counted or summed.
enum Kind {
    /// Area below the receiver's curve, of two classes.
    Auc,
    /// Log loss of two classes.
    Logloss,
    /// Log loss of the probability that a row's own class was given.
    OwnClass,
    /// A score of labels: a threshold between two.
    Two(Metric, f64),
    /// A score of labels: numbers rounded to the next of them, the smallest being the first.
    Rounded(Metric, f64),
    /// A score of labels: the likeliest class.
    Likeliest(Metric),
}

/// An objective for one column of numbers, or a column a class, without weights of rows.
pub struct Fast {
    kind: Kind,
    /// Numbers a row.
    width: usize,
    /// Members, rows in the order of their classes, row-major.
    models: Vec<Vec<f64>>,
    /// Where the rows of every class end.
    ends: Vec<usize>,
    current: Vec<f64>,
    curve: Curve,
}

impl Fast {
    /// The objective for a metric that has a quick way. `labels` are those of the column where there is one.
    ///
    /// Rows of one class stand together; `class` says that of every row of the truth, which has `classes`.
    pub fn new(
        metric: Metric,
        labels: Labels,
        threshold: f64,
        one_hot: bool,
        class: &[usize],
        models: &[Matrix],
        column: usize,
    ) -> Option<Self> {
        let columns = models.first()?.columns();
        let classes = if one_hot { columns } else { labels?.1 };
        let kind = match (metric, one_hot, labels) {
            (Metric::Logloss, true, _) => Kind::OwnClass,
            (_, true, _) if metric.of_labels() => Kind::Likeliest(metric),
            (Metric::Auc, false, Some((_, 2))) => Kind::Auc,
            (Metric::Logloss, false, Some((_, 2))) => Kind::Logloss,
            (_, false, Some((_, 2))) if metric.of_labels() => Kind::Two(metric, threshold),
            (_, false, Some((low, _))) if metric.of_labels() => Kind::Rounded(metric, low),
            _ => return None,
        };
        let mut order: Vec<usize> = (0..class.len()).collect();
        order.sort_by_key(|&row| class[row]);
        let mut ends = vec![0; classes];
        class.iter().for_each(|&class| ends[class] += 1);
        (1..classes).for_each(|k| ends[k] += ends[k - 1]);
        let width = if matches!(kind, Kind::Likeliest(_)) { columns } else { 1 };
        let taken = |model: &Matrix| {
            let mut values = vec![0.0; order.len() * width];
            for (&row, out) in order.iter().zip(values.chunks_exact_mut(width)) {
                let first = match kind {
                    Kind::Likeliest(_) => 0,
                    Kind::OwnClass => class[row],
                    _ => column,
                };
                model.read(row, first..first + width, out);
            }
            values
        };
        let models = models.par_iter().map(taken).collect();
        Some(Self { kind, width, models, ends, current: vec![], curve: Curve::default() })
    }

    fn blend(&self, weights: &[f64]) -> Vec<f64> {
        let mut total = vec![0.0; self.models.first().map_or(0, Vec::len)];
        for (model, &weight) in self.models.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
            total.iter_mut().zip(model).for_each(|(sum, value)| *sum += weight * value);
        }
        total
    }

    /// The score of numbers that `at` gives for a range of rows; nothing where it is certain to be below `floor`.
    fn judged(&self, scratch: &mut Scratch, floor: f64, at: &impl Fn(usize) -> f64) -> Option<f64> {
        let rows = self.ends.last().copied().unwrap_or(0);
        match &self.kind {
            Kind::Auc => self.curve.area(self.ends[0], rows, scratch, floor, at),
            Kind::Logloss => {
                let first = summed(0..self.ends[0], 0.0, floor, rows, |row| 1.0 - clipped(at(row)))?;
                let total = summed(self.ends[0]..rows, first, floor, rows, |row| clipped(at(row)))?;
                Some(-total / rows as f64)
            }
            Kind::OwnClass => {
                summed(0..rows, 0.0, floor, rows, |row| clipped(at(row))).map(|total| -total / rows as f64)
            }
            Kind::Two(metric, threshold) => Some(self.counted(*metric, 2, |row| usize::from(at(row) >= *threshold))),
            Kind::Rounded(metric, low) => {
                let last = (self.ends.len() - 1) as f64;
                let label = |row: usize| (at(row).round_ties_even() - low).clamp(0.0, last) as usize;
                Some(self.counted(*metric, self.ends.len(), label))
            }
            Kind::Likeliest(metric) => {
                let label = |row: usize| {
                    let first = row * self.width;
                    let (mut best, mut most) = (0, at(first));
                    for class in 1..self.width {
                        let value = at(first + class);
                        if value > most {
                            (best, most) = (class, value);
                        }
                    }
                    best
                };
                Some(self.counted(*metric, self.width, label))
            }
        }
    }

    /// A score of labels from the counts of all rows.
    fn counted(&self, metric: Metric, labels: usize, label: impl Fn(usize) -> usize) -> f64 {
        let mut start = 0;
        let mut table = Vec::with_capacity(labels);
        for &end in &self.ends {
            let mut counts = vec![0u32; labels];
            (start..end).for_each(|row| counts[label(row)] += 1);
            table.push(counts.into_iter().map(f64::from).collect());
            start = end;
        }
        metric.signed(of_confusion(metric, &table))
    }

    fn whole(&self, values: &[f64]) -> Result<f64> {
        let score = self.judged(&mut Scratch::default(), f64::NEG_INFINITY, &|i| values[i]);
        score.filter(|score| !score.is_nan()).ok_or_else(|| Error::failed("the metric of a blend is not a number"))
    }

    fn trial(&self, scratch: &mut Scratch, model: usize, w: f64, floor: f64) -> Option<f64> {
        let (current, model) = (self.current.as_slice(), &self.models[model][..self.current.len()]);
        self.judged(scratch, floor, &|i| (1.0 - w) * current[i] + w * model[i])
    }
}

/// Adds the logarithms of probabilities, one for sixteen rows: that of the product, which cannot underflow as all are clipped.
/// All terms count against the score, so it is certain to be below the floor as soon as those so far say so.
fn summed(range: Range<usize>, before: f64, floor: f64, rows: usize, q: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut total, mut start, to) = (before, range.start, range.end);
    // Rounding must not give up what would win in full.
    let most = -floor * rows as f64 * (1.0 + 1e-9);
    while start < to {
        let end = (start + BLOCK).min(to);
        let mut row = start;
        while row + 16 <= end {
            let mut product = [1.0; 4];
            for i in 0..4 {
                for (lane, product) in product.iter_mut().enumerate() {
                    *product *= q(row + 4 * i + lane);
                }
            }
            total -= (product[0] * product[1] * (product[2] * product[3])).ln();
            row += 16;
        }
        while row < end {
            total -= q(row).ln();
            row += 1;
        }
        if total > most {
            return None;
        }
        start = end;
    }
    Some(total)
}

impl Objective for Fast {
    fn models(&self) -> usize {
        self.models.len()
    }

    fn score(&self, weights: &[f64]) -> Result<f64> {
        self.whole(&self.blend(weights))
    }

    fn stand(&mut self, weights: &[f64]) -> Result<f64> {
        self.current = self.blend(weights);
        self.curve = Curve::new(&self.current);
        self.whole(&self.current)
    }

    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>> {
        let one = |scratch: &mut Scratch, w: &f64| {
            self.trial(scratch, model, *w, f64::NEG_INFINITY)
                .ok_or_else(|| Error::failed("the metric of a trial blend is not a number"))
        };
        steps.par_iter().map_init(Scratch::default, one).collect()
    }

    fn best(&self, trials: &[(usize, Vec<f64>)], floor: f64) -> Result<Option<(usize, f64, f64)>> {
        let pairs: Vec<(usize, f64)> =
            trials.iter().flat_map(|(model, steps)| steps.iter().map(move |w| (*model, *w))).collect();
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
        let (mut most, mut found) = (floor, None);
        for (i, score) in scores {
            if let Some(score) = score
                && score > most
            {
                most = score;
                found = Some((pairs[i].0, pairs[i].1, score));
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
    use crate::hill_climb::judge::{Asked, Judge, Threshold, labels_of};
    use climb::{Direct, Plan, climb};
    use common::oof::Table;
    use common::seed::rng_for;
    use rand::RngExt;

    #[test]
    fn keys_lead_back_to_their_numbers() {
        for number in [-1.5, -0.0, 0.0, 1e-300, 0.25, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(value(key(number)), number);
        }
    }

    /// Climbs with both objectives, on data with ties, and compares every step.
    #[test]
    fn what_is_given_up_would_not_have_won() {
        let rows = 3000;
        let mut rng = rng_for(8, "fast", 0);
        for (metric, classes) in [
            (Metric::Auc, 2),
            (Metric::Logloss, 2),
            (Metric::F1, 2),
            (Metric::Accuracy, 2),
            (Metric::Qwk, 5),
            (Metric::F1Macro, 5),
            (Metric::Mcc, 4),
        ] {
            for digits in [1.0, 100.0, 1e12] {
                let y: Vec<f64> = (0..rows).map(|_| f64::from(rng.random_range(0..classes))).collect();
                let shared: Vec<f64> = (0..rows).map(|_| rng.random_range(-0.6..0.6)).collect();
                let scale = f64::from(classes) - 1.0;
                let p: Vec<Vec<f64>> = (0..4)
                    .map(|k| {
                        let one = |(y, s): (&f64, &f64)| {
                            let value = y / scale + s * f64::from(k + 1) / 3.0 + rng.random_range(-0.8..0.8);
                            (value.clamp(-0.2, 1.3) * digits).round() / digits * scale
                        };
                        y.iter().zip(&shared).map(one).collect()
                    })
                    .collect();
                let models: Vec<Matrix> = p.iter().map(|p| Matrix::f64(p, 1).unwrap()).collect();
                let table = Table::loaded(std::path::Path::new("y"), y.clone(), vec!["y".into()], None).unwrap();
                let truth = Matrix::f64(&y, 1).unwrap();
                let threshold = Threshold::Fixed(0.5);
                let asked = Asked { metric, classes: false, weights: None, threshold, labels: None };
                let judge = Judge::new(asked, &table, &truth, &[0]).unwrap();
                let class: Vec<usize> = y.iter().map(|y| *y as usize).collect();
                let fast = Fast::new(metric, labels_of(&y), 0.5, false, &class, &models, 0);
                let plan = Plan { replacement: true, max_steps: Some(6), ..Plan::published(true, 0.02) };
                let quick = climb(&mut fast.unwrap(), &plan).unwrap();
                let plain = climb(&mut Direct::new(&models, |values| Ok(judge.score(values))), &plan).unwrap();
                assert_eq!(quick.moves.len(), plain.moves.len(), "{metric:?} {digits}");
                for (a, b) in quick.moves.iter().zip(&plain.moves) {
                    assert_eq!((a.model, a.weight), (b.model, b.weight), "{metric:?} {digits}");
                    assert!((a.score - b.score).abs() < 1e-13, "{metric:?} {digits}: {} {}", a.score, b.score);
                }
            }
        }
    }

    #[test]
    fn classes_climb_as_in_full() {
        let (rows, width) = (2000, 3);
        let mut rng = rng_for(8, "classes", 0);
        let class: Vec<usize> = (0..rows).map(|_| rng.random_range(0..width)).collect();
        let y: Vec<f64> = class.iter().flat_map(|c| (0..width).map(move |k| f64::from(u8::from(k == *c)))).collect();
        let p: Vec<Vec<f64>> =
            (0..4).map(|_| y.iter().map(|y| (0.2 + 0.4 * y + rng.random_range(0.0..0.8)) / 2.2).collect()).collect();
        let models: Vec<Matrix> = p.iter().map(|p| Matrix::f64(p, width).unwrap()).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let table = Table::loaded(std::path::Path::new("y"), y.clone(), names, None).unwrap();
        let truth = Matrix::f64(&y, width).unwrap();
        for metric in [Metric::Logloss, Metric::F1Macro, Metric::Accuracy] {
            let threshold = Threshold::Fixed(0.5);
            let asked = Asked { metric, classes: true, weights: None, threshold, labels: None };
            let judge = Judge::new(asked, &table, &truth, &[0, 1, 2]).unwrap();
            let fast = Fast::new(metric, None, 0.5, true, &class, &models, 0);
            let plan = Plan::published(true, 0.02);
            let quick = climb(&mut fast.unwrap(), &plan).unwrap();
            let plain = climb(&mut Direct::new(&models, |values| Ok(judge.score(values))), &plan).unwrap();
            let steps = |moves: &[climb::Move]| moves.iter().map(|m| (m.model, m.weight)).collect::<Vec<_>>();
            assert_eq!(steps(&quick.moves), steps(&plain.moves), "{metric:?}");
            assert!((quick.score - plain.score).abs() < 1e-13);
        }
    }
}
