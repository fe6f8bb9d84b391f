#include "passes/Equalize/Stages.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "passes/Normalize/BlockStructure.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace nibble {

using Stage = EqualizationStage;

/// The argument of the pass.
static llvm::StringRef nameOf(Stage stage) {
  switch (stage) {
  case Stage::FoldNormScales: return "nibble-fold-norm-scales";
  case Stage::SmoothActivations: return "nibble-smooth-activations";
  case Stage::CrossLayerEqualization: return "nibble-cross-layer-equalization";
  case Stage::RotateResidual: return "nibble-rotate-residual";
  }
  llvm_unreachable("covered switch");
}

/// Why `later` must not follow `earlier` on one edge; empty where it may.
static llvm::StringRef conflictOf(Stage earlier, Stage later) {
  if (earlier == Stage::RotateResidual && later == Stage::RotateResidual)
    return "one rotation does all that two can";
  if (earlier == Stage::RotateResidual && later != Stage::FoldNormScales)
    return "a rotation leaves no outlier channels that scales could even out";
  if (later == Stage::RotateResidual && earlier != Stage::FoldNormScales)
    return "a rotation mixes channels, so scales that were chosen per channel are lost";
  if (earlier == Stage::SmoothActivations && later != Stage::RotateResidual)
    return "it would replace the scales that were chosen from statistics";
  return "";
}

bool hasStage(Operation *reader, Stage stage) {
  auto stages = reader->getAttrOfType<ArrayAttr>(equalizedAttribute);
  return stages && llvm::is_contained(stages.getAsValueRange<StringAttr>(), nameOf(stage));
}

LogicalResult checkStage(Operation *reader, Stage stage) {
  for (Stage earlier : {Stage::SmoothActivations, Stage::CrossLayerEqualization, Stage::RotateResidual}) {
    llvm::StringRef conflict = conflictOf(earlier, stage);
    if (conflict.empty() || !hasStage(reader, earlier))
      continue;
    InFlightDiagnostic diagnostic = reader->emitError("node '") << nn::nodeName(reader) << "': its input went through "
                                                                << nameOf(earlier) << " and must not go through "
                                                                << nameOf(stage);
    diagnostic.attachNote() << conflict << "; leave one of the two stages out"
                            << (stage == Stage::SmoothActivations && earlier == Stage::RotateResidual
                                    ? ", or let smoothing skip rotated edges"
                                    : "");
    return diagnostic;
  }
  return success();
}

void markStage(Operation *reader, Stage stage) {
  if (hasStage(reader, stage))
    return;
  SmallVector<Attribute> stages;
  if (auto earlier = reader->getAttrOfType<ArrayAttr>(equalizedAttribute))
    llvm::append_range(stages, earlier);
  stages.push_back(StringAttr::get(reader->getContext(), nameOf(stage)));
  reader->setAttr(equalizedAttribute, ArrayAttr::get(reader->getContext(), stages));
}

LogicalResult checkIsFloatProgram(Operation *function, Stage stage) {
  WalkResult result = function->walk([&](Operation *op) {
    if (!isa<nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
      return WalkResult::advance();
    op->emitError("the program already has quantizers; ") << nameOf(stage) << " rewrites the float program";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

void updateStructuralHash(Operation *op) {
  if (auto block = op->getParentOfType<nn::BlockOp>(); block && block.getStructuralHash())
    block.setStructuralHash(hashBlockStructure(block.getBody().front()));
}

} // namespace nibble
