#include "lib/Import/ONNX/Builder.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Import/ONNX/NodeBuilder.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include <set>

using namespace mlir;

namespace nibble::onnx_import {

std::string dimensionSymbol(const onnx::ValueInfoProto &input, int axis) {
  const onnx::TensorShapeProto::Dimension &dim = input.type().tensor_type().shape().dim(axis);
  if (dim.has_dim_value())
    return {};
  return dim.dim_param().empty() ? input.name() + "." + std::to_string(axis) : dim.dim_param();
}

/// Constant nodes keep their values in an attribute of one of five kinds.
static void constantNode(NodeBuilder &b) {
  if (b.has("value_float"))
    return b.setOutput(0, b.constant(Tensor::fromValues<float>({}, {b.number("value_float", 0)})));
  if (b.has("value_int"))
    return b.setOutput(0, b.constant(Tensor::fromValues<int64_t>({}, {b.integer("value_int", 0)})));
  if (b.has("value_floats")) {
    SmallVector<float> values = b.numbers("value_floats");
    return b.setOutput(0, b.constant(Tensor::fromValues<float>({int64_t(values.size())}, values)));
  }
  if (b.has("value_ints")) {
    SmallVector<int64_t> values = b.integers("value_ints");
    return b.setOutput(0, b.constant(Tensor::fromValues<int64_t>({int64_t(values.size())}, values)));
  }
  if (!b.has("value"))
    return b.unsupported("only tensors and numbers can be constants");
  b.setOutput(0, b.constant(*b.find("value")));
}

static void constantOfShape(NodeBuilder &b) {
  Tensor value = Tensor::fromValues<float>({1}, {0.0f});
  if (const onnx::AttributeProto *attribute = b.find("value")) {
    std::optional<Tensor> given = b.read(*attribute);
    if (!given)
      return;
    if (given->elementCount() != 1)
      return b.invalid("attribute 'value' must have one element, but has " + llvm::Twine(given->elementCount()));
    value = given->reshaped({1});
  }
  llvm::Expected<Attribute> fill = nn::makeConstantAttribute(b.context(), value);
  if (!fill)
    return b.fail(fill.takeError());
  b.setOutput(0, b.make<nn::ConstantOfShapeOp>(b.operand(0), cast<ElementsAttr>(*fill)));
}

const ConversionTable &conversionTable() {
  static const ConversionTable table = [] {
    ConversionTable result;
    addElementwiseConversions(result);
    addMovementConversions(result);
    addComputeConversions(result);
    addRuntimeConversions(result);
    result["Constant"] = constantNode;
    result["ConstantOfShape"] = constantOfShape;
    return result;
  }();
  return table;
}

namespace {

class Builder {
public:
  Builder(const CheckedModel &model, MLIRContext &context, const ImportOptions &options)
      : model(model), options(options), builder(&context), module(ModuleOp::create(UnknownLoc::get(&context))) {}

  llvm::Expected<OwningOpRef<ModuleOp>> run();

private:
  llvm::Error checkBindings();
  llvm::Error addInputs();
  llvm::Error addNode(const onnx::NodeProto &node);
  llvm::Error addResults();
  /// The value of tensor `name`; an initializer becomes a constant where it is first used.
  llvm::Expected<Value> lookup(llvm::StringRef name);
  llvm::Error checkElementType(llvm::StringRef tensor, int32_t dataType);

