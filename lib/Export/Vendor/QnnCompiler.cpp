#include "lib/Export/Vendor/QnnCompiler.h"
#include "lib/Export/Vendor/OperatorNames.h"
#include "lib/Export/Vendor/QnnOptions.h"
#include "lib/Export/Vendor/VendorWorker.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/WorkFolder.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <onnx/onnx_pb.h>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::vendor {

static std::string inFolder(llvm::StringRef folder, const llvm::Twine &name) {
  llvm::SmallString<128> result(folder);
  path::append(result, name);
  return std::string(result);
}

namespace {
/// A request that all calls share, and the folder it works in.
struct Job {
  WorkFolder folder;
  WorkerRequest request;
};
} // namespace

static llvm::Expected<Job> prepare(const HtpSettings &settings, const Target &target, llvm::StringRef socKey,
                                   llvm::StringRef parentFolder) {
  if (llvm::Error error = requireQnn(settings.libraries))
    return std::move(error);
  if (llvm::Error error = checkVendorOptions(settings.vendorOptions))
    return std::move(error);
  llvm::Expected<Options> options =
      providerOptions(settings.libraries.qnnFolder, target, socKey, settings.vendorOptions);
  if (!options)
    return options.takeError();
  llvm::Expected<WorkFolder> folder = WorkFolder::create(parentFolder);
  if (!folder)
    return folder.takeError();
  WorkerRequest request;
  request.onnxRuntimeLibrary = settings.libraries.onnxRuntimeLibrary;
  request.qnnFolder = settings.libraries.qnnFolder;
  request.providerOptions = std::move(*options);
  request.providerOptions.emplace_back("enable_framework_op_trace", "1");
  request.providerOptions.emplace_back("framework_op_trace_dir", folder->str());
  request.onSample = settings.onSample;
  request.sessionOptions = {{"session.disable_cpu_ep_fallback", "1"}};
  return Job{std::move(*folder), std::move(request)};
}

static llvm::Error writeModel(Job &job, llvm::StringRef modelBytes) {
  job.request.modelPath = inFolder(job.folder.str(), "model.onnx");
  return writeFileAtomically(job.request.modelPath, modelBytes);
}

static void enableContext(Job &job, const llvm::Twine &fileName) {
  job.request.sessionOptions.emplace_back("ep.context_enable", "1");
  job.request.sessionOptions.emplace_back("ep.context_embed_mode", "0");
  job.request.sessionOptions.emplace_back("ep.context_file_path", inFolder(job.folder.str(), fileName));
}

static std::optional<Acceptance> readAcceptance(const Job &job) {
  auto buffer = llvm::MemoryBuffer::getFile(inFolder(job.folder.str(), "qnn_op_trace.json"));
  if (!buffer)
    return std::nullopt;
  llvm::Expected<Acceptance> acceptance = parseOpTrace((*buffer)->getBuffer());
  if (!acceptance) {
    // The trace only explains a failure that is reported either way.
    llvm::consumeError(acceptance.takeError());
    return std::nullopt;
  }
  return *acceptance;
}

static llvm::Error refusalError(const Acceptance &acceptance, const Target &target) {
  constexpr size_t shownRefusals = 8;
  std::vector<std::string> notes;
  for (const Acceptance::Refusal &refusal : llvm::ArrayRef(acceptance.refusals).take_front(shownRefusals)) {
    notes.push_back("node '" + refusal.nodeName + "' (" + refusal.operatorType + "): " + refusal.reason);
    Legality answer = target.legality({operationName(refusal.operatorType), {}, {}, {}});
    if (answer.kind == Legality::Kind::Rewrite)
      notes.push_back("legalization '" + llvm::join(answer.rewrites, "', '") + "' rewrites " + refusal.operatorType +
                      " for target '" + target.name + "'");
  }
  if (acceptance.refusals.size() > shownRefusals)
    notes.push_back("and " + std::to_string(acceptance.refusals.size() - shownRefusals) + " more");
  if (acceptance.refusals.empty())
    notes.push_back("the vendor gave no reason");
  return makeError(ErrorKind::Unsupported,
                   "target '" + target.name + "' refuses " + llvm::Twine(acceptance.nodesOnCpu) + " of " +
                       llvm::Twine(acceptance.totalNodes) + " nodes",
                   std::move(notes));
}

