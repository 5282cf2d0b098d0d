// Operations of the stand-in's devices: those of the CPU on the same memory.

#include "stand_in.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/RNN.h>
#include <ATen/native/transformers/attention.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <unordered_set>

namespace stand_in {
namespace {

using torch::jit::Stack;

// Operations that libtorch 2.11 has for the CPU and not for GPUs.
const std::unordered_set<std::string> kCpuOnly = {
#include "cpu_only.inc"
};

// Operations whose result's shape is in the device's memory: the host waits for it.
const std::unordered_set<std::string> kWaits = {
    "aten::_local_scalar_dense", "aten::nonzero",        "aten::nonzero.out",   "aten::masked_select", "aten::masked_select.out",
    "aten::_unique2",            "aten::_unique",        "aten::unique_dim",    "aten::bincount",      "aten::repeat_interleave.Tensor",
    "aten::equal",               "aten::unique_consecutive"};

// Operations without a deterministic form on GPUs (the documentation of torch.use_deterministic_algorithms lists them).
const std::unordered_set<std::string> kNotDeterministic = {
    "aten::histc", "aten::put_", "aten::median.dim", "aten::avg_pool3d_backward", "aten::_adaptive_avg_pool2d_backward",
    "aten::_adaptive_avg_pool3d_backward", "aten::max_pool3d_with_indices_backward", "aten::adaptive_max_pool2d_backward",
    "aten::fractional_max_pool2d_backward", "aten::fractional_max_pool3d_backward", "aten::max_unpool2d",
    "aten::max_unpool3d", "aten::upsample_linear1d_backward", "aten::upsample_bilinear2d_backward",
    "aten::upsample_bicubic2d_backward", "aten::upsample_trilinear3d_backward", "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward", "aten::reflection_pad3d_backward", "aten::nll_loss2d_forward",
    "aten::_ctc_loss_backward", "aten::grid_sampler_2d_backward", "aten::grid_sampler_3d_backward"};

const std::unordered_set<std::string> kProducts = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::addmv",
                                                   "aten::dot"};

// Operations that take indices from the host as well.
const std::unordered_set<std::string> kHostIndices = {"aten::index.Tensor", "aten::_index_put_impl_", "aten::index_put_"};

std::string full_name(const c10::OperatorHandle& op) {
  const auto& name = op.operator_name();
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

template <class Visit>
void for_tensors(const c10::IValue& value, Visit&& visit) {
  if (value.isTensor()) {
    visit(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorList()) visit(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      if (element.isTensor()) visit(element.toTensor());
    }
  }
}

bool on_device(const at::Tensor& tensor) { return tensor.defined() && tensor.is_cuda(); }

at::Tensor over_memory(c10::Storage storage, c10::DispatchKeySet keys, const at::Tensor& like) {
  auto view = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), keys, like.dtype());
  auto* impl = view.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return view;
}

c10::IValue host_value(const c10::IValue& value) {
  if (value.isTensor()) return host_view(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> views;
    for (const at::Tensor& tensor : value.toTensorList()) views.push_back(host_view(tensor));
    return views;
  }
  if (value.isList() && !value.toListRef().empty()) {
    const auto list = value.toList();
    bool any = false;
    for (const c10::IValue& element : value.toListRef()) any = any || element.isTensor();
    if (!any) return value;
    c10::List<std::optional<at::Tensor>> views;
    for (const c10::IValue& element : value.toListRef()) {
      views.push_back(element.isTensor() ? std::optional<at::Tensor>(host_view(element.toTensor())) : std::nullopt);
    }
    return views;
  }
  if (value.isDevice()) return c10::Device(c10::kCPU);
  return value;
}

