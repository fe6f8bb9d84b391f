//===- Doctor.cpp - nibble doctor ------------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Export/Arm/ArmTool.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Runtime/Integer/Interpreter.h"
#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"
#include "lib/Support/Parallel.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

namespace nibble::cli {

static void printPart(llvm::StringRef part, llvm::StringRef state, llvm::StringRef where) {
  llvm::outs() << llvm::left_justify(part, 18) << state;
  if (!where.empty())
    llvm::outs() << "  " << where;
  llvm::outs() << '\n';
}

/// Message and notes of an error, indented as what explains an absent part.
static void printReason(llvm::Error error) {
  llvm::handleAllErrors(std::move(error), [](const NibbleError &e) {
    llvm::outs() << "  " << e.message << '\n';
    for (const std::string &note : e.notes)
      llvm::outs() << "  " << note << '\n';
  });
}

static void diagnoseVendorLibraries(llvm::StringRef qnnFolder) {
  llvm::Expected<vendor::VendorLibraries> libraries = vendor::findVendorLibraries(qnnFolder);
  if (!libraries) {
    printPart("onnxruntime", "absent", "");
    printPart("onnxruntime-qnn", "absent", "");
    printReason(libraries.takeError());
    return;
  }
  printPart("onnxruntime", libraries->onnxRuntimeVersion, libraries->onnxRuntimeLibrary);
  if (llvm::Error error = vendor::requireQnn(*libraries)) {
    printPart("onnxruntime-qnn", "absent", "");
    printReason(std::move(error));
  } else {
    printPart("onnxruntime-qnn", libraries->qnnPackageVersion + " (QNN " + libraries->qnnVersion + ")",
              libraries->qnnFolder);
  }
  printPart("found by", libraries->foundBy, "");
}

static void diagnoseArmTool(llvm::StringRef part, llvm::Expected<arm::ArmTool> tool) {
  if (!tool) {
    printPart(part, "absent", "");
    printReason(tool.takeError());
    return;
  }
  printPart(part, tool->version, tool->program);
  printPart("found by", tool->foundBy, "");
}

/// Lists what is there. What is absent is listed as absent, so this never fails for it.
static void diagnose(llvm::StringRef qnnFolder) {
  printPart("nibble", NIBBLE_VERSION, "");
  printPart("threads", std::to_string(getThreadCount()), "");
  printPart("integer kernel", runtime::integerKernelName(), "");
  llvm::Expected<std::string> configs = findConfigFolder();
  printPart("configurations", configs ? "found" : "absent", configs ? *configs : "");
  if (!configs)
    printReason(configs.takeError());
  diagnoseVendorLibraries(qnnFolder);
  diagnoseArmTool("vela", arm::findVela());
  diagnoseArmTool("tosa model", arm::findReferenceModel());
}

void registerDoctorCommand(CLI::App &app, int &exitCode) {
  auto qnnFolder = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("doctor", "List the parts that are installed, and how to get the others");
  command->add_option("--qnn-dir", *qnnFolder, "Folder of onnxruntime-qnn, where it is not found by itself");
  command->callback([qnnFolder, &exitCode] {
    diagnose(*qnnFolder);
    exitCode = 0;
  });
}

} // namespace nibble::cli
