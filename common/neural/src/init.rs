//! Initial values of parameters, drawn from a named generator on the CPU in f32, so that the same seed gives the same
//! network on every device and with any number of threads.
//!
//! The distributions are those of `torch.nn.init`; the draws themselves are our own.

use common::{Error, Result};
use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use tch::Tensor;

use crate::errors::Doing;

/// A rule for the initial values of one tensor. "Fan-in" is `shape[1] * shape[2..]`, "fan-out" `shape[0] * shape[2..]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// All equal to this value.
    Constant(f32),
    /// Uniform in ± the bound.
    Uniform(f64),
    /// Normal with mean zero and this standard deviation.
    Normal(f64),
    /// Normal with mean zero and this standard deviation, drawn again outside of ± the bound.
    TruncatedNormal {
        /// Standard deviation before truncation, > 0.
        std: f64,
        /// Largest absolute value, > 0.
        bound: f64,
    },
    /// Uniform in ± 1/sqrt(fan-in of this tensor): the default of linear and convolution weights.
    FanIn,
    /// Uniform in ± sqrt(6 / (fan-in + fan-out)).
    XavierUniform,
    /// Normal with standard deviation sqrt(2 / fan-in).
    KaimingNormal,
    /// Uniform in ± sqrt(6 / fan-in).
    KaimingUniform,
    /// Orthonormal columns (rows, where there are fewer rows than columns); further dimensions count as columns.
    Orthogonal,
    /// Zero, except one in the second quarter: the forget gate of an LSTM bias.
    ForgetGate,
    /// `softplus^-1` of step sizes drawn log-uniformly from 0.001..0.1, at least 1e-4: the bias of Mamba's step sizes.
    StepSizes,
    /// These values, row-major.
    Values(Vec<f32>),
}

impl Init {
    /// Uniform in ± 1/sqrt(`fan_in`): the default of biases, and of all tensors of an LSTM with `fan_in` hidden units.
    pub fn fan_in(fan_in: i64) -> Self {
        Self::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// The values for a tensor of this shape, row-major.
    pub fn draw(&self, shape: &[i64], rng: &mut Pcg64) -> Result<Vec<f32>> {
        if shape.iter().any(|&n| n < 0) {
            return Err(Error::failed(format!("initialising a tensor of shape {shape:?}: negative size")));
        }
        let n = shape.iter().product::<i64>() as usize;
        Ok(match self {
            Self::Zeros => vec![0.0; n],
            Self::Ones => vec![1.0; n],
            Self::Constant(value) => vec![*value; n],
            Self::Uniform(bound) => uniform(n, *bound, rng),
            Self::Normal(std) => normal(n, rng).into_iter().map(|x| (x * std) as f32).collect(),
            Self::TruncatedNormal { std, bound } => truncated(n, *std, *bound, rng)?,
            Self::FanIn => uniform(n, 1.0 / fans(shape)?.0.sqrt(), rng),
            Self::XavierUniform => {
                let (fan_in, fan_out) = fans(shape)?;
                uniform(n, (6.0 / (fan_in + fan_out)).sqrt(), rng)
            }
            Self::KaimingNormal => {
                let std = (2.0 / fans(shape)?.0).sqrt();
                normal(n, rng).into_iter().map(|x| (x * std) as f32).collect()
            }
            Self::KaimingUniform => uniform(n, (6.0 / fans(shape)?.0).sqrt(), rng),
            Self::Orthogonal => {
                fans(shape)?;
                let rows = shape[0] as usize;
                orthogonal(rows, n.checked_div(rows).unwrap_or(0), rng)
            }
            Self::ForgetGate => (0..n).map(|i| if (n / 4..n / 2).contains(&i) { 1.0 } else { 0.0 }).collect(),
            Self::StepSizes => step_sizes(n, rng),
            Self::Values(values) if values.len() == n => values.clone(),
            Self::Values(values) => {
                return Err(Error::failed(format!(
                    "initialising a tensor of shape {shape:?}: {} values given, expected {n}",
                    values.len()
                )));
            }
        })
    }

    /// Overwrites a tensor on any device, outside of any gradient.
    pub fn fill(&self, tensor: &Tensor, rng: &mut Pcg64) -> Result<()> {
        let shape = tensor.size();
        let values = Tensor::f_from_slice(&self.draw(&shape, rng)?).doing("initialising a tensor")?;
        let values = values.f_view(shape.as_slice()).doing("initialising a tensor")?;
        tch::no_grad(|| tensor.shallow_clone().f_copy_(&values)).doing("initialising a tensor")?;
        Ok(())
    }
}

/// (fan-in, fan-out) of a weight with at least two dimensions.
fn fans(shape: &[i64]) -> Result<(f64, f64)> {
    let [out, inner, field @ ..] = shape else {
        return Err(Error::failed(format!(
            "initialising a tensor of shape {shape:?}: expected two dimensions or more"
        )));
    };
    let field: i64 = field.iter().product();
    Ok(((inner * field).max(1) as f64, (out * field).max(1) as f64))
}

/// Uniform in `[-bound, bound)`. f32 draws have 24 bits, as torch's have.
fn uniform(n: usize, bound: f64, rng: &mut Pcg64) -> Vec<f32> {
    let bound = bound as f32;
    (0..n).map(|_| rng.random::<f32>().mul_add(2.0 * bound, -bound)).collect()
}

/// Standard normal values in f64 by the polar method.
fn normal(n: usize, rng: &mut Pcg64) -> Vec<f64> {
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        let (u, v) = (rng.random::<f64>() * 2.0 - 1.0, rng.random::<f64>() * 2.0 - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            let factor = (-2.0 * s.ln() / s).sqrt();
            values.extend([u * factor, v * factor]);
        }
    }
    values.truncate(n);
    values
}

