//===- Run.cpp - nibble run ------------------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Export/Vendor/IoJson.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"
#include "lib/Support/Npy.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
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

static std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, [](int64_t d) { return std::to_string(d); }), ",") + "]";
}

/// The array of `file` called `name`. Errors: BadInput with what the file holds and the nearest name.
static llvm::Expected<Tensor> takeInput(const std::vector<NamedTensor> &file, llvm::StringRef path,
                                        llvm::StringRef name) {
  std::vector<std::string> names;
  std::string held;
  for (const NamedTensor &entry : file) {
    if (entry.name == name)
      return entry.tensor;
    names.push_back(entry.name);
    held += (held.empty() ? "" : ", ") + entry.name + " " + nibble::name(entry.tensor.elementType()).str() +
            formatShape(entry.tensor.shape());
  }
  std::vector<std::string> notes = {"it holds " + (held.empty() ? "nothing" : held)};
  if (std::string nearest = nearestName(name, names); !nearest.empty())
    notes.push_back("did you mean '" + nearest + "'");
  return makeError(ErrorKind::BadInput, "'" + path + "' has no array '" + name + "'", std::move(notes));
}

static llvm::Expected<std::vector<NamedTensor>> runEmulator(const Options &options,
                                                            const vendor::VendorLibraries &libraries,
                                                            const std::vector<NamedTensor> &file) {
  llvm::SmallString<128> ioPath(llvm::sys::path::parent_path(options.model));
  llvm::sys::path::append(ioPath, "io.json");
  llvm::Expected<vendor::IoDescription> io = vendor::readIo(ioPath);
  if (!io)
    return io.takeError();
  if (io->modelFile != llvm::sys::path::filename(options.model))
    return makeError(ErrorKind::BadInput, "'" + ioPath + "' describes '" + io->modelFile + "', not '" +
                                              llvm::sys::path::filename(options.model) + "'");
  llvm::Expected<std::unique_ptr<Target>> target = Target::load(io->target);
  if (!target)
    return target.takeError();
  std::vector<NamedTensor> inputs;
  for (const vendor::IoTensor &input : io->inputs) {
    llvm::Expected<Tensor> value = takeInput(file, options.input, input.name);
    if (value && !options.rawIO)
      value = vendor::toStored(input, *value);
    if (!value)
      return value.takeError();
    inputs.push_back({input.name, *value});
  }
  vendor::HtpSettings settings;
  settings.libraries = libraries;
  llvm::Expected<vendor::Emulation> emulation =
      vendor::emulateContext(settings, **target, options.model, io->binarySha256, {inputs});
  if (!emulation)
    return emulation.takeError();
  std::vector<NamedTensor> outputs = std::move(emulation->outputs.front());
  for (NamedTensor &output : outputs)
    for (const vendor::IoTensor &description : io->outputs)
      if (description.name == output.name && !options.rawIO)
        output.tensor = vendor::toReal(description, output.tensor);
  return outputs;
}

static llvm::Expected<std::vector<NamedTensor>> runOnnxRuntime(const Options &options,
                                                               const vendor::VendorLibraries &libraries,
                                                               const std::vector<NamedTensor> &file) {
  auto session = vendor::CpuSession::fromFile(libraries, options.model, /*optimize=*/false);
  if (!session)
    return session.takeError();
  std::vector<Tensor> inputs;
  for (const std::string &name : (*session)->inputNames()) {
    llvm::Expected<Tensor> value = takeInput(file, options.input, name);
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
  llvm::outs() << output.name << ' ' << name(output.tensor.elementType()) << formatShape(output.tensor.shape());
  if (count)
    llvm::outs() << llvm::formatv(" min {0:f6} max {1:f6} mean {2:f6}", low, high, sum / static_cast<double>(count));
  llvm::outs() << '\n';
}

static llvm::Error run(const Options &options) {
  if (options.rawIO && options.where == "onnxruntime")
    return makeError(ErrorKind::Usage, "--raw-io has no effect on an ONNX model, which takes what it declares");
  llvm::Expected<vendor::VendorLibraries> libraries = vendor::findVendorLibraries(options.qnnFolder);
  if (!libraries)
    return libraries.takeError();
  llvm::Expected<std::vector<NamedTensor>> file = readNpz(options.input);
  if (!file)
    return file.takeError();
  llvm::Expected<std::vector<NamedTensor>> outputs = options.where == "htp-emulator"
                                                         ? runEmulator(options, *libraries, *file)
                                                         : runOnnxRuntime(options, *libraries, *file);
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
  CLI::App *command = app.add_subcommand("run", "Run a compiled or exported model on one sample");
  command->add_option("model", options->model, "A context model with io.json beside it, or an ONNX model")->required();
  command->add_option("--on", options->where, "Arithmetic to run it in")
      ->required()
      ->check(CLI::IsMember({"htp-emulator", "onnxruntime"}));
  command->add_option("--input", options->input, "Inputs by name, .npz")->required();
  command->add_option("-o,--output", options->output, "Where to write the outputs, .npz");
  command->add_flag("--raw-io", options->rawIO, "Take and give stored integers instead of reals");
  command->add_option("--qnn-dir", options->qnnFolder, "Folder of onnxruntime-qnn, where it is not found by itself");
  command->callback([options, &exitCode] { exitCode = reportError(run(*options), llvm::errs()); });
}

} // namespace nibble::cli
