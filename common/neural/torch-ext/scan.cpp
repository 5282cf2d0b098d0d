// The selective scan of the Mamba block and its convolution, with gradients.
//
// f32 on the CPU runs in the kernels of scan.h. Everything else (GPUs, other types) runs in tensor operations, level
// by level and a slice of the batch at a time; it needs no compiler at run time. Both backward passes compute the
// states again instead of keeping [batch, length, channels, states] numbers.

#include "ext.h"
#include "scan.h"

#include <ATen/Parallel.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

using podium::guarded;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr double kLog2E = 1.44269504088896340736;
// Sums over the batch are made in so many parts, whatever the number of threads.
constexpr int64_t kChunks = 16;
// States of all levels of one slice of the batch, in elements, that the backward pass in tensor operations keeps.
constexpr int64_t kSliceElements = int64_t{1} << 27;

// [I, ..] -> [.., padded(I)], the channels last, zeros behind them.
at::Tensor channels_last(const at::Tensor& t) {
  const int64_t channels = t.size(0);
  at::Tensor rows = t.reshape({channels, -1}).t();
  return at::constant_pad_nd(rows, {0, podium::padded(channels) - channels}).contiguous();
}

bool fused(const at::Tensor& x, bool allowed) {
  return allowed && x.device().is_cpu() && x.scalar_type() == at::kFloat;
}

void demand_shapes(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& a_log, const at::Tensor& b,
                   const at::Tensor& c, const at::Tensor& d, const at::Tensor& z) {
  TORCH_CHECK(x.dim() == 3, "selective scan: x has shape ", x.sizes(), ", expected [batch, length, channels]");
  const int64_t channels = x.size(2);
  TORCH_CHECK(dt.sizes() == x.sizes() && z.sizes() == x.sizes(), "selective scan: dt ", dt.sizes(), " and z ",
              z.sizes(), " must have the shape of x, ", x.sizes());
  TORCH_CHECK(a_log.dim() == 2 && a_log.size(0) == channels, "selective scan: A_log has shape ", a_log.sizes(),
              ", expected [", channels, ", states]");
  const std::vector<int64_t> rows = {x.size(0), x.size(1), a_log.size(1)};
  TORCH_CHECK(b.sizes() == at::IntArrayRef(rows) && c.sizes() == at::IntArrayRef(rows), "selective scan: B ",
              b.sizes(), " and C ", c.sizes(), " must have the shape ", at::IntArrayRef(rows));
  TORCH_CHECK(d.dim() == 1 && d.size(0) == channels, "selective scan: D has shape ", d.sizes(), ", expected [",
              channels, "]");
  for (const at::Tensor& t : {dt, a_log, b, c, d, z})
    TORCH_CHECK(t.scalar_type() == x.scalar_type() && t.device() == x.device(),
                "selective scan: all inputs must be of one type on one device");
}

// Rows may lie apart, their elements must not.
at::Tensor with_dense_rows(const at::Tensor& t) {
  const bool rows = t.stride(2) == 1 && t.stride(0) == t.size(1) * t.stride(1);
  return rows ? t : t.contiguous();
}

podium::Scan scan_of(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& a, const at::Tensor& b,
                     const at::Tensor& c, const at::Tensor& d, const at::Tensor& z) {
  return {x.size(0),
          x.size(1),
          x.size(2),
          b.size(2),
          z.stride(1),
          x.const_data_ptr<float>(),
          delta.const_data_ptr<float>(),
          z.const_data_ptr<float>(),
          b.const_data_ptr<float>(),
          c.const_data_ptr<float>(),
          a.const_data_ptr<float>(),
          d.const_data_ptr<float>()};
}

