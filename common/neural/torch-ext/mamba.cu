// The Mamba block's selective scan and convolution on a GPU (f32), compiled at their first use by NVRTC for the sizes at hand:
// LEVELS, STATES and TAPS are its macros. The scan is compiled where STATES is given, the convolution where TAPS is.
//
// A warp computes 32 neighbouring channels of one sample, a lane each, and needs nobody else. The code is the same for all lanes
// of a warp, so it also compiles with vectors of 32 numbers for `Real`, which is how tests run it on the CPU
// (tests/stand-in/mamba.cpp). Sums over channels, samples and warps are made in a fixed order: a part for each, added afterwards.

#ifdef __CUDACC_RTC__

// `warps` of them at least are to fit a multiprocessor at a time, which bounds their registers.
#define KERNEL(warps) extern "C" __global__ __launch_bounds__(32, warps) void
#define INLINE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
// Numbers of a lane, one for each level, that other lanes do not see.
#define LEVEL_NUMBERS(name) __shared__ float name##_of_all[LEVELS][32]
#define AT(name, t) name##_of_all[t][threadIdx.x]

// Nothing is fetched from memory earlier than here: with all levels ahead of it there would be no registers left.
#define NOT_EARLIER asm volatile("" ::: "memory")

typedef float Real;

INLINE Real load(const float* row, int first, int count) {
  const int i = first + static_cast<int>(threadIdx.x);
  return i < count ? row[i] : 0.0f;
}

INLINE void store(float* row, int first, int count, Real value) {
  const int i = first + static_cast<int>(threadIdx.x);
  if (i < count) row[i] = value;
}

INLINE Real power_of_two(Real v) { return exp2f(v); }
INLINE Real sigmoid(Real v) { return 1.0f / (1.0f + expf(-v)); }
// As libtorch has it: above 20 the number itself.
INLINE Real softplus(Real v) { return v > 20.0f ? v : log1pf(expf(v)); }
INLINE Real softplus_slope(Real v) { return v > 20.0f ? 1.0f : sigmoid(v); }

// The sum over the lanes, in every lane.
INLINE Real over_lanes(Real v) {
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
  return v;
}

INLINE void keep(Real& kept, int lane, Real v) {
  if (static_cast<int>(threadIdx.x) == lane) kept = v;
}

#endif

// Levels up to which loops over them are written out, so that their numbers lie in registers.
#if LEVELS <= 64
#define UNROLL_LEVELS UNROLL
#else
#define UNROLL_LEVELS
#endif

#ifdef STATES

// Moves the states on by a level; the output before the gate. `scaled` is delta * in. a: A * log2(e), [STATES, channels].
INLINE Real next_level(Real* states, const Real& in, const Real& delta, const Real& scaled, const Real& gain, const float* b_row,
                       const float* c_row, const float* a, int first, int channels) {
  Real y = gain * in;
  UNROLL
  for (int n = 0; n < STATES; ++n) {
    const Real factor = power_of_two(delta * load(a + static_cast<long long>(n) * channels, first, channels));
    states[n] = factor * states[n] + scaled * b_row[n];
    y = y + states[n] * c_row[n];
  }
  return y;
}

// All rows are those of [samples, LEVELS, ..]; those of z lie `z_stride` apart.

KERNEL(8) scan_forward(const float* __restrict__ x, const float* __restrict__ dt, const float* __restrict__ z,
                    const float* __restrict__ b, const float* __restrict__ c, const float* __restrict__ a,
                    const float* __restrict__ d, float* __restrict__ out, int channels, long long z_stride) {
  const int first = static_cast<int>(blockIdx.x) * 32;
  const long long sample = blockIdx.y;
  Real states[STATES];
  UNROLL
  for (int n = 0; n < STATES; ++n) states[n] = 0.0f;
  const Real gain = load(d, first, channels);
  for (int t = 0; t < LEVELS; ++t) {
    const long long row = sample * LEVELS + t;
    const Real in = load(x + row * channels, first, channels);
    const Real delta = softplus(load(dt + row * channels, first, channels)), scaled = delta * in;
    const Real y =
        next_level(states, in, delta, scaled, gain, b + row * STATES, c + row * STATES, a, first, channels);
    const Real gate = load(z + row * z_stride, first, channels);
    store(out + row * channels, first, channels, y * gate * sigmoid(gate));
  }
}

