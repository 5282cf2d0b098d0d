// c10d's NCCL backend.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>

namespace podium {

// NCCL among the processes of `store`, on the GPU of the tensors that it is given. Throws where libtorch_cuda is not loaded
// or finds no GPU.
c10::intrusive_ptr<c10d::Backend> over_nccl(const c10::intrusive_ptr<c10d::Store>& store, const std::string& name,
                                            int rank, int size, std::chrono::milliseconds timeout);

}  // namespace podium
