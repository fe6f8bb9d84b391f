//===- Emit.cpp - files that a compile writes ------------------------------===//
#include "cli/driver/Compilation.h"

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/ONNX/CheckExport.h"
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Export/ONNX/QDQ.h"

using namespace mlir;

namespace nibble::driver {

/// Whether a quantizer of the module has scales per block, which AIMET 0.6.1 cannot state.
static bool hasBlockEncodings(ModuleOp module) {
  return llvm::any_of(module.getOps<nn::QuantizerOp>(),
                      [](nn::QuantizerOp quantizer) { return quantizer.getBlockSize().has_value(); });
}

/// Encodings belong to a float model with the same tensor names, so that is written beside them.
llvm::Error Compilation::emitEncodings() {
  onnx_export::QDQOptions floatModel;
  floatModel.dropQuantizers = true;
  if (llvm::Error error = onnx_export::exportQDQ(*module, output->path(stem + "_float.onnx"), floatModel))
    return error;
  std::vector<std::pair<encodings::Version, std::string>> versions = {{encodings::Version::V100, "1.0.0"},
                                                                      {encodings::Version::V200, "2.0.0"}};
  if (hasBlockEncodings(*module))
    note("encodings 0.6.1 are not written: that version has no form for weights with scales per block");
  else
    versions.insert(versions.begin(), {encodings::Version::V061, "0.6.1"});
  for (const auto &[version, text] : versions)
    if (llvm::Error error =
            encodings::exportEncodings(*module, output->path(stem + "_encodings_" + text + ".json"), version))
      return error;
  return llvm::Error::success();
}

/// The file computes with the same weights in another order of summation.
llvm::Error Compilation::checkMatMulNBits(llvm::ArrayRef<Tensor> sample) {
  constexpr double allowed = 1e-4;
  llvm::Expected<double> difference =
      onnx_export::compareExecution(*module, output->path(stem + "_matmulnbits.onnx"), {std::vector<Tensor>(sample)});
  if (!difference)
    return difference.takeError();
  if (*difference > allowed)
    return makeError(ErrorKind::Internal, "the MatMulNBits file computes something else than the quantized program",
                     {llvm::formatv("largest difference {0} of the output's range, allowed {1}", *difference, allowed)});
  return llvm::Error::success();
}

llvm::Error Compilation::emit() {
  progress.begin("emit", 0, "");
  // The QDQ twin is what every later check executes, so it is written whatever was asked for.
  std::string twin = output->path(stem + "_qdq.onnx");
  if (llvm::Error error = onnx_export::exportQDQ(*module, twin, {}))
    return error;
  llvm::Expected<onnx_export::ExportCheck> checked = onnx_export::checkQDQ(*module, twin, {});
  if (!checked)
    return checked.takeError();
  if (recipe.isWeightOnly() && options.emits("matmulnbits")) {
    std::vector<std::string> kept;
    if (llvm::Error error = onnx_export::exportMatMulNBits(*module, output->path(stem + "_matmulnbits.onnx"), {}, &kept))
      return error;
    for (const std::string &text : kept)
      note(text);
    llvm::Expected<std::vector<Tensor>> sample = firstSample();
    if (!sample)
      return sample.takeError();
    if (sample->empty())
      noteAndReport("the MatMulNBits file was not executed: there is no sample of the deployed dimensions");
    else if (llvm::Error error = checkMatMulNBits(*sample))
      return error;
  }
  if (options.emits("encodings"))
    if (llvm::Error error = emitEncodings())
      return error;
  return llvm::Error::success();
}

} // namespace nibble::driver
