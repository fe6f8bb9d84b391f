#include "lib/Export/Vendor/OpTrace.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

#include "llvm/ADT/STLExtras.h"

namespace nibble::vendor {

static bool isHelper(const Acceptance::Refusal &refusal) {
  return refusal.operatorType == "QuantizeLinear" || refusal.operatorType == "DequantizeLinear" ||
         llvm::StringRef(refusal.nodeName).contains("_token_");
}

llvm::Expected<Acceptance> parseOpTrace(llvm::StringRef jsonText) {
  llvm::Expected<llvm::json::Value> value = parseJson(jsonText, "qnn_op_trace.json");
  if (!value)
    return value.takeError();
  const llvm::json::Object *root = value->getAsObject();
  const llvm::json::Object *summary = root ? root->getObject("summary") : nullptr;
  if (!summary)
    return makeError(ErrorKind::BadInput, "'qnn_op_trace.json' has no object 'summary'");
  Acceptance acceptance;
  std::pair<llvm::StringRef, int64_t *> counts[] = {{"total_onnx_nodes", &acceptance.totalNodes},
                                                    {"supported_nodes", &acceptance.nodesOnNpu},
                                                    {"unsupported_nodes", &acceptance.nodesOnCpu},
                                                    {"total_qnn_ops", &acceptance.vendorOperators},
                                                    {"qnn_subgraphs", &acceptance.graphs}};
  for (auto [key, field] : counts) {
    std::optional<int64_t> count = summary->getInteger(key);
    if (!count || *count < 0)
      return makeError(ErrorKind::BadInput, "'qnn_op_trace.json' has no count '" + key + "'");
    *field = *count;
  }
  if (const llvm::json::Array *graphs = root->getArray("subgraph_traces"); graphs && !graphs->empty())
    if (const llvm::json::Object *graph = graphs->front().getAsObject())
      acceptance.graphName = graph->getString("graph_name").value_or("").str();
  if (const llvm::json::Array *refused = root->getArray("unsupported_nodes"))
    for (const llvm::json::Value &entry : *refused)
      if (const llvm::json::Object *node = entry.getAsObject())
        acceptance.refusals.push_back({node->getString("node_name").value_or("").str(),
                                       node->getString("op_type").value_or("").str(),
                                       node->getString("reason").value_or("no reason was given").str()});
  if (!llvm::all_of(acceptance.refusals, isHelper))
    llvm::erase_if(acceptance.refusals, isHelper);
  return acceptance;
}

} // namespace nibble::vendor
