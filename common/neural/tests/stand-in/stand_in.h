// A stand-in for GPUs: devices of the type CUDA whose memory lies apart and whose operations are computed by the CPU.
//
// Loaded before libtorch's users ask for CUDA (LD_PRELOAD), it takes the place of libtorch_cuda. What it is strict about is what
// breaks on a real GPU: memory of a device that the host reads by its address ends the process, operations whose tensors lie on
// different devices are refused, a recorded step that waits for the device is refused, and so is an operation that has no
// deterministic form where deterministic ones are asked for. Numbers are the CPU's; of speed it says nothing.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

namespace stand_in {

// GPUs of this process.
constexpr c10::DeviceIndex kDevices = 2;

// The same memory where the CPU may use it.
void* host_address(const void* device_address);

// A tensor of the CPU over the memory of a tensor of a device; others as they are.
at::Tensor host_view(const at::Tensor& tensor);

// Every byte of new memory: floating point numbers are NaN.
constexpr int kNothing = 0xff;

// The generator of a device as the CPU's operations take it.
at::Generator host_generator(c10::DeviceIndex device);

// Whether somebody may copy from this address while the host goes on.
bool is_pinned(const void* address);

// A step that is being recorded, or was.
class Recording {
 public:
  // The recording that the stream of this thread belongs to; null when it is none.
  static Recording* current();

  void add(std::function<void()> operation) { operations_.push_back(std::move(operation)); }
  // Before an operation writes to memory: what is recorded is not done, so afterwards the memory has what it had.
  void save(const at::Tensor& written);

  void begin();
  void end();
  void replay() const;

 private:
  struct Saved {
    c10::Storage storage;
    std::vector<char> bytes;
  };
  std::vector<std::function<void()>> operations_;
  std::vector<Saved> saved_;
  at::Tensor random_;
  c10::StreamId stream_ = 0;
};

// The stream of this thread.
c10::StreamId current_stream();

}  // namespace stand_in
