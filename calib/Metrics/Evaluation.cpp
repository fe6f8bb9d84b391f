#include "calib/Metrics/Evaluation.h"
#include "calib/Datasets/Layout.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <limits>

namespace nibble::calib {
namespace {

struct MetricName {
  Metric metric;
  llvm::StringLiteral name;
};
constexpr MetricName metricNames[] = {
    {Metric::SQNR, "sqnr"},           {Metric::PSNR, "psnr"},             {Metric::Cosine, "cosine"},
    {Metric::MaxError, "max_error"},  {Metric::Perplexity, "perplexity"}, {Metric::KL, "kl"},
    {Metric::Top1, "top1"},
};

bool needsTokens(Metric metric) {
  return metric == Metric::Perplexity || metric == Metric::KL || metric == Metric::Top1;
}

} // namespace

llvm::Expected<Metric> parseMetric(llvm::StringRef name) {
  std::vector<std::string> names;
  for (const MetricName &known : metricNames) {
    if (known.name == name)
      return known.metric;
    names.push_back(known.name.str());
  }
  return makeError(ErrorKind::Usage, "unknown metric '" + name + "', expected one of " + llvm::join(names, ", "));
}

llvm::StringRef nameOf(Metric metric) {
  return llvm::find_if(metricNames, [&](const MetricName &known) { return known.metric == metric; })->name;
}

llvm::Expected<Evaluation> Evaluation::create(llvm::ArrayRef<Metric> metrics, llvm::ArrayRef<InputSpec> inputs,
                                              llvm::ArrayRef<std::string> outputNames) {
  Evaluation evaluation;
  evaluation.kinds = metrics.vec();
  evaluation.outputNames = outputNames.vec();
  evaluation.errors.resize(outputNames.size());
  for (size_t i = 0; i < inputs.size() && evaluation.tokenInput < 0; ++i)
    if (isInteger(inputs[i].elementType) && inputs[i].shape.size() == 2 &&
        completionOf(inputs[i]) == Completion::None)
      evaluation.tokenInput = static_cast<int64_t>(i);
  if (llvm::is_contained(metrics, Metric::Perplexity) && evaluation.tokenInput < 0)
    return makeError(ErrorKind::Usage, "metric 'perplexity' needs token ids, but the model has no integer input of rank 2");
  return evaluation;
}

llvm::Error Evaluation::add(llvm::ArrayRef<Tensor> inputs, llvm::ArrayRef<Tensor> reference,
                            llvm::ArrayRef<Tensor> actual) {
  if (reference.size() != outputNames.size() || actual.size() != outputNames.size())
    return makeError(ErrorKind::BadInput, "expected " + llvm::Twine(outputNames.size()) + " outputs, found " +
                                              llvm::Twine(actual.size()));
  for (size_t i = 0; i < outputNames.size(); ++i)
    if (reference[i].shape() != actual[i].shape())
      return makeError(ErrorKind::BadInput, "output '" + outputNames[i] + "' has shape " +
                                                describeArray(actual[i].elementType(), actual[i].shape()) + ", expected " +
                                                describeArray(reference[i].elementType(), reference[i].shape()));
  for (size_t i = 0; i < outputNames.size(); ++i)
    errors[i].add(reference[i], actual[i]);
  if (llvm::any_of(kinds, needsTokens) && !kinds.empty())
    tokens.add(reference[0], actual[0]);
  if (llvm::is_contained(kinds, Metric::Perplexity) &&
      (!referencePerplexity.add(reference[0], inputs[tokenInput]) || !actualPerplexity.add(actual[0], inputs[tokenInput])))
    return makeError(ErrorKind::BadInput, "metric 'perplexity' needs logits [batch, sequence, vocabulary] as the first "
                                          "output, but '" + outputNames[0] + "' is " +
                                              describeArray(reference[0].elementType(), reference[0].shape()));
  ++sampleCount;
  return llvm::Error::success();
}

std::vector<report::OutputError> Evaluation::outputs(llvm::StringRef arithmetic) const {
  std::vector<report::OutputError> rows;
  for (size_t i = 0; i < outputNames.size(); ++i)
    rows.push_back({outputNames[i], arithmetic.str(), sampleCount,
                    {errors[i].sqnr(), errors[i].cosine(), errors[i].maxError()}});
  return rows;
}

std::vector<report::MetricValue> Evaluation::metrics(llvm::StringRef arithmetic) const {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<report::MetricValue> rows;
  for (Metric kind : kinds) {
    report::MetricValue row{nameOf(kind).str(), arithmetic.str(), sampleCount, 0, 0};
    const ErrorAccumulator &error = errors.front();
    switch (kind) {
    case Metric::SQNR: row.value = error.sqnr(), row.reference = infinity; break;
    case Metric::PSNR: row.value = error.psnr(), row.reference = infinity; break;
    case Metric::Cosine: row.value = error.cosine(), row.reference = 1; break;
    case Metric::MaxError: row.value = error.maxError(), row.reference = 0; break;
    case Metric::KL: row.value = tokens.kl(), row.reference = 0; break;
    case Metric::Top1: row.value = tokens.top1Agreement(), row.reference = 1; break;
    case Metric::Perplexity:
      row.value = actualPerplexity.perplexity(), row.reference = referencePerplexity.perplexity();
      break;
    }
    rows.push_back(row);
  }
  return rows;
}

} // namespace nibble::calib
