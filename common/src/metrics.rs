//! Column scores in one pass over two matrices that may be larger than memory.
//!
//! Everything is summed in double precision: inside a block of rows relative to the block's first row (so a constant
//! column has exactly no variance), blocks joined by the pairwise rule of Chan, Golub and LeVeque (1983). Blocks are
//! cut by row count alone and joined in row order, so the result does not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Rows summed sequentially before a merge.
const BLOCK_ROWS: usize = 256;
/// Values of one parallel piece of work, about 1 MiB of single precision.
const CHUNK_VALUES: usize = 1 << 18;
/// Pieces in flight, the bound of memory.
const WAVE: usize = 64;

/// The numbers behind a [`Matrix`], row-major.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

/// A borrowed matrix `[rows, columns]`, row-major, with an optional affine map of every column.
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    values: Values<'a>,
    columns: usize,
    map: Option<(Vec<f64>, Vec<f64>)>,
}

impl<'a> Matrix<'a> {
    /// A matrix over `values`; their count must be a multiple of `columns`.
    pub fn new(values: Values<'a>, columns: usize) -> Result<Self> {
        let count = match values {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
        };
        if columns == 0 || count % columns != 0 {
            return Err(Error::failed(format!("{count} values do not form rows of {columns} columns")));
        }
        Ok(Self { values, columns, map: None })
    }

    /// Single precision, row-major.
    pub fn f32(values: &'a [f32], columns: usize) -> Result<Self> {
        Self::new(Values::F32(values), columns)
    }

    /// Double precision, row-major.
    pub fn f64(values: &'a [f64], columns: usize) -> Result<Self> {
        Self::new(Values::F64(values), columns)
    }

    /// Reads every value `x` of column `c` as `x * scale[c] + shift[c]`. Columns with scale 1 and shift 0 keep their bits.
    pub fn mapped(mut self, scale: Vec<f64>, shift: Vec<f64>) -> Result<Self> {
        if scale.len() != self.columns || shift.len() != self.columns {
            return Err(Error::failed(format!(
                "the map has {} scales and {} shifts, the matrix {} columns",
                scale.len(),
                shift.len(),
                self.columns
            )));
        }
        let identity = scale.iter().all(|&s| s == 1.0) && shift.iter().all(|&s| s == 0.0);
        self.map = (!identity).then_some((scale, shift));
        Ok(self)
    }

    /// The numbers as they lie in memory, where they are of double precision and read as they are.
    pub fn plain(&self) -> Option<&'a [f64]> {
        match self.values {
            Values::F64(values) if self.map.is_none() => Some(values),
            _ => None,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self.values {
            Values::F32(v) => v.len() / self.columns,
            Values::F64(v) => v.len() / self.columns,
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The first rows alone, at most all of them.
    #[must_use]
    pub fn head(mut self, rows: usize) -> Self {
        let count = rows.min(self.rows()) * self.columns;
        self.values = match self.values {
            Values::F32(v) => Values::F32(&v[..count]),
            Values::F64(v) => Values::F64(&v[..count]),
        };
        self
    }

    /// Writes columns `range` of row `row` to `out`, in double precision.
    #[inline]
    pub fn read(&self, row: usize, range: Range<usize>, out: &mut [f64]) {
        let from = row * self.columns;
        match self.values {
            Values::F32(v) => {
                for (o, &x) in out.iter_mut().zip(&v[from + range.start..from + range.end]) {
                    *o = f64::from(x);
                }
            }
            Values::F64(v) => out.copy_from_slice(&v[from + range.start..from + range.end]),
        }
        if let Some((scale, shift)) = &self.map {
            for ((o, a), b) in out.iter_mut().zip(&scale[range.clone()]).zip(&shift[range]) {
                *o = *o * a + b;
            }
        }
    }

    /// Row and column of the first value that is not finite.
    pub fn first_non_finite(&self) -> Option<(usize, usize)> {
        let mut row = vec![0.0; self.columns];
        (0..self.rows()).find_map(|r| {
            self.read(r, 0..self.columns, &mut row);
            row.iter().position(|x| !x.is_finite()).map(|c| (r, c))
        })
    }
}

/// Mean and centred sum of squares of every column.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Rows seen.
    pub rows: u64,
    /// Mean of every column.
    pub mean: Vec<f64>,
    /// Sum of squared distances from the mean, of every column: the SST of R2.
    pub m2: Vec<f64>,
}

impl Moments {
    /// No rows yet.
    pub fn new(columns: usize) -> Self {
        Self { rows: 0, mean: vec![0.0; columns], m2: vec![0.0; columns] }
    }

