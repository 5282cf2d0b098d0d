// Kernels of scan.h.
//
// Vectors are the compiler's own vector type of 64 bytes, which it splits where the machine's are shorter; each kernel
// is compiled for three generations of x86 and the best one is picked when the program starts.

#include "scan.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PODIUM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PODIUM_CLONES
#endif
#define PODIUM_INLINE static inline __attribute__((always_inline))

namespace podium {
namespace {

typedef float Vec __attribute__((vector_size(64)));
typedef int32_t VecInt __attribute__((vector_size(64)));

constexpr float kLog2E = 1.44269504088896340736f;

PODIUM_INLINE Vec load(const float *from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

PODIUM_INLINE void store(float *to, Vec v) { std::memcpy(to, &v, sizeof v); }

// The first `lanes` values, zeros behind them.
PODIUM_INLINE Vec load_part(const float *from, int64_t lanes) {
  if (lanes == kWidth) return load(from);
  Vec v = {};
  std::memcpy(&v, from, static_cast<size_t>(lanes) * sizeof(float));
  return v;
}

PODIUM_INLINE void store_part(float *to, Vec v, int64_t lanes) {
  if (lanes == kWidth) return store(to, v);
  std::memcpy(to, &v, static_cast<size_t>(lanes) * sizeof(float));
}

PODIUM_INLINE float sum(Vec v) {
  float parts[kWidth];
  store(parts, v);
  for (int width = kWidth / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  return parts[0];
}

// 2^t, relative error below 2e-7; below 2^-125 it stays there. NaN stays NaN.
PODIUM_INLINE Vec exp2(Vec t) {
  const Vec low = Vec{} - 125.0f, high = Vec{} + 127.0f;
  t = t < low ? low : t;
  t = t > high ? high : t;
  // Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the mantissa.
  const Vec shifted = t + 12582912.0f;
  const VecInt exponent = reinterpret_cast<VecInt>(shifted) << 23;
  const Vec f = t - (shifted - 12582912.0f);
  Vec p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return reinterpret_cast<Vec>(reinterpret_cast<VecInt>(p) + exponent);
}

PODIUM_INLINE Vec sigmoid(Vec v) { return 1.0f / (1.0f + exp2(v * -kLog2E)); }

// The derivative of v * sigmoid(v).
PODIUM_INLINE Vec silu_slope(Vec v, Vec s) { return s * (1.0f + v * (1.0f - s)); }

// Scratch of one thread, in vectors.
class Scratch {
 public:
  explicit Scratch(int64_t vectors)
      : data_(static_cast<Vec *>(::operator new(static_cast<size_t>(vectors) * sizeof(Vec), std::align_val_t(64)))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  Vec *get() const { return data_; }

 private:
  Vec *data_;
};

std::atomic<Pool> given{nullptr};

// Runs work(piece, scratch) for all pieces on up to `threads` threads of the pool. Which thread takes which piece does not
// matter to any result.
template <class Work>
void run(int64_t pieces, int64_t scratch_vectors, int threads, Work work) {
  const Pool pool = given.load();
  const int workers = pool == nullptr ? 1 : static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, pieces)));
  std::vector<std::unique_ptr<Scratch>> scratch;
  for (int i = 0; i < workers; ++i) scratch.push_back(std::make_unique<Scratch>(scratch_vectors));
  std::atomic<int64_t> next{0};
  auto serve = [&](int worker) {
    for (int64_t piece; (piece = next.fetch_add(1)) < pieces;) work(piece, scratch[worker]->get());
  };
  if (workers == 1) return serve(0);
  pool(workers, [](void *context, int worker) { (*static_cast<decltype(serve) *>(context))(worker); }, &serve);
}

// One sample and 16 channels: y = scan, out = y * silu(z). States run in groups of `Group`, so that their chains of
// dependent steps overlap and y is read and written once a group.
template <int Group>
PODIUM_INLINE void forward_states(const float *a, const float *b, const float *c, int64_t length, int64_t states,
                                  int64_t a_stride, const Vec *delta, const Vec *dx, Vec *y) {
  Vec decay[Group], s[Group];
  for (int k = 0; k < Group; ++k) {
    decay[k] = load(a + k * a_stride);
    s[k] = Vec{};
  }
  for (int64_t t = 0; t < length; ++t) {
    Vec sum = y[t];
    for (int k = 0; k < Group; ++k) {
      s[k] = exp2(delta[t] * decay[k]) * s[k] + dx[t] * b[t * states + k];
      sum += s[k] * c[t * states + k];
    }
    y[t] = sum;
  }
}

PODIUM_CLONES void forward_block(const Scan &p, int64_t sample, int64_t first, float *out, Vec *scratch) {
  const int64_t lanes = std::min(kWidth, p.channels - first), length = p.length, width = padded(p.channels);
  Vec *delta = scratch, *dx = delta + length, *y = dx + length;
  const int64_t at = sample * length * p.channels + first;
  const Vec gain = load(p.d + first);
  for (int64_t t = 0; t < length; ++t) {
    const Vec x = load_part(p.x + at + t * p.channels, lanes);
    delta[t] = load_part(p.delta + at + t * p.channels, lanes);
    dx[t] = delta[t] * x;
    y[t] = gain * x;
  }
  const float *b = p.b + sample * length * p.states, *c = p.c + sample * length * p.states;
  int64_t n = 0;
  for (; n + 4 <= p.states; n += 4)
    forward_states<4>(p.a + n * width + first, b + n, c + n, length, p.states, width, delta, dx, y);
  for (; n < p.states; ++n)
    forward_states<1>(p.a + n * width + first, b + n, c + n, length, p.states, width, delta, dx, y);
  const float *z = p.z + sample * length * p.z_stride + first;
  for (int64_t t = 0; t < length; ++t) {
    const Vec gate = load_part(z + t * p.z_stride, lanes);
    store_part(out + at + t * p.channels, y[t] * gate * sigmoid(gate), lanes);
  }
}

// The states of one group of one block, forward once more and then back. All sums over channels stay vectors here.
template <int Group>
PODIUM_INLINE void backward_states(const float *a, const float *b, const float *c, int64_t length, int64_t states,
                                   int64_t a_stride, const Vec *delta, const Vec *dx, const Vec *gy, Vec *y,
                                   Vec *g_delta, Vec *g_dx, Vec *g_b, Vec *g_c, float *g_a, Vec *saved) {
  Vec decay[Group], s[Group], factor, gs[Group], ga[Group];
  Vec *const factors = saved, *const history = saved + Group * length;
  for (int k = 0; k < Group; ++k) {
    decay[k] = load(a + k * a_stride);
    s[k] = Vec{};
    gs[k] = Vec{};
    ga[k] = Vec{};
  }
  for (int64_t t = 0; t < length; ++t) {
    Vec sum = y[t];
    for (int k = 0; k < Group; ++k) {
      factor = exp2(delta[t] * decay[k]);
      s[k] = factor * s[k] + dx[t] * b[t * states + k];
      sum += s[k] * c[t * states + k];
      factors[t * Group + k] = factor;
      history[t * Group + k] = s[k];
    }
    y[t] = sum;
  }
  for (int64_t t = length - 1; t >= 0; --t) {
    Vec to_delta = g_delta[t], to_dx = g_dx[t];
    for (int k = 0; k < Group; ++k) {
      const Vec before = t > 0 ? history[(t - 1) * Group + k] : Vec{};
      gs[k] += gy[t] * c[t * states + k];
      g_c[k * length + t] += gy[t] * history[t * Group + k];
      g_b[k * length + t] += gs[k] * dx[t];
      to_dx += gs[k] * b[t * states + k];
      gs[k] *= factors[t * Group + k];
      const Vec ge = gs[k] * before;  // with respect to delta * A
      to_delta += ge * decay[k];
      ga[k] += ge * delta[t];
    }
    g_delta[t] = to_delta;
    g_dx[t] = to_dx;
  }
  for (int k = 0; k < Group; ++k) store(g_a + k * a_stride, load(g_a + k * a_stride) + ga[k]);
}

constexpr int kBack = 2;

PODIUM_CLONES void backward_block(const Scan &p, int64_t sample, int64_t first, const float *grad_out,
                                  const ScanGrads &g, float *g_a, float *g_d, Vec *g_b, Vec *g_c, Vec *scratch) {
  const int64_t lanes = std::min(kWidth, p.channels - first), length = p.length, width = padded(p.channels);
  Vec *x = scratch, *delta = x + length, *dx = delta + length, *y = dx + length, *gy = y + length,
      *g_delta = gy + length, *g_dx = g_delta + length, *saved = g_dx + length;
  const int64_t at = sample * length * p.channels + first;
  const float *z = p.z + sample * length * p.z_stride + first;
  const Vec gain = load(p.d + first);
  for (int64_t t = 0; t < length; ++t) {
    const int64_t i = at + t * p.channels;
    x[t] = load_part(p.x + i, lanes);
    delta[t] = load_part(p.delta + i, lanes);
    dx[t] = delta[t] * x[t];
    y[t] = gain * x[t];
    const Vec gate = load_part(z + t * p.z_stride, lanes);
    gy[t] = load_part(grad_out + i, lanes) * gate * sigmoid(gate);
    g_delta[t] = Vec{};
    g_dx[t] = Vec{};
  }
  const float *b = p.b + sample * length * p.states, *c = p.c + sample * length * p.states;
  int64_t n = 0;
  for (; n + kBack <= p.states; n += kBack)
    backward_states<kBack>(p.a + n * width + first, b + n, c + n, length, p.states, width, delta, dx, gy, y, g_delta,
                           g_dx, g_b + n * length, g_c + n * length, g_a + n * width + first, saved);
  for (; n < p.states; ++n)
    backward_states<1>(p.a + n * width + first, b + n, c + n, length, p.states, width, delta, dx, gy, y, g_delta, g_dx,
                       g_b + n * length, g_c + n * length, g_a + n * width + first, saved);
  Vec to_gain = load(g_d + first);
  const float ln2 = 1.0f / kLog2E;  // decay holds A * log2(e)
  for (int64_t t = 0; t < length; ++t) {
    const int64_t i = at + t * p.channels;
    const Vec gate = load_part(z + t * p.z_stride, lanes), s = sigmoid(gate);
    store_part(g.z + i, load_part(grad_out + i, lanes) * y[t] * silu_slope(gate, s), lanes);
    store_part(g.x + i, g_dx[t] * delta[t] + gy[t] * gain, lanes);
    store_part(g.delta + i, g_dx[t] * x[t] + g_delta[t] * ln2, lanes);
    to_gain += gy[t] * x[t];
  }
  store(g_d + first, to_gain);
}

// Sums over the lanes of [states, length] vectors into [length, states] numbers.
PODIUM_CLONES void reduce_lanes(const Vec *from, int64_t states, int64_t length, float *to) {
  for (int64_t t = 0; t < length; ++t)
    for (int64_t n = 0; n < states; ++n) to[t * states + n] = sum(from[n * length + t]);
}

PODIUM_CLONES void conv_forward_block(const Conv &p, int64_t sample, int64_t first, float *out) {
  const int64_t lanes = std::min(kWidth, p.channels - first), width = padded(p.channels);
  const float *x = p.x + sample * p.length * p.x_stride + first;
  out += sample * p.length * p.channels + first;
  const Vec bias = load(p.bias + first);
  for (int64_t t = 0; t < p.length; ++t) {
    Vec v = bias;
    for (int64_t k = std::max<int64_t>(0, p.taps - 1 - t); k < p.taps; ++k)
      v += load(p.w + k * width + first) * load_part(x + (t - (p.taps - 1) + k) * p.x_stride, lanes);
    store_part(out + t * p.channels, v * sigmoid(v), lanes);
  }
}

PODIUM_CLONES void conv_backward_block(const Conv &p, int64_t sample, int64_t first, const float *grad_out,
                                       const ConvGrads &g, float *g_w, float *g_bias, Vec *slopes) {
  const int64_t lanes = std::min(kWidth, p.channels - first), width = padded(p.channels);
  const float *x = p.x + sample * p.length * p.x_stride + first;
  grad_out += sample * p.length * p.channels + first;
  const Vec bias = load(p.bias + first);
  Vec to_bias = load(g_bias + first);
  for (int64_t t = 0; t < p.length; ++t) {
    Vec v = bias;
    const int64_t from = std::max<int64_t>(0, p.taps - 1 - t);
    for (int64_t k = from; k < p.taps; ++k)
      v += load(p.w + k * width + first) * load_part(x + (t - (p.taps - 1) + k) * p.x_stride, lanes);
    slopes[t] = load_part(grad_out + t * p.channels, lanes) * silu_slope(v, sigmoid(v));
    to_bias += slopes[t];
    for (int64_t k = from; k < p.taps; ++k) {
      float *w = g_w + k * width + first;
      store(w, load(w) + slopes[t] * load_part(x + (t - (p.taps - 1) + k) * p.x_stride, lanes));
    }
  }
  store(g_bias + first, to_bias);
  for (int64_t t = 0; t < p.length; ++t) {
    Vec v = {};
    for (int64_t k = 0; k < p.taps; ++k) {
      const int64_t later = t + p.taps - 1 - k;
      if (later < p.length) v += load(p.w + k * width + first) * slopes[later];
    }
    store_part(g.x + (sample * p.length + t) * p.channels + first, v, lanes);
  }
}

}  // namespace

void scan_forward(const Scan &p, float *out, int threads) {
  const int64_t blocks = padded(p.channels) / kWidth;
  run(p.batch * blocks, 3 * p.length, threads, [&](int64_t piece, Vec *scratch) {
    forward_block(p, piece / blocks, piece % blocks * kWidth, out, scratch);
  });
}

void scan_backward(const Scan &p, const float *grad_out, const ScanGrads &g, int threads) {
  const int64_t width = padded(p.channels), sums = p.states * p.length;
  run(g.chunks, 2 * sums + (7 + 2 * kBack) * p.length, threads, [&](int64_t chunk, Vec *scratch) {
    Vec *g_b = scratch, *g_c = g_b + sums, *rest = g_c + sums;
    float *g_a = g.a + chunk * p.states * width, *g_d = g.d + chunk * width;
    for (int64_t sample = p.batch * chunk / g.chunks; sample < p.batch * (chunk + 1) / g.chunks; ++sample) {
      std::memset(static_cast<void *>(g_b), 0, static_cast<size_t>(2 * sums) * sizeof(Vec));
      for (int64_t first = 0; first < width; first += kWidth)
        backward_block(p, sample, first, grad_out, g, g_a, g_d, g_b, g_c, rest);
      reduce_lanes(g_b, p.states, p.length, g.b + sample * sums);
      reduce_lanes(g_c, p.states, p.length, g.c + sample * sums);
    }
  });
}

void conv_forward(const Conv &p, float *out, int threads) {
  const int64_t blocks = padded(p.channels) / kWidth;
  run(p.batch, 0, threads, [&](int64_t sample, Vec *) {
    for (int64_t block = 0; block < blocks; ++block) conv_forward_block(p, sample, block * kWidth, out);
  });
}

void conv_backward(const Conv &p, const float *grad_out, const ConvGrads &g, int threads) {
  const int64_t width = padded(p.channels);
  run(g.chunks, p.length, threads, [&](int64_t chunk, Vec *scratch) {
    float *g_w = g.w + chunk * p.taps * width, *g_bias = g.bias + chunk * width;
    for (int64_t sample = p.batch * chunk / g.chunks; sample < p.batch * (chunk + 1) / g.chunks; ++sample)
      for (int64_t first = 0; first < width; first += kWidth)
        conv_backward_block(p, sample, first, grad_out, g, g_w, g_bias, scratch);
  });
}

}  // namespace podium

extern "C" void podium_set_pool(podium::Pool pool) { podium::given.store(pool); }
