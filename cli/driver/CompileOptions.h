//===- CompileOptions.h - what `nibble compile` was asked to do ------------===//
#ifndef NIBBLE_CLI_DRIVER_COMPILEOPTIONS_H
#define NIBBLE_CLI_DRIVER_COMPILEOPTIONS_H

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nibble::driver {

struct CompileOptions {
  std::string modelPath;
  std::map<std::string, int64_t> bindings;
  std::string recipe;
  std::string target = "onnx";
  std::string outputFolder;
  /// Arguments of --calib and --eval, see calib::DatasetOptions.
  std::vector<std::string> calibration, evaluation;
  /// A statistics file to reuse in place of calibration data.
  std::string statisticsPath;
  /// What to write: qdq, encodings, matmulnbits, tosa, binary. Empty means all that the recipe and target allow.
  std::vector<std::string> emit;
  bool writeReport = true;
  std::vector<std::string> metrics;
  std::string metricCommand;
  /// Gates, METRIC=LIMIT.
  std::vector<std::string> maxDrops;
  /// Samples executed in the vendor's emulation; -1 is all.
  int64_t emulateSamples = 4;
  /// Wall time for emulating blocks; blocks that do not fit in it are counted and said.
  double checkSeconds = 120;
  /// The one of these two options that the user gave; empty where neither was given.
  std::string emulationOption;
  /// Write a TOSA file for every block, and a binary from each.
  bool filePerBlock = false;
  std::string qnnFolder;
  /// Further options of the vendor's compiler, name and value.
  std::vector<std::pair<std::string, std::string>> vendorOptions;
  unsigned threads = 0;
  /// As the user typed it, for run.json.
  std::vector<std::string> commandLine;
  std::string progress = "auto";

  bool emits(llvm::StringRef what) const { return emit.empty() || llvm::is_contained(emit, what); }
};

} // namespace nibble::driver

#endif