// With STAND_IN_COUNT: how often each operation ran, said at the end; those that the host waits for begin with a star.
class Counts {
 public:
  ~Counts() {
    std::vector<std::pair<size_t, std::string>> sorted;
    for (const auto& [name, count] : of_) sorted.emplace_back(count, name);
    std::sort(sorted.rbegin(), sorted.rend());
    for (const auto& [count, name] : sorted) std::fprintf(stderr, "%8zu %s\n", count, name.c_str());
  }
  static void add(const std::string& name, bool waits) {
    static const bool wanted = std::getenv("STAND_IN_COUNT") != nullptr;
    if (!wanted) return;
    static Counts counts;
    const std::lock_guard<std::mutex> lock(counts.mutex_);
    ++counts.of_[waits ? "*" + name : name];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, size_t> of_;
};

// What a real GPU would refuse.
void check(const c10::OperatorHandle& op, const std::string& name, at::ArrayRef<c10::IValue> args, c10::Device device) {
  const bool has_kernel = kCpuOnly.count(name) == 0 && name.rfind("mkldnn", 0) != 0;
  TORCH_CHECK_NOT_IMPLEMENTED(has_kernel, "Could not run '", name, "' with arguments from the 'CUDA' backend.");
  const auto& formal = op.schema().arguments();
  bool integral = false, floating = false;
  for (size_t i = 0; i < args.size(); ++i) {
    for_tensors(args[i], [&](const at::Tensor& tensor) {
      if (!tensor.defined()) return;
      integral = integral || c10::isIntegralType(tensor.scalar_type(), true);
      floating = floating || tensor.is_floating_point();
      const bool fits = tensor.is_cuda() ? tensor.device() == device
                                         : tensor.dim() == 0 || kHostIndices.count(name) > 0;
      TORCH_CHECK(fits, "Expected all tensors to be on the same device, but got ", formal[i].name(), " on ", tensor.device(),
                  ", different from other tensors on ", device, " (when checking the arguments of ", name, ")");
    });
  }
  if (name.rfind("aten::cumsum", 0) == 0 && args[2].isInt()) {
    floating = c10::isFloatingType(static_cast<c10::ScalarType>(args[2].toInt()));
  }
  TORCH_CHECK(!(integral && kProducts.count(name) > 0), "\"", name, "_cuda\" not implemented for integers");
  if (at::globalContext().deterministicAlgorithms()) {
    const bool refused = kNotDeterministic.count(name) > 0 ||
                         (name.rfind("aten::cumsum", 0) == 0 && floating);
    TORCH_CHECK(!refused, name, " does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'");
  }
  if (Recording::current() != nullptr) {
    bool waits = kWaits.count(name) > 0;
    if (kHostIndices.count(name) > 0) {
      for_tensors(args[1], [&](const at::Tensor& index) {
        waits = waits || (index.defined() && (!index.is_cuda() || index.scalar_type() == at::kBool));
      });
    }
    TORCH_CHECK(!waits, "CUDA error: operation not permitted when stream is capturing (", name, ")");
  }
}

// cuDNN's numbers of its modes.
constexpr int64_t kLstm = 2, kGru = 3;

// What cuDNN does, by the CPU. An operation that the CPU has under another name.
bool by_another_name(const std::string& name, Stack& stack, c10::DeviceIndex device);

// Some functions are told apart from their out= form here only, about which the CPU's operation then has something to say.
struct Quiet : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// The results on the host, from arguments on a device.
Stack computed(const c10::OperatorHandle& op, const std::string& name, const std::vector<c10::IValue>& args,
               c10::DeviceIndex device, std::vector<c10::IValue>* host_args) {
  const auto& formal = op.schema().arguments();
  Stack stack;
  for (size_t i = 0; i < args.size(); ++i) {
    const bool draws = formal[i].type()->str() == "Generator?" || formal[i].type()->str() == "Generator";
    stack.push_back(draws ? c10::IValue(host_generator(device)) : host_value(args[i]));
  }
  *host_args = stack;
  at::AutoDispatchBelowAutograd below;
  static Quiet quiet;
  const c10::WarningUtils::WarningHandlerGuard silence(&quiet);
  if (!by_another_name(name, stack, device)) op.callBoxed(stack);
  return stack;
}

// A written tensor got another shape, or other memory, on the host.
void follow(const at::Tensor& device, const at::Tensor& host) {
  const auto* there = static_cast<const char*>(host_address(device.storage().data()));
  const bool moved = host.storage().data() != there;
  if (moved) device.resize_(host.sizes());
  auto* impl = device.unsafeGetTensorImpl();
  if (device.sizes() != host.sizes() || device.strides() != host.strides()) {
    impl->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }
  if (moved && host.storage().nbytes() > 0) {
    std::memcpy(host_address(device.storage().mutable_data()), host.storage().data(),
                std::min(host.storage().nbytes(), device.storage().nbytes()));
  }
}

at::Tensor to_device(const at::Tensor& host, c10::Device device) {
  if (!host.defined()) return host;
  at::Tensor made = at::empty_strided(host.sizes(), host.strides(), host.options().device(device));
  host_view(made).copy_(host);
  return made;
}

std::vector<at::Tensor> tensors_of(const c10::IValue& value) {
  std::vector<at::Tensor> found;
  for_tensors(value, [&](const at::Tensor& tensor) { found.push_back(tensor); });
  return found;
}

void fallback(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = full_name(op);
  const std::vector<c10::IValue> args(stack->end() - static_cast<long>(schema.arguments().size()), stack->end());
  torch::jit::drop(*stack, args.size());

  std::optional<c10::Device> device;
  for (const auto& arg : args) {
    for_tensors(arg, [&](const at::Tensor& tensor) {
      if (!device && on_device(tensor)) device = tensor.device();
    });
  }
  for (const auto& arg : args) {
    if (!device && arg.isDevice()) device = arg.toDevice();
  }
  TORCH_INTERNAL_ASSERT(device, "no device in the arguments of ", name);
  if (!device->has_index()) device = c10::impl::getDeviceGuardImpl(c10::kCUDA)->getDevice();
  const c10::DeviceGuard guard(*device);
  check(op, name, args, *device);
  Counts::add(name, kWaits.count(name) > 0);

  auto* recording = Recording::current();
  const auto written = [&](size_t i) {
    const auto* alias = schema.arguments()[i].alias_info();
    return alias != nullptr && alias->isWrite();
  };
  if (recording != nullptr) {
    for (size_t i = 0; i < args.size(); ++i) {
      if (written(i)) for_tensors(args[i], [&](const at::Tensor& tensor) { recording->save(tensor); });
    }
  }
  std::vector<c10::IValue> host_args;
  Stack results = computed(op, name, args, device->index(), &host_args);
  for (size_t i = 0; i < args.size(); ++i) {
    if (!written(i)) continue;
    const auto there = tensors_of(args[i]), here = tensors_of(host_args[i]);
    for (size_t k = 0; k < there.size(); ++k) {
      if (on_device(there[k])) follow(there[k], here[k]);
    }
  }

  // Results: a tensor that was given, a view of one, or new ones.
  std::vector<c10::IValue> given_back;
  for (size_t r = 0; r < results.size(); ++r) {
    const auto* alias = schema.returns()[r].alias_info();
    const c10::IValue* of = nullptr;
    for (size_t i = 0; alias != nullptr && i < args.size() && of == nullptr; ++i) {
      const auto* other = schema.arguments()[i].alias_info();
      if (other != nullptr && other->beforeSets() == alias->beforeSets()) of = &args[i];
    }
    const c10::IValue& value = results[r];
    if (of != nullptr && alias->isWrite()) {
      given_back.push_back(*of);
    } else if (of != nullptr && value.isTensor() && of->isTensor()) {
      const at::Tensor base = of->toTensor();
      given_back.push_back(over_memory(c10::Storage(base.storage()), base.key_set(), value.toTensor()));
    } else if (value.isTensor()) {
      given_back.push_back(to_device(value.toTensor(), *device));
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> made;
      for (const at::Tensor& tensor : value.toTensorList()) made.push_back(to_device(tensor, *device));
      given_back.push_back(made);
    } else {
      given_back.push_back(value);
    }
  }
  if (recording != nullptr) {
    std::vector<c10::IValue> kept;
    for (const auto& arg : args) {
      kept.push_back(arg.isTensor() && arg.toTensor().defined() ? c10::IValue(arg.toTensor().variable_data()) : arg);
    }
    const auto where = *device;
    recording->add([op, name, kept, given_back, where] {
      std::vector<c10::IValue> ignored;
      const Stack again = computed(op, name, kept, where.index(), &ignored);
      for (size_t r = 0; r < again.size(); ++r) {
        const auto* alias = op.schema().returns()[r].alias_info();
        if (alias != nullptr) continue;
        const auto from = tensors_of(again[r]), to = tensors_of(given_back[r]);
        for (size_t k = 0; k < to.size(); ++k) {
          if (to[k].defined()) host_view(to[k]).copy_(from[k]);
        }
      }
    });
  }
  for (auto& value : given_back) stack->push_back(std::move(value));
}

// Tensors of a device are made in its memory.

c10::Device chosen(std::optional<c10::Device> device) {
  return device && device->has_index() ? *device : c10::impl::getDeviceGuardImpl(c10::kCUDA)->getDevice();
}

const c10::DispatchKeySet kKeys(c10::DispatchKey::CUDA);

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<c10::Device> device, std::optional<bool> pinned, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_generic(size, c10::GetAllocator(c10::kCUDA), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<c10::Device> device, std::optional<bool> pinned) {
  TORCH_CHECK(!pinned.value_or(false), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_strided_generic(size, stride, c10::GetAllocator(c10::kCUDA), kKeys, c10::dtype_or_default(dtype));
}

void grow(c10::TensorImpl* impl) {
  const size_t needed = (static_cast<size_t>(impl->storage_offset()) + impl->numel()) * impl->itemsize();
  const auto& storage = impl->unsafe_storage();
  if (impl->numel() == 0 || storage.nbytes() >= needed) return;
  const c10::DeviceGuard guard(impl->device());
  auto fresh = c10::GetAllocator(c10::kCUDA)->allocate(needed);
  if (storage.nbytes() > 0) std::memcpy(host_address(fresh.get()), host_address(storage.data()), storage.nbytes());
  storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
  storage.unsafeGetStorageImpl()->set_nbytes(needed);
}

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  grow(impl);
  if (format && *format != at::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  return self;
}

at::Tensor& set_storage(at::Tensor& self, at::Storage storage, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(storage));
  if (stride.data() == nullptr) {
    impl->set_storage_offset(offset);
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride, offset);
  }
  return self;
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool) {
  Counts::add("aten::copy_", self.is_cpu() || (source.is_cpu() && source.dim() > 0 && !is_pinned(source.data_ptr())));
  auto* recording = Recording::current();
  const auto copied = [self = self.variable_data(), source = source.variable_data()] {
    at::AutoDispatchBelowAutograd below;
    host_view(self).copy_(host_view(source));
  };
  if (recording != nullptr) {
    const bool may = self.is_cuda() && (source.is_cuda() || is_pinned(source.data_ptr()) || source.dim() == 0);
    TORCH_CHECK(may, "CUDA error: operation not permitted when stream is capturing (a copy between host and device)");
    recording->save(self);
    recording->add(copied);
  }
  copied();
  return self;
}

