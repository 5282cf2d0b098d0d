// Memory of the GPU, through the allocator interface that the CPU libraries declare: nothing here links CUDA.

#include "ext.h"

#include <c10/core/CachingDeviceAllocator.h>

using podium::guarded;

extern "C" {

struct podium_cuda_memory {
  int64_t allocated, allocated_peak, reserved, reserved_peak, retries, out_of_memory;
};

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

}  // extern "C"
