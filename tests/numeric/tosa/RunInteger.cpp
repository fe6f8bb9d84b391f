//===- RunInteger.cpp - runs an integer program ----------------------------===//
//
// usage: run-integer plain|checked|observed PROGRAM.mlir INPUTS.npz OUTPUTS.npz [THREADS]
// Inputs are in0, in1, ...; outputs are written as out0, out1, ... `observed` shows every value to an observer, so
// that no operation is computed together with another.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Integer/Interpreter.h"
#include "lib/Support/Error.h"
#include "lib/Support/Npy.h"
#include "lib/Support/Parallel.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/STLExtras.h"

using namespace nibble;

namespace {

/// Wants every value and leaves it.
struct Onlooker : runtime::ExecutionObserver {
  void onValue(mlir::Value, const Tensor &) override {}
};

llvm::Error run(llvm::StringRef mode, llvm::StringRef path, llvm::StringRef inputsPath, llvm::StringRef outputsPath) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect, mlir::tosa::TosaDialect>();
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(path, &context);
  auto function = module ? module->lookupSymbol<mlir::func::FuncOp>("main") : nullptr;
  if (!function)
    return makeError(ErrorKind::BadInput, "'" + path + "' has no function @main");
  Onlooker onlooker;
  runtime::IntegerOptions options;
  options.checked = mode == "checked";
  auto program = runtime::createIntegerProgram(function, mode == "observed" ? &onlooker : nullptr, options);
  if (!program)
    return program.takeError();
  auto given = readNpz(inputsPath);
  if (!given)
    return given.takeError();
  std::vector<Tensor> inputs(given->size());
  for (const NamedTensor &tensor : *given) {
    size_t index;
    if (llvm::StringRef(tensor.name).drop_front(2).getAsInteger(10, index) || index >= inputs.size())
      return makeError(ErrorKind::BadInput, "there is no input '" + tensor.name + "'");
    inputs[index] = tensor.tensor;
  }
  // Twice, because buffers of the first run are used again.
  for (int i = 0; i < 2; ++i) {
    auto results = (*program)->run(inputs);
    if (!results)
      return results.takeError();
    std::vector<NamedTensor> outputs;
    for (auto [index, tensor] : llvm::enumerate(*results))
      outputs.push_back({"out" + std::to_string(index), tensor});
    if (llvm::Error error = writeNpz(outputsPath, outputs))
      return error;
  }
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  unsigned threads = 2;
  if (argc < 5 || (argc == 6 && llvm::StringRef(argv[5]).getAsInteger(10, threads))) {
    llvm::errs() << "usage: run-integer plain|checked|observed PROGRAM.mlir INPUTS.npz OUTPUTS.npz [THREADS]\n";
    return 1;
  }
  setThreadCount(threads);
  return reportError(run(argv[1], argv[2], argv[3], argv[4]), llvm::errs());
}
