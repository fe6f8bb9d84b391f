#include "passes/Rewriting.h"

#include <cmath>
#include <numeric>

using namespace mlir;

namespace nibble {

void setInferredTypes(Operation *op) {
  SmallVector<RankedTensorType> types;
  if (failed(nn::inferResultTypes(op, types)))
    return;
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types))
    result.setType(type);
}

/// The location of a parameter of the operation at `location`: its node's and tensor's names with `suffix`.
static Location parameterLocation(Location location, llvm::StringRef suffix) {
  auto node = dyn_cast<NameLoc>(location);
  if (!node)
    return location;
  Location child = node.getChildLoc();
  if (auto fused = dyn_cast<FusedLoc>(child); fused && !fused.getLocations().empty())
    child = fused.getLocations().front();
  auto tensor = dyn_cast<NameLoc>(child);
  std::string tensorName = ((tensor ? tensor.getName().getValue() : llvm::StringRef()) + "/" + suffix).str();
  return nn::makeLocation(location.getContext(), (node.getName().getValue() + "/" + suffix).str(), {tensorName});
}

Value createReshape(OpBuilder &builder, Location location, Value input, llvm::ArrayRef<int64_t> shape) {
  if (nn::shapeOf(input) == shape)
    return input;
  Value constant = nn::createIntegers(builder, parameterLocation(location, "shape"), shape);
  return nn::ReshapeOp::create(builder, location, RankedTensorType::get(shape, nn::elementTypeOf(input)), input,
                               constant, /*allowzero=*/llvm::is_contained(shape, 0));
}

Value createTranspose(OpBuilder &builder, Location location, Value input, llvm::ArrayRef<int64_t> permutation) {
  SmallVector<int64_t> identity(permutation.size());
  std::iota(identity.begin(), identity.end(), 0);
  if (permutation == llvm::ArrayRef(identity))
    return input;
  return createInferred<nn::TransposeOp>(builder, location, input, permutation);
}

Value createSlice(OpBuilder &builder, Location location, Value input, int64_t axis, int64_t begin, int64_t end) {
  Value starts = nn::createIntegers(builder, parameterLocation(location, "starts"), begin);
  Value ends = nn::createIntegers(builder, parameterLocation(location, "ends"), end);
  Value axes = nn::createIntegers(builder, parameterLocation(location, "axes"), axis);
  return createInferred<nn::SliceOp>(builder, location, input, starts, ends, axes, Value());
}

llvm::FailureOr<Value> createConstantValue(OpBuilder &builder, Location location, const Tensor &tensor) {
  llvm::Expected<nn::ConstantOp> constant = nn::createConstant(builder, location, tensor);
  if (!constant)
    return emitError(location) << llvm::toString(constant.takeError());
  return constant->getResult();
}

Value createReshapedConstant(OpBuilder &builder, Location location, Value constant, llvm::ArrayRef<int64_t> shape) {
  if (nn::shapeOf(constant) == shape)
    return constant;
  Attribute value = constant.getDefiningOp<nn::ConstantOp>().getValue();
  auto type = RankedTensorType::get(shape, nn::elementTypeOf(constant));
  if (auto elements = dyn_cast<DenseElementsAttr>(value))
    value = elements.reshape(type);
  if (auto elements = dyn_cast<ElementsAttr>(value); elements && elements.getType() != type)
    return createReshape(builder, location, constant, shape);
  return nn::ConstantOp::create(builder, location, type, value);
}

std::optional<double> matchSplat(Value value) {
  static constexpr int64_t maximumCount = 65536;
  if (!value || !value.getDefiningOp<nn::ConstantOp>())
    return std::nullopt;
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getNumElements() == 0 || type.getNumElements() > maximumCount)
    return std::nullopt;
  Tensor tensor = nn::tryReadConstant(value);
  if (!tensor)
    return std::nullopt;
  double first = tensor.valueAsDouble(0);
  for (int64_t i = 1; i < tensor.elementCount(); ++i)
    if (tensor.valueAsDouble(i) != first)
      return std::nullopt;
  return first;
}

bool isSplatOf(Value value, double expected, double tolerance) {
  std::optional<double> splat = matchSplat(value);
  return splat && std::abs(*splat - expected) <= tolerance * std::abs(expected);
}

bool hasStaticShape(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape();
}

LogicalResult applyPatterns(Operation *op, RewritePatternSet &&patterns, RewriterBase::Listener *listener) {
  GreedyRewriteConfig config;
  config.setListener(listener).enableFolding(false).enableConstantCSE(false).setRegionSimplificationLevel(
      GreedySimplifyRegionLevel::Disabled);
  return applyPatternsGreedily(op, std::move(patterns), config);
}

} // namespace nibble
