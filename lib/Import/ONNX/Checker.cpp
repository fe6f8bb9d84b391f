#include "lib/Import/ONNX/Checker.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <onnx/common/status.h>
#include <onnx/defs/schema.h>

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;
using onnx::OpSchema;
using onnx::TensorProto;

namespace nibble::onnx_import {

std::string describe(const NodeProto &node) {
  std::string name = node.name();
  if (name.empty())
    for (const std::string &output : node.output())
      if (!output.empty()) {
        name = output;
        break;
      }
  return "node '" + name + "' (" + (node.domain().empty() ? "" : node.domain() + "::") + node.op_type() + ")";
}

/// Walks the model once. Recursion into subgraphs is bounded: the Reader counted their depth.
class Checker {
public:
  explicit Checker(CheckedModel &result) : result(result), file(*result.file), path(file.path()) {}
  llvm::Error run();

private:
  /// Names of one graph and where to look further.
  struct Scope {
    const Scope *outer = nullptr;
    llvm::StringMap<int32_t> types;
    /// Outputs of all nodes, to tell a wrong order from a missing tensor.
    llvm::StringSet<> madeLater;
    llvm::StringMap<const TensorProto *> constants;

    const Scope *find(llvm::StringRef name) const {
      for (const Scope *scope = this; scope; scope = scope->outer)
        if (scope->types.contains(name))
          return scope;
      return nullptr;
    }
  };

  llvm::Error checkVersions();
  llvm::Error checkGraph(const GraphProto &graph, Scope &scope, unsigned depth);
  llvm::Error checkInput(const onnx::ValueInfoProto &input, Scope &scope, bool isMainGraph);
  llvm::Error checkOutput(const onnx::ValueInfoProto &output, Scope &scope, bool isMainGraph);
  llvm::Error checkNode(const NodeProto &node, Scope &scope, unsigned depth);
  llvm::Error checkAttribute(const NodeProto &node, const AttributeProto &attribute, Scope &scope, unsigned depth);
  llvm::Error checkTypes(const NodeProto &node, const OpSchema &schema, Scope &scope);
  llvm::Error checkScales(const NodeProto &node, const Scope &scope);
  llvm::Error addTensor(const TensorProto &tensor, const llvm::Twine &what);
  llvm::Error define(llvm::StringRef name, int32_t type, Scope &scope, const llvm::Twine &what);
  llvm::Error fail(const llvm::Twine &what, ErrorKind kind = ErrorKind::BadInput, std::vector<std::string> notes = {}) {
    return makeError(kind, "'" + path + "': " + what, std::move(notes));
  }

