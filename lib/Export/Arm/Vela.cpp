#include "lib/Export/Arm/Vela.h"
#include "lib/Export/TOSA/TosaReader.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"
#include "lib/Support/NearestName.h"
#include "lib/Support/WorkFolder.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <map>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::arm {

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

namespace {
struct KnownOption {
  llvm::StringLiteral name, argument;
  /// Empty where any value may do, which Vela then checks.
  std::vector<std::string> values;
};
} // namespace

static llvm::ArrayRef<KnownOption> knownOptions() {
  static const std::vector<KnownOption> options = {
      {"accelerator_config", "--accelerator-config", {}},
      {"system_config", "--system-config", {}},
      {"memory_mode", "--memory-mode", {}},
      {"vela_config", "--config", {}},
      {"optimise", "--optimise", {"Size", "Performance"}},
      {"arena_cache_size", "--arena-cache-size", {}},
      {"tensor_allocator", "--tensor-allocator", {"HillClimb", "LinearAlloc", "Greedy"}},
      {"cop_format", "--cop-format", {"COP1", "COP2"}},
  };
  return options;
}

llvm::Error checkVelaOptions(const VelaOptions &options) {
  std::vector<std::string> names;
  for (const KnownOption &known : knownOptions())
    names.push_back(known.name.str());
  for (const auto &[name, value] : options) {
    auto known = llvm::find_if(knownOptions(), [&](const KnownOption &option) { return option.name == name; });
    if (known == knownOptions().end()) {
      std::string nearest = nearestName(name, names);
      return makeError(ErrorKind::Usage, "Vela has no option '" + name + "' that can be set here",
                       {nearest.empty() ? "known: " + llvm::join(names, ", ") : "did you mean '" + nearest + "'"});
    }
    if (!known->values.empty() && !llvm::is_contained(known->values, value))
      return makeError(ErrorKind::Usage, "option '" + name + "' of Vela cannot be '" + value + "'",
                       {"known: " + llvm::join(known->values, ", ")});
    uint64_t bytes = 0;
    if (name == "arena_cache_size" && llvm::StringRef(value).getAsInteger(10, bytes))
      return makeError(ErrorKind::Usage, "option 'arena_cache_size' of Vela wants a number of bytes, found '" + value + "'");
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

/// What Vela says last: the exception that ends its Python trace, with the lines that belong to it, in one line.
static std::string lastMessage(llvm::StringRef output) {
  llvm::SmallVector<llvm::StringRef> lines;
  output.split(lines, '\n');
  std::string message;
  for (llvm::StringRef line : lines) {
    llvm::StringRef word = line.take_while([](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; });
    bool isException = (word.ends_with("Error") || word.ends_with("Exception")) && line.substr(word.size()).starts_with(":");
    if (isException)
      message = line.substr(word.size() + 1).trim().str();
    else if (!message.empty() && !line.trim().empty())
      message += " " + line.trim().str();
  }
  return message;
}

/// The schema's name of an operation that Vela calls `velaName`.
static std::string toSchemaName(llvm::StringRef velaName) {
  std::string name = llvm::StringSwitch<std::string>(velaName)
                         .Case("And", "BITWISE_AND")
                         .Case("Or", "BITWISE_OR")
                         .Case("Xor", "BITWISE_XOR")
                         .Case("Not", "BITWISE_NOT")
                         .Case("Div", "INTDIV")
                         .Case("Asr", "ARITHMETIC_RIGHT_SHIFT")
                         .Case("SHL", "LOGICAL_LEFT_SHIFT")
                         .Case("SHR", "LOGICAL_RIGHT_SHIFT")
                         .Default("");
  return name.empty() ? velaName.upper() : name;
}

static bool isSameOperation(llvm::StringRef schemaName, llvm::StringRef wanted) {
  if (schemaName == wanted)
    return true;
  std::string joined;
  for (char c : schemaName)
    if (c != '_')
      joined += c;
  return joined == wanted;
}

/// The operator that a message is about: "... operation (MatMul) could ..." or "Validation error: Add: - ...".
static llvm::StringRef operatorIn(llvm::StringRef message) {
  if (size_t open = message.find("operation ("); open != llvm::StringRef::npos)
    return message.substr(open).split('(').second.split(')').first;
  if (size_t error = message.find("Validation error: "); error != llvm::StringRef::npos)
    return message.substr(error).split(": ").second.split(':').first.trim("- ");
  return {};
}

/// Nodes whose operation Vela named; it does not say which of them it means.
static std::vector<std::string> nodesOf(llvm::StringRef operation, llvm::StringRef tosaPath) {
  constexpr size_t shown = 8;
  auto file = MappedFile::open(tosaPath);
  if (!file || operation.empty()) {
    llvm::consumeError(file.takeError());
    return {};
  }
  llvm::Expected<tosa_export::TosaContents> contents =
      tosa_export::readTosa({(*file)->bytes().data(), (*file)->bytes().size()});
  if (!contents) {
    llvm::consumeError(contents.takeError());
    return {};
  }
  std::vector<std::string> nodes;
  std::string wanted = toSchemaName(operation);
  for (const tosa_export::TosaContents::Operator &op : contents->operators)
    if (isSameOperation(op.operation, wanted) && !llvm::is_contained(nodes, op.node))
      nodes.push_back(op.node);
  if (nodes.empty())
    return {};
  size_t rest = nodes.size() - std::min(nodes.size(), shown);
  nodes.resize(nodes.size() - rest);
  return {"nodes with this operator: '" + llvm::join(nodes, "', '") + "'" +
          (rest ? " and " + std::to_string(rest) + " more" : "")};
}

static llvm::Error refusal(const ProgramResult &result, const Target &target, llvm::StringRef tosaPath) {
  std::string message = lastMessage(result.output);
  if (message.empty())
    message = result.exitCode < 0 ? "it was ended by a signal" : "it gave no reason";
  return makeError(ErrorKind::Unsupported,
                   "Vela cannot compile '" + path::filename(tosaPath) + "' for '" + target.name + "': " + message,
                   nodesOf(operatorIn(message), tosaPath));
}

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

static llvm::Expected<std::vector<std::string>> argumentsFor(const Target &target, const VelaOptions &options) {
  if (llvm::Error error = checkVelaOptions(options))
    return std::move(error);
  std::map<std::string, std::string> values = target.backendOptions;
  for (const auto &[name, value] : options)
    values[name] = value;
  std::vector<std::string> arguments;
  for (const KnownOption &known : knownOptions())
    if (auto found = values.find(known.name.str()); found != values.end()) {
      arguments.push_back(known.argument.str());
      arguments.push_back(found->second);
    }
  return arguments;
}

static llvm::Expected<std::string> readText(llvm::StringRef file) {
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return makeError(ErrorKind::Unsupported,
                     "Vela did not write '" + path::filename(file) + "': " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

llvm::Expected<VelaBinary> compileWithVela(const ArmTool &tool, const Target &target, const VelaOptions &options,
                                           llvm::StringRef tosaPath, llvm::StringRef binaryPath,
                                           unsigned timeLimitSeconds) {
  llvm::Expected<std::vector<std::string>> arguments = argumentsFor(target, options);
  if (!arguments)
    return arguments.takeError();
  // Beside the binary, so that it can be moved there in one step.
  llvm::StringRef parent = path::parent_path(binaryPath);
  llvm::Expected<WorkFolder> folder = WorkFolder::create(parent.empty() ? "." : parent);
  if (!folder)
    return folder.takeError();
  llvm::SmallString<128> input(tosaPath);
  if (std::error_code error = fs::make_absolute(input))
    return makeError(ErrorKind::IO, "cannot find '" + tosaPath + "': " + error.message());
  // Vela names its files after its input, and takes one that is named as it likes.
  std::string link = folder->file("network.tosa");
  if (std::error_code error = fs::create_link(input, link))
    return makeError(ErrorKind::IO, "cannot link '" + tosaPath + "': " + error.message());
  for (const char *argument : {"--output-format", "raw", "--verbose-performance", "--output-dir"})
    arguments->push_back(argument);
  arguments->push_back(folder->str());
  arguments->push_back(link);
  llvm::Expected<ProgramResult> result = runProgram(tool.program, *arguments, timeLimitSeconds);
  if (!result)
    return result.takeError();
  if (result->exitCode != 0)
    return refusal(*result, target, tosaPath);

  VelaBinary binary;
  std::string system = target.backendOptions.count("system_config") ? target.backendOptions.at("system_config") : "";
  for (const auto &[name, value] : options)
    if (name == "system_config")
      system = value;
  llvm::Expected<std::string> summary = readText(folder->file("network_summary_" + system + ".csv"));
  if (!summary)
    return summary.takeError();
  llvm::Expected<std::string> layers = readText(folder->file("network_per-layer.csv"));
  if (!layers)
    return layers.takeError();
  if (llvm::Error error = parseVelaFigures(*summary, *layers, result->output).moveInto(binary.figures))
    return std::move(error);
  binary.path = binaryPath.str();
  std::string written = folder->file("network_vela.npz");
  if (std::error_code error = fs::file_size(written, binary.bytes))
    return makeError(ErrorKind::Unsupported, "Vela wrote no binary: " + error.message());
  if (std::error_code error = fs::rename(written, binary.path))
    return makeError(ErrorKind::IO, "cannot write '" + binaryPath + "': " + error.message());
  return binary;
}

} // namespace nibble::arm