    /// Moments of a whole matrix, in parallel.
    pub fn of(matrix: &Matrix) -> Self {
        fold(
            matrix.rows(),
            matrix.columns(),
            |rows| {
                let mut part = Self::new(matrix.columns());
                part.add(matrix, rows);
                part
            },
            Self::merge,
        )
        .unwrap_or_else(|| Self::new(matrix.columns()))
    }

    /// Takes in a range of rows.
    pub fn add(&mut self, matrix: &Matrix, rows: Range<usize>) {
        let columns = matrix.columns();
        let (mut first, mut row) = (vec![0.0; columns], vec![0.0; columns]);
        for block in blocks(rows) {
            let mut part = Self::new(columns);
            matrix.read(block.start, 0..columns, &mut first);
            for r in block.clone() {
                matrix.read(r, 0..columns, &mut row);
                for (((sum, squares), x), x0) in part.mean.iter_mut().zip(&mut part.m2).zip(&row).zip(&first) {
                    let d = x - x0;
                    *sum += d;
                    *squares += d * d;
                }
            }
            part.close(block.len(), &first);
            self.merge(part);
        }
    }

    /// Turns the sums of a block (of differences from its first row) into moments.
    fn close(&mut self, rows: usize, first: &[f64]) {
        let n = rows as f64;
        for ((mean, m2), x0) in self.mean.iter_mut().zip(&mut self.m2).zip(first) {
            let shift = *mean / n;
            *m2 = (*m2 - *mean * shift).max(0.0);
            *mean = x0 + shift;
        }
        self.rows = rows as u64;
    }

    /// Joins the rows of `other` behind these.
    pub fn merge(&mut self, other: Self) {
        if self.rows == 0 {
            *self = other;
            return;
        }
        let (a, b) = (self.rows as f64, other.rows as f64);
        for i in 0..self.mean.len() {
            let delta = other.mean[i] - self.mean[i];
            self.mean[i] += delta * (b / (a + b));
            self.m2[i] += other.m2[i] + delta * delta * (a * b / (a + b));
        }
        self.rows += other.rows;
    }
}

/// Everything that the scores of predictions against a truth need, for every column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSums {
    /// Moments of the truth.
    pub truth: Moments,
    /// Sum of squared errors of every column.
    pub sse: Vec<f64>,
    /// Sum of absolute errors of every column.
    pub sae: Vec<f64>,
}

impl ColumnSums {
    /// No rows yet.
    pub fn new(columns: usize) -> Self {
        Self { truth: Moments::new(columns), sse: vec![0.0; columns], sae: vec![0.0; columns] }
    }

    /// Sums over two whole matrices of the same shape, in parallel.
    pub fn of(truth: &Matrix, predictions: &Matrix) -> Result<Self> {
        same_shape(truth, predictions)?;
        let sums = fold(
            truth.rows(),
            truth.columns(),
            |rows| {
                let mut part = Self::new(truth.columns());
                part.add_rows(truth, predictions, rows);
                part
            },
            Self::merge,
        );
        Ok(sums.unwrap_or_else(|| Self::new(truth.columns())))
    }

