//===- MatMulNBits.cpp - products with weights in blocks --------------------===//
//
// com.microsoft.MatMulNBits reads A [.., K] and a weight of uint8 [N, blocks, block_size * bits / 8]:
// column n of the [K, N] matrix, cut into blocks along K, the last one padded, elements packed from the
// low bits up. Elements are unsigned; without zero points these are 2^(bits - 1). Scales are [N, blocks].
//
//===----------------------------------------------------------------------===//
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/GraphBuilder.h"
#include "lib/Export/ONNX/Operators.h"
#include "lib/Support/Parallel.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble::onnx_export {
namespace {

/// Where the elements of a stored matrix are: [K, N], or [N, K] where `isTransposed`.
struct BlockMatrix {
  int64_t k, n, blockSize, blocks;
  unsigned bits;
  bool isTransposed, isSigned;

  int64_t elementIndex(int64_t row, int64_t column) const { return isTransposed ? column * k + row : row * n + column; }
  int64_t blockIndex(int64_t block, int64_t column) const {
    return isTransposed ? column * blocks + block : block * n + column;
  }
  /// What turns a stored value into the unsigned value of MatMulNBits.
  int32_t offset() const { return isSigned ? 1 << (bits - 1) : 0; }
  int32_t zeroPoint(const quant::Encoding &encoding, int64_t block, int64_t column) const {
    return offset() + (encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[blockIndex(block, column)]);
  }
};

/// Columns packed together, so that rows of a [K, N] matrix are read in runs.
constexpr int64_t columnsPerTile = 64;

void setElement(uint8_t *row, int64_t index, unsigned bits, int32_t value) {
  if (bits == 8)
    row[index] = static_cast<uint8_t>(value);
  else
    row[index / 2] |= static_cast<uint8_t>((value & 15) << (index % 2 * 4));
}

Tensor packWeights(const BlockMatrix &matrix, const quant::Encoding &encoding, const Tensor &stored) {
  Tensor packed =
      Tensor::allocate(ElementType::U8, {matrix.n, matrix.blocks, matrix.blockSize * matrix.bits / 8});
  auto *out = packed.mutableData<uint8_t>();
  std::fill_n(out, packed.byteSize(), 0);
  const auto *in = static_cast<const uint8_t *>(stored.raw());
  int64_t rowBytes = matrix.blocks * matrix.blockSize * matrix.bits / 8;
  parallelFor(llvm::divideCeilSigned(matrix.n, columnsPerTile), [&](int64_t tile) {
    int64_t begin = tile * columnsPerTile, end = std::min(matrix.n, begin + columnsPerTile);
    for (int64_t k = 0; k < matrix.blocks * matrix.blockSize; ++k)
      for (int64_t n = begin; n < end; ++n) {
        // What pads the last block stands for zero.
        int32_t value = matrix.zeroPoint(encoding, k / matrix.blockSize, n);
        if (k < matrix.k) {
          int64_t index = matrix.elementIndex(k, n);
          int32_t raw = matrix.bits == 8 ? in[index] : in[index / 2] >> (index % 2 * 4) & 15;
          // Adding half the range to a two's complement number and keeping its bits makes it unsigned.
          value = raw + matrix.offset();
        }
        setElement(out + n * rowBytes, k, matrix.bits, value);
      }
  });
  return packed;
}

Tensor packScales(const BlockMatrix &matrix, const quant::Encoding &encoding) {
  Tensor scales = Tensor::allocate(ElementType::F32, {matrix.n, matrix.blocks});
  std::vector<float> blockScales = encoding.effectiveScales();
  for (int64_t n = 0; n < matrix.n; ++n)
    for (int64_t block = 0; block < matrix.blocks; ++block)
      scales.mutableData<float>()[n * matrix.blocks + block] = blockScales[matrix.blockIndex(block, n)];
  return scales;
}

Tensor packZeroPoints(const BlockMatrix &matrix, const quant::Encoding &encoding) {
  int64_t rowBytes = llvm::divideCeilSigned(matrix.blocks * matrix.bits, 8);
  Tensor packed = Tensor::allocate(ElementType::U8, {matrix.n, rowBytes});
  std::fill_n(packed.mutableData<uint8_t>(), packed.byteSize(), 0);
  for (int64_t n = 0; n < matrix.n; ++n)
    for (int64_t block = 0; block < matrix.blocks; ++block)
      setElement(packed.mutableData<uint8_t>() + n * rowBytes, block, matrix.bits,
                 matrix.zeroPoint(encoding, block, n));
  return packed;
}

/// The form of `op`'s weight, or why it has none.
std::optional<BlockMatrix> planMatrix(Operation *op, nn::DequantizeWeightOp weight, const quant::Encoding &encoding,
                                      std::string &reason) {
  auto type = cast<RankedTensorType>(weight.getType());
  auto gemm = dyn_cast<nn::GemmOp>(op);
  bool isTransposed = gemm && gemm.getTransB();
  unsigned bits = bitWidth(encoding.storage);
  int64_t kAxis = isTransposed ? 1 : 0;
  if (!weight.getInput().getDefiningOp<nn::ConstantOp>())
    reason = "its weight is not a constant";
  else if (type.getRank() != 2)
    reason = "its weight has rank " + std::to_string(type.getRank());
  else if (bits != 4 && bits != 8)
    reason = "its weight has " + std::to_string(bits) + " bits";
  else if (!encoding.blockSize)
    reason = "its weight is not stored in blocks";
  else if (*encoding.axis != kAxis)
    reason = "its weight has blocks along the axis that is not reduced";
  else if (*encoding.blockSize < 16 || !llvm::isPowerOf2_64(static_cast<uint64_t>(*encoding.blockSize)))
    reason = "block size " + std::to_string(*encoding.blockSize) + " is not a power of two of at least 16";
  else if (gemm && (gemm.getTransA() || !gemm.getAlpha().isExactlyValue(1.0) || !gemm.getBeta().isExactlyValue(1.0)))
    reason = "its transA, alpha or beta is not the default";
  if (!reason.empty())
    return std::nullopt;
  int64_t k = type.getDimSize(kAxis), n = type.getDimSize(1 - kAxis);
  bool isSigned = encoding.storage == ElementType::I4 || encoding.storage == ElementType::I8;
  return BlockMatrix{k, n, *encoding.blockSize, llvm::divideCeilSigned(k, *encoding.blockSize), bits, isTransposed, isSigned};
}

} // namespace

