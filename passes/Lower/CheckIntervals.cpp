//===- CheckIntervals.cpp - proves that an integer program is defined --------===//
#include "lib/Dialect/NN/Names.h"
#include "passes/Lower/Intervals.h"
#include "passes/Passes.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_CHECKINTERVALSPASS
#include "passes/Passes.h.inc"

namespace {

struct CheckIntervals : impl::CheckIntervalsPassBase<CheckIntervals> {
  using CheckIntervalsPassBase::CheckIntervalsPassBase;

  void runOnOperation() override {
    IntervalAnalysis analysis;
    getOperation().walk([&](Operation *op) {
      if (!isa_and_nonnull<tosa::TosaDialect>(op->getDialect()) || isa<tosa::ConstOp, tosa::ConstShapeOp>(op))
        return;
      if (std::optional<std::string> problem = analysis.findProblem(op)) {
        op->emitError("node '") << nn::nodeName(op) << "': " << op->getName() << ": " << *problem;
        ++numUnproven;
        signalPassFailure();
      } else {
        ++numProven;
      }
      if (remarks && op->getNumResults() == 1)
        op->emitRemark("in ") << analysis.of(op->getResult(0)).str();
    });
  }
};

} // namespace
} // namespace nibble