void record_stream(at::Tensor&, c10::Stream) {}

// cuDNN's weights in one buffer, of which the given ones become views.
at::Tensor flatten_weights(at::TensorList weights, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, bool) {
  int64_t all = 0;
  for (const auto& weight : weights) all += weight.numel();
  const at::Tensor buffer = at::empty({all}, weights[0].options());
  int64_t offset = 0;
  for (at::Tensor weight : weights) {
    const at::Tensor place = buffer.narrow(0, offset, weight.numel()).view(weight.sizes());
    place.copy_(weight);
    weight.set_(buffer.storage(), offset, weight.sizes(), weight.strides());
    offset += weight.numel();
  }
  return buffer;
}

// A recurrent network of one of cuDNN's modes, by the CPU: outputs, last state, last cell (a GRU has none).
std::vector<at::Tensor> recurrent(const at::Tensor& input, const at::Tensor& hx, const at::Tensor& cx,
                                  const std::vector<at::Tensor>& weights, bool biases, int64_t mode, int64_t layers,
                                  bool batch_first, bool bidirectional, bool train) {
  if (mode == kGru) {
    const auto [out, hy] = at::gru(input, hx, weights, biases, layers, 0.0, train, bidirectional, batch_first);
    return {out, hy};
  }
  TORCH_CHECK_NOT_IMPLEMENTED(mode == kLstm, "the stand-in has LSTMs and GRUs only");
  const auto [out, hy, cy] = at::lstm(input, {hx, cx}, weights, biases, layers, 0.0, train, bidirectional, batch_first);
  return {out, hy, cy};
}

