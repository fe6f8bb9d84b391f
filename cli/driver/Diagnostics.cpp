#include "cli/driver/Diagnostics.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace nibble::driver {

/// The ONNX node that a location names, or a file position, or nothing.
static std::string describe(Location location) {
  if (auto name = location->findInstanceOf<NameLoc>())
    return "node '" + name.getName().str() + "'";
  if (auto position = location->findInstanceOf<FileLineColLoc>())
    return position.getFilename().str() + ":" + std::to_string(position.getLine()) + ":" +
           std::to_string(position.getColumn());
  return {};
}

static std::string render(Diagnostic &diagnostic) {
  std::string where = describe(diagnostic.getLocation());
  std::string text;
  llvm::raw_string_ostream os(text);
  if (!where.empty())
    os << where << ": ";
  os << diagnostic;
  return text;
}

DiagnosticCollector::DiagnosticCollector(MLIRContext &context, llvm::raw_ostream &warnings)
    : warnings(warnings), handler(&context, [this](Diagnostic &diagnostic) { return handle(diagnostic); }) {}

LogicalResult DiagnosticCollector::handle(Diagnostic &diagnostic) {
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    messages.push_back(render(diagnostic));
    for (Diagnostic &note : diagnostic.getNotes())
      notes.push_back(render(note));
    break;
  case DiagnosticSeverity::Warning:
    warnings << "warning: " << render(diagnostic) << '\n';
    break;
  case DiagnosticSeverity::Remark: {
    std::string message;
    llvm::raw_string_ostream(message) << diagnostic;
    auto name = diagnostic.getLocation()->findInstanceOf<NameLoc>();
    trace.push_back({phase, name ? name.getName().str() : std::string(), std::move(message)});
    break;
  }
  case DiagnosticSeverity::Note:
    break;
  }
  return success();
}

llvm::Error DiagnosticCollector::takeError(ErrorKind kind) {
  if (messages.empty())
    return makeError(ErrorKind::Internal, "phase '" + phase + "' failed without saying why");
  std::vector<std::string> rest = std::move(notes);
  // Many nodes may fail for one cause; the first few name it.
  constexpr size_t shownErrors = 10;
  for (size_t i = 1; i < std::min(messages.size(), shownErrors); ++i)
    rest.push_back("also " + messages[i]);
  if (messages.size() > shownErrors)
    rest.push_back("and " + std::to_string(messages.size() - shownErrors) + " more errors");
  std::string first = std::move(messages.front());
  messages.clear();
  notes.clear();
  return makeError(kind, first, std::move(rest));
}

llvm::Error withNote(llvm::Error error, std::string note) {
  return llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> e) {
    e->notes.push_back(std::move(note));
    return llvm::Error(std::move(e));
  });
}

llvm::Error runPasses(DiagnosticCollector &diagnostics, llvm::StringRef name, ModuleOp module, ErrorKind kind,
                      llvm::function_ref<void(OpPassManager &)> build) {
  diagnostics.beginPhase(name);
  PassManager manager(module.getContext());
  build(manager);
  if (failed(manager.run(module)))
    return diagnostics.takeError(kind);
  return llvm::Error::success();
}

} // namespace nibble::driver
