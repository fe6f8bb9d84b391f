// Conversions of linear algebra, convolution, pooling, reduction, normalization and quantization operators,
// and of ONNX's own attention parts.
#include "lib/Import/ONNX/NodeBuilder.h"

#include "lib/Dialect/NN/ShapeInference.h"

using namespace mlir;

namespace nibble::onnx_import {
namespace {

IntegerAttr i64(NodeBuilder &b, int64_t value) { return b.builder().getI64IntegerAttr(value); }
FloatAttr f32(NodeBuilder &b, llvm::StringRef attribute, float whenAbsent) {
  return b.builder().getF32FloatAttr(b.number(attribute, whenAbsent));
}
BoolAttr boolean(NodeBuilder &b, llvm::StringRef attribute, bool whenAbsent = false) {
  return b.builder().getBoolAttr(b.flag(attribute, whenAbsent));
}

void matMul(NodeBuilder &b) { b.setOutput(0, b.make<nn::MatMulOp>(b.operand(0), b.operand(1))); }

void gemm(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::GemmOp>(b.operand(0), b.operand(1), b.operand(2), f32(b, "alpha", 1), f32(b, "beta", 1),
                                    boolean(b, "transA"), boolean(b, "transB")));
}

void einsum(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::EinsumOp>(b.allOperands(), b.builder().getStringAttr(b.text("equation", ""))));
}

/// The window attributes that convolution and pooling share, with ONNX's defaults filled in.
struct Window {
  DenseI64ArrayAttr kernel, strides, pads, dilations;
  StringAttr autoPad;
};

