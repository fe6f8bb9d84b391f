//===- Checks.cpp - what TOSA leaves unpredictable -------------------------===//
//
// One element at a time and in wide arithmetic, apart from the kernels whose operands
// these functions judge.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

using Wide = __int128;

bool fitsWord(Wide value) { return value >= INT32_MIN && value <= INT32_MAX; }

llvm::Error unpredictable(const llvm::Twine &message) { return makeError(ErrorKind::Internal, message); }

/// Calls check(i, a, b) for every element of a result of two broadcast operands until it returns false.
template <class Check>
bool checkPairs(const Tensor &a, const Tensor &b, const Tensor &result, Check check) {
  llvm::SmallVector<int64_t> left = a.valuesAsInt64(), right = b.valuesAsInt64();
  llvm::ArrayRef<int64_t> shape = result.shape();
  for (int64_t i = 0; i < result.elementCount(); ++i) {
    auto indexIn = [&](const Tensor &operand) {
      int64_t rest = i, index = 0, stride = 1;
      for (size_t dim = shape.size(); dim-- > 0;) {
        int64_t size = operand.shape()[dim];
        index += (size == 1 ? 0 : rest % shape[dim]) * stride;
        stride *= size;
        rest /= shape[dim];
      }
      return static_cast<size_t>(index);
    };
    if (!check(left[indexIn(a)], right[indexIn(b)]))
      return false;
  }
  return true;
}

llvm::Error checkRescale(tosa::RescaleOp op, llvm::ArrayRef<Tensor> operands) {
  llvm::SmallVector<int64_t> values = operands[0].valuesAsInt64(), multipliers = operands[1].valuesAsInt64();
  llvm::SmallVector<int64_t> shifts = operands[2].valuesAsInt64();
  int64_t zero = operands[3].valuesAsInt64()[0];
  for (auto [i, value] : llvm::enumerate(values)) {
    size_t channel = multipliers.size() == 1 ? 0 : i % multipliers.size();
    Wide input = Wide(value) - zero;
    int64_t shift = shifts[channel];
    if (op.getScale32()) {
      Wide limit = Wide(1) << (shift - 1);
      if (input < -limit || input >= limit)
        return unpredictable("element " + llvm::Twine(i) + " is " + llvm::Twine(static_cast<int64_t>(input)) +
                             ", which a rescale by shift " + llvm::Twine(shift) + " does not take");
    } else if (!fitsWord((input * multipliers[channel] + (Wide(1) << (shift - 1))) >> shift)) {
      return unpredictable("element " + llvm::Twine(i) + " is " + llvm::Twine(static_cast<int64_t>(input)) +
                           ", which rescales beyond 32 bits");
    }
  }
  return llvm::Error::success();
}

/// Errors of operations of two operands.
llvm::Error checkBinary(Operation *op, llvm::ArrayRef<Tensor> operands, const Tensor &result) {
  int64_t width = bitWidth(operands[0].elementType());
  bool isFine = true;
  llvm::StringRef fault;
  if (isa<tosa::AddOp, tosa::SubOp>(op)) {
    bool isSum = isa<tosa::AddOp>(op);
    fault = "the result leaves 32 bits";
    isFine = checkPairs(operands[0], operands[1], result,
                        [&](int64_t a, int64_t b) { return fitsWord(isSum ? Wide(a) + b : Wide(a) - b); });
  } else if (isa<tosa::MulOp>(op)) {
    int64_t shift = operands[2].valuesAsInt64()[0];
    fault = "the product leaves 32 bits";
    isFine = checkPairs(operands[0], operands[1], result, [&](int64_t a, int64_t b) {
      Wide product = Wide(a) * b;
      return fitsWord(shift ? (product + (Wide(1) << (shift - 1))) >> shift : product);
    });
  } else if (isa<tosa::ArithmeticRightShiftOp, tosa::LogicalLeftShiftOp, tosa::LogicalRightShiftOp>(op)) {
    // The specification bounds logical shifts by 31 for all types.
    int64_t limit = isa<tosa::ArithmeticRightShiftOp>(op) ? width : 32;
    fault = "a shift is outside the element's width";
    isFine = checkPairs(operands[0], operands[1], result, [&](int64_t, int64_t b) { return b >= 0 && b < limit; });
  } else if (isa<tosa::IntDivOp>(op)) {
    fault = "a quotient does not exist in 32 bits";
    isFine = checkPairs(operands[0], operands[1], result,
                        [&](int64_t a, int64_t b) { return b != 0 && !(a == INT32_MIN && b == -1); });
  }
  return isFine ? llvm::Error::success() : unpredictable(fault);
}

llvm::Error checkReduceSum(tosa::ReduceSumOp op, const Tensor &input) {
  llvm::SmallVector<int64_t> values = input.valuesAsInt64();
  int64_t axis = op.getAxis();
  int64_t inner = dimensionProduct(input.shape(), axis + 1, input.rank()), length = input.shape()[static_cast<size_t>(axis)];
  for (int64_t outer = 0; outer < dimensionProduct(input.shape(), 0, axis); ++outer)
    for (int64_t i = 0; i < inner; ++i) {
      Wide sum = 0;
      for (int64_t k = 0; k < length; ++k) {
        sum += values[static_cast<size_t>((outer * length + k) * inner + i)];
        if (!fitsWord(sum))
          return unpredictable("the sum leaves 32 bits");
      }
    }
  return llvm::Error::success();
}

llvm::Error checkScatter(llvm::ArrayRef<Tensor> operands) {
  llvm::SmallVector<int64_t> indices = operands[1].valuesAsInt64();
  int64_t rows = operands[1].shape()[1], entries = operands[1].shape()[0];
  for (int64_t entry = 0; entry < entries; ++entry) {
    llvm::ArrayRef<int64_t> row = llvm::ArrayRef(indices).slice(static_cast<size_t>(entry * rows),
                                                                static_cast<size_t>(rows));
    llvm::SmallVector<int64_t> sorted(row);
    llvm::sort(sorted);
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
      return unpredictable("an index occurs twice");
  }
  return llvm::Error::success();
}

llvm::Error check(Operation *op, llvm::ArrayRef<Tensor> operands, const Tensor &result) {
  if (auto rescale = dyn_cast<tosa::RescaleOp>(op))
    return checkRescale(rescale, operands);
  if (auto sum = dyn_cast<tosa::ReduceSumOp>(op))
    return checkReduceSum(sum, operands[0]);
  if (isa<tosa::ScatterOp>(op))
    return checkScatter(operands);
  return checkBinary(op, operands, result);
}

} // namespace

Kernel checkOperation(const NodeSpec &spec, Kernel kernel) {
  if (kernel.isView)
    return kernel;
  // The check needs the operands after the run too.
  kernel.overwritable.clear();
  kernel.run = [op = spec.op, run = std::move(kernel.run)](llvm::ArrayRef<Tensor> operands,
                                                           llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    if (llvm::Error error = check(op, operands, results[0]))
      return error;
    return run(operands, results);
  };
  return kernel;
}

} // namespace nibble::runtime
