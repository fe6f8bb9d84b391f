//===- Widen.cpp - which activations need 16 bits ---------------------------------===//
#include "calib/Datasets/Split.h"
#include "calib/Metrics/EdgeErrors.h"
#include "cli/driver/Compilation.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizerUses.h"
#include "passes/Passes.h"

#include "llvm/Support/Regex.h"
#include <cmath>

using namespace mlir;

namespace nibble::driver {

/// Samples that every edge is tried on.
constexpr int64_t widenSamples = 4;

/// An activation of 8 bits that could have 16.
struct Candidate {
  std::string tensor;
  double error;
};

/// The quantized program's 8-bit edges, found on a copy that then loses its quantizers and is float again.
static llvm::Expected<std::vector<calib::Edge>> takeEdges(ModuleOp module, std::vector<Candidate> &candidates) {
  FailureOr<QuantizerUses> uses = QuantizerUses::collect(module);
  if (failed(uses))
    return makeError(ErrorKind::Internal, "the copy of the program has a quantizer that does not exist");
  std::vector<calib::Edge> edges;
  for (QuantizerUse &use : uses->list) {
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(use.quantizer);
    if (!encoding)
      return encoding.takeError();
    if (!use.isActivation() || !encoding->isCalibrated() || bitWidth(encoding->storage) != 8)
      continue;
    calib::Edge edge{{}, *encoding};
    for (nn::FakeQuantOp op : use.fakeQuants)
      edge.values.push_back(op.getInput());
    edges.push_back(std::move(edge));
    candidates.push_back({use.quantizer.getTensor().value_or("").str(), 0});
  }
  llvm::SmallVector<nn::FakeQuantOp> removed;
  module.walk([&](nn::FakeQuantOp op) { removed.push_back(op); });
  for (nn::FakeQuantOp op : removed) {
    // Edges that read a fake_quant read what it rounds.
    for (calib::Edge &edge : edges)
      llvm::replace(edge.values, op.getResult(), op.getInput());
    op.getResult().replaceAllUsesWith(op.getInput());
    op.erase();
  }
  return edges;
}

/// Adds an override to the recipe for each of the activations whose rounding to 8 bits costs the output most.
llvm::Error Compilation::widenActivations() {
  double share = recipe.widen.value_or(0);
  if (share == 0)
    return llvm::Error::success();
  std::shared_ptr<calib::Dataset> samples;
  for (const calib::ShapeGroup &group : calib::groupByShape(*calibrationData))
    if (group.isDeployed())
      samples = calib::selectSamples(calibrationData, group.samples);
  if (!samples)
    return makeError(ErrorKind::BadInput,
                     "no calibration sample has the deployed dimensions (" + calib::describeDimensions(options.bindings) +
                         "), so what activations cost cannot be measured",
                     {"give samples of the deployed shape, or take a recipe without widen"});
  OwningOpRef<ModuleOp> copy(module->clone());
  if (llvm::Error error = runPasses(diagnostics, &progress, "widen", *copy, ErrorKind::Unsupported, [&](OpPassManager &manager) {
        buildActivationPipeline(manager, statistics, recipe, *target);
      }))
    return error;
  std::vector<Candidate> candidates;
  llvm::Expected<std::vector<calib::Edge>> edges = takeEdges(*copy, candidates);
  if (!edges)
    return edges.takeError();
  int64_t sampleCount = std::min(widenSamples, samples->size());
  progress.begin("try activations", static_cast<int64_t>(edges->size()) * sampleCount, "run");
  llvm::Expected<std::vector<double>> errors =
      calib::measureEdges(mainFunction(*copy), *edges, *samples, sampleCount, &progress);
  if (!errors)
    return errors.takeError();
  for (auto [candidate, error] : llvm::zip_equal(candidates, *errors))
    candidate.error = error;
  llvm::sort(candidates, [](const Candidate &a, const Candidate &b) {
    return std::tie(b.error, a.tensor) < std::tie(a.error, b.tensor);
  });
  size_t count = static_cast<size_t>(std::ceil(share * static_cast<double>(candidates.size())));
  for (const Candidate &candidate : llvm::ArrayRef(candidates).take_front(count)) {
    Override entry;
    entry.tensorPattern = llvm::Regex::escape(candidate.tensor);
    entry.activations.bits = 16;
    entry.activations.observer = "min-max";
    entry.activations.headroom = 0.125;
    entry.position = recipe.activationsPosition;
    recipe.overrides.push_back(std::move(entry));
  }
  noteAndReport(std::to_string(count) + " of " + std::to_string(candidates.size()) +
                " activations have 16 bits, as 8 cost the output most there");
  return llvm::Error::success();
}

} // namespace nibble::driver
