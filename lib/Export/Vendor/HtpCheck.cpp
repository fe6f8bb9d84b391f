#include "lib/Export/Vendor/HtpCheck.h"
#include "lib/Export/Vendor/OperatorNames.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <chrono>
#include <cmath>
#include <cstring>
#include <onnx/onnx_pb.h>

namespace nibble::vendor {

namespace {
/// Sums of the bounds of all operators that a tensor depends on.
struct Accumulated {
  double maximum = 0, sumOfSquares = 0;
};

/// A QDQ model seen as compute nodes and quantized edges.
class QdqGraph {
public:
  static llvm::Expected<QdqGraph> parse(llvm::StringRef modelBytes) {
    QdqGraph graph;
    if (!graph.model.ParseFromArray(modelBytes.data(), static_cast<int>(modelBytes.size())))
      return makeError(ErrorKind::BadInput, "the block is not an ONNX model");
    for (const auto &initializer : graph.model.graph().initializer()) {
      graph.constantTypes[initializer.name()] = initializer.data_type();
      if (initializer.data_type() == onnx::TensorProto::FLOAT && initializer.raw_data().size() == sizeof(float))
        std::memcpy(&graph.scales[initializer.name()], initializer.raw_data().data(), sizeof(float));
    }
    for (const auto &node : graph.model.graph().node())
      for (const std::string &output : node.output())
        graph.producers[output] = &node;
    return graph;
  }