bool by_another_name(const std::string& name, Stack& stack, c10::DeviceIndex device) {
  const auto maybe = [&](size_t i) { return stack[i].isTensor() ? stack[i].toTensor() : at::Tensor(); };
  if (name == "aten::native_dropout") {
    // The CPU's draws from the CPU's generator.
    const at::Tensor input = stack[0].toTensor();
    const double p = stack[1].toDouble();
    const auto mask = at::empty_like(input, at::kBool).bernoulli_(1 - p, host_generator(device));
    stack = {input.mul(mask).mul(1 / (1 - p)), mask};
    return true;
  }
  if (name == "aten::_cudnn_rnn") {
    // input 0, weights 1, stride 2, buffer 3, hx 4, cx 5, mode 6, sizes 7 and 8, layers 9, batch_first 10, dropout 11, train 12,
    // bidirectional 13, batch_sizes 14, dropout_state 15
    const bool train = stack[12].toBool();
    auto made = recurrent(stack[0].toTensor(), stack[4].toTensor(), maybe(5), stack[1].toTensorVector(), stack[2].toInt() == 4,
                          stack[6].toInt(), stack[9].toInt(), stack[10].toBool(), stack[13].toBool(), false);
    if (made.size() == 2) made.push_back(at::empty({0}, made[0].options()));
    stack = {made[0], made[1], made[2], at::empty({train ? 8 : 0}, at::kByte), at::empty({0}, made[0].options())};
    return true;
  }
  if (name == "aten::_cudnn_rnn_backward") {
    // input 0, weights 1, stride 2, buffer 3, hx 4, cx 5, output 6, grads 7 to 9, mode 10, sizes 11 and 12, layers 13,
    // batch_first 14, dropout 15, train 16, bidirectional 17, batch_sizes 18, dropout_state 19, reserve 20, output_mask 21
    TORCH_CHECK(stack[16].toBool(), "cudnn RNN backward can only be called in training mode");
    const c10::impl::ForceDispatchKeyGuard anew(c10::default_included_set, c10::default_excluded_set);
    const at::AutoGradMode with(true);
    const auto leaf = [](const at::Tensor& t) { return t.defined() ? t.detach().clone().requires_grad_(true) : t; };
    std::vector<at::Tensor> weights;
    for (const auto& weight : stack[1].toTensorVector()) weights.push_back(leaf(weight));
    const at::Tensor input = leaf(stack[0].toTensor()), hx = leaf(stack[4].toTensor()), cx = leaf(maybe(5));
    const auto made = recurrent(input, hx, cx, weights, stack[2].toInt() == 4, stack[10].toInt(), stack[13].toInt(),
                                stack[14].toBool(), stack[17].toBool(), true);
    std::vector<at::Tensor> outs, grads;
    for (size_t i = 0; i < made.size(); ++i) {
      if (maybe(7 + i).defined()) {
        outs.push_back(made[i]);
        grads.push_back(maybe(7 + i));
      }
    }
    std::vector<at::Tensor> leaves{input, hx};
    if (cx.defined()) leaves.push_back(cx);
    const size_t states = leaves.size();
    leaves.insert(leaves.end(), weights.begin(), weights.end());
    const auto found = torch::autograd::grad(outs, leaves, grads, std::nullopt, false, /*allow_unused=*/true);
    stack = {found[0], found[1], cx.defined() ? found[2] : at::Tensor(),
             std::vector<at::Tensor>(found.begin() + static_cast<long>(states), found.end())};
    return true;
  }
  if (name == "aten::cudnn_batch_norm") {
    const auto [out, mean, invstd] =
        at::native_batch_norm(stack[0].toTensor(), stack[1].toTensor(), maybe(2), maybe(3), maybe(4),
                              stack[5].toBool(), stack[6].toDouble(), stack[7].toDouble());
    stack = {out, mean, invstd, at::empty({0}, at::kByte)};
    return true;
  }
  if (name == "aten::cudnn_batch_norm_backward") {
    const auto [input, weight, bias] =
        at::native_batch_norm_backward(stack[1].toTensor(), stack[0].toTensor(), stack[2].toTensor(), maybe(3), maybe(4),
                                       maybe(5), maybe(6), true, stack[7].toDouble(), {true, true, true});
    stack = {input, weight, bias};
    return true;
  }
  return false;
}

