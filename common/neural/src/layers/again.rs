//! Gradient checkpointing: less memory for the time of a second forward pass.

use common::Result;
use tch::Tensor;

use crate::shim;

/// `work(x)` whose intermediate values are not kept: the backward pass computes them again from `x`. The numbers are the
/// same as without. Where `x` has no gradient nothing can be saved this way, and `work` is done as usual.
pub fn again<F: Fn(&Tensor) -> Tensor + 'static>(x: &Tensor, work: F) -> Result<Tensor> {
    if !x.requires_grad() {
        return Ok(work(x));
    }
    shim::checkpoint(x, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::{Precision, with_autocast};
    use tch::{Device, Kind};

    fn drawn(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true)
    }

    /// Loss and gradients of a chain of layers, in a number format.
    fn pass(precision: Precision, keeps: bool) -> (f64, Vec<Tensor>) {
        tch::manual_seed(3);
        let weights: Vec<Tensor> = (0..3).map(|_| drawn(&[64, 64])).collect();
        let x = drawn(&[32, 64]);
        let y = with_autocast(precision, Device::Cpu, || {
            weights.iter().try_fold(x.shallow_clone(), |y, weight| {
                let weight = weight.shallow_clone();
                let layer = move |y: &Tensor| y.linear(&weight, None::<&Tensor>).tanh();
                if keeps { Ok(layer(&y)) } else { again(&y, layer) }
            })
        })
        .unwrap();
        let loss = y.to_kind(Kind::Float).square().mean(Kind::Float);
        loss.backward();
        (loss.double_value(&[]), weights.iter().chain([&x]).map(Tensor::grad).collect())
    }

    #[test]
    fn numbers_are_those_of_a_pass_that_keeps_everything() {
        for precision in [Precision::F32, Precision::Bf16] {
            let (kept, computed) = (pass(precision, true), pass(precision, false));
            assert_eq!(kept.0, computed.0, "{precision:?}");
            assert!(kept.1.iter().zip(&computed.1).all(|(a, b)| a.equal(b)), "{precision:?}");
        }
    }

    #[test]
    fn work_that_fails_is_an_error_and_not_a_crash() {
        let x = drawn(&[2, 3]);
        let error = again(&x, |_| panic!("expected")).unwrap_err().to_string();
        assert!(error.contains("checkpoint"), "{error}");
        // Without gradients there is no detour.
        assert!(again(&x.detach(), Tensor::shallow_clone).unwrap().equal(&x));
    }
}
