//===- Binary.cpp - the vendor's binary of a compile, checked --------------===//
#include "cli/driver/Compilation.h"
#include "cli/driver/EdgeRecorder.h"
#include "cli/driver/Tolerance.h"

#include "calib/Metrics/Evaluation.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Export/Vendor/HtpCheck.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

using namespace mlir;

namespace nibble::driver {

/// A block with the integers that the reference computed on its edges.
static llvm::Expected<vendor::BlockToCheck> makeBlockToCheck(nn::BlockOp block, ModuleOp module, const Target &target,
                                                             const EdgeRecorder &edges) {
  vendor::BlockToCheck result;
  result.name = block.getSymName().str();
  onnx_export::QDQOptions exportOptions;
  exportOptions.integerIO = true;
  std::vector<onnx_export::IntegerIO> io;
  llvm::Expected<std::string> bytes = onnx_export::exportBlockQDQToMemory(block, module, exportOptions, &io);
  if (!bytes)
    return bytes.takeError();
  result.modelBytes = std::move(*bytes);
  result.inputs.emplace_back();
  result.expected.emplace_back();
  llvm::StringMap<const onnx_export::IntegerIO *> integerInputs, integerOutputs;
  for (const onnx_export::IntegerIO &entry : io)
    (entry.isInput ? integerInputs : integerOutputs)[entry.name] = &entry;
  auto collect = [&](ValueRange values, const llvm::StringMap<const onnx_export::IntegerIO *> &integers,
                     std::vector<NamedTensor> &tensors) -> llvm::Error {
    for (Value value : values) {
      std::string name = nn::tensorName(value);
      Tensor tensor = edges.find(value);
      if (const onnx_export::IntegerIO *entry = integers.lookup(name)) {
        llvm::Expected<Tensor> stored =
            quant::quantize(tensor, quant::makeTensorEncoding(entry->storage, entry->scale, entry->zeroPoint));
        if (!stored)
          return stored.takeError();
        tensor = *stored;
      }
      tensors.push_back({name, tensor});
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = collect(block.getInputs(), integerInputs, result.inputs.front()))
    return error;
  if (llvm::Error error = collect(block.getOutputs(), integerOutputs, result.expected.front()))
    return error;
  std::vector<Tensor> inputs, reference;
  std::vector<double> scales;
  for (Value value : block.getInputs())
    inputs.push_back(edges.find(value));
  for (Value value : block.getOutputs()) {
    reference.push_back(edges.find(value));
    const onnx_export::IntegerIO *entry = integerOutputs.lookup(nn::tensorName(value));
    scales.push_back(entry ? entry->scale : 0);
  }
  llvm::Expected<std::vector<ErrorBound>> bounds =
      measureTolerance(block, module, target, inputs, reference, scales);
  if (!bounds)
    return bounds.takeError();
  for (auto [value, bound] : llvm::zip_equal(block.getOutputs(), *bounds))
    result.limits[nn::tensorName(value)] = bound;
  return result;
}

vendor::HtpSettings Compilation::vendorSettings() const {
  vendor::HtpSettings settings;
  settings.libraries = libraries;
  settings.vendorOptions = options.vendorOptions;
  return settings;
}

llvm::Error Compilation::checkBinary(const vendor::HtpSettings &settings) {
  llvm::Expected<std::vector<Tensor>> sample = firstSample();
  if (!sample)
    return sample.takeError();
  if (sample->empty()) {
    noteAndReport("the binary's blocks were not run in the vendor's emulation: there is no sample of the deployed "
                  "dimensions");
    return llvm::Error::success();
  }
  llvm::SmallVector<nn::BlockOp> blocks;
  mainFunction(*module).walk([&](nn::BlockOp block) { blocks.push_back(block); });
  EdgeRecorder edges(mainFunction(*module));
  llvm::Expected<std::unique_ptr<runtime::Program>> program =
      runtime::Program::create(mainFunction(*module), &edges);
  if (!program)
    return program.takeError();
  llvm::Expected<std::vector<Tensor>> outputs = (*program)->run(*sample);
  if (!outputs)
    return outputs.takeError();
  progress.begin("check binary", static_cast<int64_t>(blocks.size()), "block");
  llvm::Expected<vendor::CheckSummary> summary = vendor::checkBlocks(
      settings, *target, static_cast<int64_t>(blocks.size()),
      [&](int64_t index) { return makeBlockToCheck(blocks[static_cast<size_t>(index)], *module, *target, edges); },
      options.checkSeconds, [&](const vendor::BlockDeviation &) { progress.advance(); });
  if (!summary)
    return summary.takeError();
  for (const vendor::BlockDeviation &block : summary->blocks)
    for (const vendor::TensorDeviation &tensor : block.outputs)
      report.checks.push_back({"block " + block.block,
                               "largest deviation of '" + tensor.tensor +
                                   "' in the vendor's emulation from the reference, in quanta",
                               tensor.maximum, tensor.allowed.maximum, !tensor.exceeds()});
  note(llvm::Twine(summary->blocksChecked) + " of " + llvm::Twine(summary->blocksTotal) +
       " blocks agree with the vendor's emulation");
  for (const auto &[block, reason] : summary->refused)
    report.notes.push_back("block '" + block + "' was not emulated alone: " + reason);
  int64_t left = summary->blocksTotal - summary->blocksChecked - static_cast<int64_t>(summary->refused.size());
  if (left)
    report.notes.push_back(std::to_string(left) + " of " + std::to_string(summary->blocksTotal) +
                           " blocks were not emulated within the time of --check-seconds");
  return llvm::Error::success();
}

/// What the vendor refuses was asked for by the recipe: a note says where.
static llvm::Error addRecipePlaces(llvm::Error error, const Recipe &recipe) {
  return llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> refusal) -> llvm::Error {
    if (refusal->kind == ErrorKind::Unsupported && !describePlaces(recipe).empty())
      refusal->notes.push_back("the recipe asks for " + describePlaces(recipe));
    return llvm::Error(std::move(refusal));
  });
}

