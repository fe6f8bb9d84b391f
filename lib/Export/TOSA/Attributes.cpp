#include "lib/Export/TOSA/Attributes.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Support/DebugStringHelper.h"
#include "llvm/ADT/TypeSwitch.h"

namespace ops = mlir::tosa;
namespace schema = ::tosa;

namespace nibble::tosa_export {

using Builder = flatbuffers::FlatBufferBuilder;
using IntegersOffset = flatbuffers::Offset<flatbuffers::Vector<int32_t>>;
using BytesOffset = flatbuffers::Offset<flatbuffers::Vector<uint8_t>>;

llvm::Expected<schema::DType> toDType(mlir::Type elementType, const llvm::Twine &subject) {
  if (elementType.isSignlessInteger())
    switch (elementType.getIntOrFloatBitWidth()) {
    case 1: return schema::DType_BOOL;
    case 4: return schema::DType_INT4;
    case 8: return schema::DType_INT8;
    case 16: return schema::DType_INT16;
    case 32: return schema::DType_INT32;
    case 48: return schema::DType_INT48;
    default: break;
    }
  return makeError(ErrorKind::Internal, subject + ": type " + mlir::debugString(elementType) +
                                            " has no place in an integer program");
}

static IntegersOffset toIntegers(llvm::ArrayRef<int64_t> values, Builder &builder) {
  return builder.CreateVector(std::vector<int32_t>(values.begin(), values.end()));
}

/// A limit of CLAMP: the bytes of one element, padded to eight as the reference writer does.
static BytesOffset toLimit(mlir::Attribute value, Builder &builder) {
  uint64_t bits = mlir::cast<mlir::IntegerAttr>(value).getValue().getZExtValue();
  std::vector<uint8_t> bytes;
  for (unsigned i = 0; i < 8; ++i)
    bytes.push_back(static_cast<uint8_t>(bits >> 8 * i));
  builder.ForceVectorAlignment(bytes.size(), 1, 8);
  return builder.CreateVector(bytes);
}

static schema::NanPropagationMode toSchema(ops::NanPropagationMode mode) {
  return static_cast<schema::NanPropagationMode>(mode);
}

namespace {
/// One overload per operation that has attributes. The accumulator of an integer program is i32 or i48.
class FormWriter {
  template <typename Op> static int32_t axisOf(Op op) { return static_cast<int32_t>(op.getAxis()); }
  template <typename Op> static schema::DType accumulatorOf(Op op) {
    return op.getAccType().isInteger(48) ? schema::DType_INT48 : schema::DType_INT32;
  }
  template <typename Op, typename Create> auto writeConvolution(Op op, Create create) {
    IntegersOffset pad = toIntegers(op.getPad(), builder), stride = toIntegers(op.getStride(), builder),
                   dilation = toIntegers(op.getDilation(), builder);
    return create(builder, pad, stride, dilation, op.getLocalBound(), accumulatorOf(op));
  }

public:
  explicit FormWriter(Builder &builder) : builder(builder) {}

