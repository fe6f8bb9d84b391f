#include "lib/Export/Vendor/OrtSession.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>
#include <dlfcn.h>
#include <mutex>

namespace nibble::vendor {

/// Every failure also comes back as a status, so what the runtime would print is dropped.
static void dropLog(void *, int, const char *, const char *, const char *, const char *) {}

llvm::Expected<OrtRuntime *> OrtRuntime::load(llvm::StringRef libraryPath) {
  static std::mutex mutex;
  static std::vector<std::pair<std::string, OrtRuntime *>> loaded;
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &[path, runtime] : loaded)
    if (path == libraryPath)
      return runtime;

  std::string path = libraryPath.str();
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return makeError(ErrorKind::Unsupported, "cannot load ONNX Runtime: " + llvm::Twine(dlerror()));
  auto getBase = reinterpret_cast<const ort::ApiBase *(*)()>(dlsym(library, "OrtGetApiBase"));
  if (!getBase)
    return makeError(ErrorKind::Unsupported, "'" + path + "' is not ONNX Runtime: it has no symbol OrtGetApiBase");
  const ort::ApiBase *base = getBase();
  std::unique_ptr<OrtRuntime> runtime(new OrtRuntime);
  runtime->version = base->getVersionString();
  runtime->api = base->getApi(ort::apiVersion);
  if (!runtime->api)
    return makeError(ErrorKind::Unsupported, "wanted ONNX Runtime 1." + llvm::Twine(ort::apiVersion) +
                                                 " or newer, found " + runtime->version + " in '" + path + "'");
  if (llvm::Error error = runtime->check(
          runtime->api->createEnvWithCustomLogger(dropLog, nullptr, ort::LogError, "nibble", &runtime->env),
          "cannot start ONNX Runtime"))
    return std::move(error);
  loaded.emplace_back(path, runtime.get());
  return runtime.release();
}

static ErrorKind kindOf(int code) {
  switch (code) {
  case ort::InvalidArgument:
  case ort::NoModel:
  case ort::InvalidProtobuf:
  case ort::InvalidGraph:
    return ErrorKind::BadInput;
  case ort::NoSuchFile:
    return ErrorKind::IO;
  case ort::Fail:
  case ort::NotImplemented:
  case ort::ExecutionProviderFail:
    return ErrorKind::Unsupported;
  default:
    return ErrorKind::Internal;
  }
}

llvm::Error OrtRuntime::check(ort::Status *status, const llvm::Twine &what) const {
  if (!status)
    return llvm::Error::success();
  ErrorKind kind = kindOf(api->getErrorCode(status));
  std::string message = llvm::StringRef(api->getErrorMessage(status)).trim().str();
  api->releaseStatus(status);
  llvm::replace(message, '\n', ' ');
  return makeError(kind, what + ": onnxruntime says: " + message);
}

static std::optional<ElementType> fromKind(int kind) {
  switch (kind) {
  case ort::Float32: return ElementType::F32;
  case ort::Float64: return ElementType::F64;
  case ort::Float16: return ElementType::F16;
  case ort::BFloat16: return ElementType::BF16;
  case ort::Int4: return ElementType::I4;
  case ort::UInt4: return ElementType::U4;
  case ort::Int8: return ElementType::I8;
  case ort::UInt8: return ElementType::U8;
  case ort::Int16: return ElementType::I16;
  case ort::UInt16: return ElementType::U16;
  case ort::Int32: return ElementType::I32;
  case ort::UInt32: return ElementType::U32;
  case ort::Int64: return ElementType::I64;
  case ort::UInt64: return ElementType::U64;
  case ort::Bool: return ElementType::Bool;
  default: return std::nullopt;
  }
}

static int toKind(ElementType type) {
  switch (type) {
  case ElementType::F32: return ort::Float32;
  case ElementType::F64: return ort::Float64;
  case ElementType::F16: return ort::Float16;
  case ElementType::BF16: return ort::BFloat16;
  case ElementType::I4: return ort::Int4;
  case ElementType::U4: return ort::UInt4;
  case ElementType::I8: return ort::Int8;
  case ElementType::U8: return ort::UInt8;
  case ElementType::I16: return ort::Int16;
  case ElementType::U16: return ort::UInt16;
  case ElementType::I32: return ort::Int32;
  case ElementType::U32: return ort::UInt32;
  case ElementType::I64: return ort::Int64;
  case ElementType::U64: return ort::UInt64;
  case ElementType::Bool: return ort::Bool;
  }
  llvm_unreachable("all element types are covered");
}

