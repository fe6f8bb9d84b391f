//===- Rewriting.h - what patterns on nn operations share ------------------===//
#ifndef NIBBLE_PASSES_REWRITING_H
#define NIBBLE_PASSES_REWRITING_H

#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace nibble {

/// Gives `op` the result types that its operands imply. The rewrites that call this build operations
/// from verified ones, so a failure is a defect of the rewrite; it is reported on the operation.
void setInferredTypes(mlir::Operation *op);

/// Creates an operation with one result whose type follows from its operands and attributes.
template <typename Op, typename... Args>
mlir::Value createInferred(mlir::OpBuilder &builder, mlir::Location location, Args &&...args) {
  auto unknown = mlir::UnrankedTensorType::get(builder.getF32Type());
  auto op = Op::create(builder, location, mlir::TypeRange(unknown), std::forward<Args>(args)...);
  setInferredTypes(op);
  return op->getResult(0);
}

/// nn.reshape of `input` to the static `shape`; `input` itself where it has that shape.
mlir::Value createReshape(mlir::OpBuilder &builder, mlir::Location location, mlir::Value input,
                          llvm::ArrayRef<int64_t> shape);
/// nn.transpose of `input`; `input` itself where `permutation` is the identity.
mlir::Value createTranspose(mlir::OpBuilder &builder, mlir::Location location, mlir::Value input,
                            llvm::ArrayRef<int64_t> permutation);
/// nn.slice of one axis from `begin` to `end`, step 1.
mlir::Value createSlice(mlir::OpBuilder &builder, mlir::Location location, mlir::Value input, int64_t axis,
                        int64_t begin, int64_t end);
/// nn.constant with `tensor`, or failure with an error at `location` where it cannot be stored.
llvm::FailureOr<mlir::Value> createConstantValue(mlir::OpBuilder &builder, mlir::Location location,
                                                 const Tensor &tensor);

/// The constant `constant` under another shape of as many elements, sharing the stored bytes.
mlir::Value createReshapedConstant(mlir::OpBuilder &builder, mlir::Location location, mlir::Value constant,
                                   llvm::ArrayRef<int64_t> shape);

/// The number that all elements of a constant of float or integer type are equal to. Constants of more
/// than 65536 elements are not looked at.
std::optional<double> matchSplat(mlir::Value value);
/// Whether `value` is a constant whose elements all lie within `tolerance`, relative, of `expected`.
bool isSplatOf(mlir::Value value, double expected, double tolerance = 0);

/// For a binary operation with one operand that satisfies `predicate`: that operand and the other one.
template <typename Predicate>
std::optional<std::pair<mlir::Value, mlir::Value>> matchEitherOperand(mlir::Operation *op, Predicate predicate) {
  if (predicate(op->getOperand(0)))
    return std::pair(op->getOperand(0), op->getOperand(1));
  if (predicate(op->getOperand(1)))
    return std::pair(op->getOperand(1), op->getOperand(0));
  return std::nullopt;
}

/// Whether the type is ranked with static dimensions.
bool hasStaticShape(mlir::Value value);

/// Applies `patterns` to everything inside `op` until nothing changes. Constants are neither folded,
/// merged nor moved, so that they keep their names. `listener`, if given, is told of every rewrite.
llvm::LogicalResult applyPatterns(mlir::Operation *op, mlir::RewritePatternSet &&patterns,
                                  mlir::RewriterBase::Listener *listener = nullptr);

} // namespace nibble

#endif
