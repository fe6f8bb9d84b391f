//===- TileProgram.h - chains of elementwise operations, tile by tile ------===//
//
// A chain of elementwise operations runs over short pieces of its tensors, so that what
// is between two operations stays in the first cache level. Inside a piece every element
// is a lane of 32 bits, whatever its type, or of 64 bits for i48.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_TILEPROGRAM_H
#define NIBBLE_RUNTIME_INTEGER_TILEPROGRAM_H

#include "lib/Support/Tensor.h"
#include <array>
#include <optional>

namespace nibble::runtime {

enum class TileOpcode : uint8_t {
  Add,
  Subtract,
  Multiply,
  /// The product in 64 bits, shifted right by `shift` with rounding.
  MultiplyShift,
  /// Bits above the element's width are those of its sign.
  ArithmeticRight,
  ArithmeticRightRound,
  LogicalLeft,
  LogicalRight,
  And,
  Or,
  Xor,
  Not,
  LogicalNot,
  Divide,
  Maximum,
  Minimum,
  Absolute,
  CountLeadingZeros,
  Negate,
  Clamp,
  Select,
  Equal,
  Greater,
  GreaterEqual,
  /// One multiplier and shift, or one for each element in operands 1 and 2.
  Rescale,
  RescaleEach,
  /// A rescaling by 2^-shift that rounds, and one by 1.
  RescaleByPower,
  RescaleByOne,
  /// The same as the first two for lanes of 64 bits.
  RescaleWide,
  RescaleWideEach,
  /// The entry of an integer, and 16-bit entries with what lies between them.
  TableEntries,
  TableWords,
  /// The low `width` bits, and whether any bit is set.
  Wrap,
  ToBool,
};

using Lane = int;

struct TileOperation {
  TileOpcode opcode;
  std::array<Lane, 3> operands{-1, -1, -1};
  Lane result = -1;
  /// Bits of the elements that the lanes stand for.
  int width = 32;
  int32_t inputZero = 0, outputZero = 0;
  /// Range of the result.
  int32_t low = INT32_MIN, high = INT32_MAX;
  int32_t multiplier = 0;
  int shift = 0;
  bool doubleRound = false;
  /// TableEntries: the values for integers from `inputZero` on; what lies beyond has the value of the nearest.
  /// TableWords: 512 entries, the value in the low 16 bits and the step to the next in the high ones.
  std::shared_ptr<const std::vector<int32_t>> table;
};

class TileProgram {
public:
  /// Elements of a piece.
  static constexpr int64_t tileSize = 1024;

  /// A lane that reads input `index` of run(), of `shape`, broadcast to `resultShape`.
  Lane addInput(unsigned index, ElementType type, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> resultShape);
  /// A lane that reads `tensor`.
  Lane addConstant(const Tensor &tensor, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> resultShape);
  /// The result's lane. `operation.result` is filled in.
  Lane addOperation(TileOperation operation);
  /// Output `n` of run(), n counting calls, takes `lane` in elements of `type`.
  void addOutput(Lane lane, ElementType type);
  /// Input `index` of run() holds the elements of the range that is run alone. Those must be dense.
  void setPartialInput(unsigned index) { partialInput = static_cast<int>(index); }
  /// Bytes of an element of the partial input.
  int64_t partialBytes() const;
  /// Call once after everything is added.
  void finish();

  /// Computes elements [begin, begin + count) of the outputs, on the calling thread.
  void run(int64_t begin, int64_t count, llvm::ArrayRef<const void *> inputs, llvm::ArrayRef<void *> outputs) const;

private:
  /// How a lane reads a tensor: elements apart along merged dimensions; the innermost stride is 0 or 1.
  struct Source {
    int input = -1;
    Tensor constant;
    ElementType type;
    Shape sizes, strides;
    Lane lane;
    bool isDense() const { return sizes.size() == 1 && strides[0] == 1; }
    bool isScalar() const { return sizes.size() == 1 && strides[0] == 0; }
  };
  struct Output {
    Lane lane;
    ElementType type;
  };
  struct LaneInfo {
    bool isWide = false;
    /// Byte offset in the scratch memory; -1 where the lane is read or written in a tensor.
    int64_t offset = -1;
    /// The output that the lane is computed in, or -1.
    int directOutput = -1;
  };
  void joinTables();
  void dropUnused();
  Lane addSource(Source source, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> resultShape);
  Lane newLane(bool isWide);
  static int64_t bytesOf(const LaneInfo &lane) { return tileSize * (lane.isWide ? 8 : 4); }

  llvm::SmallVector<Source> sources;
  std::vector<TileOperation> operations;
  llvm::SmallVector<Output> outputs;
  std::vector<LaneInfo> lanes;
  int64_t scratchBytes = 0;
  int partialInput = -1;
};

/// What TileOpcode::TableWords gives for `x`.
int32_t readTableWords(const std::vector<int32_t> &table, int16_t x);

/// Computes one operation on `count` lanes. Operands and the result do not overlap.
void runTileOperation(const TileOperation &operation, int64_t count, const std::array<const void *, 3> &operands,
                      void *result);

} // namespace nibble::runtime

#endif
