//===- Constants.h - values of nn.constant ---------------------------------===//
#ifndef NIBBLE_DIALECT_NN_CONSTANTS_H
#define NIBBLE_DIALECT_NN_CONSTANTS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Support/Tensor.h"
#include "mlir/IR/Builders.h"
#include <optional>

namespace nibble::nn {

/// The storage type of an MLIR element type (signless integers are signed), or nullopt.
std::optional<ElementType> toElementType(mlir::Type type);
/// The inverse of toElementType.
mlir::Type toMLIRType(mlir::MLIRContext *context, ElementType type);
/// A ranked tensor type for `tensor`'s element type and shape.
mlir::RankedTensorType typeOf(mlir::MLIRContext *context, const Tensor &tensor);

/// The tensor behind a constant attribute of type `type`: blobs become views of mapped bytes
/// where those are aligned, inline elements are copied. Errors: BadInput where a blob cannot be resolved.
llvm::Expected<Tensor> readConstant(mlir::Attribute value, mlir::RankedTensorType type);

/// The tensor behind `value` where it is defined by nn.constant; an empty tensor where it is not.
llvm::Expected<Tensor> readConstant(mlir::Value value);
/// The same, and empty where the bytes cannot be read too: for rewrites and rules that then do not apply.
Tensor tryReadConstant(mlir::Value value);

/// The integers of `value` where it is an nn.constant of integer or boolean type.
std::optional<llvm::SmallVector<int64_t>> readConstantIntegers(mlir::Value value);
/// The single float of `value` where it is an nn.constant with one element of float type.
std::optional<double> readConstantScalar(mlir::Value value);

/// The attribute that stores `tensor`: inline up to `inlineLimitBytes`, in a new blob above.
/// Errors: IO where the spill cannot be written.
llvm::Expected<mlir::Attribute> makeConstantAttribute(mlir::MLIRContext *context, const Tensor &tensor);
inline constexpr int64_t inlineLimitBytes = 1024;

/// Creates nn.constant with the elements of `tensor`.
llvm::Expected<ConstantOp> createConstant(mlir::OpBuilder &builder, mlir::Location location, const Tensor &tensor);
/// Creates a rank-1 int64 constant.
ConstantOp createIntegers(mlir::OpBuilder &builder, mlir::Location location, llvm::ArrayRef<int64_t> values);
/// Creates a rank-0 float constant.
ConstantOp createScalar(mlir::OpBuilder &builder, mlir::Location location, float value);

} // namespace nibble::nn

#endif