// gb and gc come in a part for each warp, [samples, warps, STATES, LEVELS]; ga (with respect to A) and gd for each sample,
// [samples, STATES, channels] and [samples, channels].
KERNEL(7) scan_backward(const float* __restrict__ grad, const float* __restrict__ x, const float* __restrict__ dt,
                     const float* __restrict__ z, const float* __restrict__ b, const float* __restrict__ c,
                     const float* __restrict__ a, const float* __restrict__ d, float* __restrict__ gx,
                     float* __restrict__ g_dt, float* __restrict__ gz, float* __restrict__ gb, float* __restrict__ gc,
                     float* __restrict__ ga, float* __restrict__ gd, int channels, long long z_stride) {
  const float ln2 = 0.693147180559945309f;
  constexpr int kAhead = 10;  // levels whose numbers are fetched at a time
  const int first = static_cast<int>(blockIdx.x) * 32, warps = (channels + 31) / 32;
  const long long sample = blockIdx.y;
  LEVEL_NUMBERS(deltas);
  LEVEL_NUMBERS(inputs);
  LEVEL_NUMBERS(slopes);
  LEVEL_NUMBERS(g_scaled);  // beside them registers have no room for these
  const Real gain = load(d, first, channels);
  Real g_gain = 0.0f;
  {
    // The outputs before the gate, as in the forward pass.
    Real states[STATES];
    UNROLL
    for (int n = 0; n < STATES; ++n) states[n] = 0.0f;
    for (int t = 0; t < LEVELS; ++t) {
      const long long row = sample * LEVELS + t;
      const Real in = load(x + row * channels, first, channels);
      const Real delta = softplus(load(dt + row * channels, first, channels)), scaled = delta * in;
      const Real y =
          next_level(states, in, delta, scaled, gain, b + row * STATES, c + row * STATES, a, first, channels);
      const Real gate = load(z + row * z_stride, first, channels), open = sigmoid(gate);
      const Real g = load(grad + row * channels, first, channels);
      store(gz + row * channels, first, channels, g * y * (open * (1.0f + gate * (1.0f - open))));
      const Real slope = g * gate * open;
      AT(deltas, t) = delta;
      AT(inputs, t) = scaled;
      AT(slopes, t) = slope;
      g_gain = g_gain + slope * in;
    }
  }
  Real g_delta[LEVELS];
  UNROLL_LEVELS
  for (int t = 0; t < LEVELS; ++t) {
    AT(g_scaled, t) = 0.0f;
    g_delta[t] = 0.0f;
  }
  for (int n = 0; n < STATES; ++n) {
    const Real rate = load(a + static_cast<long long>(n) * channels, first, channels);
    const float *b_n = b + sample * LEVELS * STATES + n, *c_n = c + sample * LEVELS * STATES + n;
    // This state after each level.
    Real history[LEVELS];
    Real state = 0.0f;
    UNROLL_LEVELS
    for (int t = 0; t < LEVELS; ++t) {
      if (t % kAhead == 0) NOT_EARLIER;
      state = power_of_two(AT(deltas, t) * rate) * state + AT(inputs, t) * b_n[t * STATES];
      history[t] = state;
    }
    Real g_state = 0.0f, g_rate = 0.0f;
    Real kept_b[(LEVELS + 31) / 32], kept_c[(LEVELS + 31) / 32];
    UNROLL
    for (int k = 0; k < (LEVELS + 31) / 32; ++k) {
      kept_b[k] = 0.0f;
      kept_c[k] = 0.0f;
    }
    UNROLL_LEVELS
    for (int t = LEVELS - 1; t >= 0; --t) {
      if (t % kAhead == 0) NOT_EARLIER;
      const Real delta = AT(deltas, t), slope = AT(slopes, t);
      g_state = g_state + slope * c_n[t * STATES];
      keep(kept_c[t / 32], t % 32, over_lanes(slope * history[t]));
      keep(kept_b[t / 32], t % 32, over_lanes(AT(inputs, t) * g_state));
      AT(g_scaled, t) = AT(g_scaled, t) + g_state * b_n[t * STATES];
      g_state = g_state * power_of_two(delta * rate);
      if (t > 0) {
        const Real through = g_state * history[t - 1];
        g_delta[t] = g_delta[t] + through * (rate * ln2);
        g_rate = g_rate + through * delta;
      }
    }
    const long long part = ((sample * warps + blockIdx.x) * STATES + n) * LEVELS;
    UNROLL
    for (int k = 0; k < (LEVELS + 31) / 32; ++k) {
      store(gb + part, k * 32, LEVELS, kept_b[k]);
      store(gc + part, k * 32, LEVELS, kept_c[k]);
    }
    store(ga + (sample * STATES + n) * channels, first, channels, g_rate);
  }
  UNROLL_LEVELS
  for (int t = 0; t < LEVELS; ++t) {
    const long long row = sample * LEVELS + t;
    const Real in = load(x + row * channels, first, channels), step = load(dt + row * channels, first, channels);
    store(gx + row * channels, first, channels, AT(slopes, t) * gain + AT(g_scaled, t) * AT(deltas, t));
    store(g_dt + row * channels, first, channels, (g_delta[t] + AT(g_scaled, t) * in) * softplus_slope(step));
  }
  store(gd + sample * channels, first, channels, g_gain);
}

