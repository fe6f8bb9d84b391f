//===- MeasureLowering.cpp - how far an integer program is from float ------===//
//
// usage: measure-lowering MODEL RECIPE FIRST.npz [NEXT.npz...]
// Quantizes the model for target `tosa` with the samples, lowers it, and compares its first output on them with what
// float operations make of the same quantized operands: prints the largest and the root-mean-square distance of the
// integers from the float result on their grid, in quanta, after the bits of the result and before the number of values.
//
//===----------------------------------------------------------------------===//
#include "calib/Observers/StatisticsCollector.h"
#include "cli/driver/IntegerModel.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Npy.h"
#include "passes/Passes.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace mlir;
using namespace nibble;

namespace {

llvm::Error runPasses(ModuleOp module, llvm::function_ref<void(PassManager &)> build) {
  PassManager manager(module.getContext());
  build(manager);
  return failed(manager.run(module)) ? makeError(ErrorKind::Unsupported, "a pass failed") : llvm::Error::success();
}

func::FuncOp mainOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

/// Keeps one value of a run.
class ValueRecorder : public runtime::ExecutionObserver {
public:
  explicit ValueRecorder(Value value) : value(value) {}
  bool wants(Value other) override { return other == value; }
  void onValue(Value, const Tensor &tensor) override { kept = tensor; }
  Tensor kept;

private:
  Value value;
};

using Sample = std::vector<Tensor>;

llvm::Expected<std::vector<Sample>> readSamples(func::FuncOp function, llvm::ArrayRef<std::string> paths) {
  std::vector<Sample> samples;
  for (const std::string &path : paths) {
    llvm::Expected<std::vector<NamedTensor>> given = readNpz(path);
    if (!given)
      return given.takeError();
    Sample sample;
    for (BlockArgument argument : function.getArguments())
      for (const NamedTensor &tensor : *given)
        if (tensor.name == nn::tensorName(argument))
          sample.push_back(tensor.tensor);
    samples.push_back(std::move(sample));
  }
  return samples;
}

llvm::Expected<quant::Statistics> calibrate(ModuleOp module, llvm::ArrayRef<Sample> samples) {
  calib::StatisticsCollector collector;
  auto program = runtime::Program::create(mainOf(module), &collector);
  if (!program)
    return program.takeError();
  for (auto [index, sample] : llvm::enumerate(samples)) {
    collector.beginSample(std::to_string(index), std::to_string(index));
    if (auto outputs = (*program)->run(sample); !outputs)
      return outputs.takeError();
    if (llvm::Error error = collector.endSample())
      return std::move(error);
  }
  return collector.finish("");
}

/// The distances of integer results from float ones.
struct Distances {
  double largest = 0, squares = 0;
  int64_t count = 0;
  void add(double distance) {
    largest = std::max(largest, std::abs(distance));
    squares += distance * distance;
    ++count;
  }
};

llvm::Error measure(llvm::StringRef modelPath, llvm::StringRef recipeName, llvm::ArrayRef<std::string> paths) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
  auto target = Target::load("tosa");
  if (!target)
    return target.takeError();
  auto recipe = Recipe::load(recipeName);
  if (!recipe)
    return recipe.takeError();
  auto model = onnx_import::importModel(modelPath, context, {});
  if (!model)
    return model.takeError();
  ModuleOp module = **model;
  if (llvm::Error error = runPasses(module, [&](PassManager &manager) {
        buildNormalizePipeline(manager);
        buildLegalizePipeline(manager, **target);
      }))
    return error;
  auto samples = readSamples(mainOf(module), paths);
  if (!samples)
    return samples.takeError();
  auto statistics = calibrate(module, *samples);
  if (!statistics)
    return statistics.takeError();
  if (llvm::Error error = runPasses(module, [&](PassManager &manager) {
        buildQuantizePipeline(manager, *statistics, *recipe, **target);
      }))
    return error;
  OwningOpRef<ModuleOp> lowered(module.clone());
  if (llvm::Error error = runPasses(*lowered, [&](PassManager &manager) { buildLowerPipeline(manager); }))
    return error;

  // Numbers are not rounded: they are equal or one off.
  Value result = nn::resolveThroughBlocks(mainOf(module).getBody().front().getTerminator()->getOperand(0));
  double scale = 1, low = -INFINITY, high = INFINITY;
  unsigned bits = 32;
  if (auto rounding = result.getDefiningOp<nn::FakeQuantOp>()) {
    auto encoding = nn::readEncoding(nn::quantizerOf(result));
    if (!encoding)
      return encoding.takeError();
    scale = encoding->scales.front();
    bits = bitWidth(encoding->storage);
    // What lies beyond the grid's ends is clamped in both.
    auto stored = quant::quantize(Tensor::fromValues<float>({2}, {-INFINITY, INFINITY}), *encoding);
    if (!stored)
      return stored.takeError();
    Tensor ends = quant::dequantize(*stored, *encoding);
    low = ends.valueAsDouble(0);
    high = ends.valueAsDouble(1);
    result = nn::resolveThroughBlocks(rounding.getInput());
  } else if (cast<RankedTensorType>(result.getType()).getElementType().isF32()) {
    return makeError(ErrorKind::BadInput, "the output of '" + modelPath + "' is not rounded");
  }
  ValueRecorder recorder(result);
  auto program = runtime::Program::create(mainOf(module), &recorder);
  if (!program)
    return program.takeError();
  std::vector<std::string> names;
  for (BlockArgument argument : mainOf(module).getArguments())
    names.push_back(nn::tensorName(argument));
  auto integers = driver::IntegerModel::create(*lowered, names);
  if (!integers)
    return integers.takeError();

  Distances distances;
  for (const Sample &sample : *samples) {
    if (auto outputs = (*program)->run(sample); !outputs)
      return outputs.takeError();
    auto found = (*integers)->run(sample);
    if (!found)
      return found.takeError();
    for (int64_t i = 0; i < recorder.kept.elementCount(); ++i) {
      double wanted = std::clamp(recorder.kept.valueAsDouble(i), low, high);
      distances.add((found->front().valueAsDouble(i) - wanted) / scale);
    }
  }
  llvm::outs() << llvm::format("%u %.3f %.3f %lld\n", bits, distances.largest,
                               std::sqrt(distances.squares / static_cast<double>(distances.count)),
                               static_cast<long long>(distances.count));
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 4) {
    llvm::errs() << "usage: measure-lowering MODEL RECIPE FIRST.npz [NEXT.npz...]\n";
    return 1;
  }
  return reportError(measure(argv[1], argv[2], std::vector<std::string>(argv + 3, argv + argc)), llvm::errs());
}