    /// Takes in a batch, for callers that stream: both matrices hold the same rows.
    pub fn add(&mut self, truth: &Matrix, predictions: &Matrix) -> Result<()> {
        same_shape(truth, predictions)?;
        self.add_rows(truth, predictions, 0..truth.rows());
        Ok(())
    }

    /// Takes in rows of single precision, in parallel, for callers that hold them in memory. Both slices hold equally many
    /// whole rows; what goes beyond is ignored.
    pub fn add_f32(&mut self, truth: &[f32], predictions: &[f32]) {
        let columns = self.columns();
        let rows = truth.len().min(predictions.len()) / columns.max(1);
        let matrix = |v| Matrix { values: Values::F32(v), columns, map: None };
        let (truth, predictions) = (matrix(&truth[..rows * columns]), matrix(&predictions[..rows * columns]));
        let piece = |rows| {
            let mut part = Self::new(columns);
            part.add_rows(&truth, &predictions, rows);
            part
        };
        if let Some(sums) = fold(rows, columns, piece, Self::merge) {
            self.merge(sums);
        }
    }

    fn add_rows(&mut self, truth: &Matrix, predictions: &Matrix, rows: Range<usize>) {
        let columns = truth.columns();
        let (mut first, mut y, mut p) = (vec![0.0; columns], vec![0.0; columns], vec![0.0; columns]);
        for block in blocks(rows) {
            let mut part = Self::new(columns);
            truth.read(block.start, 0..columns, &mut first);
            for r in block.clone() {
                truth.read(r, 0..columns, &mut y);
                predictions.read(r, 0..columns, &mut p);
                let sums = part.truth.mean.iter_mut().zip(&mut part.truth.m2);
                let errors = part.sse.iter_mut().zip(&mut part.sae);
                for ((((sum, squares), (sse, sae)), (y, p)), y0) in sums.zip(errors).zip(y.iter().zip(&p)).zip(&first) {
                    let (d, e) = (y - y0, y - p);
                    *sum += d;
                    *squares += d * d;
                    *sse += e * e;
                    *sae += e.abs();
                }
            }
            part.truth.close(block.len(), &first);
            self.merge(part);
        }
    }

    /// Joins the rows of `other` behind these.
    pub fn merge(&mut self, other: Self) {
        self.truth.merge(other.truth);
        for (a, b) in self.sse.iter_mut().zip(&other.sse).chain(self.sae.iter_mut().zip(&other.sae)) {
            *a += b;
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.sse.len()
    }

    /// R2 of column `c`.
    pub fn r2(&self, c: usize) -> f64 {
        r2(self.sse[c], self.truth.m2[c])
    }

    /// Root of the mean squared error of column `c`.
    pub fn rmse(&self, c: usize) -> f64 {
        (self.sse[c] / self.truth.rows as f64).sqrt()
    }

    /// Mean absolute error of column `c`.
    pub fn mae(&self, c: usize) -> f64 {
        self.sae[c] / self.truth.rows as f64
    }
}

/// Coefficient of determination from the sums of squares of errors and of the centred truth. A truth without variance
/// scores 1 when it is met exactly, else 0.
pub fn r2(sse: f64, sst: f64) -> f64 {
    if sst == 0.0 {
        return if sse == 0.0 { 1.0 } else { 0.0 };
    }
    1.0 - sse / sst
}

/// R2 that column `c` would have if physical zero were predicted, the truth being stored as `(x - mean) / std`.
/// Never positive, except 1 where the truth is physical zero throughout.
pub fn zero_r2(truth: &Moments, c: usize, mean: f64, std: f64) -> f64 {
    let distance = truth.mean[c] + mean / std;
    let squares = truth.rows as f64 * distance * distance;
    if truth.m2[c] == 0.0 { r2(squares, 0.0) } else { -(squares / truth.m2[c]) }
}

/// How columns are judged beyond their plain R2.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Columns that count 1 whatever was predicted, because a rule outside the model fills them.
    pub fixed: Vec<usize>,
    /// Mean and std of the truth's normalisation: a column whose R2 is not positive may be replaced by physical zero.
    pub zero: Option<(Vec<f64>, Vec<f64>)>,
}