/// Normal values beyond the bound are drawn anew.
fn truncated(n: usize, std: f64, bound: f64, rng: &mut Pcg64) -> Result<Vec<f32>> {
    // Within a tenth of a deviation lie 8 % of all draws: with less, drawing again would take for ever.
    if !(std > 0.0 && bound >= std / 10.0) {
        return Err(Error::failed(format!("initialising: a normal of deviation {std} cannot be cut at {bound}")));
    }
    let mut values: Vec<f32> = Vec::with_capacity(n);
    while values.len() < n {
        let drawn = normal(n - values.len(), rng).into_iter().map(|x| x * std);
        values.extend(drawn.filter(|x| x.abs() <= bound).map(|x| x as f32));
    }
    Ok(values)
}

/// The Q of the QR factorisation of a normal matrix with R's diagonal positive, which makes Q uniformly distributed.
///
/// Modified Gram–Schmidt in f64: its R has a positive diagonal by itself, so no sign has to be fixed afterwards, and
/// a normal matrix is so well conditioned that f32 is reached with seven digits to spare. Columns are updated in
/// parallel, each by the same sequence of operations whatever the number of threads.
fn orthogonal(rows: usize, columns: usize, rng: &mut Pcg64) -> Vec<f32> {
    let (long, short) = (rows.max(columns), rows.min(columns));
    let mut values = normal(long * short, rng);
    let mut vectors: Vec<&mut [f64]> = if long == 0 { Vec::new() } else { values.chunks_exact_mut(long).collect() };
    for k in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(k + 1);
        let unit = &mut *done[k];
        let norm = dot(unit, unit).sqrt();
        unit.iter_mut().for_each(|x| *x /= norm);
        let unit = &*unit;
        let project = |vector: &mut &mut [f64]| {
            let along = dot(unit, vector);
            vector.iter_mut().zip(unit).for_each(|(x, u)| *x -= along * u);
        };
        // A task must outweigh its hand-over.
        rest.par_iter_mut().with_min_len((1 << 15) / long + 1).for_each(project);
    }
    let at = |row: usize, column: usize| {
        if rows >= columns { values[column * long + row] } else { values[row * long + column] }
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| at(r, c) as f32).collect()
}

fn step_sizes(n: usize, rng: &mut Pcg64) -> Vec<f32> {
    let (low, high) = (0.001_f64.ln(), 0.1_f64.ln());
    let mut draw = || {
        let size = (low + rng.random::<f64>() * (high - low)).exp().max(1e-4);
        (size + (-(-size).exp_m1()).ln()) as f32
    };
    (0..n).map(|_| draw()).collect()
}

