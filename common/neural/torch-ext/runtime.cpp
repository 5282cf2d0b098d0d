// Switches of the library that tch does not expose: random generators, determinism, autocast.

#include "ext.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>

#include <mutex>

using podium::guarded;

namespace {

thread_local std::string last_error;

// device < 0: the CPU, else the GPU with this index.
at::Device device_of(int device) {
  return device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
}

at::DeviceType type_of(int device) { return device < 0 ? at::kCPU : at::kCUDA; }

}  // namespace

void podium::remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();
  }
}

extern "C" {

const char* podium_last_error() { return last_error.c_str(); }

int podium_manual_seed(int device, uint64_t seed) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(device_of(device));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  });
}

int podium_rng_state(int device, at::Tensor** state) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(device_of(device));
    std::lock_guard<std::mutex> lock(generator.mutex());
    *state = new at::Tensor(generator.get_state());
  });
}

int podium_set_rng_state(int device, const at::Tensor* state) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(device_of(device));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}

// The next number of the default CPU generator as torch.empty((), dtype=torch.int64).random_() draws it.
int podium_random_int64(int64_t* value) {
  return guarded([&] { *value = at::empty({}, at::TensorOptions().dtype(at::kLong)).random_().item<int64_t>(); });
}

// A permutation of 0..n from a fresh Mersenne generator.
int podium_randperm(int64_t n, uint64_t seed, at::Tensor** permutation) {
  return guarded([&] {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    *permutation = new at::Tensor(at::randperm(n, generator, at::TensorOptions().dtype(at::kLong)));
  });
}

int podium_set_deterministic(int on) {
  return guarded([&] {
    at::Context& context = at::globalContext();
    context.setDeterministicAlgorithms(on != 0, false);
    // Filling fresh memory with NaN is a debugging aid that costs a write of every tensor.
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicCuDNN(on != 0);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicMkldnn(on != 0);
  });
}

int podium_deterministic() { return at::globalContext().deterministicAlgorithms() ? 1 : 0; }

int podium_set_tf32(int on) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(on != 0);
    at::globalContext().setAllowTF32CuDNN(on != 0);
  });
}

// dtype: 0 = bf16, 1 = f16. Gives back what was set before, for nesting.
int podium_set_autocast(int device, int on, int dtype, int* was_on, int* was_dtype) {
  return guarded([&] {
    const at::DeviceType type = type_of(device);
    *was_on = at::autocast::is_autocast_enabled(type) ? 1 : 0;
    *was_dtype = at::autocast::get_autocast_dtype(type) == at::kHalf ? 1 : 0;
    at::autocast::set_autocast_dtype(type, dtype == 1 ? at::kHalf : at::kBFloat16);
    at::autocast::set_autocast_enabled(type, on != 0);
  });
}

int podium_autocast(int device, int* on, int* dtype) {
  return guarded([&] {
    const at::DeviceType type = type_of(device);
    *on = at::autocast::is_autocast_enabled(type) ? 1 : 0;
    *dtype = at::autocast::get_autocast_dtype(type) == at::kHalf ? 1 : 0;
  });
}

// Casts of weights are cached while autocast is on; the cache must not outlive the step.
int podium_clear_autocast_cache() {
  return guarded([] { at::autocast::clear_cache(); });
}

}  // extern "C"
