//! Clipping of gradients by their global L2 norm.

use common::Result;
use tch::Tensor;

use crate::shim;

/// Scales all gradients by `max / (norm + 1e-6)` where that is below one, and returns the norm before. Parameters
/// without a gradient do not take part. The arithmetic (f32, norm of the norms) is that of
/// `torch.nn.utils.clip_grad_norm_`.
///
/// A norm that is not finite is returned as it is and nothing is scaled: the caller decides what a broken step means.
pub fn clip_grad_norm(params: &[(String, Tensor)], max: f64) -> Result<f64> {
    let grads: Vec<Tensor> = params.iter().map(|(_, p)| p.grad()).filter(Tensor::defined).collect();
    let grads: Vec<&Tensor> = grads.iter().collect();
    let norm = shim::total_norm(&grads)?;
    let factor = factor(norm, max);
    if norm.is_finite() && factor < 1.0 {
        shim::scale(&grads, f64::from(factor))?;
    }
    Ok(norm)
}

/// The global L2 norm of the gradients, which stay as they are.
pub fn grad_norm(params: &[(String, Tensor)]) -> Result<f64> {
    clip_grad_norm(params, f64::INFINITY)
}

/// `max / (norm + 1e-6)`, which torch evaluates as reciprocal times `max` in f32.
fn factor(norm: f64, max: f64) -> f32 {
    (1.0 / (norm as f32 + 1e-6)) * max as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_grad(grad: &[f32]) -> (String, Tensor) {
        let grad = Tensor::from_slice(grad);
        let param = grad.zeros_like().set_requires_grad(true);
        (&param * grad).sum(tch::Kind::Float).backward();
        (format!("p{}", param.numel()), param)
    }

    fn grads(params: &[(String, Tensor)]) -> Vec<f32> {
        params.iter().filter(|(_, p)| p.grad().defined()).flat_map(|(_, p)| Vec::try_from(p.grad()).unwrap()).collect()
    }

    #[test]
    fn the_norm_before_is_returned_and_the_norm_after_is_the_limit() {
        let idle = ("idle".to_string(), Tensor::from_slice(&[9.0_f32]).set_requires_grad(true));
        let params = [with_grad(&[3.0, 0.0]), idle, with_grad(&[4.0])];
        assert_eq!(clip_grad_norm(&params, 1.0).unwrap(), 5.0);
        let after = grads(&params);
        assert!((after[0] - 0.6).abs() < 1e-6 && (after[2] - 0.8).abs() < 1e-6, "{after:?}");
        assert!((grad_norm(&params).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_small_norm_changes_nothing() {
        let params = [with_grad(&[0.3, -0.4])];
        let before = grads(&params);
        clip_grad_norm(&params, 0.6).unwrap();
        assert_eq!(grads(&params), before);
    }

    #[test]
    fn a_norm_that_is_not_finite_leaves_the_gradients_alone() {
        for bad in [f32::NAN, f32::INFINITY] {
            let params = [with_grad(&[bad]), with_grad(&[1.0, 2.0])];
            assert!(!clip_grad_norm(&params, 0.1).unwrap().is_finite());
            assert_eq!(grads(&params)[1..], [1.0, 2.0]);
        }
    }
}
