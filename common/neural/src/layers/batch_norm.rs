//! Batch normalisation of channels that lie before the last dimension, as in the library.

use common::Result;
use tch::{Device, Kind, Tensor};

use super::shared_moments;
use crate::init::Init;
use crate::params::Path;

/// Added to the variance.
const EPS: f64 = 1e-5;
/// Share of the present batch in the running statistics: the library's default.
pub const MOMENTUM: f64 = 0.1;

/// One mean and deviation a channel, over batch and length; the running ones serve where nothing is trained.
#[derive(Debug)]
pub struct BatchNorm1d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: f64,
}

impl BatchNorm1d {
    /// weight 1, bias 0, running mean 0, running variance 1. The library's counter of batches is not kept: with a fixed
    /// momentum nothing reads it.
    pub fn new(p: &Path, channels: i64, momentum: f64) -> Result<Self> {
        let options = (Kind::Float, Device::Cpu);
        Ok(Self {
            weight: p.parameter("weight", &[channels], Init::Ones)?,
            bias: p.parameter("bias", &[channels], Init::Zeros)?,
            running_mean: p.buffer("running_mean", Tensor::zeros([channels], options))?,
            running_var: p.buffer("running_var", Tensor::ones([channels], options))?,
            momentum,
        })
    }

    /// `[B, L, C]` -> the same shape: the channels come last, and nothing is transposed.
    pub fn forward_last(&self, x: &Tensor, train: bool) -> Tensor {
        self.forward(&x.flatten(0, 1), train).view_as(x)
    }

    /// `[B, C]` or `[B, C, L]` -> the same shape.
    ///
    /// With `training.sync_batch_norm` the rows are those of all processes. Differs: the running variance is then the
    /// biased one, which counts the same for every number of processes.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        if train && let Some(y) = self.shared(x).unwrap_or_else(|e| panic!("{e}")) {
            return y;
        }
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            self.momentum,
            EPS,
            true,
        )
    }

    /// With the moments of all processes; none where each process has its own.
    fn shared(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let channels = self.weight.size()[0];
        let rows = x.transpose(1, -1).reshape([-1, channels]); // [B, L, C] as [R, C]
        let Some((mean, variance)) = shared_moments(&rows)? else { return Ok(None) };
        tch::no_grad(|| {
            let _ = self.running_mean.shallow_clone().lerp_(&mean, self.momentum);
            let _ = self.running_var.shallow_clone().lerp_(&variance, self.momentum);
        });
        let shape: Vec<i64> = (0..x.dim()).map(|d| if d == 1 { channels } else { 1 }).collect();
        let factor = &self.weight * (variance + EPS).rsqrt();
        let shift = &self.bias - mean * &factor;
        Ok(Some(x * factor.view(shape.as_slice()) + shift.view(shape.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn training_takes_the_batchs_moments_and_the_running_ones_follow() {
        tch::manual_seed(2);
        let params = Params::new(Device::Cpu, 1);
        let norm = BatchNorm1d::new(&params.root(), 3, 0.25).unwrap();
        let x = Tensor::randn([4, 3, 5], (Kind::Float, Device::Cpu)) * 2.0 + 1.0;
        let y = norm.forward(&x, true);
        let rows = x.transpose(1, 2).reshape([20, 3]);
        let (mean, var) =
            (rows.mean_dim([0_i64].as_slice(), false, None), rows.var_dim([0_i64].as_slice(), false, false));
        let by_hand = (&rows - &mean) / (&var + EPS).sqrt();
        let off = (y.transpose(1, 2).reshape([20, 3]) - by_hand).abs().max().double_value(&[]);
        assert!(off < 1e-5, "{off}");
        // The running variance is the unbiased one, as in the library.
        let unbiased = &var * (20.0 / 19.0);
        let expected = unbiased * 0.25 + 0.75;
        let off = (params.state().iter().find(|(n, _)| n == "running_var").unwrap().1.shallow_clone() - expected)
            .abs()
            .max()
            .double_value(&[]);
        assert!(off < 1e-5, "{off}");
        let last = norm.forward_last(&x.transpose(1, 2), false).transpose(1, 2);
        assert!((last - norm.forward(&x, false)).abs().max().double_value(&[]) < 1e-6);
        let still = norm.forward(&x.narrow(0, 0, 1), false);
        let again = norm.forward(&x, false).narrow(0, 0, 1);
        assert!((still - again).abs().max().double_value(&[]) < 1e-6);
    }
}
