// TorchScript modules out of forward passes that run here.
//
// A pass is recorded by libtorch's tracer several times, each time with inputs of other sizes. What is the same in all
// recordings is a constant; a whole number that follows the sizes is written as a formula of them (affine in each size); any
// other difference is an error, because then the recorded pass hangs on the data. So the module takes any batch.
//
// The tracer belongs to a thread: one recording at a time.

#include "ext.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/equal.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/normalize_ops.h>
#include <torch/csrc/jit/passes/shape_analysis.h>
#include <torch/jit.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>

using podium::guarded;
namespace jit = torch::jit;
namespace tracer = torch::jit::tracer;

namespace {

using Numbers = std::vector<int64_t>;

struct Export {
  std::string name;
  jit::Module module;
  /// The parts of each tensor's dotted name.
  std::vector<std::vector<std::string>> paths;
  std::vector<std::string> input_names;
  std::vector<std::shared_ptr<jit::Graph>> recordings;
  std::map<std::string, std::string> files;
  std::string bytes;
};

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::stringstream stream(name);
  for (std::string part; std::getline(stream, part, '.');) parts.push_back(part);
  return parts;
}

// A name that Python takes for a class.
std::string plain(const std::string& name) {
  std::string result;
  for (char c : name) result += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return result.empty() || std::isdigit(static_cast<unsigned char>(result[0])) != 0 ? "n" + result : result;
}

// Tensors by their dotted names as a tree of modules: a state dict has the published names.
jit::Module tree(const std::string& type, const std::shared_ptr<jit::CompilationUnit>& unit,
                 const std::vector<std::vector<std::string>>& paths, const std::vector<at::Tensor>& tensors,
                 const uint8_t* buffers, const std::vector<size_t>& which, size_t depth) {
  jit::Module module(c10::QualifiedName(type), unit);
  std::vector<std::string> order;
  std::map<std::string, std::vector<size_t>> below;
  for (size_t i : which) {
    const std::string& part = paths[i][depth];
    if (paths[i].size() == depth + 1) {
      module.register_parameter(part, tensors[i], buffers[i] != 0);
      continue;
    }
    if (below[part].empty()) order.push_back(part);
    below[part].push_back(i);
  }
  for (const std::string& part : order) {
    module.register_module(part, tree(type + "_" + plain(part), unit, paths, tensors, buffers, below[part], depth + 1));
  }
  return module;
}

// A formula of the sizes: for every set of sizes (a bit each) the factor of their product.
std::vector<int64_t> formula(std::vector<int64_t> corners, const Numbers& low, const Numbers& high) {
  for (size_t s = 0; s < low.size(); ++s) {
    const size_t bit = size_t{1} << s;
    for (size_t i = 0; i < corners.size(); ++i) {
      if ((i & bit) != 0) continue;
      const int64_t rise = corners[i | bit] - corners[i];
      const int64_t run = high[s] - low[s];
      TORCH_CHECK(rise % run == 0, "the size ", corners[i], " does not follow the sizes of the inputs");
      corners[i | bit] = rise / run;
      corners[i] -= corners[i | bit] * low[s];
    }
  }
  return corners;
}

int64_t value_of(const std::vector<int64_t>& factors, const Numbers& sizes) {
  int64_t sum = 0;
  for (size_t i = 0; i < factors.size(); ++i) {
    int64_t product = factors[i];
    for (size_t s = 0; s < sizes.size(); ++s) {
      if ((i >> s & 1) != 0) product *= sizes[s];
    }
    sum += product;
  }
  return sum;
}

// Makes one graph out of recordings that differ in sizes alone.
class Union {
 public:
  // `sizes`: those of each recording. First come all corners between a low and a high value of each size, the bit s of a
  // corner's number being set where size s is high; what follows checks the formulas.
  Union(std::vector<std::shared_ptr<jit::Graph>> graphs, std::vector<Numbers> sizes, Numbers inputs, Numbers dims)
      : graphs_(std::move(graphs)), sizes_(std::move(sizes)), inputs_(std::move(inputs)), dims_(std::move(dims)) {}

  std::shared_ptr<jit::Graph> run() {
    const std::shared_ptr<jit::Graph>& graph = graphs_[0];
    for (const auto& other : graphs_) {
      TORCH_CHECK(other->inputs().size() == graph->inputs().size(), "recordings with different inputs");
    }
    first_ = *graph->nodes().begin();
    std::vector<jit::Block*> blocks;
    for (const auto& other : graphs_) blocks.push_back(other->block());
    compare(blocks);
    return graph;
  }

