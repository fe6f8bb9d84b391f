//===- Indexing.cpp - gather, scatter and argmax ---------------------------===//
#include "lib/Runtime/Float/Movement.h"
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include <cstring>

using namespace mlir;

namespace nibble::runtime {
namespace {

/// Rows of `indices`, [entries, rows], into tables of `size` rows. Errors: BadInput where one is outside.
llvm::Error checkIndices(const Tensor &indices, int64_t size, llvm::StringRef what) {
  for (int32_t index : indices.values<int32_t>())
    if (index < 0 || index >= size)
      return makeError(ErrorKind::BadInput,
                       what + " has index " + llvm::Twine(index) + " into a dimension of " + llvm::Twine(size));
  return llvm::Error::success();
}

llvm::Expected<Kernel> makeGather(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  const Shape &table = spec.operands[0].shape, &out = spec.results[0].shape;
  int64_t size = table[1], rows = out[1], rowBytes = table[2] * bitWidth(spec.results[0].type) / 8, count = out[0] * rows;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    if (llvm::Error error = checkIndices(operands[1], size, "gather"))
      return error;
    const int32_t *indices = operands[1].data<int32_t>();
    const char *from = static_cast<const char *>(operands[0].raw());
    char *to = static_cast<char *>(results[0].mutableRaw());
    parallelRanges(count, (128 << 10) / std::max<int64_t>(rowBytes, 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        std::memcpy(to + row * rowBytes, from + (row / rows * size + indices[row]) * rowBytes,
                    static_cast<size_t>(rowBytes));
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeScatter(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  const Shape &table = spec.results[0].shape;
  int64_t size = table[1], rows = spec.operands[1].shape[1], rowBytes = table[2] * bitWidth(spec.results[0].type) / 8;
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    if (llvm::Error error = checkIndices(operands[1], size, "scatter"))
      return error;
    char *to = static_cast<char *>(results[0].mutableRaw());
    if (to != operands[0].raw())
      std::memcpy(to, operands[0].raw(), static_cast<size_t>(results[0].byteSize()));
    const char *from = static_cast<const char *>(operands[2].raw());
    for (auto [row, index] : llvm::enumerate(operands[1].values<int32_t>())) {
      int64_t entry = static_cast<int64_t>(row) / rows;
      std::memcpy(to + (entry * size + index) * rowBytes, from + static_cast<int64_t>(row) * rowBytes,
                  static_cast<size_t>(rowBytes));
    }
    return llvm::Error::success();
  };
  return kernel;
}

/// The first index of the greatest element along an axis.
template <class T>
void findGreatest(const T *x, int64_t outer, int64_t length, int64_t inner, int32_t *out) {
  parallelRanges(outer * inner, std::max<int64_t>(1, 32768 / length), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *line = x + i / inner * length * inner + i % inner;
      int64_t best = 0;
      for (int64_t k = 1; k < length; ++k)
        if (line[k * inner] > line[best * inner])
          best = k;
      out[i] = static_cast<int32_t>(best);
    }
  });
}

llvm::Expected<Kernel> makeArgMax(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape;
  int64_t axis = cast<tosa::ArgMaxOp>(spec.op).getAxis();
  int64_t outer = dimensionProduct(in, 0, axis), length = in[static_cast<size_t>(axis)];
  int64_t inner = dimensionProduct(in, axis + 1, static_cast<int64_t>(in.size()));
  ElementType type = spec.operands[0].type;
  if ((type != ElementType::I8 && type != ElementType::I16) || spec.results[0].type != ElementType::I32)
    return spec.unsupported("element type " + name(type) + " has no kernel; int8 and int16 have");
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    int32_t *out = results[0].mutableData<int32_t>();
    if (type == ElementType::I8)
      findGreatest(operands[0].data<int8_t>(), outer, length, inner, out);
    else
      findGreatest(operands[0].data<int16_t>(), outer, length, inner, out);
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

void registerIntegerIndexingKernels(KernelRegistry &registry) {
  registry["tosa.gather"] = makeGather;
  registry["tosa.scatter"] = makeScatter;
  registry["tosa.argmax"] = makeArgMax;
}

} // namespace nibble::runtime
