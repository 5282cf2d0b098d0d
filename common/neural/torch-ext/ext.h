// What all files of the shim share: the calling convention.
//
// Every function is extern "C", takes tensors as pointers to at::Tensor (what tch's Tensor::as_ptr gives), catches
// everything, and returns one of the codes below; podium_last_error() then has the text. A tensor that is given back
// is allocated with new and belongs to the caller.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

namespace podium {

enum Code : int { kOk = 0, kFailed = 1, kOutOfMemory = 2 };

void remember(const char* text) noexcept;

template <class Work>
int guarded(Work&& work) noexcept {
  try {
    std::forward<Work>(work)();
    return kOk;
  } catch (const c10::OutOfMemoryError& e) {
    remember(e.what_without_backtrace());
    return kOutOfMemory;
  } catch (const c10::Error& e) {
    remember(e.what_without_backtrace());
    return kFailed;
  } catch (const std::bad_alloc&) {
    remember("out of memory");
    return kOutOfMemory;
  } catch (const std::exception& e) {
    remember(e.what());
    return kFailed;
  } catch (...) {
    remember("unknown C++ exception");
    return kFailed;
  }
}

inline std::vector<at::Tensor> list(at::Tensor* const* tensors, size_t n) {
  std::vector<at::Tensor> result;
  result.reserve(n);
  for (size_t i = 0; i < n; ++i) result.push_back(*tensors[i]);
  return result;
}

}  // namespace podium
