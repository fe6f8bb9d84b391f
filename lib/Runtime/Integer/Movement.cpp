//===- Movement.cpp - operations that move elements by fixed rules ---------===//
#include "lib/Runtime/Float/Movement.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

llvm::Expected<Kernel> makeTranspose(const NodeSpec &spec) {
  llvm::ArrayRef<int32_t> perms = cast<tosa::TransposeOp>(spec.op).getPerms();
  return makeTransposition(spec, llvm::SmallVector<int64_t>(perms.begin(), perms.end()));
}

llvm::Expected<Kernel> makeConcat(const NodeSpec &spec) {
  return makeConcatenation(spec, cast<tosa::ConcatOp>(spec.op).getAxis());
}

llvm::Expected<Kernel> makeReverse(const NodeSpec &spec) {
  const Shape &shape = spec.results[0].shape;
  size_t axis = static_cast<size_t>(cast<tosa::ReverseOp>(spec.op).getAxis());
  Shape strides = rowMajorStrides(shape);
  int64_t offset = (shape[axis] - 1) * strides[axis];
  strides[axis] = -strides[axis];
  return makeCopy(spec, StridedCopy(shape, strides, offset));
}

llvm::Expected<Kernel> makeSlice(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
  if (!spec.operands[1].constant)
    return spec.unsupported("the start must be a constant");
  llvm::SmallVector<int64_t> starts = spec.operands[1].constant.valuesAsInt64();
  Shape strides = rowMajorStrides(in);
  int64_t offset = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    if (starts[i] < 0 || starts[i] + out[i] > in[i])
      return makeError(ErrorKind::BadInput, "slice takes " + llvm::Twine(out[i]) + " elements from " +
                                                llvm::Twine(starts[i]) + " of a dimension of " + llvm::Twine(in[i]));
    offset += starts[i] * strides[i];
  }
  return makeCopy(spec, StridedCopy(out, strides, offset));
}

llvm::Expected<Kernel> makePad(const NodeSpec &spec) {
  if (!spec.operands[1].constant)
    return spec.unsupported("the padding must be a constant");
  llvm::SmallVector<int64_t> pads = spec.operands[1].constant.valuesAsInt64(), begins;
  for (size_t i = 0; i < pads.size(); i += 2)
    begins.push_back(pads[i]);
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    return padTensor(spec, operands[0], begins, nn::PadMode::Constant, operands[2], results[0]);
  };
  return kernel;
}

} // namespace

void registerIntegerMovementKernels(KernelRegistry &registry) {
  registry["tosa.reshape"] = makeView;
  registry["tosa.identity"] = makeView;
  registry["tosa.transpose"] = makeTranspose;
  registry["tosa.concat"] = makeConcat;
  registry["tosa.reverse"] = makeReverse;
  registry["tosa.slice"] = makeSlice;
  registry["tosa.tile"] = makeTile;
  registry["tosa.pad"] = makePad;
}

} // namespace nibble::runtime
