//===- RunFloat.cpp - runs models in the float runtime ----------------------===//
//
// usage: run-float CASES [--threads N]
// Every line of the file CASES is MODEL <tab> INPUTS.npz <tab> OUTPUTS.npz <tab> infer|normalize
// and any number of <tab> NAME=VALUE bindings. Inputs are found by name; outputs are written by name.
// Prints one line per case: "ok" or "import: message", "prepare: message", "run: message".
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Npy.h"
#include "lib/Support/Parallel.h"
#include "passes/Passes.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace nibble;

namespace {

struct Case {
  std::string model, inputs, outputs;
  bool normalize = false;
  onnx_import::ImportOptions options;
};

llvm::Expected<Case> parseCase(llvm::StringRef line) {
  llvm::SmallVector<llvm::StringRef> fields;
  line.split(fields, '\t');
  if (fields.size() < 4)
    return makeError(ErrorKind::Usage, "wanted 4 fields separated by tabs, found '" + line + "'");
  Case result{fields[0].str(), fields[1].str(), fields[2].str(), fields[3] == "normalize", {}};
  std::vector<std::string> bindings(fields.begin() + 4, fields.end());
  if (llvm::Error error = onnx_import::parseBindings(bindings).moveInto(result.options.bindings))
    return std::move(error);
  return result;
}

/// Puts the name of the failed step in front of the message.
llvm::Error atStep(llvm::StringRef step, llvm::Error error) {
  std::string message = llvm::toString(std::move(error));
  return makeError(ErrorKind::BadInput, step + ": " + llvm::StringRef(message).split('\n').first);
}

llvm::Error runCase(const Case &c) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  std::string diagnostics;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    if (diagnostics.empty())
      llvm::raw_string_ostream(diagnostics) << diagnostic;
    return mlir::success();
  });
  auto module = onnx_import::importModel(c.model, context, c.options);
  if (!module)
    return atStep("import", module.takeError());
  mlir::PassManager manager(&context);
  if (c.normalize)
    buildNormalizePipeline(manager);
  else
    manager.addNestedPass<mlir::func::FuncOp>(createInferShapesPass());
  if (mlir::failed(manager.run(**module)))
    return makeError(ErrorKind::BadInput, "prepare: " + diagnostics);
  auto function = (*module)->lookupSymbol<mlir::func::FuncOp>("main");
  auto program = runtime::Program::create(function);
  if (!program)
    return atStep("prepare", program.takeError());

  auto given = readNpz(c.inputs);
  if (!given)
    return atStep("run", given.takeError());
  std::vector<Tensor> inputs;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    std::string name = nn::tensorName(function.getArgument(i));
    auto found = llvm::find_if(*given, [&](const NamedTensor &tensor) { return tensor.name == name; });
    inputs.push_back(found == given->end() ? Tensor() : found->tensor);
  }
  auto results = (*program)->run(inputs);
  if (!results)
    return atStep("run", results.takeError());
  std::vector<NamedTensor> outputs;
  for (auto [index, tensor] : llvm::enumerate(*results)) {
    auto name = function.getResultAttrOfType<mlir::StringAttr>(static_cast<unsigned>(index), nn::nameAttribute);
    outputs.push_back({name.str(), tensor});
  }
  if (llvm::Error error = writeNpz(c.outputs, outputs))
    return atStep("run", std::move(error));
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  unsigned threads = 2;
  if (argc < 2 || (argc == 4 && llvm::StringRef(argv[3]).getAsInteger(10, threads))) {
    llvm::errs() << "usage: run-float CASES [--threads N]\n";
    return 1;
  }
  setThreadCount(threads);
  auto cases = llvm::MemoryBuffer::getFile(argv[1]);
  if (!cases) {
    llvm::errs() << "error: cannot read " << argv[1] << "\n";
    return 4;
  }
  llvm::SmallVector<llvm::StringRef> lines;
  (*cases)->getBuffer().split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef line : lines) {
    auto c = parseCase(line);
    if (!c)
      return reportError(c.takeError(), llvm::errs());
    if (llvm::Error error = runCase(*c))
      llvm::outs() << llvm::toString(std::move(error)) << "\n";
    else
      llvm::outs() << "ok\n";
    llvm::outs().flush();
  }
  return 0;
}