llvm::Error Compilation::emitBinary() {
  if (target->runsIntegerPrograms())
    return emitIntegerProgram();
  if (target->backend != "qnn-htp" || !options.emits("binary"))
    return llvm::Error::success();
  // What does not need the vendor's package is still written; the program then exits with its error.
  binaryProblem = hasOnnxRuntime ? takeMessages(vendor::requireQnn(libraries)) : runtimeProblem;
  if (!binaryProblem.empty()) {
    report.notes.push_back("no binary was written: " + binaryProblem.front());
    return llvm::Error::success();
  }
  vendor::HtpSettings settings = vendorSettings();
  onnx_export::QDQOptions exportOptions;
  exportOptions.integerIO = true;
  std::vector<onnx_export::IntegerIO> io;
  llvm::Expected<std::string> bytes = onnx_export::exportQDQToMemory(*module, exportOptions, &io);
  if (!bytes)
    return bytes.takeError();
  progress.begin("compile binary", 0, "");
  llvm::Expected<vendor::HtpContext> compiled =
      vendor::compileContext(settings, *target, *bytes, output->path(stem + "_ctx.onnx"));
  if (!compiled)
    return addRecipePlaces(compiled.takeError(), recipe);
  llvm::Expected<IoDescription> description = vendor::describeContext(*compiled, *target, libraries, io);
  if (!description)
    return description.takeError();
  if (llvm::Error error = writeFileAtomically(output->path("io.json"), formatIo(*description)))
    return error;
  note("binary: " + llvm::Twine(compiled->acceptance.nodesOnNpu) + " nodes on the NPU, " +
       llvm::Twine(compiled->acceptance.nodesOnCpu) + " on the CPU, " + llvm::Twine(compiled->binaryBytes) + " bytes");
  report.binary = report::VendorBinary{compiled->acceptance.nodesOnNpu, compiled->acceptance.nodesOnCpu,
                                       compiled->acceptance.vendorOperators,
                                       static_cast<int64_t>(compiled->binaryBytes)};
  htpContext = std::move(*compiled);
  ioDescription = std::move(*description);
  if (llvm::Error error = checkBinary(settings))
    return error;
  progress.begin("estimate", 0, "");
  llvm::Expected<vendor::HtpEstimate> estimated = vendor::estimate(settings, *target, *bytes);
  if (!estimated) {
    // An estimate is information beside the binary, which is sound without it.
    report.notes.push_back("no latency estimate: " + llvm::toString(estimated.takeError()));
    return llvm::Error::success();
  }
  report.estimate = report::VendorEstimate{
      "QNN " + libraries.qnnVersion + " simulator, " + estimated->simulatedPart + " in place of " + target->name,
      static_cast<double>(estimated->microseconds), static_cast<int64_t>(estimated->cycles),
      static_cast<int64_t>(estimated->inputFillBytes + estimated->intermediateFillBytes),
      static_cast<int64_t>(estimated->spillBytes)};
  if (estimated->operatorsWithoutCost)
    report.notes.push_back("the vendor's estimate counts " + std::to_string(estimated->operatorsWithoutCost) +
                           " operators as free, so it is a lower bound");
  return llvm::Error::success();
}

llvm::Error Compilation::evaluateBinary(llvm::ArrayRef<std::vector<Tensor>> samples,
                                        llvm::ArrayRef<std::vector<Tensor>> references) {
  std::vector<std::vector<NamedTensor>> stored(samples.size());
  for (size_t i = 0; i < samples.size(); ++i)
    for (const IoTensor &io : ioDescription->inputs) {
      auto input = llvm::find_if(inputs, [&](const calib::InputSpec &spec) { return spec.name == io.name; });
      if (input == inputs.end())
        return makeError(ErrorKind::Internal, "the binary has an input '" + io.name + "' that the model lacks");
      llvm::Expected<Tensor> tensor = toStored(io, samples[i][static_cast<size_t>(input - inputs.begin())]);
      if (!tensor)
        return tensor.takeError();
      stored[i].push_back({io.name, std::move(*tensor)});
    }
  vendor::HtpSettings settings = vendorSettings();
  settings.onSample = [this] { progress.advance(); };
  progress.begin("emulate", static_cast<int64_t>(samples.size()), "sample");
  llvm::Expected<vendor::Emulation> emulation = vendor::emulateContext(
      settings, *target, htpContext->contextModelPath, htpContext->binarySha256, stored);
  if (!emulation)
    return emulation.takeError();
  llvm::Expected<calib::Evaluation> evaluation = calib::Evaluation::create(metrics, inputs, outputNames());
  if (!evaluation)
    return evaluation.takeError();
  for (size_t i = 0; i < samples.size(); ++i) {
    std::vector<Tensor> found;
    for (const auto &[io, tensor] : llvm::zip_equal(ioDescription->outputs, emulation->outputs[i]))
      found.push_back(toReal(io, tensor.tensor));
    if (llvm::Error error = evaluation->add(samples[i], references[i], found))
      return error;
    if (llvm::Error error = keepForScorer(report::fp32, static_cast<int64_t>(i), references[i]))
      return error;
    if (llvm::Error error = keepForScorer(report::htpEmulator, static_cast<int64_t>(i), found))
      return error;
  }
  addFigures(*evaluation, report::htpEmulator);
  return runScorer({report::htpEmulator}, static_cast<int64_t>(samples.size()));
}

} // namespace nibble::driver
