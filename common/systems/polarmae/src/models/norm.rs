//! The two normalisations of the published networks, on packed rows: whatever is in a tensor is valid.

use common::Result;
use neural::Path;
use neural::init::Init;
use neural::layers::shared_moments;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Added to the variance of a batch norm.
const BATCH_EPS: f64 = 1e-5;
/// Share of the present batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// Added to the variance of a token norm.
pub(super) const TOKEN_EPS: f64 = 1e-13;

/// What a token norm averages over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormScope {
    /// One mean and one deviation for all valid tokens and channels of the batch. As published: every output then
    /// depends on all events of its batch, and checkpoints need it.
    #[default]
    Batch,
    /// A mean and a deviation for each token, over its channels: a layer norm, for new trainings.
    Token,
}

/// "`MaskedLayerNorm`" of the published code: `gamma`, `beta` of shape `[1, 1, C]`.
#[derive(Debug)]
pub struct TokenNorm {
    pub(super) scope: NormScope,
    pub(super) gamma: Tensor,
    pub(super) beta: Tensor,
}

impl TokenNorm {
    /// gamma 1, beta 0.
    pub fn new(p: &Path, dim: i64, scope: NormScope) -> Result<Self> {
        let gamma = p.parameter("gamma", &[1, 1, dim], Init::Ones)?;
        Ok(Self { scope, gamma, beta: p.parameter("beta", &[1, 1, dim], Init::Zeros)? })
    }

    /// `[R, C]` valid rows -> the same shape.
    ///
    /// With `training.sync_batch_norm` a mean over the batch is one over the rows of all processes.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dim = self.gamma.size()[2];
        Ok(normalise_shared(x, self.scope)? * self.gamma.view([1, dim]) + self.beta.view([1, dim]))
    }

    /// `[B, T, C]` with a mask `[B, T, 1]` of 0 and 1: the published padded form, statistics from valid rows only.
    pub fn forward_padded(&self, x: &Tensor, mask: &Tensor) -> Tensor {
        normalise_padded(x, mask, self.scope) * &self.gamma + &self.beta
    }
}

/// Mean 0, deviation 1, without weights: `[R, C]`.
pub fn normalise(x: &Tensor, scope: NormScope) -> Tensor {
    let size = x.size();
    match scope {
        NormScope::Token => x.layer_norm(&size[1..], None::<Tensor>, None::<Tensor>, TOKEN_EPS, true),
        // One row of all values. Its kernel makes one pass for both moments and one for the values; a GPU would give
        // the whole row to one block.
        NormScope::Batch if x.device() == Device::Cpu && x.numel() > 0 => {
            x.layer_norm(&size, None::<Tensor>, None::<Tensor>, TOKEN_EPS, true)
        }
        NormScope::Batch => {
            let centred = x - x.mean(Kind::Float);
            let variance = centred.square().mean(Kind::Float);
            centred / ((variance + TOKEN_EPS).sqrt() + TOKEN_EPS)
        }
    }
}

/// [`normalise`]; over the rows of all processes where they share their statistics of a batch.
pub fn normalise_shared(x: &Tensor, scope: NormScope) -> Result<Tensor> {
    if scope == NormScope::Batch
        && let Some((mean, variance)) = shared_moments(&x.reshape([-1, 1]))?
    {
        return Ok((x - mean) / ((variance + TOKEN_EPS).sqrt() + TOKEN_EPS));
    }
    Ok(normalise(x, scope))
}

/// The same in padded form.
pub fn normalise_padded(x: &Tensor, mask: &Tensor, scope: NormScope) -> Tensor {
    if scope == NormScope::Token {
        return x.layer_norm(&x.size()[2..], None::<Tensor>, None::<Tensor>, TOKEN_EPS, true);
    }
    let count = mask.sum(Kind::Float) * x.size()[2];
    let mean = (x * mask).sum(Kind::Float) / &count;
    let centred = x - mean;
    let variance = (&centred * mask).square().sum(Kind::Float) / &count;
    centred / ((variance + TOKEN_EPS).sqrt() + TOKEN_EPS)
}

/// "`MaskedBatchNorm1d`": biased variance everywhere, padded slots become the bias.
#[derive(Debug)]
pub struct MaskedBatchNorm {
    /// Factor, `[C]`.
    pub weight: Tensor,
    /// Shift, `[C]`: what a padded slot becomes.
    pub bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl MaskedBatchNorm {
    /// weight 1, bias 0, running mean 0, running variance 1.
    pub fn new(p: &Path, channels: i64) -> Result<Self> {
        let options = (Kind::Float, Device::Cpu);
        Ok(Self {
            weight: p.parameter("weight", &[channels], Init::Ones)?,
            bias: p.parameter("bias", &[channels], Init::Zeros)?,
            running_mean: p.buffer("running_mean", Tensor::zeros([channels], options))?,
            running_var: p.buffer("running_var", Tensor::ones([channels], options))?,
        })
    }

    /// `[R, C]` valid rows -> the same shape. In training the statistics are those of the rows, and the running ones
    /// move by a tenth.
    ///
    /// With `training.sync_batch_norm` the rows are those of all processes.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        if train && let Some((mean, variance)) = shared_moments(x)? {
            self.follow(&mean, &variance);
            let normal = (x - mean) * (variance + BATCH_EPS).rsqrt();
            return Ok(normal * &self.weight + &self.bias);
        }
        if x.size()[0] == 0 {
            return Ok(x.shallow_clone());
        }
        if !train {
            let (y, _, _) = x.native_batch_norm(
                weight,
                bias,
                Some(&self.running_mean),
                Some(&self.running_var),
                false,
                MOMENTUM,
                BATCH_EPS,
            );
            return Ok(y);
        }
        // Without running tensors: the library would move them by the unbiased variance.
        let (y, mean, inverse) =
            x.native_batch_norm(weight, bias, None::<&Tensor>, None::<&Tensor>, true, MOMENTUM, BATCH_EPS);
        self.follow(&mean, &(inverse.square().reciprocal() - BATCH_EPS));
        Ok(y)
    }

    /// The norm by its running statistics as a factor and a shift of each channel, `[C]`.
    pub fn affine(&self) -> (Tensor, Tensor) {
        let factor = &self.weight * (&self.running_var + BATCH_EPS).rsqrt();
        let shift = &self.bias - &self.running_mean * &factor;
        (factor, shift)
    }

    /// Moves the running statistics.
    fn follow(&self, mean: &Tensor, variance: &Tensor) {
        tch::no_grad(|| {
            let _ = self.running_mean.shallow_clone().lerp_(mean, MOMENTUM);
            let _ = self.running_var.shallow_clone().lerp_(&variance.clamp_min(0.0), MOMENTUM);
        });
    }
}