static llvm::Error appendProvider(OrtRuntime &runtime, ort::SessionOptions *options, const SessionSettings &settings) {
  const ort::EpDevice *const *devices = nullptr;
  size_t count = 0;
  if (llvm::Error error = runtime.check(runtime.api->getEpDevices(runtime.env, &devices, &count),
                                        "cannot list execution providers"))
    return error;
  std::vector<const ort::EpDevice *> chosen;
  for (size_t i = 0; i < count; ++i)
    if (settings.executionProvider == runtime.api->epDeviceEpName(devices[i]))
      chosen.push_back(devices[i]);
  if (chosen.empty())
    return makeError(ErrorKind::Unsupported, "execution provider " + settings.executionProvider + " has no device here");
  std::vector<const char *> keys, values;
  for (auto &[key, value] : settings.providerOptions) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  return runtime.check(runtime.api->appendExecutionProviderV2(options, runtime.env, chosen.data(), chosen.size(),
                                                              keys.data(), values.data(), keys.size()),
                       "cannot use execution provider " + settings.executionProvider);
}

llvm::Expected<std::unique_ptr<OrtSession>> OrtSession::create(OrtRuntime &runtime, const SessionSettings &settings,
                                                               llvm::StringRef what, const void *bytes, size_t size,
                                                               const char *path) {
  const ort::Api &api = *runtime.api;
  ort::SessionOptions *options = nullptr;
  if (llvm::Error error = runtime.check(api.createSessionOptions(&options), what))
    return std::move(error);
  llvm::scope_exit releaseOptions([&] { api.releaseSessionOptions(options); });
  int level = settings.optimize ? ort::EnableAllOptimizations : ort::DisableAllOptimizations;
  if (llvm::Error error = runtime.check(api.setSessionGraphOptimizationLevel(options, level), what))
    return std::move(error);
  if (llvm::Error error = runtime.check(api.setIntraOpNumThreads(options, settings.threads), what))
    return std::move(error);
  if (llvm::Error error = runtime.check(api.setDeterministicCompute(options, true), what))
    return std::move(error);
  for (auto &[key, value] : settings.configEntries)
    if (llvm::Error error = runtime.check(api.addSessionConfigEntry(options, key.c_str(), value.c_str()), what))
      return std::move(error);
  if (!settings.executionProvider.empty())
    if (llvm::Error error = appendProvider(runtime, options, settings))
      return std::move(error);

  std::unique_ptr<OrtSession> session(new OrtSession(runtime));
  ort::Status *status = path ? api.createSession(runtime.env, path, options, &session->session)
                             : api.createSessionFromArray(runtime.env, bytes, size, options, &session->session);
  if (llvm::Error error = runtime.check(status, what))
    return std::move(error);
  if (llvm::Error error = session->readInfos())
    return std::move(error);
  return session;
}

llvm::Expected<std::unique_ptr<OrtSession>>
OrtSession::fromMemory(OrtRuntime &runtime, llvm::StringRef modelBytes, const SessionSettings &settings) {
  return create(runtime, settings, "cannot load the model", modelBytes.data(), modelBytes.size(), nullptr);
}

llvm::Expected<std::unique_ptr<OrtSession>> OrtSession::fromFile(OrtRuntime &runtime, llvm::StringRef path,
                                                                 const SessionSettings &settings) {
  std::string terminated = path.str();
  return create(runtime, settings, "cannot load '" + terminated + "'", nullptr, 0, terminated.c_str());
}

OrtSession::~OrtSession() {
  if (session)
    runtime.api->releaseSession(session);
}

llvm::Expected<std::pair<ElementType, Shape>> OrtSession::describe(const ort::TensorInfo *info,
                                                                   const llvm::Twine &what) const {
  const ort::Api &api = *runtime.api;
  int kind = 0;
  size_t rank = 0;
  if (llvm::Error error = runtime.check(api.getTensorElementType(info, &kind), what))
    return std::move(error);
  if (llvm::Error error = runtime.check(api.getDimensionsCount(info, &rank), what))
    return std::move(error);
  Shape shape(rank);
  if (llvm::Error error = runtime.check(api.getDimensions(info, shape.data(), rank), what))
    return std::move(error);
  std::optional<ElementType> type = fromKind(kind);
  if (!type)
    return makeError(ErrorKind::Unsupported, what + ": element type " + llvm::Twine(kind) +
                                                 " of onnxruntime is neither a number nor a boolean");
  return std::make_pair(*type, shape);
}

