// The kernels of torch-ext/mamba.cu on the CPU, where a warp is a vector of 32 numbers, behind the functions of NVRTC and of the
// driver that start them.

#include "stand_in.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct {
  unsigned x, y;
} thread_local blockIdx;
thread_local int size_levels, size_states, size_taps;

// A number of each lane.
struct Real {
  float of[32];
  Real() = default;
  Real(float all) {
    for (float& lane : of) lane = all;
  }
};

template <class Each>
Real lanes(Each&& each) {
  Real made;
  for (int i = 0; i < 32; ++i) made.of[i] = each(i);
  return made;
}

Real operator+(const Real& a, const Real& b) {
  return lanes([&](int i) { return a.of[i] + b.of[i]; });
}
Real operator-(const Real& a, const Real& b) {
  return lanes([&](int i) { return a.of[i] - b.of[i]; });
}
Real operator*(const Real& a, const Real& b) {
  return lanes([&](int i) { return a.of[i] * b.of[i]; });
}

Real load(const float* row, int first, int count) {
  return lanes([&](int i) { return first + i < count ? row[first + i] : 0.0f; });
}

void store(float* row, int first, int count, const Real& value) {
  for (int i = 0; i < 32 && first + i < count; ++i) row[first + i] = value.of[i];
}

float sigmoid_of(float v) { return 1.0f / (1.0f + std::exp(-v)); }
Real power_of_two(const Real& v) {
  return lanes([&](int i) { return std::exp2(v.of[i]); });
}
Real sigmoid(const Real& v) {
  return lanes([&](int i) { return sigmoid_of(v.of[i]); });
}
Real softplus(const Real& v) {
  return lanes([&](int i) { return v.of[i] > 20 ? v.of[i] : std::log1p(std::exp(v.of[i])); });
}
Real softplus_slope(const Real& v) {
  return lanes([&](int i) { return v.of[i] > 20 ? 1.0f : sigmoid_of(v.of[i]); });
}

// In the order of the GPU's.
Real over_lanes(Real v) {
  for (int step = 16; step > 0; step /= 2) v = lanes([&](int i) { return v.of[i] + v.of[i ^ step]; });
  return v;
}

void keep(Real& kept, int lane, const Real& v) { kept.of[lane] = v.of[lane]; }

#define KERNEL(warps) void
#define INLINE static inline
#define UNROLL
#define NOT_EARLIER
#define LEVEL_NUMBERS(name) std::vector<Real> name(LEVELS)
#define AT(name, t) name[t]
// The sizes are known when it runs only; arrays of such sizes are an extension of GCC.
#define LEVELS size_levels
#define STATES size_states
#define TAPS size_taps
#include "mamba.cu"

// What a program was compiled for.
struct Sizes {
  int levels = 1, states = 1, taps = 1;
};

struct Program {
  Sizes sizes;
};

struct Function {
  Sizes sizes;
  std::string name;
};

// An argument of a kernel: addresses of the device are made those of the host.
template <class T>
T argument(void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
T* pointer(void* at) {
  return static_cast<T*>(stand_in::host_address(argument<T*>(at)));
}

void block(const Function& function, const std::vector<std::vector<char>>& given) {
  std::vector<void*> a;
  for (const auto& bytes : given) a.push_back(const_cast<char*>(bytes.data()));
  const auto in = [&](size_t i) { return pointer<const float>(a[i]); };
  const auto out = [&](size_t i) { return pointer<float>(a[i]); };
  const auto channels = [&](size_t i) { return argument<int>(a[i]); };
  const auto stride = [&](size_t i) { return argument<long long>(a[i]); };
  if (function.name == "scan_forward") {
    scan_forward(in(0), in(1), in(2), in(3), in(4), in(5), in(6), out(7), channels(8), stride(9));
  } else if (function.name == "scan_backward") {
    scan_backward(in(0), in(1), in(2), in(3), in(4), in(5), in(6), in(7), out(8), out(9), out(10), out(11), out(12), out(13),
                  out(14), channels(15), stride(16));
  } else if (function.name == "conv_forward") {
    conv_forward(in(0), in(1), in(2), out(3), channels(4), stride(5));
  } else {
    conv_backward(in(0), in(1), in(2), in(3), out(4), out(5), out(6), channels(7), stride(8));
  }
}

// Bytes of each argument: kernels take addresses, then a number of 4 bytes and one of 8.
std::vector<size_t> argument_sizes(const std::string& name) {
  const std::map<std::string, size_t> addresses{
      {"scan_forward", 8}, {"scan_backward", 15}, {"conv_forward", 4}, {"conv_backward", 7}};
  std::vector<size_t> sizes(addresses.at(name), sizeof(void*));
  sizes.push_back(sizeof(int));
  sizes.push_back(sizeof(long long));
  return sizes;
}

}  // namespace

extern "C" {

const char* nvrtcGetErrorString(int) { return "refused by the stand-in"; }

int nvrtcCreateProgram(void** program, const char*, const char*, int, const char* const*, const char* const*) {
  *program = new Program();
  return 0;
}

int nvrtcCompileProgram(void* program, int n, const char* const* options) {
  Sizes& sizes = static_cast<Program*>(program)->sizes;
  for (int i = 0; i < n; ++i) {
    const std::string option = options[i];
    const auto value = [&](const char* name, int& to) {
      if (option.rfind(name, 0) == 0) to = std::atoi(option.c_str() + std::strlen(name));
    };
    value("-DLEVELS=", sizes.levels);
    value("-DSTATES=", sizes.states);
    value("-DTAPS=", sizes.taps);
  }
  return 0;
}

int nvrtcGetCUBINSize(void*, size_t* size) {
  *size = sizeof(Sizes);
  return 0;
}

int nvrtcGetCUBIN(void* program, char* to) {
  std::memcpy(to, &static_cast<Program*>(program)->sizes, sizeof(Sizes));
  return 0;
}

int nvrtcGetProgramLogSize(void*, size_t* size) {
  *size = 0;
  return 0;
}

int nvrtcGetProgramLog(void*, char*) { return 0; }

int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}

int cuCtxGetCurrent(void** context) {
  static char one;
  *context = &one;
  return 0;
}

int cuDeviceGetAttribute(int* value, int, int) {
  *value = 9;
  return 0;
}

int cuModuleLoadData(void** module, const void* binary) {
  *module = new Sizes(*static_cast<const Sizes*>(binary));
  return 0;
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = new Function{*static_cast<Sizes*>(module), name};
  return 0;
}

int cuLaunchKernel(void* kernel, unsigned x, unsigned y, unsigned, unsigned lanes, unsigned, unsigned, unsigned, void*,
                   void** arguments, void**) {
  if (lanes != 32) return 1;
  const auto* function = static_cast<const Function*>(kernel);
  std::vector<std::vector<char>> given;
  for (const size_t bytes : argument_sizes(function->name)) {
    const char* from = static_cast<const char*>(*arguments++);
    given.emplace_back(from, from + bytes);
  }
  const auto run = [function, given, x, y] {
    size_levels = function->sizes.levels;
    size_states = function->sizes.states;
    size_taps = function->sizes.taps;
    for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x) block(*function, given);
    }
  };
  // What a recorded kernel writes is new memory, which nobody reads before the recording is launched.
  if (auto* recording = stand_in::Recording::current()) recording->add(run);
  run();
  return 0;
}

}  // extern "C"
