// Runs a model that nibble compiled for Snapdragon, on the device or in the vendor's emulation on x86.
//
// All it needs of nibble is OrtApi.h, which declares the part of ONNX Runtime's C interface that is
// called here. The values after --input and --output stand in io.json beside the model.
//
//   deploy_snapdragon ONNXRUNTIME QNN_FOLDER MODEL_ctx.onnx
//     --input  NAME TYPE SHAPE SCALE ZERO_POINT FILE     reals as raw float32, read from FILE
//     --output NAME TYPE SHAPE SCALE ZERO_POINT FILE     the same, written to FILE
//
// ONNXRUNTIME is the path of libonnxruntime.so, QNN_FOLDER the folder of libQnnHtp.so and
// libonnxruntime_providers_qnn.so, SHAPE is written as 1,4,64,64. Where io.json has no scale (token ids, masks), SCALE
// and ZERO_POINT are "-", and FILE holds values of TYPE, which are passed as they are.
#include "lib/Export/Vendor/OrtApi.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ort = nibble::ort;

namespace {

struct StoredType {
  const char *name;
  ort::ElementKind kind;
  size_t bytes;
};
const StoredType storedTypes[] = {
    {"uint8", ort::UInt8, 1}, {"int8", ort::Int8, 1},   {"uint16", ort::UInt16, 2}, {"int16", ort::Int16, 2},
    {"int32", ort::Int32, 4}, {"int64", ort::Int64, 8}, {"bool", ort::Bool, 1},     {"float32", ort::Float32, 4},
};

/// One entry of io.json under "inputs" or "outputs".
struct IoTensor {
  std::string name, file;
  StoredType type;
  std::vector<int64_t> shape;
  /// 0 where the values stand for themselves.
  float scale = 0;
  int zeroPoint = 0;

  size_t elements() const {
    size_t count = 1;
    for (int64_t dim : shape)
      count *= static_cast<size_t>(dim);
    return count;
  }
  size_t bytes() const { return elements() * type.bytes; }
};

/// stored = clamp(round_half_even(real / scale) + zero_point)
template <typename T>
void quantize(const IoTensor &io, const std::vector<float> &real, T *stored) {
  constexpr float lowest = std::numeric_limits<T>::lowest(), highest = std::numeric_limits<T>::max();
  for (size_t i = 0; i < real.size(); ++i) {
    // nearbyint rounds halves to even in the default rounding mode.
    float value = std::nearbyint(real[i] / io.scale) + static_cast<float>(io.zeroPoint);
    stored[i] = static_cast<T>(std::fmin(std::fmax(value, lowest), highest));
  }
}

/// real = scale * (stored - zero_point)
template <typename T>
void dequantize(const IoTensor &io, const T *stored, std::vector<float> &real) {
  for (size_t i = 0; i < real.size(); ++i)
    real[i] = io.scale * static_cast<float>(static_cast<int>(stored[i]) - io.zeroPoint);
}

std::vector<char> readFile(const std::string &path, size_t bytes) {
  std::vector<char> content(bytes);
  std::ifstream file(path, std::ios::binary);
  if (!file.read(content.data(), static_cast<std::streamsize>(bytes)))
    throw std::runtime_error("cannot read " + std::to_string(bytes) + " bytes from " + path);
  return content;
}

void writeFile(const std::string &path, const void *data, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char *>(data), static_cast<std::streamsize>(bytes));
  if (!file.flush())
    throw std::runtime_error("cannot write " + path);
}

std::vector<char> toStored(const IoTensor &io) {
  if (io.scale == 0)
    return readFile(io.file, io.bytes());
  std::vector<char> content = readFile(io.file, io.elements() * sizeof(float));
  std::vector<float> real(io.elements());
  std::memcpy(real.data(), content.data(), content.size());
  std::vector<char> stored(io.bytes());
  switch (io.type.kind) {
  case ort::UInt8: quantize(io, real, reinterpret_cast<uint8_t *>(stored.data())); break;
  case ort::Int8: quantize(io, real, reinterpret_cast<int8_t *>(stored.data())); break;
  case ort::UInt16: quantize(io, real, reinterpret_cast<uint16_t *>(stored.data())); break;
  case ort::Int16: quantize(io, real, reinterpret_cast<int16_t *>(stored.data())); break;
  default: throw std::runtime_error("'" + io.name + "': no reals are stored as " + io.type.name);
  }
  return stored;
}

void writeReal(const IoTensor &io, const void *stored) {
  if (io.scale == 0)
    return writeFile(io.file, stored, io.bytes());
  std::vector<float> real(io.elements());
  switch (io.type.kind) {
  case ort::UInt8: dequantize(io, static_cast<const uint8_t *>(stored), real); break;
  case ort::Int8: dequantize(io, static_cast<const int8_t *>(stored), real); break;
  case ort::UInt16: dequantize(io, static_cast<const uint16_t *>(stored), real); break;
  case ort::Int16: dequantize(io, static_cast<const int16_t *>(stored), real); break;
  default: throw std::runtime_error("'" + io.name + "': no reals are stored as " + io.type.name);
  }
  writeFile(io.file, real.data(), real.size() * sizeof(float));
}

