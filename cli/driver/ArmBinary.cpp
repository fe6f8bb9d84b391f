//===- ArmBinary.cpp - TOSA files of a compile, and Vela's binaries --------===//
#include "cli/driver/Compilation.h"
#include "cli/driver/IntegerModel.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Export/Arm/Vela.h"
#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace nibble::driver {

/// The ONNX names behind a file's names of inputs and outputs, which rows of the compiler carry.
static llvm::StringMap<std::string> originalNames(func::FuncOp function, llvm::StringRef blockName) {
  llvm::StringMap<std::string> names;
  auto add = [&](ValueRange values, std::string fileName(size_t)) {
    for (auto [index, value] : llvm::enumerate(values))
      if (std::string name = nn::tensorName(value); !name.empty())
        names[fileName(index)] = name;
  };
  if (blockName.empty()) {
    add(function.getArguments(), tosa_export::inputTensorName);
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (auto name = function.getResultAttrOfType<StringAttr>(i, nn::nameAttribute))
        names[tosa_export::outputTensorName(i)] = name.str();
    return names;
  }
  for (nn::BlockOp block : function.getOps<nn::BlockOp>())
    if (block.getSymName() == blockName) {
      add(block.getInputs(), tosa_export::inputTensorName);
      add(block.getOutputs(), tosa_export::outputTensorName);
    }
  return names;
}

/// Adds the figures of one file to those of the files before it.
static void addFile(const arm::VelaBinary &binary, const llvm::StringMap<std::string> &names,
                    report::NpuProgram &program) {
  const arm::VelaFigures &figures = binary.figures;
  auto add = [](int64_t &sum, uint64_t value) { sum += static_cast<int64_t>(value); };
  auto raise = [](int64_t &largest, uint64_t value) { largest = std::max(largest, static_cast<int64_t>(value)); };
  ++program.files;
  add(program.bytes, binary.bytes);
  program.operatorsOnNpu += figures.operatorsOnNpu;
  program.operatorsOnCpu += figures.operatorsOnCpu;
  program.microseconds += figures.inferenceSeconds * 1e6;
  add(program.cycles, figures.cycles);
  add(program.npuCycles, figures.npuCycles);
  add(program.sramCycles, figures.sramCycles);
  add(program.dramCycles, figures.dramCycles);
  add(program.flashCycles, figures.flashCycles);
  raise(program.sramBytes, figures.sramBytes);
  raise(program.dramBytes, figures.dramBytes);
  raise(program.flashBytes, figures.flashBytes);
  add(program.sramTrafficBytes, figures.sramTrafficBytes);
  add(program.dramTrafficBytes, figures.dramTrafficBytes);
  add(program.flashTrafficBytes, figures.flashTrafficBytes);
  add(program.originalWeightBytes, figures.originalWeightBytes);
  add(program.encodedWeightBytes, figures.encodedWeightBytes);
  add(program.multiplyAccumulates, figures.multiplyAccumulates);
  for (const arm::VelaOperator &op : figures.operators) {
    // Vela appends to the name where it makes operators of its own, as in "TosaInput_1/Transpose".
    auto [tensor, suffix] = llvm::StringRef(op.tensor).split('/');
    auto original = names.find(tensor);
    std::string name = original == names.end() ? op.tensor : original->second + op.tensor.substr(tensor.size());
    program.operators.push_back({std::move(name), op.operation, static_cast<int64_t>(op.cycles),
                                 static_cast<int64_t>(op.npuCycles), static_cast<int64_t>(op.dramCycles),
                                 static_cast<int64_t>(op.multiplyAccumulates)});
  }
}

