//===- Emit.cpp - files that a compile writes ------------------------------===//
#include "cli/driver/Compilation.h"

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/ONNX/CheckExport.h"
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Support/Error.h"

using namespace mlir;

namespace nibble::driver {

/// Encodings belong to a float model with the same tensor names, so that is written beside them. Older versions
/// cannot state scales of every kind; 2.0.0 can state all that ONNX can.
llvm::Error Compilation::emitEncodings() {
  onnx_export::QDQOptions floatModel;
  floatModel.dropQuantizers = true;
  if (llvm::Error error = onnx_export::exportQDQ(*module, output->path(stem + "_float.onnx"), floatModel))
    return error;
  const std::pair<encodings::Version, llvm::StringRef> versions[] = {{encodings::Version::V061, "0.6.1"},
                                                                     {encodings::Version::V100, "1.0.0"},
                                                                     {encodings::Version::V200, "2.0.0"}};
  for (auto [version, text] : versions) {
    std::string path = output->path(stem + "_encodings_" + text.str() + ".json");
    llvm::Error error = encodings::exportEncodings(*module, path, version);
    llvm::Error rest = llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> refusal) -> llvm::Error {
      if (refusal->kind != ErrorKind::Unsupported || version == encodings::Version::V200)
        return llvm::Error(std::move(refusal));
      std::string reason = "encodings " + text.str() + " are not written: " + refusal->message;
      note(reason);
      report.notes.push_back(std::move(reason));
      return llvm::Error::success();
    });
    if (rest)
      return rest;
  }
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
