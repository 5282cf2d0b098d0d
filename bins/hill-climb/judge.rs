//! Scores of classes, ranks and counts, and weighted ones: what is no function of unweighted squared errors.
//!
//! All of them agree with scikit-learn. A truth of classes is one-hot, a column a class; other truths have a score a
//! column, and their mean counts. Where scikit-learn has no answer (one label alone, no variance), the score is 0.

use climb::Metric;
use common::metrics::{Matrix, mean};
use common::oof::Table;
use common::{Error, Result};

use crate::hill_climb::labels::{Labels, of_confusion};
use crate::hill_climb::ordered::{Falling, correlation, falling, mean_from_first};
use crate::hill_climb::samples::Samples;
use climb::ranks::{auc, ranks};

/// From which probability the second of two classes is predicted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// From this one.
    Fixed(f64),
    /// From the one that is best for the predictions at hand.
    Searched,
}

/// What is judged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The score.
    pub metric: Metric,
    /// Predictions hold a probability a class, and a row has one class.
    pub classes: bool,
    /// Weights of the rows.
    pub weights: Option<&'a [f64]>,
    /// What decides between two labels.
    pub threshold: Threshold,
    /// Labels of every column, where they are known from more rows than these.
    pub labels: Option<&'a [Option<Labels>]>,
}

/// A truth, ready to judge predictions by.
pub struct Judge {
    metric: Metric,
    columns: Vec<Column>,
    /// Predictions hold a probability a class, and a row has one class.
    classes: bool,
    weights: Option<Vec<f64>>,
    threshold: Threshold,
    width: usize,
    samples: Samples,
}

/// One column of the truth.
struct Column {
    place: usize,
    values: Vec<f64>,
    labels: Option<Labels>,
    /// Exactly two different values.
    binary: bool,
}

impl Column {
    fn new(place: usize, values: Vec<f64>, known: Option<Option<Labels>>) -> Self {
        let labels = known.unwrap_or_else(|| Labels::of(&values));
        Self { place, binary: labels.is_some_and(|labels| labels.count == 2), labels, values }
    }

    /// Positions of the labels of the truth.
    fn label(&self, row: usize) -> usize {
        self.labels.map_or(0, |labels| labels.place(self.values[row]))
    }
}

impl Judge {
    /// Takes the columns of the truth that count.
    ///
    /// # Errors
    /// [`Error::Input`] where the metric needs labels, two classes or numbers from 0, and the truth has others.
    pub fn new(asked: Asked, table: &Table, truth: &Matrix, free: &[usize]) -> Result<Self> {
        let Asked { metric, classes, weights, threshold, labels } = asked;
        let width = truth.columns();
        let mut row = vec![0.0; width];
        let mut values = vec![Vec::with_capacity(truth.rows()); free.len()];
        for r in 0..truth.rows() {
            truth.read(r, 0..width, &mut row);
            values.iter_mut().zip(free).for_each(|(column, &c)| column.push(row[c]));
        }
        let columns: Vec<Column> =
            free.iter().zip(values).map(|(&c, values)| Column::new(c, values, labels.map(|known| known[c]))).collect();
        let samples = Samples::new(metric, table, free)?;
        if threshold == Threshold::Searched && (classes || columns.len() != 1 || !columns[0].binary) {
            return Err(Error::input(table.path(), "a threshold is searched for one column of two labels")
                .hint("leave out `--search-threshold`, or name the target with `--target`"));
        }
        let weights = weights.map(<[f64]>::to_vec);
        if weights.as_ref().is_some_and(|weights| weights.iter().all(|w| *w == 0.0)) {
            return Err(Error::input(table.path(), "all rows have the weight 0")
                .hint("`--sample-weight` names the column with the weight of every row"));
        }
        let judge = Self { metric, columns, classes, weights, threshold, width, samples };
        for column in &judge.columns {
            let name = table.column_name(column.place);
            judge.check(column).map_err(|problem| {
                Error::input(table.path(), format!("column `{name}`: {problem}"))
                    .hint("choose another `--metric`, or name the column of the target with `--target`")
            })?;
        }
        Ok(judge)
    }

