//===- HtpCheck.h - the vendor's arithmetic against the reference ---------------===//
//
// A compiled model is trusted only after its blocks were run in the vendor's emulation. A block is
// fed the reference's own inputs, so that errors of earlier blocks are not counted twice, and its
// outputs may differ from the reference by what the target's data says of its operators.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_HTPCHECK_H
#define NIBBLE_EXPORT_VENDOR_HTPCHECK_H

#include "lib/Export/Vendor/QnnCompiler.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>

namespace nibble::vendor {

/// A block as a QDQ model of its own with integer inputs and outputs, and what the reference computed.
struct BlockToCheck {
  std::string name;
  std::string modelBytes;
  /// Per sample, by the names of the model's inputs and outputs.
  std::vector<std::vector<NamedTensor>> inputs, expected;
  /// What outputs may deviate at the most, by name: limits the sums over operators.
  std::map<std::string, ErrorBound> limits;
};

/// How far one tensor lies from the reference, over all samples, in quanta.
struct TensorDeviation {
  std::string tensor;
  /// The ONNX node that computes it and its operator; empty for a graph output without one.
  std::string node, operatorType;
  double maximum = 0, rootMeanSquare = 0;
  /// What the operators on the way to it allow together.
  ErrorBound allowed;

  bool exceeds() const { return maximum > allowed.maximum || rootMeanSquare > allowed.rootMeanSquare; }
};

struct BlockDeviation {
  std::string block;
  std::vector<TensorDeviation> outputs;
  double seconds = 0;

  bool exceeds() const {
    return llvm::any_of(outputs, [](const TensorDeviation &deviation) { return deviation.exceeds(); });
  }
};

/// What the operators of a QDQ model allow its outputs to deviate, per output. Each operator adds its
/// measured bound once: largest deviations add up, root-mean-squares add as independent errors. A
/// quantum of error is passed on as about a quantum, since every tensor's grid covers its range.
/// Errors: BadInput (not an ONNX model).
llvm::Expected<std::vector<TensorDeviation>> allowedDeviations(const Target &target, llvm::StringRef modelBytes);

/// Runs a block in the vendor's emulation and compares. Errors: those of emulateModel; a deviation is
/// a result.
llvm::Expected<BlockDeviation> compareWithReference(const HtpSettings &settings, const Target &target,
                                                    const BlockToCheck &block);

/// The first tensor inside a block, in the order of execution, that lies further from ONNX Runtime's
/// value on the same inputs than the operators before it allow. Nothing if no inner tensor does.
llvm::Expected<std::optional<TensorDeviation>> findFirstDeviation(const HtpSettings &settings, const Target &target,
                                                                  const BlockToCheck &block);

struct CheckSummary {
  int64_t blocksChecked = 0, blocksTotal = 0;
  std::vector<BlockDeviation> blocks;
  /// Blocks that the vendor does not take as models of their own, with its reason.
  std::vector<std::pair<std::string, std::string>> refused;
  double seconds = 0;
};

/// Checks blocks 0..count-1 in order, each made by `makeBlock`, until `timeLimitSeconds` are over;
/// the summary says how many were. `onBlock` is called after each. Errors: Unsupported naming block,
/// tensor, node, deviation and bound of the first block that deviates; those of `makeBlock` and above.
llvm::Expected<CheckSummary> checkBlocks(const HtpSettings &settings, const Target &target, int64_t count,
                                         llvm::function_ref<llvm::Expected<BlockToCheck>(int64_t)> makeBlock,
                                         double timeLimitSeconds,
                                         llvm::function_ref<void(const BlockDeviation &)> onBlock);

} // namespace nibble::vendor

#endif
