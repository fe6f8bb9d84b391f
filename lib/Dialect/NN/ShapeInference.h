//===- ShapeInference.h - result types of nn operations --------------------===//
#ifndef NIBBLE_DIALECT_NN_SHAPEINFERENCE_H
#define NIBBLE_DIALECT_NN_SHAPEINFERENCE_H

#include "lib/Support/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>
#include <string>

namespace nibble::nn {

/// A type with more elements than this is refused, so that byte counts cannot overflow.
inline constexpr int64_t maximumElementCount = int64_t(1) << 40;

/// The result types of `op` by its ShapeInference interface, one per result. Emits an error and fails
/// where the operation lacks the interface, an operand is unranked, shapes do not fit together or a
/// result would have more than maximumElementCount elements.
llvm::LogicalResult inferResultTypes(mlir::Operation *op,
                                     llvm::SmallVectorImpl<mlir::RankedTensorType> &resultTypes);

/// Checks that the result types of `op` are compatible with what inferResultTypes gives; operations
/// with an unranked operand are not checked.
llvm::LogicalResult verifyResultTypes(mlir::Operation *op);

/// The shape of `value`; its type must be ranked. Dynamic dimensions are ShapedType::kDynamic.
llvm::ArrayRef<int64_t> shapeOf(mlir::Value value);
/// The element type of `value`, a tensor.
mlir::Type elementTypeOf(mlir::Value value);

/// `axis` counted from the front, in [0, rank), or an error on `op` naming `what`.
llvm::FailureOr<int64_t> normalizeAxis(mlir::Operation *op, int64_t axis, int64_t rank, llvm::StringRef what);

/// The shape that `shapes` broadcast to by the rules of numpy, or nullopt where they do not fit.
/// A dynamic dimension beside one that is not 1 takes the latter's size.
std::optional<Shape> broadcastShapes(llvm::ArrayRef<llvm::ArrayRef<int64_t>> shapes);

/// The pads (begins, then ends) that `autoPad` (NOTSET, VALID, SAME_UPPER, SAME_LOWER) means for a
/// convolution or pooling window over the spatial dimensions `input`; `pads` where it is NOTSET.
/// Dynamic dimensions give zeros. All lists have one entry per spatial dimension.
llvm::SmallVector<int64_t> resolveAutoPad(llvm::StringRef autoPad, llvm::ArrayRef<int64_t> pads,
                                          llvm::ArrayRef<int64_t> input, llvm::ArrayRef<int64_t> kernel,
                                          llvm::ArrayRef<int64_t> strides, llvm::ArrayRef<int64_t> dilations);

/// The same for a transposed convolution, from `output_shape` or `auto_pad` as ONNX defines them;
/// `outputShape` is empty where the operator gives none.
llvm::SmallVector<int64_t> resolveTransposedPads(llvm::StringRef autoPad, llvm::ArrayRef<int64_t> pads,
                                                 llvm::ArrayRef<int64_t> input, llvm::ArrayRef<int64_t> kernel,
                                                 llvm::ArrayRef<int64_t> strides,
                                                 llvm::ArrayRef<int64_t> dilations,
                                                 llvm::ArrayRef<int64_t> outputPadding,
                                                 llvm::ArrayRef<int64_t> outputShape);

/// What nn.slice takes of one axis: elements start, start + step, ..., `size` of them.
struct SliceRange {
  int64_t axis, start, step, size;
};
/// The ranges of nn.slice `op`, one per sliced axis, clamped as ONNX does. Nullopt where starts,
/// ends, axes or steps are not constant or a sliced dimension is dynamic; an error where they are wrong.
llvm::FailureOr<std::optional<llvm::SmallVector<SliceRange>>> resolveSlice(mlir::Operation *op);

/// An einsum equation without ellipsis: one word of index letters per operand and one for the result.
struct EinsumEquation {
  llvm::SmallVector<std::string> inputs;
  std::string output;
  /// Spaces are dropped and an implicit output is made explicit. Nullopt where `equation` is malformed,
  /// has an ellipsis, or uses a letter in the output that no input has.
  static std::optional<EinsumEquation> parse(llvm::StringRef equation);
};

// What families of operators share. The first operand is the input.
using ResultTypes = llvm::SmallVectorImpl<mlir::RankedTensorType>;
llvm::LogicalResult inferSameAsInput(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferBroadcast(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferComparison(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferAlongAxis(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferNormalization(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferPool(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferGlobalPool(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferReduction(mlir::Operation *op, ResultTypes &resultTypes);
llvm::LogicalResult inferArgument(mlir::Operation *op, ResultTypes &resultTypes);

} // namespace nibble::nn

#endif
