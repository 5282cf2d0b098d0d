// Linear maps of f32 on the CPU through oneDNN.
//
// libtorch gives products of f32 matrices to MKL, which holds back on processors of other makers: on an AMD EPYC with
// AVX-512 it reaches less than half of what oneDNN, which libtorch contains as well, does with the same matrices.

#include "ext.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

using podium::guarded;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<at::Tensor>;

namespace {

// Multiplications below which finding the kernel costs more than it saves.
constexpr int64_t kLeastWork = int64_t{1} << 19;

using Unary = at::Tensor(const at::Tensor&, const at::Tensor&, const MaybeTensor&, std::string_view,
                         torch::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
using Binary = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const MaybeTensor&,
                          std::string_view);

// x [n, i], w [o, i], b [o] -> [n, o]; `after` is what is applied to the result: "none" or "gelu".
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, const char* after) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Unary>();
  return op.call(x, w, b, after, torch::List<std::optional<at::Scalar>>(), "none");
}

// The same and `other` [n, o] on top.
at::Tensor product_and(const at::Tensor& other, const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "binary").typed<Binary>();
  return op.call(x, other, w, b, "add");
}

bool plain(const at::Tensor& t) { return t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous(); }

bool suits(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, const MaybeTensor& other) {
  static const bool there =
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""}).has_value() &&
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", "binary"}).has_value();
  return there && at::globalContext().userEnabledMkldnn() && !at::autocast::is_autocast_enabled(at::kCPU) && plain(x) &&
         plain(w) && w.dim() == 2 && x.dim() >= 1 && x.size(-1) == w.size(1) && x.numel() * w.size(0) >= kLeastWork &&
         (!b || (plain(*b) && b->dim() == 1 && b->size(0) == w.size(0))) && (!other || plain(*other));
}

std::vector<int64_t> shape_of(const at::Tensor& x, const at::Tensor& w) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = w.size(0);
  return shape;
}

at::Tensor rows_of(const at::Tensor& x, const at::Tensor& w) { return x.reshape({-1, w.size(1)}); }

// Rows: x [n, i], other [n, o] -> [n, o].
at::Tensor forward_of(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, const MaybeTensor& other,
                      const char* after) {
  return other ? product_and(*other, x, w, b) : product(x, w, b, after);
}

// Of rows. The result must be no view, or autograd forbids to change it in place.
struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b,
                            const MaybeTensor& other) {
    context->save_for_backward({x, w});
    context->saved_data["bias"] = b.has_value();
    context->saved_data["other"] = other.has_value();
    return forward_of(x, w, b, other, "none");
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "linear map: second derivatives are not supported");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1];
    const at::Tensor g = grads[0].contiguous();
    variable_list result(4);
    if (context->needs_input_grad(0)) result[0] = product(g, w.t(), {}, "none");
    if (context->needs_input_grad(1)) result[1] = product(g.t(), x.t(), {}, "none");
    // Inputs that were not given are not counted.
    const bool bias = context->saved_data["bias"].toBool(), other = context->saved_data["other"].toBool();
    if (bias && context->needs_input_grad(2)) result[2] = g.sum(0);
    if (other && context->needs_input_grad(bias ? 3 : 2)) result[3] = grads[0];
    return result;
  }
};

bool wants_gradients(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, const MaybeTensor& other) {
  return at::GradMode::is_enabled() && (x.requires_grad() || w.requires_grad() || (b && b->requires_grad()) ||
                                        (other && other->requires_grad()));
}

}  // namespace

extern "C" {

// x W' + b [.., o] of x [.., i], w [o, i] and b [o] or null; plus other [.., o], or null; or its GELU where asked for.
int podium_linear(const at::Tensor* x, const at::Tensor* w, const at::Tensor* b, const at::Tensor* other, int gelu,
                  at::Tensor** out) {
  return guarded([&] {
    const MaybeTensor bias = b ? MaybeTensor(*b) : std::nullopt, plus = other ? MaybeTensor(*other) : std::nullopt;
    if (!suits(*x, *w, bias, plus)) {
      at::Tensor y = at::linear(*x, *w, bias);
      if (plus) y = *plus + y;
      *out = new at::Tensor(gelu ? at::gelu(y) : y);
      return;
    }
    const at::Tensor rows = rows_of(*x, *w);
    const MaybeTensor onto = plus ? MaybeTensor(plus->view({-1, w->size(0)})) : std::nullopt;
    const bool train = wants_gradients(*x, *w, bias, plus), fused = gelu && !plus && !train;
    at::Tensor y = train ? Linear::apply(rows, *w, bias, onto)
                         : forward_of(rows, *w, bias, onto, fused ? "gelu" : "none");
    y = y.view(shape_of(*x, *w));
    *out = new at::Tensor(gelu && !fused ? at::gelu(y) : y);
  });
}

}  // extern "C"
