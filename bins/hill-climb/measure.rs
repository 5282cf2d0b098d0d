//! Scores that are no function of squared errors.

use common::metrics::{ColumnSums, Matrix, mean};

/// Mean absolute error over some columns.
pub fn mae(truth: &Matrix, values: &[f64], columns: &[usize]) -> f64 {
    let sums = Matrix::f64(values, truth.columns()).and_then(|m| ColumnSums::of(truth, &m));
    sums.map_or(f64::NAN, |sums| mean(&columns.iter().map(|&c| sums.mae(c)).collect::<Vec<_>>()))
}

/// Mean over some columns of Pearson's correlation; a column without variance counts 0.
pub fn pearson(truth: &Matrix, values: &[f64], columns: &[usize]) -> f64 {
    let width = truth.columns();
    let sums = Matrix::f64(values, width).and_then(|m| ColumnSums::of(truth, &m).map(|sums| (m, sums)));
    let Ok((matrix, sums)) = sums else { return f64::NAN };
    let predicted = common::metrics::Moments::of(&matrix);
    let n = sums.truth.rows as f64;
    let correlation = |c: usize| {
        // sum (y - p)^2 = Syy + Spp - 2 Syp + n (mean y - mean p)^2
        let (yy, pp) = (sums.truth.m2[c], predicted.m2[c]);
        let distance = sums.truth.mean[c] - predicted.mean[c];
        let yp = (yy + pp + n * distance * distance - sums.sse[c]) / 2.0;
        if yy > 0.0 && pp > 0.0 { yp / (yy * pp).sqrt() } else { 0.0 }
    };
    mean(&columns.iter().map(|&c| correlation(c)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_and_absolute_error_are_those_of_the_definition() {
        let truth = [1.0, 5.0, 2.0, 5.0, 4.0, 5.0, 7.0, 5.0];
        let values = [2.0, 1.0, 1.0, 2.0, 5.0, 3.0, 6.0, 4.0];
        let truth = Matrix::f64(&truth, 2).unwrap();
        assert!((mae(&truth, &values, &[0]) - 1.0).abs() < 1e-12);
        // Syp = 17, Syy = 21, Spp = 17
        assert!((pearson(&truth, &values, &[0]) - 17.0 / (21.0f64 * 17.0).sqrt()).abs() < 1e-12);
        assert_eq!(pearson(&truth, &values, &[1]), 0.0);
    }
}
