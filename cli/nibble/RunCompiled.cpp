#include "cli/nibble/RunCompiled.h"
#include "lib/Export/Arm/ReferenceModel.h"
#include "lib/Export/Io/IoDescription.h"
#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Path.h"

namespace nibble::cli {

/// The stored integers of every input.
static llvm::Expected<std::vector<NamedTensor>> takeInputs(const IoDescription &io, const RunSample &sample, bool rawIO) {
  std::vector<NamedTensor> inputs;
  for (const IoTensor &input : io.inputs) {
    llvm::Expected<Tensor> value = sample.take(input.name, input.scale && !rawIO ? ElementType::F32 : input.type);
    if (value && !rawIO)
      value = toStored(input, *value);
    if (!value)
      return value.takeError();
    inputs.push_back({input.name, *value});
  }
  return inputs;
}

static void giveReals(const IoDescription &io, std::vector<NamedTensor> &outputs) {
  for (NamedTensor &output : outputs)
    for (const IoTensor &description : io.outputs)
      if (description.name == output.name)
        output.tensor = toReal(description, output.tensor);
}

llvm::Expected<std::vector<NamedTensor>> runInEmulator(llvm::StringRef modelPath, const vendor::VendorLibraries &libraries,
                                                       const RunSample &sample, bool rawIO) {
  llvm::Expected<IoDescription> io = readIoBeside(modelPath);
  if (!io)
    return io.takeError();
  llvm::Expected<std::unique_ptr<Target>> target = Target::load(io->target);
  if (!target)
    return target.takeError();
  llvm::Expected<std::vector<NamedTensor>> inputs = takeInputs(*io, sample, rawIO);
  if (!inputs)
    return inputs.takeError();
  vendor::HtpSettings settings;
  settings.libraries = libraries;
  llvm::Expected<vendor::Emulation> emulation =
      vendor::emulateContext(settings, **target, modelPath, io->binarySha256, {*inputs});
  if (!emulation)
    return emulation.takeError();
  std::vector<NamedTensor> outputs = std::move(emulation->outputs.front());
  if (!rawIO)
    giveReals(*io, outputs);
  return outputs;
}

/// The files to run in order, with the tensors that go in and out by their ONNX names.
static llvm::Expected<std::vector<tosa_export::TosaBlock>> findTosaFiles(llvm::StringRef modelPath, const IoDescription &io) {
  llvm::Expected<std::shared_ptr<const MappedFile>> model = MappedFile::open(modelPath);
  if (!model)
    return model.takeError();
  // Where Vela made a binary of it, io.json has the digest of that.
  if (io.binaryFile == io.modelFile && sha256((*model)->bytes()) != io.binarySha256)
    return makeError(ErrorKind::BadInput, "'" + modelPath + "' was changed: its SHA-256 differs from that in io.json");
  if (modelPath.ends_with(".json"))
    return tosa_export::readBlockList(modelPath);
  tosa_export::TosaBlock whole{io.modelFile, {}, {}};
  for (const IoTensor &input : io.inputs)
    whole.inputs.push_back(input.name);
  for (const IoTensor &output : io.outputs)
    whole.outputs.push_back(output.name);
  return std::vector<tosa_export::TosaBlock>{std::move(whole)};
}

llvm::Expected<std::vector<NamedTensor>> runInReferenceModel(llvm::StringRef modelPath, llvm::StringRef inputPath, bool rawIO) {
  llvm::Expected<arm::ArmTool> tool = arm::findReferenceModel();
  if (!tool)
    return tool.takeError();
  llvm::Expected<IoDescription> io = readIoBeside(modelPath);
  if (!io)
    return io.takeError();
  llvm::Expected<RunSample> sample = RunSample::read(inputPath);
  if (!sample)
    return sample.takeError();
  llvm::Expected<std::vector<NamedTensor>> inputs = takeInputs(*io, *sample, rawIO);
  if (!inputs)
    return inputs.takeError();
  llvm::Expected<std::vector<tosa_export::TosaBlock>> files = findTosaFiles(modelPath, *io);
  if (!files)
    return files.takeError();
  llvm::StringMap<Tensor> values;
  for (const NamedTensor &input : *inputs)
    values[input.name] = input.tensor;
  for (const tosa_export::TosaBlock &file : *files) {
    std::vector<Tensor> operands;
    for (const std::string &name : file.inputs) {
      if (!values.contains(name))
        return makeError(ErrorKind::BadInput, "'" + file.file + "' reads '" + name + "', which no file before it writes");
      operands.push_back(values[name]);
    }
    llvm::SmallString<128> path(llvm::sys::path::parent_path(modelPath));
    llvm::sys::path::append(path, file.file);
    llvm::Expected<std::vector<Tensor>> results = arm::runReferenceModel(*tool, path, operands);
    if (!results)
      return results.takeError();
    if (results->size() != file.outputs.size())
      return makeError(ErrorKind::BadInput, "'" + file.file + "' has " + llvm::Twine(results->size()) + " outputs, expected " +
                                                llvm::Twine(file.outputs.size()));
    for (auto [name, tensor] : llvm::zip_equal(file.outputs, *results))
      values[name] = tensor;
  }
  std::vector<NamedTensor> outputs;
  for (const IoTensor &output : io->outputs) {
    if (!values.contains(output.name))
      return makeError(ErrorKind::BadInput, "no file writes the output '" + output.name + "'");
    outputs.push_back({output.name, values[output.name]});
  }
  if (!rawIO)
    giveReals(*io, outputs);
  return outputs;
}

} // namespace nibble::cli
