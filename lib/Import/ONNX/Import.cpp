#include "lib/Import/ONNX/Import.h"
#include "lib/Import/ONNX/Builder.h"
#include "lib/Support/Error.h"

namespace nibble::onnx_import {

llvm::Expected<std::map<std::string, int64_t>> parseBindings(llvm::ArrayRef<std::string> arguments) {
  std::map<std::string, int64_t> bindings;
  for (llvm::StringRef argument : arguments) {
    // Names may contain an equals sign, values may not.
    auto [name, text] = argument.rsplit('=');
    int64_t value;
    if (name.empty() || text.getAsInteger(10, value) || value < 0)
      return makeError(ErrorKind::Usage, "--bind: wanted NAME=VALUE with a value of at least 0, found '" + argument + "'");
    if (!bindings.try_emplace(name.str(), value).second)
      return makeError(ErrorKind::Usage, "--bind gives dimension '" + name + "' twice");
  }
  return bindings;
}

static llvm::Expected<CheckedModel> readAndCheck(llvm::StringRef path) {
  llvm::Expected<std::unique_ptr<ModelFile>> file = ModelFile::open(path);
  if (!file)
    return file.takeError();
  return CheckedModel::check(std::move(*file));
}

llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importModel(llvm::StringRef path, mlir::MLIRContext &context,
                                                              const ImportOptions &options) {
  llvm::Expected<CheckedModel> model = readAndCheck(path);
  if (!model)
    return model.takeError();
  return buildModule(*model, context, options);
}

static GraphValue describeValue(const onnx::ValueInfoProto &value, int32_t knownType) {
  GraphValue result;
  result.name = value.name();
  int32_t declared = value.type().tensor_type().elem_type();
  result.elementType = dataTypeName(declared ? declared : knownType);
  for (int axis = 0; axis < value.type().tensor_type().shape().dim_size(); ++axis) {
    result.symbols.push_back(dimensionSymbol(value, axis));
    bool isSymbolic = !result.symbols.back().empty();
    result.shape.push_back(isSymbolic ? -1 : value.type().tensor_type().shape().dim(axis).dim_value());
  }
  return result;
}

/// Counts nodes by operator; recursion into subgraphs is bounded by the Checker.
static void countOperators(const onnx::GraphProto &graph, std::map<std::string, int64_t> &counts) {
  for (const onnx::NodeProto &node : graph.node()) {
    ++counts[node.domain().empty() ? node.op_type() : node.domain() + "::" + node.op_type()];
    for (const onnx::AttributeProto &attribute : node.attribute()) {
      countOperators(attribute.g(), counts);
      for (const onnx::GraphProto &inner : attribute.graphs())
        countOperators(inner, counts);
    }
  }
}

llvm::Expected<ModelSummary> summarizeModel(llvm::StringRef path) {
  llvm::Expected<CheckedModel> model = readAndCheck(path);
  if (!model)
    return model.takeError();
  ModelSummary summary;
  const onnx::ModelProto &proto = model->model();
  summary.irVersion = proto.ir_version();
  for (const auto &[domain, version] : model->opsets())
    summary.opsets.push_back({domain.empty() ? "ai.onnx" : domain, version});
  summary.producer = proto.producer_name() + (proto.producer_version().empty() ? "" : " " + proto.producer_version());
  std::map<std::string, size_t> dimensionIndex;
  for (const onnx::ValueInfoProto &input : model->graph().input()) {
    if (model->initializer(input.name()))
      continue;
    summary.inputs.push_back(describeValue(input, 0));
    for (auto [axis, symbol] : llvm::enumerate(summary.inputs.back().symbols)) {
      if (symbol.empty())
        continue;
      auto [it, isNew] = dimensionIndex.try_emplace(symbol, summary.symbolicDimensions.size());
      if (isNew)
        summary.symbolicDimensions.push_back({symbol, {}});
      summary.symbolicDimensions[it->second].uses.push_back({input.name(), static_cast<int64_t>(axis)});
    }
  }
  for (const onnx::ValueInfoProto &output : model->graph().output())
    summary.outputs.push_back(describeValue(output, model->dataType(output.name())));
  countOperators(model->graph(), summary.operators);
  for (const auto &[tensorProto, tensor] : model->allTensors()) {
    summary.parameterCount += tensor.elements;
    summary.bytesByElementType[dataTypeName(tensor.dataType)] += tensor.byteSize;
  }
  summary.fileBytes = static_cast<int64_t>(model->modelFile().fileBytes());
  summary.externalBytes = static_cast<int64_t>(model->modelFile().externalBytes());
  summary.externalFiles = model->modelFile().externalPaths();
  return summary;
}

} // namespace nibble::onnx_import
