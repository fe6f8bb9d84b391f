// Conversions of the operators of ONNX Runtime (domain com.microsoft).
#include "lib/Import/ONNX/NodeBuilder.h"

#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstring>

using namespace mlir;

namespace nibble::onnx_import {
namespace {

IntegerAttr i64(NodeBuilder &b, int64_t value) { return b.builder().getI64IntegerAttr(value); }
FloatAttr f32(NodeBuilder &b, float value) { return b.builder().getF32FloatAttr(value); }
BoolAttr boolean(NodeBuilder &b, llvm::StringRef attribute) { return b.builder().getBoolAttr(b.flag(attribute)); }

/// input + skip (+ bias) is a value of its own (output 3) besides its norm. Operands: input, skip, gamma,
/// then beta where `HasBeta`, then bias.
template <bool HasBeta> void skipNormalization(NodeBuilder &b) {
  if (b.isUsed(1) || b.isUsed(2))
    return b.unsupported("the outputs of mean or deviation are used", "export the model for inference");
  Value sum = b.makeStep<nn::AddOp>("skip_sum", b.operand(0), b.operand(1));
  if (Value bias = b.operand(HasBeta ? 4 : 3))
    sum = b.makeStep<nn::AddOp>("bias_sum", sum, bias);
  float epsilon = b.number("epsilon", HasBeta ? 1e-12f : 1e-5f);
  if constexpr (HasBeta)
    b.setOutput(0, b.make<nn::LayerNormalizationOp>(sum, b.operand(2), b.operand(3), i64(b, -1), f32(b, epsilon)));
  else
    b.setOutput(0, b.make<nn::RMSNormalizationOp>(sum, b.operand(2), i64(b, -1), f32(b, epsilon)));
  if (b.outputCount() > 3) {
    // The sum is a tensor of the model and carries its name.
    sum.getDefiningOp()->setLoc(b.outputLocation("sum", 3));
    b.setOutput(3, sum);
  }
}

void groupQueryAttention(NodeBuilder &b) {
  const char *names[] = {"position_ids", "attention_bias", "head_sink", "k_scale", "v_scale"};
  for (unsigned i = 9; i < b.allOperands().size(); ++i)
    if (b.operand(i))
      return b.unsupported(llvm::Twine("input '") + names[i - 9] + "' is not supported");
  if (b.isUsed(3) || b.integer("qk_output", 0) != 0)
    return b.unsupported("the output of attention scores is used");
  if (b.integer("smooth_softmax", 0) > 0)
    return b.unsupported("smooth_softmax is not supported");
  if (b.text("k_quant_type", "NONE") != "NONE" || b.text("v_quant_type", "NONE") != "NONE")
    return b.unsupported("a quantized KV cache is not supported", "import the model before quantization");
  if (!b.operand(1) != !b.operand(2) || !b.operand(3) != !b.operand(4) || !b.operand(7) != !b.operand(8))
    return b.invalid("key and value, past_key and past_value, cos_cache and sin_cache come in pairs");
  if (b.flag("do_rotary") && !b.operand(7))
    return b.invalid("do_rotary is 1, but cos_cache and sin_cache are missing");
  int64_t heads = b.integer("num_heads", 0), keyHeads = b.integer("kv_num_heads", 0);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads != 0)
    return b.invalid("num_heads must be a positive multiple of kv_num_heads, but they are " + llvm::Twine(heads) +
                     " and " + llvm::Twine(keyHeads));
  b.setOutputs(b.make<nn::GroupQueryAttentionOp>(
      b.operand(0), b.operand(1), b.operand(2), b.operand(3), b.operand(4), b.operand(5), b.operand(6), b.operand(7),
      b.operand(8), i64(b, heads), i64(b, keyHeads), f32(b, b.number("scale", 0)), boolean(b, "do_rotary"),
      boolean(b, "rotary_interleaved"), i64(b, b.integer("local_window_size", -1)), f32(b, b.number("softcap", 0))));
}

void rotaryEmbedding(NodeBuilder &b) {
  if (b.flag("is_packed_batching") || b.number("scale", 1) != 1)
    return b.unsupported("packed batching and scale other than 1 are not supported");
  b.setOutput(0, b.make<nn::RotaryEmbeddingOp>(b.operand(0), b.operand(1), b.operand(2), b.operand(3),
                                               boolean(b, "interleaved"), i64(b, b.integer("num_heads", 0)),
                                               i64(b, b.integer("rotary_embedding_dim", 0))));
}

/// The attribute that holds `value`'s bytes as elements of `storage` in `shape`. `rowBytes` bytes of each of
/// `rows` rows are kept; where that is all, a blob stays where it is.
llvm::Expected<Attribute> reinterpret(NodeBuilder &b, Value value, ElementType storage, llvm::ArrayRef<int64_t> shape,
                                      int64_t rows, int64_t rowBytes) {
  Attribute attribute = value.getDefiningOp<nn::ConstantOp>().getValue();
  llvm::Expected<Tensor> bytes = nn::readConstant(value);
  if (!bytes)
    return bytes.takeError();
  if (isa<nn::BlobAttr>(attribute) && bytes->byteSize() == rows * rowBytes)
    return attribute;
  Tensor packed = Tensor::allocate(storage, shape);
  int64_t stride = rows ? bytes->byteSize() / rows : 0;
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(static_cast<char *>(packed.mutableRaw()) + row * rowBytes,
                static_cast<const char *>(bytes->raw()) + row * stride, static_cast<size_t>(rowBytes));
  return nn::makeConstantAttribute(b.context(), packed);
}

/// Element `index` of a row of elements of `bits`, packed from the low bits up.
int32_t unpackElement(const uint8_t *row, int64_t index, int64_t bits) {
  int64_t position = index * bits, byte = position / 8;
  unsigned pair = row[byte];
  if (position % 8 + bits > 8)
    pair |= static_cast<unsigned>(row[byte + 1]) << 8;
  return static_cast<int32_t>(pair >> (position % 8) & ((1u << bits) - 1));
}

/// Zero points of MatMulNBits, one per block, packed in rows of whole bytes.
std::vector<int32_t> unpackZeroPoints(const Tensor &packed, int64_t bits, int64_t rows, int64_t blocks) {
  const auto *bytes = static_cast<const uint8_t *>(packed.raw());
  std::vector<int32_t> result;
  result.reserve(static_cast<size_t>(rows * blocks));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t block = 0; block < blocks; ++block)
      result.push_back(unpackElement(bytes + row * ((blocks * bits + 7) / 8), block, bits));
  return result;
}

