#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Export/Vendor/OrtSession.h"

namespace nibble::vendor {

namespace {
class LoadedCpuSession final : public CpuSession {
public:
  explicit LoadedCpuSession(std::unique_ptr<OrtSession> session) : session(std::move(session)) {
    for (const TensorInfo &info : this->session->inputs())
      inputs.push_back(info.name);
    for (const TensorInfo &info : this->session->outputs())
      outputs.push_back(info.name);
  }
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> tensors) override { return session->run(tensors); }
  llvm::ArrayRef<std::string> inputNames() const override { return inputs; }
  llvm::ArrayRef<std::string> outputNames() const override { return outputs; }

private:
  std::unique_ptr<OrtSession> session;
  std::vector<std::string> inputs, outputs;
};
} // namespace

/// The order of ONNX Runtime's sums follows its number of threads, and reports hold its figures, so the number is the
/// same whatever Nibble's own is.
static constexpr int sessionThreads = 2;

static SessionSettings cpuSettings(bool optimize) {
  SessionSettings settings;
  settings.optimize = optimize;
  settings.threads = sessionThreads;
  // Waiting threads that spin would take the processor from Nibble's own.
  settings.configEntries = {{"session.intra_op.allow_spinning", "0"}};
  return settings;
}

static llvm::Expected<std::unique_ptr<CpuSession>> wrap(llvm::Expected<std::unique_ptr<OrtSession>> session) {
  if (!session)
    return session.takeError();
  return std::make_unique<LoadedCpuSession>(std::move(*session));
}

llvm::Expected<std::unique_ptr<CpuSession>> CpuSession::fromMemory(const VendorLibraries &libraries,
                                                                   llvm::StringRef modelBytes, bool optimize) {
  llvm::Expected<OrtRuntime *> runtime = OrtRuntime::load(libraries.onnxRuntimeLibrary);
  if (!runtime)
    return runtime.takeError();
  return wrap(OrtSession::fromMemory(**runtime, modelBytes, cpuSettings(optimize)));
}

llvm::Expected<std::unique_ptr<CpuSession>> CpuSession::fromFile(const VendorLibraries &libraries, llvm::StringRef path,
                                                                 bool optimize) {
  llvm::Expected<OrtRuntime *> runtime = OrtRuntime::load(libraries.onnxRuntimeLibrary);
  if (!runtime)
    return runtime.takeError();
  return wrap(OrtSession::fromFile(**runtime, path, cpuSettings(optimize)));
}

} // namespace nibble::vendor