  /// Allowed deviations of the integer tensors that QuantizeLinear nodes make, in order of execution.
  std::vector<TensorDeviation> accumulate(const Target &target) const {
    llvm::StringMap<Accumulated> bounds;
    std::vector<TensorDeviation> tensors;
    for (const auto &node : model.graph().node()) {
      if (node.op_type() == "DequantizeLinear") {
        bounds[node.output(0)] = bounds.lookup(node.input(0));
        continue;
      }
      if (node.op_type() != "QuantizeLinear") {
        // The result's own bound depends on the storage, which its QuantizeLinear says.
        Accumulated sum;
        for (const std::string &input : node.input()) {
          Accumulated bound = bounds.lookup(input);
          sum.maximum += bound.maximum;
          sum.sumOfSquares += bound.sumOfSquares;
        }
        for (const std::string &output : node.output())
          bounds[output] = sum;
        continue;
      }
      Accumulated bound = bounds.lookup(node.input(0));
      TensorDeviation tensor;
      tensor.tensor = node.output(0);
      ElementType storage = storageOf(node);
      // A Q that follows a DQ converts one grid to another, and rounds once.
      auto producer = producers.find(node.input(0));
      const onnx::NodeProto *operation = producer == producers.end() ? nullptr : producer->second;
      if (operation) {
        tensor.node = operation->name();
        tensor.operatorType = operation->op_type();
      }
      std::optional<EncodingClass> weight = operation ? weightOf(*operation) : std::nullopt;
      ErrorBound own = target.errorBound(operation ? operationName(operation->op_type()) : "identity", storage,
                                         weight ? &*weight : nullptr);
      double gain = operation ? gainOf(*operation, node) : 1;
      bound.maximum = bound.maximum * gain + own.maximum;
      bound.sumOfSquares = bound.sumOfSquares * gain * gain + own.rootMeanSquare * own.rootMeanSquare;
      bounds[node.output(0)] = bound;
      tensor.allowed = {bound.maximum, std::sqrt(bound.sumOfSquares), own.evidence};
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  /// The model with every inner integer tensor as a further output.
  std::string withAllTensors(llvm::ArrayRef<TensorDeviation> tensors) const {
    onnx::ModelProto copy = model;
    llvm::StringSet<> outputs;
    for (const auto &output : copy.graph().output())
      outputs.insert(output.name());
    for (const TensorDeviation &tensor : tensors) {
      if (!outputs.insert(tensor.tensor).second)
        continue;
      auto *output = copy.mutable_graph()->add_output();
      output->set_name(tensor.tensor);
      output->mutable_type()->mutable_tensor_type()->set_elem_type(
          typeOfZeroPoint(*producers.find(tensor.tensor)->second));
    }
    return copy.SerializeAsString();
  }

private:
  int typeOfZeroPoint(const onnx::NodeProto &quantize) const {
    return quantize.input_size() > 2 ? constantTypes.lookup(quantize.input(2)) : onnx::TensorProto::UINT8;
  }
  static ElementType elementTypeOf(int type) {
    switch (type) {
    case onnx::TensorProto::INT4: return ElementType::I4;
    case onnx::TensorProto::UINT4: return ElementType::U4;
    case onnx::TensorProto::INT8: return ElementType::I8;
    case onnx::TensorProto::INT16: return ElementType::I16;
    case onnx::TensorProto::UINT16: return ElementType::U16;
    default: return ElementType::U8;
    }
  }
  ElementType storageOf(const onnx::NodeProto &quantize) const { return elementTypeOf(typeOfZeroPoint(quantize)); }

  /// Output quanta per input quantum of an operation whose slope does not shrink with the range of its
  /// input: a sine over many periods has a coarse grid before it and a fine one behind it.
  double gainOf(const onnx::NodeProto &operation, const onnx::NodeProto &quantize) const {
    if (operation.op_type() != "Sin" && operation.op_type() != "Cos")
      return 1;
    auto producer = producers.find(operation.input(0));
    if (producer == producers.end() || producer->second->op_type() != "DequantizeLinear")
      return 1;
    float inputScale = scales.lookup(producer->second->input(1)), outputScale = scales.lookup(quantize.input(1));
    return outputScale > 0 ? std::max(1.0, double(inputScale) / outputScale) : 1;
  }

  /// The encoding of a constant right operand, or of the table of a Gather.
  std::optional<EncodingClass> weightOf(const onnx::NodeProto &operation) const {
    if (operation.input_size() < 2)
      return std::nullopt;
    auto found = producers.find(operation.input(operation.op_type() == "Gather" ? 0 : 1));
    if (found == producers.end() || found->second->op_type() != "DequantizeLinear" ||
        !constantTypes.count(found->second->input(0)))
      return std::nullopt;
    const onnx::NodeProto &dequantize = *found->second;
    EncodingClass weight;
    weight.storage = elementTypeOf(constantTypes.lookup(dequantize.input(0)));
    weight.isConstant = true;
    weight.granularity = EncodingClass::Granularity::Tensor;
    for (const auto &attribute : dequantize.attribute()) {
      if (attribute.name() == "axis" && weight.granularity == EncodingClass::Granularity::Tensor)
        weight.granularity = EncodingClass::Granularity::Axis;
      if (attribute.name() == "block_size" && attribute.i() > 0)
        // Scales that are computed are the two-level ones.
        weight.granularity = producers.count(dequantize.input(1)) ? EncodingClass::Granularity::LPBQ
                                                                  : EncodingClass::Granularity::Block;
    }
    return weight;
  }

  onnx::ModelProto model;
  llvm::StringMap<int> constantTypes;
  /// Scales that are one number.
  llvm::StringMap<float> scales;
  llvm::StringMap<const onnx::NodeProto *> producers;
};
} // namespace

llvm::Expected<std::vector<TensorDeviation>> allowedDeviations(const Target &target, llvm::StringRef modelBytes) {
  llvm::Expected<QdqGraph> graph = QdqGraph::parse(modelBytes);
  if (!graph)
    return graph.takeError();
  return graph->accumulate(target);
}

static const Tensor *find(llvm::ArrayRef<NamedTensor> tensors, llvm::StringRef name) {
  for (const NamedTensor &entry : tensors)
    if (entry.name == name)
      return &entry.tensor;
  return nullptr;
}

/// Fills maximum and root-mean-square of `deviation` from all samples.
static llvm::Error measure(TensorDeviation &deviation, llvm::ArrayRef<std::vector<NamedTensor>> found,
                           llvm::ArrayRef<std::vector<NamedTensor>> expected) {
  double sumOfSquares = 0;
  int64_t count = 0;
  for (auto [foundSample, expectedSample] : llvm::zip_equal(found, expected)) {
    const Tensor *a = find(foundSample, deviation.tensor), *b = find(expectedSample, deviation.tensor);
    if (!a || !b || a->elementType() != b->elementType() || a->shape() != b->shape())
      return makeError(ErrorKind::Internal, "'" + deviation.tensor + "' is not the same tensor in the emulation and in "
                                                "the reference");
    for (int64_t i = 0, size = a->elementCount(); i < size; ++i) {
      double difference = a->valueAsDouble(i) - b->valueAsDouble(i);
      deviation.maximum = std::max(deviation.maximum, std::abs(difference));
      sumOfSquares += difference * difference;
    }
    count += a->elementCount();
  }
  deviation.rootMeanSquare = count ? std::sqrt(sumOfSquares / static_cast<double>(count)) : 0;
  return llvm::Error::success();
}

/// Operators' bounds were measured one at a time on data of other distributions; in a block of a trained model
/// (attention of a language model) 1.7 times their sum was seen.
static constexpr double blockSafety = 2;

llvm::Expected<BlockDeviation> compareWithReference(const HtpSettings &settings, const Target &target,
                                                    const BlockToCheck &block) {
  llvm::Expected<std::vector<TensorDeviation>> allowed = allowedDeviations(target, block.modelBytes);
  if (!allowed)
    return allowed.takeError();
  llvm::Expected<Emulation> emulation = emulateModel(settings, target, block.modelBytes, block.inputs);
  if (!emulation)
    return emulation.takeError();
  BlockDeviation result;
  result.block = block.name;
  result.seconds = emulation->sessionSeconds + emulation->runSeconds;
  if (block.expected.size() != emulation->outputs.size())
    return makeError(ErrorKind::Internal, "wanted the reference's outputs for " +
                                              llvm::Twine(emulation->outputs.size()) + " samples, found " +
                                              llvm::Twine(block.expected.size()));
  if (block.expected.empty())
    return result;
  for (const NamedTensor &output : block.expected.front()) {
    auto known = llvm::find_if(*allowed, [&](const TensorDeviation &d) { return d.tensor == output.name; });
    TensorDeviation deviation;
    deviation.tensor = output.name;
    // An output that no operator computes is an input passed through.
    deviation.allowed = {0, 0, ""};
    if (known != allowed->end())
      deviation = *known;
    if (auto limit = block.limits.find(output.name); limit != block.limits.end()) {
      deviation.allowed.maximum = std::min(deviation.allowed.maximum, limit->second.maximum);
      deviation.allowed.rootMeanSquare = std::min(deviation.allowed.rootMeanSquare, limit->second.rootMeanSquare);
    }
    deviation.allowed.maximum *= blockSafety;
    deviation.allowed.rootMeanSquare *= blockSafety;
    if (llvm::Error error = measure(deviation, emulation->outputs, block.expected))
      return std::move(error);
    result.outputs.push_back(std::move(deviation));
  }
  return result;
}

llvm::Expected<std::optional<TensorDeviation>> findFirstDeviation(const HtpSettings &settings, const Target &target,
                                                                  const BlockToCheck &block) {
  llvm::Expected<QdqGraph> graph = QdqGraph::parse(block.modelBytes);
  if (!graph)
    return graph.takeError();
  std::vector<TensorDeviation> tensors = graph->accumulate(target);
  std::string model = graph->withAllTensors(tensors);
  llvm::Expected<std::unique_ptr<CpuSession>> session =
      CpuSession::fromMemory(settings.libraries, model, /*optimize=*/false);
  if (!session)
    return session.takeError();
  std::vector<std::vector<NamedTensor>> expected;
  for (const auto &sample : block.inputs) {
    std::vector<Tensor> inputs;
    for (const std::string &name : (*session)->inputNames()) {
      const Tensor *input = find(sample, name);
      if (!input)
        return makeError(ErrorKind::Internal, "block '" + block.name + "' has no input '" + name + "'");
      inputs.push_back(*input);
    }
    llvm::Expected<std::vector<Tensor>> outputs = (*session)->run(inputs);
    if (!outputs)
      return outputs.takeError();
    auto &named = expected.emplace_back();
    for (auto [name, tensor] : llvm::zip_equal((*session)->outputNames(), *outputs))
      named.push_back({name, tensor});
  }
  llvm::Expected<Emulation> emulation = emulateModel(settings, target, model, block.inputs);
  if (!emulation)
    return emulation.takeError();
  for (TensorDeviation &tensor : tensors) {
    if (llvm::Error error = measure(tensor, emulation->outputs, expected))
      return std::move(error);
    if (tensor.exceeds())
      return std::optional(tensor);
  }
  return std::optional<TensorDeviation>();
}

static std::string describe(const TensorDeviation &deviation) {
  return llvm::formatv("tensor '{0}' ({1} '{2}') is off by {3} quanta, root-mean-square {4:f3}; allowed are {5} and {6:f3}",
                       deviation.tensor, deviation.operatorType, deviation.node, deviation.maximum,
                       deviation.rootMeanSquare, deviation.allowed.maximum, deviation.allowed.rootMeanSquare)
      .str();
}

llvm::Expected<CheckSummary> checkBlocks(const HtpSettings &settings, const Target &target, int64_t count,
                                         llvm::function_ref<llvm::Expected<BlockToCheck>(int64_t)> makeBlock,
                                         double timeLimitSeconds,
                                         llvm::function_ref<void(const BlockDeviation &)> onBlock) {
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  CheckSummary summary;
  summary.blocksTotal = count;
  for (int64_t i = 0; i < count && elapsed() < timeLimitSeconds; ++i) {
    llvm::Expected<BlockToCheck> block = makeBlock(i);
    if (!block)
      return block.takeError();
    llvm::Expected<BlockDeviation> deviation = compareWithReference(settings, target, *block);
    if (!deviation) {
      // Alone, a block can have a form at its edges that the vendor takes only inside the whole graph.
      std::string reason;
      llvm::Error rest = llvm::handleErrors(deviation.takeError(), [&](std::unique_ptr<NibbleError> error) -> llvm::Error {
        if (error->kind != ErrorKind::Unsupported)
          return llvm::Error(std::move(error));
        reason = error->message;
        return llvm::Error::success();
      });
      if (rest)
        return std::move(rest);
      summary.refused.emplace_back(block->name, std::move(reason));
      continue;
    }
    onBlock(*deviation);
    if (deviation->exceeds()) {
      std::vector<std::string> notes;
      llvm::Expected<std::optional<TensorDeviation>> first = findFirstDeviation(settings, target, *block);
      if (!first) {
        // The deviation counts even where the vendor does not take the block with all tensors as outputs.
        notes.push_back("the tensor inside could not be found: " + takeMessages(first.takeError()).front());
        first = std::optional<TensorDeviation>();
      }
      for (const TensorDeviation &output : deviation->outputs)
        if (output.exceeds())
          notes.push_back("output of the block: " + describe(output));
      const TensorDeviation &named =
          *first ? **first
                 : *llvm::find_if(deviation->outputs, [](const TensorDeviation &output) { return output.exceeds(); });
      if (!named.allowed.evidence.empty())
        notes.push_back("the bound of " + named.operatorType + ": " + named.allowed.evidence);
      return makeError(ErrorKind::Unsupported,
                       "target '" + target.name + "' computes block '" + deviation->block +
                           "' differently from the reference: first, " + describe(named),
                       std::move(notes));
    }
    summary.blocks.push_back(std::move(*deviation));
    ++summary.blocksChecked;
  }
  summary.seconds = elapsed();
  return summary;
}

} // namespace nibble::vendor
