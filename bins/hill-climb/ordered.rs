//! Scores that follow from the order of the rows: both areas, the best threshold.

use climb::Metric;

use crate::hill_climb::labels::of_confusion;

/// Rows by falling prediction, and what is known of them.
pub struct Falling<'a, P, W> {
    /// The rows.
    pub order: &'a [u32],
    /// The predictions.
    pub values: &'a [f64],
    /// Whether a row is of the second of two classes.
    pub positive: P,
    /// Weight of a row.
    pub weight: W,
}

impl<P: Fn(usize) -> bool, W: Fn(usize) -> f64> Falling<'_, P, W> {
    /// Weights of both classes in each step of equal predictions, and the prediction.
    fn steps(&self, mut each: impl FnMut(f64, [f64; 2])) {
        let mut at = 0;
        while at < self.order.len() {
            let here = self.values[self.order[at] as usize];
            let mut more = [0.0; 2];
            while at < self.order.len() && self.values[self.order[at] as usize] == here {
                let row = self.order[at] as usize;
                more[usize::from((self.positive)(row))] += (self.weight)(row);
                at += 1;
            }
            each(here, more);
        }
    }

    /// Area below the receiver's curve, and average precision; equal predictions are one threshold.
    pub fn areas(&self) -> (f64, f64) {
        let (mut hits, mut alarms, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
        self.steps(|_, [more_alarms, more_hits]| {
            area += more_alarms * (hits + more_hits / 2.0);
            hits += more_hits;
            alarms += more_alarms;
            if hits + alarms > 0.0 {
                precision += more_hits * hits / (hits + alarms);
            }
        });
        (area / (hits * alarms), precision / hits)
    }

    /// The best threshold of a score of labels, and the score: midway between two neighbouring predictions, the largest of
    /// equally good ones.
    pub fn threshold(&self, metric: Metric) -> (f64, f64) {
        let mut table = vec![vec![0.0; 2]; 2];
        for &row in self.order {
            table[usize::from((self.positive)(row as usize))][0] += (self.weight)(row as usize);
        }
        let first = self.order.first().map_or(0.0, |&row| self.values[row as usize]);
        let mut best = (first + 1.0, of_confusion(metric, &table));
        // The threshold lies between the last prediction that is above it and the next one.
        let (mut last, mut above): (f64, Option<f64>) = (0.0, None);
        self.steps(|here, more| {
            if let Some(above) = above.take() {
                best.0 = above / 2.0 + here / 2.0;
            }
            for (class, weight) in more.into_iter().enumerate() {
                table[class][0] -= weight;
                table[class][1] += weight;
            }
            let score = of_confusion(metric, &table);
            if score > best.1 {
                best.1 = score;
                above = Some(here);
            }
            last = here;
        });
        if above.is_some() {
            best.0 = last / 2.0 + (last - 1.0) / 2.0;
        }
        best
    }
}

/// Rows by falling prediction.
pub fn falling(values: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]));
    order
}

/// Ranks from 1 of rows that stand by falling prediction; equal predictions share the mean of theirs.
pub fn ranks(order: &[u32], values: &[f64], ranks: &mut Vec<f64>) {
    ranks.clear();
    ranks.resize(values.len(), 0.0);
    let count = order.len();
    let mut start = 0;
    while start < count {
        let here = values[order[start] as usize];
        let mut end = start;
        while end < count && values[order[end] as usize] == here {
            end += 1;
        }
        // The largest has the rank `count`.
        let rank = (count - start + count - end + 1) as f64 / 2.0;
        order[start..end].iter().for_each(|&row| ranks[row as usize] = rank);
        start = end;
    }
}

/// A weighted mean, summed from the first value on: that of equal values is this value to the last bit.
pub fn mean_from_first(values: &[f64], weights: Option<&[f64]>) -> f64 {
    let Some(&first) = values.first() else { return f64::NAN };
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total = weights.map_or(values.len() as f64, |weights| weights.iter().sum());
    first + values.iter().enumerate().map(|(row, value)| weight(row) * (value - first)).sum::<f64>() / total
}

/// Pearson's correlation with weights of rows, 0 without variance.
pub fn correlation(y: &[f64], p: &[f64], weights: Option<&[f64]>) -> f64 {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let (my, mp) = (mean_from_first(y, weights), mean_from_first(p, weights));
    let (mut yy, mut pp, mut yp) = (0.0, 0.0, 0.0);
    for (row, (y, p)) in y.iter().zip(p).enumerate() {
        let (w, dy, dp) = (weight(row), y - my, p - mp);
        yy += w * dy * dy;
        pp += w * dp * dp;
        yp += w * dy * dp;
    }
    if yy > 0.0 && pp > 0.0 { yp / (yy.sqrt() * pp.sqrt()) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_sorted_values() {
        let values = [3.0, 1.0, 3.0, 2.0, -1.0];
        let mut found = vec![];
        ranks(&falling(&values), &values, &mut found);
        assert_eq!(found, climb::ranks::ranks(&values));
    }

    #[test]
    fn a_correlation_without_variance_is_none_and_a_weight_is_a_repetition() {
        assert_eq!(correlation(&[1.0, 2.0], &[3.0, 3.0], None), 0.0);
        assert_eq!(mean_from_first(&[0.1; 77], Some(&[0.3; 77])), 0.1);
        let once = correlation(&[1.0, 2.0, 4.0], &[2.0, 1.0, 3.0], Some(&[1.0, 2.0, 1.0]));
        let twice = correlation(&[1.0, 2.0, 2.0, 4.0], &[2.0, 1.0, 1.0, 3.0], None);
        assert!((once - twice).abs() < 1e-15);
    }
}
