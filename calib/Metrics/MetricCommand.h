//===- MetricCommand.h - the user's own scorer -----------------------------===//
#ifndef NIBBLE_CALIB_METRICS_METRICCOMMAND_H
#define NIBBLE_CALIB_METRICS_METRICCOMMAND_H

#include "lib/Report/Report.h"
#include "lib/Support/Tensor.h"
#include "llvm/ADT/ArrayRef.h"

namespace nibble::calib {

/// Writes the outputs of sample `index` as `folder`/NNNNNN.npz, one array per output. Makes the folder.
/// Errors: IO, Unsupported.
llvm::Error writeOutputs(llvm::StringRef folder, int64_t index, llvm::ArrayRef<std::string> names,
                         llvm::ArrayRef<Tensor> outputs);

/// Parses what a scorer prints: one `name=value` per line; empty lines are skipped. Errors: BadInput,
/// naming the line.
llvm::Expected<std::vector<std::pair<std::string, double>>> parseMetricLines(llvm::StringRef text);

/// Runs `command` by /bin/sh with two more arguments, a folder of FP32 outputs and one of quantized outputs
/// with files of the same names, and reads the metrics from its standard output. A metric is a drop: 0
/// where nothing was lost, larger where more was. Errors: IO (cannot be run), BadInput (it failed, or
/// printed something else).
llvm::Expected<std::vector<report::MetricValue>> runMetricCommand(llvm::StringRef command, llvm::StringRef referenceFolder,
                                                                  llvm::StringRef quantizedFolder,
                                                                  llvm::StringRef arithmetic, int64_t samples);

} // namespace nibble::calib

#endif
