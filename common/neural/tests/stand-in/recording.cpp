// Recorded steps: what libtorch calls at::cuda::CUDAGraph.

#include "stand_in.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <utility>

namespace stand_in {
namespace {

std::mutex mutex;
std::map<c10::StreamId, Recording*> open_recordings;

}  // namespace

Recording* Recording::current() {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = open_recordings.find(current_stream());
  return found == open_recordings.end() ? nullptr : found->second;
}

void Recording::begin() {
  stream_ = current_stream();
  TORCH_CHECK(stream_ != 0, "CUDA graphs must be captured on a non-default stream.");
  std::lock_guard<std::mutex> lock(mutex);
  TORCH_CHECK(open_recordings.emplace(stream_, this).second, "this stream is being recorded already");
  random_ = host_generator(-1).get_state();
}

void Recording::save(const at::Tensor& written) {
  for (const auto& saved : saved_) {
    if (saved.storage.unsafeGetStorageImpl() == written.storage().unsafeGetStorageImpl()) return;
  }
  const char* from = static_cast<const char*>(host_address(written.storage().data()));
  saved_.push_back({written.storage(), {from, from + written.storage().nbytes()}});
}

void Recording::end() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    TORCH_CHECK(open_recordings.erase(stream_) == 1 && current_stream() == stream_, "this stream is not being recorded");
  }
  for (auto& saved : saved_) {
    std::memcpy(host_address(saved.storage.data()), saved.bytes.data(), saved.bytes.size());
  }
  saved_.clear();
  // Nothing was drawn either.
  host_generator(-1).set_state(random_);
}

void Recording::replay() const {
  for (const auto& operation : operations_) operation();
}

}  // namespace stand_in

// The names under which libtorch_cuda 2.11 has them.
extern "C" {

void stand_in_graph_new(void* at, bool) __asm__("_ZN2at4cuda9CUDAGraphC1Eb");
void stand_in_graph_new(void* at, bool) {
  static_assert(sizeof(stand_in::Recording) <= 104, "at::cuda::CUDAGraph has 104 bytes");
  new (at) stand_in::Recording();
}

void stand_in_graph_free(stand_in::Recording*) __asm__("_ZN2at4cuda9CUDAGraphD1Ev");
void stand_in_graph_free(stand_in::Recording* graph) { graph->~Recording(); }

void stand_in_graph_begin(stand_in::Recording*, std::pair<unsigned long long, unsigned long long>, int) __asm__(
    "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
void stand_in_graph_begin(stand_in::Recording* graph, std::pair<unsigned long long, unsigned long long>, int) {
  graph->begin();
}

void stand_in_graph_end(stand_in::Recording*) __asm__("_ZN2at4cuda9CUDAGraph11capture_endEv");
void stand_in_graph_end(stand_in::Recording* graph) { graph->end(); }

void stand_in_graph_replay(stand_in::Recording*) __asm__("_ZN2at4cuda9CUDAGraph6replayEv");
void stand_in_graph_replay(stand_in::Recording* graph) { graph->replay(); }

}  // extern "C"
