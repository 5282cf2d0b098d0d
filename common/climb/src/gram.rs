//! Gram matrices of residuals, one per column, in one blocked pass.

use std::ops::Range;

use common::metrics::{ColumnSums, Matrix, Moments, Rules, Scores, fold};
use common::{Error, Result};

/// Columns that one vector operation covers.
const LANES: usize = 4;
/// Lane groups whose residuals are held at once: 16 columns are one cache line of single precision.
const GROUPS: usize = 4;
/// Rows summed before they are added to the total: keeps sums short and the residuals in cache.
const BLOCK_ROWS: usize = 64;

type Lane = [f64; LANES];

/// A symmetric matrix `[size, size]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Square {
    /// Number of rows and of columns.
    pub size: usize,
    /// Entries, row-major.
    pub values: Vec<f64>,
}

impl Square {
    /// All zero.
    pub fn zeros(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    /// Entry of row `i`, column `j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.size + j]
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.size..(i + 1) * self.size]
    }

    /// Matrix times vector.
    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        (0..self.size).map(|i| dot(self.row(i), vector)).collect()
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// For every column `c` the sums `G[k, m] = sum over rows of (y - p_k)(y - p_m)`, with the moments of the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    models: usize,
    /// `[columns, pairs]`; pairs run over k, then m >= k.
    sums: Vec<f64>,
    /// Moments of the truth.
    pub truth: Moments,
}

impl Gram {
    /// Gram matrices of `models` against `truth`. All matrices have the same shape; predictions are read once, so they
    /// may be memory-mapped. Values that are not finite are an error naming model (by index), row and column.
    pub fn of(truth: &Matrix, models: &[Matrix]) -> Result<Self> {
        let (rows, columns) = (truth.rows(), truth.columns());
        if models.is_empty() || rows == 0 {
            return Err(Error::failed(format!("nothing to blend: {} models, {rows} rows", models.len())));
        }
        for (k, model) in models.iter().enumerate() {
            if (model.rows(), model.columns()) != (rows, columns) {
                return Err(Error::failed(format!(
                    "model {k} is [{}, {}], the truth is [{rows}, {columns}]",
                    model.rows(),
                    model.columns()
                )));
            }
        }
        // Several rows side by side fill the lanes when there are fewer columns than lanes.
        let side = LANES.div_ceil(columns);
        let pairs = models.len() * (models.len() + 1) / 2;
        let lanes = fold(
            rows,
            columns,
            |piece| Piece { truth, models, side, pairs }.sums(piece),
            |total, part| total.iter_mut().zip(part).for_each(|(a, b)| *a += b),
        )
        .unwrap_or_default();
        let mut sums = vec![0.0; columns * pairs];
        for (lane, values) in lanes.chunks_exact(pairs).enumerate().take(columns * side) {
            let c = lane % columns;
            sums[c * pairs..(c + 1) * pairs].iter_mut().zip(values).for_each(|(a, b)| *a += b);
        }
        if sums.iter().any(|x| !x.is_finite()) {
            return Err(not_finite(truth, models));
        }
        Ok(Self { models: models.len(), sums, truth: Moments::of(truth) })
    }

    /// Number of models.
    pub fn models(&self) -> usize {
        self.models
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.truth.m2.len()
    }

    /// Number of rows that were summed.
    pub fn rows(&self) -> u64 {
        self.truth.rows
    }

    /// Gram matrix of one column.
    pub fn column(&self, c: usize) -> Square {
        self.weighted([(c, 1.0)])
    }

    /// Weighted sum of the Gram matrices of some columns.
    pub fn weighted(&self, columns: impl IntoIterator<Item = (usize, f64)>) -> Square {
        let mut total = Square::zeros(self.models);
        let pairs = self.models * (self.models + 1) / 2;
        for (c, weight) in columns {
            let mut sums = self.sums[c * pairs..].iter();
            for k in 0..self.models {
                for (m, &value) in (k..self.models).zip(&mut sums) {
                    total.values[k * self.models + m] += weight * value;
                }
            }
        }
        for k in 0..self.models {
            for m in 0..k {
                total.values[k * self.models + m] = total.values[m * self.models + k];
            }
        }
        total
    }