 private:
  void compare(const std::vector<jit::Block*>& blocks) {
    std::vector<std::vector<jit::Node*>> lists;
    for (jit::Block* block : blocks) lists.emplace_back(block->nodes().begin(), block->nodes().end());
    for (const auto& list : lists) {
      TORCH_CHECK(list.size() == lists[0].size(), "the pass takes another course with other sizes or values: ",
                  lists[0].size(), " and ", list.size(), " operations");
    }
    for (size_t i = 0; i < lists[0].size(); ++i) {
      std::vector<jit::Node*> nodes;
      for (const auto& list : lists) nodes.push_back(list[i]);
      node(nodes);
    }
  }

  void node(const std::vector<jit::Node*>& nodes) {
    jit::Node* own = nodes[0];
    for (jit::Node* other : nodes) {
      TORCH_CHECK(other->kind() == own->kind() && other->inputs().size() == own->inputs().size() &&
                      other->outputs().size() == own->outputs().size() && other->blocks().size() == own->blocks().size(),
                  "the pass takes another course with other sizes or values: ", own->kind().toQualString(), " and ",
                  other->kind().toQualString());
    }
    if (own->kind() == c10::prim::Constant) return constant(nodes);
    for (size_t b = 0; b < own->blocks().size(); ++b) {
      std::vector<jit::Block*> blocks;
      for (jit::Node* other : nodes) blocks.push_back(other->blocks()[b]);
      compare(blocks);
    }
  }

  void constant(const std::vector<jit::Node*>& nodes) {
    jit::Node* own = nodes[0];
    std::vector<c10::IValue> values;
    for (jit::Node* other : nodes) values.push_back(jit::toIValue(other->output()).value());
    const c10::IValue& value = values[0];
    if (value.isDevice()) return replace(own, device());
    if (value.isTensor()) {
      for (const c10::IValue& other : values) {
        const bool same = value.toTensor().defined() && other.toTensor().sizes() == value.toTensor().sizes() &&
                          other.toTensor().scalar_type() == value.toTensor().scalar_type() &&
                          at::equal(other.toTensor(), value.toTensor());
        TORCH_CHECK(same, "a tensor of shape ", value.toTensor().sizes(), " in the pass depends on sizes or values");
      }
      // Scalars go with tensors of any device; others have to follow.
      if (value.toTensor().dim() > 0) follow(own);
      return;
    }
    if (value.isInt()) {
      Numbers numbers;
      for (const c10::IValue& other : values) numbers.push_back(other.toInt());
      if (std::all_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n == numbers[0]; })) return;
      const size_t corners = size_t{1} << dims_.size();
      const Numbers factors = formula(Numbers(numbers.begin(), numbers.begin() + corners), sizes_[0], sizes_[corners - 1]);
      for (size_t i = 0; i < numbers.size(); ++i) {
        TORCH_CHECK(value_of(factors, sizes_[i]) == numbers[i], "the size ", numbers[i],
                    " does not follow the sizes of the inputs");
      }
      return replace(own, computed(factors));
    }
    for (const c10::IValue& other : values) {
      TORCH_CHECK(other.tagKind() == value.tagKind() && (value.isNone() || other == value), "the constant ", value,
                  " in the pass depends on sizes or values");
    }
  }

  void replace(jit::Node* constant, jit::Value* value) { constant->output()->replaceAllUsesWith(value); }

  jit::Graph& graph() { return *graphs_[0]; }

  // The input whose device everything follows; the module itself is the first.
  jit::Value* device() {
    if (device_ == nullptr) {
      jit::WithInsertPoint at_start(first_);
      device_ = graph().insert(c10::prim::device, {graph().inputs().at(1)});
    }
    return device_;
  }

  void follow(jit::Node* constant) {
    jit::Value* where = device();
    constant->moveBefore(first_);
    jit::WithInsertPoint at_start(first_);
    jit::Value* moved = graph().insert(c10::aten::to, {constant->output(), where});
    constant->output()->replaceAllUsesAfterNodeWith(moved->node(), moved);
  }

  jit::Value* size(size_t s) {
    auto found = sizes_of_inputs_.find(s);
    if (found != sizes_of_inputs_.end()) return found->second;
    jit::WithInsertPoint at_start(first_);
    jit::Value* input = graph().inputs().at(1 + inputs_[s]);
    return sizes_of_inputs_[s] = graph().insert(c10::aten::size, {input, dims_[s]});
  }

  jit::Value* computed(const Numbers& factors) {
    auto found = computed_.find(factors);
    if (found != computed_.end()) return found->second;
    jit::Value* sum = nullptr;
    for (size_t i = 0; i < factors.size(); ++i) {
      if (factors[i] == 0) continue;
      jit::Value* product = nullptr;
      for (size_t s = 0; s < dims_.size(); ++s) {
        if ((i >> s & 1) == 0) continue;
        jit::Value* factor = size(s);
        jit::WithInsertPoint at_start(first_);
        product = product == nullptr ? factor : graph().insert(c10::aten::mul, {product, factor});
      }
      jit::WithInsertPoint at_start(first_);
      if (product == nullptr) {
        product = graph().insertConstant(factors[i]);
      } else if (factors[i] != 1) {
        product = graph().insert(c10::aten::mul, {product, factors[i]});
      }
      sum = sum == nullptr ? product : graph().insert(c10::aten::add, {sum, product});
    }
    return computed_[factors] = sum;
  }

  std::vector<std::shared_ptr<jit::Graph>> graphs_;
  std::vector<Numbers> sizes_;
  Numbers inputs_;
  Numbers dims_;
  jit::Node* first_ = nullptr;
  jit::Value* device_ = nullptr;
  std::map<size_t, jit::Value*> sizes_of_inputs_;
  std::map<Numbers, jit::Value*> computed_;
};

