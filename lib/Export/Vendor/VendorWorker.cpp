//===- VendorWorker.cpp - the child's side and the parent's side -------------===//
//
// Request and response are JSON files in the work folder, tensors are safetensors beside them:
// request.json, input-N.safetensors, response.json, output-N.safetensors.
//
//===----------------------------------------------------------------------===//
#include "lib/Export/Vendor/VendorWorker.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/MappedFile.h"
#include "lib/Support/Safetensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace json = llvm::json;

namespace nibble::vendor {

/// Set in the child, so that a program that forgot `runIfWorker` cannot start itself without end.
static constexpr const char *workerVariable = "NIBBLE_VENDOR_WORKER";

static std::string inFolder(llvm::StringRef folder, const llvm::Twine &name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

static json::Array toJson(const Options &options) {
  json::Array array;
  for (auto &[key, value] : options)
    array.push_back(json::Array{key, value});
  return array;
}

static Options optionsFromJson(const json::Array &array) {
  Options options;
  for (const json::Value &entry : array)
    if (const json::Array *pair = entry.getAsArray(); pair && pair->size() == 2)
      options.emplace_back((*pair)[0].getAsString().value_or("").str(), (*pair)[1].getAsString().value_or("").str());
  return options;
}

static double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

//===----------------------------------------------------------------------===//
// The child
//===----------------------------------------------------------------------===//

/// Peak resident bytes of this process image; what getrusage tells is inherited from the parent.
static uint64_t peakResidentBytes() {
  auto status = llvm::MemoryBuffer::getFileAsStream("/proc/self/status");
  if (!status)
    return 0;
  auto [before, after] = (*status)->getBuffer().split("VmHWM:");
  uint64_t kilobytes = 0;
  after.ltrim().consumeInteger(10, kilobytes);
  return kilobytes * 1024;
}

static llvm::Expected<std::unique_ptr<OrtSession>> openSession(const json::Object &request) {
  auto text = [&](llvm::StringRef key) { return request.getString(key).value_or("").str(); };
  llvm::Expected<OrtRuntime *> runtime = OrtRuntime::load(text("onnxRuntimeLibrary"));
  if (!runtime)
    return runtime.takeError();
  SessionSettings settings;
  settings.optimize = true;
  settings.configEntries = optionsFromJson(*request.getArray("sessionOptions"));
  if (std::string folder = text("qnnFolder"); !folder.empty()) {
    settings.executionProvider = "QNNExecutionProvider";
    settings.providerOptions = optionsFromJson(*request.getArray("providerOptions"));
    std::string library = inFolder(folder, "libonnxruntime_providers_qnn.so");
    if (llvm::Error error =
            (*runtime)->check((*runtime)->api->registerExecutionProviderLibrary(
                                  (*runtime)->env, settings.executionProvider.c_str(), library.c_str()),
                              "cannot load '" + library + "'"))
      return std::move(error);
  }
  std::string path = text("modelPath");
  if (!request.getBoolean("loadFromMemory").value_or(false))
    return OrtSession::fromFile(**runtime, path, settings);
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  return OrtSession::fromMemory(**runtime, {(*file)->bytes().data(), (*file)->bytes().size()}, settings);
}

static llvm::Error runSample(OrtSession &session, const std::string &inputPath, const std::string &outputPath) {
  llvm::Expected<Safetensors> file = readSafetensors(inputPath);
  if (!file)
    return file.takeError();
  std::vector<Tensor> inputs;
  for (const TensorInfo &info : session.inputs()) {
    auto found = file->tensors.find(info.name);
    if (found == file->tensors.end())
      return makeError(ErrorKind::BadInput, "input '" + info.name + "' is missing");
    inputs.push_back(found->second);
  }
  llvm::Expected<std::vector<Tensor>> outputs = session.run(inputs);
  if (!outputs)
    return outputs.takeError();
  Safetensors results;
  for (auto [info, tensor] : llvm::zip_equal(session.outputs(), *outputs))
    results.tensors[info.name] = tensor;
  return writeSafetensors(outputPath, results);
}

static llvm::Error work(llvm::StringRef folder, json::Object &response) {
  llvm::Expected<json::Value> value = readJson(inFolder(folder, "request.json"));
  if (!value)
    return value.takeError();
  const json::Object *request = value->getAsObject();
  if (!request || !request->getArray("sessionOptions") || !request->getArray("providerOptions"))
    return makeError(ErrorKind::Internal, "the request to the vendor's process is not complete");
  auto start = std::chrono::steady_clock::now();
  llvm::Expected<std::unique_ptr<OrtSession>> session = openSession(*request);
  if (!session)
    return session.takeError();
  response["sessionSeconds"] = secondsSince(start);
  json::Array outputNames;
  for (const TensorInfo &info : (*session)->outputs())
    outputNames.push_back(info.name);
  response["outputs"] = std::move(outputNames);
  start = std::chrono::steady_clock::now();
  for (int64_t i = 0, count = request->getInteger("samples").value_or(0); i < count; ++i)
    if (llvm::Error error = runSample(**session, inFolder(folder, "input-" + llvm::Twine(i) + ".safetensors"),
                                      inFolder(folder, "output-" + llvm::Twine(i) + ".safetensors")))
      return error;
  response["runSeconds"] = secondsSince(start);
  response["peakBytes"] = static_cast<int64_t>(peakResidentBytes());
  // The vendor's profile is written when its session ends.
  session->reset();
  return llvm::Error::success();
}

std::optional<int> runIfWorker(int argc, char **argv) {
  if (argc != 3 || std::strcmp(argv[1], workerArgument) != 0)
    return std::nullopt;
  std::string folder = argv[2];
  json::Object response;
  if (llvm::Error error = work(folder, response))
    llvm::handleAllErrors(std::move(error), [&](const NibbleError &e) {
      response["errorKind"] = static_cast<int64_t>(e.kind);
      response["errorMessage"] = e.message;
    });
  llvm::Error written = writeFileAtomically(inFolder(folder, "response.json"), formatJson(std::move(response)));
  int code = reportError(std::move(written), llvm::errs());
  // Destructors of the vendor's libraries have nothing to do for us and may crash.
  llvm::errs().flush();
  _exit(code);
}

//===----------------------------------------------------------------------===//
// The parent
//===----------------------------------------------------------------------===//

/// The last lines the child wrote, without terminal colours and the vendor's standing chatter.
static std::vector<std::string> lastLogLines(llvm::StringRef logPath) {
  auto log = llvm::MemoryBuffer::getFile(logPath);
  if (!log)
    return {};
  llvm::SmallVector<llvm::StringRef> lines;
  (*log)->getBuffer().split(lines, '\n');
  std::vector<std::string> kept;
  for (llvm::StringRef line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\x1b') {
        i = line.find('m', i);
        if (i == llvm::StringRef::npos)
          break;
      } else if (llvm::isPrint(line[i])) {
        text += line[i];
      }
    }
    if (!llvm::StringRef(text).trim().empty() && !llvm::StringRef(text).contains("LIBNATIVE"))
      kept.push_back(llvm::StringRef(text).trim().str());
  }
  constexpr size_t lineCount = 4;
  if (kept.size() > lineCount)
    kept.erase(kept.begin(), kept.end() - lineCount);
  return kept;
}