    fn check(&self, column: &Column) -> Result<(), String> {
        use Metric::{
            Accuracy, Auc, AveragePrecision, BalancedAccuracy, Brier, F1, F1Macro, F1Micro, F1Weighted, Logloss, Mcc,
            Qwk, Rmsle,
        };
        let name = self.metric.name();
        match self.metric {
            Rmsle => match column.values.iter().position(|v| *v < 0.0) {
                Some(row) => Err(format!("row {row} is {}, `{name}` needs numbers from 0", column.values[row])),
                None => Ok(()),
            },
            Auc | AveragePrecision | Logloss | Brier | F1 => {
                let counts = |row: &usize| self.weight(*row) > 0.0;
                let mut counted = (0..column.values.len()).filter(counts).map(|row| column.values[row]);
                let first = counted.next().unwrap_or(f64::NAN);
                let both = counted.any(|v| v != first);
                let needed = matches!(self.metric, Auc | AveragePrecision);
                match (column.binary, both || !needed) {
                    (true, true) => Ok(()),
                    (true, false) => {
                        let which = if self.weights.is_some() { "all rows with a weight" } else { "all rows" };
                        Err(format!("`{name}` needs two classes, {which} are {first}"))
                    }
                    (false, _) => Err(format!("`{name}` needs labels of two classes, or a probability a class")),
                }
            }
            Accuracy | BalancedAccuracy | F1Macro | F1Micro | F1Weighted | Mcc | Qwk if column.labels.is_none() => {
                Err(format!("`{name}` needs labels, found numbers that are not whole"))
            }
            _ => Ok(()),
        }
    }

