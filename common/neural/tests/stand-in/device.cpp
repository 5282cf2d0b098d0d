// Devices, their memory, streams and generators.

#include "stand_in.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

namespace stand_in {
namespace {

constexpr size_t kMemory = size_t{24} << 30;  // of each device, of which STAND_IN_MIB says how much there is
constexpr size_t kAlign = 512;
constexpr size_t kPage = 4096;
constexpr size_t kReturned = size_t{1} << 20;  // freed blocks of this size give their memory back

thread_local c10::DeviceIndex device_now = 0;
thread_local c10::StreamId stream_now[kDevices] = {};
std::atomic<c10::StreamId> streams{0};

// Two views of the same memory: the device's addresses, which the host cannot use, and the host's.
struct Memory {
  char* device = nullptr;
  char* host = nullptr;

  Memory() {
    const size_t all = kMemory * kDevices;
    const int file = memfd_create("stand-in", MFD_CLOEXEC);
    TORCH_CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(all)) == 0, "no memory for the stand-in");
    void* apart = mmap(nullptr, all, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    void* here = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    close(file);
    TORCH_CHECK(apart != MAP_FAILED && here != MAP_FAILED, "no memory for the stand-in");
    device = static_cast<char*>(apart);
    host = static_cast<char*>(here);
  }
};

const Memory& memory() {
  static const Memory* all = new Memory();
  return *all;
}

// A free block of the same size, else the end of what was used.
class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::DeviceIndex device = device_now;
    const c10::Device where(c10::kCUDA, device);
    if (bytes == 0) return {nullptr, nullptr, &release, where};
    std::lock_guard<std::mutex> lock(mutex_);
    auto& own = devices_[device];
    const size_t size = (bytes + kAlign - 1) / kAlign * kAlign;
    size_t offset = own.end;
    const auto found = own.free.find(size);
    if (found != own.free.end()) {
      offset = found->second;
      own.free.erase(found);
    } else if (size > most_ - std::min(most_, own.end)) {
      own.stats.num_ooms += 1;
      TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", bytes, " bytes on the stand-in");
    } else {
      own.end += size;
      own.stats.reserved_bytes[0].increase(size);
    }
    own.sizes[offset] = size;
    // What a recording works in stays its own: launched again it writes there again.
    if (Recording::current() != nullptr) own.recorded.insert(offset);
    own.stats.allocated_bytes[0].increase(size);
    char* address = memory().device + device * kMemory + offset;
    std::memset(host_address(address), kNothing, size);
    return {address, address, &release, where};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(host_address(to), host_address(from), bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return devices_[device].stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(mutex_);
    devices_[device].stats.allocated_bytes[0].reset_peak();
    devices_[device].stats.reserved_bytes[0].reset_peak();
  }

 private:
  struct Device {
    size_t end = 0;
    std::multimap<size_t, size_t> free;           // size -> offset
    std::unordered_map<size_t, size_t> sizes;     // offset -> size
    std::unordered_set<size_t> recorded;
    c10::CachingDeviceAllocator::DeviceStats stats;
  };

  static void release(void* address);

  void give_back(size_t at) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& own = devices_[at / kMemory];
    const size_t offset = at % kMemory;
    const size_t size = own.sizes.at(offset);
    own.sizes.erase(offset);
    if (own.recorded.count(offset) > 0) return;
    own.free.emplace(size, offset);
    own.stats.allocated_bytes[0].decrease(size);
    // The pages that lie in this block alone.
    const size_t first = (at + kPage - 1) / kPage * kPage, last = (at + size) / kPage * kPage;
    if (size >= kReturned) madvise(memory().host + first, last - first, MADV_REMOVE);
  }

  static size_t most() {
    const char* mib = std::getenv("STAND_IN_MIB");
    return mib == nullptr ? kMemory : std::min<size_t>(kMemory, std::strtoull(mib, nullptr, 10) << 20);
  }

  std::mutex mutex_;
  Device devices_[kDevices];
  const size_t most_ = most();
};

Allocator& allocator() {
  static auto* one = new Allocator();
  return *one;
}

void Allocator::release(void* address) {
  if (address != nullptr) allocator().give_back(static_cast<char*>(address) - memory().device);
}

// Memory of the host that a device may read while the host goes on.
class Pinned final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* address = bytes == 0 ? nullptr : ::operator new(bytes, std::align_val_t{64});
    std::lock_guard<std::mutex> lock(mutex_);
    if (address != nullptr) blocks_[static_cast<char*>(address)] = bytes;
    return {address, address, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  bool holds(const void* address) {
    const auto* byte = static_cast<const char*>(address);
    std::lock_guard<std::mutex> lock(mutex_);
    auto after = blocks_.upper_bound(const_cast<char*>(byte));
    if (after == blocks_.begin()) return false;
    --after;
    return byte < after->first + after->second;
  }

 private:
  static void release(void* address);
  std::mutex mutex_;
  std::map<char*, size_t> blocks_;
};

Pinned& pinned() {
  static auto* one = new Pinned();
  return *one;
}

void Pinned::release(void* address) {
  if (address == nullptr) return;
  {
    std::lock_guard<std::mutex> lock(pinned().mutex_);
    pinned().blocks_.erase(static_cast<char*>(address));
  }
  ::operator delete(address, std::align_val_t{64});
}

