// Data parallelism on torch's own c10d: a group of processes (TCPStore, Gloo, NCCL) and the Reducer, which averages gradients
// bucket by bucket while backward still runs. Internal interfaces of libtorch 2.11, which is pinned.

#define USE_C10D_GLOO
#define USE_DISTRIBUTED

#include "ext.h"
#include "nccl.h"

#include <ATen/ops/tensor.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <memory>

using podium::guarded;

namespace {

// The Reducer warns when every parameter was used: which of them a loss reaches is not ours to know.
struct Quiet : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  // Gradients, and what the ranks tell each other.
  c10::intrusive_ptr<c10d::ProcessGroup> processes;
  // Sums inside of a network, in forward and backward: apart, so that they never meet a bucket of gradients that another
  // rank sent earlier or later.
  c10::intrusive_ptr<c10d::ProcessGroup> inner;
  // Signs of life, from a thread of their own.
  c10::intrusive_ptr<c10d::ProcessGroup> watch;
};

at::Tensor summed(const c10::intrusive_ptr<c10d::ProcessGroup>& processes, const at::Tensor& x) {
  std::vector<at::Tensor> tensors{x.detach().clone(at::MemoryFormat::Contiguous)};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::SUM;
  processes->allreduce(tensors, options)->wait();
  return tensors[0];
}

// The sum over the ranks. The losses of all ranks depend on it, so its gradient is the sum of theirs.
struct SumOverRanks : torch::autograd::Function<SumOverRanks> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, int64_t group) {
    context->saved_data["group"] = group;
    return summed(reinterpret_cast<Group*>(group)->inner, x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    auto* group = reinterpret_cast<Group*>(context->saved_data["group"].toInt());
    return {summed(group->inner, grads[0]), at::Tensor()};
  }
};

// A process group over Gloo; its keys in the store begin with `name`.
c10::intrusive_ptr<c10d::ProcessGroup> over_gloo(const c10::intrusive_ptr<c10d::Store>& parent, const std::string& name,
                                                 int rank, int size,
                                                 const std::shared_ptr<::gloo::transport::Device>& device,
                                                 std::chrono::milliseconds meet, std::chrono::milliseconds work) {
  auto store = c10::make_intrusive<c10d::PrefixStore>(name, parent);
  auto options = c10d::ProcessGroupGloo::Options::create(meet);
  options->devices.push_back(device);
  auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
  // Meeting has a short time, work (an evaluation of rank 0 that all others wait for) a long one.
  gloo->setTimeout(work);
  auto processes = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
  processes->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  processes->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
  return processes;
}

std::shared_ptr<::gloo::transport::Device> device_for(const std::string& host, const char* interface) {
  if (interface != nullptr && *interface != '\0') {
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  }
  // On one machine everything stays on the loopback, whatever its name resolves to.
  if (host == "127.0.0.1" || host == "localhost") {
    return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  }
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

extern "C" {

// serves: this process keeps the store (else it connects to one); kept: somebody else keeps it, and knows nothing of the
// ranks; prefix: keys of this group begin so.
int podium_group_open(const char* host, uint16_t port, int rank, int size, int serves, int kept, const char* prefix,
                      const char* interface, int64_t meet_ms, int64_t work_ms, void** out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves != 0;
    options.numWorkers = size;
    options.waitWorkers = kept == 0;  // clients are counted only if they wait as well
    options.timeout = std::chrono::milliseconds(meet_ms);
    c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::TCPStore>(host, options);
    store = c10::make_intrusive<c10d::PrefixStore>(prefix, store);
    const auto device = device_for(host, interface);
    const std::chrono::milliseconds meet(meet_ms), work(work_ms);
    auto processes = over_gloo(store, "outer", rank, size, device, meet, work);
    auto inner = over_gloo(store, "inner", rank, size, device, meet, work);
    auto watch = over_gloo(store, "watch", rank, size, device, meet, work);
    *out = new Group{std::move(store), std::move(processes), std::move(inner), std::move(watch)};
  });
}