    /// The score of predictions, row-major, higher is better.
    pub fn score(&self, values: &[f64]) -> f64 {
        use Metric::{Accuracy, BalancedAccuracy, Brier, F1, F1Macro, F1Micro, F1Weighted, Logloss, Mcc, Qwk};
        let metric = match (self.classes, self.metric) {
            (true, Logloss | Brier) => self.columns.iter().map(|column| self.of_class(column, values)).sum::<f64>(),
            (_, Metric::Crps | Metric::MeanAngle) => self.of_samples(values),
            (true, Accuracy | BalancedAccuracy | F1 | F1Macro | F1Micro | F1Weighted | Mcc | Qwk) => {
                let table = self.confusion_of_classes(values);
                of_confusion(self.metric, &table)
            }
            _ => {
                let each = |column: &Column| {
                    let p: Vec<f64> = values.iter().skip(column.place).step_by(self.width).copied().collect();
                    self.of_column(column, &p)
                };
                mean(&self.columns.iter().map(each).collect::<Vec<_>>())
            }
        };
        self.metric.signed(metric)
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    /// Weighted mean over rows.
    fn average(&self, rows: usize, each: impl Fn(usize) -> f64) -> f64 {
        match &self.weights {
            None => (0..rows).map(each).sum::<f64>() / rows as f64,
            Some(weights) => {
                let total: f64 = weights.iter().sum();
                (0..rows).map(|row| weights[row] * each(row)).sum::<f64>() / total
            }
        }
    }

    /// Scores of several columns of a row together.
    fn of_samples(&self, values: &[f64]) -> f64 {
        let rows = self.columns[0].values.len();
        let row = |row: usize| &values[row * self.width..(row + 1) * self.width];
        if self.metric == Metric::MeanAngle {
            let mut truth = vec![0.0; self.width];
            let mut angles = Vec::with_capacity(rows);
            for r in 0..rows {
                truth.iter_mut().zip(&self.columns).for_each(|(y, column)| *y = column.values[r]);
                angles.push(self.samples.angle(&truth, row(r)));
            }
            return self.average(rows, |r| angles[r]);
        }
        let mut sorted = vec![0.0; self.width];
        let crps: Vec<f64> =
            (0..rows).map(|r| self.samples.crps(self.columns[0].values[r], row(r), &mut sorted)).collect();
        self.average(rows, |r| crps[r])
    }

    /// What one class adds to a score of probabilities.
    fn of_class(&self, column: &Column, values: &[f64]) -> f64 {
        let p = |row: usize| values[row * self.width + column.place];
        let y = |row: usize| column.values[row];
        let rows = column.values.len();
        match self.metric {
            Metric::Brier => self.average(rows, |row| (p(row) - y(row)).powi(2)),
            _ => self.average(rows, |row| if y(row) == 1.0 { -clipped(p(row)).ln() } else { 0.0 }),
        }
    }

    fn of_column(&self, column: &Column, p: &[f64]) -> f64 {
        let (y, rows) = (&column.values, p.len());
        let positive = |row: usize| column.label(row) == 1;
        match self.metric {
            Metric::Mse => self.average(rows, |row| (y[row] - p[row]).powi(2)),
            Metric::Rmse => self.average(rows, |row| (y[row] - p[row]).powi(2)).sqrt(),
            Metric::Mae => self.average(rows, |row| (y[row] - p[row]).abs()),
            Metric::R2 => {
                let middle = mean_from_first(y, self.weights.as_deref());
                let errors = self.average(rows, |row| (y[row] - p[row]).powi(2));
                common::metrics::r2(errors, self.average(rows, |row| (y[row] - middle).powi(2)))
            }
            // Differs: scikit-learn refuses predictions below 0; a trial of the search counts them as 0.
            Metric::Rmsle => self.average(rows, |row| (y[row].ln_1p() - p[row].max(0.0).ln_1p()).powi(2)).sqrt(),
            Metric::Mape => self.average(rows, |row| (y[row] - p[row]).abs() / y[row].abs().max(f64::EPSILON)),
            Metric::Smape => self.average(rows, |row| {
                let size = y[row].abs() + p[row].abs();
                if size == 0.0 { 0.0 } else { 2.0 * (y[row] - p[row]).abs() / size }
            }),
            Metric::Pearson => correlation(y, p, self.weights.as_deref()),
            Metric::Spearman => correlation(&ranks(y), &ranks(p), self.weights.as_deref()),
            Metric::Logloss => match &self.weights {
                None => logloss(p, positive),
                Some(_) => self.average(rows, |row| {
                    let q = clipped(p[row]);
                    -if positive(row) { q.ln() } else { (1.0 - q).ln() }
                }),
            },
            Metric::Brier => self.average(rows, |row| (p[row] - f64::from(u8::from(positive(row)))).powi(2)),
            Metric::Auc => match &self.weights {
                None => auc(p, positive),
                Some(_) => self.falling(&falling(p), p, positive).areas().0,
            },
            Metric::AveragePrecision => self.falling(&falling(p), p, positive).areas().1,
            _ => match self.threshold {
                Threshold::Fixed(threshold) => of_confusion(self.metric, &self.confusion(column, p, threshold)),
                Threshold::Searched => self.falling(&falling(p), p, positive).threshold(self.metric).1,
            },
        }
    }

    /// The threshold that the score was searched with; none where it is given.
    pub fn threshold(&self, values: &[f64]) -> Option<f64> {
        let column = self.columns.first().filter(|_| self.threshold == Threshold::Searched)?;
        let p: Vec<f64> = values.iter().skip(column.place).step_by(self.width).copied().collect();
        Some(self.falling(&falling(&p), &p, |row| column.label(row) == 1).threshold(self.metric).0)
    }

    fn falling<'o>(
        &'o self,
        order: &'o [u32],
        values: &'o [f64],
        positive: impl Fn(usize) -> bool + 'o,
    ) -> Falling<'o, impl Fn(usize) -> bool + 'o, impl Fn(usize) -> f64 + 'o> {
        Falling { order, values, positive, weight: move |row| self.weight(row) }
    }

    /// Weights by true and predicted label: a threshold decides between two labels, rounding between more.
    fn confusion(&self, column: &Column, p: &[f64], threshold: f64) -> Vec<Vec<f64>> {
        let Some(labels) = column.labels else { return vec![vec![0.0; 2]; 2] };
        let mut table = vec![vec![0.0; labels.count]; labels.count];
        for (row, &p) in p.iter().enumerate() {
            let predicted = if column.binary { usize::from(p >= threshold) } else { labels.nearest(p) };
            table[column.label(row)][predicted] += self.weight(row);
        }
        table
    }

    /// The likeliest class is the predicted one, the first of equally likely ones.
    fn confusion_of_classes(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let mut table = vec![vec![0.0; self.width]; self.width];
        for (row, p) in values.chunks_exact(self.width).enumerate() {
            let mut best = 0;
            for (class, value) in p.iter().enumerate() {
                if *value > p[best] {
                    best = class;
                }
            }
            let class = self.columns.iter().find(|column| column.values[row] == 1.0).map_or(0, |column| column.place);
            table[class][best] += self.weight(row);
        }
        table
    }
}

