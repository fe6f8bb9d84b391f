#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/Encodings/Layout.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include <map>

namespace nibble::encodings {

using quant::Encoding;
using quant::EncodingKind;

llvm::Expected<Version> parseVersion(llvm::StringRef text) {
  std::optional<Version> version = llvm::StringSwitch<std::optional<Version>>(text)
                                       .Case("0.6.1", Version::V061)
                                       .Case("1.0.0", Version::V100)
                                       .Case("2.0.0", Version::V200)
                                       .Default(std::nullopt);
  if (!version)
    return makeError(ErrorKind::Usage, "there is no version '" + text + "' of encodings",
                     {"versions are 0.6.1, 1.0.0 and 2.0.0"});
  return *version;
}

Shape blockShape(const TensorEncoding &entry) {
  Shape shape = entry.shape;
  int64_t &extent = shape[static_cast<size_t>(*entry.encoding->axis)];
  extent = llvm::divideCeilSigned(extent, *entry.encoding->blockSize);
  return shape;
}

llvm::Expected<std::vector<int64_t>> channelMajorOrder(const TensorEncoding &entry) {
  Shape shape = blockShape(entry);
  size_t axis = static_cast<size_t>(*entry.encoding->axis);
  std::optional<size_t> channelAxis;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i == axis || shape[i] == 1)
      continue;
    if (channelAxis)
      return makeError(ErrorKind::Unsupported,
                       "tensor '" + entry.tensor + "' has block scales along more than one axis beside the blocks, "
                                                   "which encodings 1.0.0 have no form for",
                       {"version 2.0.0 can state them"});
    channelAxis = i;
  }
  auto strideOf = [&](size_t index) { return elementCount(llvm::ArrayRef<int64_t>(shape).drop_front(index + 1)); };
  int64_t channels = channelAxis ? shape[*channelAxis] : 1, channelStride = channelAxis ? strideOf(*channelAxis) : 0;
  std::vector<int64_t> order;
  for (int64_t channel = 0; channel < channels; ++channel)
    for (int64_t block = 0; block < shape[axis]; ++block)
      order.push_back(channel * channelStride + block * strideOf(axis));
  return order;
}

int64_t unsignedZeroPoint(const Encoding &encoding, size_t index) {
  bool isSigned = quant::integerRange(encoding.storage).first < 0;
  int64_t zeroPoint = encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[index];
  return zeroPoint + (isSigned ? int64_t(1) << (bitWidth(encoding.storage) - 1) : 0);
}

namespace {

/// Writes one version to a JSON stream.
class Writer {
public:
  Writer(llvm::ArrayRef<TensorEncoding> entries, llvm::raw_ostream &os) : entries(entries), json(os, 2) {}
  llvm::Error writeVersion061();
  llvm::Error writeVersion100();
  llvm::Error writeVersion200();

private:
  llvm::Error writeTensors061(bool parameters);
  llvm::Error writeTensors100(bool parameters);
  llvm::Error writeTensor100(const TensorEncoding &entry);
  void writeTensor200(const TensorEncoding &entry);
  void writeArguments();
  void writeProducer();
  /// Nested arrays of `shape`; `number(i)` is element i.
  template <typename Number>
  void writeNested(llvm::ArrayRef<int64_t> shape, int64_t offset, Number number);
  /// The number of bits that most of the quantized tensors have.
  unsigned usualBits(bool parameters) const;

