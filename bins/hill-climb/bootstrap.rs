//! How much the weights hang on the rows at hand: the search repeated on rows drawn with replacement.

use common::Result;
use common::cli::signals;
use common::seed::{places, rng_for};

use crate::hill_climb::problem::Problem;

/// Levels of the quantiles that are told of every weight.
pub const LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// The weights that the resamples gave.
pub struct Bootstrap {
    /// `[resample][model]`
    weights: Vec<Vec<f64>>,
}

/// How one model's weight differs between resamples.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
    /// Quantiles at [`LEVELS`], between two values in proportion as NumPy's.
    pub quantiles: [f64; 5],
    /// Share of the resamples in which the model has a weight.
    pub taken: f64,
}

impl Bootstrap {
    /// Searches `count` resamples. Every class keeps its number of rows, so that no metric loses one.
    pub fn of(problem: &Problem, count: usize) -> Result<Self> {
        let classes = problem.classes_of_rows();
        let mut of_class: Vec<Vec<usize>> = vec![vec![]; classes.iter().max().map_or(0, |most| most + 1)];
        classes.iter().enumerate().for_each(|(row, &class)| of_class[class].push(row));
        let mut weights = Vec::with_capacity(count);
        for resample in 0..count {
            signals::check("nothing, start the search again")?;
            let mut rng = rng_for(problem.seed, "bootstrap", resample as u64);
            let mut rows = Vec::with_capacity(classes.len());
            for known in of_class.iter().filter(|known| !known.is_empty()) {
                rows.extend(places(&mut rng, known.len(), known.len()).into_iter().map(|place| known[place]));
            }
            rows.sort_unstable();
            let part = problem.gather(&rows)?;
            let blend = problem.on(&part)?.solve().map_err(|e| e.within(&format!("resample {resample}")))?;
            weights.push(blend.global.weights);
        }
        Ok(Self { weights })
    }

    /// Number of resamples.
    pub fn resamples(&self) -> usize {
        self.weights.len()
    }

    /// The spread of a model's weight.
    pub fn spread(&self, model: usize) -> Spread {
        let mut all: Vec<f64> = self.weights.iter().map(|weights| weights[model]).collect();
        all.sort_by(f64::total_cmp);
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let squares: f64 = all.iter().map(|weight| (weight - mean).powi(2)).sum();
        let taken = all.iter().filter(|weight| **weight != 0.0).count() as f64 / count;
        let quantiles = LEVELS.map(|level| quantile(&all, level));
        Spread { mean, std: (squares / (count - 1.0).max(1.0)).sqrt(), quantiles, taken }
    }
}

/// A quantile of sorted values.
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let place = level * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let next = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + part * (next - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_definition() {
        let bootstrap = Bootstrap { weights: [0.0, 1.0, 0.5, 0.25, 0.0].iter().map(|w| vec![*w, 1.0 - w]).collect() };
        let spread = bootstrap.spread(0);
        assert_eq!((spread.mean, spread.taken, spread.quantiles[2]), (0.35, 0.6, 0.25));
        // numpy.quantile([0, 0, .25, .5, 1], [.05, .95]), numpy.std(ddof=1)
        assert!((spread.quantiles[0], (spread.quantiles[4] - 0.9).abs() < 1e-12) == (0.0, true), "{spread:?}");
        assert!((spread.std - 0.418_330_013_267_037_8).abs() < 1e-12, "{spread:?}");
    }
}
