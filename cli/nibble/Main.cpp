//===- Main.cpp - the nibble program ---------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Export/Vendor/VendorWorker.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <csignal>
#include <new>
#include <unistd.h>

using namespace nibble;

std::vector<std::string> &cli::commandLine() {
  static std::vector<std::string> arguments;
  return arguments;
}

/// The program cannot go on, and says so as it says everything else. Nothing here may allocate.
[[noreturn]] static void endWithoutMemory() {
  constexpr llvm::StringLiteral text("error: there is not enough memory\n");
  // Whether it is read by anybody changes nothing now.
  (void)!::write(STDERR_FILENO, text.data(), text.size());
  _exit(static_cast<int>(ErrorKind::Limit));
}

/// What was printed and could not be written is an error, of which the stream's destructor would make an abort.
static int finishOutput(int exitCode) {
  llvm::outs().flush();
  std::error_code error = llvm::outs().error();
  if (!error)
    return exitCode;
  llvm::outs().clear_error();
  int code = reportError(makeError(ErrorKind::IO, "cannot write to the standard output: " + error.message()), llvm::errs());
  return exitCode ? exitCode : code;
}

/// The first argument, where it is neither a command nor an option: CLI11 would only say that a command is missing.
static llvm::Error checkCommand(const CLI::App &app, int argc, char **argv) {
  if (argc < 2)
    return llvm::Error::success();
  std::vector<std::string> names;
  for (const CLI::App *command : app.get_subcommands({}))
    names.push_back(command->get_name());
  llvm::StringRef word = argv[1];
  bool isOption = word.starts_with("-");
  if (isOption ? app.get_option_no_throw(word.str()) != nullptr : llvm::is_contained(names, word))
    return llvm::Error::success();
  std::vector<std::string> notes = {"commands: " + llvm::join(names, ", ")};
  if (std::string nearest = nearestName(word, names); !nearest.empty())
    notes.insert(notes.begin(), "did you mean '" + nearest + "'");
  return makeError(ErrorKind::Usage, (isOption ? "unknown option '" : "unknown command '") + word + "'", std::move(notes));
}

int main(int argc, char **argv) {
  // A closed standard stream would lend its number to the first file that is opened, which then gets the messages.
  if (std::error_code error = llvm::sys::Process::FixupStandardFileDescriptors())
    return static_cast<int>(ErrorKind::IO);
  std::set_new_handler(endWithoutMemory);
  llvm::install_bad_alloc_error_handler([](void *, const char *, bool) { endWithoutMemory(); });
  // A file that grows over the limit of the shell is an error like a full disk, and no reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  // Vendor libraries run in this same program, started again by itself.
  if (std::optional<int> code = vendor::runIfWorker(argc, argv))
    return *code;
  cli::commandLine().assign(argv, argv + argc);
  CLI::App app("Quantizes FP32 ONNX models for NPUs and reports the true accuracy of what it wrote.", "nibble");
  app.set_version_flag("--version", NIBBLE_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  int exitCode = 0;
  cli::registerCompileCommand(app, exitCode);
  cli::registerRecipesCommand(app, exitCode);
  cli::registerTargetsCommand(app, exitCode);
  cli::registerRunCommand(app, exitCode);
  cli::registerSampleCommand(app, exitCode);
  cli::registerDoctorCommand(app, exitCode);
  cli::registerInspectCommand(app, exitCode);
  cli::registerStatsCommand(app, exitCode);
  cli::registerVerifyCommand(app, exitCode);
  if (llvm::Error error = checkCommand(app, argc, argv))
    return reportError(std::move(error), llvm::errs());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);
    llvm::errs() << "error: " << error.what() << "\nnote: see 'nibble --help' and 'nibble COMMAND --help'\n";
    return static_cast<int>(ErrorKind::Usage);
  }
  return finishOutput(exitCode);
}