jit::Module owner(jit::Module module, const std::vector<std::string>& path) {
  for (size_t i = 0; i + 1 < path.size(); ++i) module = module.attr(path[i]).toModule();
  return module;
}

}  // namespace

extern "C" {

// A module of these tensors; `buffers[i]`: tensor i is none that is trained. Their memory is shared until they are saved.
int podium_export_new(const char* name, size_t n, const char* const* names, at::Tensor* const* tensors,
                      const uint8_t* buffers, void** out) {
  return guarded([&] {
    auto made = std::make_unique<Export>();
    made->name = plain(name);
    std::vector<size_t> which;
    for (size_t i = 0; i < n; ++i) {
      made->paths.push_back(parts_of(names[i]));
      which.push_back(i);
    }
    auto unit = std::make_shared<jit::CompilationUnit>();
    made->module =
        tree("__torch__.podium." + made->name, unit, made->paths, podium::list(tensors, n), buffers, which, 0);
    *out = made.release();
  });
}

void podium_export_free(void* self) { delete static_cast<Export*>(self); }

// Begins to record what is computed from these inputs.
int podium_export_begin(void* self, size_t n, at::Tensor* const* inputs, const char* const* names) {
  return guarded([&] {
    auto* made = static_cast<Export*>(self);
    TORCH_CHECK(!tracer::isTracing(), "a pass is being recorded already");
    auto state = std::make_shared<tracer::TracingState>();
    tracer::setTracingState(state);
    try {
      state->warn = false;
      jit::Value* root = state->graph->insertInput(0, "self")->setType(made->module._ivalue()->type());
      std::map<std::vector<std::string>, jit::Value*> modules;
      for (const std::vector<std::string>& path : made->paths) {
        std::vector<std::string> prefix;
        jit::Value* at = root;
        for (size_t i = 0; i + 1 < path.size(); ++i) {
          prefix.push_back(path[i]);
          jit::Value*& known = modules[prefix];
          if (known == nullptr) known = state->graph->insertGetAttr(at, path[i]);
          at = known;
        }
        const at::Tensor tensor = owner(made->module, path).attr(path.back()).toTensor();
        jit::Value* value = state->graph->insertGetAttr(at, path.back());
        state->setValue(tensor, value);
      }
      for (size_t i = 0; i < n; ++i) {
        jit::Value* value = state->graph->addInput(names[i]);
        value->setType(c10::TensorType::get());
        state->setValue(*inputs[i], value);
      }
    } catch (...) {
      tracer::abandon();
      throw;
    }
  });
}

// Ends a recording; several outputs are a tuple.
int podium_export_end(void* self, size_t n, at::Tensor* const* outputs) {
  return guarded([&] {
    auto* made = static_cast<Export*>(self);
    const std::shared_ptr<tracer::TracingState> state = tracer::getTracingState();
    TORCH_CHECK(state != nullptr, "no pass is being recorded");
    std::vector<jit::Value*> values;
    try {
      for (size_t i = 0; i < n; ++i) values.push_back(state->getOutput(*outputs[i], i));
    } catch (...) {
      tracer::abandon();
      throw;
    }
    tracer::setTracingState(nullptr);
    jit::Graph& graph = *state->graph;
    graph.registerOutput(n == 1 ? values[0] : graph.insertNode(graph.createTuple(values))->output());
    jit::NormalizeOps(state->graph);
    made->recordings.push_back(state->graph);
  });
}

// Forgets a recording that failed.
void podium_export_abandon(void) { tracer::abandon(); }

// Makes a method of all recordings since the last one. Of each of `symbols` free sizes it is said which input's which
// dimension it is, and what it was in each recording (`sizes`, recordings x symbols).
int podium_export_method(void* self, const char* name, size_t symbols, const int64_t* inputs, const int64_t* dims,
                         size_t recordings, const int64_t* sizes) {
  return guarded([&] {
    auto* made = static_cast<Export*>(self);
    auto graphs = std::move(made->recordings);
    made->recordings.clear();
    TORCH_CHECK(graphs.size() == recordings && recordings >= size_t{1} << symbols, "too few recordings");
    std::vector<Numbers> all;
    for (size_t r = 0; r < recordings; ++r) all.emplace_back(sizes + r * symbols, sizes + (r + 1) * symbols);
    // Unused parameters have no place in the comparison.
    for (auto& graph : graphs) jit::EliminateDeadCode(graph);
    auto graph = Union(std::move(graphs), std::move(all), Numbers(inputs, inputs + symbols), Numbers(dims, dims + symbols)).run();
    jit::EraseShapeInformation(graph);
    jit::EliminateDeadCode(graph);
    jit::EliminateCommonSubexpression(graph);
    jit::ConstantPooling(graph);
    graph->lint();
    auto function = made->module._ivalue()->compilation_unit()->create_function(
        c10::QualifiedName(*made->module.type()->name(), name), graph);
    made->module.type()->addMethod(function);
  });
}

// A text that travels with the module: a file of the archive and, without the ending, an attribute.
int podium_export_text(void* self, const char* file, const char* text) {
  return guarded([&] {
    auto* made = static_cast<Export*>(self);
    made->files[file] = text;
    const std::string attribute = plain(std::string(file).substr(0, std::string(file).find('.')));
    made->module.register_attribute(attribute, c10::StringType::get(), c10::IValue(std::string(text)));
  });
}

// The bytes of the file. The tensors are copies that ask for no gradient.
int podium_export_bytes(void* self, const uint8_t** bytes, size_t* n) {
  return guarded([&] {
    auto* made = static_cast<Export*>(self);
    for (const std::vector<std::string>& path : made->paths) {
      jit::Module at = owner(made->module, path);
      at.setattr(path.back(), at.attr(path.back()).toTensor().detach().cpu().contiguous().clone());
    }
    std::ostringstream stream;
    jit::ExtraFilesMap files(made->files.begin(), made->files.end());
    made->module.save(stream, files);
    made->bytes = stream.str();
    *bytes = reinterpret_cast<const uint8_t*>(made->bytes.data());
    *n = made->bytes.size();
  });
}

// The same numbers as a tensor that no recording knows, hence a constant of the pass. Tensors that are made of numbers outside of
// libtorch are recorded as the zeros that they were before they were filled.
int podium_export_constant(const at::Tensor* tensor, at::Tensor** out) {
  return guarded([&] {
    *out = new at::Tensor(tensor->unsafeGetTensorImpl()->shallow_copy_and_detach(c10::VariableVersion(0), true));
  });
}

int podium_recording(void) { return tracer::isTracing() ? 1 : 0; }

// What a function in TorchScript's language gives; while a pass is recorded the function becomes part of it, with its loops.
int podium_script(const char* source, const char* name, size_t n, at::Tensor* const* inputs, at::Tensor** out) {
  return guarded([&] {
    static std::mutex one_at_a_time;
    static std::map<std::string, std::shared_ptr<jit::CompilationUnit>> known;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    std::shared_ptr<jit::CompilationUnit>& unit = known[source];
    std::vector<at::Tensor> given = podium::list(inputs, n);
    auto state = tracer::getTracingState();
    if (state) tracer::setTracingState(nullptr);
    std::shared_ptr<jit::Graph> body;
    at::Tensor result;
    try {
      if (unit == nullptr) unit = jit::compile(source);
      jit::Function& function = unit->get_function(name);
      body = jit::toGraphFunction(function).graph()->copy();
      jit::Inline(*body);
      result = function(std::vector<c10::IValue>(given.begin(), given.end())).toTensor();
    } catch (...) {
      if (state) tracer::setTracingState(state);
      throw;
    }
    if (state) {
      tracer::setTracingState(state);
      std::vector<jit::Value*> values;
      for (const at::Tensor& tensor : given) values.push_back(tracer::getValueTrace(tensor));
      tracer::setValueTrace(result, jit::insertGraph(*state->graph, *body, values).at(0));
    }
    *out = new at::Tensor(result);
  });
}

}  // extern "C"