/// Weights of 2 or 3 bits, in rows of `stride` bytes, as the four bits that the program stores them in.
llvm::Expected<Attribute> widenElements(NodeBuilder &b, Value packed, int64_t bits, int64_t rows, int64_t columns) {
  llvm::Expected<Tensor> bytes = nn::readConstant(packed);
  if (!bytes)
    return bytes.takeError();
  int64_t stride = bytes->byteSize() / rows;
  std::vector<int8_t> values(static_cast<size_t>(rows * columns));
  const auto *data = static_cast<const uint8_t *>(bytes->raw());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      values[static_cast<size_t>(row * columns + column)] =
          static_cast<int8_t>(unpackElement(data + row * stride, column, bits));
  return nn::makeConstantAttribute(b.context(), quant::packNibbles(values, ElementType::U4, {rows, columns}));
}

/// The encoding of a MatMulNBits weight; nullopt after recording an error.
std::optional<quant::Encoding> readBlockEncoding(NodeBuilder &b, int64_t rows, int64_t blocks) {
  int64_t bits = b.integer("bits", 4);
  quant::Encoding encoding =
      quant::makeUncalibrated(bits <= 4 ? ElementType::U4 : ElementType::U8, /*symmetric=*/!b.operand(3));
  encoding.quantMax = (1 << bits) - 1;
  encoding.axis = 1;
  encoding.blockSize = b.integer("block_size", 0);
  llvm::Expected<Tensor> scales = nn::readConstant(b.operand(2));
  if (!scales) {
    b.fail(scales.takeError());
    return std::nullopt;
  }
  if (scales->elementType() != ElementType::F32) {
    b.unsupported("scales must be float32, but are " + name(scales->elementType()));
    return std::nullopt;
  }
  for (auto [i, scale] : llvm::enumerate(scales->values<float>())) {
    if (!std::isnormal(scale) || scale < 0) {
      b.unsupported("the scale of block " + llvm::Twine(i) + " is " + std::to_string(scale) +
                        ", wanted a positive number",
                    "quantize the float model with scales that are positive");
      return std::nullopt;
    }
    encoding.scales.push_back(scale);
  }
  encoding.zeroPoints.assign(static_cast<size_t>(rows * blocks), 1 << (bits - 1));
  if (b.operand(3)) {
    llvm::Expected<Tensor> packed = nn::readConstant(b.operand(3));
    if (!packed) {
      b.fail(packed.takeError());
      return std::nullopt;
    }
    encoding.zeroPoints = unpackZeroPoints(*packed, bits, rows, blocks);
  }
  return encoding;
}

