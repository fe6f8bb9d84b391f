// Conversions of operators that move data or compute shapes.
#include "lib/Import/ONNX/NodeBuilder.h"

using namespace mlir;

namespace nibble::onnx_import {
namespace {

IntegerAttr i64(NodeBuilder &b, int64_t value) { return b.builder().getI64IntegerAttr(value); }

/// The shape of a tensor whose dimensions are known is a constant; lists of sizes then have a known length.
void shape(NodeBuilder &b) {
  llvm::ArrayRef<int64_t> shape = b.shape(b.operand(0));
  int64_t rank = static_cast<int64_t>(shape.size());
  auto clamp = [&](int64_t index) { return std::clamp<int64_t>(index < 0 ? index + rank : index, 0, rank); };
  int64_t first = clamp(b.integer("start", 0)), last = std::max(first, clamp(b.integer("end", rank)));
  llvm::ArrayRef<int64_t> part = shape.slice(static_cast<size_t>(first), static_cast<size_t>(last - first));
  if (!llvm::is_contained(part, ShapedType::kDynamic))
    return b.setOutput(0, b.constant(Tensor::fromValues<int64_t>({last - first}, part)));
  IntegerAttr end = b.has("end") ? i64(b, b.integer("end", 0)) : IntegerAttr();
  b.setOutput(0, b.make<nn::ShapeOp>(b.operand(0), i64(b, b.integer("start", 0)), end));
}

void size(NodeBuilder &b) { b.setOutput(0, b.make<nn::SizeOp>(b.operand(0))); }

void reshape(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::ReshapeOp>(b.operand(0), b.operand(1), b.builder().getBoolAttr(b.flag("allowzero"))));
}

void flatten(NodeBuilder &b) { b.setOutput(0, b.make<nn::FlattenOp>(b.operand(0), i64(b, b.integer("axis", 1)))); }

/// Axes are an operand since opset 13 and were an attribute before.
Value axesOperand(NodeBuilder &b) {
  if (b.opset() >= 13 || !b.has("axes"))
    return b.opset() >= 13 ? b.operand(1) : Value();
  return b.integersConstant("axes", b.integers("axes"));
}

void squeeze(NodeBuilder &b) { b.setOutput(0, b.make<nn::SqueezeOp>(b.operand(0), axesOperand(b))); }
void unsqueeze(NodeBuilder &b) { b.setOutput(0, b.make<nn::UnsqueezeOp>(b.operand(0), axesOperand(b))); }

void transpose(NodeBuilder &b) {
  SmallVector<int64_t> perm = b.integers("perm");
  if (!b.has("perm"))
    for (int64_t i = b.rank(b.operand(0)); i > 0; --i)
      perm.push_back(i - 1);
  b.setOutput(0, b.make<nn::TransposeOp>(b.operand(0), b.builder().getDenseI64ArrayAttr(perm)));
}

void concat(NodeBuilder &b) { b.setOutput(0, b.make<nn::ConcatOp>(b.allOperands(), i64(b, b.integer("axis", 0)))); }

/// Sizes are an operand since opset 13; without them the parts are equal, but for the last where the
/// dimension is not a multiple (opset 18).
void split(NodeBuilder &b) {
  int64_t axis = b.integer("axis", 0), parts = b.outputCount();
  Value sizes = b.opset() >= 13 ? b.operand(1) : Value();
  if (b.opset() < 13 && b.has("split"))
    sizes = b.integersConstant("sizes", b.integers("split"));
  if (b.has("num_outputs") && (sizes || b.integer("num_outputs", 0) != parts))
    return b.invalid(sizes ? llvm::Twine("both num_outputs and sizes are given")
                           : "attribute 'num_outputs' is " + llvm::Twine(b.integer("num_outputs", 0)) +
                                 ", but the node has " + llvm::Twine(parts) + " outputs");
  int64_t rank = b.rank(b.operand(0)), index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= rank)
    return b.invalid("axis " + llvm::Twine(axis) + " is outside a tensor of rank " + llvm::Twine(rank));
  int64_t dimension = b.shape(b.operand(0))[index];
  if (!sizes && b.has("num_outputs") && !ShapedType::isDynamic(dimension) && dimension % parts != 0) {
    int64_t part = (dimension + parts - 1) / parts;
    SmallVector<int64_t> values(parts, part);
    values.back() = dimension - part * (parts - 1);
    if (values.back() < 0)
      return b.invalid("dimension " + llvm::Twine(dimension) + " cannot be split into " + llvm::Twine(parts) +
                       " parts");
    sizes = b.integersConstant("sizes", values);
  }
  b.setOutputs(b.make<nn::SplitOp>(b.operand(0), sizes, i64(b, axis)));
}

