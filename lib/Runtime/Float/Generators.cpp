//===- Generators.cpp - tensors made from shapes and scalars ---------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"

namespace nibble::runtime {
namespace {

llvm::Expected<Kernel> makeShape(const NodeSpec &spec) {
  auto op = llvm::cast<nn::ShapeOp>(spec.op);
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size());
  int64_t start = std::clamp<int64_t>(normalizeAxis(static_cast<int64_t>(op.getStart()), rank), 0, rank);
  int64_t end = op.getEnd() ? static_cast<int64_t>(*op.getEnd()) : rank;
  end = std::clamp<int64_t>(normalizeAxis(end, rank), start, rank);
  Shape dims(in.begin() + start, in.begin() + end);
  Kernel kernel;
  kernel.run = [dims](llvm::ArrayRef<Tensor>, llvm::MutableArrayRef<Tensor> results) {
    std::copy(dims.begin(), dims.end(), results[0].mutableData<int64_t>());
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeSize(const NodeSpec &spec) {
  Kernel kernel;
  kernel.run = [count = spec.operands[0].elementCount()](llvm::ArrayRef<Tensor>,
                                                         llvm::MutableArrayRef<Tensor> results) {
    *results[0].mutableData<int64_t>() = count;
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeConstantOfShape(const NodeSpec &spec) {
  auto elements = llvm::cast<nn::ConstantOfShapeOp>(spec.op).getValue();
  llvm::Expected<Tensor> value = nn::readConstant(elements, llvm::cast<mlir::RankedTensorType>(elements.getType()));
  if (!value)
    return value.takeError();
  Kernel kernel;
  if (llvm::Error error = dispatchBytes(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        T fill = *static_cast<const T *>(value->raw());
        kernel.run = [fill](llvm::ArrayRef<Tensor>, llvm::MutableArrayRef<Tensor> results) {
          std::fill_n(static_cast<T *>(results[0].mutableRaw()), results[0].elementCount(), fill);
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeRange(const NodeSpec &spec) {
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          T start = *operands[0].data<T>(), delta = *operands[2].data<T>();
          T *out = results[0].mutableData<T>();
          using W = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
          for (int64_t i = 0, count = results[0].elementCount(); i < count; ++i)
            out[i] = static_cast<T>(static_cast<W>(start) + static_cast<W>(i) * static_cast<W>(delta));
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeCumSum(const NodeSpec &spec) {
  auto op = llvm::cast<nn::CumSumOp>(spec.op);
  bool exclusive = op.getExclusive(), reverse = op.getReverse();
  Shape in = spec.operands[0].shape;
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
          int64_t rank = static_cast<int64_t>(in.size()), given = operands[1].valuesAsInt64()[0];
          int64_t axis = normalizeAxis(given, rank);
          if (axis < 0 || axis >= rank)
            return makeError(ErrorKind::BadInput,
                             "cum_sum has axis " + llvm::Twine(given) + " for rank " + llvm::Twine(rank));
          int64_t outer = dimensionProduct(in, 0, axis), size = in[static_cast<size_t>(axis)];
          int64_t inner = dimensionProduct(in, axis + 1, rank);
          const T *x = operands[0].data<T>();
          T *y = results[0].mutableData<T>();
          using W = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
          for (int64_t o = 0; o < outer; ++o)
            for (int64_t c = 0; c < inner; ++c) {
              W sum = 0;
              for (int64_t i = 0; i < size; ++i) {
                int64_t at = (o * size + (reverse ? size - 1 - i : i)) * inner + c;
                W next = sum + static_cast<W>(x[at]);
                y[at] = static_cast<T>(exclusive ? sum : next);
                sum = next;
              }
            }
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeTrilu(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape;
  int64_t rows = in[in.size() - 2], columns = in.back();
  bool upper = llvm::cast<nn::TriluOp>(spec.op).getUpper(), hasK = spec.has(1);
  Kernel kernel;
  if (llvm::Error error = dispatchBytes(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          int64_t k = hasK ? operands[1].valuesAsInt64()[0] : 0;
          const T *x = static_cast<const T *>(operands[0].raw());
          T *y = static_cast<T *>(results[0].mutableRaw());
          for (int64_t i = 0, count = results[0].elementCount(); i < count; ++i) {
            int64_t column = i % columns, row = i / columns % rows;
            // Compared as column against row + k without the sum, which could overflow.
            bool keep = upper ? column - row >= k : column - row <= k;
            y[i] = keep ? x[i] : T(0);
          }
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeOneHot(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
  int64_t rank = static_cast<int64_t>(out.size());
  int64_t axis = normalizeAxis(static_cast<int64_t>(llvm::cast<nn::OneHotOp>(spec.op).getAxis()), rank);
  int64_t inner = dimensionProduct(in, axis, rank - 1), depth = out[static_cast<size_t>(axis)];
  Kernel kernel;
  if (llvm::Error error = dispatchBytes(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          const T *values = static_cast<const T *>(operands[2].raw());
          T *y = static_cast<T *>(results[0].mutableRaw());
          std::fill_n(y, results[0].elementCount(), values[0]);
          llvm::SmallVector<int64_t> indices = operands[0].valuesAsInt64();
          for (size_t i = 0; i < indices.size(); ++i) {
            int64_t index = indices[i] < 0 ? indices[i] + depth : indices[i];
            int64_t at = static_cast<int64_t>(i);
            // ONNX: an index outside of the depth gives a row of only the off value.
            if (index >= 0 && index < depth)
              y[(at / inner * depth + index) * inner + at % inner] = values[1];
          }
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

} // namespace

void registerGeneratorKernels(KernelRegistry &registry) {
  registry["nn.shape"] = makeShape;
  registry["nn.size"] = makeSize;
  registry["nn.constant_of_shape"] = makeConstantOfShape;
  registry["nn.range"] = makeRange;
  registry["nn.cum_sum"] = makeCumSum;
  registry["nn.trilu"] = makeTrilu;
  registry["nn.one_hot"] = makeOneHot;
}

} // namespace nibble::runtime
