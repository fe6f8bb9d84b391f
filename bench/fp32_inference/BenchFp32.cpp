//===- BenchFp32.cpp - one model, timed run by run --------------------------===//
//
// usage: bench-fp32 MODEL INPUTS.npz THREADS [NAME=VALUE...]
// Prepares the model and prints "ready"; then runs once for every line on standard input and prints the
// seconds that the run took, so that a driver can interleave runs with another program's.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Npy.h"
#include "lib/Support/Parallel.h"
#include "passes/Passes.h"

#include "llvm/Support/Format.h"
#include <chrono>
#include <iostream>

using namespace nibble;

static llvm::Error serve(llvm::StringRef model, llvm::StringRef inputPath, const onnx_import::ImportOptions &options) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto module = onnx_import::importModel(model, context, options);
  if (!module)
    return module.takeError();
  mlir::PassManager manager(&context);
  buildNormalizePipeline(manager);
  if (mlir::failed(manager.run(**module)))
    return makeError(ErrorKind::BadInput, "cannot normalize '" + model + "'");
  auto function = (*module)->lookupSymbol<mlir::func::FuncOp>("main");
  auto program = runtime::Program::create(function);
  if (!program)
    return program.takeError();
  auto given = readNpz(inputPath);
  if (!given)
    return given.takeError();
  std::vector<Tensor> inputs;
  for (mlir::BlockArgument argument : function.getArguments())
    for (const NamedTensor &tensor : *given)
      if (tensor.name == nn::tensorName(argument))
        inputs.push_back(tensor.tensor);
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    auto start = std::chrono::steady_clock::now();
    auto results = (*program)->run(inputs);
    if (!results)
      return results.takeError();
    std::cout << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() << std::endl;
  }
  return llvm::Error::success();
}

int main(int argc, char **argv) {
  unsigned threads;
  if (argc < 4 || llvm::StringRef(argv[3]).getAsInteger(10, threads)) {
    llvm::errs() << "usage: bench-fp32 MODEL INPUTS.npz THREADS [NAME=VALUE...]\n";
    return 1;
  }
  setThreadCount(threads);
  onnx_import::ImportOptions options;
  for (int i = 4; i < argc; ++i) {
    auto [name, value] = llvm::StringRef(argv[i]).split('=');
    if (value.getAsInteger(10, options.bindings[name.str()])) {
      llvm::errs() << "error: wanted NAME=VALUE, found '" << argv[i] << "'\n";
      return 1;
    }
  }
  return reportError(serve(argv[1], argv[2], options), llvm::errs());
}