void slice(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::SliceOp>(b.operand(0), b.operand(1), b.operand(2), b.operand(3), b.operand(4)));
}

void expand(NodeBuilder &b) { b.setOutput(0, b.make<nn::ExpandOp>(b.operand(0), b.operand(1))); }
void tile(NodeBuilder &b) { b.setOutput(0, b.make<nn::TileOp>(b.operand(0), b.operand(1))); }

void pad(NodeBuilder &b) {
  llvm::StringRef mode = b.text("mode", "constant");
  std::optional<nn::PadMode> padMode = nn::symbolizePadMode(mode);
  if (!padMode)
    return b.invalid("attribute 'mode' must be constant, reflect, edge or wrap, but is '" + mode + "'");
  // An empty constant_value tensor is how some writers leave the operand out.
  Value fill = *padMode == nn::PadMode::Constant ? b.operand(2) : Value();
  if (fill && cast<RankedTensorType>(fill.getType()).hasStaticShape() &&
      cast<RankedTensorType>(fill.getType()).getNumElements() == 0)
    fill = Value();
  b.setOutput(0, b.make<nn::PadOp>(b.operand(0), b.operand(1), fill, b.operand(3),
                                   nn::PadModeAttr::get(b.context(), *padMode)));
}

template <typename OpT> void gather(NodeBuilder &b) {
  b.setOutput(0, b.make<OpT>(b.operand(0), b.operand(1), i64(b, b.integer("axis", 0))));
}

void gatherND(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::GatherNDOp>(b.operand(0), b.operand(1), i64(b, b.integer("batch_dims", 0))));
}

bool checkReduction(NodeBuilder &b) {
  llvm::StringRef reduction = b.text("reduction", "none");
  bool isKnown = llvm::is_contained({"none", "add", "mul", "max", "min"}, reduction);
  if (!isKnown)
    b.invalid("attribute 'reduction' must be none, add, mul, max or min, but is '" + reduction + "'");
  return isKnown;
}

void scatterND(NodeBuilder &b) {
  if (checkReduction(b))
    b.setOutput(0, b.make<nn::ScatterNDOp>(b.operand(0), b.operand(1), b.operand(2),
                                           b.builder().getStringAttr(b.text("reduction", "none"))));
}

void scatterElements(NodeBuilder &b) {
  if (checkReduction(b))
    b.setOutput(0, b.make<nn::ScatterElementsOp>(b.operand(0), b.operand(1), b.operand(2),
                                                 i64(b, b.integer("axis", 0)),
                                                 b.builder().getStringAttr(b.text("reduction", "none"))));
}

void depthToSpace(NodeBuilder &b) {
  llvm::StringRef mode = b.text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    return b.invalid("attribute 'mode' must be DCR or CRD, but is '" + mode + "'");
  b.setOutput(0, b.make<nn::DepthToSpaceOp>(b.operand(0), i64(b, b.integer("blocksize", 1)),
                                            b.builder().getStringAttr(mode)));
}

void spaceToDepth(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::SpaceToDepthOp>(b.operand(0), i64(b, b.integer("blocksize", 1))));
}

void trilu(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::TriluOp>(b.operand(0), b.operand(1), b.builder().getBoolAttr(b.flag("upper", true))));
}

