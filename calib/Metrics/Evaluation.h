//===- Evaluation.h - task metrics and errors of outputs over a dataset ----===//
#ifndef NIBBLE_CALIB_METRICS_EVALUATION_H
#define NIBBLE_CALIB_METRICS_EVALUATION_H

#include "calib/Datasets/Dataset.h"
#include "calib/Metrics/Errors.h"
#include "lib/Report/Report.h"
#include "llvm/ADT/ArrayRef.h"

namespace nibble::calib {

/// Task metrics of `--metric`. Errors: Usage, listing the names.
enum class Metric { SQNR, PSNR, Cosine, MaxError, Perplexity, KL, Top1 };
llvm::Expected<Metric> parseMetric(llvm::StringRef name);
llvm::StringRef nameOf(Metric metric);

/// Compares the outputs of one arithmetic with those of the float model, sample by sample. Task metrics
/// are computed on the first output; perplexity also reads the token ids.
class Evaluation {
public:
  /// `outputNames` in the order of the graph. Errors: Usage where a metric needs token ids and the model
  /// has no integer input of rank 2 that holds them.
  static llvm::Expected<Evaluation> create(llvm::ArrayRef<Metric> metrics, llvm::ArrayRef<InputSpec> inputs,
                                           llvm::ArrayRef<std::string> outputNames);

  /// Errors: BadInput where outputs have other shapes or a metric cannot be computed on them.
  llvm::Error add(llvm::ArrayRef<Tensor> inputs, llvm::ArrayRef<Tensor> reference, llvm::ArrayRef<Tensor> actual);

  int64_t samples() const { return sampleCount; }
  /// One row per float output.
  std::vector<report::OutputError> outputs(llvm::StringRef arithmetic) const;
  /// One value per metric; `reference` is the float model's own value.
  std::vector<report::MetricValue> metrics(llvm::StringRef arithmetic) const;

private:
  std::vector<Metric> kinds;
  std::vector<std::string> outputNames;
  std::vector<ErrorAccumulator> errors;
  TokenAccumulator tokens;
  PerplexityAccumulator referencePerplexity, actualPerplexity;
  int64_t tokenInput = -1, sampleCount = 0;
};

} // namespace nibble::calib

#endif
