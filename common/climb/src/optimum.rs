//! Closed-form weights that minimise a quadratic form `a' G a` under `sum a = 1`.

use crate::gram::{Square, dot};
use common::Error;

/// The errors of this model are a combination of those of models before it, so the minimum is not unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependent(pub usize);

impl Dependent {
    /// The error for people, given the model's name.
    pub fn error(self, name: &str) -> Error {
        Error::failed(format!("the errors of model `{name}` are a combination of those of other models"))
            .hint("leave it out, or add a ridge: `--set ridge=1e-6`")
    }
}

/// The minimum: `a = G^-1 1 / (1' G^-1 1)`. `ridge` adds that multiple of the mean diagonal to the diagonal.
pub fn sum_one(gram: &Square, ridge: f64) -> Result<Vec<f64>, Dependent> {
    let gram = with_ridge(gram, ridge);
    solve(&gram, &(0..gram.size).collect::<Vec<_>>())
}

/// The minimum among weights that are not negative, by an active set.
pub fn simplex(gram: &Square, ridge: f64) -> Result<Vec<f64>, Dependent> {
    let gram = with_ridge(gram, ridge);
    let size = gram.size;
    let best = (0..size).min_by(|&i, &j| gram.at(i, i).total_cmp(&gram.at(j, j))).unwrap_or(0);
    let mut weights = vec![0.0; size];
    weights[best] = 1.0;
    let mut support = vec![best];
    // Every round lowers the form, so no support comes twice; the bound only guards against rounding.
    for _ in 0..100 * size {
        let slope = gram.times(&weights);
        let level = dot(&weights, &slope);
        let entering = (0..size)
            .filter(|i| !support.contains(i))
            .min_by(|&i, &j| slope[i].total_cmp(&slope[j]))
            .filter(|&i| slope[i] < level * (1.0 - 1e-12));
        let Some(entering) = entering else { return Ok(weights) };
        support.push(entering);
        loop {
            let goal = solve(&gram, &support)?;
            let stop = support
                .iter()
                .filter(|&&i| goal[i] <= 0.0)
                .map(|&i| (weights[i] / (weights[i] - goal[i]), i))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((share, leaving)) = stop else {
                weights = goal;
                break;
            };
            for (a, g) in weights.iter_mut().zip(&goal) {
                *a = (*a + share * (g - *a)).max(0.0);
            }
            weights[leaving] = 0.0;
            support.retain(|&i| i != leaving);
        }
    }
    Ok(weights)
}

fn with_ridge(gram: &Square, ridge: f64) -> Square {
    let mut gram = gram.clone();
    let mean = (0..gram.size).map(|i| gram.at(i, i)).sum::<f64>() / gram.size as f64;
    for i in 0..gram.size {
        gram.values[i * gram.size + i] += ridge * mean;
    }
    gram
}

/// Sum-one minimum over the models of `support`, the others 0, by a Cholesky factorisation.
fn solve(gram: &Square, support: &[usize]) -> Result<Vec<f64>, Dependent> {
    let n = support.len();
    let mut factor = Square::zeros(n);
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor.at(i, k) * factor.at(j, k)).sum();
            let rest = gram.at(support[i], support[j]) - known;
            factor.values[i * n + j] = if i == j {
                // A pivot this small holds no digit that the sums did not lose.
                if rest <= 1e-13 * gram.at(support[i], support[i]) {
                    return Err(Dependent(support[i]));
                }
                rest.sqrt()
            } else {
                rest / factor.at(j, j)
            };
        }
    }
    let mut x = vec![1.0; n];
    for i in 0..n {
        let known: f64 = (0..i).map(|k| factor.at(i, k) * x[k]).sum();
        x[i] = (x[i] - known) / factor.at(i, i);
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| factor.at(k, i) * x[k]).sum();
        x[i] = (x[i] - known) / factor.at(i, i);
    }
    let total: f64 = x.iter().sum();
    let mut weights = vec![0.0; gram.size];
    for (&i, x) in support.iter().zip(&x) {
        weights[i] = x / total;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    fn random_gram(size: usize, rows: usize, index: u64) -> Square {
        let mut rng = rng_for(11, "optimum", index);
        let shared: Vec<f64> = (0..rows).map(|_| rng.random_range(-1.0..1.0)).collect();
        let r: Vec<Vec<f64>> = (0..size)
            .map(|k| shared.iter().map(|s| s * (1.0 + 0.2 * k as f64) + rng.random_range(-0.5..0.5)).collect())
            .collect();
        let values = (0..size * size).map(|i| dot(&r[i / size], &r[i % size])).collect();
        Square { size, values }
    }

    fn form(gram: &Square, a: &[f64]) -> f64 {
        dot(a, &gram.times(a))
    }

    #[test]
    fn no_step_that_keeps_the_sum_improves_on_the_closed_form() {
        for index in 0..20 {
            let gram = random_gram(5, 40, index);
            let weights = sum_one(&gram, 0.0).unwrap();
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for i in 0..5 {
                for j in 0..5 {
                    let mut moved = weights.clone();
                    moved[i] += 1e-3;
                    moved[j] -= 1e-3;
                    assert!(form(&gram, &moved) >= form(&gram, &weights) * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn the_simplex_optimum_meets_its_optimality_conditions() {
        let mut at_bound = 0;
        for index in 0..50 {
            let gram = random_gram(8, 60, index);
            let weights = simplex(&gram, 0.0).unwrap();
            let slope = gram.times(&weights);
            let level = form(&gram, &weights);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (a, s) in weights.iter().zip(&slope) {
                assert!(*a >= 0.0);
                assert!(*s >= level * (1.0 - 1e-9), "slope {s} below {level}");
                at_bound += usize::from(*a == 0.0);
            }
        }
        assert!(at_bound > 0);
    }

    #[test]
    fn equal_models_are_refused_and_a_ridge_shares_their_weight() {
        let gram = Square { size: 2, values: vec![2.0; 4] };
        assert_eq!(sum_one(&gram, 0.0), Err(Dependent(1)));
        let shared = sum_one(&gram, 1e-3).unwrap();
        assert!((shared[0] - 0.5).abs() < 1e-12 && (shared[1] - 0.5).abs() < 1e-12);
    }
}
