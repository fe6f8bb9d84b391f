//===- LowerMatmul.cpp - linear layers and products of activations -----------===//
//
// TOSA's MATMUL takes operands of one width. Constant weights become a convolution with a window of one element,
// which also takes 4-bit weights, and 8-bit ones beside 16-bit activations.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"
#include "passes/Lower/Products.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace nibble {
namespace {

/// `input` with dimension `dim` stored last; the others keep their order.
Stored withLast(Lowering &lowering, const Stored &input, int64_t dim) {
  if (input.order.back() == dim)
    return input;
  llvm::SmallVector<int64_t, 6> order;
  for (int64_t other : input.order)
    if (other != dim)
      order.push_back(other);
  order.push_back(dim);
  return Stored{lowering.inOrder(input, order), input.grid, order};
}

/// A layer that multiplies dimension `inputDim` of `input` with constant weights, scaled by `weightFactor` > 0, and adds a
/// constant bias, or none, scaled by `biasFactor`.
struct LinearLayer {
  Stored input;
  int64_t inputDim;
  Value weights, bias;
  SmallVector<int64_t> permutation;
  double weightFactor = 1, biasFactor = 1;
};

FailureOr<Stored> lowerLinear(Lowering &lowering, const LoweringRequest &request, const LinearLayer &layer) {
  FailureOr<SmallVector<PreparedWeights>> blocks = prepareWeights(lowering, request.op, layer.weights, layer.permutation,
                                                                    layer.input.grid.bits);
  if (failed(blocks))
    return failure();
  for (PreparedWeights &block : *blocks)
    for (double &scale : block.scales)
      scale *= layer.weightFactor;
  FailureOr<std::vector<double>> bias = readBias(lowering, request.op, layer.bias, blocks->front().outputs());
  if (failed(bias))
    return failure();
  for (double &value : *bias)
    value *= layer.biasFactor;
  return multiplyByWeights(lowering, request, withLast(lowering, layer.input, layer.inputDim), *blocks, *bias);
}

/// An operand of a product of activations: what TOSA's MATMUL takes of it.
struct Factor {
  Value value;
  double scale;
  int64_t zeroPoint;
};

/// [batch, rows, columns]. 16 bits where `isWide`; a 16-bit value with a zero point is halved into the symmetric range.
Factor prepareFactor(Lowering &lowering, const Stored &stored, llvm::ArrayRef<int64_t> batch, bool isWide) {
  TosaBuilder &b = lowering.b;
  int64_t rank = static_cast<int64_t>(batch.size()) + 2;
  Stored full = withRank(lowering, stored, rank);
  Value value = lowering.inModelOrder(full);
  Shape repeats(static_cast<size_t>(rank), 1);
  for (size_t i = 0; i < batch.size(); ++i)
    repeats[i] = batch[i] / b.dims(value)[i];
  value = b.tile(value, repeats);
  llvm::ArrayRef<int64_t> dims = b.dims(value);
  value = b.reshape(value, {elementCount(batch), dims[dims.size() - 2], dims[dims.size() - 1]});
  Factor factor{value, stored.grid.scale, stored.grid.zeroPoint};
  if (!isWide)
    return factor;
  if (stored.grid.bits == 8) {
    factor.value = b.widen(value, stored.grid.zeroPoint, 16);
  } else if (stored.grid.zeroPoint != 0) {
    Value reals = lowering.reals32(value, stored.grid);
    double reach = std::max(std::abs(stored.grid.lowest()), std::abs(stored.grid.highest()));
    factor.scale = std::max(stored.grid.scale, reach / 32767);
    factor.value = b.rescale(reals, stored.grid.scale / factor.scale, {16, 0});
  }
  factor.zeroPoint = 0;
  return factor;
}

FailureOr<Stored> lowerActivationProduct(Lowering &lowering, const LoweringRequest &request) {
  Value left = request.op->getOperand(0), right = request.op->getOperand(1);
  FailureOr<Stored> a = lowering.find(left), c = lowering.find(right);
  if (failed(a) || failed(c))
    return failure();
  TosaBuilder &b = lowering.b;
  // Vectors are matrices of one row or column.
  llvm::ArrayRef<int64_t> result = nn::shapeOf(request.op->getResult(0));
  if (a->rank() == 1)
    *a = lowering.reshape(*a, {1, nn::shapeOf(left)[0]});
  if (c->rank() == 1)
    *c = lowering.reshape(*c, {nn::shapeOf(right)[0], 1});
  Shape leftShape = lowering.modelShape(*a), rightShape = lowering.modelShape(*c);
  std::optional<Shape> batch = nn::broadcastShapes(
      {llvm::ArrayRef<int64_t>(leftShape).drop_back(2), llvm::ArrayRef<int64_t>(rightShape).drop_back(2)});
  assert(batch && "the verifier checked that batches broadcast");
  int64_t inner = leftShape.back();
  // Sums of 8-bit products fit 32 bits up to some length; beyond it, 16-bit operands are summed in 48.
  bool isWide = a->grid.bits == 16 || c->grid.bits == 16;
  if (!isWide && inner > INT32_MAX / (255 * 255)) {
    lowering.remark(request.op, "its sums of " + Twine(inner) + " products may leave 32 bits: the operands are widened to "
                                                                "16 bits, whose products are summed in 48");
    isWide = true;
  }
  Factor x = prepareFactor(lowering, *a, *batch, isWide), y = prepareFactor(lowering, *c, *batch, isWide);
  Value sum = b.matmul(x.value, y.value, x.zeroPoint, y.zeroPoint);
  Value value = b.reshape(lowering.toGrid(sum, x.scale * y.scale, request.grid), result);
  return Stored{value, request.grid, identityOrder(static_cast<int64_t>(result.size()))};
}

FailureOr<Stored> lowerMatmul(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::MatMulOp>(request.op);
  StoredConstant weights = lowering.findConstant(op.getRhs());
  bool isLayer = weights && weights.encoding && weights.integers.rank() == 2 &&
                 (weights.encoding->storage == ElementType::I8 || weights.encoding->storage == ElementType::I4);
  if (!isLayer || lowering.findConstant(op.getLhs()))
    return lowerActivationProduct(lowering, request);
  FailureOr<Stored> input = lowering.find(op.getLhs());
  if (failed(input))
    return failure();
  return lowerLinear(lowering, request, {*input, input->rank() - 1, op.getRhs(), {}, {1, 0}});
}

FailureOr<Stored> lowerGemm(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::GemmOp>(request.op);
  double alpha = op.getAlpha().convertToFloat(), beta = op.getBeta().convertToFloat();
  if (alpha <= 0)
    return lowering.refuse(op, llvm::formatv("Gemm has an integer form for a positive alpha only, found {0}", alpha),
                           "multiply the factor into the weights before the export");
  if (!lowering.findConstant(op.getB()))
    return lowering.refuse(op, "Gemm has an integer form for constant weights only", "export the product as MatMul");
  if (op.getC() && (!lowering.findConstant(op.getC()) || nn::shapeOf(op.getC()).size() != 1))
    return lowering.refuse(op, "Gemm has an integer form for a constant vector as its third operand only",
                           "export the addition as Add");
  FailureOr<Stored> input = lowering.find(op.getA());
  if (failed(input))
    return failure();
  if (op.getTransA())
    for (int64_t &dim : input->order)
      dim = 1 - dim;
  SmallVector<int64_t> permutation = op.getTransB() ? SmallVector<int64_t>{0, 1} : SmallVector<int64_t>{1, 0};
  return lowerLinear(lowering, request, {*input, 1, op.getB(), op.getC(), permutation, alpha, beta});
}

} // namespace

void registerMatmulLowerings(LowerRegistry &registry) {
  registry["matmul"] = lowerMatmul;
  registry["gemm"] = lowerGemm;
}

} // namespace nibble