/// Starts this program again with its output in `logPath`. Only functions that are safe between fork
/// and exec are called in the child, as other threads may hold locks.
static llvm::Expected<pid_t> startChild(const std::string &folder, const std::string &logPath) {
  if (std::getenv(workerVariable))
    return makeError(ErrorKind::Internal, "the vendor's process was asked to start another one");
  int log = open(logPath.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (log < 0)
    return makeError(ErrorKind::IO, "cannot create '" + logPath + "': " + std::strerror(errno));
  llvm::scope_exit closeLog([&] { close(log); });
  std::vector<std::string> environment;
  for (char **entry = environ; *entry; ++entry)
    environment.push_back(*entry);
  environment.push_back(std::string(workerVariable) + "=1");
  std::vector<char *> environmentPointers;
  for (std::string &entry : environment)
    environmentPointers.push_back(entry.data());
  environmentPointers.push_back(nullptr);
  std::string program = "nibble", argument = workerArgument, folderCopy = folder;
  char *arguments[] = {program.data(), argument.data(), folderCopy.data(), nullptr};

  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0)
    return makeError(ErrorKind::IO, llvm::Twine("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    // The child must not outlive us; we may already be gone.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(127);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execve("/proc/self/exe", arguments, environmentPointers.data());
    _exit(127);
  }
  return child;
}

/// Waits for the child; nullopt where the time was over and it was killed.
static std::optional<int> waitFor(pid_t child, double timeLimitSeconds, llvm::function_ref<void()> poll) {
  auto start = std::chrono::steady_clock::now();
  int status = 0;
  for (;;) {
    pid_t ended = waitpid(child, &status, WNOHANG);
    poll();
    if (ended == child)
      return status;
    if (ended < 0 && errno != EINTR)
      return 127 << 8;
    if (secondsSince(start) > timeLimitSeconds) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return std::nullopt;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

static llvm::Error writeRequest(const WorkerRequest &request, llvm::StringRef folder) {
  for (auto [index, sample] : llvm::enumerate(request.samples)) {
    Safetensors file;
    for (const NamedTensor &input : sample)
      file.tensors[input.name] = input.tensor;
    if (llvm::Error error = writeSafetensors(inFolder(folder, "input-" + llvm::Twine(index) + ".safetensors"), file))
      return error;
  }
  json::Object object{{"onnxRuntimeLibrary", request.onnxRuntimeLibrary},
                      {"qnnFolder", request.qnnFolder},
                      {"modelPath", request.modelPath},
                      {"loadFromMemory", request.loadFromMemory},
                      {"providerOptions", toJson(request.providerOptions)},
                      {"sessionOptions", toJson(request.sessionOptions)},
                      {"samples", static_cast<int64_t>(request.samples.size())}};
  return writeFileAtomically(inFolder(folder, "request.json"), formatJson(std::move(object)));
}

static llvm::Expected<WorkerResult> readResponse(const WorkerRequest &request, llvm::StringRef folder) {
  llvm::Expected<json::Value> value = readJson(inFolder(folder, "response.json"));
  if (!value)
    return value.takeError();
  const json::Object *object = value->getAsObject();
  if (!object)
    return makeError(ErrorKind::Internal, "the vendor's process answered with something else than an object");
  if (auto message = object->getString("errorMessage"))
    return makeError(static_cast<ErrorKind>(object->getInteger("errorKind").value_or(70)), *message);
  WorkerResult result;
  result.sessionSeconds = object->getNumber("sessionSeconds").value_or(0);
  result.runSeconds = object->getNumber("runSeconds").value_or(0);
  result.peakBytes = static_cast<uint64_t>(object->getInteger("peakBytes").value_or(0));
  for (size_t i = 0; i < request.samples.size(); ++i) {
    llvm::Expected<Safetensors> file =
        readSafetensors(inFolder(folder, "output-" + llvm::Twine(i) + ".safetensors"));
    if (!file)
      return file.takeError();
    std::vector<NamedTensor> &outputs = result.outputs.emplace_back();
    for (const json::Value &name : *object->getArray("outputs"))
      outputs.push_back({name.getAsString()->str(), file->tensors[name.getAsString()->str()]});
  }
  return result;
}

llvm::Expected<WorkerResult> runWorker(const WorkerRequest &request, llvm::StringRef workFolder,
                                       double timeLimitSeconds) {
  if (llvm::Error error = writeRequest(request, workFolder))
    return std::move(error);
  std::string logPath = inFolder(workFolder, "log");
  llvm::Expected<pid_t> child = startChild(workFolder.str(), logPath);
  if (!child)
    return child.takeError();
  // Outputs appear whole, one file per sample, as the child gets on.
  size_t done = 0;
  std::optional<int> status = waitFor(*child, timeLimitSeconds, [&] {
    while (request.onSample && done < request.samples.size() &&
           llvm::sys::fs::exists(inFolder(workFolder, "output-" + llvm::Twine(done) + ".safetensors"))) {
      ++done;
      request.onSample();
    }
  });
  if (!status)
    return makeError(ErrorKind::Limit,
                     "the vendor's library took longer than " + llvm::Twine(static_cast<int64_t>(timeLimitSeconds)) +
                         " s and was stopped",
                     lastLogLines(logPath));
  if (WIFSIGNALED(*status))
    return makeError(ErrorKind::Unsupported,
                     llvm::Twine("the vendor's library crashed: ") + strsignal(WTERMSIG(*status)),
                     lastLogLines(logPath));
  // The child's own code, which says only that it could not write what the parent reads.
  if (WEXITSTATUS(*status) == static_cast<int>(ErrorKind::IO))
    return makeError(ErrorKind::IO, "cannot write in folder '" + workFolder + "'", lastLogLines(logPath));
  if (WEXITSTATUS(*status) != 0)
    return makeError(ErrorKind::Unsupported,
                     "the vendor's process ended with code " + llvm::Twine(WEXITSTATUS(*status)),
                     lastLogLines(logPath));
  return readResponse(request, workFolder);
}

} // namespace nibble::vendor