/// Scores of all columns under the rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// R2 of every column, rules applied.
    pub columns: Vec<f64>,
    /// Columns where predicting physical zero is better than the predictions, in column order.
    pub zero_list: Vec<usize>,
}

impl Scores {
    /// Applies the rules to the sums.
    pub fn new(sums: &ColumnSums, rules: &Rules) -> Self {
        let mut columns: Vec<f64> = (0..sums.columns()).map(|c| sums.r2(c)).collect();
        let mut fixed = vec![false; columns.len()];
        for &c in &rules.fixed {
            fixed[c] = true;
            columns[c] = 1.0;
        }
        let mut zero_list = Vec::new();
        if let Some((mean, std)) = &rules.zero {
            for c in (0..columns.len()).filter(|&c| !fixed[c]) {
                let zero = zero_r2(&sums.truth, c, mean[c], std[c]);
                if columns[c] <= 0.0 && zero > columns[c] {
                    columns[c] = zero;
                    zero_list.push(c);
                }
            }
        }
        Self { columns, zero_list }
    }

    /// Mean over all columns, higher is better.
    pub fn mean(&self) -> f64 {
        mean(&self.columns)
    }

    /// Mean over a range of columns.
    pub fn mean_of(&self, columns: Range<usize>) -> f64 {
        mean(&self.columns[columns])
    }
}

/// Plain mean; of nothing it is NaN.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn same_shape(a: &Matrix, b: &Matrix) -> Result<()> {
    if (a.rows(), a.columns()) == (b.rows(), b.columns()) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the truth is [{}, {}], the predictions are [{}, {}]",
        a.rows(),
        a.columns(),
        b.rows(),
        b.columns()
    )))
}

fn blocks(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(BLOCK_ROWS).map(move |start| start..(start + BLOCK_ROWS).min(end))
}

