//! From raw values to the f32 rows that networks read, bit for bit as each of the two published chains does it
//! (spec sections 2.3, 2.4 and 3.4).

use crate::raw::block::{Block, WIDTH};
use common::Result;

use crate::columns::{self, INPUTS, LEVELS, STEP_SECONDS, TARGETS};
use crate::norm::{Chain, Constants};

/// Normalises rows of one chain: reads csv order, writes training order.
#[derive(Debug, Clone)]
pub struct Scaler {
    chain: Chain,
    /// In csv order, inputs then targets: `(value * weight - mean) / std`; inputs have no weight.
    mean: Vec<f64>,
    std: Vec<f64>,
    weight: Vec<f64>,
    input_runs: Vec<Run>,
    target_runs: Vec<Run>,
}

/// Columns that stay neighbours when csv order becomes training order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    from: usize,
    to: usize,
    len: usize,
}

/// Normalised rows of one block, training order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// `[rows, 556]`.
    pub inputs: Vec<f32>,
    /// `[rows, 368]`; empty where the source has no targets.
    pub targets: Vec<f32>,
}

impl Scaler {
    /// From the constants of a chain, which are in training order.
    pub fn new(constants: &Constants) -> Self {
        let input_order = inverse(columns::csv_to_train_inputs());
        let target_order = inverse(columns::submission_to_train_targets());
        let mut scaler = Self {
            chain: constants.chain,
            mean: vec![0.0; WIDTH],
            std: vec![1.0; WIDTH],
            weight: vec![1.0; WIDTH],
            input_runs: runs(&input_order),
            target_runs: runs(&target_order),
        };
        for (to, &from) in input_order.iter().enumerate() {
            scaler.mean[from] = constants.input_mean[to];
            scaler.std[from] = constants.input_std[to];
        }
        for (to, &from) in target_order.iter().enumerate() {
            scaler.mean[INPUTS + from] = constants.target_mean[to];
            scaler.std[INPUTS + from] = constants.target_std[to];
            scaler.weight[INPUTS + from] = constants.weight[to];
        }
        scaler
    }

    /// Which chain this is.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Adds all constants to a hash.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.chain.name().as_bytes());
        for value in self.mean.iter().chain(&self.std).chain(&self.weight) {
            hasher.update(&value.to_bits().to_le_bytes());
        }
    }

    /// Tells these constants from all others; none for the published ones of the chain.
    ///
    /// # Errors
    /// Where those that ship with the program cannot be read.
    pub fn identity(&self) -> Result<Option<String>> {
        let hash = |scaler: &Self| {
            let mut hasher = blake3::Hasher::new();
            scaler.hash_into(&mut hasher);
            hasher.finalize()
        };
        let own = hash(self);
        let published = hash(&Self::new(Constants::published(self.chain)?));
        Ok((own != published).then(|| own.to_hex()[..16].to_string()))
    }

    /// Mean and std of the weighted targets and their weights, training order.
    pub fn target_constants(&self) -> [Vec<f64>; 3] {
        let order = inverse(columns::submission_to_train_targets());
        [&self.mean, &self.std, &self.weight].map(|all| order.iter().map(|&from| all[INPUTS + from]).collect())
    }

    /// Normalises a block of raw steps.
    pub fn scale(&self, block: &Block) -> Rows {
        let mut rows = Rows { inputs: vec![0.0; block.rows * INPUTS], targets: vec![0.0; block.rows * TARGETS] };
        let out = rows.inputs.chunks_exact_mut(INPUTS).zip(rows.targets.chunks_exact_mut(TARGETS));
        for (row, (inputs, targets)) in block.values.chunks_exact(WIDTH).zip(out) {
            self.inputs(&row[..INPUTS], inputs);
            self.targets(&row[INPUTS..], targets);
        }
        rows
    }

    /// One row of inputs, csv order to training order.
    pub fn inputs(&self, row: &[f64], out: &mut [f32]) {
        for run in &self.input_runs {
            let from = run.from..run.from + run.len;
            let constants = self.mean[from.clone()].iter().zip(&self.std[from.clone()]);
            for ((slot, x), (mean, std)) in out[run.to..].iter_mut().zip(&row[from]).zip(constants) {
                *slot = ((x - mean) / std) as f32;
            }
        }
    }

    /// One row of un-weighted targets, csv order to training order.
    pub fn targets(&self, row: &[f64], out: &mut [f32]) {
        for run in &self.target_runs {
            let held = INPUTS + run.from..INPUTS + run.from + run.len;
            let constants = self.mean[held.clone()].iter().zip(&self.std[held.clone()]).zip(&self.weight[held]);
            for ((slot, y), ((mean, std), weight)) in
                out[run.to..].iter_mut().zip(&row[run.from..run.from + run.len]).zip(constants)
            {
                *slot = ((y * weight - mean) / std) as f32;
            }
        }
    }
}

/// Rounds the inputs of a csv row to f32 as published (section 3.4): all but the columns of `state_q0002` whose
/// tendency is computed from them. netCDF values are never rounded.
pub fn round_csv_inputs(chain: Chain, row: &mut [f64]) {
    let exact = exact_columns(chain);
    for (i, x) in row[..INPUTS].iter_mut().enumerate() {
        if !exact.contains(&i) {
            *x = f64::from(*x as f32);
        }
    }
}

/// Columns (csv order) that stay f64: `state_q0002_12..28` in chain A, `..27` in chain B.
pub fn exact_columns(chain: Chain) -> std::ops::RangeInclusive<usize> {
    let first = 2 * LEVELS;
    match chain {
        Chain::A => first + 12..=first + 28,
        Chain::B => first + 12..=first + 27,
    }
}

/// The tendencies that are known exactly, because the model removes all cloud liquid there in one step:
/// `-state_q0002_l / 1200`, in f64, for the levels of [`exact_columns`].
pub fn linear(chain: Chain, row: &[f64]) -> impl Iterator<Item = f64> {
    row[exact_columns(chain)].iter().map(|q| -q / STEP_SECONDS)
}

fn runs(order: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (to, &from) in order.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.from + run.len == from => run.len += 1,
            _ => runs.push(Run { from, to, len: 1 }),
        }
    }
    runs
}

/// For each place of the new order, the place in the old one.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (from, &to) in order.iter().enumerate() {
        inverse[to] = from;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_the_blocks_of_the_two_orders() {
        let runs = runs(&inverse(columns::csv_to_train_inputs()));
        // 16 scalars, then the six states, then ozone, CH4, N2O.
        let expected = [
            Run { from: 360, to: 0, len: 16 },
            Run { from: 0, to: 16, len: 360 },
            Run { from: 376, to: 376, len: 180 },
        ];
        assert_eq!(runs, expected);
    }

    #[test]
    fn only_cloud_liquid_of_the_linear_levels_keeps_its_digits() {
        let mut row = vec![0.1; WIDTH];
        round_csv_inputs(Chain::B, &mut row);
        let kept: Vec<_> = (0..INPUTS).filter(|&i| row[i] == 0.1).collect();
        assert_eq!(kept, (132..=147).collect::<Vec<_>>());
        assert_eq!(linear(Chain::A, &row).count(), 17);
        assert_eq!(linear(Chain::B, &row).next().unwrap(), -0.1 / 1200.0);
    }
}