void range(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::RangeOp>(b.operand(0), b.operand(1), b.operand(2)));
}

void cumSum(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::CumSumOp>(b.operand(0), b.operand(1), b.builder().getBoolAttr(b.flag("exclusive")),
                                      b.builder().getBoolAttr(b.flag("reverse"))));
}

void oneHot(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::OneHotOp>(b.operand(0), b.operand(1), b.operand(2), i64(b, b.integer("axis", -1))));
}

/// Null where `value` is absent or an empty list, which is how Resize leaves operands out.
Value unlessEmpty(Value value) {
  auto type = value ? cast<RankedTensorType>(value.getType()) : nullptr;
  return type && type.getRank() == 1 && type.getDimSize(0) == 0 ? Value() : value;
}

void resize(NodeBuilder &b) {
  llvm::StringRef mode = b.text("mode", "nearest");
  llvm::StringRef coordinates = b.text("coordinate_transformation_mode", "half_pixel");
  llvm::StringRef nearest = b.text("nearest_mode", "round_prefer_floor");
  if (!llvm::is_contained({"nearest", "linear", "cubic"}, mode))
    return b.invalid("attribute 'mode' must be nearest, linear or cubic, but is '" + mode + "'");
  if (!llvm::is_contained({"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"},
                          coordinates))
    return b.unsupported("coordinate_transformation_mode '" + coordinates + "' is not supported",
                         "use half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners or asymmetric");
  if (!llvm::is_contained({"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}, nearest))
    return b.invalid("attribute 'nearest_mode' is '" + nearest + "', which ONNX does not define");
  if (b.flag("exclude_outside"))
    return b.unsupported("exclude_outside is not supported", "export the model with exclude_outside = 0");
  if (b.text("keep_aspect_ratio_policy", "stretch") != "stretch")
    return b.unsupported("keep_aspect_ratio_policy '" + b.text("keep_aspect_ratio_policy", "") + "' is not supported",
                         "state the sizes of all resized dimensions");
  Value scales = unlessEmpty(b.operand(2)), sizes = unlessEmpty(b.operand(3));
  if (!scales == !sizes)
    return b.invalid("one of scales and sizes must be given");
  DenseI64ArrayAttr axes = b.has("axes") ? b.builder().getDenseI64ArrayAttr(b.integers("axes")) : DenseI64ArrayAttr();
  OpBuilder &builder = b.builder();
  b.setOutput(0, b.make<nn::ResizeOp>(b.operand(0), scales, sizes, builder.getStringAttr(mode),
                                      builder.getStringAttr(coordinates), builder.getStringAttr(nearest),
                                      builder.getF32FloatAttr(b.number("cubic_coeff_a", -0.75f)),
                                      builder.getBoolAttr(b.flag("antialias")), axes));
}

} // namespace

void addMovementConversions(ConversionTable &table) {
  table["Shape"] = shape;
  table["Size"] = size;
  table["Reshape"] = reshape;
  table["Flatten"] = flatten;
  table["Squeeze"] = squeeze;
  table["Unsqueeze"] = unsqueeze;
  table["Transpose"] = transpose;
  table["Concat"] = concat;
  table["Split"] = split;
  table["Slice"] = slice;
  table["Expand"] = expand;
  table["Tile"] = tile;
  table["Pad"] = pad;
  table["Gather"] = gather<nn::GatherOp>;
  table["GatherElements"] = gather<nn::GatherElementsOp>;
  table["GatherND"] = gatherND;
  table["ScatterND"] = scatterND;
  table["ScatterElements"] = scatterElements;
  table["DepthToSpace"] = depthToSpace;
  table["SpaceToDepth"] = spaceToDepth;
  table["Trilu"] = trilu;
  table["Range"] = range;
  table["CumSum"] = cumSum;
  table["OneHot"] = oneHot;
  table["Resize"] = resize;
}

} // namespace nibble::onnx_import
