//===- Compile.cpp - nibble compile ----------------------------------------===//
#include "cli/driver/Compile.h"
#include "cli/nibble/Commands.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Support/ErrorContext.h"

#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

namespace nibble::cli {

/// More than any machine has; beyond it threads cannot be made.
static constexpr unsigned maximumThreads = 1024;

static const CLI::Validator isDuration(
    [](std::string &text) {
      double seconds = 0;
      bool isOne = !llvm::StringRef(text).getAsDouble(seconds) && std::isfinite(seconds) && seconds >= 0;
      return isOne ? std::string() : "wanted a number of seconds of at least 0, found '" + text + "'";
    },
    "");

static const CLI::Validator isNotEmpty([](std::string &text) { return text.empty() ? "wanted a command, found nothing" : ""; },
                                       "");

void registerCompileCommand(CLI::App &app, int &exitCode) {
  struct Arguments {
    driver::CompileOptions options;
    std::vector<std::string> bindings, vendorOptions;
    std::string emulateSamples = "4";
    bool noReport = false;
  };
  auto arguments = std::make_shared<Arguments>();
  driver::CompileOptions &options = arguments->options;
  CLI::App *command = app.add_subcommand("compile", "Quantize an ONNX model, emit it for a target, and report its accuracy");
  command->add_option("model", options.modelPath, "FP32 ONNX model")->required();
  // One value each time: `--bind N=1 model.onnx` must leave the model alone.
  auto addRepeatable = [command](const std::string &name, std::vector<std::string> &values, const std::string &help) {
    return command->add_option(name, values, help + " (repeatable)")->allow_extra_args(false);
  };
  addRepeatable("--bind", arguments->bindings, "Deployed value of a symbolic dimension, NAME=VALUE");
  command->add_option("--recipe", options.recipe, "Recipe name (see 'nibble recipes') or a .yaml file")->required();
  command->add_option("--target", options.target, "Target name (see 'nibble targets')")->capture_default_str();
  command->add_option("-o,--output", options.outputFolder, "Folder for everything that is written")->required();
  addRepeatable("--calib", options.calibration,
                "Calibration inputs: folder of .npz, one .npz, .npy of tokens, INPUT=FILE, or random:N; symbolic "
                "dimensions may differ from --bind");
  addRepeatable("--eval", options.evaluation,
                "Evaluation inputs of the deployed shape: folder of .npz, one .npz, .npy of tokens, or INPUT=FILE");
  command->add_option("--stats", options.statisticsPath, "Reuse a statistics file of an earlier run");
  command->add_option("--emit", options.emit, "What to write: qdq, encodings, matmulnbits, tosa, binary (default: all that apply)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"qdq", "encodings", "matmulnbits", "tosa", "binary"}));
  command->add_flag("--no-report", arguments->noReport, "Write no report and evaluate nothing");
  addRepeatable("--metric", options.metrics, "Task metric on --eval: sqnr, psnr, perplexity, kl, top1")
      ->check(CLI::IsMember({"sqnr", "psnr", "perplexity", "kl", "top1"}));
  command->add_option("--metric-cmd", options.metricCommand, "Program that scores two folders of outputs, FP32 and quantized")
      ->check(isNotEmpty);
  addRepeatable("--max-drop", options.maxDrops, "Gate METRIC=VALUE: a larger drop exits with code 6");
  command->add_option("--emulate-samples", arguments->emulateSamples, "Samples run in the vendor's emulation, or 'all'")
      ->capture_default_str();
  command->add_option("--check-seconds", options.checkSeconds,
                      "Seconds for running blocks in the vendor's emulation or in the TOSA reference model")
      ->capture_default_str()
      ->check(isDuration);
  command->add_flag("--file-per-block", options.filePerBlock,
                    "Write a TOSA file for every block of the model, and a binary from each");
  command->add_option("--qnn-dir", options.qnnFolder, "Folder of the onnxruntime-qnn package");
  addRepeatable("--vendor-option", arguments->vendorOptions,
                "Option of the vendor's compiler, NAME=VALUE; a name that is not known is refused");
  command->add_option("--threads", options.threads, "Threads (default: all cores)")
      ->check(CLI::Range(1u, maximumThreads));
  command->add_option("--progress", options.progress, "auto, plain, json or none")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "plain", "json", "none"}));
  command->callback([arguments, command, &exitCode] {
    driver::CompileOptions &options = arguments->options;
    options.commandLine = commandLine();
    if (llvm::Error error = onnx_import::parseBindings(arguments->bindings).moveInto(options.bindings)) {
      exitCode = reportError(std::move(error), llvm::errs());
      return;
    }
    for (llvm::StringRef text : arguments->vendorOptions) {
      auto [name, value] = text.split('=');
      if (name.empty() || value.empty())
        throw CLI::ValidationError("--vendor-option", "wanted NAME=VALUE, found '" + text.str() + "'");
      options.vendorOptions.emplace_back(name.str(), value.str());
    }
    for (const char *name : {"--check-seconds", "--emulate-samples"})
      if (command->count(name))
        options.emulationOption = name;
    llvm::StringRef samples = arguments->emulateSamples;
    if (samples == "all")
      options.emulateSamples = -1;
    else if (samples.getAsInteger(10, options.emulateSamples) || options.emulateSamples < 1)
      throw CLI::ValidationError("--emulate-samples", "wanted a positive number or 'all', found '" + samples.str() + "'");
    options.writeReport = !arguments->noReport;
    auto *report = options.progress == "json" ? reportErrorAsJson : reportError;
    exitCode = report(driver::compile(options), llvm::errs());
  });
}

} // namespace nibble::cli
