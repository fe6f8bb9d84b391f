#include "cli/driver/Trace.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <set>

using namespace mlir;

namespace nibble::driver {

/// The tensors that each quantizer rounds, by its symbol.
static llvm::StringMap<std::set<std::string>> findTensors(ModuleOp module) {
  llvm::StringMap<std::set<std::string>> tensors;
  module.walk([&](Operation *op) {
    if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(op))
      tensors[fakeQuant.getQuantizer()].insert(nn::tensorName(fakeQuant.getInput()));
    else if (auto weight = dyn_cast<nn::DequantizeWeightOp>(op))
      tensors[weight.getQuantizer()].insert(nn::tensorName(weight.getResult()));
  });
  return tensors;
}

static llvm::json::Object describe(nn::QuantizerOp quantizer, const quant::Encoding &encoding,
                                   const std::set<std::string> &tensors) {
  llvm::json::Object row{{"quantizer", quantizer.getSymName()},
                         {"role", quantizer.getRole().value_or("activation")},
                         {"storage", name(encoding.storage)},
                         {"symmetric", encoding.symmetric},
                         {"tensors", llvm::json::Array(tensors)}};
  llvm::StringRef granularity = encoding.kind == quant::EncodingKind::LPBQ ? "lpbq"
                                : encoding.blockSize                       ? "group"
                                : encoding.axis                            ? "channel"
                                                                           : "tensor";
  row["granularity"] = granularity;
  if (encoding.axis)
    row["axis"] = *encoding.axis;
  if (encoding.blockSize)
    row["group_size"] = *encoding.blockSize;
  if (encoding.scales.size() == 1) {
    double scale = encoding.scales[0], zero = encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[0];
    row["scale"] = scale;
    row["zero_point"] = zero;
    row["range"] = llvm::json::Array{(static_cast<double>(encoding.quantMin) - zero) * scale,
                                     (static_cast<double>(encoding.quantMax) - zero) * scale};
  } else {
    row["scales"] = static_cast<int64_t>(encoding.scales.size());
  }
  if (std::optional<llvm::StringRef> origin = quantizer.getOrigin())
    row["reason"] = *origin;
  return row;
}

llvm::Expected<std::string> formatTrace(llvm::ArrayRef<TraceEvent> events, ModuleOp module) {
  llvm::json::Array decisions, quantizers;
  for (const TraceEvent &event : events)
    decisions.push_back(llvm::json::Object{{"phase", event.phase}, {"node", event.node}, {"decision", event.message}});
  llvm::StringMap<std::set<std::string>> tensors = findTensors(module);
  for (nn::QuantizerOp quantizer : module.getOps<nn::QuantizerOp>()) {
    auto used = tensors.find(quantizer.getSymName());
    if (used == tensors.end())
      continue;
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding)
      return encoding.takeError();
    quantizers.push_back(describe(quantizer, *encoding, used->second));
  }
  llvm::json::Object trace{{"schema", "nibble-trace"},
                           {"version", 1},
                           {"events", std::move(decisions)},
                           {"quantizers", std::move(quantizers)}};
  return llvm::formatv("{0:2}\n", llvm::json::Value(std::move(trace))).str();
}

} // namespace nibble::driver