  llvm::ArrayRef<TensorEncoding> entries;
  llvm::json::OStream json;
};

unsigned Writer::usualBits(bool parameters) const {
  std::map<unsigned, size_t> counts;
  for (const TensorEncoding &entry : entries)
    if (entry.encoding && entry.isParameter == parameters && bitWidth(entry.encoding->storage) <= 16)
      ++counts[bitWidth(entry.encoding->storage)];
  auto most = std::max_element(counts.begin(), counts.end(), [](auto &a, auto &b) { return a.second < b.second; });
  return most == counts.end() ? 32 : most->first;
}

void Writer::writeArguments() {
  auto boolean = [](bool value) { return value ? "True" : "False"; };
  auto isPerChannel = [](const TensorEncoding &e) { return e.isParameter && e.encoding && e.encoding->axis; };
  auto isSymmetric = [](const TensorEncoding &e) { return !e.isParameter || !e.encoding || e.encoding->symmetric; };
  json.attributeObject("quantizer_args", [&] {
    json.attribute("activation_bitwidth", usualBits(/*parameters=*/false));
    json.attribute("dtype", "int");
    json.attribute("is_symmetric", boolean(llvm::all_of(entries, isSymmetric)));
    json.attribute("param_bitwidth", usualBits(/*parameters=*/true));
    json.attribute("per_channel_quantization", boolean(llvm::any_of(entries, isPerChannel)));
    json.attribute("quant_scheme", "post_training_tf");
  });
}

void Writer::writeProducer() {
  json.attributeObject("producer", [&] {
    json.attribute("package", "nibble");
    json.attribute("version", NIBBLE_VERSION);
  });
}

//===----------------------------------------------------------------------===//
// 0.6.1
//===----------------------------------------------------------------------===//

llvm::Error Writer::writeTensors061(bool parameters) {
  for (const TensorEncoding &entry : entries) {
    if (entry.isParameter != parameters)
      continue;
    if (entry.encoding && entry.encoding->blockSize)
      return makeError(ErrorKind::Unsupported,
                       "tensor '" + entry.tensor + "' has an encoding in blocks, which encodings 0.6.1 have no form for",
                       {"write version 1.0.0 or 2.0.0, or quantize this weight per channel"});
    json.attributeArray(entry.tensor, [&] {
      if (!entry.encoding) {
        json.object([&] {
          json.attribute("bitwidth", 32);
          json.attribute("dtype", "float");
        });
        return;
      }
      const Encoding &encoding = *entry.encoding;
      unsigned bits = bitWidth(encoding.storage);
      for (size_t i = 0; i < encoding.scales.size(); ++i) {
        double scale = encoding.scales[i];
        int64_t offset = -unsignedZeroPoint(encoding, i);
        json.object([&] {
          json.attribute("bitwidth", bits);
          json.attribute("dtype", "int");
          json.attribute("is_symmetric", encoding.symmetric ? "True" : "False");
          json.attribute("max", static_cast<double>(offset + (int64_t(1) << bits) - 1) * scale);
          json.attribute("min", static_cast<double>(offset) * scale);
          json.attribute("offset", offset);
          json.attribute("scale", scale);
        });
      }
    });
  }
  return llvm::Error::success();
}

llvm::Error Writer::writeVersion061() {
  llvm::Error error = llvm::Error::success();
  json.object([&] {
    for (bool parameters : {false, true})
      json.attributeObject(parameters ? "param_encodings" : "activation_encodings", [&] {
        if (!error)
          error = writeTensors061(parameters);
      });
    writeArguments();
    json.attribute("version", "0.6.1");
  });
  return error;
}

//===----------------------------------------------------------------------===//
// 1.0.0
//===----------------------------------------------------------------------===//

llvm::Error Writer::writeTensor100(const TensorEncoding &entry) {
  if (!entry.encoding) {
    json.object([&] {
      json.attribute("bw", 32);
      json.attribute("dtype", "FLOAT");
      json.attribute("enc_type", "PER_TENSOR");
      json.attribute("name", entry.tensor);
    });
    return llvm::Error::success();
  }
  const Encoding &encoding = *entry.encoding;
  bool isLPBQ = encoding.kind == EncodingKind::LPBQ;
  std::vector<int64_t> order;
  if (encoding.blockSize) {
    llvm::Expected<std::vector<int64_t>> blocks = channelMajorOrder(entry);
    if (!blocks)
      return blocks.takeError();
    order = std::move(*blocks);
  }
  // LPBQ states its scales per channel and as if decompressed to twice the bits.
  unsigned bits = bitWidth(encoding.storage), statedBits = isLPBQ ? 2 * bits : bits;
  std::vector<int64_t> scaleOrder = order;
  if (!encoding.blockSize || isLPBQ) {
    scaleOrder.resize(encoding.scales.size());
    for (size_t i = 0; i < scaleOrder.size(); ++i)
      scaleOrder[i] = static_cast<int64_t>(i);
  }
  const char *type = isLPBQ               ? "LPBQ"
                     : encoding.blockSize ? "PER_BLOCK"
                     : encoding.axis      ? "PER_CHANNEL"
                                          : "PER_TENSOR";
  json.object([&] {
    if (encoding.blockSize)
      json.attribute("block_size", *encoding.blockSize);
    json.attribute("bw", statedBits);
    if (isLPBQ)
      json.attribute("compressed_bw", bits);
    json.attribute("dtype", "INT");
    json.attribute("enc_type", type);
    json.attribute("is_sym", encoding.symmetric);
    json.attribute("name", entry.tensor);
    json.attributeArray("offset", [&] {
      for (int64_t i : scaleOrder)
        json.value(isLPBQ ? -(int64_t(1) << (statedBits - 1)) : -unsignedZeroPoint(encoding, static_cast<size_t>(i)));
    });
    if (isLPBQ)
      json.attributeArray("per_block_int_scale", [&] {
        for (int64_t i : order)
          json.value(static_cast<int64_t>(encoding.blockMultipliers[static_cast<size_t>(i)]));
      });
    json.attributeArray("scale", [&] {
      for (int64_t i : scaleOrder)
        json.value(static_cast<double>(encoding.scales[static_cast<size_t>(i)]));
    });
  });
  return llvm::Error::success();
}

llvm::Error Writer::writeTensors100(bool parameters) {
  for (const TensorEncoding &entry : entries)
    if (entry.isParameter == parameters)
      if (llvm::Error error = writeTensor100(entry))
        return error;
  return llvm::Error::success();
}

llvm::Error Writer::writeVersion100() {
  llvm::Error error = llvm::Error::success();
  json.object([&] {
    for (bool parameters : {false, true})
      json.attributeArray(parameters ? "param_encodings" : "activation_encodings", [&] {
        if (!error)
          error = writeTensors100(parameters);
      });
    json.attributeArray("excluded_layers", [] {});
    writeProducer();
    writeArguments();
    json.attribute("version", "1.0.0");
  });
  return error;
}

//===----------------------------------------------------------------------===//
// 2.0.0
//===----------------------------------------------------------------------===//

template <typename Number>
void Writer::writeNested(llvm::ArrayRef<int64_t> shape, int64_t offset, Number number) {
  if (shape.empty())
    return json.value(number(static_cast<size_t>(offset)));
  int64_t step = elementCount(shape.drop_front());
  json.array([&] {
    for (int64_t i = 0; i < shape.front(); ++i)
      writeNested(shape.drop_front(), offset + i * step, number);
  });
}

void Writer::writeTensor200(const TensorEncoding &entry) {
  const Encoding &encoding = *entry.encoding;
  Shape scaleShape;
  if (encoding.blockSize)
    scaleShape = blockShape(entry);
  else if (encoding.axis)
    scaleShape = {static_cast<int64_t>(encoding.scales.size())};
  auto scale = [&](size_t i) -> llvm::json::Value { return static_cast<double>(encoding.scales[i]); };
  json.object([&] {
    if (encoding.axis)
      json.attribute("axis", *encoding.axis);
    if (encoding.blockSize)
      json.attribute("block_size", *encoding.blockSize);
    json.attribute("name", entry.tensor);
    json.attribute("output_dtype", name(encoding.storage));
    if (encoding.kind == EncodingKind::LPBQ) {
      // One scale per channel, with an axis of one for the blocks.
      Shape channelShape(scaleShape.size(), 1);
      channelShape[static_cast<size_t>(*encoding.channelAxis)] = static_cast<int64_t>(encoding.scales.size());
      json.attributeBegin("per_block_int_scale");
      writeNested(scaleShape, 0,
                  [&](size_t i) -> llvm::json::Value { return static_cast<int64_t>(encoding.blockMultipliers[i]); });
      json.attributeEnd();
      json.attributeBegin("per_channel_float_scale");
      writeNested(channelShape, 0, scale);
      json.attributeEnd();
      return;
    }
    json.attributeBegin("y_scale");
    writeNested(scaleShape, 0, scale);
    json.attributeEnd();
    if (llvm::all_of(encoding.zeroPoints, [](int32_t zeroPoint) { return zeroPoint == 0; }))
      return;
    json.attributeBegin("y_zero_point");
    writeNested(scaleShape, 0, [&](size_t i) -> llvm::json::Value { return encoding.zeroPoints[i]; });
    json.attributeEnd();
  });
}

llvm::Error Writer::writeVersion200() {
  json.object([&] {
    json.attributeArray("encodings", [&] {
      for (const TensorEncoding &entry : entries)
        if (entry.encoding)
          writeTensor200(entry);
    });
    writeProducer();
    json.attribute("version", "2.0.0");
  });
  return llvm::Error::success();
}

} // namespace