    /// Sum of squared errors in column `c` of the blend with these weights (which sum to one).
    pub fn sse(&self, c: usize, weights: &[f64]) -> f64 {
        let pairs = self.models * (self.models + 1) / 2;
        let mut sums = self.sums[c * pairs..].iter();
        let mut total = 0.0;
        for k in 0..self.models {
            for (m, &value) in (k..self.models).zip(&mut sums) {
                total += if k == m { 1.0 } else { 2.0 } * weights[k] * weights[m] * value;
            }
        }
        total.max(0.0)
    }

    /// Column scores of a blend, the weights of column `c` being `weights(c)`.
    pub fn scores<'w>(&self, weights: impl Fn(usize) -> &'w [f64], rules: &Rules) -> Scores {
        let sse: Vec<f64> = (0..self.columns()).map(|c| self.sse(c, weights(c))).collect();
        Scores::new(&ColumnSums { truth: self.truth.clone(), sae: vec![f64::NAN; sse.len()], sse }, rules)
    }
}

fn not_finite(truth: &Matrix, models: &[Matrix]) -> Error {
    if let Some((row, column)) = truth.first_non_finite() {
        return Error::failed(format!("the truth is not finite at row {row}, column {column}"));
    }
    for (k, model) in models.iter().enumerate() {
        if let Some((row, column)) = model.first_non_finite() {
            return Error::failed(format!("model {k} is not finite at row {row}, column {column}"));
        }
    }
    Error::failed("squares of the residuals exceed the range of double precision")
}

/// One piece of rows on its way to sums `[lanes, pairs]`.
struct Piece<'a> {
    truth: &'a Matrix<'a>,
    models: &'a [Matrix<'a>],
    side: usize,
    pairs: usize,
}

impl Piece<'_> {
    fn sums(&self, rows: Range<usize>) -> Vec<f64> {
        let width = self.truth.columns() * self.side;
        let padded = width.div_ceil(LANES) * LANES;
        let mut sums = vec![0.0; padded * self.pairs];
        // [lane group, model, row] of lanes
        let mut residuals = vec![[0.0; LANES]; GROUPS * self.models.len() * BLOCK_ROWS];
        let mut start = rows.start;
        while start < rows.end {
            let end = (start + BLOCK_ROWS * self.side).min(rows.end);
            for first in (0..width).step_by(LANES * GROUPS) {
                let last = (first + LANES * GROUPS).min(width);
                let used = (end - start).div_ceil(self.side);
                self.fill(start..end, first..last, &mut residuals);
                let groups = residuals.chunks_exact(self.models.len() * BLOCK_ROWS);
                for (group, residuals) in groups.enumerate().take((last - first).div_ceil(LANES)) {
                    let lane = first + group * LANES;
                    let sums = &mut sums[lane * self.pairs..(lane + LANES) * self.pairs];
                    add_products(residuals, self.models.len(), used, sums);
                }
            }
            start = end;
        }
        sums
    }

    /// Residuals of some rows and lanes. Lanes beyond the last column and rows beyond the last row hold 0.
    fn fill(&self, rows: Range<usize>, lanes: Range<usize>, residuals: &mut [Lane]) {
        let count = lanes.len();
        let mut y = [0.0; LANES * GROUPS];
        let mut p = [0.0; LANES * GROUPS];
        for (i, first) in (rows.start..rows.end).step_by(self.side).enumerate() {
            y[..].fill(0.0);
            self.read(self.truth, first..rows.end, lanes.clone(), &mut y[..count]);
            for (k, model) in self.models.iter().enumerate() {
                p[..].fill(0.0);
                self.read(model, first..rows.end, lanes.clone(), &mut p[..count]);
                for group in 0..GROUPS {
                    let at = (group * self.models.len() + k) * BLOCK_ROWS + i;
                    for lane in 0..LANES {
                        residuals[at][lane] = y[group * LANES + lane] - p[group * LANES + lane];
                    }
                }
            }
        }
    }

    /// Lanes of `side` neighbouring rows, of which the first is `rows.start`; rows from `rows.end` on are left at 0.
    #[inline]
    fn read(&self, matrix: &Matrix, rows: Range<usize>, lanes: Range<usize>, out: &mut [f64]) {
        if self.side == 1 {
            return matrix.read(rows.start, lanes, out);
        }
        let columns = matrix.columns();
        for (lane, out) in lanes.zip(out) {
            let (row, c) = (rows.start + lane / columns, lane % columns);
            if row < rows.end {
                matrix.read(row, c..c + 1, std::slice::from_mut(out));
            }
        }
    }
}