llvm::Error OrtSession::readInfos() {
  const ort::Api &api = *runtime.api;
  ort::Allocator *allocator = nullptr;
  if (llvm::Error error = runtime.check(api.getAllocatorWithDefaultOptions(&allocator), "cannot allocate"))
    return error;
  for (bool isInput : {true, false}) {
    llvm::StringRef what = isInput ? "cannot read the model's inputs" : "cannot read the model's outputs";
    size_t count = 0;
    if (llvm::Error error = runtime.check(isInput ? api.sessionGetInputCount(session, &count)
                                                  : api.sessionGetOutputCount(session, &count), what))
      return error;
    for (size_t i = 0; i < count; ++i) {
      TensorInfo info;
      char *text = nullptr;
      if (llvm::Error error = runtime.check(isInput ? api.sessionGetInputName(session, i, allocator, &text)
                                                    : api.sessionGetOutputName(session, i, allocator, &text), what))
        return error;
      info.name = text;
      if (llvm::Error error = runtime.check(api.allocatorFree(allocator, text), what))
        return error;
      ort::TypeInfo *typeInfo = nullptr;
      if (llvm::Error error = runtime.check(isInput ? api.sessionGetInputTypeInfo(session, i, &typeInfo)
                                                    : api.sessionGetOutputTypeInfo(session, i, &typeInfo), what))
        return error;
      llvm::scope_exit release([&] { api.releaseTypeInfo(typeInfo); });
      const ort::TensorInfo *tensorInfo = nullptr;
      if (llvm::Error error = runtime.check(api.castTypeInfoToTensorInfo(typeInfo, &tensorInfo), what))
        return error;
      if (!tensorInfo)
        return makeError(ErrorKind::Unsupported, "'" + info.name + "' is not a tensor");
      auto described = describe(tensorInfo, what);
      if (!described)
        return described.takeError();
      std::tie(info.elementType, info.shape) = *described;
      (isInput ? inputInfos : outputInfos).push_back(std::move(info));
    }
  }
  return llvm::Error::success();
}

llvm::Error OrtSession::checkInputs(llvm::ArrayRef<Tensor> tensors) const {
  if (tensors.size() != inputInfos.size())
    return makeError(ErrorKind::BadInput, "wanted " + llvm::Twine(inputInfos.size()) + " inputs, found " +
                                              llvm::Twine(tensors.size()));
  for (auto [info, tensor] : llvm::zip_equal(inputInfos, tensors)) {
    bool fits = info.elementType == tensor.elementType() && info.shape.size() == tensor.shape().size();
    for (size_t i = 0; fits && i < info.shape.size(); ++i)
      fits = info.shape[i] < 0 || info.shape[i] == tensor.shape()[i];
    if (!fits)
      return makeError(ErrorKind::BadInput,
                       "input '" + info.name + "': wanted " + name(info.elementType) + formatShape(info.shape) +
                           ", found " + name(tensor.elementType()) + formatShape(tensor.shape()));
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<Tensor>> OrtSession::run(llvm::ArrayRef<Tensor> tensors) {
  if (llvm::Error error = checkInputs(tensors))
    return std::move(error);
  const ort::Api &api = *runtime.api;
  ort::MemoryInfo *memory = nullptr;
  if (llvm::Error error =
          runtime.check(api.createCpuMemoryInfo(ort::DeviceAllocator, ort::DefaultMemory, &memory), "cannot run"))
    return std::move(error);
  std::vector<ort::Value *> inputValues(tensors.size()), outputValues(outputInfos.size());
  llvm::scope_exit release([&] {
    for (ort::Value *value : llvm::concat<ort::Value *>(inputValues, outputValues))
      if (value)
        api.releaseValue(value);
    api.releaseMemoryInfo(memory);
  });

  std::vector<const char *> inputNames, outputNames;
  for (const TensorInfo &info : outputInfos)
    outputNames.push_back(info.name.c_str());
  for (size_t i = 0; i < tensors.size(); ++i) {
    inputNames.push_back(inputInfos[i].name.c_str());
    // The runtime only reads inputs, although its interface takes a pointer to mutable bytes.
    if (llvm::Error error = runtime.check(
            api.createTensorWithData(memory, const_cast<void *>(tensors[i].raw()),
                                     static_cast<size_t>(tensors[i].byteSize()), tensors[i].shape().data(),
                                     tensors[i].shape().size(), toKind(tensors[i].elementType()), &inputValues[i]),
            "cannot pass input '" + inputInfos[i].name + "'"))
      return std::move(error);
  }
  if (llvm::Error error = runtime.check(api.run(session, nullptr, inputNames.data(), inputValues.data(),
                                                inputValues.size(), outputNames.data(), outputNames.size(),
                                                outputValues.data()), "cannot run the model"))
    return std::move(error);

  std::vector<Tensor> results;
  for (auto [info, value] : llvm::zip_equal(outputInfos, outputValues)) {
    std::string what = "cannot read output '" + info.name + "'";
    ort::TensorInfo *tensorInfo = nullptr;
    if (llvm::Error error = runtime.check(api.getTensorTypeAndShape(value, &tensorInfo), what))
      return std::move(error);
    llvm::scope_exit releaseInfo([&] { api.releaseTensorInfo(tensorInfo); });
    auto described = describe(tensorInfo, what);
    if (!described)
      return described.takeError();
    void *data = nullptr;
    if (llvm::Error error = runtime.check(api.getTensorMutableData(value, &data), what))
      return std::move(error);
    Tensor result = Tensor::allocate(described->first, described->second);
    if (result.byteSize())
      std::memcpy(result.mutableRaw(), data, static_cast<size_t>(result.byteSize()));
    results.push_back(std::move(result));
  }
  return results;
}

} // namespace nibble::vendor
