//===- OpTrace.h - which operators the NPU took ------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_OPTRACE_H
#define NIBBLE_EXPORT_VENDOR_OPTRACE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::vendor {

/// What the vendor said of every node of a model; from its `qnn_op_trace.json`.
struct Acceptance {
  struct Refusal {
    std::string nodeName, operatorType, reason;
  };
  /// Nodes of the ONNX model after the runtime's own rewriting, Q and DQ included.
  int64_t totalNodes = 0, nodesOnNpu = 0, nodesOnCpu = 0;
  /// Operators of the vendor's graph, and number of graphs.
  int64_t vendorOperators = 0, graphs = 0;
  std::string graphName;
  /// Compute nodes that were refused; Q, DQ and nodes that the runtime inserted only where nothing
  /// else was refused.
  std::vector<Refusal> refusals;

  bool isComplete() const { return nodesOnCpu == 0 && graphs == 1 && refusals.empty(); }
};

/// Errors: BadInput (not such a file).
llvm::Expected<Acceptance> parseOpTrace(llvm::StringRef jsonText);

} // namespace nibble::vendor

#endif
