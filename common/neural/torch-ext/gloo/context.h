// See gloo/algorithm.h. The one function that the header calls is exported by libtorch_cpu.
#pragma once

#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
