//===- FoldNormScales.cpp - parameters of norms move into the layers behind ---===//
//
// norm(x) * g + b in front of a layer W is norm(x) in front of W diag(g), with W b added to the layer's bias. A norm
// without parameters commutes with rotations (QuaRot, Ashkboos et al. 2024, section 3).
//
//===----------------------------------------------------------------------===//
#include "passes/Equalize/ChannelScaling.h"
#include "passes/Equalize/Stages.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_FOLDNORMSCALESPASS
#include "passes/Passes.h.inc"

namespace {

constexpr EqualizationStage stage = EqualizationStage::FoldNormScales;

bool hasPads(Operation *op) {
  auto pads = op->getAttrOfType<DenseI64ArrayAttr>("pads");
  return pads && llvm::any_of(pads.asArrayRef(), [](int64_t pad) { return pad != 0; });
}

/// A constant per output of `layer` that broadcasts to its result.
Tensor shapeForResult(const LinearLayer &layer, llvm::ArrayRef<float> values) {
  Shape shape{static_cast<int64_t>(values.size())};
  shape.append(nn::shapeOf(layer.op->getResult(0)).size() - static_cast<size_t>(layer.resultAxis) - 1, 1);
  return Tensor::fromValues<float>(shape, values);
}

/// `constant` + `addend`, which broadcast to each other.
Tensor addBroadcast(const Tensor &constant, const Tensor &addend) {
  size_t rank = std::max(constant.shape().size(), addend.shape().size());
  Shape shape(rank, 1);
  for (llvm::ArrayRef<int64_t> part : {constant.shape(), addend.shape()})
    for (size_t i = 0; i < part.size(); ++i)
      shape[rank - part.size() + i] = std::max(shape[rank - part.size() + i], part[i]);
  Tensor sum = Tensor::allocate(ElementType::F32, shape);
  float *data = sum.mutableData<float>();
  forEachInMap(shape, constant.shape(),
               [&](int64_t offset, int64_t position) { data[offset] = constant.data<float>()[position]; });
  forEachInMap(shape, addend.shape(),
               [&](int64_t offset, int64_t position) { data[offset] += addend.data<float>()[position]; });
  return sum;
}

class Folder {
public:
  explicit Folder(Operation *norm) : norm(*matchNormLayer(norm)) {}

  /// Whether the norm has parameters that do something.
  llvm::FailureOr<bool> load() {
    llvm::FailureOr<Tensor> scaleValues = edits.current(*norm.scale);
    llvm::FailureOr<Tensor> biasValues = norm.bias ? edits.current(*norm.bias) : llvm::FailureOr<Tensor>(Tensor());
    if (failed(scaleValues) || failed(biasValues))
      return failure();
    scale = *scaleValues;
    if (*biasValues && llvm::any_of(biasValues->values<float>(), [](float value) { return value != 0; }))
      bias = *biasValues;
    return bias || llvm::any_of(scale.values<float>(), [](float value) { return value != 1; });
  }

  /// The operation that keeps the parameters from moving, or null.
  Operation *findObstacle() {
    FlowRules rules;
    if (!bias) {
      // A factor passes more than an offset does.
      rules = FlowRules::all();
      rules.sums = false;
    }
    flow = traceChannels(norm, rules);
    if (flow.obstacle)
      return flow.obstacle;
    for (const ChannelReader &reader : flow.readers)
      if (bias && hasPads(reader.layer.op))
        return reader.layer.op;
    return nullptr;
  }

  LogicalResult fold() {
    for (const ChannelReader &reader : flow.readers)
      if (failed(checkStage(reader.layer.op, stage)) || failed(foldInto(reader)))
        return failure();
    edits.add(*norm.scale, [](Tensor &tensor) {
      std::fill_n(tensor.mutableData<float>(), tensor.elementCount(), 1.0f);
    });
    // The bias of LayerNorm may be absent, that of the others may not.
    bool dropsBias = norm.bias && isa<nn::LayerNormalizationOp>(norm.op);
    if (norm.bias && !dropsBias)
      edits.add(*norm.bias, [](Tensor &tensor) {
        std::fill_n(tensor.mutableData<float>(), tensor.elementCount(), 0.0f);
      });
    if (failed(edits.commit()))
      return failure();
    if (dropsBias) {
      Operation *constant = norm.op->getOperand(2).getDefiningOp();
      norm.op->eraseOperand(2);
      if (constant && constant->use_empty())
        constant->erase();
    }
    for (auto &[layer, shift] : newBiases)
      if (failed(createBias(layer, shift)))
        return failure();
    if (dropsBias)
      updateStructuralHash(norm.op);
    return success();
  }

  size_t readerCount() const { return flow.readers.size(); }

private:
  LogicalResult foldInto(const ChannelReader &reader) {
    const LinearLayer &layer = reader.layer;
    if (bias) {
      llvm::FailureOr<Tensor> weight = edits.current(*layer.weight);
      if (failed(weight))
        return failure();
      addToBias(layer, computeShift(reader, *weight));
    }
    edits.add(*layer.weight, [axes = layer.axes, factors = valuesPerInput(reader, scale.values<float>())](Tensor &weight) {
      scaleInputs(weight, axes, factors);
    });
    markStage(layer.op, stage);
    return success();
  }