// Tensors on GPUs meet over NCCL from now on, those on CPUs over Gloo as before.
int podium_group_add_nccl(void* group_, int64_t work_ms) {
  return guarded([&] {
    auto* group = static_cast<Group*>(group_);
    for (const auto& [name, processes] : {std::pair{"outer", group->processes}, std::pair{"inner", group->inner}}) {
      const auto key = std::string("nccl/") + name;
      const auto keys = c10::make_intrusive<c10d::PrefixStore>(key, group->store);
      auto nccl = podium::over_nccl(keys, key, processes->getRank(), processes->getSize(),
                                    std::chrono::milliseconds(work_ms));
      processes->setBackend(at::kCUDA, c10d::ProcessGroup::BackendType::NCCL, std::move(nccl));
    }
  });
}

// A sign of life to all ranks and from all of them; returns when the slowest has given it. How many of them leave.
int podium_group_beat(void* group, int leaves, int* leaving) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{at::tensor({static_cast<int64_t>(leaves)}, at::kLong)};
    static_cast<Group*>(group)->watch->allreduce(tensors)->wait();
    *leaving = static_cast<int>(tensors[0].item<int64_t>());
  });
}

void podium_group_close(void* group) { delete static_cast<Group*>(group); }

// op 0: sum, 1: minimum, 2: maximum; in place.
int podium_group_all_reduce(void* group, at::Tensor* tensor, int op) {
  return guarded([&] {
    c10d::AllreduceOptions options;
    options.reduceOp = op == 0 ? c10d::ReduceOp::SUM : op == 1 ? c10d::ReduceOp::MIN : c10d::ReduceOp::MAX;
    std::vector<at::Tensor> tensors{*tensor};
    static_cast<Group*>(group)->processes->allreduce(tensors, options)->wait();
  });
}

// What rank `root` holds, in place.
int podium_group_broadcast(void* group, at::Tensor* tensor, int root) {
  return guarded([&] {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    std::vector<at::Tensor> tensors{*tensor};
    static_cast<Group*>(group)->processes->broadcast(tensors, options)->wait();
  });
}

// The sum of `tensor` over the ranks as a new tensor, differentiable.
int podium_group_sum(void* group, const at::Tensor* tensor, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(SumOverRanks::apply(*tensor, reinterpret_cast<int64_t>(group))); });
}

int podium_group_barrier(void* group) {
  return guarded([&] { static_cast<Group*>(group)->processes->barrier()->wait(); });
}

// Gradients of `params` are averaged in buckets of at most `bucket_bytes`, the first ones smaller, in the order in
// which backward is expected to reach them: the last parameters first.
int podium_reducer_new(void* group, size_t n, at::Tensor* const* params, int64_t first_bytes, int64_t bucket_bytes,
                       void** out) {
  return guarded([&] {
    auto tensors = podium::list(params, n);
    std::vector<at::Tensor> backwards(tensors.rbegin(), tensors.rend());
    auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
        backwards, {static_cast<size_t>(first_bytes), static_cast<size_t>(bucket_bytes)});
    for (auto& bucket : buckets) {
      for (auto& index : bucket) index = n - 1 - index;
    }
    *out = new c10d::Reducer(tensors, buckets, static_cast<Group*>(group)->processes, std::vector<bool>(n, false),
                             bucket_bytes, /*find_unused_parameters=*/true, /*gradient_as_bucket_view=*/false, {},
                             first_bytes, /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
                             std::vector<int64_t>(buckets.size(), bucket_bytes));
  });
}

void podium_reducer_free(void* reducer) {
  try {
    delete static_cast<c10d::Reducer*>(reducer);
  } catch (...) {
  }
}

// The next backward pass from `loss` averages the gradients; without this call it leaves them to this process.
int podium_reducer_prepare(void* reducer, const at::Tensor* loss) {
  return guarded([&] {
    static Quiet quiet;
    c10::WarningUtils::WarningHandlerGuard silence(&quiet);
    auto* it = static_cast<c10d::Reducer*>(reducer);
    it->prepare_for_forward();
    it->prepare_for_backward({*loss});
  });
}

}  // extern "C"
