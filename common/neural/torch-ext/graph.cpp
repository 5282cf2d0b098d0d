// CUDA graphs: what a thread computes on a GPU, recorded once and launched as a whole.

#include "ext.h"
#include "loaded.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <memory>
#include <utility>

using podium::guarded;

namespace {

// at::cuda::CUDAGraph, which has 104 bytes in 2.11.
class Graph {
 public:
  explicit Graph(c10::Device gpu) : impl_(c10::kCUDA), gpu_(gpu), side_(impl_.getStreamFromGlobalPool(gpu, false)) {
    podium::loaded<void (*)(void*, bool)>("_ZN2at4cuda9CUDAGraphC1Eb")(memory_, false);
  }

  Graph(const Graph&) = delete;

  ~Graph() { podium::loaded<void (*)(void*)>("_ZN2at4cuda9CUDAGraphD1Ev")(memory_); }

  void begin() {
    // Other threads go on copying batches: what they do must neither be recorded nor end the recording.
    constexpr int kThreadLocal = 1;
    const auto capture = podium::loaded<void (*)(void*, std::pair<unsigned long long, unsigned long long>, int)>(
        "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    impl_.synchronizeDevice(gpu_.index());
    before_ = impl_.exchangeStream(side_);
    try {
      capture(memory_, {0, 0}, kThreadLocal);
    } catch (...) {
      impl_.exchangeStream(before_);
      throw;
    }
  }

  void end() {
    const auto finish = podium::loaded<void (*)(void*)>("_ZN2at4cuda9CUDAGraph11capture_endEv");
    try {
      finish(memory_);
    } catch (...) {
      impl_.exchangeStream(before_);
      throw;
    }
    impl_.exchangeStream(before_);
  }

  void launch() { podium::loaded<void (*)(void*)>("_ZN2at4cuda9CUDAGraph6replayEv")(memory_); }

 private:
  alignas(std::max_align_t) std::byte memory_[512];
  c10::impl::VirtualGuardImpl impl_;
  c10::Device gpu_;
  // Nothing is recorded on the default stream.
  c10::Stream side_;
  c10::Stream before_ = side_;
};

}  // namespace

extern "C" {

int podium_graph_new(int device, void** out) {
  return guarded([&] { *out = new Graph(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))); });
}

// From here to the end everything that this thread computes on the GPU is recorded and not done.
int podium_graph_begin(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->begin(); });
}

int podium_graph_end(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->end(); });
}

int podium_graph_launch(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->launch(); });
}

void podium_graph_free(void* graph) {
  try {
    delete static_cast<Graph*>(graph);
  } catch (...) {
  }
}

// Sets gradients; what was there before is dropped.
int podium_set_grads(size_t n, at::Tensor* const* params, at::Tensor* const* grads) {
  return guarded([&] {
    for (size_t i = 0; i < n; ++i) params[i]->mutable_grad() = *grads[i];
  });
}

}  // extern "C"
