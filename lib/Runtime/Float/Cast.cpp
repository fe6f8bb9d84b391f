//===- Cast.cpp - conversion between element types -------------------------===//
#include "lib/Runtime/Float/Broadcast.h"
#include "lib/Runtime/Float/Kernel.h"

#include "llvm/ADT/APFloat.h"
#include <cstring>
#include <limits>
#include <type_traits>

namespace nibble::runtime {
namespace {

/// Converts as C does, where C defines it. Values outside an integer type saturate, NaN becomes 0.
template <class To, class From>
NIBBLE_INLINE inline To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From low = static_cast<From>(std::numeric_limits<To>::lowest());
    constexpr From high = static_cast<From>(std::numeric_limits<To>::max());
    if (!(value > low))
      return value == value ? std::numeric_limits<To>::lowest() : To(0);
    return value >= high ? std::numeric_limits<To>::max() : static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

uint16_t roundToHalf(double value, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(value);
  bool losesInfo;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return static_cast<uint16_t>(number.bitcastToAPInt().getZExtValue());
}

/// Types without arithmetic of their own on the way: halves and 4-bit integers.
void convertSlowly(const Tensor &input, Tensor &output) {
  int64_t count = input.elementCount();
  uint8_t *bytes = static_cast<uint8_t *>(output.mutableRaw());
  std::memset(bytes, 0, static_cast<size_t>(output.byteSize()));
  for (int64_t i = 0; i < count; ++i) {
    double value = input.valueAsDouble(i);
    switch (output.elementType()) {
    case ElementType::F16:
      reinterpret_cast<uint16_t *>(bytes)[i] = roundToHalf(value, llvm::APFloat::IEEEhalf());
      break;
    case ElementType::BF16:
      reinterpret_cast<uint16_t *>(bytes)[i] = roundToHalf(value, llvm::APFloat::BFloat());
      break;
    case ElementType::I4:
    case ElementType::U4:
      bytes[i / 2] |= static_cast<uint8_t>((convert<int64_t>(value) & 15) << (i % 2 * 4));
      break;
    case ElementType::F32: reinterpret_cast<float *>(bytes)[i] = static_cast<float>(value); break;
    case ElementType::F64: reinterpret_cast<double *>(bytes)[i] = value; break;
    case ElementType::Bool: bytes[i] = value != 0; break;
    case ElementType::I8: reinterpret_cast<int8_t *>(bytes)[i] = convert<int8_t>(value); break;
    case ElementType::U8: bytes[i] = convert<uint8_t>(value); break;
    case ElementType::I16: reinterpret_cast<int16_t *>(bytes)[i] = convert<int16_t>(value); break;
    case ElementType::U16: reinterpret_cast<uint16_t *>(bytes)[i] = convert<uint16_t>(value); break;
    case ElementType::I32: reinterpret_cast<int32_t *>(bytes)[i] = convert<int32_t>(value); break;
    case ElementType::U32: reinterpret_cast<uint32_t *>(bytes)[i] = convert<uint32_t>(value); break;
    case ElementType::I64: reinterpret_cast<int64_t *>(bytes)[i] = convert<int64_t>(value); break;
    case ElementType::U64: reinterpret_cast<uint64_t *>(bytes)[i] = convert<uint64_t>(value); break;
    }
  }
}

bool isComputed(ElementType type) {
  return bitWidth(type) != 4 && type != ElementType::F16 && type != ElementType::BF16;
}

/// dispatchNumeric with Bool as its byte.
template <class Callback>
llvm::Error dispatchStored(const NodeSpec &spec, ElementType type, Callback &&callback) {
  return dispatchNumeric(spec, type == ElementType::Bool ? ElementType::U8 : type, callback);
}

llvm::Expected<Kernel> makeCast(const NodeSpec &spec) {
  ElementType from = spec.operands[0].type, to = spec.results[0].type;
  Kernel kernel;
  if (from == to) {
    kernel.isView = true;
    return kernel;
  }
  if (!isComputed(from) || !isComputed(to)) {
    kernel.run = [](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
      convertSlowly(operands[0], results[0]);
      return llvm::Error::success();
    };
    return kernel;
  }
  bool toBool = to == ElementType::Bool;
  llvm::Error inner = llvm::Error::success();
  llvm::Error outer = dispatchStored(spec, from, [&](auto source) {
    inner = llvm::joinErrors(std::move(inner), dispatchStored(spec, to, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      kernel.run = [toBool](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
        const From *in = static_cast<const From *>(operands[0].raw());
        To *out = static_cast<To *>(results[0].mutableRaw());
        parallelRanges(results[0].elementCount(), elementwiseTile, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            out[i] = toBool ? static_cast<To>(in[i] != 0) : convert<To>(in[i]);
        });
        return llvm::Error::success();
      };
    }));
  });
  if (llvm::Error error = llvm::joinErrors(std::move(outer), std::move(inner)))
    return std::move(error);
  return kernel;
}

} // namespace

void registerCastKernels(KernelRegistry &registry) { registry["nn.cast"] = makeCast; }

} // namespace nibble::runtime
