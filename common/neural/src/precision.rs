//! Number formats of forward and backward: autocast to bf16 or f16, and the scaling of the loss that f16 needs.
//!
//! Weights, their gradients and the optimizer's state stay f32; only matrix products, convolutions and recurrent
//! layers run in the smaller format.

use clap::ValueEnum;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::errors::Doing;
use crate::shim::{self, Autocast};

/// The format of matrix products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit float, as published.
    #[default]
    #[value(help = "32-bit float")]
    F32,
    /// Brain float: the range of f32 with 8 bits of mantissa.
    #[value(help = "Brain float, for GPUs")]
    Bf16,
    /// IEEE half; training needs a [`GradScaler`].
    #[value(help = "IEEE half, for GPUs")]
    F16,
}

/// Runs `work` with autocast to `precision` on the kind of `device`, in this thread. What was set before is set again
/// afterwards, also when `work` panics; casts of weights do not outlive the call.
pub fn with_autocast<T>(precision: Precision, device: Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if precision == Precision::F32 {
        return work();
    }
    let before = shim::set_autocast(device, Autocast { on: true, half: precision == Precision::F16 })?;
    let guard = Restore { device, before };
    let outcome = work();
    drop(guard);
    outcome
}

/// Runs `work` in f32 inside of [`with_autocast`]: for parts that were published so.
pub fn without_autocast<T>(device: Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = shim::set_autocast(device, Autocast { on: false, half: false })?;
    let guard = Restore { device, before };
    let outcome = work();
    drop(guard);
    outcome
}

struct Restore {
    device: Device,
    before: Autocast,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // Both calls only set variables of this thread: with a device that worked a moment ago they cannot fail.
        let restored = shim::set_autocast(self.device, self.before).and_then(|_| shim::clear_autocast_cache());
        if let Err(error) = restored {
            tracing::error!("{error}");
        }
    }
}

/// Keeps gradients of f16 in range: the loss is multiplied by a scale that grows while all is well and is halved when
/// a gradient overflows. The rules and numbers are those of `torch.amp.GradScaler`.
///
/// ```text
/// scaler.scale(&loss)?.backward();
/// if scaler.unscale(&params)? { optimizer.step()?; }
/// scaler.update();
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradScaler {
    #[serde(with = "crate::exact")]
    scale: f64,
    /// Steps since the scale changed.
    good_steps: u32,
    /// An overflow was seen in this step.
    overflow: bool,
}

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: u32 = 2000;

impl Default for GradScaler {
    fn default() -> Self {
        Self { scale: 65536.0, good_steps: 0, overflow: false }
    }
}

impl GradScaler {
    /// The factor on the loss.
    pub fn factor(&self) -> f64 {
        self.scale
    }

