#include "lib/Export/Vendor/QnnOptions.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

namespace nibble::vendor {

namespace {
struct KnownOption {
  llvm::StringRef name;
  /// Allowed values; empty where users may not set the option.
  std::vector<std::string> values;
  llvm::StringRef refusal = "";
};
} // namespace

static const std::vector<KnownOption> &knownOptions() {
  static const llvm::StringRef own = "nibble sets it itself";
  static const llvm::StringRef dump = "it writes files that nibble does not keep";
  static const std::vector<KnownOption> options = {
      {"htp_graph_finalization_optimization_mode", {"1", "2", "3"}},
      {"vtcm_mb", {"1", "2", "4", "8"}},
      {"enable_htp_spill_fill_buffer", {"0", "1"}},
      {"extended_udma", {}, "the vendor's compiler refuses every graph with it for v73, v75 and v79"},
      {"enable_htp_graph_splitting", {}, "the result would be more than one graph"},
      {"enable_block_quant_weight_optimization", {}, "it makes block-quantized weights wrong by about 1000 quanta"},
      {"enable_htp_fp16_precision", {}, "float graphs run in 16-bit float whatever it says"},
      {"backend_path", {}, own},
      {"backend_type", {}, own},
      {"soc_model", {}, own},
      {"htp_arch", {}, own},
      {"profiling_level", {}, own},
      {"profiling_file_path", {}, own},
      {"enable_framework_op_trace", {}, own},
      {"framework_op_trace_dir", {}, own},
      {"offload_graph_io_quantization", {}, "graphs have integer inputs and outputs"},
      {"qnn_saver_path", {}, dump},
      {"dump_json_qnn_graph", {}, dump},
      {"json_qnn_graph_dir", {}, dump},
      {"dump_qnn_ir_dlc", {}, dump},
      {"dump_qnn_ir_dlc_dir", {}, dump},
      {"htp_performance_mode", {}, "it is a setting of the device at run time"},
      {"rpc_control_latency", {}, "it is a setting of the device at run time"},
      {"device_id", {}, "it is a setting of the device at run time"},
  };
  return options;
}

llvm::Error checkVendorOptions(llvm::ArrayRef<std::pair<std::string, std::string>> options) {
  std::vector<std::string> settable, every;
  for (const KnownOption &option : knownOptions()) {
    every.push_back(option.name.str());
    if (!option.values.empty())
      settable.push_back(option.name.str());
  }
  llvm::SmallVector<llvm::StringRef> seen;
  for (auto &[name, value] : options) {
    auto known = llvm::find_if(knownOptions(), [&](const KnownOption &option) { return option.name == name; });
    if (known == knownOptions().end()) {
      std::string nearest = nearestName(name, every);
      return makeError(ErrorKind::Usage, "unknown vendor option '" + name + "'",
                       {nearest.empty() ? "options that can be set: " + llvm::join(settable, ", ")
                                        : "did you mean '" + nearest + "'"});
    }
    if (known->values.empty())
      return makeError(ErrorKind::Usage, "vendor option '" + name + "' cannot be set: " + known->refusal);
    if (!llvm::is_contained(known->values, value))
      return makeError(ErrorKind::Usage, "vendor option '" + name + "': wanted one of " +
                                             llvm::join(known->values, ", ") + ", found '" + value + "'");
    if (llvm::is_contained(seen, name))
      return makeError(ErrorKind::Usage, "vendor option '" + name + "' is given twice");
    seen.push_back(name);
  }
  return llvm::Error::success();
}

llvm::Expected<Options> providerOptions(llvm::StringRef qnnFolder, const Target &target, llvm::StringRef socKey,
                                        const Options &extra) {
  auto soc = target.backendOptions.find(socKey.str());
  unsigned number = 0;
  // The vendor takes text that is no number without a word.
  if (soc == target.backendOptions.end() || llvm::StringRef(soc->second).getAsInteger(10, number))
    return makeError(ErrorKind::BadInput, "target '" + target.name + "': wanted a number under options." + socKey);
  Options options = {{"backend_path", (qnnFolder + "/libQnnHtp.so").str()}, {"soc_model", soc->second}};
  options.insert(options.end(), extra.begin(), extra.end());
  return options;
}

} // namespace nibble::vendor
