//===- OrtApi.h - ONNX Runtime's C interface by slot ------------------------===//
//
// ONNX Runtime hands out its C interface as one table of function pointers, to which versions only
// append. The slots that Nibble calls are declared here; the rest is padding. Nothing is linked and
// no header of ONNX Runtime is needed: the table comes from `OrtGetApiBase`, found with dlsym.
// This header stands alone, so that programs outside of Nibble may copy it.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_ORTAPI_H
#define NIBBLE_EXPORT_VENDOR_ORTAPI_H

#include <cstddef>
#include <cstdint>

namespace nibble::ort {

// Objects of the runtime, seen through pointers only.
struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct RunOptions;
struct Value;
struct MemoryInfo;
struct Allocator;
struct TypeInfo;
struct TensorInfo;
struct EpDevice;

/// Error codes of `Status`.
enum ErrorCode : int {
  Ok = 0,
  Fail = 1,
  InvalidArgument = 2,
  NoSuchFile = 3,
  NoModel = 4,
  EngineError = 5,
  RuntimeException = 6,
  InvalidProtobuf = 7,
  ModelLoaded = 8,
  NotImplemented = 9,
  InvalidGraph = 10,
  ExecutionProviderFail = 11,
};

enum LogLevel : int { LogWarning = 2, LogError = 3 };
enum OptimizationLevel : int { DisableAllOptimizations = 0, EnableAllOptimizations = 99 };
enum AllocatorType : int { DeviceAllocator = 0 };
enum MemoryType : int { DefaultMemory = 0 };

/// Element types of tensors.
enum ElementKind : int {
  Float32 = 1,
  UInt8 = 2,
  Int8 = 3,
  UInt16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  Bool = 9,
  Float16 = 10,
  Float64 = 11,
  UInt32 = 12,
  UInt64 = 13,
  BFloat16 = 16,
  UInt4 = 21,
  Int4 = 22,
};

using LogFunction = void (*)(void *parameter, int severity, const char *category, const char *logId,
                             const char *codeLocation, const char *message);

/// The oldest version of the interface that has plug-in execution providers (ONNX Runtime 1.22).
constexpr uint32_t apiVersion = 22;

/// The table. Functions that return a `Status *` return null for success; a status, and every object
/// that has a release function below, belongs to the caller.
struct Api {
  void *slot0;
  int (*getErrorCode)(const Status *);                                                                  // 1
  const char *(*getErrorMessage)(const Status *);                                                       // 2
  void *slot3;
  Status *(*createEnvWithCustomLogger)(LogFunction, void *parameter, int level, const char *id, Env **); // 4
  void *slots5[2];
  Status *(*createSession)(const Env *, const char *path, const SessionOptions *, Session **);          // 7
  Status *(*createSessionFromArray)(const Env *, const void *, size_t, const SessionOptions *, Session **); // 8
  Status *(*run)(Session *, const RunOptions *, const char *const *inputNames, const Value *const *inputs,
                 size_t inputCount, const char *const *outputNames, size_t outputCount, Value **outputs); // 9
  Status *(*createSessionOptions)(SessionOptions **);                                                   // 10
  void *slots11[12];
  Status *(*setSessionGraphOptimizationLevel)(SessionOptions *, int level);                             // 23
  Status *(*setIntraOpNumThreads)(SessionOptions *, int);                                               // 24
  void *slots25[5];
  Status *(*sessionGetInputCount)(const Session *, size_t *);                                           // 30
  Status *(*sessionGetOutputCount)(const Session *, size_t *);                                          // 31
  void *slot32;
  Status *(*sessionGetInputTypeInfo)(const Session *, size_t index, TypeInfo **);                       // 33
  Status *(*sessionGetOutputTypeInfo)(const Session *, size_t index, TypeInfo **);                      // 34
  void *slot35;
  Status *(*sessionGetInputName)(const Session *, size_t index, Allocator *, char **);                  // 36
  Status *(*sessionGetOutputName)(const Session *, size_t index, Allocator *, char **);                 // 37
  void *slots38[11];
  Status *(*createTensorWithData)(const MemoryInfo *, void *data, size_t bytes, const int64_t *shape, size_t rank,
                                  int elementKind, Value **);                                           // 49
  Status *(*isTensor)(const Value *, int *);                                                            // 50
  Status *(*getTensorMutableData)(Value *, void **);                                                    // 51
  void *slots52[3];
  Status *(*castTypeInfoToTensorInfo)(const TypeInfo *, const TensorInfo **);                           // 55
  void *slots56[4];
  Status *(*getTensorElementType)(const TensorInfo *, int *);                                           // 60
  Status *(*getDimensionsCount)(const TensorInfo *, size_t *);                                          // 61
  Status *(*getDimensions)(const TensorInfo *, int64_t *, size_t);                                      // 62
  void *slots63[2];
  Status *(*getTensorTypeAndShape)(const Value *, TensorInfo **);                                       // 65
  void *slots66[3];
  Status *(*createCpuMemoryInfo)(int allocatorType, int memoryType, MemoryInfo **);                     // 69
  void *slots70[6];
  Status *(*allocatorFree)(Allocator *, void *);                                                        // 76
  void *slot77;
  Status *(*getAllocatorWithDefaultOptions)(Allocator **);                                              // 78
  void *slots79[13];
  void (*releaseEnv)(Env *);                                                                            // 92
  void (*releaseStatus)(Status *);                                                                      // 93
  void (*releaseMemoryInfo)(MemoryInfo *);                                                              // 94
  void (*releaseSession)(Session *);                                                                    // 95
  void (*releaseValue)(Value *);                                                                        // 96
  void *slot97;
  void (*releaseTypeInfo)(TypeInfo *);                                                                  // 98
  void (*releaseTensorInfo)(TensorInfo *);                                                              // 99
  void (*releaseSessionOptions)(SessionOptions *);                                                      // 100
  void *slots101[29];
  Status *(*addSessionConfigEntry)(SessionOptions *, const char *key, const char *value);               // 130
  void *slots131[142];
  Status *(*setDeterministicCompute)(SessionOptions *, bool);                                           // 273
  void *slots274[27];
  Status *(*registerExecutionProviderLibrary)(Env *, const char *name, const char *path);               // 301
  void *slot302;
  Status *(*getEpDevices)(const Env *, const EpDevice *const **, size_t *);                             // 303
  Status *(*appendExecutionProviderV2)(SessionOptions *, Env *, const EpDevice *const *, size_t deviceCount,
                                       const char *const *keys, const char *const *values, size_t count); // 304
  void *slots305[7];
  const char *(*epDeviceEpName)(const EpDevice *);                                                      // 312
};

static_assert(offsetof(Api, run) == 9 * sizeof(void *));
static_assert(offsetof(Api, setSessionGraphOptimizationLevel) == 23 * sizeof(void *));
static_assert(offsetof(Api, sessionGetInputCount) == 30 * sizeof(void *));
static_assert(offsetof(Api, createTensorWithData) == 49 * sizeof(void *));
static_assert(offsetof(Api, getTensorElementType) == 60 * sizeof(void *));
static_assert(offsetof(Api, createCpuMemoryInfo) == 69 * sizeof(void *));
static_assert(offsetof(Api, releaseEnv) == 92 * sizeof(void *));
static_assert(offsetof(Api, addSessionConfigEntry) == 130 * sizeof(void *));
static_assert(offsetof(Api, setDeterministicCompute) == 273 * sizeof(void *));
static_assert(offsetof(Api, registerExecutionProviderLibrary) == 301 * sizeof(void *));
static_assert(offsetof(Api, epDeviceEpName) == 312 * sizeof(void *));

/// What the exported C function `OrtGetApiBase` returns.
struct ApiBase {
  /// Null where the runtime is older than `version`.
  const Api *(*getApi)(uint32_t version);
  const char *(*getVersionString)();
};

} // namespace nibble::ort

#endif
