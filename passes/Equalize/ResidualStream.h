//===- ResidualStream.h - all values that share one frame --------------------===//
#ifndef NIBBLE_PASSES_EQUALIZE_RESIDUALSTREAM_H
#define NIBBLE_PASSES_EQUALIZE_RESIDUALSTREAM_H

#include "passes/Equalize/LinearLayers.h"

#include "llvm/ADT/DenseSet.h"
#include <string>

namespace nibble {

/// Values whose last axis a rotation turns together: the residual stream of a transformer with the norms behind it. A
/// change of basis of one is a change of basis of all; weights that write and read them take it up.
struct ResidualStream {
  int64_t channels = 0;
  int64_t normCount = 0;
  llvm::SmallVector<LinearLayer> writers, readers;
  /// Constants in the frame of the stream, by the operand that reads them: tables of embeddings, biases, addends. Their
  /// last axis has all channels, or one entry for all of them.
  llvm::SmallVector<mlir::OpOperand *> constants;
  /// What keeps the stream from being rotated, and why; null where nothing does.
  mlir::Operation *obstacle = nullptr;
  std::string reason;
};

/// The stream that `norm` reads. `seen` gets all norms of the stream.
ResidualStream traceResidualStream(nn::RMSNormalizationOp norm, llvm::DenseSet<mlir::Operation *> &seen);

} // namespace nibble

#endif