  auto write(ops::ArgMaxOp op) { return schema::CreateArgMaxAttribute(builder, axisOf(op), toSchema(op.getNanMode())); }
  auto write(ops::AvgPool2dOp op) {
    IntegersOffset kernel = toIntegers(op.getKernel(), builder), stride = toIntegers(op.getStride(), builder),
                   pad = toIntegers(op.getPad(), builder);
    return schema::CreateAvgPool2dAttribute(builder, kernel, stride, pad, accumulatorOf(op));
  }
  auto write(ops::MaxPool2dOp op) {
    IntegersOffset kernel = toIntegers(op.getKernel(), builder), stride = toIntegers(op.getStride(), builder),
                   pad = toIntegers(op.getPad(), builder);
    return schema::CreateMaxPool2dAttribute(builder, kernel, stride, pad, toSchema(op.getNanMode()));
  }
  auto write(ops::Conv2DOp op) { return writeConvolution(op, schema::CreateConv2dAttribute); }
  auto write(ops::Conv3DOp op) { return writeConvolution(op, schema::CreateConv3dAttribute); }
  auto write(ops::DepthwiseConv2DOp op) { return writeConvolution(op, schema::CreateDepthwiseConv2dAttribute); }
  auto write(ops::TransposeConv2DOp op) {
    IntegersOffset pad = toIntegers(op.getOutPad(), builder), stride = toIntegers(op.getStride(), builder);
    return schema::CreateTransposeConv2dAttribute(builder, pad, stride, op.getLocalBound(), accumulatorOf(op));
  }
  auto write(ops::ClampOp op) {
    BytesOffset minimum = toLimit(op.getMinVal(), builder), maximum = toLimit(op.getMaxVal(), builder);
    return schema::CreateClampAttribute(builder, minimum, maximum, toSchema(op.getNanMode()));
  }
  auto write(ops::ArithmeticRightShiftOp op) {
    return schema::CreateArithmeticRightShiftAttribute(builder, op.getRound());
  }
  auto write(ops::MaximumOp op) { return schema::CreateMaximumAttribute(builder, toSchema(op.getNanMode())); }
  auto write(ops::MinimumOp op) { return schema::CreateMinimumAttribute(builder, toSchema(op.getNanMode())); }
  auto write(ops::ReduceAllOp op) { return schema::CreateReduceAllAttribute(builder, axisOf(op)); }
  auto write(ops::ReduceAnyOp op) { return schema::CreateReduceAnyAttribute(builder, axisOf(op)); }
  auto write(ops::ReduceSumOp op) { return schema::CreateReduceSumAttribute(builder, axisOf(op)); }
  auto write(ops::ReduceMaxOp op) {
    return schema::CreateReduceMaxAttribute(builder, axisOf(op), toSchema(op.getNanMode()));
  }
  auto write(ops::ReduceMinOp op) {
    return schema::CreateReduceMinAttribute(builder, axisOf(op), toSchema(op.getNanMode()));
  }
  auto write(ops::ConcatOp op) { return schema::CreateConcatAttribute(builder, axisOf(op)); }
  auto write(ops::ReverseOp op) { return schema::CreateReverseAttribute(builder, axisOf(op)); }
  auto write(ops::TransposeOp op) {
    IntegersOffset permutation = builder.CreateVector(op.getPerms().data(), op.getPerms().size());
    return schema::CreateTransposeAttribute(builder, permutation);
  }
  auto write(ops::ResizeOp op) {
    return schema::CreateResizeAttribute(builder, static_cast<schema::ResizeMode>(op.getMode()));
  }
  auto write(ops::RescaleOp op) {
    return schema::CreateRescaleAttribute(builder, op.getScale32(),
                                          static_cast<schema::RoundingMode>(op.getRoundingMode()), op.getPerChannel(),
                                          op.getInputUnsigned(), op.getOutputUnsigned());
  }

private:
  Builder &builder;
};
} // namespace

llvm::Expected<OperatorForm> toOperatorForm(mlir::Operation *op, Builder &builder) {
  OperatorForm form;
  FormWriter writer(builder);
  llvm::TypeSwitch<mlir::Operation *> formOf(op);
#define WITH_ATTRIBUTE(MLIR_OP, CODE, TABLE)                                                                           \
  formOf.Case<ops::MLIR_OP>([&](ops::MLIR_OP typed) {                                                                 \
    form = {schema::Op_##CODE, schema::Attribute_##TABLE, writer.write(typed).Union()};                                \
  });
#define WITHOUT_ATTRIBUTE(MLIR_OP, CODE, TABLE)                                                                        \
  formOf.Case<ops::MLIR_OP>([&](ops::MLIR_OP) {                                                                       \
    form = {schema::Op_##CODE, schema::Attribute_##TABLE, schema::Create##TABLE(builder).Union()};                     \
  });
  WITH_ATTRIBUTE(ArgMaxOp, ARGMAX, ArgMaxAttribute)
  WITH_ATTRIBUTE(AvgPool2dOp, AVG_POOL2D, AvgPool2dAttribute)
  WITH_ATTRIBUTE(Conv2DOp, CONV2D, Conv2dAttribute)
  WITH_ATTRIBUTE(Conv3DOp, CONV3D, Conv3dAttribute)
  WITH_ATTRIBUTE(DepthwiseConv2DOp, DEPTHWISE_CONV2D, DepthwiseConv2dAttribute)
  WITHOUT_ATTRIBUTE(MatMulOp, MATMUL, MatMulAttribute)
  WITH_ATTRIBUTE(MaxPool2dOp, MAX_POOL2D, MaxPool2dAttribute)
  WITH_ATTRIBUTE(TransposeConv2DOp, TRANSPOSE_CONV2D, TransposeConv2dAttribute)
  WITH_ATTRIBUTE(ClampOp, CLAMP, ClampAttribute)
  WITHOUT_ATTRIBUTE(AddOp, ADD, AddAttribute)
  WITH_ATTRIBUTE(ArithmeticRightShiftOp, ARITHMETIC_RIGHT_SHIFT, ArithmeticRightShiftAttribute)
  WITHOUT_ATTRIBUTE(BitwiseAndOp, BITWISE_AND, BitwiseAndAttribute)
  WITHOUT_ATTRIBUTE(BitwiseOrOp, BITWISE_OR, BitwiseOrAttribute)
  WITHOUT_ATTRIBUTE(BitwiseXorOp, BITWISE_XOR, BitwiseXorAttribute)
  WITHOUT_ATTRIBUTE(IntDivOp, INTDIV, IntDivAttribute)
  WITHOUT_ATTRIBUTE(LogicalAndOp, LOGICAL_AND, LogicalAndAttribute)
  WITHOUT_ATTRIBUTE(LogicalLeftShiftOp, LOGICAL_LEFT_SHIFT, LogicalLeftShiftAttribute)
  WITHOUT_ATTRIBUTE(LogicalRightShiftOp, LOGICAL_RIGHT_SHIFT, LogicalRightShiftAttribute)
  WITHOUT_ATTRIBUTE(LogicalOrOp, LOGICAL_OR, LogicalOrAttribute)
  WITHOUT_ATTRIBUTE(LogicalXorOp, LOGICAL_XOR, LogicalXorAttribute)
  WITH_ATTRIBUTE(MaximumOp, MAXIMUM, MaximumAttribute)
  WITH_ATTRIBUTE(MinimumOp, MINIMUM, MinimumAttribute)
  WITHOUT_ATTRIBUTE(MulOp, MUL, MulAttribute)
  WITHOUT_ATTRIBUTE(SubOp, SUB, SubAttribute)
  WITHOUT_ATTRIBUTE(TableOp, TABLE, TableAttribute)
  WITHOUT_ATTRIBUTE(AbsOp, ABS, AbsAttribute)
  WITHOUT_ATTRIBUTE(BitwiseNotOp, BITWISE_NOT, BitwiseNotAttribute)
  WITHOUT_ATTRIBUTE(ClzOp, CLZ, ClzAttribute)
  WITHOUT_ATTRIBUTE(LogicalNotOp, LOGICAL_NOT, LogicalNotAttribute)
  WITHOUT_ATTRIBUTE(NegateOp, NEGATE, NegateAttribute)
  WITHOUT_ATTRIBUTE(SelectOp, SELECT, SelectAttribute)
  WITHOUT_ATTRIBUTE(EqualOp, EQUAL, EqualAttribute)
  WITHOUT_ATTRIBUTE(GreaterOp, GREATER, GreaterAttribute)
  WITHOUT_ATTRIBUTE(GreaterEqualOp, GREATER_EQUAL, GreaterEqualAttribute)
  WITH_ATTRIBUTE(ReduceAllOp, REDUCE_ALL, ReduceAllAttribute)
  WITH_ATTRIBUTE(ReduceAnyOp, REDUCE_ANY, ReduceAnyAttribute)
  WITH_ATTRIBUTE(ReduceMaxOp, REDUCE_MAX, ReduceMaxAttribute)
  WITH_ATTRIBUTE(ReduceMinOp, REDUCE_MIN, ReduceMinAttribute)
  WITH_ATTRIBUTE(ReduceSumOp, REDUCE_SUM, ReduceSumAttribute)
  WITH_ATTRIBUTE(ConcatOp, CONCAT, ConcatAttribute)
  WITHOUT_ATTRIBUTE(PadOp, PAD, PadAttribute)
  WITHOUT_ATTRIBUTE(ReshapeOp, RESHAPE, ReshapeAttribute)
  WITH_ATTRIBUTE(ReverseOp, REVERSE, ReverseAttribute)
  WITHOUT_ATTRIBUTE(SliceOp, SLICE, SliceAttribute)
  WITHOUT_ATTRIBUTE(TileOp, TILE, TileAttribute)
  WITH_ATTRIBUTE(TransposeOp, TRANSPOSE, TransposeAttribute)
  WITHOUT_ATTRIBUTE(GatherOp, GATHER, GatherAttribute)
  WITHOUT_ATTRIBUTE(ScatterOp, SCATTER, ScatterAttribute)
  WITH_ATTRIBUTE(ResizeOp, RESIZE, ResizeAttribute)
  WITHOUT_ATTRIBUTE(CastOp, CAST, CastAttribute)
  WITH_ATTRIBUTE(RescaleOp, RESCALE, RescaleAttribute)
  WITHOUT_ATTRIBUTE(IdentityOp, IDENTITY, IdentityAttribute)
#undef WITH_ATTRIBUTE
#undef WITHOUT_ATTRIBUTE
  if (form.code == schema::Op_UNKNOWN)
    return makeError(ErrorKind::Internal, "node '" + nn::nodeName(op) + "': operation '" +
                                              op->getName().getStringRef() + "' has no place in an integer program");
  return form;
}

} // namespace nibble::tosa_export
