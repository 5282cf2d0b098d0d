//! Real distributions for simulated fields: a monotone map for each variable and level, fitted on a sample such that
//! mean and standard deviation are the real ones, and no value leaves the real range.

use super::climate::Figures;

/// Largest ratio of deviation to mean distance from the bound. Some trace amounts have one value in a million that
/// carries the whole real deviation; here the mean goes up instead, by less than one deviation.
const HEAVIEST: f64 = 1.6;
/// A bound nearer to the mean than so many deviations makes a distribution with a tail to the other side.
const NEAR: f64 = 2.5;
/// Rounds of fitting; the fixed point is reached long before.
const ROUNDS: usize = 30;

/// A monotone map from a simulated field to real values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Marginal {
    /// What does not vary in the real data.
    Constant(f64),
    /// `centre + y`, `y = scale (x - middle)` limited to the real range on both sides.
    Bell {
        /// Value of the middle.
        centre: f64,
        /// Mean of the field.
        middle: f64,
        /// Real units for each unit of the field.
        scale: f64,
        /// Reach below the centre.
        below: f64,
        /// Reach above it.
        above: f64,
    },
    /// `bound + y` or `bound - y`, `y = factor x^power` limited to the real range; the field is never negative.
    Tail {
        /// The near end of the real range.
        bound: f64,
        /// 1: the tail goes up, -1: down.
        sign: f64,
        /// Amount at x = 1.
        factor: f64,
        /// Curvature: what makes a tail long.
        power: f64,
        /// Length of the real range.
        reach: f64,
    },
}

/// Which side the tail of a variable goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Both alike.
    Bell,
    /// Up from the smallest value.
    Up,
    /// Down from the largest value.
    Down,
}

impl Shape {
    /// The shape that the real mean and range suggest.
    pub fn of(real: &Figures) -> Self {
        let (below, above) = (real.mean - real.min, real.max - real.mean);
        match below <= above {
            true if below < NEAR * real.std => Self::Up,
            false if above < NEAR * real.std => Self::Down,
            _ => Self::Bell,
        }
    }
}

impl Marginal {
    /// A map for a field with both signs: tails are made of its exponential.
    pub fn of_signed(field: &[f64], real: &Figures) -> Self {
        match Shape::of(real) {
            _ if real.min >= real.max => Self::Constant(real.min),
            Shape::Bell => Self::bell(field, real),
            Shape::Up => Self::tail(field.iter().map(|x| x.exp()), real, 1.0),
            Shape::Down => Self::tail(field.iter().map(|x| (-x).exp()), real, -1.0),
        }
    }

    /// A map for a field that is never negative: the tail goes up.
    pub fn of_amount(field: &[f64], real: &Figures) -> Self {
        if real.min >= real.max {
            return Self::Constant(real.min);
        }
        Self::tail(field.iter().copied(), real, 1.0)
    }

    /// A map that keeps both tails of a field.
    pub fn bell(field: &[f64], real: &Figures) -> Self {
        let (middle, std) = moments(field.iter().copied());
        let std = if std > 0.0 { std } else { 1.0 };
        let (mut centre, mut scale) = (real.mean, real.std / std);
        for _ in 0..ROUNDS {
            let map = Self::Bell { centre, middle, scale, below: centre - real.min, above: real.max - centre };
            let (mean, std) = moments(field.iter().map(|&x| map.value(x)));
            // Half steps: mean and deviation move each other.
            centre = (centre + 0.5 * (real.mean - mean)).clamp(inner(real, 0.01), inner(real, 0.99));
            scale *= ratio(real.std, std).sqrt();
        }
        Self::Bell { centre, middle, scale, below: centre - real.min, above: real.max - centre }
    }

    fn tail(field: impl Iterator<Item = f64>, real: &Figures, sign: f64) -> Self {
        let logs: Vec<f64> = field.map(f64::ln).collect();
        // Fitting begins with a field of mean 1: from far away it would begin at the ends of the range.
        let (size, _) = moments(logs.iter().map(|x| x.exp()));
        let size = if size > 0.0 { size.ln() } else { 0.0 };
        let bound = if sign > 0.0 { real.min } else { real.max };
        let reach = real.max - real.min;
        let mean = (sign * (real.mean - bound)).max(real.std / HEAVIEST);
        let target = real.std / mean;
        let (mut log_factor, mut power) = (mean.ln(), 1.0_f64);
        for _ in 0..ROUNDS {
            let amounts = || logs.iter().map(|&x| limited((log_factor + power * (x - size)).exp(), reach));
            let (found, std) = moments(amounts());
            power = (power * ratio(target, std / found).sqrt()).clamp(0.02, 12.0);
            log_factor += ratio(mean, found).ln();
        }
        Self::Tail { bound, sign, factor: (log_factor - power * size).exp(), power, reach }
    }

