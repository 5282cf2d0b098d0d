// Memory of the GPU and copies to it, through the interfaces that the CPU libraries declare: nothing here links CUDA.

#include "ext.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <memory>

using podium::guarded;

namespace {

// A stream of this thread beside the one that computes.
c10::Stream side_stream(c10::Device gpu) {
  static thread_local std::map<c10::DeviceIndex, c10::Stream> streams;
  const auto found = streams.find(gpu.index());
  if (found != streams.end()) return found->second;
  const c10::Stream stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStreamFromGlobalPool(gpu, false);
  streams.emplace(gpu.index(), stream);
  return stream;
}

}  // namespace

extern "C" {

struct podium_cuda_memory {
  int64_t allocated, allocated_peak, reserved, reserved_peak, retries, out_of_memory;
};

// What this thread does on "the" GPU is done on this one.
int podium_cuda_set_device(int device) {
  return guarded([&] {
    c10::impl::VirtualGuardImpl(c10::kCUDA)
        .setDevice(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device)));
  });
}

int podium_cuda_memory_stats(int device, podium_cuda_memory* stats) {
  return guarded([&] {
    const auto found = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    // Element 0 sums over all pools.
    *stats = {found.allocated_bytes[0].current, found.allocated_bytes[0].peak, found.reserved_bytes[0].current,
              found.reserved_bytes[0].peak,     found.num_alloc_retries,       found.num_ooms};
  });
}

int podium_cuda_reset_peak(int device) {
  return guarded([&] { c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

int podium_cuda_empty_cache() {
  return guarded([] { c10::getDeviceAllocator(c10::kCUDA)->emptyCache(); });
}

// A copy on a GPU for what this thread computes there next; the host does not wait for what the GPU has to do before.
int podium_place(const at::Tensor* tensor, int device, at::Tensor** out) {
  return guarded([&] {
    const c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    *out = new at::Tensor(tensor->pin_memory().to(gpu, tensor->scalar_type(), true, false));
  });
}

// Starts copying tensors to a GPU, by way of pinned memory and on a side stream. `done` is to be given to one of the two below.
int podium_upload(size_t n, at::Tensor* const* tensors, int device, at::Tensor** copies, void** done) {
  return guarded([&] {
    const c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    const c10::Stream stream = side_stream(gpu);
    std::vector<at::Tensor> made;
    auto event = std::make_unique<c10::Event>(c10::kCUDA);
    {
      const c10::StreamGuard guard(stream);
      for (size_t i = 0; i < n; ++i) made.push_back(tensors[i]->pin_memory().to(gpu, tensors[i]->scalar_type(), true, false));
      event->record(stream);
    }
    for (size_t i = 0; i < n; ++i) copies[i] = new at::Tensor(made[i]);
    *done = event.release();
  });
}

// What this thread computes next waits for the copies; their memory is not given away before it has finished.
int podium_upload_wait(void* done, size_t n, at::Tensor* const* copies) {
  return guarded([&] {
    if (n == 0) return;
    const c10::Stream current = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(copies[0]->device());
    static_cast<c10::Event*>(done)->block(current);
    for (size_t i = 0; i < n; ++i) copies[i]->record_stream(current);
  });
}

void podium_upload_free(void* done) {
  try {
    delete static_cast<c10::Event*>(done);
  } catch (...) {
  }
}

}  // extern "C"
