// Kernels of kernels.h, by NVRTC and the driver's own functions. Both have a plain C interface that stays the same.

#include "kernels.h"

#include "loaded.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <dirent.h>
#include <dlfcn.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "mamba_source.h"

namespace {

constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
constexpr unsigned kWarp = 32;

// Links followed, with a slash at the end. The C++ library of g++ 8 keeps std::filesystem apart, so POSIX serves.
std::string folder_of(const Dl_info& library) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(library.dli_fname, nullptr), &std::free);
  const std::string path = resolved ? resolved.get() : library.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

// Loads every library of a folder whose name begins so.
void load_all(const std::string& folder, const std::string& beginning) {
  const std::unique_ptr<DIR, int (*)(DIR*)> opened(opendir(folder.c_str()), [](DIR* open) { return closedir(open); });
  while (const dirent* file = opened ? readdir(opened.get()) : nullptr) {
    const std::string name = file->d_name;
    if (name.rfind(beginning, 0) == 0) dlopen((folder + name).c_str(), RTLD_LAZY | RTLD_LOCAL);
  }
}

// The library beside libtorch's CUDA part that brings NVRTC and the driver.
void* nvrtc_and_driver() {
  static void* const library = [] {
    Dl_info about{};
    const void* inside = dlsym(RTLD_DEFAULT, "_ZN2at4cuda9CUDAGraph6replayEv");
    if (inside == nullptr || dladdr(inside, &about) == 0) return static_cast<void*>(nullptr);
    void* both = dlopen((folder_of(about) + "libcaffe2_nvrtc.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    // NVRTC asks for a library of its own by name, wherever it lies itself.
    const void* nvrtc = both == nullptr ? nullptr : dlsym(both, "nvrtcCompileProgram");
    if (nvrtc != nullptr && dladdr(nvrtc, &about) != 0) load_all(folder_of(about), "libnvrtc-builtins.so");
    return both;
  }();
  return library;
}

// A function of NVRTC or of the driver.
template <class Function>
Function found(const char* name) {
  void* function = dlsym(RTLD_DEFAULT, name);
  if (function == nullptr && nvrtc_and_driver() != nullptr) function = dlsym(nvrtc_and_driver(), name);
  TORCH_CHECK(function != nullptr, "there is no ", name, " beside libtorch's CUDA part");
  return reinterpret_cast<Function>(function);
}

void check(int code, const char* what) { TORCH_CHECK(code == 0, "CUDA error: ", what, " failed with code ", code); }

// The driver works in the context that libtorch uses.
void enter(c10::DeviceIndex gpu) {
  void* context = nullptr;
  check(found<int (*)(void**)>("cuCtxGetCurrent")(&context), "cuCtxGetCurrent");
  if (context != nullptr) return;
  check(found<int (*)(void**, int)>("cuDevicePrimaryCtxRetain")(&context, gpu), "cuDevicePrimaryCtxRetain");
  check(found<int (*)(void*)>("cuCtxSetCurrent")(context), "cuCtxSetCurrent");
}

std::string compiled(const char* source, const char* name, std::vector<std::string> options) {
  using Program = void*;
  options.emplace_back("--std=c++17");
  std::vector<const char*> flags;
  for (const auto& option : options) flags.push_back(option.c_str());
  const auto said = found<const char* (*)(int)>("nvrtcGetErrorString");
  Program program = nullptr;
  int code = found<int (*)(Program*, const char*, const char*, int, const char* const*, const char* const*)>(
      "nvrtcCreateProgram")(&program, source, name, 0, nullptr, nullptr);
  TORCH_CHECK(code == 0, "NVRTC: ", said(code));
  std::string binary, log;
  code = found<int (*)(Program, int, const char* const*)>("nvrtcCompileProgram")(program, static_cast<int>(flags.size()),
                                                                                flags.data());
  size_t size = 0;
  if (code == 0) {
    code = found<int (*)(Program, size_t*)>("nvrtcGetCUBINSize")(program, &size);
    binary.resize(size);
    if (code == 0) code = found<int (*)(Program, char*)>("nvrtcGetCUBIN")(program, binary.data());
  } else if (found<int (*)(Program, size_t*)>("nvrtcGetProgramLogSize")(program, &size) == 0) {
    log.resize(size);
    found<int (*)(Program, char*)>("nvrtcGetProgramLog")(program, log.data());
  }
  found<int (*)(Program*)>("nvrtcDestroyProgram")(&program);
  TORCH_CHECK(code == 0, "NVRTC: ", said(code), "\n", log);
  return binary;
}

// The compiled sources of each GPU, and their kernels.
std::mutex mutex;
std::map<std::pair<c10::DeviceIndex, std::vector<std::string>>, void*> modules;

void* loaded_module(c10::DeviceIndex gpu, const std::vector<std::string>& sizes) {
  const auto known = modules.find({gpu, sizes});
  if (known != modules.end()) return known->second;
  void* module = nullptr;
  try {
    enter(gpu);
    const auto attribute = found<int (*)(int*, int, int)>("cuDeviceGetAttribute");
    int major = 0, minor = 0;
    check(attribute(&major, kMajor, gpu), "cuDeviceGetAttribute");
    check(attribute(&minor, kMinor, gpu), "cuDeviceGetAttribute");
    auto options = sizes;
    options.push_back("--gpu-architecture=sm_" + std::to_string(major) + std::to_string(minor));
    const std::string binary = compiled(kMambaSource, "mamba.cu", options);
    check(found<int (*)(void**, const void*)>("cuModuleLoadData")(&module, binary.data()), "cuModuleLoadData");
  } catch (const std::exception& error) {
    const auto* ours = dynamic_cast<const c10::Error*>(&error);
    TORCH_WARN_ONCE("Mamba blocks run in tensor operations, several times slower: ",
                    ours != nullptr ? ours->what_without_backtrace() : error.what());
    module = nullptr;
  }
  modules.emplace(std::pair(gpu, sizes), module);
  return module;
}

}  // namespace

podium::Kernel podium::Kernel::of_mamba(c10::DeviceIndex gpu, const std::string& name,
                                        const std::vector<std::string>& sizes) {
  const std::lock_guard<std::mutex> lock(mutex);
  Kernel kernel;
  kernel.gpu_ = gpu;
  if (void* module = loaded_module(gpu, sizes)) {
    check(found<int (*)(void**, void*, const char*)>("cuModuleGetFunction")(&kernel.function_, module, name.c_str()),
          "cuModuleGetFunction");
  }
  return kernel;
}

void podium::Kernel::launch(unsigned x, unsigned y, std::vector<void*> arguments) const {
  using Launch = int (*)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
  static const auto start = found<Launch>("cuLaunchKernel");
  const c10::impl::VirtualGuardImpl impl(c10::kCUDA);
  const c10::Stream stream = impl.getStream(c10::Device(c10::kCUDA, gpu_));
  enter(gpu_);
  check(start(function_, x, y, 1, kWarp, 1, 1, 0, impl.getStreamNativeHandle(stream), arguments.data(), nullptr),
        "cuLaunchKernel");
}
