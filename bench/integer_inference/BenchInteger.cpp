//===- BenchInteger.cpp - float against integers, run by run ----------------===//
//
// usage: bench-integer MODEL STATISTICS RECIPE INPUTS.npz THREADS [NAME=VALUE...]
// Prepares the float model and the integer program that RECIPE makes of it for target `tosa`, prints the name of the
// kernel that multiplies integers, and then, for every line on standard input, runs both once and prints the seconds
// that each took.
//
//===----------------------------------------------------------------------===//
#include "cli/driver/IntegerModel.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Npy.h"
#include "lib/Support/Parallel.h"
#include "passes/Passes.h"

#include "llvm/Support/Format.h"
#include <chrono>
#include <iostream>

using namespace mlir;
using namespace nibble;

namespace {

struct Options {
  std::string model, statistics, recipe, inputs;
  onnx_import::ImportOptions import;
};

llvm::Error runPasses(ModuleOp module, llvm::function_ref<void(PassManager &)> build) {
  PassManager manager(module.getContext());
  build(manager);
  return failed(manager.run(module)) ? makeError(ErrorKind::Unsupported, "a pass failed") : llvm::Error::success();
}

template <typename Run> llvm::Error timeRun(Run run) {
  auto start = std::chrono::steady_clock::now();
  auto results = run();
  if (!results)
    return results.takeError();
  std::cout << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return llvm::Error::success();
}

llvm::Error serve(const Options &options) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
  auto target = Target::load("tosa");
  if (!target)
    return target.takeError();
  auto recipe = Recipe::load(options.recipe);
  if (!recipe)
    return recipe.takeError();
  auto statistics = quant::Statistics::load(options.statistics);
  if (!statistics)
    return statistics.takeError();
  auto model = onnx_import::importModel(options.model, context, options.import);
  if (!model)
    return model.takeError();
  if (llvm::Error error = runPasses(**model, [](PassManager &manager) { buildNormalizePipeline(manager); }))
    return error;
  OwningOpRef<ModuleOp> lowered((*model)->clone());
  if (llvm::Error error = runPasses(*lowered, [&](PassManager &manager) {
        buildLegalizePipeline(manager, **target);
        buildQuantizePipeline(manager, *statistics, *recipe, **target);
        buildLowerPipeline(manager);
      }))
    return error;
  auto function = (*model)->lookupSymbol<func::FuncOp>("main");
  auto program = runtime::Program::create(function);
  if (!program)
    return program.takeError();
  auto given = readNpz(options.inputs);
  if (!given)
    return given.takeError();
  std::vector<Tensor> inputs;
  std::vector<std::string> names;
  for (BlockArgument argument : function.getArguments()) {
    names.push_back(nn::tensorName(argument));
    for (const NamedTensor &tensor : *given)
      if (tensor.name == names.back())
        inputs.push_back(tensor.tensor);
  }
  if (inputs.size() != names.size())
    return makeError(ErrorKind::BadInput, "'" + options.inputs + "' does not hold all inputs of the model");
  auto integers = driver::IntegerModel::create(*lowered, names);
  if (!integers)
    return integers.takeError();
  std::cout << runtime::integerKernelName() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    if (llvm::Error error = timeRun([&] { return (*program)->run(inputs); }))
      return error;
    std::cout << ' ';
    if (llvm::Error error = timeRun([&] { return (*integers)->run(inputs); }))
      return error;
    std::cout << std::endl;
  }
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  unsigned threads;
  if (argc < 6 || llvm::StringRef(argv[5]).getAsInteger(10, threads)) {
    llvm::errs() << "usage: bench-integer MODEL STATISTICS RECIPE INPUTS.npz THREADS [NAME=VALUE...]\n";
    return 1;
  }
  setThreadCount(threads);
  Options options{argv[1], argv[2], argv[3], argv[4], {}};
  std::vector<std::string> bindings(argv + 6, argv + argc);
  if (llvm::Error error = onnx_import::parseBindings(bindings).moveInto(options.import.bindings))
    return reportError(std::move(error), llvm::errs());
  return reportError(serve(options), llvm::errs());
}
