//===- MatMulNBits.cpp - products and tables with weights in blocks ---------===//
//
// com.microsoft.MatMulNBits reads A [.., K] and a weight of uint8 [N, blocks, block_size * bits / 8]:
// column n of the [K, N] matrix, cut into blocks along K, the last one padded, elements packed from the
// low bits up. Elements are unsigned; without zero points these are 2^(bits - 1). Scales are [N, blocks].
//
// com.microsoft.GatherBlockQuantized reads rows of a table [N, K] with blocks along K: int4 or uint4 as they
// are stored, whose zero points are 0 where absent, or uint8, whose zero points are then 128.
//
//===----------------------------------------------------------------------===//
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/GraphBuilder.h"
#include "lib/Export/ONNX/Operators.h"
#include "lib/Support/Parallel.h"

#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;

namespace nibble::onnx_export {

/// Where the elements of a stored matrix are: [K, N], or [N, K] where `isTransposed`. Blocks run along K; a
/// weight with one scale per column or for all is cut into blocks too, which then share scales.
struct BlockMatrix {
  nn::DequantizeWeightOp weight;
  nn::QuantizerOp quantizer;
  int64_t k, n, blockSize, blocks;
  /// Of an element in the file; in the program those of less than 8 bits are stored as 4.
  unsigned bits;
  bool isTransposed, isSigned;
  enum class Scales { Block, Column, Tensor } scales;
  /// Whether zero points differ from the middle of the range.
  bool hasZeroPoints;