llvm::Error Compilation::writeIntegerIo(llvm::StringRef modelPath, llvm::StringRef binaryPath, llvm::StringRef velaVersion) {
  llvm::Expected<IntegerEnds> ends = IntegerEnds::of(*integerModule);
  if (!ends)
    return ends.takeError();
  llvm::Expected<std::shared_ptr<const MappedFile>> binary = MappedFile::open(binaryPath);
  if (!binary)
    return binary.takeError();
  IoDescription io;
  io.modelFile = llvm::sys::path::filename(modelPath).str();
  io.binaryFile = llvm::sys::path::filename(binaryPath).str();
  io.binaryBytes = (*binary)->bytes().size();
  io.binarySha256 = sha256((*binary)->bytes());
  io.target = target->name;
  io.velaVersion = velaVersion.str();
  for (auto [index, input] : llvm::enumerate(ends->inputs))
    input.nameInFile = tosa_export::inputTensorName(index);
  for (auto [index, output] : llvm::enumerate(ends->outputs))
    output.nameInFile = tosa_export::outputTensorName(index);
  io.inputs = std::move(ends->inputs);
  io.outputs = std::move(ends->outputs);
  return writeFileAtomically(output->path("io.json"), formatIo(io));
}

/// The error of compiling a whole model, which may be more than Vela can allocate or schedule.
static llvm::Error suggestBlocks(llvm::Error error) {
  return llvm::handleErrors(std::move(error), [](std::unique_ptr<NibbleError> failed) -> llvm::Error {
    failed->notes.push_back("--file-per-block compiles the model's blocks one by one, which takes less memory and time");
    return llvm::Error(std::move(failed));
  });
}

/// Compiles every file for the NPU; the names of the binaries end in _vela.npz.
llvm::Error Compilation::compileForNpu(const arm::ArmTool &vela, llvm::ArrayRef<tosa_export::TosaFile> files) {
  progress.begin("compile binary", static_cast<int64_t>(files.size()), "file");
  report::NpuProgram program;
  program.estimator = "Vela " + vela.version + " for " + target->backendOptions["accelerator_config"];
  func::FuncOp function = mainFunction(*integerModule);
  for (const tosa_export::TosaFile &file : files) {
    std::string name = llvm::sys::path::stem(file.path).str() + "_vela.npz";
    llvm::Expected<arm::VelaBinary> binary =
        arm::compileWithVela(vela, *target, options.vendorOptions, file.path, output->path(name));
    if (!binary)
      return file.block.empty() ? suggestBlocks(binary.takeError()) : binary.takeError();
    addFile(*binary, originalNames(function, file.block), program);
    progress.advance();
  }
  note("binary: " + llvm::Twine(program.operatorsOnNpu) + " operators on the NPU, " +
       llvm::Twine(program.operatorsOnCpu) + " on the CPU, " + llvm::Twine(program.bytes) + " bytes");
  report.npuProgram = std::move(program);
  return llvm::Error::success();
}

llvm::Error Compilation::emitIntegerProgram() {
  if (!options.emits("tosa") && !options.emits("binary"))
    return llvm::Error::success();
  if (!integerModule)
    return makeError(ErrorKind::Internal, "the program was not lowered to integers");
  progress.begin("write TOSA", 0, "");
  llvm::Expected<std::vector<tosa_export::TosaFile>> files =
      tosa_export::writeTosaFiles(*integerModule, output->path(stem + ".tosa"), {.filePerBlock = options.filePerBlock});
  if (!files)
    return files.takeError();
  if (files->size() > 1 && !options.filePerBlock)
    noteAndReport("the TOSA file would pass 2 GiB: " + std::to_string(files->size()) + " files, one for every block, and " +
                  stem + ".blocks.json with their order");
  if (llvm::Error error = checkIntegerProgram())
    return error;
  bool isWhole = files->front().block.empty();
  std::string model = output->path(stem + (isWhole ? ".tosa" : ".blocks.json")), binary = model, velaVersion;
  if (target->backend == "vela" && options.emits("binary")) {
    if (llvm::Expected<arm::ArmTool> vela = arm::findVela()) {
      if (llvm::Error error = compileForNpu(*vela, *files))
        return error;
      velaVersion = vela->version;
      if (isWhole)
        binary = output->path(stem + "_vela.npz");
    } else {
      // What does not need the compiler is still written; the program then exits with its error.
      binaryProblem = takeMessages(vela.takeError());
      report.notes.push_back("no binary was written: " + binaryProblem.front());
    }
  }
  return writeIntegerIo(model, binary, velaVersion);
}

} // namespace nibble::driver