/// A * W^T with W stored in blocks: nn.dequantize_weight gives W as [N, K], which is transposed for matmul.
void matMulNBits(NodeBuilder &b) {
  int64_t columns = b.integer("N", 0), depth = b.integer("K", 0);
  int64_t bits = b.integer("bits", 4), blockSize = b.integer("block_size", 0);
  Value weight = b.operand(1), scales = b.operand(2), zeroPoints = b.operand(3);
  if (bits != 8 && (bits < 2 || bits > 4))
    return b.unsupported(llvm::Twine(bits) + "-bit weights are not supported", "use 2, 3, 4 or 8 bits");
  if (b.operand(4))
    return b.unsupported("input 'g_idx' is not supported", "quantize without activation ordering");
  if (b.integer("weight_prepacked", 0) != 0)
    return b.unsupported("prepacked weights are not supported");
  if (columns < 1 || depth < 1 || blockSize < 16 || !llvm::isPowerOf2_64(static_cast<uint64_t>(blockSize)))
    return b.invalid("K and N must be positive and block_size a power of 2 of at least 16, but they are " +
                     llvm::Twine(depth) + ", " + llvm::Twine(columns) + " and " + llvm::Twine(blockSize));
  int64_t blocks = (depth + blockSize - 1) / blockSize;
  for (Value value : {weight, scales, zeroPoints})
    if (value && !value.getDefiningOp<nn::ConstantOp>())
      return b.unsupported("weights, scales and zero points must be constant");
  auto count = [](Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); };
  int64_t zeroPointBytes = (blocks * bits + 7) / 8;
  if (zeroPoints && !nn::elementTypeOf(zeroPoints).isUnsignedInteger(8))
    return b.unsupported("zero points must be packed integers, but are of a float type");
  if (count(weight) != columns * blocks * blockSize * bits / 8 || count(scales) != columns * blocks ||
      (zeroPoints && count(zeroPoints) != columns * zeroPointBytes))
    return b.invalid("the sizes of weights, scales and zero points do not fit N = " + llvm::Twine(columns) +
                     ", K = " + llvm::Twine(depth) + " and block_size = " + llvm::Twine(blockSize));

  MLIRContext *context = b.context();
  ElementType storage = bits <= 4 ? ElementType::U4 : ElementType::U8;
  if (bits >= 4 && depth * bits % 8 != 0)
    return b.unsupported("K = " + llvm::Twine(depth) + " does not fill whole bytes");
  llvm::Expected<Attribute> weightValue =
      bits < 4 ? widenElements(b, weight, bits, columns, depth)
               : reinterpret(b, weight, storage, {columns, depth}, columns, depth * bits / 8);
  if (!weightValue)
    return b.fail(weightValue.takeError());
  std::optional<quant::Encoding> encoding = readBlockEncoding(b, columns, blocks);
  if (!encoding)
    return;
  llvm::Expected<nn::QuantizerOp> quantizer =
      nn::createQuantizer(b.module(), b.node().input(1) + "/quantizer", *encoding);
  if (!quantizer)
    return b.fail(quantizer.takeError());
  quantizer->setFixed(true);
  quantizer->setOrigin("MatMulNBits");
  auto storedType = RankedTensorType::get({columns, depth}, nn::toMLIRType(context, storage));
  Value stored = nn::ConstantOp::create(b.builder(), b.location("stored"), storedType, *weightValue);
  auto symbol = FlatSymbolRefAttr::get(context, quantizer->getSymName());
  Value real = b.makeStep<nn::DequantizeWeightOp>("weight", stored, symbol);
  Value transposed = b.makeStep<nn::TransposeOp>("weight_transposed", real, b.builder().getDenseI64ArrayAttr({1, 0}));
  if (Value bias = b.operand(5)) {
    Value product = b.makeStep<nn::MatMulOp>("product", b.operand(0), transposed);
    return b.setOutput(0, b.make<nn::AddOp>(product, bias));
  }
  b.setOutput(0, b.make<nn::MatMulOp>(b.operand(0), transposed));
}

