//===- Run.cpp - nibble run ------------------------------------------------===//
#include "calib/Datasets/Layout.h"
#include "cli/nibble/Commands.h"
#include "cli/nibble/RunCompiled.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <cmath>

namespace nibble::cli {

namespace {
struct Options {
  std::string model, where, input, output, qnnFolder;
  bool rawIO = false;
};
} // namespace

static llvm::Expected<std::vector<NamedTensor>> runOnnxRuntime(const Options &options,
                                                               const vendor::VendorLibraries &libraries,
                                                               const RunSample &sample) {
  auto session = vendor::CpuSession::fromFile(libraries, options.model, /*optimize=*/false);
  if (!session)
    return session.takeError();
  std::vector<Tensor> inputs;
  for (const std::string &name : (*session)->inputNames()) {
    llvm::Expected<Tensor> value = sample.take(name);
    if (!value)
      return value.takeError();
    inputs.push_back(*value);
  }
  llvm::Expected<std::vector<Tensor>> results = (*session)->run(inputs);
  if (!results)
    return results.takeError();
  std::vector<NamedTensor> outputs;
  for (auto [name, tensor] : llvm::zip_equal((*session)->outputNames(), *results))
    outputs.push_back({name, tensor});
  return outputs;
}

static void printSummary(const NamedTensor &output) {
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t count = output.tensor.elementCount();
  for (int64_t i = 0; i < count; ++i) {
    double value = output.tensor.valueAsDouble(i);
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
  }
  llvm::outs() << output.name << ' ' << calib::describeArray(output.tensor.elementType(), output.tensor.shape());
  if (count)
    llvm::outs() << llvm::formatv(" min {0:f6} max {1:f6} mean {2:f6}", low, high, sum / static_cast<double>(count));
  llvm::outs() << '\n';
}

static llvm::Expected<std::vector<NamedTensor>> computeOutputs(const Options &options) {
  if (options.where == "tosa-reference")
    return runInReferenceModel(options.model, options.input, options.rawIO);
  // Whoever lacks the libraries should hear of that first.
  vendor::VendorLibraries libraries;
  if (options.where != "fp32") {
    llvm::Expected<vendor::VendorLibraries> found = vendor::findVendorLibraries(options.qnnFolder);
    if (!found)
      return found.takeError();
    libraries = std::move(*found);
  }
  llvm::Expected<RunSample> sample = RunSample::read(options.input);
  if (!sample)
    return sample.takeError();
  if (options.where == "fp32")
    return runInFloat(options.model, *sample);
  return options.where == "htp-emulator" ? runInEmulator(options.model, libraries, *sample, options.rawIO)
                                         : runOnnxRuntime(options, libraries, *sample);
}

static llvm::Error run(const Options &options) {
  if (options.rawIO && options.where != "htp-emulator" && options.where != "tosa-reference")
    return makeError(ErrorKind::Usage, "--raw-io has no effect on an ONNX model, which takes what it declares");
  llvm::Expected<std::vector<NamedTensor>> outputs = computeOutputs(options);
  if (!outputs)
    return outputs.takeError();
  for (const NamedTensor &output : *outputs)
    printSummary(output);
  if (options.output.empty())
    return llvm::Error::success();
  return writeNpz(options.output, *outputs);
}

void registerRunCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("run", "Run a float, exported or compiled model on one sample");
  command->add_option("model", options->model, "ONNX model; for htp-emulator a context model, for tosa-reference a TOSA file or a "
                                                "list of blocks, with io.json beside it")
      ->required();
  command->add_option("--on", options->where,
                      "Arithmetic to run it in. fp32: Nibble's runtime, every operation in float32; the quantizers of a "
                      "QDQ model round to their grids between them, which is fake-quant. onnxruntime: ONNX Runtime on "
                      "the CPU, optimizations off. htp-emulator: the binary of a context model in the vendor's "
                      "emulation of its chip. tosa-reference: an integer program in Arm's reference model")
      ->required()
      ->check(CLI::IsMember({"fp32", "onnxruntime", "htp-emulator", "tosa-reference"}));
  command->add_option("--input", options->input, "Inputs by name, .npz")->required();
  command->add_option("-o,--output", options->output, "Where to write the outputs, .npz");
  command->add_flag("--raw-io", options->rawIO, "htp-emulator, tosa-reference: take and give stored integers instead of reals");
  command->add_option("--qnn-dir", options->qnnFolder, "Folder of onnxruntime-qnn, where it is not found by itself");
  command->callback([options, &exitCode] { exitCode = reportError(run(*options), llvm::errs()); });
}

} // namespace nibble::cli
