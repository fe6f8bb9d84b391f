#include "cli/driver/Diagnostics.h"
#include "lib/Dialect/NN/Diagnostics.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "mlir/Pass/PassInstrumentation.h"
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

/// `said` is where the reader already is: a note about the same place, or a message that names its node itself,
/// does not repeat it.
static std::string render(Diagnostic &diagnostic, std::optional<Location> said = std::nullopt) {
  std::string message = diagnostic.str();
  bool isPlaced = said == diagnostic.getLocation() || llvm::StringRef(message).starts_with("node '");
  std::string where = isPlaced ? std::string() : describe(diagnostic.getLocation());
  return where.empty() ? message : where + ": " + message;
}

DiagnosticCollector::DiagnosticCollector(MLIRContext &context, std::function<void(llvm::StringRef)> warn)
    : warn(std::move(warn)), handler(&context, [this](Diagnostic &diagnostic) { return handle(diagnostic); }) {
  // The operation that MLIR would print as a note is for those who work on passes, and may be the whole module.
  context.printOpOnDiagnostic(false);
}

LogicalResult DiagnosticCollector::handle(Diagnostic &diagnostic) {
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    isBadInput |= nn::isMarkedAsBadInput(diagnostic);
    messages.push_back(render(diagnostic));
    for (Diagnostic &note : diagnostic.getNotes())
      if (std::string text = render(note, diagnostic.getLocation()); !llvm::is_contained(notes, text))
        notes.push_back(std::move(text));
    break;
  case DiagnosticSeverity::Warning:
    warn(render(diagnostic));
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
  return makeError(std::exchange(isBadInput, false) ? ErrorKind::BadInput : kind, first, std::move(rest));
}

llvm::Error withNote(llvm::Error error, std::string note) {
  return llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> e) {
    e->notes.push_back(std::move(note));
    return llvm::Error(std::move(e));
  });
}

namespace {
/// Counts the passes that have run.
class PassCounter : public PassInstrumentation {
public:
  explicit PassCounter(Progress &progress) : progress(progress) {}
  void runAfterPass(Pass *, Operation *op) override {
    if (isa<ModuleOp>(op))
      progress.advance();
  }

private:
  Progress &progress;
};
} // namespace

llvm::Error runPasses(DiagnosticCollector &diagnostics, Progress *progress, llvm::StringRef name, ModuleOp module,
                      ErrorKind kind, llvm::function_ref<void(OpPassManager &)> build) {
  diagnostics.beginPhase(name);
  PassManager manager(module.getContext());
  build(manager);
  if (progress) {
    progress->begin(name, static_cast<int64_t>(manager.size()), "pass");
    manager.addInstrumentation(std::make_unique<PassCounter>(*progress));
  }
  if (failed(manager.run(module)))
    return diagnostics.takeError(kind);
  return llvm::Error::success();
}

} // namespace nibble::driver
