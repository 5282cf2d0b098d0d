//! From the 556 inputs of a sample to the network input: 25 channels on 60 levels.
//!
//! Upstream assembles this row by row in the data loader's worker processes (24,000 rows/s each, 2.7 times the bytes);
//! here whole batches are expanded where they lie, so that only the 556 values travel.

use tch::Tensor;

use crate::columns::{INPUTS, LEVELS, PROFILE_INPUTS, SCALAR_INPUTS};

/// `[B, 556]` in training order -> `[B, 60, 25]`: channels 0..16 are the scalars repeated on every level, channel
/// 16 + p is profile p. What follows the 556 columns ([`crate::dataset::Extras`]) becomes further channels: fewer than 60
/// scalars, then profiles. Panics (as libtorch does) for fewer columns.
pub fn expand(rows: &Tensor) -> Tensor {
    let (batch, levels) = (rows.size()[0], LEVELS as i64);
    let further = rows.size()[1] - INPUTS as i64;
    if further > 0 {
        let (first, scalars) = (rows.narrow(1, 0, INPUTS as i64), further % levels);
        let repeated = rows.narrow(1, INPUTS as i64, scalars).unsqueeze(1).expand([batch, levels, -1], false);
        let profiles = rows.narrow(1, INPUTS as i64 + scalars, further - scalars);
        let profiles = profiles.reshape([batch, further / levels, levels]).transpose(1, 2);
        return Tensor::cat(&[expand(&first), repeated, profiles], 2);
    }
    let scalars = rows.narrow(1, 0, SCALAR_INPUTS as i64).unsqueeze(1).expand([batch, levels, -1], false);
    let profiles = rows.narrow(1, SCALAR_INPUTS as i64, (INPUTS - SCALAR_INPUTS) as i64);
    let profiles = profiles.reshape([batch, PROFILE_INPUTS as i64, levels]).transpose(1, 2); // [B, 60, 9]
    Tensor::cat(&[scalars, profiles], 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_scalars_then_profiles() {
        let rows = Tensor::arange(2 * INPUTS as i64, (tch::Kind::Float, tch::Device::Cpu)).view([2, INPUTS as i64]);
        let x = expand(&rows);
        assert_eq!(x.size(), [2, 60, 25]);
        for (sample, level, channel) in [(0, 0, 0), (1, 59, 15), (0, 7, 16), (1, 59, 24), (1, 3, 20)] {
            let column = if channel < 16 { channel } else { 16 + 60 * (channel - 16) + level };
            assert_eq!(x.double_value(&[sample, level, channel]), (sample * 556 + column) as f64);
        }
    }

    #[test]
    fn what_follows_the_inputs_becomes_further_channels() {
        let width = (INPUTS + 2 + 2 * LEVELS) as i64;
        let rows = Tensor::arange(2 * width, (tch::Kind::Float, tch::Device::Cpu)).view([2, width]);
        let x = expand(&rows);
        assert_eq!(x.size(), [2, 60, 29]);
        assert_eq!(x.narrow(2, 0, 25), expand(&rows.narrow(1, 0, INPUTS as i64)));
        for (sample, level) in [(0, 0), (1, 59)] {
            let at = |column: i64| rows.double_value(&[sample, INPUTS as i64 + column]);
            assert_eq!(x.double_value(&[sample, level, 26]), at(1));
            assert_eq!(x.double_value(&[sample, level, 28]), at(2 + 60 + level));
        }
    }
}
