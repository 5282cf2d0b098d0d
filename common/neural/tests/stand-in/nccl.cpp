// NCCL between the stand-in's devices: Gloo over the same memory.

#define USE_C10D_GLOO
#define USE_DISTRIBUTED

#include "stand_in.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <new>

namespace stand_in {
namespace {

struct Options final : c10d::Backend::Options {
  Options() : c10d::Backend::Options("nccl") {}
};

// What is done already.
class Done final : public c10d::Work {
 public:
  explicit Done(const std::vector<at::Tensor>& tensors)
      : future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()),
                                                         std::vector<c10::Device>{tensors.at(0).device()})),
        tensors_(tensors) {
    future_->markCompleted(c10::IValue(tensors));
    finish();
  }
  std::vector<at::Tensor> result() override { return tensors_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  c10::intrusive_ptr<c10::ivalue::Future> future_;
  std::vector<at::Tensor> tensors_;
};

std::vector<at::Tensor> host(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> views;
  for (const auto& tensor : tensors) {
    TORCH_CHECK(tensor.is_cuda(), "NCCL only supports CUDA tensors");
    TORCH_CHECK(tensor.is_non_overlapping_and_dense(), "Tensors must be contiguous");
    views.push_back(host_view(tensor));
  }
  return views;
}

class Nccl final : public c10d::Backend {
 public:
  Nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, const c10::intrusive_ptr<Backend::Options>& options)
      : Backend(rank, size) {
    auto over = c10d::ProcessGroupGloo::Options::create(options->timeout);
    over->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, over);
  }

  const std::string getBackendName() const override { return "nccl"; }
  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override {
    TORCH_CHECK(Recording::current() == nullptr, "the stand-in does not record what processes tell each other");
    auto views = host(tensors);
    auto sums = options;
    // Gloo has no average.
    const bool average = options.reduceOp == c10d::ReduceOp::AVG;
    if (average) sums.reduceOp = c10d::ReduceOp::SUM;
    gloo_->allreduce(views, sums)->wait();
    if (average) views[0].div_(getSize());
    return c10::make_intrusive<Done>(tensors);
  }
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override {
    auto views = host(tensors);
    gloo_->broadcast(views, options)->wait();
    return c10::make_intrusive<Done>(tensors);
  }
  c10::intrusive_ptr<c10d::Work> allgather(std::vector<std::vector<at::Tensor>>& outputs, std::vector<at::Tensor>& inputs,
                                           const c10d::AllgatherOptions& options) override {
    std::vector<std::vector<at::Tensor>> views;
    for (const auto& list : outputs) views.push_back(host(list));
    auto from = host(inputs);
    gloo_->allgather(views, from, options)->wait();
    return c10::make_intrusive<Done>(outputs.at(0));
  }
  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions& options) override { return gloo_->barrier(options); }

 private:
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
};

}  // namespace
}  // namespace stand_in

// The names under which libtorch_cuda 2.11 has them.
extern "C" {

void stand_in_nccl_options(void* at, bool) __asm__("_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb");
void stand_in_nccl_options(void* at, bool) {
  static_assert(sizeof(stand_in::Options) <= 248, "ProcessGroupNCCL::Options has 248 bytes");
  new (at) stand_in::Options();
}

void stand_in_nccl(void* at, c10::intrusive_ptr<c10d::Store>* store, int rank, int size,
                   c10::intrusive_ptr<c10d::Backend::Options>* options)
    __asm__("_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_"
            "typeIS3_EEEEiiNS2_INS0_7OptionsENS5_IS8_EEEE");
void stand_in_nccl(void* at, c10::intrusive_ptr<c10d::Store>* store, int rank, int size,
                   c10::intrusive_ptr<c10d::Backend::Options>* options) {
  new (at) stand_in::Nccl(*store, rank, size, *options);
}

}  // extern "C"
