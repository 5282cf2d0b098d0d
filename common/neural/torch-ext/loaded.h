// Functions of libtorch_cuda, found by name once that library is loaded. Its headers need those of the CUDA toolkit and of
// NCCL, which a build must do without; what is called here has plain arguments, and libtorch 2.11 is pinned.
#pragma once

#include <c10/util/Exception.h>

#include <dlfcn.h>

namespace podium {

template <class Function>
Function loaded(const char* name) {
  void* found = dlsym(RTLD_DEFAULT, name);
  TORCH_CHECK(found != nullptr, "the CUDA part of libtorch 2.11 is not loaded: it has no ", name);
  return reinterpret_cast<Function>(found);
}

}  // namespace podium
