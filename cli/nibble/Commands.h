//===- Commands.h - the subcommands of nibble ------------------------------===//
//
// One file per subcommand. A register function adds its command to `app`; the command's callback
// stores the program's exit code in `exitCode`.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CLI_NIBBLE_COMMANDS_H
#define NIBBLE_CLI_NIBBLE_COMMANDS_H

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace nibble::cli {

/// The arguments of the program as typed, program name first; set by main before a command runs.
std::vector<std::string> &commandLine();

void registerCompileCommand(CLI::App &app, int &exitCode);
void registerRecipesCommand(CLI::App &app, int &exitCode);
void registerRunCommand(CLI::App &app, int &exitCode);
void registerSampleCommand(CLI::App &app, int &exitCode);
void registerTargetsCommand(CLI::App &app, int &exitCode);
void registerDoctorCommand(CLI::App &app, int &exitCode);
void registerInspectCommand(CLI::App &app, int &exitCode);
void registerStatsCommand(CLI::App &app, int &exitCode);
void registerVerifyCommand(CLI::App &app, int &exitCode);

} // namespace nibble::cli

#endif
