#include "lib/Dialect/NN/Layers.h"
#include "lib/Dialect/NN/ShapeInference.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nibble::nn {

/// A matrix [columns, rows], or its transpose, that the last axis of the input is multiplied with.
static Layer makeLinear(ArrayRef<int64_t> weight, bool isTransposed) {
  Layer layer;
  quant::WeightLayout &layout = layer.layout;
  layout.rows = weight[isTransposed ? 0 : 1];
  layout.columns = weight[isTransposed ? 1 : 0];
  layout.rowStride = isTransposed ? layout.columns : 1;
  layout.columnStride = isTransposed ? 1 : layout.rows;
  layer.patches.columns = layout.columns;
  return layer;
}

static std::optional<Layer> makeConv(ConvOp op) {
  ArrayRef<int64_t> weight = shapeOf(op.getWeight()), result = shapeOf(op.getResult());
  if (weight.size() != 3 && weight.size() != 4)
    return std::nullopt;
  Layer layer;
  quant::WeightLayout &layout = layer.layout;
  layout.groups = op.getGroup();
  layout.rows = weight[0] / layout.groups;
  layout.columns = elementCount(weight.drop_front());
  layout.groupStride = layout.rows * layout.columns;
  layout.rowStride = layout.columns;
  layout.columnStride = 1;
  InputPatches &patches = layer.patches;
  patches.kind = InputPatches::Kind::Kernel;
  patches.groups = layout.groups;
  patches.columns = layout.columns;
  size_t last = weight.size() - 3;
  patches.kernelWidth = weight.back();
  patches.strideWidth = op.getStrides()[last];
  patches.dilationWidth = op.getDilations()[last];
  patches.padLeft = op.getPads()[last];
  patches.outWidth = result.back();
  if (weight.size() == 4) {
    patches.kernelHeight = weight[2];
    patches.strideHeight = op.getStrides()[0];
    patches.dilationHeight = op.getDilations()[0];
    patches.padTop = op.getPads()[0];
    patches.outHeight = result[2];
  }
  return layer;
}

static std::optional<Layer> makeConvTranspose(ConvTransposeOp op) {
  ArrayRef<int64_t> weight = shapeOf(op.getWeight());
  Layer layer;
  quant::WeightLayout &layout = layer.layout;
  layout.groups = op.getGroup();
  layout.columns = weight[0] / layout.groups;
  layout.rows = elementCount(weight.drop_front());
  layout.groupStride = layout.rows * layout.columns;
  layout.rowStride = 1;
  layout.columnStride = layout.rows;
  layer.patches.kind = InputPatches::Kind::Pixels;
  layer.patches.groups = layout.groups;
  layer.patches.columns = layout.columns;
  layer.rowsAreChannels = layout.rows == weight[1];
  return layer;
}

std::optional<Layer> getLayer(Operation *op) {
  auto hasStaticShapes = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() && type.getNumElements() > 0;
  };
  if (!isa<MatMulOp, GemmOp, ConvOp, ConvTransposeOp>(op) || !hasStaticShapes(op->getOperand(0)) ||
      !hasStaticShapes(op->getOperand(1)) || !hasStaticShapes(op->getResult(0)))
    return std::nullopt;
  return llvm::TypeSwitch<Operation *, std::optional<Layer>>(op)
      .Case<MatMulOp>([](MatMulOp matmul) -> std::optional<Layer> {
        ArrayRef<int64_t> weight = shapeOf(matmul->getOperand(1));
        if (weight.size() != 2)
          return std::nullopt;
        return makeLinear(weight, /*isTransposed=*/false);
      })
      .Case<GemmOp>([](GemmOp gemm) -> std::optional<Layer> {
        if (gemm.getTransA())
          return std::nullopt;
        return makeLinear(shapeOf(gemm.getB()), gemm.getTransB());
      })
      .Case<ConvOp>(makeConv)
      .Case<ConvTransposeOp>(makeConvTranspose)
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace nibble::nn
