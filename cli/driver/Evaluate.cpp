//===- Evaluate.cpp - what the written files compute -----------------------===//
//
// Runs the float model, the quantized program and the files that were written on the evaluation
// samples, one sample at a time, and compares.
//
//===----------------------------------------------------------------------===//
#include "cli/driver/Compilation.h"

#include "cli/driver/IntegerModel.h"

#include "calib/Metrics/Evaluation.h"
#include "calib/Metrics/LayerErrors.h"
#include "calib/Metrics/MetricCommand.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/ErrorContext.h"

#include "llvm/Support/FileSystem.h"
#include <cmath>

using namespace mlir;

namespace nibble::driver {

/// ONNX Runtime with its default graph optimizations: what a user who just loads the file gets.
static constexpr llvm::StringLiteral onnxRuntimeOptimized("onnxruntime-optimized");

namespace {

/// One way to compute the model's outputs, and what came out.
struct Contender {
  llvm::StringRef arithmetic;
  std::function<llvm::Expected<std::vector<Tensor>>(llvm::ArrayRef<Tensor>)> run;
  calib::Evaluation evaluation;
};

} // namespace

/// Where outputs are kept for the user's scorer: a folder of `arithmetic` inside the staging folder, which
/// is removed before anything is published. The scorer may work in another folder, so the path is absolute.
std::string Compilation::scorerFolder(llvm::StringRef arithmetic) {
  llvm::SmallString<128> folder(output->path(("scorer-" + arithmetic).str()));
  // Without a working folder the path stays relative, which is as good as any.
  (void)llvm::sys::fs::make_absolute(folder);
  return std::string(folder);
}

llvm::Error Compilation::keepForScorer(llvm::StringRef arithmetic, int64_t index, llvm::ArrayRef<Tensor> outputs) {
  if (options.metricCommand.empty())
    return llvm::Error::success();
  return calib::writeOutputs(scorerFolder(arithmetic), index, outputNames(), outputs);
}

/// No figure can be computed against a NaN. Infinities are left out, see docs/spec/numerics.md.
llvm::Error Compilation::checkNumbers(llvm::ArrayRef<Tensor> outputs, int64_t sample) {
  for (auto [name, tensor] : llvm::zip_equal(outputNames(), outputs)) {
    if (tensor.elementType() != ElementType::F32)
      continue;
    llvm::ArrayRef<float> values = tensor.values<float>();
    if (auto found = llvm::find_if(values, [](float value) { return std::isnan(value); }); found != values.end())
      return makeError(ErrorKind::BadInput, "evaluation sample '" + evaluationData->sampleName(sample) +
                                                "': the float model computes a NaN, element " +
                                                llvm::Twine(found - values.begin()) + " of output '" + name + "'");
  }
  return llvm::Error::success();
}

/// Scores the first `samples` outputs kept for each of `arithmetics`, and removes what was kept.
llvm::Error Compilation::runScorer(llvm::ArrayRef<llvm::StringRef> arithmetics, int64_t samples) {
  if (options.metricCommand.empty())
    return llvm::Error::success();
  progress.begin("score", static_cast<int64_t>(arithmetics.size()), "run");
  for (llvm::StringRef arithmetic : arithmetics) {
    llvm::Expected<std::vector<report::MetricValue>> values = calib::runMetricCommand(
        options.metricCommand, scorerFolder(report::fp32), scorerFolder(arithmetic), arithmetic, samples);
    if (!values)
      return values.takeError();
    llvm::append_range(report.metrics, *values);
    llvm::sys::fs::remove_directories(scorerFolder(arithmetic));
    progress.advance();
  }
  llvm::sys::fs::remove_directories(scorerFolder(report::fp32));
  return llvm::Error::success();
}

/// Errors of layers on the first evaluation samples: one layer's figures vary little between samples.
llvm::Error Compilation::measureLayers() {
  constexpr int64_t layerSamples = 4;
  calib::LayerErrors layers(mainFunction(*module));
  llvm::Expected<std::unique_ptr<runtime::Program>> floatProgram =
      runtime::Program::create(mainFunction(*legalized), &layers.floatObserver());
  if (!floatProgram)
    return floatProgram.takeError();
  llvm::Expected<std::unique_ptr<runtime::Program>> isolated =
      runtime::Program::create(mainFunction(*module), &layers.isolatedObserver());
  if (!isolated)
    return isolated.takeError();
  llvm::Expected<std::unique_ptr<runtime::Program>> accumulated =
      runtime::Program::create(mainFunction(*module), &layers.accumulatedObserver());
  if (!accumulated)
    return accumulated.takeError();
  int64_t count = std::min(layerSamples, evaluationData->size());
  progress.begin("compare layers", count, "sample");
  for (int64_t i = 0; i < count; ++i) {
    llvm::Expected<std::vector<Tensor>> sample = evaluationData->sample(i);
    if (!sample)
      return sample.takeError();
    llvm::Expected<calib::LayerErrors::Runs> runs = layers.addSample(**floatProgram, **isolated, **accumulated, *sample);
    if (!runs)
      return runs.takeError();
    progress.advance();
  }
  report.layers = layers.finish(recipe.isWeightOnly() ? nullptr : &statistics);
  return llvm::Error::success();
}

llvm::Error Compilation::evaluate() {
  if (!options.writeReport || !evaluationData)
    return llvm::Error::success();
  llvm::Expected<std::unique_ptr<runtime::Program>> floatProgram = runtime::Program::create(mainFunction(*reference));
  if (!floatProgram)
    return floatProgram.takeError();
  llvm::Expected<std::unique_ptr<runtime::Program>> quantizedProgram = runtime::Program::create(mainFunction(*module));
  if (!quantizedProgram)
    return quantizedProgram.takeError();

  std::vector<Contender> contenders;
  auto addContender = [&](llvm::StringRef arithmetic, auto run) -> llvm::Error {
    llvm::Expected<calib::Evaluation> evaluation = calib::Evaluation::create(metrics, inputs, outputNames());
    if (!evaluation)
      return evaluation.takeError();
    contenders.push_back({arithmetic, std::move(run), std::move(*evaluation)});
    return llvm::Error::success();
  };
  if (llvm::Error error = addContender(report::fakeQuant, [&](llvm::ArrayRef<Tensor> sample) {
        return (*quantizedProgram)->run(sample);
      }))
    return error;
  std::unique_ptr<IntegerModel> integerModel;
  if (integerModule) {
    llvm::Expected<std::unique_ptr<IntegerModel>> made = IntegerModel::create(*integerModule, inputNames());
    if (!made)
      return made.takeError();
    integerModel = std::move(*made);
    if (llvm::Error error = addContender(
            report::tosa, [&](llvm::ArrayRef<Tensor> sample) { return integerModel->run(sample); }))
      return error;
  }
  std::unique_ptr<vendor::CpuSession> plainSession, optimizedSession;
  if (hasOnnxRuntime) {
    for (auto [session, optimize, arithmetic] :
         {std::tuple(&plainSession, false, report::onnxRuntime), std::tuple(&optimizedSession, true, onnxRuntimeOptimized)}) {
      llvm::Expected<std::unique_ptr<vendor::CpuSession>> opened =
          vendor::CpuSession::fromFile(libraries, output->path(stem + "_qdq.onnx"), optimize);
      if (!opened)
        return opened.takeError();
      *session = std::move(*opened);
      if (llvm::Error error = addContender(
              arithmetic, [session = session->get()](llvm::ArrayRef<Tensor> sample) { return session->run(sample); }))
        return error;
    }
  }

  progress.begin("evaluate", evaluationData->size(), "sample");
  int64_t emulated = htpContext ? (options.emulateSamples < 0 ? evaluationData->size()
                                                              : std::min(options.emulateSamples, evaluationData->size()))
                               : 0;
  std::vector<std::vector<Tensor>> emulationInputs, emulationReferences;
  // The first few tell whether another runtime computes the files as ours does.
  constexpr int64_t agreementSamples = 4;
  std::vector<EvaluatedSample> evaluated;
  for (int64_t i = 0; i < evaluationData->size(); ++i) {
    llvm::Expected<std::vector<Tensor>> sample = evaluationData->sample(i);
    if (!sample)
      return sample.takeError();
    llvm::Expected<std::vector<Tensor>> wanted = (*floatProgram)->run(*sample);
    if (!wanted)
      return addContext(wanted.takeError(), "evaluation sample '" + evaluationData->sampleName(i) + "'");
    if (llvm::Error error = checkNumbers(*wanted, i))
      return error;
    if (i < agreementSamples)
      evaluated.push_back({*sample, *wanted, {}});
    for (Contender &contender : contenders) {
      llvm::Expected<std::vector<Tensor>> found = contender.run(*sample);
      if (!found)
        return found.takeError();
      if (llvm::Error error = contender.evaluation.add(*sample, *wanted, *found))
        return error;
      if (llvm::Error error = keepForScorer(contender.arithmetic, i, *found))
        return error;
      if (i < agreementSamples && contender.arithmetic == report::fakeQuant)
        evaluated.back().fakeQuant = std::move(*found);
    }
    if (llvm::Error error = keepForScorer(report::fp32, i, *wanted))
      return error;
    if (i < emulated) {
      emulationInputs.push_back(std::move(*sample));
      emulationReferences.push_back(std::move(*wanted));
    }
    progress.advance();
  }
  llvm::SmallVector<llvm::StringRef> arithmetics;
  for (const Contender &contender : contenders) {
    addFigures(contender.evaluation, contender.arithmetic);
    arithmetics.push_back(contender.arithmetic);
  }
  if (llvm::Error error = runScorer(arithmetics, evaluationData->size()))
    return error;
  if (llvm::Error error = checkAgreement(evaluated))
    return error;
  if (llvm::Error error = measureLayers())
    return error;
  if (emulated)
    return evaluateBinary(emulationInputs, emulationReferences);
  return llvm::Error::success();
}

void Compilation::addFigures(const calib::Evaluation &evaluation, llvm::StringRef arithmetic) {
  llvm::append_range(report.outputs, evaluation.outputs(arithmetic));
  llvm::append_range(report.metrics, evaluation.metrics(arithmetic));
}

} // namespace nibble::driver