  /// W b, per output of the layer.
  std::vector<float> computeShift(const ChannelReader &reader, const Tensor &weight) {
    std::vector<double> sums(static_cast<size_t>(reader.layer.outputCount()));
    quant::forEachWeight(weight.shape(), reader.layer.axes, [&](int64_t offset, int64_t input, int64_t output) {
      float value = bias.data<float>()[reader.channels[static_cast<size_t>(input)]];
      sums[static_cast<size_t>(output)] += static_cast<double>(weight.data<float>()[offset]) * static_cast<double>(value);
    });
    return std::vector<float>(sums.begin(), sums.end());
  }

  void addToBias(const LinearLayer &layer, std::vector<float> shift) {
    auto gemm = dyn_cast<nn::GemmOp>(layer.op);
    OpOperand *constant = isa<nn::MatMulOp>(layer.op) ? findAddedConstant(layer.op) : layer.bias;
    float beta = gemm ? gemm.getBeta().convertToFloat() : 1.0f;
    bool isUsable = constant && isFloatConstant(constant->get()) && beta != 0;
    float factor = (gemm ? gemm.getAlpha().convertToFloat() : 1.0f) / (isUsable ? beta : 1.0f);
    for (float &value : shift)
      value *= factor;
    if (!isUsable) {
      newBiases.emplace_back(layer, std::move(shift));
      return;
    }
    Tensor addend = isa<nn::MatMulOp>(layer.op) ? shapeForResult(layer, shift)
                                                : Tensor::fromValues<float>({static_cast<int64_t>(shift.size())}, shift);
    edits.add(*constant, [addend](Tensor &tensor) { tensor = addBroadcast(tensor, addend); });
  }

  /// The constant that is added to a product and to nothing else.
  static OpOperand *findAddedConstant(Operation *matmul) {
    if (!matmul->hasOneUse())
      return nullptr;
    OpOperand &use = *matmul->use_begin();
    auto sum = dyn_cast<nn::AddOp>(use.getOwner());
    if (!sum || sum.getType() != matmul->getResult(0).getType())
      return nullptr;
    return &sum->getOpOperand(1 - use.getOperandNumber());
  }

  /// A sum behind a product, which takes its names, or a bias operand.
  LogicalResult createBias(const LinearLayer &layer, llvm::ArrayRef<float> shift) {
    Operation *op = layer.op;
    OpBuilder builder(op);
    bool isProduct = isa<nn::MatMulOp>(op) || layer.bias;
    Tensor values = isProduct ? shapeForResult(layer, shift)
                              : Tensor::fromValues<float>({static_cast<int64_t>(shift.size())}, shift);
    llvm::FailureOr<Value> constant = createConstantValue(builder, nn::makeDerivedLocation(op, "bias"), values);
    if (failed(constant))
      return failure();
    if (isProduct) {
      Location location = op->getLoc();
      op->setLoc(nn::makeDerivedLocation(op, "product"));
      builder.setInsertionPointAfter(op);
      auto sum = nn::AddOp::create(builder, location, op->getResult(0).getType(), op->getResult(0), *constant);
      op->getResult(0).replaceAllUsesExcept(sum.getResult(), sum);
    } else {
      if (auto gemm = dyn_cast<nn::GemmOp>(op))
        gemm.setBetaAttr(builder.getF32FloatAttr(1.0f));
      op->insertOperands(2, *constant);
    }
    updateStructuralHash(op);
    return success();
  }

  NormLayer norm;
  Tensor scale, bias;
  ChannelFlow flow;
  ConstantEdits edits;
  SmallVector<std::pair<LinearLayer, std::vector<float>>> newBiases;
};

struct FoldNormScales : impl::FoldNormScalesPassBase<FoldNormScales> {
  void runOnOperation() override {
    if (failed(checkIsFloatProgram(getOperation(), stage)))
      return signalPassFailure();
    SmallVector<Operation *> norms;
    getOperation().walk([&](Operation *op) {
      if (matchNormLayer(op))
        norms.push_back(op);
    });
    for (Operation *norm : norms) {
      Folder folder(norm);
      llvm::FailureOr<bool> hasParameters = folder.load();
      if (failed(hasParameters))
        return signalPassFailure();
      if (!*hasParameters)
        continue;
      if (Operation *obstacle = folder.findObstacle()) {
        // GroupNorm is mostly followed by an activation, which is nothing to report.
        if (!isa<nn::LayerNormalizationOp, nn::RMSNormalizationOp>(norm))
          continue;
        ++numKept;
        norm->emitRemark("node '") << nn::nodeName(norm) << "': its parameters stay, as node '"
                                   << nn::nodeName(obstacle) << "' (" << obstacle->getName() << ") cannot take them";
        continue;
      }
      if (folder.readerCount() == 0)
        continue;
      if (failed(folder.fold()))
        return signalPassFailure();
      ++numFolded;
      numReaders += folder.readerCount();
    }
  }
};

} // namespace
} // namespace nibble