    /// The real value of a field's value.
    pub fn value(&self, x: f64) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Bell { centre, middle, scale, below, above } => {
                let y = scale * (x - middle);
                centre + if y < 0.0 { -limited(-y, below) } else { limited(y, above) }
            }
            Self::Tail { bound, sign, factor, power, reach } => bound + sign * limited(factor * x.powf(power), reach),
        }
    }

    /// The same for a field with both signs, of [`Marginal::of_signed`].
    pub fn signed(&self, x: f64) -> f64 {
        match self {
            Self::Tail { sign, .. } => self.value((sign * x).exp()),
            _ => self.value(x),
        }
    }
}

/// `y` of 0 and more, never above `reach`, and itself where it is small beside it.
fn limited(y: f64, reach: f64) -> f64 {
    if !y.is_finite() {
        return reach;
    }
    let part = y / reach;
    if part > 1e3 { reach } else { y / (1.0 + part.powi(4)).sqrt().sqrt() }
}

/// The place at a part of the real range.
fn inner(real: &Figures, part: f64) -> f64 {
    real.min + part * (real.max - real.min)
}

/// `wanted / found`, within a factor of three: one step of fitting goes no further.
fn ratio(wanted: f64, found: f64) -> f64 {
    let ratio = wanted / found;
    if ratio.is_finite() { ratio.clamp(1.0 / 3.0, 3.0) } else { 1.0 }
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roughly normal numbers.
    fn field() -> Vec<f64> {
        (0..2000_u32)
            .map(|i| (1..=6).map(|k: u32| (f64::from(i * k * k) * 0.754_877_67).fract() - 0.5).sum::<f64>())
            .collect()
    }

    #[test]
    fn fields_get_the_real_mean_deviation_and_range() {
        for real in [
            Figures { mean: 288.0, std: 14.5, min: 194.0, max: 325.7 }, // long tail to the cold side
            Figures { mean: 9.6e-3, std: 5.9e-3, min: 8e-7, max: 2.5e-2 },
            Figures { mean: 1.8e-6, std: 1.1e-7, min: 1.7e-6, max: 2.3e-6 },
            Figures { mean: 12.8, std: 30.7, min: -165.0, max: 205.0 },
            Figures { mean: 4.6e-6, std: 1.4e-5, min: 0.0, max: 1e-3 },
        ] {
            let field = field();
            let map = Marginal::of_signed(&field, &real);
            let values: Vec<f64> = field.iter().map(|&x| map.signed(x)).collect();
            let (mean, std) = moments(values.iter().copied());
            // A tail heavier than any here has its mean higher.
            let heavy = real.std > HEAVIEST * (real.mean - real.min);
            assert!((mean - real.mean).abs() < if heavy { 0.35 } else { 0.1 } * real.std, "{real:?}: {mean}");
            assert!((0.9..1.1).contains(&(std / real.std)), "{real:?}: {std}");
            assert!(values.iter().all(|v| (real.min..=real.max).contains(v)));
            assert!(map.signed(40.0) >= map.signed(1.0) && map.signed(400.0) <= real.max);
        }
    }

    #[test]
    fn one_value_in_a_million_is_no_distribution_that_fits() {
        let real = Figures { mean: 7.4e-38, std: 2.7e-33, min: 0.0, max: 1.7e-28 };
        let field: Vec<f64> = field().into_iter().map(f64::exp).collect();
        let map = Marginal::of_amount(&field, &real);
        let (mean, std) = moments(field.iter().map(|&x| map.value(x)));
        assert!((mean - real.mean).abs() < real.std && (0.5..2.0).contains(&(std / real.std)), "{mean} {std}");
    }

    #[test]
    fn what_does_not_vary_is_constant() {
        let real = Figures { mean: 9.986e-7, std: 5e-18, min: 9.986e-7, max: 9.986e-7 };
        assert_eq!(Marginal::of_signed(&field(), &real), Marginal::Constant(9.986e-7));
    }
}
