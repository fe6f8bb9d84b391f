#include "cli/driver/Compilation.h"
#include "cli/driver/Compile.h"

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Support/Parallel.h"
#include "passes/Passes.h"

#include "mlir/Pass/PassInstrumentation.h"

#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

using namespace mlir;

namespace nibble::driver {

llvm::Error compile(const CompileOptions &options) {
  if (options.threads)
    setThreadCount(options.threads);
  return Compilation(options).run();
}

Compilation::Compilation(const CompileOptions &options)
    : options(options), context(MLIRContext::Threading::DISABLED), progress(*parseProgressMode(options.progress)),
      diagnostics(context, [this](llvm::StringRef text) { progress.say("warning", text); }),
      stem(llvm::sys::path::stem(options.modelPath)) {
  runRecord = report::startRunRecord(options.commandLine);
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
}

llvm::Error Compilation::run() {
  // Data is opened before the work starts: a mistake in a path should not cost the time of a compile.
  // Statistics are taken after legalize, so that values made by rewrites have them too.
  const std::pair<llvm::StringRef, llvm::Error (Compilation::*)()> phases[] = {
      {"resolve", &Compilation::resolve},         {"open data", &Compilation::openData},
      {"import", &Compilation::import},           {"normalize", &Compilation::normalize},
      {"legalize", &Compilation::legalize},       {"equalize", &Compilation::equalize},
      {"calibrate", &Compilation::calibrate},     {"widen", &Compilation::widenActivations},
      {"quantize", &Compilation::quantize},       {"lower", &Compilation::lower},
      {"emit", &Compilation::emit},               {"emit binary", &Compilation::emitBinary},
      {"evaluate", &Compilation::evaluate},       {"publish", &Compilation::publish},
  };
  for (const auto &[name, phase] : phases) {
    auto start = std::chrono::steady_clock::now();
    if (llvm::Error error = (this->*phase)())
      return error;
    progress.end();
    runRecord.phases.emplace_back(name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return judge();
}

void Compilation::note(const llvm::Twine &text) {
  // Calibration and evaluation data are often alike; what holds for both is said once.
  if (notesSaid.insert(text.str()).second)
    progress.say("note", text.str());
}

void Compilation::noteAndReport(const std::string &text) {
  note(text);
  report.notes.push_back(text);
}

func::FuncOp Compilation::mainFunction(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

llvm::Error Compilation::resolve() {
  llvm::Expected<Recipe> loadedRecipe = Recipe::load(options.recipe);
  if (!loadedRecipe)
    return loadedRecipe.takeError();
  recipe = std::move(*loadedRecipe);
  llvm::Expected<std::unique_ptr<Target>> loadedTarget = Target::load(options.target);
  if (!loadedTarget)
    return loadedTarget.takeError();
  target = std::move(*loadedTarget);
  if (llvm::Error error = checkOptions())
    return error;
  if (recipe.isWeightOnly() && !recipe.readsLayerInputs() && !recipe.equalizesByStatistics() &&
      !options.calibration.empty())
    note("recipe '" + recipe.name + "' leaves activations in float: calibration data is not used for ranges");
  if (llvm::Error error = findOnnxRuntime())
    return error;
  llvm::Expected<std::unique_ptr<OutputFolder>> folder = OutputFolder::create(options.outputFolder);
  if (!folder)
    return folder.takeError();
  output = std::move(*folder);
  return llvm::Error::success();
}

/// Without ONNX Runtime everything is still compiled; what is missing then is said once. A folder that the user
/// named has to hold it.
llvm::Error Compilation::findOnnxRuntime() {
  llvm::Expected<vendor::VendorLibraries> found = vendor::findVendorLibraries(options.qnnFolder);
  if (found) {
    libraries = std::move(*found);
    hasOnnxRuntime = true;
    return llvm::Error::success();
  }
  if (!options.qnnFolder.empty())
    return found.takeError();
  runtimeProblem = takeMessages(found.takeError());
  note("no figures in onnxruntime arithmetic: " + runtimeProblem.front());
  report.notes.push_back("ONNX Runtime was not found, so the QDQ file was not run in it");
  return llvm::Error::success();
}

/// A model that is quantized has lost what statistics and scales are searched for.
static llvm::Error checkIsFloat(ModuleOp module) {
  llvm::Error error = llvm::Error::success();
  module.walk([&](Operation *op) {
    if (!isa<nn::QuantizeLinearOp, nn::DequantizeLinearOp, nn::DequantizeWeightOp>(op))
      return WalkResult::advance();
    error = makeError(ErrorKind::BadInput, "wanted a float model, found quantized values at node '" + nn::nodeName(op) + "'",
                      {"compile the model that this one was made from; 'nibble run --on fp32' executes this one"});
    return WalkResult::interrupt();
  });
  return error;
}

llvm::Error Compilation::import() {
  progress.begin("import", 0, "");
  onnx_import::ImportOptions importOptions;
  importOptions.bindings = options.bindings;
  llvm::Expected<OwningOpRef<ModuleOp>> imported = onnx_import::importModel(options.modelPath, context, importOptions);
  if (!imported)
    return imported.takeError();
  reference = std::move(*imported);
  return checkIsFloat(*reference);
}

llvm::Error Compilation::normalize() {
  return runPasses(diagnostics, &progress, "normalize", *reference, ErrorKind::Unsupported,
                   [](OpPassManager &manager) { buildNormalizePipeline(manager); });
}

llvm::Error Compilation::legalize() {
  module = OwningOpRef<ModuleOp>(reference->clone());
  if (llvm::Error error = runPasses(diagnostics, &progress, "legalize", *module, ErrorKind::Unsupported,
                                    [&](OpPassManager &manager) { buildLegalizePipeline(manager, *target); }))
    return error;
  legalized = OwningOpRef<ModuleOp>(module->clone());
  return llvm::Error::success();
}

} // namespace nibble::driver