  CheckedModel &result;
  ModelFile &file;
  std::string path;
};

llvm::Error Checker::checkVersions() {
  onnx::ModelProto &model = file.model;
  if (!model.has_graph())
    return fail("the model has no graph");
  if (!model.has_ir_version() || model.ir_version() < 1)
    return fail("ir_version must be between 3 and 13, but is " +
                (model.has_ir_version() ? std::to_string(model.ir_version()) : std::string("missing")));
  if (model.ir_version() < 3 || model.ir_version() > 13)
    return fail("ir_version must be between 3 and 13, but is " + llvm::Twine(model.ir_version()),
                ErrorKind::Unsupported, {"export the model again, or convert it with onnx.version_converter"});
  if (model.opset_import_size() == 0)
    return fail("the model imports no operator set (opset_import is missing)");
  for (const onnx::OperatorSetIdProto &opset : model.opset_import()) {
    std::string domain = opset.domain() == "ai.onnx" ? "" : opset.domain();
    std::string shown = domain.empty() ? "ai.onnx" : domain;
    if (!opset.has_version() || opset.version() < 1)
      return fail("operator set '" + shown + "' has no positive version");
    if (!result.versions.try_emplace(domain, opset.version()).second)
      return fail("operator set '" + shown + "' is imported twice");
    if (domain == "com.microsoft" && opset.version() != 1)
      return fail("operator set com.microsoft must be 1, but is " + llvm::Twine(opset.version()),
                  ErrorKind::Unsupported);
    if (domain.empty() && (opset.version() < 11 || opset.version() > 23))
      return fail("operator set ai.onnx must be between 11 and 23, but is " + llvm::Twine(opset.version()),
                  ErrorKind::Unsupported, {"export the model again, or convert it with onnx.version_converter"});
  }
  return llvm::Error::success();
}

llvm::Error Checker::addTensor(const TensorProto &tensor, const llvm::Twine &what) {
  llvm::Expected<CheckedTensor> checked = checkTensor(file, tensor, what.str());
  if (!checked)
    return checked.takeError();
  result.tensors.try_emplace(&tensor, std::move(*checked));
  return llvm::Error::success();
}

llvm::Error Checker::define(llvm::StringRef name, int32_t type, Scope &scope, const llvm::Twine &what) {
  if (const Scope *other = scope.find(name))
    return fail(what + ": the name '" + name + "' is used twice" +
                (other == &scope ? "" : ", here and in an outer graph"));
  scope.types[name] = type;
  return llvm::Error::success();
}

/// The element type of a value, or 0 where it is not stated.
static int32_t declaredType(const onnx::ValueInfoProto &value) { return value.type().tensor_type().elem_type(); }

llvm::Error Checker::checkInput(const onnx::ValueInfoProto &input, Scope &scope, bool isMainGraph) {
  std::string what = "input '" + input.name() + "'";
  if (input.name().empty())
    return fail("an input of the graph has no name");
  if (isMainGraph) {
    if (!input.has_type() || input.type().value_case() == onnx::TypeProto::VALUE_NOT_SET)
      return fail(what + " has no type");
    if (!input.type().has_tensor_type())
      return fail(what + " is not a tensor", ErrorKind::Unsupported, {"only dense tensors can be imported"});
    if (!TensorProto::DataType_IsValid(declaredType(input)) || declaredType(input) == TensorProto::UNDEFINED)
      return fail(what + " has data type " + llvm::Twine(declaredType(input)) + ", which ONNX does not define");
    if (!input.type().tensor_type().has_shape())
      return fail(what + " has no shape, so its rank is not known", ErrorKind::Unsupported,
                  {"export the model with the input's rank; dimensions may be symbolic"});
  }
  const onnx::TensorShapeProto &shape = input.type().tensor_type().shape();
  if (shape.dim_size() > limits::rank)
    return fail(what + " has rank " + llvm::Twine(shape.dim_size()) + ", over the limit of " +
                llvm::Twine(limits::rank), ErrorKind::Limit);
  int64_t elements = 1;
  for (const onnx::TensorShapeProto::Dimension &dim : shape.dim()) {
    if (!dim.has_dim_value())
      continue;
    if (dim.dim_value() < 0)
      return fail(what + ": dimension " + llvm::Twine(dim.dim_value()) + " is negative");
    if (__builtin_mul_overflow(elements, std::max<int64_t>(dim.dim_value(), 1), &elements) ||
        elements > limits::elements)
      return fail(what + " has more than " + llvm::Twine(limits::elements) + " elements", ErrorKind::Limit);
  }
  // An initializer with the input's name is its value, in files of any version.
  if (auto it = scope.constants.find(input.name()); it != scope.constants.end()) {
    if (declaredType(input) != it->second->data_type())
      return fail(what + " is declared as " + dataTypeName(declaredType(input)) + ", but its initializer is " +
                  dataTypeName(it->second->data_type()));
    return llvm::Error::success();
  }
  return define(input.name(), declaredType(input), scope, what);
}

llvm::Error Checker::checkOutput(const onnx::ValueInfoProto &output, Scope &scope, bool isMainGraph) {
  std::string what = "output '" + output.name() + "'";
  const Scope *found = output.name().empty() ? nullptr : scope.find(output.name());
  if (!found)
    return fail(what + " of the graph is not made by any node");
  if (isMainGraph && output.has_type() && !output.type().has_tensor_type())
    return fail(what + " is not a tensor", ErrorKind::Unsupported);
  int32_t made = found->types.lookup(output.name());
  if (made && declaredType(output) && made != declaredType(output))
    return fail(what + " is declared as " + dataTypeName(declaredType(output)) + ", but is " + dataTypeName(made));
  return llvm::Error::success();
}

llvm::Error Checker::checkAttribute(const NodeProto &node, const AttributeProto &attribute, Scope &scope,
                                    unsigned depth) {
  std::string what = describe(node) + ": attribute '" + attribute.name() + "'";
  if (attribute.name().empty())
    return fail(describe(node) + " has an attribute without a name");
  if (!attribute.ref_attr_name().empty())
    return fail(what + " refers to a function's attribute, but is not inside a function");
  struct Field {
    AttributeProto::AttributeType type;
    bool given;
  };
  const Field fields[] = {{AttributeProto::FLOAT, attribute.has_f()},
                          {AttributeProto::INT, attribute.has_i()},
                          {AttributeProto::STRING, attribute.has_s()},
                          {AttributeProto::TENSOR, attribute.has_t()},
                          {AttributeProto::GRAPH, attribute.has_g()},
                          {AttributeProto::SPARSE_TENSOR, attribute.has_sparse_tensor()},
                          {AttributeProto::TYPE_PROTO, attribute.has_tp()},
                          {AttributeProto::FLOATS, attribute.floats_size() > 0},
                          {AttributeProto::INTS, attribute.ints_size() > 0},
                          {AttributeProto::STRINGS, attribute.strings_size() > 0},
                          {AttributeProto::TENSORS, attribute.tensors_size() > 0},
                          {AttributeProto::GRAPHS, attribute.graphs_size() > 0},
                          {AttributeProto::SPARSE_TENSORS, attribute.sparse_tensors_size() > 0},
                          {AttributeProto::TYPE_PROTOS, attribute.type_protos_size() > 0}};
  for (const Field &field : fields) {
    if (field.given && field.type != attribute.type())
      return fail(what + " has type " + AttributeProto::AttributeType_Name(attribute.type()) + ", but holds " +
                  AttributeProto::AttributeType_Name(field.type));
    // Scalars of value zero and empty lists may be left out by writers; messages may not.
    bool isMessage = field.type == AttributeProto::TENSOR || field.type == AttributeProto::GRAPH;
    if (isMessage && field.type == attribute.type() && !field.given)
      return fail(what + " has type " + AttributeProto::AttributeType_Name(field.type) + ", but holds nothing");
  }
  if (attribute.type() == AttributeProto::UNDEFINED)
    return fail(what + " has no type");
  if (attribute.has_t())
    if (llvm::Error error = addTensor(attribute.t(), what))
      return error;
  for (const TensorProto &tensor : attribute.tensors())
    if (llvm::Error error = addTensor(tensor, what))
      return error;
  auto checkSubgraph = [&](const GraphProto &graph) {
    Scope inner;
    inner.outer = &scope;
    return checkGraph(graph, inner, depth + 1);
  };
  if (attribute.has_g())
    if (llvm::Error error = checkSubgraph(attribute.g()))
      return error;
  for (const GraphProto &graph : attribute.graphs())
    if (llvm::Error error = checkSubgraph(graph))
      return error;
  return llvm::Error::success();
}

/// The result type that an attribute or operand decides, where the schema leaves it open; 0 if none does.
static int32_t typeFromAttributes(const NodeProto &node, llvm::ArrayRef<int32_t> inputTypes) {
  auto attribute = [&](llvm::StringRef name) -> const AttributeProto * {
    auto it = llvm::find_if(node.attribute(), [&](const AttributeProto &a) { return a.name() == name; });
    return it == node.attribute().end() ? nullptr : &*it;
  };
  const std::string &op = node.op_type();
  if (op == "Cast")
    return attribute("to") ? static_cast<int32_t>(attribute("to")->i()) : 0;
  if (op == "CastLike")
    return inputTypes.size() > 1 ? inputTypes[1] : 0;
  if (op == "ConstantOfShape")
    return attribute("value") ? attribute("value")->t().data_type() : TensorProto::FLOAT;
  if (op == "QuantizeLinear") {
    if (inputTypes.size() > 2 && inputTypes[2])
      return inputTypes[2];
    const AttributeProto *type = attribute("output_dtype");
    return type && type->i() ? static_cast<int32_t>(type->i()) : int32_t(TensorProto::UINT8);
  }
  if (op == "DequantizeLinear") {
    const AttributeProto *type = attribute("output_dtype");
    return type && type->i() ? static_cast<int32_t>(type->i()) : inputTypes.size() > 1 ? inputTypes[1] : 0;
  }
  if (op == "Constant") {
    if (const AttributeProto *value = attribute("value"))
      return value->t().data_type();
    if (attribute("value_float") || attribute("value_floats"))
      return TensorProto::FLOAT;
    if (attribute("value_int") || attribute("value_ints"))
      return TensorProto::INT64;
  }
  if (const AttributeProto *type = attribute("dtype"))
    return static_cast<int32_t>(type->i());
  return 0;
}

static onnx::DataType tensorTypeOf(int32_t dataType) {
  onnx::TypeProto type;
  type.mutable_tensor_type()->set_elem_type(dataType);
  return onnx::Utils::DataTypeUtils::ToType(type);
}

llvm::Error Checker::checkTypes(const NodeProto &node, const OpSchema &schema, Scope &scope) {
  std::map<std::string, int32_t> bound;
  llvm::SmallVector<int32_t> inputTypes;
  for (int i = 0; i < node.input_size(); ++i) {
    const std::string &name = node.input(i);
    const Scope *found = name.empty() ? nullptr : scope.find(name);
    int32_t type = found ? found->types.lookup(name) : 0;
    inputTypes.push_back(type);
    const OpSchema::FormalParameter &formal = schema.inputs()[std::min<size_t>(i, schema.inputs().size() - 1)];
    if (name.empty() && formal.GetOption() != OpSchema::Optional)
      return fail(describe(node) + ": required input " + llvm::Twine(i) + " (" + formal.GetName() + ") is missing");
    if (!type)
      continue;
    if (!formal.GetTypes().empty() && !formal.GetTypes().count(tensorTypeOf(type)))
      return fail(describe(node) + ": input '" + name + "' (" + formal.GetName() + ") cannot be of type " +
                  dataTypeName(type));
    if (!formal.GetIsHomogeneous())
      continue;
    int32_t &wanted = bound[formal.GetTypeStr()];
    if (wanted && wanted != type)
      return fail(describe(node) + ": input '" + name + "' (" + formal.GetName() + ") must be of type " +
                  dataTypeName(wanted) + " as the inputs before it, but is " + dataTypeName(type));
    wanted = type;
  }
  int32_t decided = typeFromAttributes(node, inputTypes);
  if (decided && !TensorProto::DataType_IsValid(decided))
    return fail(describe(node) + ": data type " + llvm::Twine(decided) + " is not one that ONNX defines");
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    const OpSchema::FormalParameter &formal = schema.outputs()[std::min<size_t>(i, schema.outputs().size() - 1)];
    int32_t type = decided;
    if (auto it = bound.find(formal.GetTypeStr()); !type && it != bound.end())
      type = it->second;
    if (!type && formal.GetTypes().size() == 1) {
      onnx::TypeProto only = onnx::Utils::DataTypeUtils::ToTypeProto(*formal.GetTypes().begin());
      type = only.tensor_type().elem_type();
    }
    if (decided && !formal.GetTypes().empty() && !formal.GetTypes().count(tensorTypeOf(decided)))
      return fail(describe(node) + ": the result cannot be of type " + dataTypeName(decided));
    scope.types[node.output(i)] = type;
  }
  return llvm::Error::success();
}

