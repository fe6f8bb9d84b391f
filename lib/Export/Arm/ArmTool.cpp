#include "lib/Export/Arm/ArmTool.h"
#include "lib/Support/Error.h"
#include "lib/Support/WorkFolder.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cstdlib>
#include <unistd.h>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::arm {

namespace {
/// What is looked for.
struct Wanted {
  llvm::StringLiteral program;
  /// The Python package that brings it, with the version whose behaviour was measured.
  llvm::StringLiteral package;
  /// What `program --version` says, after `versionPrefix`.
  llvm::StringLiteral version, versionPrefix;
  llvm::StringLiteral variable;
};
} // namespace

static constexpr Wanted referenceModel = {"tosa_reference_model", "tosa-tools==2026.8.0", "1.1.0d", "Model version ",
                                          "NIBBLE_TOSA_REFERENCE_MODEL"};
static constexpr Wanted vela = {"vela", "ethos-u-vela==5.2.0", "5.2.0", "", "NIBBLE_VELA"};

/// Asking for a version takes a tenth of a second.
static constexpr unsigned versionTimeLimit = 60;

static std::string inFolder(llvm::StringRef folder, const llvm::Twine &a, const llvm::Twine &b = "",
                        const llvm::Twine &c = "") {
  llvm::SmallString<128> result(folder);
  path::append(result, a, b, c);
  return std::string(result);
}

static std::string environmentValue(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

std::string armEnvironmentFolder() {
  if (std::string folder = environmentValue("NIBBLE_ARM_VENV"); !folder.empty())
    return folder;
  if (std::string folder = environmentValue("NIBBLE_CACHE_DIR"); !folder.empty())
    return inFolder(folder, "arm-venv");
  return inFolder(environmentValue("HOME"), ".cache/nibble", "arm-venv");
}

/// The program itself where the package has one (its entry point in bin/ is a script that starts it as another
/// process, which would outlive a time limit), else the entry point. Empty where there is none.
static std::string findInEnvironment(llvm::StringRef environment, llvm::StringRef program) {
  std::error_code error;
  std::vector<std::string> found;
  for (fs::directory_iterator it(inFolder(environment, "lib"), error), end; !error && it != end; it.increment(error))
    if (std::string file = inFolder(it->path(), "site-packages", "bin", program); fs::can_execute(file))
      found.push_back(file);
  if (!found.empty())
    return *llvm::max_element(found);
  std::string file = inFolder(environment, "bin", program);
  return fs::can_execute(file) ? file : "";
}

static std::string findInPath(llvm::StringRef program) {
  llvm::ErrorOr<std::string> file = llvm::sys::findProgramByName(program);
  return file ? *file : "";
}

static std::vector<std::string> remedies(const Wanted &wanted) {
  return {"install it: ./bootstrap, or in a virtual environment: pip install " + wanted.package.str(),
          "or name it with " + wanted.variable.str()};
}

/// Errors: Unsupported where the program does not say the wanted version.
static llvm::Error checkVersion(const Wanted &wanted, ArmTool &tool) {
  llvm::Expected<ProgramResult> result = runProgram(tool.program, {"--version"}, versionTimeLimit);
  if (!result)
    return result.takeError();
  // The reference model aborts after it has said its version, as it was given no work: the code says nothing.
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(result->output).split(lines, '\n');
  for (llvm::StringRef line : lines)
    if (line.consume_front(wanted.versionPrefix)) {
      tool.version = line.trim().str();
      break;
    }
  if (tool.version == wanted.version)
    return llvm::Error::success();
  return makeError(ErrorKind::Unsupported,
                   "wanted " + wanted.program + " of version " + wanted.version + ", found " +
                       (tool.version.empty() ? "one that tells no version" : "version " + tool.version) + " in '" +
                       tool.program + "'",
                   remedies(wanted));
}

static llvm::Expected<ArmTool> find(const Wanted &wanted) {
  ArmTool tool;
  // A program that was named and is not there is a mistake to report, not to look past.
  if (std::string named = environmentValue(wanted.variable.data()); !named.empty()) {
    tool.program = fs::is_directory(named) ? inFolder(named, wanted.program) : named;
    tool.foundBy = wanted.variable.str();
    if (!fs::can_execute(tool.program))
      return makeError(ErrorKind::Unsupported,
                       wanted.variable + ": wanted the program " + wanted.program + " or its folder, found none at '" +
                           named + "'",
                       {remedies(wanted).front()});
  } else {
    std::string active = environmentValue("VIRTUAL_ENV");
    std::pair<std::string, const char *> candidates[] = {
        {active.empty() ? "" : findInEnvironment(active, wanted.program), "active venv"},
        {findInEnvironment(armEnvironmentFolder(), wanted.program), "set-up venv"},
        {findInPath(wanted.program), "PATH"}};
    for (auto &[program, rule] : candidates)
      if (tool.program.empty() && !program.empty()) {
        tool.program = program;
        tool.foundBy = rule;
      }
    if (tool.program.empty()) {
      std::vector<std::string> notes = remedies(wanted);
      notes.insert(notes.begin(), "looked in the active virtual environment, '" + armEnvironmentFolder() + "' and PATH");
      return makeError(ErrorKind::Unsupported, wanted.program + " is not installed", std::move(notes));
    }
  }
  if (llvm::Error error = checkVersion(wanted, tool))
    return std::move(error);
  return tool;
}

llvm::Expected<ArmTool> findReferenceModel() { return find(referenceModel); }
llvm::Expected<ArmTool> findVela() { return find(vela); }

llvm::Expected<ProgramResult> runProgram(llvm::StringRef program, llvm::ArrayRef<std::string> arguments,
                                         unsigned timeLimitSeconds) {
  llvm::Expected<WorkFolder> folder = WorkFolder::create("");
  if (!folder)
    return folder.takeError();
  std::string output = folder->file("output");
  llvm::SmallVector<llvm::StringRef> words = {program};
  llvm::append_range(words, arguments);
  llvm::SmallVector<llvm::StringRef> environment;
  for (char **entry = environ; *entry; ++entry)
    if (!llvm::StringRef(*entry).starts_with("PATH="))
      environment.push_back(*entry);
  // No compiled Python is left beside the packages.
  environment.push_back("PYTHONDONTWRITEBYTECODE=1");
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef("/dev/null"), llvm::StringRef(output),
                                                llvm::StringRef(output)};
  std::string reason;
  bool failed = false;
  ProgramResult result;
  result.exitCode = llvm::sys::ExecuteAndWait(program, words, environment, redirects, timeLimitSeconds,
                                              /*MemoryLimit=*/0, &reason, &failed);
  if (failed || result.exitCode == -1)
    return makeError(ErrorKind::IO, "cannot run '" + program + "': " + reason);
  if (auto text = llvm::MemoryBuffer::getFile(output))
    result.output = (*text)->getBuffer().str();
  if (result.exitCode == -2 && llvm::StringRef(reason).contains("timed out"))
    return makeError(ErrorKind::Limit, "'" + program + "' took longer than " + llvm::Twine(timeLimitSeconds) +
                                           " s and was stopped");
  return result;
}

} // namespace nibble::arm