/// Runs the job; where nodes were refused, that is the error, whatever the runtime said.
static llvm::Expected<WorkerResult> run(const Job &job, const HtpSettings &settings, const Target &target) {
  llvm::Expected<WorkerResult> result = runWorker(job.request, job.folder.str(), settings.timeLimitSeconds);
  if (result)
    return result;
  std::optional<Acceptance> acceptance = readAcceptance(job);
  if (!acceptance || acceptance->nodesOnCpu == 0)
    return result.takeError();
  llvm::consumeError(result.takeError());
  return refusalError(*acceptance, target);
}

/// Fills `context` from the context model: it must be one EPContext node that refers to `binaryName`.
static llvm::Error readContextModel(const std::string &modelPath, llvm::StringRef binaryName, HtpContext &context) {
  auto buffer = llvm::MemoryBuffer::getFile(modelPath);
  if (!buffer)
    return makeError(ErrorKind::Unsupported, "the vendor's library wrote no context model");
  onnx::ModelProto model;
  if (!model.ParseFromArray((*buffer)->getBufferStart(), static_cast<int>((*buffer)->getBufferSize())))
    return makeError(ErrorKind::Unsupported, "the vendor's context model is not an ONNX model");
  if (model.graph().node_size() != 1 || model.graph().node(0).op_type() != "EPContext")
    return makeError(ErrorKind::Unsupported, "wanted one graph on the NPU, found a context model of " +
                                                 llvm::Twine(model.graph().node_size()) + " nodes");
  for (const onnx::AttributeProto &attribute : model.graph().node(0).attribute()) {
    if (attribute.name() == "ep_sdk_version")
      context.compilerVersion = attribute.s();
    if (attribute.name() == "partition_name")
      context.graphName = attribute.s();
    if (attribute.name() == "ep_cache_context" && attribute.s() != binaryName)
      return makeError(ErrorKind::Unsupported, "wanted a context model that refers to '" + binaryName +
                                                   "', found '" + attribute.s() + "'");
  }
  return llvm::Error::success();
}

static llvm::Error moveInto(const std::string &from, const std::string &to) {
  if (std::error_code error = fs::rename(from, to))
    return makeError(ErrorKind::IO, "cannot write '" + to + "': " + error.message());
  return llvm::Error::success();
}

llvm::Expected<HtpContext> compileContext(const HtpSettings &settings, const Target &target,
                                          llvm::StringRef modelBytes, llvm::StringRef contextModelPath) {
  HtpContext context;
  context.contextModelPath = contextModelPath.str();
  std::string stem = path::stem(contextModelPath).str();
  std::string folder = path::parent_path(contextModelPath).str();
  std::string modelName = stem + ".onnx", binaryName = stem + "_qnn.bin";
  if (path::extension(contextModelPath) != ".onnx")
    return makeError(ErrorKind::Usage, "wanted a context model's name that ends in .onnx, found '" + contextModelPath +
                                           "'");
  context.binaryPath = inFolder(folder, binaryName);
  // In the folder of the outputs, so that they can be renamed into place.
  llvm::Expected<Job> job = prepare(settings, target, "soc_model", folder.empty() ? "." : folder);
  if (!job)
    return job.takeError();
  if (llvm::Error error = writeModel(*job, modelBytes))
    return std::move(error);
  enableContext(*job, modelName);
  llvm::Expected<WorkerResult> result = run(*job, settings, target);
  if (!result)
    return result.takeError();
  context.seconds = result->sessionSeconds;
  context.peakBytes = result->peakBytes;

  std::optional<Acceptance> acceptance = readAcceptance(*job);
  if (!acceptance)
    return makeError(ErrorKind::Unsupported, "the vendor's library wrote no trace of the operators it took");
  context.acceptance = std::move(*acceptance);
  if (!context.acceptance.isComplete())
    return refusalError(context.acceptance, target);
  std::string model = inFolder(job->folder.str(), modelName), binary = inFolder(job->folder.str(), binaryName);
  if (llvm::Error error = readContextModel(model, binaryName, context))
    return std::move(error);
  llvm::Expected<std::string> digest = sha256File(binary);
  if (!digest)
    return digest.takeError();
  context.binarySha256 = std::move(*digest);
  if (std::error_code error = fs::file_size(binary, context.binaryBytes))
    return makeError(ErrorKind::IO, "cannot read '" + binary + "': " + error.message());
  // The model last: without it the binary is an orphan, while a model without its binary is broken.
  if (llvm::Error error = moveInto(binary, context.binaryPath))
    return std::move(error);
  if (llvm::Error error = moveInto(model, context.contextModelPath))
    return std::move(error);
  return context;
}

