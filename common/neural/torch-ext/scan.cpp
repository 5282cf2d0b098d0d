// The selective scan of the Mamba block and its convolution, with gradients.
//
// f32 runs in the kernels of scan.h on the CPU and in those of mamba.cu on GPUs. Everything else runs in tensor operations,
// level by level and a slice of the batch at a time. All backward passes compute the states again instead of keeping
// [batch, length, channels, states] numbers.

#include "ext.h"
#include "kernels.h"
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

// Levels whose numbers fit the shared memory that every GPU gives a warp (48 KiB).
constexpr int64_t kMostLevels = 96;
// States of a channel that a lane keeps in its registers, if need be in its part of the memory.
constexpr int64_t kMostStates = 256;
// Elements of the parts of sums that a slice of the batch keeps.
constexpr int64_t kPartElements = int64_t{1} << 26;
constexpr int64_t kMostSamples = 65535;  // blocks of a grid in its second direction

std::string macro(const char* name, int64_t value) { return "-D" + std::string(name) + "=" + std::to_string(value); }

unsigned warps_of(const at::Tensor& x) { return static_cast<unsigned>((x.size(2) + 31) / 32); }

// A kernel of mamba.cu, if x is work for one. `size` is that of the other dimension it is compiled for.
podium::Kernel kernel_of(const char* name, const at::Tensor& x, const char* dimension, int64_t size) {
  const bool suits = x.is_cuda() && x.scalar_type() == at::kFloat && x.numel() > 0 && x.size(1) <= kMostLevels &&
                     size > 0 && size <= kMostStates;
  if (!suits) return {};
  return podium::Kernel::of_mamba(x.device().index(), name, {macro("LEVELS", x.size(1)), macro(dimension, size)});
}

podium::Kernel scan_kernel(const char* name, const at::Tensor& x, const at::Tensor& b, bool allowed) {
  return allowed ? kernel_of(name, x, "STATES", b.size(2)) : podium::Kernel();
}

podium::Kernel conv_kernel(const char* name, const at::Tensor& x, const at::Tensor& weight) {
  return kernel_of(name, x, "TAPS", weight.size(2));
}

// What a kernel takes: addresses of contiguous tensors, or of rows at a stride.
template <class... Numbers>
void start(const podium::Kernel& kernel, const at::Tensor& x, std::vector<at::Tensor> tensors, Numbers... numbers) {
  std::vector<void*> addresses, arguments;
  for (const at::Tensor& tensor : tensors) addresses.push_back(tensor.data_ptr());
  for (void*& address : addresses) arguments.push_back(&address);
  (arguments.push_back(&numbers), ...);
  kernel.launch(warps_of(x), static_cast<unsigned>(x.size(0)), std::move(arguments));
}

// Slices of at most `rows` samples.
template <class Work>
void slices(int64_t batch, int64_t rows, Work work) {
  rows = std::clamp<int64_t>(rows, 1, kMostSamples);
  for (int64_t first = 0; first < batch; first += rows) work(first, std::min(rows, batch - first));
}

at::Tensor kernel_forward(const podium::Kernel& kernel, const at::Tensor& x, const at::Tensor& dt,
                          const at::Tensor& a_log, const at::Tensor& b, const at::Tensor& c, const at::Tensor& d,
                          const at::Tensor& z) {
  const at::Tensor a = (a_log.exp() * -kLog2E).t().contiguous(), gain = d.contiguous();  // [N, I]
  const at::Tensor rows = x.contiguous(), steps = dt.contiguous(), gate = with_dense_rows(z);
  const at::Tensor bs = b.contiguous(), cs = c.contiguous();
  at::Tensor out = at::empty_like(rows);
  slices(x.size(0), kMostSamples, [&](int64_t first, int64_t count) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
    start(kernel, cut(rows), {cut(rows), cut(steps), cut(gate), cut(bs), cut(cs), a, gain, cut(out)},
          static_cast<int>(x.size(2)), static_cast<long long>(gate.stride(1)));
  });
  return out;
}

variable_list kernel_backward(const podium::Kernel& kernel, const at::Tensor& grad, const at::Tensor& x,
                              const at::Tensor& dt, const at::Tensor& a_log, const at::Tensor& b, const at::Tensor& c,
                              const at::Tensor& d, const at::Tensor& z) {
  const int64_t length = x.size(1), channels = x.size(2), states = b.size(2), warps = warps_of(x);
  const at::Tensor minus_a = a_log.exp(), a = (minus_a * -kLog2E).t().contiguous(), gain = d.contiguous();
  const at::Tensor rows = x.contiguous(), steps = dt.contiguous(), gate = with_dense_rows(z);
  const at::Tensor bs = b.contiguous(), cs = c.contiguous(), g = grad.contiguous();
  at::Tensor gx = at::empty_like(rows), g_dt = at::empty_like(rows), gz = at::empty_like(rows);
  at::Tensor gb = at::empty_like(bs), gc = at::empty_like(cs);
  at::Tensor ga = at::zeros({states, channels}, x.options()), gd = at::zeros({channels}, x.options());
  const int64_t parts = states * (2 * warps * length + channels);  // of a sample
  slices(x.size(0), kPartElements / parts, [&](int64_t first, int64_t count) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
    const at::Tensor b_parts = at::empty({count, warps, states, length}, x.options()), c_parts = at::empty_like(b_parts);
    const at::Tensor a_parts = at::empty({count, states, channels}, x.options());
    const at::Tensor d_parts = at::empty({count, channels}, x.options());
    start(kernel, cut(rows),
          {cut(g), cut(rows), cut(steps), cut(gate), cut(bs), cut(cs), a, gain, cut(gx), cut(g_dt), cut(gz), b_parts,
           c_parts, a_parts, d_parts},
          static_cast<int>(channels), static_cast<long long>(gate.stride(1)));
    cut(gb).copy_(b_parts.sum(1).transpose(1, 2));
    cut(gc).copy_(c_parts.sum(1).transpose(1, 2));
    ga.add_(a_parts.sum(0));
    gd.add_(d_parts.sum(0));
  });
  // A = -exp(A_log), so its slope is A itself.
  return {gx, g_dt, ga.t().mul(minus_a).neg(), gb, gc, gd, gz};
}

