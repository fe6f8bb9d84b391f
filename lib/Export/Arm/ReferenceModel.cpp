#include "lib/Export/Arm/ReferenceModel.h"
#include "lib/Export/TOSA/TosaReader.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"
#include "lib/Support/Npy.h"
#include "lib/Support/WorkFolder.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

namespace nibble::arm {

/// Lines that say nothing about the file: it names version 1.0 of the specification and no software that wrote it;
/// where the model fails it tries to start a debugger.
static bool isHarmless(llvm::StringRef line) {
  return line.trim().empty() || line.contains("before software version") ||
         line.contains("is backward compatible with serializer version") || line.contains("gdb") ||
         line.contains("Attaching debugger");
}

/// What the model complains of, without the places in its sources.
static std::vector<std::string> complaintsOf(llvm::StringRef output) {
  constexpr size_t shown = 6;
  std::vector<std::string> lines;
  llvm::SmallVector<llvm::StringRef> all;
  output.split(all, '\n');
  for (llvm::StringRef line : all) {
    if (isHarmless(line))
      continue;
    if (size_t place = line.find(" AT /"); place != llvm::StringRef::npos)
      line = line.take_front(place);
    if (lines.size() < shown)
      lines.push_back(line.trim().str());
  }
  return lines;
}

static std::string numberedNames(llvm::StringRef stem, size_t count, llvm::StringRef ending) {
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i)
    names.push_back(stem.str() + std::to_string(i) + ending.str());
  return llvm::join(names, ",");
}

llvm::Expected<std::vector<Tensor>> runReferenceModel(const ArmTool &tool, llvm::StringRef tosaPath,
                                                      llvm::ArrayRef<Tensor> inputs, unsigned timeLimitSeconds) {
  auto file = MappedFile::open(tosaPath);
  if (!file)
    return file.takeError();
  llvm::Expected<tosa_export::TosaContents> contents =
      tosa_export::readTosa({(*file)->bytes().data(), (*file)->bytes().size()});
  if (!contents)
    return contents.takeError();
  if (contents->inputs.size() != inputs.size())
    return makeError(ErrorKind::BadInput, "'" + tosaPath + "' has " + llvm::Twine(contents->inputs.size()) +
                                              " inputs, found " + llvm::Twine(inputs.size()) + " tensors");
  llvm::Expected<WorkFolder> folder = WorkFolder::create("");
  if (!folder)
    return folder.takeError();
  for (auto [index, input] : llvm::enumerate(inputs))
    if (llvm::Error error = writeNpy(folder->file("input" + llvm::Twine(index) + ".npy"), input))
      return std::move(error);
  // The model splits its lists of files at commas, which a path may hold; names within a folder do not.
  llvm::SmallString<128> absolute(tosaPath);
  if (std::error_code error = llvm::sys::fs::make_absolute(absolute))
    return makeError(ErrorKind::IO, "cannot find '" + tosaPath + "': " + error.message());
  if (std::error_code error = llvm::sys::fs::create_link(absolute, folder->file("model.tosa")))
    return makeError(ErrorKind::IO, "cannot link '" + tosaPath + "': " + error.message());
  std::vector<std::string> arguments = {"--tosa_level=EIGHTK",
                                        "--flatbuffer_dir=" + folder->str(),
                                        "--output_dir=" + folder->str(),
                                        "--tosa_file=model.tosa",
                                        "--ofm_name=" + llvm::join(contents->outputs, ","),
                                        "--ofm_file=" + numberedNames("output", contents->outputs.size(), ".npy")};
  if (!inputs.empty()) {
    arguments.push_back("--ifm_name=" + llvm::join(contents->inputs, ","));
    arguments.push_back("--ifm_file=" + numberedNames("input", inputs.size(), ".npy"));
  }
  llvm::Expected<ProgramResult> result = runProgram(tool.program, arguments, timeLimitSeconds);
  if (!result)
    return result.takeError();
  std::vector<std::string> complaints = complaintsOf(result->output);
  if (complaints.empty() && result->exitCode != 0)
    complaints.push_back("it ended with code " + std::to_string(result->exitCode) + " and said nothing");
  if (!complaints.empty())
    return makeError(ErrorKind::Unsupported, "the TOSA reference model refuses '" + tosaPath + "'",
                     std::move(complaints));
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < contents->outputs.size(); ++i) {
    // The mapping outlives the file.
    llvm::Expected<Tensor> mapped = readNpy(folder->file("output" + llvm::Twine(i) + ".npy"));
    if (!mapped)
      return mapped.takeError();
    outputs.push_back(*mapped);
  }
  return outputs;
}

} // namespace nibble::arm
