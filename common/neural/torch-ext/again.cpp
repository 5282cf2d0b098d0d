// Gradient checkpointing: work whose intermediate values are not kept for the backward pass but computed again there.
//
// The caller's function is called twice with gradients switched on, so that both times the same kernels are chosen and the
// numbers are those of a pass that keeps everything.

#include "ext.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <stdexcept>

using podium::guarded;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// The caller's function: takes a tensor that it owns from then on, gives a new one, or null where it failed.
struct Work : torch::CustomClassHolder {
  using Run = at::Tensor* (*)(void*, at::Tensor*);
  using Drop = void (*)(void*);

  Work(Run run, Drop drop, void* data) : run(run), drop(drop), data(data) {}
  ~Work() override { drop(data); }

  at::Tensor on(const at::Tensor& x) const {
    at::Tensor* result = run(data, new at::Tensor(x));
    if (result == nullptr) throw std::runtime_error("the work of a checkpoint failed");
    const at::Tensor out = *result;
    delete result;
    return out;
  }

  const Run run;
  const Drop drop;
  void* const data;
};

// The number format of the forward pass, set again while it is computed again.
class Format {
 public:
  Format(at::DeviceType device, bool on, at::ScalarType type)
      : device_(device), on_(at::autocast::is_autocast_enabled(device)), type_(at::autocast::get_autocast_dtype(device)) {
    at::autocast::clear_cache();
    set(on, type);
  }
  ~Format() {
    set(on_, type_);
    at::autocast::clear_cache();
  }
  Format(const Format&) = delete;
  Format& operator=(const Format&) = delete;

 private:
  void set(bool on, at::ScalarType type) const {
    at::autocast::set_autocast_dtype(device_, type);
    at::autocast::set_autocast_enabled(device_, on);
  }

  const at::DeviceType device_;
  const bool on_;
  const at::ScalarType type_;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const c10::intrusive_ptr<Work>& work) {
    const at::DeviceType device = x.device().type();
    context->save_for_backward({x});
    context->saved_data["work"] = c10::IValue::make_capsule(work);
    context->saved_data["on"] = at::autocast::is_autocast_enabled(device);
    context->saved_data["type"] = static_cast<int64_t>(at::autocast::get_autocast_dtype(device));
    const at::AutoGradMode with_gradients(true);
    return work->on(x.detach().requires_grad_(true)).detach();
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "checkpoint: second derivatives are not supported");
    const auto work = c10::static_intrusive_pointer_cast<Work>(context->saved_data["work"].toCapsule());
    const at::Tensor saved = context->get_saved_variables()[0];
    const at::Tensor x = saved.detach().requires_grad_(true);
    at::Tensor y;
    {
      const at::AutoGradMode with_gradients(true);
      const Format format(x.device().type(), context->saved_data["on"].toBool(),
                          static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
      y = work->on(x);
    }
    torch::autograd::backward({y}, {grads[0].to(y.scalar_type())});
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// run(data, x), whose intermediate values are computed again in the backward pass. `drop` ends `data` when nothing needs it
// any more, also where this fails.
int podium_checkpoint(const at::Tensor* x, Work::Run run, Work::Drop drop, void* data, at::Tensor** out) {
  return guarded([&] {
    const auto work = c10::make_intrusive<Work>(run, drop, data);
    *out = new at::Tensor(Checkpoint::apply(*x, work));
  });
}

}  // extern "C"
