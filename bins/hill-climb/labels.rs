//! Labels of a column, and scores of labels.

use climb::Metric;
use common::metrics::mean;

/// Most classes of a column of whole numbers.
const CLASSES: f64 = 1000.0;

/// Labels of a column: `count` whole numbers from `low` on, each `gap` above the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labels {
    low: f64,
    gap: f64,
    /// Number of labels.
    pub count: usize,
}

impl Labels {
    /// Whole numbers not too far apart are labels. 0 and 1 are always two, as are -1 and 1.
    pub fn of(values: &[f64]) -> Option<Self> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if values.iter().any(|v| v.fract() != 0.0) || high - low >= CLASSES {
            return None;
        }
        if low >= 0.0 && high <= 1.0 {
            return Some(Self { low: 0.0, gap: 1.0, count: 2 });
        }
        if low == -1.0 && high == 1.0 && !values.contains(&0.0) {
            return Some(Self { low, gap: 2.0, count: 2 });
        }
        Some(Self { low, gap: 1.0, count: (high - low) as usize + 1 })
    }

    /// Position of a label.
    pub fn place(self, label: f64) -> usize {
        ((label - self.low) / self.gap) as usize
    }

    /// Position of the label next to a number, halves going to even ones as NumPy rounds.
    pub fn nearest(self, value: f64) -> usize {
        (value.round_ties_even() - self.low).clamp(0.0, (self.count - 1) as f64) as usize
    }

    /// How far a number is from where its nearest label changes.
    pub fn margin(self, value: f64) -> f64 {
        if self.count < 2 {
            return f64::INFINITY;
        }
        let above = value - self.low - 0.5;
        (above - above.round().clamp(0.0, (self.count - 2) as f64)).abs()
    }
}

/// Scores from weights by true and predicted label. Labels that are neither true nor predicted do not exist.
pub fn of_confusion(metric: Metric, table: &[Vec<f64>]) -> f64 {
    let sum = |k: usize| -> (f64, f64) { (table[k].iter().sum(), table.iter().map(|row| row[k]).sum()) };
    let seen: Vec<usize> = (0..table.len()).filter(|&k| sum(k) != (0.0, 0.0)).collect();
    let (truth, predicted): (Vec<f64>, Vec<f64>) = seen.iter().map(|&k| sum(k)).unzip();
    let hit = |i: usize| table[seen[i]][seen[i]];
    let all: f64 = truth.iter().sum();
    let hits: f64 = (0..seen.len()).map(hit).sum();
    let over = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    let f1 = |i: usize| over(2.0 * hit(i), truth[i] + predicted[i]);
    let every = 0..seen.len();
    match metric {
        Metric::BalancedAccuracy => {
            mean(&every.filter(|&i| truth[i] > 0.0).map(|i| hit(i) / truth[i]).collect::<Vec<_>>())
        }
        Metric::F1 if table.len() == 2 => over(2.0 * table[1][1], sum(1).0 + sum(1).1),
        Metric::F1 | Metric::F1Macro => mean(&every.map(f1).collect::<Vec<_>>()),
        Metric::F1Weighted => every.map(|i| truth[i] * f1(i)).sum::<f64>() / all,
        Metric::Mcc => {
            let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
            let both: f64 = truth.iter().zip(&predicted).map(|(a, b)| a * b).sum();
            let spread = (all * all - square(&truth)) * (all * all - square(&predicted));
            over(hits * all - both, spread.sqrt())
        }
        Metric::Qwk => {
            let (mut found, mut expected) = (0.0, 0.0);
            for i in every.clone() {
                for j in every.clone() {
                    let far = (i as f64 - j as f64).powi(2);
                    found += far * table[seen[i]][seen[j]];
                    expected += far * truth[i] * predicted[j] / all;
                }
            }
            if expected == 0.0 { 0.0 } else { 1.0 - found / expected }
        }
        // The rest counts hits; the micro mean of F1 does so, too.
        _ => over(hits, all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_whole_numbers_and_two_of_them_may_lie_apart() {
        let of = |values: &[f64]| Labels::of(values).map(|l| (l.count, l.place(values[0])));
        assert_eq!(of(&[1.0, 0.0]), Some((2, 1)));
        assert_eq!(of(&[0.0, 0.0]), Some((2, 0)));
        assert_eq!(of(&[1.0, -1.0]), Some((2, 1)));
        assert_eq!(of(&[1.0, -1.0, 0.0]), Some((3, 2)));
        assert_eq!(of(&[4.0, 2.0]), Some((3, 2)));
        assert_eq!(of(&[0.5, 2.0]), None);
        assert_eq!(of(&[0.0, 1e4]), None);
    }

    #[test]
    fn the_margin_is_the_way_to_the_next_change_of_label() {
        let labels = Labels::of(&[1.0, 2.0, 4.0]).unwrap();
        for (value, margin) in [(0.0, 1.5), (1.5, 0.0), (1.75, 0.25), (2.25, 0.25), (3.0, 0.5), (3.5, 0.0), (9.0, 5.5)]
        {
            assert_eq!(labels.margin(value), margin, "{value}");
        }
    }
}