/// Maps pieces of the rows in parallel and joins the results in row order; memory is bounded by [`WAVE`] results.
pub fn fold<T: Send>(
    rows: usize,
    columns: usize,
    piece: impl Fn(Range<usize>) -> T + Sync,
    join: impl Fn(&mut T, T),
) -> Option<T> {
    let step = (CHUNK_VALUES / columns).div_ceil(BLOCK_ROWS).max(1) * BLOCK_ROWS;
    let starts: Vec<usize> = (0..rows).step_by(step).collect();
    let mut total: Option<T> = None;
    for wave in starts.chunks(WAVE) {
        let parts: Vec<T> = wave.par_iter().map(|&start| piece(start..(start + step).min(rows))).collect();
        for part in parts {
            match &mut total {
                Some(total) => join(total, part),
                None => total = Some(part),
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::rng_for;
    use rand::RngExt;

    fn noise(rows: usize, columns: usize, name: &str) -> Vec<f32> {
        let mut rng = rng_for(7, name, 0);
        (0..rows * columns).map(|i| rng.random_range(-1.0f32..1.0) + (i % columns) as f32 * 100.0).collect()
    }

    fn direct_r2(y: &[f32], p: &[f32], columns: usize, c: usize) -> f64 {
        let ys: Vec<f64> = y.iter().skip(c).step_by(columns).map(|&x| f64::from(x)).collect();
        let ps: Vec<f64> = p.iter().skip(c).step_by(columns).map(|&x| f64::from(x)).collect();
        let m = mean(&ys);
        let sst: f64 = ys.iter().map(|y| (y - m).powi(2)).sum();
        1.0 - ys.iter().zip(&ps).map(|(y, p)| (y - p).powi(2)).sum::<f64>() / sst
    }

    #[test]
    fn streamed_r2_is_the_two_pass_r2_far_from_the_origin() {
        for (rows, columns) in [(1, 1), (2, 3), (BLOCK_ROWS, 2), (BLOCK_ROWS + 1, 5), (3000, 7)] {
            let (y, mut p) = (noise(rows, columns, "y"), noise(rows, columns, "p"));
            p.iter_mut().zip(&y).for_each(|(p, y)| *p = 0.3 * *p + 0.7 * y);
            let sums = ColumnSums::of(&Matrix::f32(&y, columns).unwrap(), &Matrix::f32(&p, columns).unwrap()).unwrap();
            assert_eq!(sums.truth.rows, rows as u64);
            for c in (0..columns).filter(|_| rows > 1) {
                let expected = direct_r2(&y, &p, columns, c);
                assert!((sums.r2(c) - expected).abs() < 1e-10, "{rows}x{columns}: {} against {expected}", sums.r2(c));
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, columns) = (20_000, 60);
        let (y, p) = (noise(rows, columns, "y"), noise(rows, columns, "p"));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                ColumnSums::of(&Matrix::f32(&y, columns).unwrap(), &Matrix::f32(&p, columns).unwrap()).unwrap()
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_constant_truth_scores_one_when_met_and_zero_when_missed() {
        let y = vec![0.1f32; 1000];
        let sums = |p: f32| {
            let p = vec![p; 1000];
            ColumnSums::of(&Matrix::f32(&y, 1).unwrap(), &Matrix::f32(&p, 1).unwrap()).unwrap().r2(0)
        };
        assert_eq!(sums(0.1), 1.0);
        assert_eq!(sums(0.2), 0.0);
    }

    #[test]
    fn the_zero_rule_lifts_only_columns_that_physical_zero_predicts_better() {
        // Truth x = y * 2 + 6; predicting x = 0 means y = -3.
        let y = [1.0f64, -3.0, -1.0, -2.0, -3.5, -2.5];
        let p = [0.9f64, 9.0, -0.9, 9.0, -3.4, 9.0];
        let sums = ColumnSums::of(&Matrix::f64(&y, 2).unwrap(), &Matrix::f64(&p, 2).unwrap()).unwrap();
        let rules = Rules { fixed: vec![], zero: Some((vec![6.0; 2], vec![2.0; 2])) };
        let scores = Scores::new(&sums, &rules);
        let zero = ColumnSums::of(&Matrix::f64(&y, 2).unwrap(), &Matrix::f64(&[-3.0; 6], 2).unwrap()).unwrap().r2(1);
        assert_eq!(scores.zero_list, [1]);
        assert!((scores.columns[1] - zero).abs() < 1e-12);
        assert_eq!(scores.columns[0], sums.r2(0));
        let fixed = Scores::new(&sums, &Rules { fixed: vec![1], ..rules });
        assert_eq!((fixed.columns[1], fixed.zero_list.len()), (1.0, 0));
    }

    #[test]
    fn a_mapped_matrix_scores_like_the_mapped_numbers() {
        let (y, p) = (noise(500, 3, "y"), noise(500, 3, "p"));
        let (scale, shift) = (vec![2.0, 0.5, 1.0], vec![-1.0, 3.0, 0.0]);
        let by_hand: Vec<f64> =
            p.iter().enumerate().map(|(i, &x)| f64::from(x) * scale[i % 3] + shift[i % 3]).collect();
        let y = Matrix::f32(&y, 3).unwrap();
        let mapped = Matrix::f32(&p, 3).unwrap().mapped(scale, shift).unwrap();
        assert_eq!(
            ColumnSums::of(&y, &mapped).unwrap(),
            ColumnSums::of(&y, &Matrix::f64(&by_hand, 3).unwrap()).unwrap()
        );
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut p = noise(300, 4, "p");
        p[4 * 200 + 3] = f32::NAN;
        p[4 * 250] = f32::INFINITY;
        assert_eq!(Matrix::f32(&p, 4).unwrap().first_non_finite(), Some((200, 3)));
        assert_eq!(Matrix::f32(&p[..800], 4).unwrap().first_non_finite(), None);
    }
}