/// Constant scales of quantization must be finite and positive: they are divisors.
llvm::Error Checker::checkScales(const NodeProto &node, const Scope &scope) {
  int index = node.op_type() == "MatMulNBits" ? 2 : 1;
  if (!llvm::is_contained({"QuantizeLinear", "DequantizeLinear", "MatMulNBits"}, node.op_type()) ||
      index >= node.input_size())
    return llvm::Error::success();
  const std::string &name = node.input(index);
  const Scope *found = scope.find(name);
  const TensorProto *constant = found ? found->constants.lookup(name) : nullptr;
  if (!constant || constant->data_type() != TensorProto::FLOAT)
    return llvm::Error::success();
  llvm::Expected<Tensor> scales = readTensor(result.tensors.at(constant), name);
  if (!scales)
    return scales.takeError();
  for (auto [i, scale] : llvm::enumerate(scales->values<float>())) {
    // MatMulNBits only multiplies by its scales; writers give all-zero blocks the scale 0 and others a sign.
    bool isLegal = node.op_type() == "MatMulNBits" ? std::isfinite(scale) : std::isnormal(scale) && scale > 0;
    if (!isLegal)
      return fail(describe(node) + ": scale '" + name + "' must be finite and positive, but element " +
                  llvm::Twine(i) + " is " + std::to_string(scale));
  }
  return llvm::Error::success();
}

