//===- IntegerCheck.cpp - an integer program beside Arm's reference model --===//
//
// Every block is written as a file of its own and run by the TOSA reference model on the integers that
// the integer runtime has computed before it. TOSA leaves integers no room: all of them must be equal.
//
//===----------------------------------------------------------------------===//
#include "cli/driver/Compilation.h"
#include "cli/driver/EdgeRecorder.h"
#include "cli/driver/IntegerModel.h"

#include "lib/Export/Arm/ReferenceModel.h"
#include "lib/Export/TOSA/TosaWriter.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/ErrorContext.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/WorkFolder.h"

#include "llvm/Support/FileSystem.h"
#include <chrono>
#include <cmath>

using namespace mlir;

namespace nibble::driver {

namespace {

/// What became of one block.
struct BlockResult {
  /// Set where the time did not suffice.
  bool isLeft = false;
  int64_t values = 0, differing = 0;
  llvm::Error error = llvm::Error::success();
};

/// Runs blocks in the reference model, of which each run has one thread.
class BlockChecker {
public:
  BlockChecker(const arm::ArmTool &tool, const EdgeRecorder &edges, const WorkFolder &folder, double seconds)
      : tool(tool), edges(edges), folder(folder),
        deadline(std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds)) {}

  /// `path` names the block's file, which is removed afterwards.
  BlockResult check(nn::BlockOp block, size_t index) const;

private:
  double secondsLeft() const {
    return std::chrono::duration<double>(deadline - std::chrono::steady_clock::now()).count();
  }
  llvm::Expected<std::vector<Tensor>> runInReferenceModel(nn::BlockOp block, const std::string &path) const;

  const arm::ArmTool &tool;
  const EdgeRecorder &edges;
  const WorkFolder &folder;
  std::chrono::time_point<std::chrono::steady_clock, std::chrono::duration<double>> deadline;
};

} // namespace

llvm::Expected<std::vector<Tensor>> BlockChecker::runInReferenceModel(nn::BlockOp block,
                                                                      const std::string &path) const {
  llvm::Expected<std::string> bytes = tosa_export::toTosaFlatbuffer(block);
  if (!bytes)
    return bytes.takeError();
  if (llvm::Error error = writeFileAtomically(path, *bytes))
    return std::move(error);
  auto limit = static_cast<unsigned>(std::max(1.0, std::ceil(std::min(secondsLeft(), 1e9))));
  return arm::runReferenceModel(tool, path, edges.find(block.getInputs()), limit);
}

static int64_t countDiffering(const Tensor &wanted, const Tensor &found) {
  if (wanted.elementType() != found.elementType() || wanted.shape() != found.shape())
    return std::max(wanted.elementCount(), found.elementCount());
  int64_t differing = 0;
  for (int64_t i = 0; i < wanted.elementCount(); ++i)
    differing += wanted.valueAsDouble(i) != found.valueAsDouble(i);
  return differing;
}

BlockResult BlockChecker::check(nn::BlockOp block, size_t index) const {
  BlockResult result;
  if (secondsLeft() <= 0) {
    result.isLeft = true;
    return result;
  }
  std::string path = folder.file("block" + llvm::Twine(index) + ".tosa");
  llvm::Expected<std::vector<Tensor>> found = runInReferenceModel(block, path);
  llvm::sys::fs::remove(path);
  if (!found) {
    result.error = llvm::handleErrors(found.takeError(), [&](std::unique_ptr<NibbleError> error) -> llvm::Error {
      result.isLeft = error->kind == ErrorKind::Limit && secondsLeft() <= 0;
      return result.isLeft ? llvm::Error::success() : llvm::Error(std::move(error));
    });
    return result;
  }
  for (auto [value, tensor] : llvm::zip_equal(block.getOutputs(), *found)) {
    Tensor wanted = edges.find(value);
    result.values += wanted.elementCount();
    result.differing += countDiffering(wanted, tensor);
  }
  return result;
}

llvm::Error Compilation::checkIntegerProgram() {
  llvm::Expected<std::vector<Tensor>> sample = firstSample();
  if (!sample)
    return sample.takeError();
  auto leaveOut = [&](const std::string &reason) {
    noteAndReport("the integer program was not run in the TOSA reference model: " + reason);
    return llvm::Error::success();
  };
  if (sample->empty())
    return leaveOut("there is no sample of the deployed dimensions");
  llvm::Expected<arm::ArmTool> tool = arm::findReferenceModel();
  if (!tool)
    return leaveOut(takeMessages(tool.takeError()).front());
  EdgeRecorder edges(mainFunction(*integerModule));
  llvm::Expected<std::unique_ptr<IntegerModel>> model = IntegerModel::create(*integerModule, inputNames(), &edges);
  if (!model)
    return model.takeError();
  if (llvm::Expected<std::vector<Tensor>> outputs = (*model)->run(*sample); !outputs)
    return outputs.takeError();
  llvm::Expected<WorkFolder> folder = WorkFolder::create("");
  if (!folder)
    return folder.takeError();

  llvm::SmallVector<nn::BlockOp> blocks(mainFunction(*integerModule).getOps<nn::BlockOp>());
  progress.begin("check TOSA", static_cast<int64_t>(blocks.size()), "block");
  BlockChecker checker(*tool, edges, *folder, options.checkSeconds);
  int64_t checked = 0, left = 0, values = 0;
  // Batches keep the threads busy and still show how far the work is.
  const size_t batch = getThreadCount();
  for (size_t begin = 0; begin < blocks.size(); begin += batch) {
    std::vector<BlockResult> results(std::min(batch, blocks.size() - begin));
    parallelFor(static_cast<int64_t>(results.size()), [&](int64_t i) {
      size_t index = begin + static_cast<size_t>(i);
      results[static_cast<size_t>(i)] = checker.check(blocks[index], index);
    });
    llvm::Error errors = llvm::Error::success();
    for (auto [i, result] : llvm::enumerate(results)) {
      std::string name = "block '" + blocks[begin + i].getSymName().str() + "'";
      if (result.error)
        errors = llvm::joinErrors(std::move(errors), addContext(std::move(result.error), name));
      else if (result.differing)
        errors = llvm::joinErrors(std::move(errors),
                                  makeError(ErrorKind::Internal, name + ": " + llvm::Twine(result.differing) + " of " +
                                                                     llvm::Twine(result.values) +
                                                                     " values differ from the TOSA reference model"));
      progress.advance();
      if (result.isLeft) {
        ++left;
        continue;
      }
      ++checked;
      values += result.values;
      report.checks.push_back({name, "of " + std::to_string(result.values) +
                                         " values, how many differ between the TOSA reference model and the integer "
                                         "runtime",
                               static_cast<double>(result.differing), 0, result.differing == 0});
    }
    if (errors)
      return errors;
  }
  note(llvm::Twine(checked) + " of " + llvm::Twine(blocks.size()) + " blocks, " + llvm::Twine(values) +
       " values, are equal to those of the TOSA reference model " + tool->version);
  if (left)
    report.notes.push_back(std::to_string(left) + " of " + std::to_string(blocks.size()) +
                           " blocks were not run in the TOSA reference model within the time of --check-seconds");
  return llvm::Error::success();
}

} // namespace nibble::driver
