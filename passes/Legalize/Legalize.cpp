//===- Legalize.cpp - applies a target's legalizations ---------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_LEGALIZEPASS
#include "passes/Passes.h.inc"

namespace {

/// Says with a remark at the node which legalization rewrote it.
class RewriteTracer : public RewriterBase::Listener {
public:
  /// Patterns of `set` that no earlier call saw are those of `legalization`.
  void addPatterns(RewritePatternSet &set, const Legalization &legalization) {
    for (const std::unique_ptr<RewritePattern> &pattern : set.getNativePatterns())
      owners.try_emplace(pattern.get(), &legalization);
  }
  void notifyPatternBegin(const Pattern &pattern, Operation *op) override {
    location = op->getLoc();
    node = nn::nodeName(op);
  }
  void notifyPatternEnd(const Pattern &pattern, LogicalResult status) override {
    if (const Legalization *owner = owners.lookup(&pattern); owner && succeeded(status))
      mlir::emitRemark(*location, "node '") << node << "': rewritten by '" << owner->name << "' (" << owner->numerics << ")";
  }

private:
  llvm::DenseMap<const Pattern *, const Legalization *> owners;
  /// Of the operation being matched, which the rewrite may erase.
  std::optional<Location> location;
  std::string node;
};

struct Legalize : impl::LegalizePassBase<Legalize> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<const Legalization *> chosen;
    RewritePatternSet set(&getContext());
    if (failed(choose(chosen)))
      return signalPassFailure();
    RewriteTracer tracer;
    for (const Legalization *legalization : chosen)
      if (legalization->populate) {
        legalization->populate(set);
        tracer.addPatterns(set, *legalization);
      }
    if (failed(applyPatterns(getOperation(), std::move(set), &tracer)) || failed(checkEliminated(chosen)))
      return signalPassFailure();
  }

  LogicalResult choose(SmallVectorImpl<const Legalization *> &chosen) {
    for (const std::string &name : patterns) {
      const Legalization *found =
          llvm::find_if(getLegalizations(), [&](const Legalization &l) { return l.name == name; });
      if (found == getLegalizations().end()) {
        InFlightDiagnostic error = getOperation().emitError("no legalization is named '") << name << "'";
        Diagnostic &note = error.attachNote() << "known are";
        for (const Legalization &legalization : getLegalizations())
          note << ' ' << legalization.name;
        return error;
      }
      chosen.push_back(found);
    }
    return success();
  }

  /// An operation that a chosen legalization should have removed is one that its conditions exclude.
  LogicalResult checkEliminated(llvm::ArrayRef<const Legalization *> chosen) {
    WalkResult result = getOperation().walk([&](Operation *op) {
      for (const Legalization *legalization : chosen)
        if (!legalization->eliminates.empty() &&
            op->getName().getStringRef() == ("nn." + legalization->eliminates).str()) {
          op->emitOpError("of node '") << nn::nodeName(op) << "' cannot be rewritten by '" << legalization->name
                                       << "', which needs " << legalization->conditions;
          return WalkResult::interrupt();
        }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};

} // namespace
} // namespace nibble
