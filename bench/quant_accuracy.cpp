//===- quant_accuracy.cpp - fake-quant accuracy of a recipe --------------------===//
//
// The shortest way from a model and a recipe to a figure: import, normalize, legalize, calibrate, quantize,
// and compare the fake-quant run with the float run. For work on ranges and scale searches, where a full
// compile would emit and verify files each time.
//
//===----------------------------------------------------------------------===//
#include "calib/Metrics/Errors.h"
#include "calib/Metrics/LayerErrors.h"
#include "calib/Observers/StatisticsCollector.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Error.h"
#include "passes/Passes.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <chrono>

using namespace mlir;
using namespace nibble;

namespace {

struct Options {
  std::string model, target = "onnx", statistics, emit;
  std::vector<std::string> recipes, calibration, evaluation, bindings;
  int64_t calibrationSamples = 0, evaluationSamples = 0;
  size_t worst = 0;
};

class Timer {
public:
  double lap() {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - start).count();
    start = now;
    return seconds;
  }

private:
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

llvm::Error runPasses(ModuleOp module, llvm::function_ref<void(PassManager &)> build) {
  PassManager manager(module.getContext());
  build(manager);
  if (failed(manager.run(module)))
    return makeError(ErrorKind::Unsupported, "a pass failed");
  return llvm::Error::success();
}

func::FuncOp mainOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

/// Inputs as the normalized module has them, all shapes static.
llvm::Expected<std::unique_ptr<calib::Dataset>> openData(ModuleOp module, const std::vector<std::string> &arguments) {
  std::vector<calib::InputSpec> inputs;
  for (BlockArgument argument : mainOf(module).getArguments()) {
    auto type = cast<RankedTensorType>(argument.getType());
    calib::InputSpec spec{nn::tensorName(argument), *nn::toElementType(type.getElementType()), Shape(type.getShape()), {}};
    spec.symbols.resize(spec.shape.size());
    inputs.push_back(std::move(spec));
  }
  calib::DatasetOptions dataset;
  dataset.arguments = arguments;
  return calib::Dataset::open(dataset, inputs, [](llvm::StringRef) {});
}

llvm::Expected<quant::Statistics> calibrate(ModuleOp module, const Options &options) {
  if (!options.statistics.empty()) {
    llvm::Expected<quant::Statistics> loaded = quant::Statistics::load(options.statistics);
    if (loaded)
      return loaded;
    llvm::consumeError(loaded.takeError());
  }
  quant::Statistics statistics;
  if (options.calibration.empty())
    return statistics;
  llvm::Expected<std::unique_ptr<calib::Dataset>> data = openData(module, options.calibration);
  if (!data)
    return data.takeError();
  calib::StatisticsCollector collector;
  auto program = runtime::Program::create(mainOf(module), &collector);
  if (!program)
    return program.takeError();
  int64_t count = options.calibrationSamples ? std::min(options.calibrationSamples, (*data)->size()) : (*data)->size();
  for (int64_t i = 0; i < count; ++i) {
    auto inputs = (*data)->sample(i);
    if (!inputs)
      return inputs.takeError();
    collector.beginSample((*data)->sampleName(i), calib::digestOfSample(*inputs));
    if (auto outputs = (*program)->run(*inputs); !outputs)
      return outputs.takeError();
    if (llvm::Error error = collector.endSample())
      return std::move(error);
  }
  statistics = collector.finish("");
  if (!options.statistics.empty())
    if (llvm::Error error = statistics.save(options.statistics))
      return std::move(error);
  return statistics;
}

llvm::Error evaluate(ModuleOp floatModule, ModuleOp quantized, const Options &options, calib::Dataset &data) {
  auto reference = runtime::Program::create(mainOf(floatModule));
  if (!reference)
    return reference.takeError();
  auto actual = runtime::Program::create(mainOf(quantized));
  if (!actual)
    return actual.takeError();
  calib::ErrorAccumulator errors;
  calib::TokenAccumulator tokens;
  int64_t count = options.evaluationSamples ? std::min(options.evaluationSamples, data.size()) : data.size();
  for (int64_t i = 0; i < count; ++i) {
    auto inputs = data.sample(i);
    if (!inputs)
      return inputs.takeError();
    auto expected = (*reference)->run(*inputs), found = (*actual)->run(*inputs);
    if (!expected)
      return expected.takeError();
    if (!found)
      return found.takeError();
    errors.add(expected->front(), found->front());
    if (expected->front().rank() == 3)
      tokens.add(expected->front(), found->front());
  }
  llvm::outs() << llvm::format("sqnr %.2f dB", errors.sqnr());
  if (tokens.tokenCount())
    llvm::outs() << llvm::format(", kl %.5f, top1 %.4f", tokens.kl(), tokens.top1Agreement());
  return llvm::Error::success();
}

llvm::Error printWorst(ModuleOp floatModule, ModuleOp quantized, const Options &options, calib::Dataset &data,
                       const quant::Statistics &statistics) {
  calib::LayerErrors layers(mainOf(quantized));
  auto reference = runtime::Program::create(mainOf(floatModule), &layers.floatObserver());
  auto isolated = runtime::Program::create(mainOf(quantized), &layers.isolatedObserver());
  auto accumulated = runtime::Program::create(mainOf(quantized), &layers.accumulatedObserver());
  for (auto *program : {&reference, &isolated, &accumulated})
    if (!*program)
      return program->takeError();
  for (int64_t i = 0; i < std::min<int64_t>(data.size(), 4); ++i) {
    auto inputs = data.sample(i);
    if (!inputs)
      return inputs.takeError();
    if (auto runs = layers.addSample(**reference, **isolated, **accumulated, *inputs); !runs)
      return runs.takeError();
  }
  std::vector<report::LayerError> rows = layers.finish(&statistics);
  for (size_t i = 0; i < std::min(options.worst, rows.size()); ++i)
    llvm::outs() << llvm::format("  isolated %6.1f accumulated %6.1f  %s %s: %s\n", rows[i].isolated.sqnr,
                                 rows[i].accumulated.sqnr, rows[i].operation.c_str(), rows[i].node.c_str(),
                                 rows[i].reason.c_str());
  return llvm::Error::success();
}

llvm::Error run(const Options &options) {
  Timer timer;
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
  onnx_import::ImportOptions import;
  if (llvm::Error error = onnx_import::parseBindings(options.bindings).moveInto(import.bindings))
    return error;
  auto target = Target::load(options.target);
  if (!target)
    return target.takeError();
  auto imported = onnx_import::importModel(options.model, context, import);
  if (!imported)
    return imported.takeError();
  ModuleOp module = **imported;
  if (llvm::Error error = runPasses(module, [&](PassManager &manager) {
        buildNormalizePipeline(manager);
        buildLegalizePipeline(manager, **target);
      }))
    return error;
  double prepared = timer.lap();
  auto statistics = calibrate(module, options);
  if (!statistics)
    return statistics.takeError();
  llvm::outs() << llvm::format("prepare %.1f s, calibrate %.1f s\n", prepared, timer.lap());
  auto data = openData(module, options.evaluation);
  if (!data)
    return data.takeError();
  for (const std::string &name : options.recipes) {
    auto recipe = Recipe::load(name);
    if (!recipe)
      return recipe.takeError();
    OwningOpRef<ModuleOp> quantized(module.clone());
    timer.lap();
    if (llvm::Error error = runPasses(*quantized, [&](PassManager &manager) {
          buildQuantizePipeline(manager, *statistics, *recipe, **target);
        }))
      return error;
    double quantizing = timer.lap();
    llvm::outs() << name << ": ";
    if (llvm::Error error = evaluate(module, *quantized, options, **data))
      return error;
    llvm::outs() << llvm::format(" (quantize %.1f s, evaluate %.1f s)\n", quantizing, timer.lap());
    if (!options.emit.empty())
      if (llvm::Error error = onnx_export::exportQDQ(*quantized, options.emit, {}))
        return error;
    if (options.worst)
      if (llvm::Error error = printWorst(module, *quantized, options, **data, *statistics))
        return error;
    llvm::outs().flush();
  }
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Prints the accuracy of recipes in fake-quant arithmetic.", "quant_accuracy");
  app.add_option("model", options.model)->required();
  app.add_option("--recipe", options.recipes)->required();
  app.add_option("--target", options.target);
  app.add_option("--bind", options.bindings);
  app.add_option("--calib", options.calibration);
  app.add_option("--eval", options.evaluation)->required();
  app.add_option("--calib-samples", options.calibrationSamples, "Use only the first N samples");
  app.add_option("--eval-samples", options.evaluationSamples, "Use only the first N samples");
  app.add_option("--stats", options.statistics, "Statistics file: read where it exists, else written");
  app.add_option("--emit", options.emit, "Write the last recipe's model as QDQ ONNX to this file");
  app.add_option("--worst", options.worst, "Print the N worst layers");
  CLI11_PARSE(app, argc, argv);
  return reportError(run(options), llvm::errs());
}
