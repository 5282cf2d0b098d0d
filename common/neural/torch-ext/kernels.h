// Kernels for GPUs, compiled when they are first used. NVRTC comes with libtorch's CUDA part; a build needs nothing of CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace podium {

// A kernel on the GPU with this number; null where it could not be compiled, which is warned of once.
class Kernel {
 public:
  // Of mamba.cu. `sizes` sets its macros: `-DLEVELS=60`.
  static Kernel of_mamba(c10::DeviceIndex gpu, const std::string& name, const std::vector<std::string>& sizes);

  explicit operator bool() const { return function_ != nullptr; }

  // Starts `x` by `y` blocks of a warp on the stream of this thread. `arguments` are addresses of what the kernel takes.
  void launch(unsigned x, unsigned y, std::vector<void*> arguments) const;

 private:
  void* function_ = nullptr;
  c10::DeviceIndex gpu_ = 0;
};

}  // namespace podium