class DeviceGenerator final : public c10::GeneratorImpl {
 public:
  explicit DeviceGenerator(c10::DeviceIndex device)
      : GeneratorImpl(c10::Device(c10::kCUDA, device), c10::DispatchKeySet(c10::DispatchKey::CUDA)),
        host_(at::detail::createCPUGenerator()) {}

  at::Generator host() const { return host_; }
  void set_current_seed(uint64_t seed) override { host_.set_current_seed(seed); }
  void set_offset(uint64_t) override { TORCH_CHECK(false, "the stand-in's generators have no offset"); }
  uint64_t get_offset() const override { TORCH_CHECK(false, "the stand-in's generators have no offset"); }
  uint64_t current_seed() const override { return host_.current_seed(); }
  uint64_t seed() override { return host_.seed(); }
  void set_state(const c10::TensorImpl& state) override { host_.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return host_.unsafeGetGeneratorImpl()->get_state(); }

 private:
  GeneratorImpl* clone_impl() const override {
    auto* copy = new DeviceGenerator(device().index());
    copy->host_ = host_.clone();
    return copy;
  }
  at::Generator host_;
};

const at::Generator& generator(c10::DeviceIndex device) {
  static const auto* all = [] {
    auto* made = new std::vector<at::Generator>();
    for (c10::DeviceIndex i = 0; i < kDevices; ++i) made->push_back(at::make_generator<DeviceGenerator>(i));
    return made;
  }();
  return all->at(device < 0 ? device_now : device);
}

// Everything is done at once, so events and waiting have nothing to do.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {c10::kCUDA, device_now}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() >= 0 && device.index() < kDevices, "CUDA error: invalid device ordinal");
    device_now = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0 && device.index() < kDevices) device_now = device.index();
  }
  c10::Stream getStream(c10::Device device) const override {
    const c10::Device where(c10::kCUDA, device.index() < 0 ? device_now : device.index());
    return c10::Stream(c10::Stream::UNSAFE, where, stream_now[where.index()]);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    const c10::Device where(c10::kCUDA, device.index() < 0 ? device_now : device.index());
    return c10::Stream(c10::Stream::UNSAFE, where, ++streams);
  }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStreamFromGlobalPool(device, false); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    auto& now = stream_now[stream.device_index()];
    const c10::Stream before(c10::Stream::UNSAFE, stream.device(), now);
    now = stream.id();
    return before;
  }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    static char nothing;
    *event = &nothing;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  void synchronizeStream(const c10::Stream&) const override { refuse_while_recording(); }
  void synchronizeEvent(void*) const override { refuse_while_recording(); }
  void synchronizeDevice(c10::DeviceIndex) const override { refuse_while_recording(); }

  static void refuse_while_recording() {
    TORCH_CHECK(Recording::current() == nullptr, "CUDA error: operation not permitted when stream is capturing (waiting)");
  }
};

}  // namespace

void* host_address(const void* device_address) {
  if (device_address == nullptr) return nullptr;
  return memory().host + (static_cast<const char*>(device_address) - memory().device);
}

at::Generator host_generator(c10::DeviceIndex device) {
  return static_cast<DeviceGenerator*>(generator(device).unsafeGetGeneratorImpl())->host();
}

bool is_pinned(const void* address) { return pinned().holds(address); }

c10::StreamId current_stream() { return stream_now[device_now]; }

}  // namespace stand_in

namespace at {

// The registry of hooks is in this namespace, and finds them by this name.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  const Generator& getDefaultGenerator(DeviceIndex device) const override { return stand_in::generator(device); }
  Generator getNewGenerator(DeviceIndex device) const override {
    return make_generator<stand_in::DeviceGenerator>(device < 0 ? stand_in::device_now : device);
  }
  Device getDeviceFromPtr(void* data) const override {
    const auto offset = static_cast<size_t>(static_cast<char*>(data) - stand_in::memory().device);
    return {kCUDA, static_cast<DeviceIndex>(offset / stand_in::kMemory)};
  }
  bool isPinnedPtr(const void* data) const override { return stand_in::is_pinned(data); }
  Allocator* getPinnedMemoryAllocator() const override { return &stand_in::pinned(); }
  Allocator* getCUDADeviceAllocator() const override { return &stand_in::allocator(); }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  bool supportsBFloat16RNNWithCuDNN() const override { return true; }
  long versionCuDNN() const override { return 91000; }
  long versionRuntimeCuDNN() const override { return 91000; }
  double batchnormMinEpsilonCuDNN() const override { return 0; }
  DeviceIndex current_device() const override { return stand_in::device_now; }
  DeviceIndex deviceCount() const override { return stand_in::kDevices; }
  DeviceIndex getCurrentDevice() const override { return stand_in::device_now; }
  void setCurrentDevice(DeviceIndex device) const override { stand_in::device_now = device; }
  DeviceIndex exchangeDevice(DeviceIndex device) const override { return std::exchange(stand_in::device_now, device); }
  DeviceIndex maybeExchangeDevice(DeviceIndex device) const override { return exchangeDevice(device); }
  int getNumGPUs() const override { return stand_in::kDevices; }
  void deviceSynchronize(DeviceIndex) const override { stand_in::Guard::refuse_while_recording(); }
  std::string showConfig() const override { return "stand-in"; }
};

using at::CUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at

namespace {

const c10::impl::DeviceGuardImplRegistrar guards(c10::kCUDA, new stand_in::Guard());
const bool has_memory = [] {
  c10::SetAllocator(c10::kCUDA, &stand_in::allocator());
  return true;
}();

}  // namespace
