//===- EncloseOperations.cpp - blocks for what lies between blocks -----------===//
#include "lib/Dialect/NN/Names.h"
#include "passes/Outlining.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_ENCLOSEOPERATIONSPASS
#include "passes/Passes.h.inc"

namespace {

/// Operations between two blocks, in program order; constants excepted.
std::vector<Segment> findRuns(Block &body) {
  std::vector<Segment> runs;
  bool isOpen = false;
  for (Operation &op : body.without_terminator()) {
    if (isCopiedIntoBlocks(&op))
      continue;
    bool isBlock = isa<nn::BlockOp>(op);
    if (!isBlock && !isOpen)
      runs.emplace_back();
    if (!isBlock)
      runs.back().operations.push_back(&op);
    isOpen = !isBlock;
  }
  for (Segment &run : runs) {
    std::string first = nn::nodeName(run.operations.front()), last = nn::nodeName(run.operations.back());
    run.name = first == last ? first : first + " to " + last;
  }
  return runs;
}

struct EncloseOperations : impl::EncloseOperationsPassBase<EncloseOperations> {
  void runOnOperation() override {
    Block &body = getOperation().getBody().front();
    std::vector<Segment> runs = findRuns(body);
    for (const Segment &run : runs)
      outline(run);
    eraseUnusedCopies(body);
    numBlocks += runs.size();
  }
};

} // namespace
} // namespace nibble