// The slices of the batch that the form in tensor operations works on.
template <class Work>
void for_slices(const at::Tensor& x, int64_t states, Work work) {
  slices(x.size(0), kSliceElements / std::max<int64_t>(1, x.size(1) * x.size(2) * states), work);
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
    if (const auto kernel = scan_kernel("scan_forward", x, b, allow_fused)) {
      return kernel_forward(kernel, x, dt, a_log, b, c, d, z);
    }
    const auto work = fused(x, allow_fused) ? fused_forward : operations_forward;
    return work(x, dt, a_log, b, c, d, z);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "selective scan: second derivatives are not supported");
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const variable_list t = context->get_saved_variables();
    const bool allowed = context->saved_data["fused"].toBool();
    variable_list result;
    if (const auto kernel = scan_kernel("scan_backward", t[0], t[3], allowed)) {
      result = kernel_backward(kernel, grads[0], t[0], t[1], t[2], t[3], t[4], t[5], t[6]);
    } else {
      const auto work = fused(t[0], allowed) ? fused_backward : operations_backward;
      result = work(grads[0], t[0], t[1], t[2], t[3], t[4], t[5], t[6]);
    }
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

at::Tensor conv_kernel_forward(const podium::Kernel& kernel, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias) {
  const at::Tensor rows = with_dense_rows(x), w = weight.squeeze(1).t().contiguous(), shift = bias.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  slices(x.size(0), kMostSamples, [&](int64_t first, int64_t count) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
    start(kernel, cut(rows), {cut(rows), w, shift, cut(out)}, static_cast<int>(x.size(2)),
          static_cast<long long>(rows.stride(1)));
  });
  return out;
}

variable_list conv_kernel_backward(const podium::Kernel& kernel, const at::Tensor& grad, const at::Tensor& x,
                                   const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor rows = with_dense_rows(x), w = weight.squeeze(1).t().contiguous(), shift = bias.contiguous();
  const at::Tensor g = grad.contiguous();
  const int64_t taps = w.size(0), channels = w.size(1);
  at::Tensor gx = at::empty(x.sizes(), x.options());
  at::Tensor gw = at::zeros({taps, channels}, x.options()), gb = at::zeros({channels}, x.options());
  slices(x.size(0), kPartElements / (taps * channels), [&](int64_t first, int64_t count) {
    auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
    const at::Tensor w_parts = at::empty({count, taps, channels}, x.options());
    const at::Tensor b_parts = at::empty({count, channels}, x.options());
    start(kernel, cut(rows), {cut(g), cut(rows), w, shift, cut(gx), w_parts, b_parts}, static_cast<int>(channels),
          static_cast<long long>(rows.stride(1)));
    gw.add_(w_parts.sum(0));
    gb.add_(b_parts.sum(0));
  });
  return {gx, gw.t().unsqueeze(1), gb};
}

// silu of a causal depthwise convolution in f32: x [B, L, I], weight [I, 1, K], bias [I].
struct CausalConvSilu : torch::autograd::Function<CausalConvSilu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    TORCH_CHECK(x.dim() == 3 && weight.dim() == 3 && weight.size(1) == 1 && weight.size(0) == x.size(2) &&
                    bias.dim() == 1 && bias.size(0) == x.size(2),
                "causal convolution: x ", x.sizes(), ", weight ", weight.sizes(), ", bias ", bias.sizes(),
                " do not fit");
    for (const at::Tensor& t : {x, weight, bias})
      TORCH_CHECK(t.device() == x.device() && t.scalar_type() == at::kFloat,
                  "causal convolution: expected f32 on one device");
    context->save_for_backward({x, weight, bias});
    if (const auto kernel = conv_kernel("conv_forward", x, weight)) return conv_kernel_forward(kernel, x, weight, bias);
    const at::Tensor rows = with_dense_rows(x), w = channels_last(weight), b = channels_last(bias).view({-1});
    at::Tensor out = at::empty(x.sizes(), x.options());
    podium::conv_forward(conv_of(rows, w, b), out.mutable_data_ptr<float>(), at::get_num_threads());
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "causal convolution: second derivatives are not supported");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    if (const auto kernel = conv_kernel("conv_backward", x, weight)) {
      return conv_kernel_backward(kernel, grads[0], x, weight, saved[2]);
    }
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

// x [B, L, I], weight [I, 1, K], bias [I]. `fused` says whether there is a kernel for them; without one nothing is done.
int podium_causal_conv_silu(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, int* fused,
                            at::Tensor** out) {
  return guarded([&] {
    const bool plain = x->scalar_type() == at::kFloat && x->dim() == 3 && weight->dim() == 3;
    *fused = plain && (x->device().is_cpu() || conv_kernel("conv_forward", *x, *weight)) ? 1 : 0;
    if (*fused != 0) *out = new at::Tensor(CausalConvSilu::apply(*x, *weight, *bias));
  });
}

}  // extern "C"