/// Adds the products of all pairs of models to `sums` `[LANES, pairs]`.
fn add_products(residuals: &[Lane], models: usize, rows: usize, sums: &mut [f64]) {
    let of = |k: usize| &residuals[k * BLOCK_ROWS..k * BLOCK_ROWS + rows];
    let pairs = sums.len() / LANES;
    let mut pair = 0;
    for k in 0..models {
        let mut m = k;
        while m < models {
            let mut put = |products: &[Lane]| {
                for product in products {
                    for (lane, value) in product.iter().enumerate() {
                        sums[lane * pairs + pair] += value;
                    }
                    pair += 1;
                }
            };
            match models - m {
                1 => put(&products(of(k), [of(m)])),
                2 => put(&products(of(k), [of(m), of(m + 1)])),
                3 => put(&products(of(k), [of(m), of(m + 1), of(m + 2)])),
                _ => put(&products(of(k), [of(m), of(m + 1), of(m + 2), of(m + 3)])),
            }
            m += 4;
        }
    }
}

/// Lane-wise dot products of one residual column with several.
#[inline]
fn products<const N: usize>(a: &[Lane], b: [&[Lane]; N]) -> [Lane; N] {
    let mut totals = [[0.0; LANES]; N];
    let b = b.map(|b| &b[..a.len()]);
    for (i, a) in a.iter().enumerate() {
        for (total, b) in totals.iter_mut().zip(&b) {
            for lane in 0..LANES {
                total[lane] += a[lane] * b[i][lane];
            }
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    fn noise(count: usize, index: u64) -> Vec<f32> {
        let mut rng = rng_for(3, "gram", index);
        (0..count).map(|_| rng.random_range(-1.0f32..1.0)).collect()
    }

    #[test]
    fn every_pair_and_column_is_the_plain_sum() {
        for (rows, columns, models) in [(1, 1, 1), (7, 1, 5), (65, 2, 3), (130, 3, 4), (300, 21, 6), (4000, 368, 2)] {
            let y = noise(rows * columns, 0);
            let p: Vec<Vec<f32>> = (0..models).map(|k| noise(rows * columns, k + 1)).collect();
            let matrices: Vec<Matrix> = p.iter().map(|p| Matrix::f32(p, columns).unwrap()).collect();
            let gram = Gram::of(&Matrix::f32(&y, columns).unwrap(), &matrices).unwrap();
            let residual = |k: usize, i: usize| f64::from(y[i]) - f64::from(p[k][i]);
            for c in 0..columns {
                let square = gram.column(c);
                for k in 0..models as usize {
                    for m in 0..models as usize {
                        let plain: f64 =
                            (0..rows).map(|n| residual(k, n * columns + c) * residual(m, n * columns + c)).sum();
                        let error = (square.at(k, m) - plain).abs();
                        assert!(error < 1e-12 * rows as f64, "{rows}x{columns}x{models} c {c} ({k},{m}): {error}");
                    }
                }
                let weights: Vec<f64> = (0..models).map(|k| 0.5 - 0.3 * k as f64).collect();
                let product: f64 = dot(&weights, &square.times(&weights));
                assert!((gram.sse(c, &weights) - product).abs() < 1e-9 * rows as f64);
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, columns) = (9000, 300);
        let (y, p, q) = (noise(rows * columns, 0), noise(rows * columns, 1), noise(rows * columns, 2));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let matrix = |v| Matrix::f32(v, columns).unwrap();
            pool.install(|| Gram::of(&matrix(&y), &[matrix(&p), matrix(&q)]).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_value_that_is_not_finite_names_model_row_and_column() {
        let y = noise(40, 0);
        let mut p = noise(40, 1);
        p[4 * 3 + 2] = f32::NAN;
        let matrix = |v| Matrix::f32(v, 4).unwrap();
        let error = Gram::of(&matrix(&y), &[matrix(&y), matrix(&p)]).unwrap_err();
        assert_eq!(error.to_string(), "model 1 is not finite at row 3, column 2");
    }

    #[test]
    fn shapes_that_differ_are_refused() {
        let (y, p) = (noise(40, 0), noise(36, 1));
        let matrix = |v| Matrix::f32(v, 4).unwrap();
        let error = Gram::of(&matrix(&y), &[matrix(&p)]).unwrap_err();
        assert_eq!(error.to_string(), "model 0 is [9, 4], the truth is [10, 4]");
    }
}