  int64_t elementIndex(int64_t row, int64_t column) const { return isTransposed ? column * k + row : row * n + column; }
  int64_t blockIndex(int64_t block, int64_t column) const {
    if (scales != Scales::Block)
      return scales == Scales::Column ? column : 0;
    return isTransposed ? column * blocks + block : block * n + column;
  }
  /// What turns a stored value into the unsigned value of MatMulNBits.
  int32_t offset() const { return isSigned ? 1 << (bits - 1) : 0; }
  int32_t zeroPoint(const quant::Encoding &encoding, int64_t block, int64_t column) const {
    return offset() + (encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[blockIndex(block, column)]);
  }
};

namespace {

/// The block size for a column of `k` elements that share one scale: the one that takes the fewest bytes with
/// padding and repeated scales, at most 256, above which ONNX Runtime's kernels are slow.
int64_t chooseBlockSize(int64_t k, unsigned bits) {
  int64_t best = 256, bestBytes = std::numeric_limits<int64_t>::max();
  for (int64_t size = 256; size >= 16; size /= 2) {
    int64_t bytes = llvm::divideCeilSigned(k, size) * (size * bits / 8 + static_cast<int64_t>(sizeof(float)));
    if (bytes < bestBytes) {
      best = size;
      bestBytes = bytes;
    }
  }
  return best;
}

/// Columns packed together, so that rows of a [K, N] matrix are read in runs.
constexpr int64_t columnsPerTile = 64;

/// Adds the bits of an element to a row of zeros, from the low bits of each byte up; elements may straddle bytes.
void setElement(uint8_t *row, int64_t index, unsigned bits, int32_t value) {
  int64_t position = index * bits;
  unsigned shifted = (static_cast<unsigned>(value) & ((1u << bits) - 1)) << (position % 8);
  row[position / 8] |= static_cast<uint8_t>(shifted);
  if (shifted > 0xff)
    row[position / 8 + 1] |= static_cast<uint8_t>(shifted >> 8);
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

llvm::Expected<Tensor> readStored(nn::DequantizeWeightOp weight) { return nn::readConstant(weight.getInput()); }

/// The table of 8-bit rows as unsigned integers.
Tensor shiftTable(const BlockMatrix &matrix, const Tensor &stored) {
  Tensor shifted = Tensor::allocate(ElementType::U8, stored.shape());
  const auto *in = static_cast<const uint8_t *>(stored.raw());
  for (int64_t i = 0; i < stored.elementCount(); ++i)
    shifted.mutableData<uint8_t>()[i] = static_cast<uint8_t>(in[i] + matrix.offset());
  return shifted;
}

/// The form of `op`'s weight, or why it has none.
std::optional<BlockMatrix> planMatrix(Operation *op, nn::DequantizeWeightOp weight, nn::QuantizerOp quantizer,
                                      const quant::Encoding &encoding, std::string &reason) {
  auto type = cast<RankedTensorType>(weight.getType());
  auto gemm = dyn_cast<nn::GemmOp>(op);
  auto gather = dyn_cast<nn::GatherOp>(op);
  bool isTransposed = gather || (gemm && gemm.getTransB());
  unsigned bits = bitWidth(encoding.storage) > 4 ? bitWidth(encoding.storage) : quant::usedBits(encoding);
  int64_t kAxis = isTransposed ? 1 : 0;
  if (!weight.getInput().getDefiningOp<nn::ConstantOp>())
    reason = "its weight is not a constant";
  else if (type.getRank() != 2)
    reason = "its weight has rank " + std::to_string(type.getRank());
  else if (bits != 8 && (bits > 4 || bits < 2 || (gather && bits != 4)))
    reason = "its weight has " + std::to_string(bits) + " bits";
  else if (encoding.axis && *encoding.axis != (encoding.blockSize ? kAxis : 1 - kAxis))
    reason = std::string(encoding.blockSize ? "blocks" : "scales") + " of its weight run along the wrong axis";
  else if (encoding.blockSize &&
           (*encoding.blockSize < 16 || !llvm::isPowerOf2_64(static_cast<uint64_t>(*encoding.blockSize))))
    reason = "block size " + std::to_string(*encoding.blockSize) + " is not a power of two of at least 16";
  else if (bits < 4 && !encoding.symmetric && encoding.quantMin != 0)
    reason = "its integers begin at " + std::to_string(encoding.quantMin);
  else if (gemm && (gemm.getTransA() || !gemm.getAlpha().isExactlyValue(1.0) || !gemm.getBeta().isExactlyValue(1.0)))
    reason = "its transA, alpha or beta is not the default";
  else if (gather && gather.getAxis() != 0)
    reason = "it gathers columns";
  if (!reason.empty())
    return std::nullopt;
  int64_t k = type.getDimSize(kAxis), n = type.getDimSize(1 - kAxis);
  bool isSigned = encoding.storage == ElementType::I4 || encoding.storage == ElementType::I8;
  int32_t middle = isSigned ? 0 : 1 << (bits - 1);
  bool hasZeroPoints = encoding.zeroPoints.empty() ? middle != 0 : llvm::any_of(encoding.zeroPoints, [&](int32_t value) {
    return value != middle;
  });
  BlockMatrix::Scales scales = encoding.blockSize ? BlockMatrix::Scales::Block
                               : encoding.axis    ? BlockMatrix::Scales::Column
                                                  : BlockMatrix::Scales::Tensor;
  // A table is not padded.
  int64_t blockSize = encoding.blockSize ? *encoding.blockSize : gather ? 256 : chooseBlockSize(k, bits);
  int64_t blocks = llvm::divideCeilSigned(k, blockSize);
  return BlockMatrix{weight, quantizer, k, n, blockSize, blocks, bits, isTransposed, isSigned, scales, hasZeroPoints};
}

} // namespace

GraphBuilder::PackedNames GraphBuilder::makePackedNames(const std::string &weight) {
  return {names.makeUnique(weight + "/packed"), names.makeUnique(weight + "/scales"),
          names.makeUnique(weight + "/zero_points")};
}

llvm::Expected<bool> GraphBuilder::buildWithPackedWeight(Operation *op, std::vector<std::string> *notes) {
  if (!isa<nn::MatMulOp, nn::GemmOp, nn::GatherOp>(op))
    return false;
  auto weight = op->getOperand(isa<nn::GatherOp>(op) ? 0 : 1).getDefiningOp<nn::DequantizeWeightOp>();
  if (!weight)
    return false;
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(weight, weight.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  std::string reason;
  std::optional<BlockMatrix> matrix = planMatrix(op, weight, quantizer, *encoding, reason);
  if (!matrix) {
    if (notes)
      notes->push_back("node '" + nn::nodeName(op) + "' keeps its weight in DequantizeLinear form: " + reason);
    return false;
  }
  // The other operands may themselves be constants.
  for (Value operand : op->getOperands())
    if (operand != weight.getResult())
      if (llvm::Error error = buildConstant(op, operand))
        return std::move(error);
  writer.requireMicrosoftOperators();
  if (auto gather = dyn_cast<nn::GatherOp>(op)) {
    if (llvm::Error error = buildGatherBlockQuantized(gather, *matrix))
      return std::move(error);
  } else if (llvm::Error error = buildMatMulNBits(op, *matrix)) {
    return std::move(error);
  }
  return true;
}

llvm::Error GraphBuilder::buildMatMulNBits(Operation *op, BlockMatrix matrix) {
  const std::string &weightName = names.of(matrix.weight.getInput());
  nn::QuantizerOp quantizer = matrix.quantizer;
  // A tied weight is stored once.
  PackedNames &packed = packedWeights[{weightName, quantizer.getSymName().str(), matrix.isTransposed}];
  if (packed.weight.empty()) {
    packed = makePackedNames(weightName);
    Shape packedShape = {matrix.n, matrix.blocks, matrix.blockSize * matrix.bits / 8};
    addFromEncoding(packed.weight, ElementType::U8, packedShape, quantizer,
                    [matrix](const quant::Encoding &encoding) -> llvm::Expected<Tensor> {
                      llvm::Expected<Tensor> stored = readStored(matrix.weight);
                      if (!stored)
                        return stored.takeError();
                      return packWeights(matrix, encoding, *stored);
                    });
    addFromEncoding(packed.scale, ElementType::F32, {matrix.n, matrix.blocks}, quantizer,
                    [matrix](const quant::Encoding &encoding) { return packScales(matrix, encoding); });
    if (matrix.hasZeroPoints)
      addFromEncoding(packed.zeroPoint, ElementType::U8,
                      {matrix.n, llvm::divideCeilSigned(matrix.blocks * matrix.bits, 8)}, quantizer,
                      [matrix](const quant::Encoding &encoding) { return packZeroPoints(matrix, encoding); });
  }
  Value addend = isa<nn::GemmOp>(op) ? cast<nn::GemmOp>(op).getC() : Value();
  const std::string &output = names.of(op->getResult(0));
  std::string product = addend ? names.makeUnique(output + "/product") : output;
  llvm::SmallVector<std::string> inputs = {names.of(op->getOperand(0)), packed.weight, packed.scale};
  if (matrix.hasZeroPoints)
    inputs.push_back(packed.zeroPoint);
  onnx::NodeProto &node = addNode(nn::nodeName(op), "MatMulNBits", inputs, product);
  node.set_domain("com.microsoft");
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
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildGatherBlockQuantized(nn::GatherOp op, BlockMatrix matrix) {
  auto storedType = cast<RankedTensorType>(matrix.weight.getInput().getType());
  nn::QuantizerOp quantizer = matrix.quantizer;
  ElementType storage = matrix.bits == 8 ? ElementType::U8 : *nn::toElementType(storedType.getElementType());
  // Stored zero points are what 4-bit tables take as they are; zero is their default, and 128 that of uint8.
  bool hasZeroPoints = matrix.hasZeroPoints || storage == ElementType::U4;
  const std::string &weightName = names.of(matrix.weight.getInput());
  PackedNames &packed = packedTables[{weightName, quantizer.getSymName().str()}];
  if (packed.weight.empty()) {
    packed = makePackedNames(weightName);
    addFromEncoding(packed.weight, storage, Shape(storedType.getShape()), quantizer,
                    [matrix](const quant::Encoding &) -> llvm::Expected<Tensor> {
                      llvm::Expected<Tensor> stored = readStored(matrix.weight);
                      if (!stored || matrix.bits == 4)
                        return stored;
                      return shiftTable(matrix, *stored);
                    });
    Shape blockShape = {matrix.n, matrix.blocks};
    addFromEncoding(packed.scale, ElementType::F32, blockShape, quantizer, [matrix](const quant::Encoding &encoding) {
      return packScales(matrix, encoding);
    });
    if (hasZeroPoints)
      addFromEncoding(packed.zeroPoint, storage, blockShape, quantizer,
                      [matrix, storage, blockShape](const quant::Encoding &encoding) {
                        std::vector<int32_t> zeroPoints;
                        for (int64_t n = 0; n < matrix.n; ++n)
                          for (int64_t block = 0; block < matrix.blocks; ++block)
                            zeroPoints.push_back(matrix.zeroPoint(encoding, block, n) -
                                                 (matrix.bits == 4 ? matrix.offset() : 0));
                        return makeZeroPoints(storage, blockShape, zeroPoints);
                      });
  }
  llvm::SmallVector<std::string> inputs = {packed.weight, names.of(op.getIndices()), packed.scale};
  if (hasZeroPoints)
    inputs.push_back(packed.zeroPoint);
  const std::string &output = names.of(op.getResult());
  onnx::NodeProto &node = addNode(nn::nodeName(op), "GatherBlockQuantized", inputs, output);
  node.set_domain("com.microsoft");
  addAttribute(node, "gather_axis", 0);
  addAttribute(node, "quantize_axis", 1);
  addAttribute(node, "block_size", matrix.blockSize);
  addAttribute(node, "bits", static_cast<int64_t>(matrix.bits));
  addValueInfo(output, cast<RankedTensorType>(op.getType()).getElementType(), op.getType());
  return llvm::Error::success();
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
