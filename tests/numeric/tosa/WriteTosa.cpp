// Writes @main of a module, given as text, as a TOSA file: write-tosa IN.mlir OUT.tosa
#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Parser/Parser.h"

using namespace nibble;

int main(int argc, char **argv) {
  if (argc != 3)
    return reportError(makeError(ErrorKind::Usage, "wanted IN.mlir OUT.tosa"), llvm::errs());
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect, mlir::tosa::TosaDialect>();
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(argv[1], &context);
  if (!module)
    return static_cast<int>(ErrorKind::BadInput);
  return reportError(tosa_export::writeTosaFiles(*module, argv[2]).takeError(), llvm::errs());
}