#endif  // STATES
#ifdef TAPS

// silu of a causal depthwise convolution. Rows of x lie `x_stride` apart; w: [TAPS, channels].
KERNEL(32) conv_forward(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
                    float* __restrict__ out, int channels, long long x_stride) {
  const int first = static_cast<int>(blockIdx.x) * 32;
  const long long sample = blockIdx.y;
  Real taps[TAPS], window[TAPS];
  UNROLL
  for (int k = 0; k < TAPS; ++k) {
    taps[k] = load(w + static_cast<long long>(k) * channels, first, channels);
    window[k] = 0.0f;
  }
  const Real shift = load(bias, first, channels);
  for (int t = 0; t < LEVELS; ++t) {
    const long long row = sample * LEVELS + t;
    UNROLL
    for (int k = 0; k + 1 < TAPS; ++k) window[k] = window[k + 1];
    window[TAPS - 1] = load(x + row * x_stride, first, channels);
    Real sum = shift;
    UNROLL
    for (int k = 0; k < TAPS; ++k) sum = sum + taps[k] * window[k];
    store(out + row * channels, first, channels, sum * sigmoid(sum));
  }
}

// gw and g_bias come in a part for each sample: [samples, TAPS, channels] and [samples, channels].
KERNEL(32) conv_backward(const float* __restrict__ grad, const float* __restrict__ x, const float* __restrict__ w,
                     const float* __restrict__ bias, float* __restrict__ gx, float* __restrict__ gw,
                     float* __restrict__ g_bias, int channels, long long x_stride) {
  const int first = static_cast<int>(blockIdx.x) * 32;
  const long long sample = blockIdx.y;
  // Of the last TAPS levels: inputs, and gradients with respect to the sums.
  Real taps[TAPS], window[TAPS], slopes[TAPS], g_taps[TAPS];
  UNROLL
  for (int k = 0; k < TAPS; ++k) {
    taps[k] = load(w + static_cast<long long>(k) * channels, first, channels);
    window[k] = 0.0f;
    slopes[k] = 0.0f;
    g_taps[k] = 0.0f;
  }
  const Real shift = load(bias, first, channels);
  Real g_shift = 0.0f;
  // Behind the last level there are TAPS - 1 more without a gradient, which finish the gradients of the last inputs.
  for (int t = 0; t < LEVELS + TAPS - 1; ++t) {
    UNROLL
    for (int k = 0; k + 1 < TAPS; ++k) {
      window[k] = window[k + 1];
      slopes[k] = slopes[k + 1];
    }
    Real slope = 0.0f;
    if (t < LEVELS) {
      const long long row = sample * LEVELS + t;
      window[TAPS - 1] = load(x + row * x_stride, first, channels);
      Real sum = shift;
      UNROLL
      for (int k = 0; k < TAPS; ++k) sum = sum + taps[k] * window[k];
      const Real open = sigmoid(sum);
      slope = load(grad + row * channels, first, channels) * (open * (1.0f + sum * (1.0f - open)));
      g_shift = g_shift + slope;
      UNROLL
      for (int k = 0; k < TAPS; ++k) g_taps[k] = g_taps[k] + slope * window[k];
    }
    slopes[TAPS - 1] = slope;
    // Level t - TAPS + 1 took part in the sums of the levels from there to t, through the last tap first.
    if (t >= TAPS - 1) {
      Real g_in = 0.0f;
      UNROLL
      for (int k = 0; k < TAPS; ++k) g_in = g_in + taps[TAPS - 1 - k] * slopes[k];
      store(gx + (sample * LEVELS + t - (TAPS - 1)) * channels, first, channels, g_in);
    }
  }
  UNROLL
  for (int k = 0; k < TAPS; ++k) store(gw + (sample * TAPS + k) * channels, first, channels, g_taps[k]);
  store(g_bias + sample * channels, first, channels, g_shift);
}

#endif  // TAPS
