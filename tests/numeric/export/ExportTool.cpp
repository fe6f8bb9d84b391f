//===- ExportTool.cpp - exports a module given as text ----------------------===//
//
// usage: export-tool IN.mlir|IN.onnx OUT qdq|float|matmulnbits|encodings-VERSION
//          [--integer-io] [--threshold BYTES] [--bind NAME=VALUE]...
// Prints one line per integer input or output ("input|output name type scale zero-point") and per note.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/Format.h"

using namespace nibble;

static llvm::Error exportModule(mlir::ModuleOp module, llvm::StringRef path, llvm::StringRef form,
                                const onnx_export::QDQOptions &options) {
  if (form == "matmulnbits" || form.starts_with("encodings-")) {
    std::vector<std::string> notes;
    llvm::Error error = llvm::Error::success();
    if (form.consume_front("encodings-")) {
      llvm::Expected<encodings::Version> version = encodings::parseVersion(form);
      error = version ? encodings::exportEncodings(module, path, *version, &notes) : version.takeError();
    } else {
      error = onnx_export::exportMatMulNBits(module, path, {options.externalDataThreshold}, &notes);
    }
    for (const std::string &note : notes)
      llvm::outs() << "note " << note << "\n";
    return error;
  }
  if (!options.integerIO)
    return onnx_export::exportQDQ(module, path, options);
  std::vector<onnx_export::IntegerIO> io;
  llvm::Expected<std::string> bytes = onnx_export::exportQDQToMemory(module, options, &io);
  if (!bytes)
    return bytes.takeError();
  for (const onnx_export::IntegerIO &entry : io)
    llvm::outs() << (entry.isInput ? "input " : "output ") << entry.name << " " << name(entry.storage) << " "
                 << llvm::format("%.9g", entry.scale) << " " << entry.zeroPoint << "\n";
  return writeFileAtomically(path, *bytes);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    llvm::errs() << "usage: export-tool IN.mlir|IN.onnx OUT qdq|float|matmulnbits|encodings-VERSION "
                    "[--integer-io] [--threshold BYTES] [--bind NAME=VALUE]...\n";
    return 1;
  }
  onnx_export::QDQOptions options;
  onnx_import::ImportOptions importOptions;
  std::vector<std::string> bindings;
  options.dropQuantizers = llvm::StringRef(argv[3]) == "float";
  for (int i = 4; i < argc; ++i) {
    if (llvm::StringRef(argv[i]) == "--integer-io")
      options.integerIO = true;
    else if (llvm::StringRef(argv[i]) == "--threshold" && i + 1 < argc)
      options.externalDataThreshold = std::stoull(argv[++i]);
    else if (llvm::StringRef(argv[i]) == "--bind" && i + 1 < argc)
      bindings.push_back(argv[++i]);
  }
  if (llvm::Error error = onnx_import::parseBindings(bindings).moveInto(importOptions.bindings))
    return reportError(std::move(error), llvm::errs());
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module;
  if (llvm::StringRef(argv[1]).ends_with(".onnx")) {
    auto imported = onnx_import::importModel(argv[1], context, importOptions);
    if (!imported)
      return reportError(imported.takeError(), llvm::errs());
    module = std::move(*imported);
  } else {
    module = mlir::parseSourceFile<mlir::ModuleOp>(argv[1], &context);
  }
  if (!module)
    return 2;
  return reportError(exportModule(*module, argv[2], argv[3], options), llvm::errs());
}
