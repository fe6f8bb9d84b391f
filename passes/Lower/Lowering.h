//===- Lowering.h - from quantized nn to TOSA integers ----------------------===//
//
// A value of the quantized program becomes a tensor of integers on a grid. Its dimensions may be stored in
// another order than ONNX's: convolutions leave theirs with channels last, elementwise operators keep what
// they find, and a transpose is a change of the order and no operator. Data is moved only where an
// operator needs an order.
//
// Every operator has one function, found by the operator's name. It gets the grid that its result is to have
// and returns a value on it, or on the grid of an operand where it only moves data; the caller converts.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LOWER_LOWERING_H
#define NIBBLE_PASSES_LOWER_LOWERING_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/Encoding.h"
#include "passes/Lower/TosaBuilder.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include <functional>

namespace nibble {

/// real = scale * (integer - zeroPoint). Unsigned encodings are the same integers shifted to the signed type.
struct Grid {
  double scale = 1;
  int64_t zeroPoint = 0;
  unsigned bits = 32;
  /// Integers used, both included.
  int64_t low = 0, high = 0;

  /// Integers that stand for themselves: indices, conditions.
  static Grid ofNumbers(unsigned bits) { return {1, 0, bits, 0, 0}; }
  /// The grid of an encoding with one scale.
  static Grid of(const quant::Encoding &encoding);
  bool operator==(const Grid &) const = default;
  /// Whether the integers stand for themselves.
  bool isOfNumbers() const { return high <= low; }
  /// The integer nearest to `real`, saturated at the ends of the grid, or of 32 bits; that of 0 where it is undefined.
  int64_t nearest(double real) const;
  double real(int64_t integer) const { return scale * static_cast<double>(integer - zeroPoint); }
  double lowest() const { return real(low); }
  double highest() const { return real(high); }
};

/// A value of the integer program. Dimension i of `value` is dimension order[i] of the value it stands for.
struct Stored {
  mlir::Value value;
  Grid grid;
  llvm::SmallVector<int64_t, 6> order;

  int64_t rank() const { return static_cast<int64_t>(order.size()); }
  /// Where dimension `dim` is stored.
  int64_t position(int64_t dim) const { return llvm::find(order, dim) - order.begin(); }
};

/// 0, 1, ..., rank - 1.
llvm::SmallVector<int64_t, 6> identityOrder(int64_t rank);

/// A constant operand: its stored integers and their encoding; empty where the operand is computed.
struct StoredConstant {
  Tensor integers;
  std::optional<quant::Encoding> encoding;

  explicit operator bool() const { return static_cast<bool>(integers); }
  /// The reals, float32.
  Tensor reals() const;
};

class Lowering {
public:
  Lowering(mlir::ModuleOp module, TosaBuilder &builder) : b(builder), module(module) {}

  /// Makes `block`'s operations anew at the builder's position. Values from outside are in `values`.
  llvm::LogicalResult lowerBlock(mlir::Block &block);

  llvm::FailureOr<Stored> find(mlir::Value value);
  /// What `value` is if it is a constant, through fake_quant and dequantize_weight.
  StoredConstant findConstant(mlir::Value value);
  /// Makes `value` stand for `stored` from here on.
  void set(mlir::Value value, Stored stored) { values[value] = std::move(stored); }

  /// The same integers with their dimensions in `order`.
  mlir::Value inOrder(const Stored &stored, llvm::ArrayRef<int64_t> order);
  mlir::Value inModelOrder(const Stored &stored) { return inOrder(stored, identityOrder(stored.rank())); }
  /// integer - zero point as i32.
  mlir::Value reals32(const Stored &stored) { return b.widen(stored.value, stored.grid.zeroPoint); }
  mlir::Value reals32(mlir::Value value, const Grid &grid) { return b.widen(value, grid.zeroPoint); }
  /// factor * value, rounded to `grid`; `value` is i32 or i48 and stands for reals in steps of factor * scale.
  mlir::Value toGrid(mlir::Value value, double factor, const Grid &grid);
  mlir::Value toGrid(mlir::Value value, llvm::ArrayRef<double> factors, const Grid &grid);
  /// The value on another grid.
  llvm::FailureOr<Stored> convert(const Stored &stored, const Grid &grid);
  /// Reshapes without moving data where the order allows it.
  Stored reshape(const Stored &stored, llvm::ArrayRef<int64_t> modelShape);
  /// The extents in the model's order.
  Shape modelShape(const Stored &stored);

  /// An error that names the node, and what to do about it.
  llvm::LogicalResult refuse(mlir::Operation *op, const llvm::Twine &reason, const llvm::Twine &remedy = {});
  /// What a reader of the trace should know of how `op` was lowered.
  void remark(mlir::Operation *op, const llvm::Twine &text);

  TosaBuilder &b;

private:
  llvm::LogicalResult lowerOperation(mlir::Operation *op);
  llvm::LogicalResult lowerNestedBlock(nn::BlockOp block);
  llvm::LogicalResult lowerFakeQuant(nn::FakeQuantOp op);
  llvm::FailureOr<Stored> lowerResult(mlir::OpResult result, const Grid &grid);

  mlir::ModuleOp module;
  llvm::DenseMap<mlir::Value, Stored> values;
};

/// What an operator's function is asked for.
struct LoweringRequest {
  mlir::Operation *op;
  unsigned result;
  Grid grid;
};
using LowerFunction = llvm::FailureOr<Stored> (*)(Lowering &, const LoweringRequest &);
using LowerRegistry = llvm::StringMap<LowerFunction>;

void registerConvolutionLowerings(LowerRegistry &registry);
void registerMatmulLowerings(LowerRegistry &registry);
void registerElementwiseLowerings(LowerRegistry &registry);
void registerTableLowerings(LowerRegistry &registry);
void registerLogicLowerings(LowerRegistry &registry);
void registerNormalizationLowerings(LowerRegistry &registry);
void registerSoftmaxLowerings(LowerRegistry &registry);
void registerReductionLowerings(LowerRegistry &registry);
void registerOrderLowerings(LowerRegistry &registry);
void registerMovementLowerings(LowerRegistry &registry);
void registerIndexingLowerings(LowerRegistry &registry);
void registerSamplingLowerings(LowerRegistry &registry);

/// The function for an operation, or null.
LowerFunction findLowering(mlir::Operation *op);

} // namespace nibble

#endif
