//===- OutlineBlocks.cpp - cuts a function into nn.block operations --------===//
//
// Segments of the program order are convex: nothing that leaves one comes back.
// So the work is to choose the cuts, by scopes of node names or by live values;
// moving a segment into a block is then mechanical.
//
//===----------------------------------------------------------------------===//
#include "passes/Normalize/BlockStructure.h"
#include "passes/Outlining.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_OUTLINEBLOCKSPASS
#include "passes/Passes.h.inc"

namespace {

//===----------------------------------------------------------------------===//
// Cuts by scope
//===----------------------------------------------------------------------===//

/// The scope in a node's name: all before the last '/', empty where there is none.
llvm::StringRef scopeOf(llvm::StringRef nodeName) {
  size_t slash = nodeName.rfind('/');
  return slash == llvm::StringRef::npos ? llvm::StringRef() : nodeName.take_front(slash);
}

/// The number of operations at or below every scope.
llvm::StringMap<int64_t> countScopes(llvm::ArrayRef<Operation *> operations) {
  llvm::StringMap<int64_t> counts;
  for (Operation *op : operations) {
    std::string name = nn::nodeName(op);
    for (llvm::StringRef scope = scopeOf(name); !scope.empty(); scope = scopeOf(scope))
      ++counts[scope];
  }
  return counts;
}

/// The outermost scope around `nodeName` with at most `limit` operations; the innermost where none is
/// that small; empty where the name has no scope.
std::string chooseScope(llvm::StringRef nodeName, const llvm::StringMap<int64_t> &counts, int64_t limit) {
  llvm::StringRef scope = scopeOf(nodeName);
  llvm::StringRef chosen = scope;
  for (; !scope.empty() && counts.lookup(scope) <= limit; scope = scopeOf(scope))
    chosen = scope;
  return chosen.str();
}

/// Consecutive operations of one scope. An operation whose scope encloses the one before it (the
/// residual sum behind a layer) stays with it, as long as a block of the enclosing scope is not open.
std::vector<Segment> cutByScope(llvm::ArrayRef<Operation *> operations, int64_t limit) {
  llvm::StringMap<int64_t> counts = countScopes(operations);
  std::vector<Segment> segments;
  for (Operation *op : operations) {
    std::string scope = chooseScope(nn::nodeName(op), counts, limit);
    bool isGlue = scope.empty() || counts.lookup(scope) > limit;
    if (!segments.empty() && (segments.back().name == scope || isGlue)) {
      segments.back().operations.push_back(op);
      continue;
    }
    // Glue in front of the first scope belongs to that scope.
    if (!segments.empty() && segments.back().name.empty()) {
      segments.back().name = scope;
      segments.back().operations.push_back(op);
      continue;
    }
    segments.push_back({isGlue ? std::string() : scope, {op}});
  }
  return segments;
}

/// Joins neighbours of at most `smallSize` operations, which are not worth a block each: a norm, an activation and a
/// convolution at the end of a network are one block, named after the first.
void mergeSmallSegments(std::vector<Segment> &segments, size_t smallSize) {
  std::vector<Segment> merged;
  for (Segment &segment : segments) {
    if (!merged.empty() && segment.operations.size() <= smallSize && merged.back().operations.size() <= smallSize)
      llvm::append_range(merged.back().operations, segment.operations);
    else
      merged.push_back(std::move(segment));
  }
  segments = std::move(merged);
}

//===----------------------------------------------------------------------===//
// Cuts by live values
//===----------------------------------------------------------------------===//

/// Bytes that are live behind every operation: computed before or at it and used after it.
std::vector<int64_t> liveBytesBehind(llvm::ArrayRef<Operation *> operations) {
  llvm::DenseMap<Operation *, int64_t> position;
  for (auto [index, op] : llvm::enumerate(operations))
    position[op] = static_cast<int64_t>(index);
  int64_t count = static_cast<int64_t>(operations.size());
  std::vector<int64_t> change(count + 1, 0);
  for (auto [index, op] : llvm::enumerate(operations))
    for (Value result : op->getResults()) {
      int64_t last = static_cast<int64_t>(index);
      for (Operation *user : result.getUsers())
        last = std::max(last, position.contains(user) ? position.lookup(user) : count);
      auto type = cast<RankedTensorType>(result.getType());
      int64_t bytes = byteSize(nn::toElementType(type.getElementType()).value_or(ElementType::F32),
                               type.getNumElements());
      change[index] += bytes;
      change[last] -= bytes;
    }
  std::vector<int64_t> live(count);
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i)
    live[i] = sum += change[i];
  return live;
}

/// Cuts where the fewest bytes are live: from `minimum` operations on, behind the operation with the
/// least live bytes among the next `minimum`, the first of equals.
std::vector<Segment> cutByLiveValues(llvm::ArrayRef<Operation *> operations, int64_t minimum) {
  std::vector<int64_t> live = liveBytesBehind(operations);
  std::vector<Segment> segments;
  int64_t count = static_cast<int64_t>(operations.size()), begin = 0;
  while (begin < count) {
    int64_t end = count;
    if (count - begin >= 2 * minimum) {
      auto first = live.begin() + begin + minimum - 1;
      end = std::min_element(first, std::min(first + 2 * minimum, live.end() - 1)) - live.begin() + 1;
    }
    auto part = operations.slice(begin, end - begin);
    segments.push_back({llvm::formatv("block_{0}", segments.size()), SmallVector<Operation *>(part)});
    begin = end;
  }
  return segments;
}

struct OutlineBlocks : impl::OutlineBlocksPassBase<OutlineBlocks> {
  using Base::Base;

  void runOnOperation() override {
    if (maxOperations < 1 || minOperations < 1 || mergeOperations < 0) {
      getOperation().emitError("max-operations and min-operations must be positive and merge-operations not negative, "
                               "but they are ")
          << maxOperations.getValue() << ", " << minOperations.getValue() << " and " << mergeOperations.getValue();
      return signalPassFailure();
    }
    Block &body = getOperation().getBody().front();
    SmallVector<Operation *> operations;
    for (Operation &op : body.without_terminator())
      if (!isa<nn::ConstantOp, nn::BlockOp>(op))
        operations.push_back(&op);
    // Names that passes derive contain a slash too, so a few do not make scopes.
    size_t scoped = llvm::count_if(operations, [](Operation *op) { return !scopeOf(nn::nodeName(op)).empty(); });
    bool hasScopes = 2 * scoped > operations.size();
    std::vector<Segment> segments = hasScopes ? cutByScope(operations, maxOperations)
                                              : cutByLiveValues(operations, minOperations);
    mergeSmallSegments(segments, static_cast<size_t>(mergeOperations.getValue()));
    makeNamesUnique(segments);
    for (const Segment &segment : segments) {
      nn::BlockOp block = outline(segment);
      block.setStructuralHash(hashBlockStructure(block.getBody().front()));
    }
    eraseUnusedCopies(body);
    numBlocks += segments.size();
  }

  static void makeNamesUnique(std::vector<Segment> &segments) {
    llvm::StringSet<> taken;
    for (Segment &segment : segments) {
      std::string base = segment.name.empty() ? "main" : segment.name;
      segment.name = base;
      for (unsigned n = 2; !taken.insert(segment.name).second; ++n)
        segment.name = llvm::formatv("{0}:{1}", base, n);
    }
  }
};

} // namespace
} // namespace nibble
