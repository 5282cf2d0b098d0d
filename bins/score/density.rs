//! Predictions over truth as counts in cells, both as distances from the truth's mean in its standard deviations, so that all
//! columns of a group fit one picture.

use common::Result;
use common::metrics::{ColumnSums, Matrix};
use common::oof::Group;

/// Cells along an axis.
pub const CELLS: usize = 48;
/// Both axes reach from minus to plus this many standard deviations; the outer cells hold what lies beyond.
pub const REACH: f64 = 4.0;
/// Rows that are counted at most, evenly spread.
const ROWS: usize = 4000;

/// Counts of one group of columns: `[prediction, truth]`, the least first.
#[derive(Debug, Clone, PartialEq)]
pub struct Density {
    /// Name of the group.
    pub group: String,
    /// The counts, row by row.
    pub counts: Vec<f64>,
}

impl Density {
    /// Nothing counted yet.
    pub fn new(group: &str) -> Self {
        Self { group: group.into(), counts: vec![0.0; CELLS * CELLS] }
    }

    /// Counts a value of a column whose truth has this mean and standard deviation.
    pub fn add(&mut self, truth: f64, predicted: f64, mean: f64, std: f64) {
        let cell = |v: f64| {
            let place = ((v - mean) / std + REACH) / (2.0 * REACH) * CELLS as f64;
            (place.max(0.0) as usize).min(CELLS - 1)
        };
        self.counts[cell(predicted) * CELLS + cell(truth)] += 1.0;
    }

    /// Edges of the cells.
    pub fn edges() -> Vec<f64> {
        (0..=CELLS).map(|i| (2.0 * i as f64 / CELLS as f64 - 1.0) * REACH).collect()
    }
}

/// How many rows there are between two that are counted.
pub fn stride(rows: usize) -> usize {
    rows.div_ceil(ROWS).max(1)
}

/// Standard deviation of a column of the truth; none of a constant one.
pub fn spread(sums: &ColumnSums, column: usize) -> Option<f64> {
    let std = (sums.truth.m2[column] / sums.truth.rows as f64).sqrt();
    (std > 0.0 && std.is_finite()).then_some(std)
}

/// Counts the groups of two matrices of the same shape; columns without variance are left out.
///
/// # Errors
/// None so far; the shapes were compared before.
pub fn of(truth: &Matrix, predictions: &Matrix, groups: &[Group], sums: &ColumnSums) -> Result<Vec<Density>> {
    let mut all = vec![];
    for group in groups {
        let mut density = Density::new(&group.name);
        let wide = group.end - group.start;
        let stds: Vec<Option<f64>> = (group.start..group.end).map(|c| spread(sums, c)).collect();
        let (mut y, mut p) = (vec![0.0; wide], vec![0.0; wide]);
        for row in (0..truth.rows()).step_by(stride(truth.rows())) {
            truth.read(row, group.start..group.end, &mut y);
            predictions.read(row, group.start..group.end, &mut p);
            for c in 0..wide {
                if let Some(std) = stds[c] {
                    density.add(y[c], p[c], sums.truth.mean[group.start + c], std);
                }
            }
        }
        if density.counts.iter().any(|count| *count > 0.0) {
            all.push(density);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_predictions_lie_on_the_diagonal_and_wild_ones_at_the_edge() {
        let truth = [0.0, 5.0, 1.0, 5.0, 2.0, 5.0, 3.0, 5.0];
        let mut found = truth;
        found[6] = 1e9;
        let (y, p) = (Matrix::f64(&truth, 2).unwrap(), Matrix::f64(&found, 2).unwrap());
        let sums = ColumnSums::of(&y, &p).unwrap();
        let groups = [Group { name: "g".into(), start: 0, end: 2 }];
        let [density] = &of(&y, &p, &groups, &sums).unwrap()[..] else { panic!() };
        assert_eq!(density.counts.iter().sum::<f64>(), 4.0, "the constant column is left out");
        let on_diagonal: f64 = (0..CELLS).map(|i| density.counts[i * CELLS + i]).sum();
        let at_the_edge: f64 = density.counts[(CELLS - 1) * CELLS..].iter().sum();
        assert_eq!((on_diagonal, at_the_edge), (3.0, 1.0));
    }
}
