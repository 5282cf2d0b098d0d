//! `y = x W' + b`.

use common::Result;
use tch::Tensor;

use crate::init::Init;
use crate::params::Path;
use crate::shim;

/// `x W' + b`: `[.., inputs]` -> `[.., outputs]`, with gradients. In f32 on a CPU the product runs in oneDNN, about twice
/// as fast on processors on which MKL, which `Tensor::linear` takes, holds back; last digits differ from it.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if shim::recording() {
        return x.linear(weight, bias);
    }
    shim::linear(x, weight, bias, None, false).unwrap_or_else(|e| panic!("{e}"))
}

/// `other + x W' + b` in one pass; `other` is `[.., outputs]`.
pub fn linear_add(other: &Tensor, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if shim::recording() {
        return other + x.linear(weight, bias);
    }
    shim::linear(x, weight, bias, Some(other), false).unwrap_or_else(|e| panic!("{e}"))
}

/// `gelu(x W' + b)`, in one pass where no gradient is asked for.
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if shim::recording() {
        return x.linear(weight, bias).gelu("none");
    }
    shim::linear(x, weight, bias, None, true).unwrap_or_else(|e| panic!("{e}"))
}

/// A linear map of the last dimension: `weight [outputs, inputs]`, `bias [outputs]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Weight and bias uniform in ± 1/sqrt(inputs).
    pub fn new(p: &Path, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = p.parameter("weight", &[outputs, inputs], Init::FanIn)?;
        Ok(Self { weight, bias: p.parameter("bias", &[outputs], Init::fan_in(inputs))? })
    }

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }

    /// The same in oneDNN where that is faster: see [`linear`].
    pub fn forward_fast(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight, Some(&self.bias))
    }

    /// The map in `n` equal parts of its outputs, each a tensor of its own: no part is cut out of a larger result, whose
    /// gradient would have to be put together again.
    pub fn forward_parts(&self, x: &Tensor, n: i64) -> Vec<Tensor> {
        self.weight.chunk(n, 0).iter().zip(self.bias.chunk(n, 0)).map(|(w, b)| linear(x, w, Some(&b))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn close(a: &Tensor, b: &Tensor) {
        let off = (a - b).abs().max().double_value(&[]) / b.abs().max().double_value(&[]);
        assert!(a.size() == b.size() && off < 2e-6, "{off:e}");
    }

    #[test]
    fn both_libraries_give_the_same_values_and_gradients() {
        tch::manual_seed(1);
        // The second is too small for oneDNN.
        for (rows, inputs, outputs) in [(300, 60, 50), (3, 4, 5)] {
            let x = random(&[2, rows, inputs]).set_requires_grad(true);
            let (w, b) = (random(&[outputs, inputs]), random(&[outputs]).set_requires_grad(true));
            let w = w.set_requires_grad(true);
            let other = random(&[2, rows, outputs]).set_requires_grad(true);
            let leaves = [&x, &w, &b, &other];
            let gradients = |y: &Tensor| Tensor::run_backward(&[(y * y).sum(Kind::Float)], &leaves[..3], false, false);
            close(&linear(&x, &w, None), &x.linear(&w, None::<Tensor>));
            let pairs = [
                (linear(&x, &w, Some(&b)), x.linear(&w, Some(&b))),
                (linear_add(&other, &x, &w, Some(&b)), &other + x.linear(&w, Some(&b))),
                (linear_gelu(&x, &w, Some(&b)), x.linear(&w, Some(&b)).gelu("none")),
            ];
            for (ours, theirs) in &pairs {
                close(ours, theirs);
                for (a, b) in gradients(ours).iter().zip(gradients(theirs)) {
                    close(a, &b);
                }
            }
            let sum = |y: &Tensor| Tensor::run_backward(&[y.sum(Kind::Float)], &[&other], false, false).remove(0);
            close(&sum(&linear_add(&other, &x, &w, Some(&b))), &other.ones_like());
            let fused = tch::no_grad(|| linear_gelu(&x, &w, Some(&b)));
            close(&fused, &x.linear(&w, Some(&b)).gelu("none"));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_panic_as_in_libtorch() {
        let panicked = std::panic::catch_unwind(|| linear(&random(&[300, 60]), &random(&[50, 61]), None));
        assert!(panicked.is_err());
    }
}