  const CheckedModel &model;
  const ImportOptions &options;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  llvm::StringMap<Value> values;
  llvm::StringSet<> used;
};

llvm::Error Builder::checkBindings() {
  std::set<std::string> known;
  for (const onnx::ValueInfoProto &input : model.graph().input())
    for (int axis = 0; axis < input.type().tensor_type().shape().dim_size(); ++axis)
      if (std::string symbol = dimensionSymbol(input, axis); !symbol.empty())
        known.insert(symbol);
  for (const auto &[name, value] : options.bindings) {
    if (!known.count(name))
      return makeError(ErrorKind::Usage, "no input of '" + model.path() + "' has a dimension named '" + name + "'",
                       {known.empty() ? "all dimensions of its inputs have values"
                                      : "its symbolic dimensions are " + llvm::join(known, ", ")});
    if (value < 0 || value > INT32_MAX)
      return makeError(ErrorKind::Usage, "dimension '" + name + "' must be bound to a number from 0 to " +
                                             llvm::Twine(INT32_MAX) + ", but is bound to " + llvm::Twine(value));
  }
  return llvm::Error::success();
}

/// Half floats have no kernels; converting them silently would change what the report compares with.
llvm::Error Builder::checkElementType(llvm::StringRef tensor, int32_t dataType) {
  std::optional<ElementType> type = toElementType(dataType);
  if (type && *type != ElementType::F16 && *type != ElementType::BF16)
    return llvm::Error::success();
  bool isHalf = type.has_value();
  return makeError(ErrorKind::Unsupported,
                   "'" + model.path() + "': tensor '" + tensor + "' is of type " + dataTypeName(dataType) +
                       ", which is not supported",
                   {isHalf ? "export the model in float32" : "remove the part of the model that uses this type"});
}

llvm::Error Builder::addInputs() {
  SmallVector<Type> types;
  SmallVector<const onnx::ValueInfoProto *> inputs;
  for (const onnx::ValueInfoProto &input : model.graph().input()) {
    if (model.initializer(input.name()))
      continue;
    int32_t dataType = input.type().tensor_type().elem_type();
    if (llvm::Error error = checkElementType(input.name(), dataType))
      return error;
    SmallVector<int64_t> shape;
    int64_t elements = 1;
    for (int axis = 0; axis < input.type().tensor_type().shape().dim_size(); ++axis) {
      auto bound = options.bindings.find(dimensionSymbol(input, axis));
      const onnx::TensorShapeProto::Dimension &dim = input.type().tensor_type().shape().dim(axis);
      shape.push_back(dim.has_dim_value()               ? dim.dim_value()
                      : bound != options.bindings.end() ? bound->second
                                                        : ShapedType::kDynamic);
      if (!ShapedType::isDynamic(shape.back()) &&
          (__builtin_mul_overflow(elements, std::max<int64_t>(shape.back(), 1), &elements) ||
           elements > limits::elements))
        return makeError(ErrorKind::Limit, "input '" + input.name() + "' has more than " +
                                               llvm::Twine(limits::elements) + " elements");
    }
    types.push_back(RankedTensorType::get(shape, nn::toMLIRType(builder.getContext(), *toElementType(dataType))));
    inputs.push_back(&input);
  }
  builder.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(builder, builder.getUnknownLoc(), "main", builder.getFunctionType(types, {}));
  Block *body = function.addEntryBlock();
  for (auto [index, input] : llvm::enumerate(inputs)) {
    values[input->name()] = body->getArgument(index);
    function.setArgAttr(index, nn::nameAttribute, builder.getStringAttr(input->name()));
    SmallVector<Attribute> symbols;
    for (int axis = 0; axis < input->type().tensor_type().shape().dim_size(); ++axis)
      symbols.push_back(builder.getStringAttr(dimensionSymbol(*input, axis)));
    if (llvm::any_of(symbols, [](Attribute symbol) { return !cast<StringAttr>(symbol).empty(); }))
      function.setArgAttr(index, nn::symbolsAttribute, builder.getArrayAttr(symbols));
  }
  builder.setInsertionPointToStart(body);
  return llvm::Error::success();
}

llvm::Expected<Value> Builder::lookup(llvm::StringRef name) {
  if (auto known = values.find(name); known != values.end())
    return known->second;
  const onnx::TensorProto *initializer = model.initializer(name);
  // The Checker has seen to it that any other name was made by an earlier node.
  const CheckedTensor &tensor = model.tensor(*initializer);
  if (llvm::Error error = checkElementType(name, tensor.dataType))
    return error;
  Location location = nn::makeLocation(builder.getContext(), name, {name});
  llvm::Expected<Value> value = makeConstant(builder, location, tensor, ("'" + model.path() + "': " + name).str());
  if (value)
    values[name] = *value;
  return value;
}

llvm::Error Builder::addNode(const onnx::NodeProto &node) {
  std::string key = node.domain().empty() ? node.op_type() : node.domain() + "::" + node.op_type();
  auto conversion = conversionTable().find(key);
  if (conversion == conversionTable().end()) {
    bool isControlFlow = llvm::is_contained({"If", "Loop", "Scan"}, key);
    return makeError(ErrorKind::Unsupported,
                     "'" + model.path() + "': " + describe(node) + ": the operator is not supported",
                     {isControlFlow ? "export the model without control flow, for example with fixed shapes"
                                    : "docs/spec/import.md lists the operators that can be imported"});
  }
  SmallVector<Value> operands;
  for (const std::string &input : node.input()) {
    if (input.empty()) {
      operands.push_back({});
      continue;
    }
    llvm::Expected<Value> value = lookup(input);
    if (!value)
      return value.takeError();
    operands.push_back(*value);
  }
  SmallVector<bool> usedOutputs;
  for (const std::string &output : node.output()) {
    usedOutputs.push_back(!output.empty() && used.contains(output));
    if (usedOutputs.back() && model.dataType(output))
      if (llvm::Error error = checkElementType(output, model.dataType(output)))
        return error;
  }
  NodeBuilder nodeBuilder(builder, *module, model, node, std::move(operands), usedOutputs);
  conversion->second(nodeBuilder);
  if (nodeBuilder.failed())
    return nodeBuilder.takeError();
  for (int i = 0; i < node.output_size(); ++i) {
    if (!usedOutputs[i])
      continue;
    Value value = nodeBuilder.output(i);
    if (!value)
      return makeError(ErrorKind::Unsupported, "'" + model.path() + "': " + describe(node) + ": output '" +
                                                   node.output(i) + "' is used, but not supported");
    values[node.output(i)] = value;
  }
  return llvm::Error::success();
}

llvm::Error Builder::addResults() {
  SmallVector<Value> results;
  for (const onnx::ValueInfoProto &output : model.graph().output()) {
    llvm::Expected<Value> value = lookup(output.name());
    if (!value)
      return value.takeError();
    results.push_back(*value);
  }
  func::ReturnOp::create(builder, builder.getUnknownLoc(), results);
  function.setType(builder.getFunctionType(function.getArgumentTypes(), ValueRange(results).getTypes()));
  for (auto [index, output] : llvm::enumerate(model.graph().output()))
    function.setResultAttr(index, nn::nameAttribute, builder.getStringAttr(output.name()));
  return llvm::Error::success();
}

llvm::Expected<OwningOpRef<ModuleOp>> Builder::run() {
  if (llvm::Error error = checkBindings())
    return error;
  for (const onnx::NodeProto &node : model.graph().node())
    for (const std::string &input : node.input())
      used.insert(input);
  for (const onnx::ValueInfoProto &output : model.graph().output())
    used.insert(output.name());
  if (llvm::Error error = addInputs())
    return error;
  for (const onnx::NodeProto &node : model.graph().node())
    if (llvm::Error error = addNode(node))
      return error;
  if (llvm::Error error = addResults())
    return error;
  std::string reason;
  ScopedDiagnosticHandler handler(builder.getContext(), [&](Diagnostic &diagnostic) {
    if (reason.empty())
      reason = diagnostic.str();
    return success();
  });
  if (failed(verify(*module)))
    return makeError(ErrorKind::Internal, "'" + model.path() + "': the imported program is not valid: " + reason);
  return std::move(module);
}

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> buildModule(const CheckedModel &model, MLIRContext &context,
                                                  const ImportOptions &options) {
  return Builder(model, context, options).run();
}

} // namespace nibble::onnx_import