/// Rows of a table that is stored in blocks along its rows. Zero points that are absent are 0 for 4-bit types
/// and 128 for uint8.
void gatherBlockQuantized(NodeBuilder &b) {
  Value table = b.operand(0), scales = b.operand(2), zeroPoints = b.operand(3);
  for (Value value : {table, scales, zeroPoints})
    if (value && !value.getDefiningOp<nn::ConstantOp>())
      return b.unsupported("table, scales and zero points must be constant");
  auto type = cast<RankedTensorType>(table.getType());
  int64_t quantizeAxis = b.integer("quantize_axis", 1), blockSize = b.integer("block_size", 128);
  ElementType storage = *nn::toElementType(type.getElementType());
  if (type.getRank() != 2 || b.integer("gather_axis", 0) != 0 || (quantizeAxis != 1 && quantizeAxis != -1))
    return b.unsupported("only rows of a table of rank 2 with blocks along the rows are supported");
  if (static_cast<int64_t>(bitWidth(storage)) != b.integer("bits", 4))
    return b.unsupported("a table of " + name(storage) + " with " + llvm::Twine(b.integer("bits", 4)) +
                             " bits is not supported",
                         "store 4-bit tables as int4 or uint4");
  if (blockSize < 16 || !llvm::isPowerOf2_64(static_cast<uint64_t>(blockSize)))
    return b.invalid("block_size must be a power of 2 of at least 16, but is " + llvm::Twine(blockSize));
  int64_t count = type.getDimSize(0) * ((type.getDimSize(1) + blockSize - 1) / blockSize);
  auto elements = [](Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); };
  if (elements(scales) != count || (zeroPoints && elements(zeroPoints) != count))
    return b.invalid("the sizes of scales and zero points do not fit the table and block_size = " +
                     llvm::Twine(blockSize));
  llvm::Expected<Tensor> scaleTensor = nn::readConstant(scales);
  if (!scaleTensor)
    return b.fail(scaleTensor.takeError());
  if (scaleTensor->elementType() != ElementType::F32)
    return b.unsupported("scales must be float32, but are " + name(scaleTensor->elementType()));
  quant::Encoding encoding =
      quant::makeUncalibrated(storage, /*symmetric=*/!zeroPoints && storage != ElementType::U4);
  encoding.axis = 1;
  encoding.blockSize = blockSize;
  llvm::append_range(encoding.scales, scaleTensor->values<float>());
  if (llvm::any_of(encoding.scales, [](float scale) { return !std::isnormal(scale) || scale < 0; }))
    return b.unsupported("a scale is not a positive number", "quantize the float model with scales that are positive");
  encoding.zeroPoints.assign(static_cast<size_t>(count), storage == ElementType::U8 ? 128 : 0);
  if (zeroPoints) {
    llvm::Expected<Tensor> values = nn::readConstant(zeroPoints);
    if (!values)
      return b.fail(values.takeError());
    llvm::copy(values->valuesAsInt64(), encoding.zeroPoints.begin());
  }
  llvm::Expected<nn::QuantizerOp> quantizer =
      nn::createQuantizer(b.module(), b.node().input(0) + "/quantizer", encoding);
  if (!quantizer)
    return b.fail(quantizer.takeError());
  quantizer->setFixed(true);
  quantizer->setOrigin("GatherBlockQuantized");
  Value real = b.makeStep<nn::DequantizeWeightOp>("table", table,
                                                  FlatSymbolRefAttr::get(b.context(), quantizer->getSymName()));
  b.setOutput(0, b.make<nn::GatherOp>(real, b.operand(1), i64(b, 0)));
}