llvm::Expected<bool> GraphBuilder::buildMatMulNBits(Operation *op, std::vector<std::string> *notes) {
  if (!isa<nn::MatMulOp, nn::GemmOp>(op))
    return false;
  auto weight = op->getOperand(1).getDefiningOp<nn::DequantizeWeightOp>();
  if (!weight)
    return false;
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(weight, weight.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  std::string reason;
  std::optional<BlockMatrix> plan = planMatrix(op, weight, *encoding, reason);
  if (!plan) {
    if (notes)
      notes->push_back("node '" + nn::nodeName(op) + "' keeps its weight in DequantizeLinear form: " + reason);
    return false;
  }
  BlockMatrix matrix = *plan;
  auto constant = weight.getInput().getDefiningOp<nn::ConstantOp>();
  const std::string &weightName = names.of(weight.getInput());
  bool hasZeroPoints = llvm::any_of(
      encoding->zeroPoints, [&](int32_t zeroPoint) { return zeroPoint + matrix.offset() != 1 << (matrix.bits - 1); });
  if (!hasZeroPoints && encoding->zeroPoints.empty() && !matrix.isSigned)
    hasZeroPoints = true;
  // A tied weight is stored once.
  PackedNames &packed = packedWeights[{weightName, quantizer.getSymName().str(), matrix.isTransposed}];
  if (packed.weight.empty()) {
    packed = {names.makeUnique(weightName + "/packed"), names.makeUnique(weightName + "/scales"),
              names.makeUnique(weightName + "/zero_points")};
    auto addLazily = [&](const std::string &name, ElementType type, Shape shape, auto make) {
      writer.addInitializer({name, type, shape, [quantizer, make]() mutable -> llvm::Expected<Tensor> {
                               llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
                               if (!encoding)
                                 return encoding.takeError();
                               return make(*encoding);
                             }});
    };
    addLazily(packed.weight, ElementType::U8, {matrix.n, matrix.blocks, matrix.blockSize * matrix.bits / 8},
              [matrix, constant](const quant::Encoding &e) mutable -> llvm::Expected<Tensor> {
                llvm::Expected<Tensor> stored = nn::readConstant(constant.getResult());
                if (!stored)
                  return stored.takeError();
                return packWeights(matrix, e, *stored);
              });
    addLazily(packed.scale, ElementType::F32, {matrix.n, matrix.blocks},
              [matrix](const quant::Encoding &e) -> llvm::Expected<Tensor> { return packScales(matrix, e); });
    if (hasZeroPoints)
      addLazily(packed.zeroPoint, ElementType::U8, {matrix.n, llvm::divideCeilSigned(matrix.blocks * matrix.bits, 8)},
                [matrix](const quant::Encoding &e) -> llvm::Expected<Tensor> { return packZeroPoints(matrix, e); });
  }

  // The operands of gemm's addend and of the left side may themselves be constants.
  Value addend = isa<nn::GemmOp>(op) ? cast<nn::GemmOp>(op).getC() : Value();
  for (Value operand : {op->getOperand(0), addend})
    if (operand)
      if (llvm::Error error = buildConstant(op, operand))
        return std::move(error);
  const std::string &output = names.of(op->getResult(0));
  std::string product = addend ? names.makeUnique(output + "/product") : output;
  llvm::SmallVector<std::string> inputs = {names.of(op->getOperand(0)), packed.weight, packed.scale};
  if (hasZeroPoints)
    inputs.push_back(packed.zeroPoint);
  onnx::NodeProto &node = addNode(nn::nodeName(op), "MatMulNBits", inputs, product);
  node.set_domain("com.microsoft");
  writer.requireMicrosoftOperators();
  addAttribute(node, "K", matrix.k);
  addAttribute(node, "N", matrix.n);
  addAttribute(node, "bits", static_cast<int64_t>(matrix.bits));
  addAttribute(node, "block_size", matrix.blockSize);
  Type type = op->getResult(0).getType();
  addValueInfo(product, cast<RankedTensorType>(type).getElementType(), type);
  if (addend) {
    addNode(nn::nodeName(op) + "/add", "Add", {product, names.of(addend)}, output);
    addValueInfo(output, cast<RankedTensorType>(type).getElementType(), type);
  }
  return true;
}

llvm::Error exportMatMulNBits(ModuleOp module, llvm::StringRef path, const MatMulNBitsOptions &options,
                              std::vector<std::string> *notes) {
  llvm::Expected<OwningOpRef<ModuleOp>> flat = flattenModule(module);
  if (!flat)
    return flat.takeError();
  ModelWriter writer;
  if (llvm::Error error =
          GraphBuilder(**flat, writer, {GraphOptions::Form::MatMulNBits, /*integerIO=*/false}).build(nullptr, notes))
    return error;
  return writer.writeToFile(path, options.externalDataThreshold);
}

} // namespace nibble::onnx_export