at::Tensor fused_forward(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& a_log, const at::Tensor& b,
                         const at::Tensor& c, const at::Tensor& d, const at::Tensor& z) {
  const at::Tensor delta = at::softplus(dt).contiguous(), a = channels_last(a_log.exp().mul_(-kLog2E));
  const at::Tensor gain = channels_last(d).view({-1}), rows = x.contiguous(), gate = with_dense_rows(z);
  const at::Tensor bs = b.contiguous(), cs = c.contiguous();
  at::Tensor out = at::empty_like(rows);
  podium::scan_forward(scan_of(rows, delta, a, bs, cs, gain, gate), out.mutable_data_ptr<float>(),
                       at::get_num_threads());
  return out;
}

variable_list fused_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& dt,
                             const at::Tensor& a_log, const at::Tensor& b, const at::Tensor& c, const at::Tensor& d,
                             const at::Tensor& z) {
  const at::Tensor delta = at::softplus(dt).contiguous(), minus_a = a_log.exp(), a = channels_last(minus_a * -kLog2E);
  const at::Tensor gain = channels_last(d).view({-1}), rows = x.contiguous(), gate = with_dense_rows(z);
  const at::Tensor bs = b.contiguous(), cs = c.contiguous(), g = grad.contiguous();
  const int64_t chunks = std::max<int64_t>(1, std::min(kChunks, x.size(0)));
  const int64_t width = podium::padded(x.size(2)), states = b.size(2);
  at::Tensor gx = at::empty_like(rows), g_delta = at::empty_like(rows), gz = at::empty_like(rows);
  at::Tensor gb = at::empty_like(bs), gc = at::empty_like(cs);
  at::Tensor ga = at::zeros({chunks, states, width}, x.options()), gd = at::zeros({chunks, width}, x.options());
  const podium::ScanGrads grads{chunks,
                                gx.mutable_data_ptr<float>(),
                                g_delta.mutable_data_ptr<float>(),
                                gz.mutable_data_ptr<float>(),
                                gb.mutable_data_ptr<float>(),
                                gc.mutable_data_ptr<float>(),
                                ga.mutable_data_ptr<float>(),
                                gd.mutable_data_ptr<float>()};
  podium::scan_backward(scan_of(rows, delta, a, bs, cs, gain, gate), g.const_data_ptr<float>(), grads,
                        at::get_num_threads());
  const at::Tensor g_dt = at::softplus_backward(g_delta, dt, 1, 20);
  const at::Tensor g_log = ga.sum(0).narrow(1, 0, x.size(2)).t().mul(minus_a).neg();
  return {gx, g_dt, g_log, gb, gc, gd.sum(0).narrow(0, 0, x.size(2)), gz};
}

// The slices of the batch that the form in tensor operations works on.
template <class Work>
void for_slices(const at::Tensor& x, int64_t states, Work work) {
  const int64_t batch = x.size(0), sample = std::max<int64_t>(1, x.size(1) * x.size(2) * states);
  const int64_t rows = std::max<int64_t>(1, kSliceElements / sample);
  for (int64_t first = 0; first < batch; first += rows) work(first, std::min(rows, batch - first));
}

at::Tensor operations_forward(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& a_log, const at::Tensor& b,
                              const at::Tensor& c, const at::Tensor& d, const at::Tensor& z) {
  const at::Tensor a = -a_log.exp();  // [I, N]
  at::Tensor out = at::empty_like(x, at::MemoryFormat::Contiguous);
  for_slices(x, a.size(1), [&](int64_t first, int64_t rows) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, rows); };
    const at::Tensor delta = at::softplus(cut(dt)), dx = delta * cut(x), bs = cut(b), cs = cut(c);
    const at::Tensor y = cut(x) * d;                                       // [b, L, I]
    at::Tensor s = at::zeros({rows, x.size(2), a.size(1)}, x.options());  // [b, I, N]
    for (int64_t t = 0; t < x.size(1); ++t) {
      s.mul_((delta.select(1, t).unsqueeze(-1) * a).exp_());
      s.addcmul_(dx.select(1, t).unsqueeze(-1), bs.select(1, t).unsqueeze(1));
      y.select(1, t).add_(at::matmul(s, cs.select(1, t).unsqueeze(-1)).squeeze(-1));
    }
    at::mul_out(const_cast<at::Tensor&>(static_cast<const at::Tensor&>(cut(out))), y, at::silu(cut(z)));
  });
  return out;
}