llvm::Error writeEncodings(llvm::ArrayRef<TensorEncoding> entries, Version version, llvm::raw_ostream &os) {
  for (const TensorEncoding &entry : entries)
    if (entry.encoding && entry.encoding->kind == EncodingKind::Palette)
      return makeError(ErrorKind::Unsupported,
                       "tensor '" + entry.tensor + "' has a palette, which encodings have no form for");
  Writer writer(entries, os);
  llvm::Error error = version == Version::V061   ? writer.writeVersion061()
                      : version == Version::V100 ? writer.writeVersion100()
                                                 : writer.writeVersion200();
  if (!error)
    os << "\n";
  return error;
}

llvm::Error exportEncodings(mlir::ModuleOp module, llvm::StringRef path, Version version,
                            std::vector<std::string> *notes) {
  llvm::Expected<std::vector<TensorEncoding>> entries = collectEncodings(module, notes);
  if (!entries)
    return entries.takeError();
  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  if (llvm::Error error = writeEncodings(*entries, version, (*file)->stream()))
    return error;
  if (llvm::Error error = (*file)->flush())
    return error;
  llvm::Expected<std::shared_ptr<const MappedFile>> written = MappedFile::open((*file)->temporaryPath());
  if (!written)
    return written.takeError();
  llvm::StringRef text((*written)->bytes().data(), (*written)->bytes().size());
  if (llvm::Error error = checkEncodings(*entries, text, path))
    return error;
  return (*file)->commit();
}

} // namespace nibble::encodings
