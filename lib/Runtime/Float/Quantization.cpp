//===- Quantization.cpp - fake quantization, QuantizeLinear, DequantizeLinear ---===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Simd.h"

#include <cstring>

namespace nibble::runtime {
namespace {

llvm::Expected<quant::Encoding> findEncoding(const NodeSpec &spec, mlir::FlatSymbolRefAttr symbol) {
  nn::QuantizerOp quantizer = nn::lookupQuantizer(spec.symbolScope, symbol);
  if (!quantizer)
    return spec.unsupported("quantizer @" + symbol.getValue() + " is not in the module");
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (encoding && !encoding->isCalibrated())
    return spec.unsupported("quantizer @" + symbol.getValue() + " has no range yet");
  return encoding;
}

llvm::Expected<Kernel> makeFakeQuant(const NodeSpec &spec) {
  llvm::Expected<quant::Encoding> encoding =
      findEncoding(spec, llvm::cast<nn::FakeQuantOp>(spec.op).getQuantizerAttr());
  if (!encoding)
    return encoding.takeError();
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " is not quantized; float32 is");
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [encoding = *encoding](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    quant::fakeQuantize(operands[0], encoding, results[0]);
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeDequantizeWeight(const NodeSpec &spec) {
  llvm::Expected<quant::Encoding> encoding =
      findEncoding(spec, llvm::cast<nn::DequantizeWeightOp>(spec.op).getQuantizerAttr());
  if (!encoding)
    return encoding.takeError();
  Kernel kernel;
  kernel.run = [encoding = *encoding](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    Tensor real = quant::dequantize(operands[0], encoding);
    std::memcpy(results[0].mutableRaw(), real.raw(), static_cast<size_t>(real.byteSize()));
    return llvm::Error::success();
  };
  return kernel;
}

/// ONNX: a scalar scale, one for each index of the axis, or one for each block along the axis.
llvm::Expected<std::function<int64_t(int64_t)>> findScaleIndex(const NodeSpec &spec, int64_t axis, int64_t blockSize) {
  const Shape &in = spec.operands[0].shape, &scale = spec.operands[1].shape;
  int64_t rank = static_cast<int64_t>(in.size());
  if (spec.operands[1].elementCount() == 1)
    return [](int64_t) -> int64_t { return 0; };
  axis = normalizeAxis(axis, rank);
  if (axis < 0 || axis >= rank)
    return spec.unsupported("axis " + llvm::Twine(axis) + " is not one of an input of rank " + llvm::Twine(rank));
  int64_t axisSize = in[static_cast<size_t>(axis)], inner = dimensionProduct(in, axis + 1, rank);
  if (scale.size() == 1 && scale[0] == axisSize)
    return [=](int64_t element) { return element / inner % axisSize; };
  if (scale.size() != in.size())
    return spec.unsupported("scale has rank " + llvm::Twine(scale.size()) + "; wanted 0, 1 or " + llvm::Twine(rank));
  int64_t blocks = scale[static_cast<size_t>(axis)];
  int64_t size = blockSize > 0 ? blockSize : blocks ? (axisSize + blocks - 1) / blocks : 1;
  Shape wanted = in;
  wanted[static_cast<size_t>(axis)] = (axisSize + size - 1) / size;
  if (wanted != scale)
    return spec.unsupported("scales of this shape do not fit blocks of " + llvm::Twine(size));
  return [=](int64_t element) {
    return (element / inner / axisSize * blocks + element / inner % axisSize / size) * inner + element % inner;
  };
}

/// Calls body(T()) for the type of 8 or 16 bits that activations are stored in; false where `type` is another one.
template <typename Body>
bool dispatchActivation(ElementType type, Body body) {
  switch (type) {
  case ElementType::I8: body(int8_t()); return true;
  case ElementType::U8: body(uint8_t()); return true;
  case ElementType::I16: body(int16_t()); return true;
  case ElementType::U16: body(uint16_t()); return true;
  default: return false;
  }
}

/// An activation with one scale. The difference of two integers of 16 bits is exact in float32.
bool dequantizeActivation(const Tensor &stored, float scale, int32_t zeroPoint, float *out) {
  return dispatchActivation(stored.elementType(), [&](auto element) {
    const auto *q = stored.data<decltype(element)>();
    parallelRanges(stored.elementCount(), 4096, [=](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        NIBBLE_INDEPENDENT
        for (int64_t i = begin; i < end; ++i)
          out[i] = static_cast<float>(q[i] - zeroPoint) * scale;
      });
    });
  });
}

/// The same in the other direction. The bounds are exact in float32, so clamping may come before rounding.
bool quantizeActivation(const float *x, float scale, int32_t zeroPoint, Tensor &stored) {
  auto [least, most] = quant::integerRange(stored.elementType());
  float low = static_cast<float>(least - zeroPoint), high = static_cast<float>(most - zeroPoint);
  return dispatchActivation(stored.elementType(), [&](auto element) {
    auto *q = stored.mutableData<decltype(element)>();
    parallelRanges(stored.elementCount(), 4096, [=](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        constexpr float roundingShift = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer, halves to even.
        NIBBLE_INDEPENDENT
        for (int64_t i = begin; i < end; ++i) {
          float value = x[i] / scale;
          // NaN takes the zero point.
          value = value != value ? 0.0f : value < low ? low : value > high ? high : value;
          q[i] = static_cast<decltype(element)>(static_cast<int32_t>((value + roundingShift) - roundingShift) + zeroPoint);
        }
      });
    });
  });
}