llvm::Error Checker::checkNode(const NodeProto &node, Scope &scope, unsigned depth) {
  if (node.op_type().empty())
    return fail(describe(node) + " has no op_type");
  auto version = result.versions.find(node.domain());
  if (version == result.versions.end())
    return fail(describe(node) + " is of domain '" + (node.domain().empty() ? "ai.onnx" : node.domain()) +
                "', which the model does not import");
  for (const std::string &input : node.input()) {
    if (input.empty() || scope.find(input))
      continue;
    const Scope *later = &scope;
    while (later && !later->madeLater.contains(input))
      later = later->outer;
    if (later)
      return fail(describe(node) + " uses tensor '" + input +
                  "' before it is made: the graph has a cycle or is not sorted");
    return fail(describe(node) + " uses tensor '" + input + "', which nothing makes");
  }
  llvm::StringSet<> attributes;
  for (const AttributeProto &attribute : node.attribute()) {
    if (!attributes.insert(attribute.name()).second)
      return fail(describe(node) + ": attribute '" + attribute.name() + "' is given twice");
    if (llvm::Error error = checkAttribute(node, attribute, scope, depth))
      return error;
  }
  for (const std::string &output : node.output())
    if (!output.empty())
      if (llvm::Error error = define(output, 0, scope, describe(node)))
        return error;

  // SimplifiedLayerNormalization is not part of ONNX, but ONNX Runtime writes it into ONNX's domain.
  const OpSchema *schema =
      onnx::OpSchemaRegistry::Schema(node.op_type(), static_cast<int>(version->second), node.domain());
  if (!schema) {
    // Operators without any schema are left to the Builder, which converts none of them.
    const OpSchema *later = onnx::OpSchemaRegistry::Schema(node.op_type(), node.domain());
    return later ? fail(describe(node) + ": the operator exists since version " + llvm::Twine(later->SinceVersion()) +
                        " of its operator set or before, but not in version " + llvm::Twine(version->second))
                 : llvm::Error::success();
  }
  if (schema->Deprecated())
    return fail(describe(node) + " is deprecated since version " + llvm::Twine(schema->SinceVersion()) +
                " of its operator set, but the model imports version " + llvm::Twine(version->second));
  try {
    schema->Verify(node);
  } catch (const std::exception &exception) {
    llvm::StringRef reason = llvm::StringRef(exception.what()).split('\n').first.trim();
    return fail(describe(node) + ": " + reason);
  }
  if (std::string wrong = checkAttributeRanges(node); !wrong.empty())
    return fail(describe(node) + ": " + wrong);
  if ((node.input_size() && schema->inputs().empty()) || (node.output_size() && schema->outputs().empty()))
    return fail(describe(node) + " has inputs or outputs, but takes none");
  if (llvm::Error error = checkTypes(node, *schema, scope))
    return error;
  if (node.op_type() == "Constant" && node.output_size() == 1)
    for (const AttributeProto &attribute : node.attribute())
      if (attribute.name() == "value" && attribute.has_t())
        scope.constants[node.output(0)] = &attribute.t();
  return checkScales(node, scope);
}