static Emulation toEmulation(WorkerResult &&result) {
  return {std::move(result.outputs), result.sessionSeconds, result.runSeconds, result.peakBytes};
}

llvm::Expected<Emulation> emulateContext(const HtpSettings &settings, const Target &target,
                                         llvm::StringRef contextModelPath, llvm::StringRef binarySha256,
                                         llvm::ArrayRef<std::vector<NamedTensor>> samples) {
  std::string binary = inFolder(path::parent_path(contextModelPath), path::stem(contextModelPath) + "_qnn.bin");
  llvm::Expected<std::string> digest = sha256File(binary);
  if (!digest)
    return digest.takeError();
  if (*digest != binarySha256)
    return makeError(ErrorKind::BadInput, "'" + binary + "' is damaged or not the one that was compiled",
                     {"wanted SHA-256 " + binarySha256.str(), "found  SHA-256 " + *digest});
  llvm::Expected<Job> job = prepare(settings, target, "soc_model", "");
  if (!job)
    return job.takeError();
  llvm::SmallString<128> absolute(contextModelPath);
  fs::make_absolute(absolute);
  job->request.modelPath = std::string(absolute);
  job->request.loadFromMemory = false;
  job->request.samples = samples.vec();
  llvm::Expected<WorkerResult> result = run(*job, settings, target);
  if (!result)
    return result.takeError();
  return toEmulation(std::move(*result));
}

llvm::Expected<Emulation> emulateModel(const HtpSettings &settings, const Target &target, llvm::StringRef modelBytes,
                                       llvm::ArrayRef<std::vector<NamedTensor>> samples) {
  llvm::Expected<Job> job = prepare(settings, target, "soc_model", "");
  if (!job)
    return job.takeError();
  if (llvm::Error error = writeModel(*job, modelBytes))
    return std::move(error);
  job->request.samples = samples.vec();
  llvm::Expected<WorkerResult> result = run(*job, settings, target);
  if (!result)
    return result.takeError();
  return toEmulation(std::move(*result));
}

llvm::Expected<HtpEstimate> estimate(const HtpSettings &settings, const Target &target, llvm::StringRef modelBytes) {
  if (!target.backendOptions.count("estimator_soc_model"))
    return makeError(ErrorKind::Unsupported, "target '" + target.name + "' names no part with a simulator");
  llvm::Expected<Job> job = prepare(settings, target, "estimator_soc_model", "");
  if (!job)
    return job.takeError();
  if (llvm::Error error = writeModel(*job, modelBytes))
    return std::move(error);
  enableContext(*job, "estimate.onnx");
  std::string profile = inFolder(job->folder.str(), "profile.csv");
  job->request.providerOptions.emplace_back("profiling_level", "detailed");
  job->request.providerOptions.emplace_back("profiling_file_path", profile);
  llvm::Expected<WorkerResult> result = run(*job, settings, target);
  if (!result)
    return result.takeError();
  auto buffer = llvm::MemoryBuffer::getFile(profile);
  if (!buffer)
    return makeError(ErrorKind::Unsupported, "the vendor's library wrote no estimate");
  llvm::Expected<HtpEstimate> parsed = parseEstimate((*buffer)->getBuffer());
  if (!parsed)
    return parsed.takeError();
  auto name = target.backendOptions.find("estimator_name");
  parsed->simulatedPart = name == target.backendOptions.end()
                              ? "soc_model " + target.backendOptions.at("estimator_soc_model")
                              : name->second;
  return parsed;
}

} // namespace nibble::vendor