int32_t firstInteger(const Tensor &tensor) { return static_cast<int32_t>(tensor.valueAsDouble(0)); }

llvm::Expected<Kernel> makeDequantizeLinear(const NodeSpec &spec) {
  auto op = llvm::cast<nn::DequantizeLinearOp>(spec.op);
  llvm::Expected<std::function<int64_t(int64_t)>> scaleIndex =
      findScaleIndex(spec, static_cast<int64_t>(op.getAxis()), static_cast<int64_t>(op.getBlockSize()));
  if (!scaleIndex)
    return scaleIndex.takeError();
  if (spec.results[0].type != ElementType::F32)
    return spec.unsupported("result type " + name(spec.results[0].type) + " has no kernel; float32 has");
  bool hasZeroPoint = spec.has(2);
  Kernel kernel;
  kernel.run = [=, index = *scaleIndex](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *scales = operands[1].data<float>();
    float *out = results[0].mutableData<float>();
    if (operands[1].elementCount() == 1 &&
        dequantizeActivation(operands[0], *scales, hasZeroPoint ? firstInteger(operands[2]) : 0, out))
      return llvm::Error::success();
    parallelRanges(results[0].elementCount(), 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t at = index(i);
        double zeroPoint = hasZeroPoint ? operands[2].valueAsDouble(at) : 0;
        out[i] = static_cast<float>(operands[0].valueAsDouble(i) - zeroPoint) * scales[at];
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeQuantizeLinear(const NodeSpec &spec) {
  auto op = llvm::cast<nn::QuantizeLinearOp>(spec.op);
  llvm::Expected<std::function<int64_t(int64_t)>> scaleIndex =
      findScaleIndex(spec, static_cast<int64_t>(op.getAxis()), static_cast<int64_t>(op.getBlockSize()));
  if (!scaleIndex)
    return scaleIndex.takeError();
  ElementType type = spec.results[0].type;
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " is not quantized; float32 is");
  if (type == ElementType::F32 || type == ElementType::F64 || type == ElementType::F16 || type == ElementType::BF16 ||
      type == ElementType::Bool || bitWidth(type) > 32)
    return spec.unsupported("result type " + name(type) + " has no kernel; integers of 4 to 32 bits have");
  auto [low, high] = quant::integerRange(type);
  bool hasZeroPoint = spec.has(2);
  Kernel kernel;
  kernel.run = [=, low = low, high = high, index = *scaleIndex](llvm::ArrayRef<Tensor> operands,
                                                                llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>(), *scales = operands[1].data<float>();
    if (operands[1].elementCount() == 1 &&
        quantizeActivation(x, *scales, hasZeroPoint ? firstInteger(operands[2]) : 0, results[0]))
      return llvm::Error::success();
    auto *bytes = static_cast<uint8_t *>(results[0].mutableRaw());
    unsigned bits = bitWidth(type);
    std::memset(bytes, 0, static_cast<size_t>(results[0].byteSize()));
    // Tiles of an even number of elements: two 4-bit elements share a byte.
    parallelRanges(results[0].elementCount(), 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t at = index(i);
        double zeroPoint = hasZeroPoint ? operands[2].valueAsDouble(at) : 0;
        double rounded = static_cast<double>(std::nearbyint(x[i] / scales[at])) + zeroPoint;
        // NaN takes the zero point, which is what the comparisons of clamp leave undefined.
        double clamped = rounded != rounded ? zeroPoint : std::clamp(rounded, double(low), double(high));
        int64_t value = static_cast<int64_t>(clamped);
        if (bits == 4)
          bytes[i / 2] |= static_cast<uint8_t>((value & 15) << (i % 2 * 4));
        else
          std::memcpy(bytes + i * (bits / 8), &value, bits / 8);
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

void registerQuantizationKernels(KernelRegistry &registry) {
  registry["nn.fake_quant"] = makeFakeQuant;
  registry["nn.dequantize_weight"] = makeDequantizeWeight;
  registry["nn.quantize_linear"] = makeQuantizeLinear;
  registry["nn.dequantize_linear"] = makeDequantizeLinear;
}

} // namespace nibble::runtime
