//===- Inspect.cpp - nibble inspect ----------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Import/ONNX/Import.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

using namespace nibble;
using onnx_import::GraphValue;
using onnx_import::ModelSummary;

namespace nibble::cli {
namespace {

/// "[batch_size, 4, 16]".
std::string shapeText(const GraphValue &value) {
  std::string text = "[";
  for (size_t axis = 0; axis < value.shape.size(); ++axis) {
    const std::string &symbol = value.symbols[axis];
    text += (axis ? ", " : "") + (symbol.empty() ? std::to_string(value.shape[axis]) : symbol);
  }
  return text + "]";
}

/// Names come from the file: control characters must not reach the terminal.
std::string printable(llvm::StringRef name) {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (char c : name)
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      os << llvm::format("\\x%02x", static_cast<unsigned char>(c));
    else
      os << c;
  return text;
}

void printText(const ModelSummary &summary, llvm::raw_ostream &os) {
  os << "ir version: " << summary.irVersion << '\n';
  for (const auto &[domain, version] : summary.opsets)
    os << "operator set: " << printable(domain) << ' ' << version << '\n';
  if (!summary.producer.empty())
    os << "producer: " << printable(summary.producer) << '\n';
  for (const auto &[title, values] : {std::pair("inputs", &summary.inputs), std::pair("outputs", &summary.outputs)}) {
    os << title << ":\n";
    for (const GraphValue &value : *values)
      os << "  " << printable(value.name) << ": " << value.elementType << ' ' << printable(shapeText(value)) << '\n';
  }
  os << "operators:\n";
  for (const auto &[name, count] : summary.operators)
    os << "  " << printable(name) << ": " << count << '\n';
  os << "parameters: " << summary.parameterCount << '\n';
  for (const auto &[type, bytes] : summary.bytesByElementType)
    os << "  " << type << ": " << bytes << " bytes\n";
  os << "file: " << summary.fileBytes << " bytes\n";
  if (summary.externalBytes)
    os << "external data: " << summary.externalBytes << " bytes\n";
}

llvm::json::Value toJSON(const std::vector<GraphValue> &values) {
  llvm::json::Array result;
  for (const GraphValue &value : values) {
    llvm::json::Array shape;
    for (size_t axis = 0; axis < value.shape.size(); ++axis)
      shape.push_back(value.symbols[axis].empty() ? llvm::json::Value(value.shape[axis])
                                                  : llvm::json::Value(value.symbols[axis]));
    result.push_back(llvm::json::Object{
        {"name", value.name}, {"element_type", value.elementType}, {"shape", std::move(shape)}});
  }
  return result;
}

llvm::json::Object toObject(const std::map<std::string, int64_t> &counts) {
  llvm::json::Object result;
  for (const auto &[name, count] : counts)
    result[name] = count;
  return result;
}

void printJSON(const ModelSummary &summary, llvm::raw_ostream &os) {
  llvm::json::Object opsets;
  for (const auto &[domain, version] : summary.opsets)
    opsets[domain] = version;
  llvm::json::Value document = llvm::json::Object{{"ir_version", summary.irVersion},
                                                  {"operator_sets", std::move(opsets)},
                                                  {"producer", summary.producer},
                                                  {"inputs", toJSON(summary.inputs)},
                                                  {"outputs", toJSON(summary.outputs)},
                                                  {"operators", toObject(summary.operators)},
                                                  {"parameters", summary.parameterCount},
                                                  {"bytes_by_element_type", toObject(summary.bytesByElementType)},
                                                  {"file_bytes", summary.fileBytes},
                                                  {"external_bytes", summary.externalBytes}};
  os << llvm::formatv("{0:2}", document) << '\n';
}

struct Options {
  std::string path;
  bool json = false, check = false;
  std::vector<std::string> bindings;
};

llvm::Error inspect(const Options &options) {
  llvm::Expected<ModelSummary> summary = onnx_import::summarizeModel(options.path);
  if (!summary)
    return summary.takeError();
  if (options.check) {
    auto bindings = onnx_import::parseBindings(options.bindings);
    if (!bindings)
      return bindings.takeError();
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    auto module = onnx_import::importModel(options.path, context, {*bindings});
    if (!module)
      return module.takeError();
  }
  options.json ? printJSON(*summary, llvm::outs()) : printText(*summary, llvm::outs());
  return llvm::Error::success();
}

} // namespace

void registerInspectCommand(CLI::App &app, int &exitCode) {
  CLI::App *command = app.add_subcommand("inspect", "Print what is inside an ONNX model");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->path, "ONNX model")->required();
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("--check", options->check, "Fail if the model has something that 'nibble compile' cannot import");
  command->add_option("--bind", options->bindings, "Value of a symbolic dimension for --check, NAME=VALUE")
      ->needs("--check")
      ->allow_extra_args(false);
  command->callback([options, &exitCode] { exitCode = reportError(inspect(*options), llvm::errs()); });
}

} // namespace nibble::cli