class Runtime {
public:
  explicit Runtime(const std::string &library) {
    void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      throw std::runtime_error(dlerror());
    auto getBase = reinterpret_cast<const ort::ApiBase *(*)()>(dlsym(handle, "OrtGetApiBase"));
    api = getBase ? getBase()->getApi(ort::apiVersion) : nullptr;
    if (!api)
      throw std::runtime_error(library + " is not ONNX Runtime 1.22 or newer");
  }
  void check(ort::Status *status) const {
    if (!status)
      return;
    std::string message = api->getErrorMessage(status);
    api->releaseStatus(status);
    throw std::runtime_error(message);
  }
  const ort::Api *api = nullptr;
};

void logErrors(void *, int, const char *, const char *, const char *, const char *message) {
  std::fprintf(stderr, "onnxruntime: %s\n", message);
}

/// A session whose nodes all run on the NPU, or an error.
ort::Session *openSession(const Runtime &runtime, const std::string &qnnFolder, const std::string &model) {
  const ort::Api &api = *runtime.api;
  ort::Env *env = nullptr;
  runtime.check(api.createEnvWithCustomLogger(logErrors, nullptr, ort::LogError, "deploy", &env));
  const char *provider = "QNNExecutionProvider";
  runtime.check(api.registerExecutionProviderLibrary(
      env, provider, (qnnFolder + "/libonnxruntime_providers_qnn.so").c_str()));
  const ort::EpDevice *const *devices = nullptr;
  size_t deviceCount = 0;
  runtime.check(api.getEpDevices(env, &devices, &deviceCount));
  std::vector<const ort::EpDevice *> npus;
  for (size_t i = 0; i < deviceCount; ++i)
    if (!std::strcmp(api.epDeviceEpName(devices[i]), provider))
      npus.push_back(devices[i]);
  if (npus.empty())
    throw std::runtime_error("no NPU was found");
  ort::SessionOptions *options = nullptr;
  runtime.check(api.createSessionOptions(&options));
  std::string backend = qnnFolder + "/libQnnHtp.so";
  const char *keys[] = {"backend_path"}, *values[] = {backend.c_str()};
  runtime.check(api.appendExecutionProviderV2(options, env, npus.data(), npus.size(), keys, values, 1));
  runtime.check(api.addSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"));
  ort::Session *session = nullptr;
  runtime.check(api.createSession(env, model.c_str(), options, &session));
  api.releaseSessionOptions(options);
  return session;
}

void run(const Runtime &runtime, ort::Session *session, const std::vector<IoTensor> &inputs,
         const std::vector<IoTensor> &outputs) {
  const ort::Api &api = *runtime.api;
  ort::MemoryInfo *memory = nullptr;
  runtime.check(api.createCpuMemoryInfo(ort::DeviceAllocator, ort::DefaultMemory, &memory));
  std::vector<std::vector<char>> stored;
  std::vector<const char *> inputNames, outputNames;
  std::vector<ort::Value *> inputValues, outputValues(outputs.size());
  for (const IoTensor &io : inputs) {
    stored.push_back(toStored(io));
    inputNames.push_back(io.name.c_str());
    runtime.check(api.createTensorWithData(memory, stored.back().data(), stored.back().size(), io.shape.data(),
                                           io.shape.size(), io.type.kind, &inputValues.emplace_back()));
  }
  for (const IoTensor &io : outputs)
    outputNames.push_back(io.name.c_str());
  runtime.check(api.run(session, nullptr, inputNames.data(), inputValues.data(), inputValues.size(),
                        outputNames.data(), outputNames.size(), outputValues.data()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    void *data = nullptr;
    runtime.check(api.getTensorMutableData(outputValues[i], &data));
    writeReal(outputs[i], data);
    api.releaseValue(outputValues[i]);
  }
  for (ort::Value *value : inputValues)
    api.releaseValue(value);
  api.releaseMemoryInfo(memory);
}

StoredType findType(const std::string &name) {
  for (const StoredType &type : storedTypes)
    if (name == type.name)
      return type;
  throw std::runtime_error("there is no stored type " + name);
}

} // namespace

int main(int argc, char **argv) try {
  if (argc < 4 || (argc - 4) % 7 != 0)
    throw std::runtime_error("usage: deploy_snapdragon ONNXRUNTIME QNN_FOLDER MODEL "
                             "{--input|--output NAME TYPE SHAPE SCALE ZERO_POINT FILE}...");
  std::vector<IoTensor> inputs, outputs;
  for (int i = 4; i < argc; i += 7) {
    IoTensor io;
    io.name = argv[i + 1];
    io.type = findType(argv[i + 2]);
    std::istringstream dims(argv[i + 3]);
    for (std::string dim; std::getline(dims, dim, ',');)
      io.shape.push_back(std::stoll(dim));
    if (std::strcmp(argv[i + 4], "-") != 0) {
      io.scale = std::stof(argv[i + 4]);
      io.zeroPoint = std::stoi(argv[i + 5]);
    }
    io.file = argv[i + 6];
    (std::strcmp(argv[i], "--input") == 0 ? inputs : outputs).push_back(io);
  }
  Runtime runtime(argv[1]);
  ort::Session *session = openSession(runtime, argv[2], argv[3]);
  run(runtime, session, inputs, outputs);
  runtime.api->releaseSession(session);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