void quickGelu(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::QuickGeluOp>(b.operand(0), f32(b, b.number("alpha", 1.702f))));
}

/// Gelu, BiasGelu (bias added before) and FastGelu (the tanh form, bias optional).
void gelu(NodeBuilder &b) {
  Value input = b.operand(0);
  if (Value bias = b.operand(1))
    input = b.makeStep<nn::AddOp>("biased", input, bias);
  bool isFast = b.node().op_type() == "FastGelu";
  b.setOutput(0, b.make<nn::GeluOp>(input, b.builder().getStringAttr(isFast ? "tanh" : "none")));
}

/// The last two dimensions of `value` exchanged.
Value transposeMatrix(NodeBuilder &b, llvm::StringRef suffix, Value value) {
  SmallVector<int64_t> perm;
  for (int64_t i = 0; i < b.rank(value); ++i)
    perm.push_back(i);
  if (perm.size() < 2)
    return value;
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return b.makeStep<nn::TransposeOp>(suffix, value, b.builder().getDenseI64ArrayAttr(perm));
}

void fusedMatMul(NodeBuilder &b) {
  if (b.flag("transBatchA") || b.flag("transBatchB"))
    return b.unsupported("transBatchA and transBatchB are not supported");
  Value lhs = b.operand(0), rhs = b.operand(1);
  if (b.flag("transA"))
    lhs = transposeMatrix(b, "lhs", lhs);
  if (b.flag("transB"))
    rhs = transposeMatrix(b, "rhs", rhs);
  float alpha = b.number("alpha", 1);
  if (alpha == 1)
    return b.setOutput(0, b.make<nn::MatMulOp>(lhs, rhs));
  Value product = b.makeStep<nn::MatMulOp>("product", lhs, rhs);
  b.setOutput(0, b.make<nn::MulOp>(product, b.scalarConstant("alpha", alpha, product)));
}

} // namespace

void addRuntimeConversions(ConversionTable &table) {
  table["com.microsoft::SkipLayerNormalization"] = skipNormalization<true>;
  table["com.microsoft::SkipSimplifiedLayerNormalization"] = skipNormalization<false>;
  table["com.microsoft::GroupQueryAttention"] = groupQueryAttention;
  table["com.microsoft::RotaryEmbedding"] = rotaryEmbedding;
  table["com.microsoft::MatMulNBits"] = matMulNBits;
  table["com.microsoft::GatherBlockQuantized"] = gatherBlockQuantized;
  table["com.microsoft::QuickGelu"] = quickGelu;
  table["com.microsoft::Gelu"] = gelu;
  table["com.microsoft::BiasGelu"] = gelu;
  table["com.microsoft::FastGelu"] = gelu;
  table["com.microsoft::FusedMatMul"] = fusedMatMul;
}

} // namespace nibble::onnx_import
