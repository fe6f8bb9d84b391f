//===- Kernel.h - one prepared operation -----------------------------------===//
//
// A kernel is made once per operation, from the shapes and types of its values and
// from the operands that are constant, and then run any number of times. Factories
// are found by operation name in the registry (Registry.cpp); every file of kernels
// adds its own.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_KERNEL_H
#define NIBBLE_RUNTIME_FLOAT_KERNEL_H

#include "lib/Support/Error.h"
#include "lib/Support/Tensor.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"
#include <functional>

namespace nibble::runtime {

/// Element type and static shape of a value.
struct ValueSpec {
  ElementType type = ElementType::F32;
  Shape shape;
  /// Elements between neighbours along each dimension; empty where row-major. Only values that a fused
  /// matrix product reads or writes in place have any.
  Shape strides;

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t elementCount() const { return nibble::elementCount(shape); }
};

struct OperandSpec : ValueSpec {
  /// False for an optional operand that is absent.
  bool present = false;
  /// The value, where it is known when the kernel is made.
  Tensor constant;
};

/// What a factory knows of an operation. `operands` are in the order of the operation's definition,
/// absent ones in between included.
struct NodeSpec {
  mlir::Operation *op = nullptr;
  /// Where quantizer symbols are looked up.
  mlir::Operation *symbolScope = nullptr;
  llvm::SmallVector<OperandSpec> operands;
  llvm::SmallVector<ValueSpec> results;
  /// A factor of the result of a matrix product.
  float factor = 1;

  bool has(unsigned index) const { return index < operands.size() && operands[index].present; }
  /// An Unsupported error that names the ONNX node.
  llvm::Error unsupported(const llvm::Twine &reason) const;
};

struct Kernel {
  /// Computes allocated `results`. Errors: BadInput for operand values that the operation does not
  /// allow, for example an index out of range.
  using Run = std::function<llvm::Error(llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results)>;
  Run run;
  /// The result is operand 0's storage under another shape; `run` is empty.
  bool isView = false;
  /// Operands whose storage the first result may take over, element for element.
  llvm::SmallVector<unsigned, 2> overwritable;
};

using KernelFactory = llvm::Expected<Kernel> (*)(const NodeSpec &);
using KernelRegistry = llvm::StringMap<KernelFactory>;

void registerElementwiseKernels(KernelRegistry &registry);
void registerBinaryKernels(KernelRegistry &registry);
void registerCastKernels(KernelRegistry &registry);
void registerMovementKernels(KernelRegistry &registry);
void registerIndexingKernels(KernelRegistry &registry);
void registerGeneratorKernels(KernelRegistry &registry);
void registerResizeKernels(KernelRegistry &registry);
void registerMatmulKernels(KernelRegistry &registry);
void registerEinsumKernels(KernelRegistry &registry);
void registerConvolutionKernels(KernelRegistry &registry);
void registerPoolingKernels(KernelRegistry &registry);
void registerReductionKernels(KernelRegistry &registry);
void registerNormalizationKernels(KernelRegistry &registry);
void registerAttentionKernels(KernelRegistry &registry);
void registerQuantizationKernels(KernelRegistry &registry);

/// How elements of an MLIR type are stored: nn::toElementType, and 64 bits for i48.
std::optional<ElementType> storageType(mlir::Type type);
/// Describes `op`; `constants[i]` is the value of actual operand i or empty. Errors: Unsupported where
/// a type is not static or not storable. An operand without a tensor type is described by its value.
llvm::Expected<NodeSpec> describeNode(mlir::Operation *op, mlir::Operation *symbolScope,
                                      llvm::ArrayRef<Tensor> constants);
/// The positions in NodeSpec::operands of the actual operands of `op`.
llvm::SmallVector<unsigned> operandPositions(mlir::Operation *op);
/// Errors: Unsupported where no kernel takes the operation or its types.
llvm::Expected<Kernel> makeKernel(const NodeSpec &spec);
/// softmax(factor * query keys + mask) values, on operands query, keys, mask (optional), values, whose
/// last two dimensions are those of the matrix products.
llvm::Expected<Kernel> makeFusedAttention(const NodeSpec &spec);

/// Element types of the values that a kernel is written for.
template <class Callback>
llvm::Error dispatchNumeric(const NodeSpec &spec, ElementType type, Callback &&callback) {
  switch (type) {
  case ElementType::F32: callback(float()); break;
  case ElementType::F64: callback(double()); break;
  case ElementType::I8: callback(int8_t()); break;
  case ElementType::U8: callback(uint8_t()); break;
  case ElementType::I16: callback(int16_t()); break;
  case ElementType::U16: callback(uint16_t()); break;
  case ElementType::I32: callback(int32_t()); break;
  case ElementType::U32: callback(uint32_t()); break;
  case ElementType::I64: callback(int64_t()); break;
  case ElementType::U64: callback(uint64_t()); break;
  default: return spec.unsupported("element type " + name(type) + " is not computed with");
  }
  return llvm::Error::success();
}

/// Unsigned integers as wide as an element, for operations that only move bytes.
template <class Callback>
llvm::Error dispatchBytes(const NodeSpec &spec, ElementType type, Callback &&callback) {
  switch (bitWidth(type)) {
  case 8: callback(uint8_t()); break;
  case 16: callback(uint16_t()); break;
  case 32: callback(uint32_t()); break;
  case 64: callback(uint64_t()); break;
  default: return spec.unsupported("packed element type " + name(type) + " is not moved");
  }
  return llvm::Error::success();
}

/// An axis that may count from the back.
inline int64_t normalizeAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }
/// Product of dimensions [begin, end).
inline int64_t dimensionProduct(llvm::ArrayRef<int64_t> shape, int64_t begin, int64_t end) {
  int64_t product = 1;
  for (int64_t i = begin; i < end; ++i)
    product *= shape[static_cast<size_t>(i)];
  return product;
}
/// Row-major strides in elements.
inline Shape rowMajorStrides(llvm::ArrayRef<int64_t> shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

} // namespace nibble::runtime

#endif
