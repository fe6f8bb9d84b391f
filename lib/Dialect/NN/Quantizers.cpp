#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Support/Error.h"

#include "mlir/IR/SymbolTable.h"
#include <cmath>

using namespace mlir;

namespace nibble::nn {
namespace {

/// Values of a rank-0 or rank-1 attribute with elements of type T; a blob's length gives the count.
template <typename T>
llvm::Expected<std::vector<T>> readValues(std::optional<Attribute> attribute, MLIRContext *context) {
  if (!attribute)
    return std::vector<T>();
  Type elementType = toMLIRType(context, ElementTypeOf<T>::value);
  RankedTensorType type;
  if (auto blob = dyn_cast<BlobAttr>(*attribute)) {
    type = RankedTensorType::get({static_cast<int64_t>(blob.getSize() / sizeof(T))}, elementType);
  } else {
    type = dyn_cast<RankedTensorType>(cast<ElementsAttr>(*attribute).getType());
    if (!type || type.getElementType() != elementType)
      return makeError(ErrorKind::BadInput, "has values of another type than " + name(ElementTypeOf<T>::value));
  }
  llvm::Expected<Tensor> tensor = readConstant(*attribute, type);
  if (!tensor)
    return tensor.takeError();
  llvm::ArrayRef<T> values = tensor->values<T>();
  return std::vector<T>(values.begin(), values.end());
}

template <typename T>
llvm::Expected<Attribute> makeValues(MLIRContext *context, llvm::ArrayRef<T> values, bool isScalar) {
  llvm::SmallVector<int64_t> shape;
  if (!isScalar)
    shape.push_back(static_cast<int64_t>(values.size()));
  return makeConstantAttribute(context, Tensor::fromValues<T>(shape, values));
}

std::optional<int64_t> toOptional(std::optional<uint64_t> value) {
  return value ? std::optional<int64_t>(static_cast<int64_t>(*value)) : std::nullopt;
}

/// What is wrong with the numbers of `encoding`, or an empty string.
std::string findFault(const quant::Encoding &encoding) {
  auto [low, high] = quant::integerRange(encoding.storage);
  if (encoding.quantMin < low || encoding.quantMax > high || encoding.quantMin >= encoding.quantMax)
    return "uses integers " + std::to_string(encoding.quantMin) + " to " + std::to_string(encoding.quantMax) +
           ", but its storage holds " + std::to_string(low) + " to " + std::to_string(high);
  for (float scale : encoding.scales)
    if (!std::isnormal(scale) || scale < 0)
      return "has scale " + std::to_string(scale) + ", but a scale must be a positive normal number";
  if (!encoding.zeroPoints.empty() && encoding.zeroPoints.size() != encoding.scales.size())
    return "has " + std::to_string(encoding.zeroPoints.size()) + " zero points for " +
           std::to_string(encoding.scales.size()) + " scales";
  for (int32_t zeroPoint : encoding.zeroPoints)
    if (zeroPoint < low || zeroPoint > high)
      return "has zero point " + std::to_string(zeroPoint) + ", but its storage holds " + std::to_string(low) + " to " +
             std::to_string(high);
  if (encoding.kind != quant::EncodingKind::LPBQ)
    return !encoding.axis && encoding.scales.size() > 1 ? "has several scales, but no axis" : "";
  if (!encoding.scales.empty() && encoding.blockMultipliers.size() % encoding.scales.size() != 0)
    return "has " + std::to_string(encoding.blockMultipliers.size()) + " block multipliers, which is no multiple of its " +
           std::to_string(encoding.scales.size()) + " channels";
  for (uint8_t multiplier : encoding.blockMultipliers)
    if (multiplier < 1 || multiplier > 16)
      return "has block multiplier " + std::to_string(multiplier) + ", but multipliers lie in 1 to 16";
  return "";
}

llvm::Error makeFault(QuantizerOp quantizer, const llvm::Twine &fault) {
  return makeError(ErrorKind::BadInput, "quantizer @" + quantizer.getSymName() + " " + fault);
}

} // namespace

llvm::Expected<quant::Encoding> readEncoding(QuantizerOp quantizer) {
  MLIRContext *context = quantizer.getContext();
  std::optional<ElementType> storage = toElementType(quantizer.getStorage());
  if (!storage || bitWidth(*storage) > 32 || *storage == ElementType::Bool)
    return makeFault(quantizer, "has a storage type that holds no quantized values");
  quant::Encoding encoding;
  encoding.kind = static_cast<quant::EncodingKind>(quantizer.getKind());
  encoding.storage = *storage;
  encoding.symmetric = quantizer.getSymmetric();
  auto [low, high] = quant::integerRange(*storage);
  encoding.quantMin = toOptional(quantizer.getQuantMin()).value_or(low);
  encoding.quantMax = toOptional(quantizer.getQuantMax()).value_or(high);
  encoding.axis = toOptional(quantizer.getAxis());
  encoding.blockSize = toOptional(quantizer.getBlockSize());
  encoding.channelAxis = toOptional(quantizer.getChannelAxis());
  llvm::Expected<std::vector<float>> scales = readValues<float>(quantizer.getScales(), context);
  if (!scales)
    return makeFault(quantizer, "scales: " + llvm::toString(scales.takeError()));
  llvm::Expected<std::vector<int32_t>> zeroPoints = readValues<int32_t>(quantizer.getZeroPoints(), context);
  if (!zeroPoints)
    return makeFault(quantizer, "zero_points: " + llvm::toString(zeroPoints.takeError()));
  llvm::Expected<std::vector<uint8_t>> multipliers = readValues<uint8_t>(quantizer.getBlockMultipliers(), context);
  if (!multipliers)
    return makeFault(quantizer, "block_multipliers: " + llvm::toString(multipliers.takeError()));
  encoding.scales = std::move(*scales);
  encoding.zeroPoints = std::move(*zeroPoints);
  encoding.blockMultipliers = std::move(*multipliers);
  if (std::string fault = findFault(encoding); !fault.empty())
    return makeFault(quantizer, fault);
  return encoding;
}

llvm::Error writeEncoding(QuantizerOp quantizer, const quant::Encoding &encoding) {
  MLIRContext *context = quantizer.getContext();
  assert(findFault(encoding).empty() && "only sound encodings are written");
  auto toAttribute = [&](std::optional<int64_t> value) {
    return value ? IntegerAttr::get(IntegerType::get(context, 64), *value) : IntegerAttr();
  };
  auto [low, high] = quant::integerRange(encoding.storage);
  quantizer.setStorage(toMLIRType(context, encoding.storage));
  quantizer.setKind(static_cast<QuantizerKind>(encoding.kind));
  quantizer.setSymmetric(encoding.symmetric);
  quantizer.setQuantMinAttr(encoding.quantMin == low ? IntegerAttr() : toAttribute(encoding.quantMin));
  quantizer.setQuantMaxAttr(encoding.quantMax == high ? IntegerAttr() : toAttribute(encoding.quantMax));
  quantizer.setAxisAttr(toAttribute(encoding.axis));
  quantizer.setBlockSizeAttr(toAttribute(encoding.blockSize));
  quantizer.setChannelAxisAttr(toAttribute(encoding.channelAxis));

  bool isScalar = !encoding.axis;
  Attribute scales, zeroPoints, multipliers;
  auto set = [](Attribute &attribute, llvm::Expected<Attribute> value) -> llvm::Error {
    if (!value)
      return value.takeError();
    attribute = *value;
    return llvm::Error::success();
  };
  if (!encoding.scales.empty())
    if (llvm::Error error = set(scales, makeValues<float>(context, encoding.scales, isScalar)))
      return error;
  if (!encoding.zeroPoints.empty())
    if (llvm::Error error = set(zeroPoints, makeValues<int32_t>(context, encoding.zeroPoints, isScalar)))
      return error;
  if (!encoding.blockMultipliers.empty())
    if (llvm::Error error = set(multipliers, makeValues<uint8_t>(context, encoding.blockMultipliers, isScalar)))
      return error;
  quantizer.setScalesAttr(scales);
  quantizer.setZeroPointsAttr(zeroPoints);
  quantizer.setBlockMultipliersAttr(multipliers);
  return llvm::Error::success();
}

llvm::Expected<QuantizerOp> createQuantizer(ModuleOp module, llvm::StringRef name, const quant::Encoding &encoding) {
  std::string symbol = name.str();
  for (unsigned suffix = 1; SymbolTable::lookupSymbolIn(module, symbol); ++suffix)
    symbol = (name + "_" + llvm::Twine(suffix)).str();
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  for (Operation &op : *module.getBody()) {
    if (!isa<QuantizerOp>(op))
      break;
    builder.setInsertionPointAfter(&op);
  }
  OperationState state(builder.getUnknownLoc(), QuantizerOp::getOperationName());
  state.addAttribute(SymbolTable::getSymbolAttrName(), builder.getStringAttr(symbol));
  state.addAttribute("storage", TypeAttr::get(toMLIRType(module.getContext(), encoding.storage)));
  auto quantizer = cast<QuantizerOp>(builder.create(state));
  if (llvm::Error error = writeEncoding(quantizer, encoding)) {
    quantizer.erase();
    return error;
  }
  return quantizer;
}

QuantizerOp lookupQuantizer(Operation *from, FlatSymbolRefAttr symbol) {
  for (Operation *scope = from; scope; scope = scope->getParentOp())
    if (scope->hasTrait<OpTrait::SymbolTable>())
      if (auto quantizer = dyn_cast_or_null<QuantizerOp>(SymbolTable::lookupSymbolIn(scope, symbol)))
        return quantizer;
  return {};
}

QuantizerOp quantizerOf(Value value) {
  Operation *op = resolveThroughBlocks(value).getDefiningOp();
  if (auto rounded = dyn_cast_or_null<FakeQuantOp>(op))
    return lookupQuantizer(op, rounded.getQuantizerAttr());
  if (auto stored = dyn_cast_or_null<DequantizeWeightOp>(op))
    return lookupQuantizer(op, stored.getQuantizerAttr());
  return {};
}

FakeQuantOp roundingOf(Value value) {
  for (Operation *user : value.getUsers())
    if (auto rounding = dyn_cast<FakeQuantOp>(user))
      return rounding;
  return {};
}

} // namespace nibble::nn
