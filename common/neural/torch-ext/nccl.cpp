// c10d's NCCL backend, made by its own constructors; everything afterwards goes through c10d::Backend.

#include "nccl.h"

#include "loaded.h"

#include <memory>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

namespace {

// In 2.11 the options have 248 bytes and the backend 1,112: what their deleting destructors say.
constexpr size_t kRoom = 4096;

// A constructor called in memory of its own. The pointer owns what it made.
template <class Base, class Construct>
c10::intrusive_ptr<Base> constructed(Construct&& construct) {
  std::unique_ptr<void, void (*)(void*)> memory(::operator new(kRoom), [](void* p) { ::operator delete(p); });
  construct(memory.get());
  return c10::intrusive_ptr<Base>::unsafe_steal_from_new(static_cast<Base*>(memory.release()));
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> podium::over_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const std::string& name, int rank, int size,
                                                    std::chrono::milliseconds timeout) {
  using Options = c10d::Backend::Options;
  // Arguments with a destructor are passed by address, and the caller destroys them.
  const auto make_options =
      loaded<void (*)(void*, bool)>("_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb");
  const auto make_backend =
      loaded<void (*)(void*, c10::intrusive_ptr<c10d::Store>*, int, int, c10::intrusive_ptr<Options>*)>(
          "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_"
          "typeIS3_EEEEiiNS2_INS0_7OptionsENS5_IS8_EEEE");
  auto options = constructed<Options>([&](void* at) { make_options(at, false); });
  options->timeout = timeout;
  options->group_name = name;
  options->global_ranks_in_group.resize(size);
  std::iota(options->global_ranks_in_group.begin(), options->global_ranks_in_group.end(), 0);
  auto keys = store;
  return constructed<c10d::Backend>([&](void* at) { make_backend(at, &keys, rank, size, &options); });
}