llvm::Error Checker::checkGraph(const GraphProto &graph, Scope &scope, unsigned depth) {
  bool isMainGraph = depth == 0;
  if (graph.sparse_initializer_size())
    return fail("the graph has sparse initializers", ErrorKind::Unsupported, {"store them as dense tensors"});
  for (const TensorProto &tensor : graph.initializer()) {
    if (tensor.name().empty())
      return fail("an initializer has no name");
    if (llvm::Error error = addTensor(tensor, "initializer '" + tensor.name() + "'"))
      return error;
    if (llvm::Error error = define(tensor.name(), tensor.data_type(), scope, "initializer '" + tensor.name() + "'"))
      return error;
    scope.constants[tensor.name()] = &tensor;
  }
  llvm::StringSet<> inputs;
  for (const onnx::ValueInfoProto &input : graph.input()) {
    if (!inputs.insert(input.name()).second)
      return fail("input '" + input.name() + "': the name '" + input.name() + "' is used twice");
    if (llvm::Error error = checkInput(input, scope, isMainGraph))
      return error;
  }
  for (const NodeProto &node : graph.node())
    for (const std::string &output : node.output())
      scope.madeLater.insert(output);
  for (const NodeProto &node : graph.node())
    if (llvm::Error error = checkNode(node, scope, depth))
      return error;
  llvm::StringSet<> outputs;
  for (const onnx::ValueInfoProto &output : graph.output()) {
    if (!outputs.insert(output.name()).second)
      return fail("output '" + output.name() + "' is listed twice");
    if (llvm::Error error = checkOutput(output, scope, isMainGraph))
      return error;
  }
  if (isMainGraph && graph.output_size() == 0)
    return fail("the graph has no outputs");
  return llvm::Error::success();
}