void gru_by_cudnn(at::Tensor& out, at::Tensor& hy, const at::Tensor& input, const at::Tensor& state, at::TensorList weights,
                  bool biases, int64_t layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  at::Tensor cy, reserve, buffer;
  std::tie(out, hy, cy, reserve, buffer) =
      at::_cudnn_rnn(input, weights, biases ? 4 : 2, {}, state, {}, kGru, state.size(2), 0, layers, batch_first, dropout,
                     train, bidirectional, {}, {});
}

void lstm_by_cudnn(at::Tensor& out, at::Tensor& hy, at::Tensor& cy, const at::Tensor& input, at::TensorList state,
                   at::TensorList weights, bool biases, int64_t layers, double dropout, bool train, bool bidirectional,
                   bool batch_first) {
  at::Tensor reserve, buffer;
  std::tie(out, hy, cy, reserve, buffer) =
      at::_cudnn_rnn(input, weights, biases ? 4 : 2, {}, state[0], state[1], kLstm, state[0].size(2), 0, layers, batch_first,
                     dropout, train, bidirectional, {}, {});
}

// libtorch's own product of attention, in its plain form.
int64_t plain_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double, bool,
                        std::optional<double>, bool) {
  return 0;
}

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("resize_", TORCH_FN(resize_));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_storage));
  library.impl("set_.source_Tensor", TORCH_FN(set_tensor));
  library.impl("copy_", TORCH_FN(copy_));
  library.impl("record_stream", TORCH_FN(record_stream));
  library.impl("_cudnn_rnn_flatten_weight", TORCH_FN(flatten_weights));
  // Else these two take a GPU's library by its name.
  library.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&fallback>());
  library.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

const bool stubs = [] {
  at::native::gru_cudnn_stub.set_cuda_dispatch_ptr(&gru_by_cudnn);
  at::native::lstm_cudnn_stub.set_cuda_dispatch_ptr(&lstm_by_cudnn);
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(&plain_attention);
  return true;
}();

}  // namespace

at::Tensor host_view(const at::Tensor& tensor) {
  if (!on_device(tensor)) return tensor;
  const auto& storage = tensor.storage();
  c10::DataPtr memory(host_address(storage.mutable_data()), c10::Device(c10::kCPU));
  // What an operation enlarges moves to the host's own memory, and is followed from there.
  c10::Storage over(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(memory), c10::GetAllocator(c10::kCPU), true);
  return over_memory(std::move(over), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor);
}

}  // namespace stand_in