/// Nullopt after recording an error. `kernel` is the window's size where the node does not state it.
std::optional<Window> readWindow(NodeBuilder &b, llvm::ArrayRef<int64_t> kernel) {
  SmallVector<int64_t> stated = b.integers("kernel_shape");
  if (!stated.empty() && !kernel.empty() && llvm::ArrayRef<int64_t>(stated) != kernel &&
      !llvm::is_contained(kernel, ShapedType::kDynamic)) {
    b.invalid("attribute 'kernel_shape' is not the shape of the weight");
    return std::nullopt;
  }
  if (stated.empty())
    stated.assign(kernel.begin(), kernel.end());
  size_t rank = stated.size();
  llvm::StringRef autoPad = b.text("auto_pad", "NOTSET");
  if (!llvm::is_contained({"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}, autoPad)) {
    b.invalid("attribute 'auto_pad' is '" + autoPad + "', which ONNX does not define");
    return std::nullopt;
  }
  auto list = [&](llvm::StringRef name, size_t length, int64_t fill) -> DenseI64ArrayAttr {
    SmallVector<int64_t> values = b.integers(name);
    if (values.empty())
      values.assign(length, fill);
    if (values.size() != length)
      b.invalid("attribute '" + name + "' has " + llvm::Twine(values.size()) + " entries, wanted " +
                llvm::Twine(length));
    return b.builder().getDenseI64ArrayAttr(values);
  };
  Window window{b.builder().getDenseI64ArrayAttr(stated), list("strides", rank, 1), list("pads", 2 * rank, 0),
                list("dilations", rank, 1), b.builder().getStringAttr(autoPad)};
  if (b.failed())
    return std::nullopt;
  return window;
}

llvm::ArrayRef<int64_t> spatialShape(NodeBuilder &b, Value weight) {
  llvm::ArrayRef<int64_t> shape = b.shape(weight);
  return shape.size() > 2 ? shape.drop_front(2) : llvm::ArrayRef<int64_t>();
}

void conv(NodeBuilder &b) {
  if (std::optional<Window> window = readWindow(b, spatialShape(b, b.operand(1))))
    b.setOutput(0, b.make<nn::ConvOp>(b.operand(0), b.operand(1), b.operand(2), window->strides, window->pads,
                                      window->dilations, i64(b, b.integer("group", 1)), window->autoPad));
}

void convTranspose(NodeBuilder &b) {
  std::optional<Window> window = readWindow(b, spatialShape(b, b.operand(1)));
  if (!window)
    return;
  SmallVector<int64_t> padding = b.integers("output_padding");
  if (padding.empty())
    padding.assign(window->kernel.size(), 0);
  DenseI64ArrayAttr outputShape =
      b.has("output_shape") ? b.builder().getDenseI64ArrayAttr(b.integers("output_shape")) : DenseI64ArrayAttr();
  b.setOutput(0, b.make<nn::ConvTransposeOp>(b.operand(0), b.operand(1), b.operand(2), window->strides, window->pads,
                                             window->dilations, b.builder().getDenseI64ArrayAttr(padding), outputShape,
                                             i64(b, b.integer("group", 1)), window->autoPad));
}

void maxPool(NodeBuilder &b) {
  if (b.isUsed(1))
    return b.unsupported("the output of indices is used");
  if (std::optional<Window> window = readWindow(b, {}))
    b.setOutput(0, b.make<nn::MaxPoolOp>(b.operand(0), window->kernel, window->strides, window->pads,
                                         window->dilations, boolean(b, "ceil_mode"), window->autoPad));
}

void averagePool(NodeBuilder &b) {
  if (std::optional<Window> window = readWindow(b, {}))
    b.setOutput(0, b.make<nn::AveragePoolOp>(b.operand(0), window->kernel, window->strides, window->pads,
                                             window->dilations, boolean(b, "ceil_mode"), window->autoPad,
                                             boolean(b, "count_include_pad")));
}

template <typename OpT> void unary(NodeBuilder &b) { b.setOutput(0, b.make<OpT>(b.operand(0))); }

/// Axes became an operand at opset 13 for ReduceSum and at 18 for the others.
Value reductionAxes(NodeBuilder &b) {
  int64_t since = b.node().op_type() == "ReduceSum" ? 13 : 18;
  if (b.opset() >= since)
    return b.operand(1);
  return b.has("axes") ? b.integersConstant("axes", b.integers("axes")) : Value();
}

template <typename OpT> void reduce(NodeBuilder &b) {
  b.setOutput(0, b.make<OpT>(b.operand(0), reductionAxes(b), boolean(b, "keepdims", true),
                             boolean(b, "noop_with_empty_axes")));
}

void reduceLogSum(NodeBuilder &b) {
  Value sum = b.makeStep<nn::ReduceSumOp>("sum", b.operand(0), reductionAxes(b), boolean(b, "keepdims", true),
                                          boolean(b, "noop_with_empty_axes"));
  b.setOutput(0, b.make<nn::LogOp>(sum));
}

template <typename OpT> void argument(NodeBuilder &b) {
  b.setOutput(0, b.make<OpT>(b.operand(0), i64(b, b.integer("axis", 0)), boolean(b, "keepdims", true),
                             boolean(b, "select_last_index")));
}

void topK(NodeBuilder &b) {
  b.setOutputs(b.make<nn::TopKOp>(b.operand(0), b.operand(1), i64(b, b.integer("axis", -1)),
                                  boolean(b, "largest", true), boolean(b, "sorted", true)));
}

/// Before opset 13 the tensor is first flattened into two dimensions at `axis`.
template <typename OpT> void softmax(NodeBuilder &b) {
  int64_t rank = b.rank(b.operand(0)), axis = b.integer("axis", b.opset() >= 13 ? -1 : 1);
  if (axis < -rank || axis >= rank)
    return b.invalid("axis " + llvm::Twine(axis) + " is outside a tensor of rank " + llvm::Twine(rank));
  if (b.opset() >= 13 || axis == -1 || axis == rank - 1)
    return b.setOutput(0, b.make<OpT>(b.operand(0), i64(b, axis)));
  llvm::ArrayRef<int64_t> known = b.shape(b.operand(0));
  Value shape = llvm::is_contained(known, ShapedType::kDynamic)
                    ? b.makeStep<nn::ShapeOp>("shape", b.operand(0), i64(b, 0), IntegerAttr()).getResult()
                    : b.integersConstant("shape", known);
  Value flat = b.makeStep<nn::FlattenOp>("flat", b.operand(0), i64(b, axis));
  Value result = b.makeStep<OpT>("softmax", flat, i64(b, -1));
  b.setOutput(0, b.make<nn::ReshapeOp>(result, shape, b.builder().getBoolAttr(false)));
}

/// Norms compute in float32; stash_type says so, and only other values change the result.
bool checkStash(NodeBuilder &b) {
  if (b.integer("stash_type", 1) == onnx::TensorProto::FLOAT)
    return true;
  b.unsupported("stash_type " + llvm::Twine(b.integer("stash_type", 1)) + " is not supported", "use 1 (float)");
  return false;
}

void layerNormalization(NodeBuilder &b) {
  if (b.isUsed(1) || b.isUsed(2))
    return b.unsupported("the outputs of mean or deviation are used", "export the model for inference");
  if (checkStash(b))
    b.setOutput(0, b.make<nn::LayerNormalizationOp>(b.operand(0), b.operand(1), b.operand(2),
                                                    i64(b, b.integer("axis", -1)), f32(b, "epsilon", 1e-5f)));
}

/// RMSNormalization of ONNX and SimplifiedLayerNormalization of ONNX Runtime.
void rmsNormalization(NodeBuilder &b) {
  if (b.isUsed(1))
    return b.unsupported("the output of deviation is used", "export the model for inference");
  if (checkStash(b))
    b.setOutput(0, b.make<nn::RMSNormalizationOp>(b.operand(0), b.operand(1), i64(b, b.integer("axis", -1)),
                                                  f32(b, "epsilon", 1e-5f)));
}

void instanceNormalization(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::InstanceNormalizationOp>(b.operand(0), b.operand(1), b.operand(2),
                                                     f32(b, "epsilon", 1e-5f)));
}

/// The form of opset 18, with scale and bias per group, is deprecated by ONNX and does not pass the Checker.
void groupNormalization(NodeBuilder &b) {
  if (checkStash(b))
    b.setOutput(0, b.make<nn::GroupNormalizationOp>(b.operand(0), b.operand(1), b.operand(2),
                                                    i64(b, b.integer("num_groups", 1)), f32(b, "epsilon", 1e-5f)));
}

void batchNormalization(NodeBuilder &b) {
  if (b.flag("training_mode") || b.isUsed(1) || b.isUsed(2) || b.isUsed(3) || b.isUsed(4))
    return b.unsupported("the node is in training mode", "export the model for inference");
  b.setOutput(0, b.make<nn::BatchNormalizationOp>(b.operand(0), b.operand(1), b.operand(2), b.operand(3), b.operand(4),
                                                  f32(b, "epsilon", 1e-5f)));
}

/// ONNX orders the operands input, cos, sin, positions; nn as ONNX Runtime: input, positions, cos, sin.
void rotaryEmbedding(NodeBuilder &b) {
  if (!b.operand(3))
    return b.unsupported("the node has no position_ids", "export the model with position_ids and 2-D caches");
  b.setOutput(0, b.make<nn::RotaryEmbeddingOp>(b.operand(0), b.operand(3), b.operand(1), b.operand(2),
                                               boolean(b, "interleaved"), i64(b, b.integer("num_heads", 0)),
                                               i64(b, b.integer("rotary_embedding_dim", 0))));
}

bool checkQuantizedType(NodeBuilder &b, Value stored) {
  auto type = dyn_cast<IntegerType>(nn::elementTypeOf(stored));
  if (type && type.getWidth() > 1 && type.getWidth() <= 32)
    return true;
  b.unsupported("integers of 4, 8, 16 or 32 bits are wanted");
  return false;
}

void quantizeLinear(NodeBuilder &b) {
  Value zeroPoint = b.operand(2);
  auto wanted = static_cast<int32_t>(b.integer("output_dtype", 0));
  std::optional<ElementType> storage = toElementType(wanted ? wanted : int32_t(onnx::TensorProto::UINT8));
  if (!storage || !isa<IntegerType>(nn::toMLIRType(b.context(), *storage)))
    return b.unsupported("storage in " + dataTypeName(wanted) + " is not supported",
                         "quantize to integers of 4, 8 or 16 bits");
  // nn takes the storage type from the zero point; without one ONNX means zeros of the shape of the scale.
  if (!zeroPoint && *storage != ElementType::U8) {
    llvm::ArrayRef<int64_t> shape = b.shape(b.operand(1));
    if (llvm::is_contained(shape, ShapedType::kDynamic))
      return b.unsupported("the shape of the scale is not known");
    auto type = RankedTensorType::get(shape, nn::toMLIRType(b.context(), *storage));
    zeroPoint = nn::ConstantOp::create(
        b.builder(), b.location("zero_point"), type,
        DenseElementsAttr::get(type, b.builder().getIntegerAttr(type.getElementType(), 0).getValue()));
  }
  if (zeroPoint && !checkQuantizedType(b, zeroPoint))
    return;
  b.setOutput(0, b.make<nn::QuantizeLinearOp>(b.operand(0), b.operand(1), zeroPoint, i64(b, b.integer("axis", 1)),
                                              i64(b, b.integer("block_size", 0))));
}

void dequantizeLinear(NodeBuilder &b) {
  if (checkQuantizedType(b, b.operand(0)))
    b.setOutput(0, b.make<nn::DequantizeLinearOp>(b.operand(0), b.operand(1), b.operand(2),
                                                  i64(b, b.integer("axis", 1)), i64(b, b.integer("block_size", 0))));
}

} // namespace

