// The kernels of the Mamba block for f32 on the CPU: plain loops over memory, no tensors.
//
// Vectors run over 16 neighbouring channels; a last block with fewer channels is padded with zeros. Work is cut into
// pieces that do not depend on the number of threads, so results do not either.
#pragma once

#include <cstdint>
#include <functional>

namespace podium {

// Channels of one block.
constexpr int64_t kWidth = 16;

// Runs work(context, 0) .. work(context, workers - 1), at once as far as there are threads for it; returns when all are done.
// `podium_set_pool` says where the kernels take their threads from; before that they have the calling one.
using Pool = void (*)(int workers, void (*work)(void* context, int worker), void* context);

inline int64_t padded(int64_t channels) { return (channels + kWidth - 1) / kWidth * kWidth; }

// Sizes and inputs of a selective scan. Rows of x, delta and out lie `channels` apart, those of z `z_stride`.
struct Scan {
  int64_t batch, length, channels, states, z_stride;
  const float *x, *delta, *z;  // [batch, length, channels]
  const float *b, *c;          // [batch, length, states]
  const float *a;              // A * log2(e), [states, padded(channels)], zeros behind the channels
  const float *d;              // [padded(channels)]
};

// What the backward pass fills. The sums over the batch come in `chunks` parts.
struct ScanGrads {
  int64_t chunks;
  float *x, *delta, *z;  // [batch, length, channels]
  float *b, *c;          // [batch, length, states]
  float *a;              // with respect to A * log2(e) times log2(e) (that is, A): [chunks, states, padded(channels)]
  float *d;              // [chunks, padded(channels)]
};

// Sizes and inputs of a causal depthwise convolution followed by silu. Rows of x lie `x_stride` apart.
struct Conv {
  int64_t batch, length, channels, taps, x_stride;
  const float *x;     // [batch, length, channels]
  const float *w;     // [taps, padded(channels)]
  const float *bias;  // [padded(channels)]
};

struct ConvGrads {
  int64_t chunks;
  float *x;     // [batch, length, channels]
  float *w;     // [chunks, taps, padded(channels)]
  float *bias;  // [chunks, padded(channels)]
};

void scan_forward(const Scan &scan, float *out, int threads);
void scan_backward(const Scan &scan, const float *grad_out, const ScanGrads &grads, int threads);
void conv_forward(const Conv &conv, float *out, int threads);
void conv_backward(const Conv &conv, const float *grad_out, const ConvGrads &grads, int threads);

}  // namespace podium