/// Dot product with eight running sums, in an order that does not depend on anything but the length.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (mut a, mut b) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in a.by_ref().zip(b.by_ref()) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;

    fn draw(init: &Init, shape: &[i64]) -> Vec<f32> {
        init.draw(shape, &mut rng_for(47, "init", 0)).unwrap()
    }

    #[test]
    fn orthogonal_matrices_are_orthonormal_on_their_short_side() {
        for (rows, columns) in [(32, 8), (8, 32), (16, 16), (1, 5), (400, 100)] {
            let q = draw(&Init::Orthogonal, &[rows, columns]);
            let at = |r: i64, c: i64| f64::from(q[(r * columns + c) as usize]);
            let short = rows.min(columns);
            for i in 0..short {
                for j in 0..short {
                    let sum: f64 = if rows >= columns {
                        (0..rows).map(|r| at(r, i) * at(r, j)).sum()
                    } else {
                        (0..columns).map(|c| at(i, c) * at(j, c)).sum()
                    };
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((sum - expected).abs() < 1e-6, "{rows}x{columns} ({i},{j}): {sum}");
                }
            }
        }
    }

    #[test]
    fn orthogonal_signs_are_balanced() {
        // Householder without the sign fix gives a first column with one sign only; here every entry has mean zero.
        let mut rng = rng_for(1, "signs", 0);
        let positive = (0..200).filter(|_| Init::Orthogonal.draw(&[4, 4], &mut rng).unwrap()[0] > 0.0).count();
        assert!((70..130).contains(&positive), "{positive} of 200 positive");
    }

    #[test]
    fn uniform_rules_fill_their_interval() {
        let cases = [
            (Init::XavierUniform, vec![64, 16], (6.0_f64 / 80.0).sqrt()),
            (Init::XavierUniform, vec![10, 4, 5], (6.0_f64 / 70.0).sqrt()),
            (Init::FanIn, vec![50, 25, 4], 0.1),
            (Init::KaimingUniform, vec![64, 24], 0.5),
            (Init::fan_in(256), vec![1024], 1.0 / 16.0),
        ];
        for (init, shape, bound) in cases {
            let values = draw(&init, &shape);
            let largest = values.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
            assert!(
                f64::from(largest) <= bound * 1.000_001 && f64::from(largest) > 0.97 * bound,
                "{init:?}: {largest}"
            );
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 4.0 * bound / (3.0 * n).sqrt(), "{init:?}: mean {mean}");
            assert!((variance * 3.0 / bound.powi(2) - 1.0).abs() < 0.2, "{init:?}: variance {variance}");
        }
    }

    #[test]
    fn kaiming_normal_has_the_variance_of_its_fan_in() {
        let values = draw(&Init::KaimingNormal, &[200, 50]);
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((variance / 0.04 - 1.0).abs() < 0.05, "{variance}");
        assert!(values.iter().any(|x| x.abs() > 0.6), "no value beyond three standard deviations");
    }

    #[test]
    fn truncated_normal_values_stay_within_the_bound() {
        let values = draw(&Init::TruncatedNormal { std: 0.02, bound: 0.02 }, &[100, 50]);
        assert!(values.len() == 5000 && values.iter().all(|x| x.abs() <= 0.02));
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        // A standard normal cut at one deviation has the variance 0.291.
        assert!((variance / 0.0004 - 0.291).abs() < 0.02, "{variance}");
        let mut rng = rng_for(0, "init", 0);
        assert!(Init::TruncatedNormal { std: 1.0, bound: 1e-9 }.draw(&[2], &mut rng).is_err());
    }

    #[test]
    fn the_forget_gate_is_the_second_quarter() {
        assert_eq!(draw(&Init::ForgetGate, &[8]), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn draws_do_not_depend_on_the_number_of_threads() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let shape = [512, 128];
        assert_eq!(one.install(|| draw(&Init::Orthogonal, &shape)), four.install(|| draw(&Init::Orthogonal, &shape)));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let mut rng = rng_for(0, "init", 0);
        let error = Init::XavierUniform.draw(&[8], &mut rng).unwrap_err().to_string();
        assert!(error.contains("[8]") && error.contains("two dimensions"), "{error}");
        let error = Init::Values(vec![1.0]).draw(&[2], &mut rng).unwrap_err().to_string();
        assert!(error.contains("1 values given, expected 2"), "{error}");
        assert!(Init::Orthogonal.draw(&[0, 4], &mut rng).unwrap().is_empty());
    }
}