void addComputeConversions(ConversionTable &table) {
  table["MatMul"] = matMul;
  table["Gemm"] = gemm;
  table["Einsum"] = einsum;
  table["Conv"] = conv;
  table["ConvTranspose"] = convTranspose;
  table["MaxPool"] = maxPool;
  table["AveragePool"] = averagePool;
  table["GlobalAveragePool"] = unary<nn::GlobalAveragePoolOp>;
  table["GlobalMaxPool"] = unary<nn::GlobalMaxPoolOp>;
  table["ReduceMean"] = reduce<nn::ReduceMeanOp>;
  table["ReduceSum"] = reduce<nn::ReduceSumOp>;
  table["ReduceMax"] = reduce<nn::ReduceMaxOp>;
  table["ReduceMin"] = reduce<nn::ReduceMinOp>;
  table["ReduceProd"] = reduce<nn::ReduceProdOp>;
  table["ReduceL1"] = reduce<nn::ReduceL1Op>;
  table["ReduceL2"] = reduce<nn::ReduceL2Op>;
  table["ReduceSumSquare"] = reduce<nn::ReduceSumSquareOp>;
  table["ReduceLogSumExp"] = reduce<nn::ReduceLogSumExpOp>;
  table["ReduceLogSum"] = reduceLogSum;
  table["ArgMax"] = argument<nn::ArgMaxOp>;
  table["ArgMin"] = argument<nn::ArgMinOp>;
  table["TopK"] = topK;
  table["Softmax"] = softmax<nn::SoftmaxOp>;
  table["LogSoftmax"] = softmax<nn::LogSoftmaxOp>;
  table["LayerNormalization"] = layerNormalization;
  table["RMSNormalization"] = rmsNormalization;
  table["SimplifiedLayerNormalization"] = rmsNormalization;
  table["InstanceNormalization"] = instanceNormalization;
  table["GroupNormalization"] = groupNormalization;
  table["BatchNormalization"] = batchNormalization;
  table["RotaryEmbedding"] = rotaryEmbedding;
  table["QuantizeLinear"] = quantizeLinear;
  table["DequantizeLinear"] = dequantizeLinear;
  table["com.microsoft::QuantizeLinear"] = quantizeLinear;
  table["com.microsoft::DequantizeLinear"] = dequantizeLinear;
}

} // namespace nibble::onnx_import