variable_list operations_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& dt,
                                  const at::Tensor& a_log, const at::Tensor& b, const at::Tensor& c,
                                  const at::Tensor& d, const at::Tensor& z) {
  const at::Tensor a = -a_log.exp();
  const int64_t length = x.size(1), channels = x.size(2), states = a.size(1);
  at::Tensor gx = at::empty_like(x, at::MemoryFormat::Contiguous), g_dt = at::empty_like(gx), gz = at::empty_like(gx);
  at::Tensor gb = at::empty_like(b, at::MemoryFormat::Contiguous), gc = at::empty_like(gb);
  at::Tensor ga = at::zeros_like(a), gd = at::zeros_like(d);
  for_slices(x, states, [&](int64_t first, int64_t rows) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, rows); };
    const at::Tensor xs = cut(x), delta = at::softplus(cut(dt)), dx = delta * xs, bs = cut(b), cs = cut(c);
    const at::Tensor gate = cut(z), g = cut(grad), y = xs * d;
    // Row t + 1 holds the states after level t, row 0 those before the first.
    const at::Tensor history = at::empty({length + 1, rows, channels, states}, x.options());
    history[0].zero_();
    for (int64_t t = 0; t < length; ++t) {
      at::Tensor s = history[t + 1];
      at::mul_out(s, history[t], (delta.select(1, t).unsqueeze(-1) * a).exp_());
      s.addcmul_(dx.select(1, t).unsqueeze(-1), bs.select(1, t).unsqueeze(1));
      y.select(1, t).add_(at::matmul(s, cs.select(1, t).unsqueeze(-1)).squeeze(-1));
    }
    const at::Tensor gy = g * at::silu(gate);
    cut(gz).copy_(at::silu_backward(g * y, gate));
    const at::Tensor g_dx = at::empty_like(dx), g_delta = at::empty_like(dx);
    const at::Tensor gs = at::zeros({rows, channels, states}, x.options());
    for (int64_t t = length - 1; t >= 0; --t) {
      const at::Tensor gy_t = gy.select(1, t).unsqueeze(1), b_t = bs.select(1, t).unsqueeze(-1);
      gs.addcmul_(gy_t.transpose(1, 2), cs.select(1, t).unsqueeze(1));
      cut(gc).select(1, t).copy_(at::matmul(gy_t, history[t + 1]).squeeze(1));
      cut(gb).select(1, t).copy_(at::matmul(dx.select(1, t).unsqueeze(1), gs).squeeze(1));
      g_dx.select(1, t).copy_(at::matmul(gs, b_t).squeeze(-1));
      gs.mul_((delta.select(1, t).unsqueeze(-1) * a).exp_());
      const at::Tensor ge = gs * history[t];  // with respect to delta * A
      g_delta.select(1, t).copy_((ge * a).sum(-1));
      ga.add_((ge * delta.select(1, t).unsqueeze(-1)).sum(0));
    }
    gd.add_((gy * xs).sum(at::IntArrayRef{0, 1}));
    cut(gx).copy_(at::addcmul(gy * d, g_dx, delta));
    cut(g_dt).copy_(at::softplus_backward(g_delta.addcmul_(g_dx, xs), cut(dt), 1, 20));
  });
  return {gx, g_dt, ga * a, gb, gc, gd, gz};
}