/// scikit-learn keeps probabilities this far from 0 and 1.
pub fn clipped(p: f64) -> f64 {
    p.clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}

/// Log loss with one logarithm for sixteen rows: that of the product, which cannot underflow as all are clipped.
fn logloss(p: &[f64], positive: impl Fn(usize) -> bool) -> f64 {
    let mut total = 0.0;
    for (block, values) in p.chunks(16).enumerate() {
        let mut product = 1.0;
        for (i, &value) in values.iter().enumerate() {
            let q = clipped(value);
            product *= if positive(block * 16 + i) { q } else { 1.0 - q };
        }
        total -= product.ln();
    }
    total / p.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(metric: Metric, y: &[f64], weights: Option<&[f64]>) -> Judge {
        let table = Table::loaded(std::path::Path::new("y"), y.to_vec(), vec!["y".into()], None).unwrap();
        let threshold = Threshold::Fixed(0.5);
        let asked = Asked { metric, classes: false, weights, threshold, labels: None };
        Judge::new(asked, &table, &Matrix::f64(y, 1).unwrap(), &[0]).unwrap()
    }

    #[test]
    fn the_best_threshold_is_that_of_all_tries() {
        let y = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
        let p = [0.1, 0.7, 0.4, 0.4, 0.9, 0.8, 0.3, 0.2];
        for metric in [Metric::F1, Metric::Mcc, Metric::Accuracy, Metric::F1Macro] {
            let mut searched = judge(metric, &y, None);
            searched.threshold = Threshold::Searched;
            let found = searched.threshold(&p).unwrap();
            let at = |threshold: f64| {
                let mut fixed = judge(metric, &y, None);
                fixed.threshold = Threshold::Fixed(threshold);
                fixed.score(&p)
            };
            let best = (0..=100).map(|i| at(f64::from(i) / 100.0 + 0.005)).fold(f64::NEG_INFINITY, f64::max);
            assert_eq!((searched.score(&p), at(found)), (best, best), "{metric:?} {found}");
        }
    }

    #[test]
    fn ties_count_half_and_weights_count_rows() {
        let (y, p) = ([0.0, 0.0, 1.0, 1.0], [0.1, 0.4, 0.4, 0.8]);
        assert_eq!(judge(Metric::Auc, &y, None).score(&p), 0.875);
        assert_eq!(judge(Metric::Auc, &y, Some(&[1.0; 4])).score(&p), 0.875);
        // The tie thrice: 1 * (1 + 0.5 * 3) + ... of 4 * 2 pairs.
        assert_eq!(judge(Metric::Auc, &y, Some(&[1.0, 3.0, 1.0, 1.0])).score(&p), 6.5 / 8.0);
        assert_eq!(judge(Metric::Accuracy, &y, Some(&[1.0, 1.0, 2.0, 0.0])).score(&p), 0.5);
    }

    #[test]
    fn one_logarithm_for_sixteen_rows_is_sixteen_of_them() {
        let y: Vec<f64> = (0..50).map(|i| f64::from(i % 3 == 0)).collect();
        let p: Vec<f64> = (0..50).map(|i| if i == 7 { 0.0 } else { f64::from(i) / 50.0 }).collect();
        let fast = judge(Metric::Logloss, &y, None).score(&p);
        let plain = judge(Metric::Logloss, &y, Some(&[1.0; 50])).score(&p);
        assert!((fast - plain).abs() < 1e-13 && fast < 0.0, "{fast} {plain}");
    }

    #[test]
    fn rounded_regressors_are_labels() {
        let (y, p) = ([0.0, 1.0, 2.0, 3.0], [0.5, 1.4, 2.5, 9.0]);
        // Halves go to even, and what lies outside to the nearest label.
        assert_eq!(judge(Metric::Accuracy, &y, None).score(&p), 1.0);
        assert_eq!(judge(Metric::Qwk, &y, None).score(&p), 1.0);
        assert_eq!(judge(Metric::Qwk, &y, None).score(&[0.0; 4]), 0.0);
    }
}
