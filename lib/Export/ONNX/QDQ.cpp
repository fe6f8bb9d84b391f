#include "lib/Export/ONNX/QDQ.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/GraphBuilder.h"

using namespace mlir;

namespace nibble::onnx_export {

static GraphOptions graphOptions(const QDQOptions &options) {
  return {options.dropQuantizers ? GraphOptions::Form::Float : GraphOptions::Form::QDQ, options.integerIO};
}

static llvm::Expected<std::string> exportFlat(ModuleOp flat, const QDQOptions &options, std::vector<IntegerIO> *io) {
  ModelWriter writer;
  if (llvm::Error error = GraphBuilder(flat, writer, graphOptions(options)).build(io, nullptr))
    return std::move(error);
  return writer.writeToMemory();
}

llvm::Expected<std::string> exportQDQToMemory(ModuleOp module, const QDQOptions &options, std::vector<IntegerIO> *io) {
  llvm::Expected<OwningOpRef<ModuleOp>> flat = flattenModule(module);
  if (!flat)
    return flat.takeError();
  return exportFlat(**flat, options, io);
}

llvm::Expected<std::string> exportBlockQDQToMemory(nn::BlockOp block, ModuleOp symbolScope, const QDQOptions &options,
                                                   std::vector<IntegerIO> *io) {
  OwningOpRef<ModuleOp> flat = flattenBlock(block, symbolScope, /*quantizeEdges=*/options.integerIO);
  return exportFlat(*flat, options, io);
}

llvm::Error exportQDQ(ModuleOp module, llvm::StringRef path, const QDQOptions &options) {
  llvm::Expected<OwningOpRef<ModuleOp>> flat = flattenModule(module);
  if (!flat)
    return flat.takeError();
  ModelWriter writer;
  if (llvm::Error error = GraphBuilder(**flat, writer, graphOptions(options)).build(nullptr, nullptr))
    return error;
  return writer.writeToFile(path, options.externalDataThreshold);
}

} // namespace nibble::onnx_export