/// Gives ONNX's own domain one spelling; recursion is bounded by the Reader.
static void normalizeDomains(GraphProto &graph) {
  for (NodeProto &node : *graph.mutable_node()) {
    if (node.domain() == "ai.onnx")
      node.clear_domain();
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        normalizeDomains(*attribute.mutable_g());
      for (GraphProto &inner : *attribute.mutable_graphs())
        normalizeDomains(inner);
    }
  }
}

llvm::Error Checker::run() {
  if (llvm::Error error = checkVersions())
    return error;
  if (llvm::Error error = inlineFunctions(file.model, path))
    return error;
  normalizeDomains(*file.model.mutable_graph());
  registerRuntimeSchemas();
  Scope scope;
  if (llvm::Error error = checkGraph(file.model.graph(), scope, 0))
    return error;
  result.types = std::move(scope.types);
  for (const TensorProto &tensor : file.model.graph().initializer())
    result.initializers[tensor.name()] = &tensor;
  return llvm::Error::success();
}

llvm::Expected<CheckedModel> CheckedModel::check(std::unique_ptr<ModelFile> file) {
  CheckedModel result;
  result.file = std::move(file);
  if (llvm::Error error = Checker(result).run())
    return error;
  return std::move(result);
}

int64_t CheckedModel::opset(llvm::StringRef domain) const {
  auto it = versions.find(domain.str());
  return it == versions.end() ? 0 : it->second;
}

} // namespace nibble::onnx_import
