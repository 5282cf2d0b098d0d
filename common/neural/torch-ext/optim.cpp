// Fused optimizer steps and the norm of a list of gradients.
//
// The fused kernels walk over raw memory: they do not compare shapes, and a gradient that is shorter than its
// parameter is read beyond its end. So everything is compared here before the call.

#include "ext.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

using podium::guarded;
using podium::list;
using Tensors = std::vector<at::Tensor>;

namespace {

void check_params(const Tensors& params) {
  for (size_t i = 0; i < params.size(); ++i) {
    const at::Tensor& p = params[i];
    TORCH_CHECK(p.is_non_overlapping_and_dense(), "parameter ", i, " has holes or overlaps in memory");
    TORCH_CHECK(p.device() == params[0].device() && p.scalar_type() == params[0].scalar_type(), "parameter ", i,
                " is ", p.scalar_type(), " on ", p.device(), ", the first one is ", params[0].scalar_type(), " on ",
                params[0].device());
  }
}

// Same shape, strides, dtype and device as the parameter.
void check_like(const Tensors& params, const Tensors& others, const char* what) {
  for (size_t i = 0; i < params.size(); ++i) {
    const at::Tensor &p = params[i], &o = others[i];
    TORCH_CHECK(o.sizes() == p.sizes(), what, " ", i, " has shape ", o.sizes(), ", its parameter ", p.sizes());
    TORCH_CHECK(o.strides() == p.strides(), what, " ", i, " has strides ", o.strides(), ", its parameter ", p.strides());
    TORCH_CHECK(o.scalar_type() == p.scalar_type() && o.device() == p.device(), what, " ", i, " is ", o.scalar_type(),
                " on ", o.device(), ", its parameter ", p.scalar_type(), " on ", p.device());
  }
}

void check_steps(const Tensors& params, const Tensors& steps) {
  for (size_t i = 0; i < params.size(); ++i) {
    TORCH_CHECK(steps[i].numel() == 1 && steps[i].scalar_type() == at::kFloat && steps[i].device() == params[i].device(),
                "step ", i, " is ", steps[i].sizes(), " ", steps[i].scalar_type(), " on ", steps[i].device(),
                ", expected one f32 on ", params[i].device());
  }
}

// Autograd may hand out a gradient with other strides than its parameter (a transposed matrix product): bring it into
// the parameter's layout.
Tensors matching_grads(const Tensors& params, Tensors grads) {
  for (size_t i = 0; i < params.size(); ++i) {
    if (grads[i].sizes() == params[i].sizes() && grads[i].strides() != params[i].strides()) {
      grads[i] = at::empty_like(params[i]).copy_(grads[i]);
    }
  }
  check_like(params, grads, "gradient");
  return grads;
}

}  // namespace

extern "C" {

// decoupled: 0 = Adam (decay added to the gradient), 1 = AdamW. steps are counted up first.
int podium_adam_step(int decoupled, size_t n, at::Tensor* const* params_, at::Tensor* const* grads_,
                     at::Tensor* const* exp_avgs_, at::Tensor* const* exp_avg_sqs_, at::Tensor* const* steps_, double lr,
                     double beta1, double beta2, double weight_decay, double eps) {
  return guarded([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    const Tensors params = list(params_, n);
    check_params(params);
    const Tensors grads = matching_grads(params, list(grads_, n));
    const Tensors exp_avgs = list(exp_avgs_, n), exp_avg_sqs = list(exp_avg_sqs_, n), steps = list(steps_, n);
    check_like(params, exp_avgs, "exp_avg");
    check_like(params, exp_avg_sqs, "exp_avg_sq");
    check_steps(params, steps);
    at::_foreach_add_(steps, 1);
    if (decoupled) {
      at::_fused_adamw_(params, grads, exp_avgs, exp_avg_sqs, {}, steps, lr, beta1, beta2, weight_decay, eps, false,
                        false);
    } else {
      at::_fused_adam_(params, grads, exp_avgs, exp_avg_sqs, {}, steps, lr, beta1, beta2, weight_decay, eps, false,
                       false);
    }
  });
}

// momentum buffers are null where momentum is 0; first: the buffers are written, not read.
int podium_sgd_step(size_t n, at::Tensor* const* params_, at::Tensor* const* grads_, at::Tensor* const* buffers_,
                    double lr, double momentum, double dampening, double weight_decay, int nesterov, int first) {
  return guarded([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    const Tensors params = list(params_, n);
    check_params(params);
    const Tensors grads = matching_grads(params, list(grads_, n));
    Tensors buffers;
    if (buffers_ != nullptr) {
      buffers = list(buffers_, n);
      check_like(params, buffers, "momentum buffer");
    }
    at::_fused_sgd_(params, grads, buffers, weight_decay, momentum, lr, dampening, nesterov != 0, false, first != 0);
  });
}

// The L2 norm over all tensors, as torch.nn.utils.clip_grad_norm_ computes it: norm of the norms in f32.
int podium_total_norm(size_t n, at::Tensor* const* tensors_, double* norm) {
  return guarded([&] {
    *norm = 0.0;
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    Tensors norms = at::_foreach_norm(list(tensors_, n), 2);
    for (at::Tensor& one : norms) one = one.to(norms[0].device(), at::kFloat);
    *norm = at::linalg_vector_norm(at::stack(norms), 2).item<double>();
  });
}

int podium_scale(size_t n, at::Tensor* const* tensors_, double factor) {
  return guarded([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(list(tensors_, n), factor);
  });
}

// Takes the gradients away, so that the next backward pass starts from none instead of adding to zeros, and a
// parameter that takes no part in it is skipped by the optimizer.
int podium_clear_grads(size_t n, at::Tensor* const* tensors_) {
  return guarded([&] {
    for (size_t i = 0; i < n; ++i) {
      if (tensors_[i]->grad().defined()) tensors_[i]->mutable_grad() = at::Tensor();
    }
  });
}

// Multiplies by inverse_scale and sets found_inf (one f32) to 1 when any value is not finite.
int podium_unscale(size_t n, at::Tensor* const* tensors_, at::Tensor* found_inf, const at::Tensor* inverse_scale) {
  return guarded([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_amp_foreach_non_finite_check_and_unscale_(list(tensors_, n), *found_inf, *inverse_scale);
  });
}

}  // extern "C"