struct SelectiveScan : torch::autograd::Function<SelectiveScan> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& dt,
                            const at::Tensor& a_log, const at::Tensor& b, const at::Tensor& c, const at::Tensor& d,
                            const at::Tensor& z, bool allow_fused) {
    context->save_for_backward({x, dt, a_log, b, c, d, z});
    context->saved_data["fused"] = allow_fused;
    demand_shapes(x, dt, a_log, b, c, d, z);
    // The products over the states stay in the type of the inputs.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto work = fused(x, allow_fused) ? fused_forward : operations_forward;
    return work(x, dt, a_log, b, c, d, z);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "selective scan: second derivatives are not supported");
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const variable_list t = context->get_saved_variables();
    const bool allowed = context->saved_data["fused"].toBool();
    const auto work = fused(t[0], allowed) ? fused_backward : operations_backward;
    variable_list result = work(grads[0], t[0], t[1], t[2], t[3], t[4], t[5], t[6]);
    result.emplace_back();
    return result;
  }
};

podium::Conv conv_of(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return {x.size(0),
          x.size(1),
          x.size(2),
          w.size(0),
          x.stride(1),
          x.const_data_ptr<float>(),
          w.const_data_ptr<float>(),
          bias.const_data_ptr<float>()};
}

// silu of a causal depthwise convolution, f32 on the CPU: x [B, L, I], weight [I, 1, K], bias [I].
struct CausalConvSilu : torch::autograd::Function<CausalConvSilu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    TORCH_CHECK(x.dim() == 3 && weight.dim() == 3 && weight.size(1) == 1 && weight.size(0) == x.size(2) &&
                    bias.dim() == 1 && bias.size(0) == x.size(2),
                "causal convolution: x ", x.sizes(), ", weight ", weight.sizes(), ", bias ", bias.sizes(),
                " do not fit");
    for (const at::Tensor& t : {x, weight, bias})
      TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == at::kFloat, "causal convolution: expected f32 on the CPU");
    context->save_for_backward({x, weight, bias});
    const at::Tensor rows = with_dense_rows(x), w = channels_last(weight), b = channels_last(bias).view({-1});
    at::Tensor out = at::empty(x.sizes(), x.options());
    podium::conv_forward(conv_of(rows, w, b), out.mutable_data_ptr<float>(), at::get_num_threads());
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "causal convolution: second derivatives are not supported");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor rows = with_dense_rows(x), w = channels_last(weight), b = channels_last(saved[2]).view({-1});
    const at::Tensor g = grads[0].contiguous();
    const int64_t chunks = std::max<int64_t>(1, std::min(kChunks, x.size(0))), channels = x.size(2);
    at::Tensor gx = at::empty(x.sizes(), x.options());
    at::Tensor gw = at::zeros({chunks, w.size(0), w.size(1)}, x.options());
    at::Tensor gb = at::zeros({chunks, w.size(1)}, x.options());
    const podium::ConvGrads out{chunks, gx.mutable_data_ptr<float>(), gw.mutable_data_ptr<float>(),
                                gb.mutable_data_ptr<float>()};
    podium::conv_backward(conv_of(rows, w, b), g.const_data_ptr<float>(), out, at::get_num_threads());
    return {gx, gw.sum(0).narrow(1, 0, channels).t().unsqueeze(1), gb.sum(0).narrow(0, 0, channels)};
  }
};

}  // namespace

extern "C" {

// y * silu(z), where y is the selective scan of x [B, L, I] with softplus(dt) [B, L, I], A = -exp(a_log) [I, N],
// b, c [B, L, N] and the skip gain d [I]. allow_fused = 0 takes tensor operations on the CPU too.
int podium_selective_scan(const at::Tensor* x, const at::Tensor* dt, const at::Tensor* a_log, const at::Tensor* b,
                          const at::Tensor* c, const at::Tensor* d, const at::Tensor* z, int allow_fused,
                          at::Tensor** out) {
  return guarded([&] {
    *out = new at::Tensor(SelectiveScan::apply(*x, *dt, *a_log, *b, *c, *d, *z, allow_fused != 0));
  });
}

int podium_causal_conv_silu(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(CausalConvSilu::apply(*x, *weight, *bias)); });
}

}  // extern "C"
