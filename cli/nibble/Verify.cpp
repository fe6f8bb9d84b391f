//===- Verify.cpp - nibble verify ------------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Export/TOSA/TosaReader.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Report/Verify.h"
#include "lib/Support/Configs.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

using namespace nibble;

namespace nibble::cli {
namespace {

llvm::Error openModel(llvm::StringRef path) {
  if (path.ends_with(".tosa")) {
    auto file = MappedFile::open(path);
    if (!file)
      return file.takeError();
    return tosa_export::readTosa({(*file)->bytes().data(), (*file)->bytes().size()}).takeError();
  }
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(path);
  return summary ? llvm::Error::success() : summary.takeError();
}

llvm::Error verify(const std::string &folder) {
  llvm::Expected<std::string> configs = findConfigFolder();
  if (!configs)
    return configs.takeError();
  llvm::SmallString<128> schema(*configs);
  llvm::sys::path::append(schema, "schema", "report.schema.json");
  auto schemaFile = MappedFile::open(schema);
  if (!schemaFile)
    return schemaFile.takeError();
  llvm::ArrayRef<char> bytes = (*schemaFile)->bytes();
  report::VerifyOptions options{openModel, std::string(bytes.begin(), bytes.end())};
  llvm::Expected<report::VerifySummary> summary = report::verifyFolder(folder, options);
  if (!summary)
    return summary.takeError();
  llvm::outs() << "verified " << summary->files << " files, " << summary->bytes << " bytes\n";
  return llvm::Error::success();
}

} // namespace

void registerVerifyCommand(CLI::App &app, int &exitCode) {
  CLI::App *command = app.add_subcommand("verify", "Check that an output folder is whole, unchanged and readable");
  auto folder = std::make_shared<std::string>();
  command->add_option("folder", *folder, "Folder that 'nibble compile -o' wrote")->required();
  command->callback([folder, &exitCode] { exitCode = reportError(verify(*folder), llvm::errs()); });
}

} // namespace nibble::cli