    /// The loss to call backward on.
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        loss.f_mul_scalar(self.scale).doing("scaling the loss")
    }

    /// Divides the gradients by the scale. False: one is not finite, and this step must be left out.
    pub fn unscale(&mut self, params: &[(String, Tensor)]) -> Result<bool> {
        let grads: Vec<Tensor> = params.iter().map(|(_, p)| p.grad()).filter(Tensor::defined).collect();
        let Some(first) = grads.first() else { return Ok(true) };
        let device = first.device();
        if grads.iter().any(|g| g.device() != device) {
            return Err(Error::failed("unscaling the gradients: they are on several devices"));
        }
        let found = Tensor::f_zeros([1], (Kind::Float, device)).doing("unscaling the gradients")?;
        let inverse = Tensor::f_full([1], 1.0 / self.scale, (Kind::Float, device)).doing("unscaling the gradients")?;
        shim::unscale(&grads.iter().collect::<Vec<_>>(), &found, &inverse)?;
        self.overflow = found.f_double_value(&[0]).doing("unscaling the gradients")? != 0.0;
        Ok(!self.overflow)
    }

    /// Adapts the scale after a batch that was left out, whose gradients overflowed or were never computed, and gives the
    /// factor by which gradients that wait for more batches have to follow it.
    pub fn leave_out(&mut self, overflow: bool) -> f64 {
        let before = self.scale;
        self.overflow = overflow;
        self.update();
        self.scale / before
    }

    /// Adapts the scale after a step, taken or left out.
    pub fn update(&mut self) {
        if self.overflow {
            self.scale *= BACKOFF;
            self.good_steps = 0;
        } else {
            self.good_steps += 1;
            if self.good_steps == GROWTH_INTERVAL {
                self.scale *= GROWTH;
                self.good_steps = 0;
            }
        }
        self.overflow = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> Tensor {
        let a = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        a.matmul(&a)
    }

    #[test]
    fn autocast_holds_inside_and_ends_outside_also_after_a_panic_or_an_error() {
        for (precision, kind) in
            [(Precision::F32, Kind::Float), (Precision::Bf16, Kind::BFloat16), (Precision::F16, Kind::Half)]
        {
            let inside = with_autocast(precision, Device::Cpu, || Ok(product().kind())).unwrap();
            assert_eq!(inside, kind);
            assert_eq!(product().kind(), Kind::Float);
            assert!(with_autocast::<()>(precision, Device::Cpu, || Err(Error::failed("x"))).is_err());
            assert_eq!(product().kind(), Kind::Float);
            let panicked =
                std::panic::catch_unwind(|| with_autocast::<()>(precision, Device::Cpu, || panic!("expected")));
            assert!(panicked.is_err());
            assert_eq!(product().kind(), Kind::Float);
        }
    }

    #[test]
    fn nested_autocast_gives_back_the_outer_one() {
        with_autocast(Precision::Bf16, Device::Cpu, || {
            assert_eq!(with_autocast(Precision::F16, Device::Cpu, || Ok(product().kind()))?, Kind::Half);
            assert_eq!(product().kind(), Kind::BFloat16);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_part_inside_of_autocast_can_stay_in_f32() {
        with_autocast(Precision::Bf16, Device::Cpu, || {
            assert_eq!(without_autocast(Device::Cpu, || Ok(product().kind()))?, Kind::Float);
            assert_eq!(product().kind(), Kind::BFloat16);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn gradients_of_autocast_weights_are_f32_and_see_new_weights() {
        let weight = Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let forward = || with_autocast(Precision::Bf16, Device::Cpu, || Ok(weight.matmul(&weight.detach()))).unwrap();
        forward().sum(Kind::Float).backward();
        assert_eq!(weight.grad().kind(), Kind::Float);
        let _ = weight.detach().fill_(2.0);
        assert_eq!(forward().double_value(&[0, 0]), 16.0);
    }

    fn with_grad(value: f32) -> Vec<(String, Tensor)> {
        let param = Tensor::from_slice(&[1.0_f32]).set_requires_grad(true);
        (&param * Tensor::from_slice(&[value])).sum(Kind::Float).backward();
        vec![("w".into(), param)]
    }

    #[test]
    fn an_overflow_halves_the_scale_and_a_long_good_run_doubles_it() {
        let mut scaler = GradScaler::default();
        let params = with_grad(65536.0);
        assert!(scaler.unscale(&params).unwrap());
        assert_eq!(params[0].1.grad().double_value(&[0]), 1.0);
        scaler.update();
        assert!(!scaler.unscale(&with_grad(f32::INFINITY)).unwrap());
        scaler.update();
        assert_eq!(scaler.factor(), 32768.0);
        for _ in 0..1999 {
            scaler.update();
        }
        assert_eq!(scaler.factor(), 32768.0);
        let mut resumed: GradScaler = serde_json::from_str(&serde_json::to_string(&scaler).unwrap()).unwrap();
        resumed.update();
        assert_eq!(resumed.factor(), 65536.0);
    }

    #[test]
    fn the_scaled_loss_gives_scaled_gradients() {
        let scaler = GradScaler::default();
        let param = Tensor::from_slice(&[1.0_f32]).set_requires_grad(true);
        scaler.scale(&(&param * 3.0).sum(Kind::Float)).unwrap().backward();
        assert_eq!(param.grad().double_value(&[0]), 3.0 * 65536.0);
    }
}
