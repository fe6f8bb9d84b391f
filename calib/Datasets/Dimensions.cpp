#include "calib/Datasets/Dimensions.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <set>

namespace nibble::calib {
namespace {

//===----------------------------------------------------------------------===//
// Dimensions of samples
//===----------------------------------------------------------------------===//

/// What the arrays of sample `index` say.
llvm::Expected<Dimensions> givenDimensions(const SamplePlan &plan, int64_t index) {
  Dimensions given;
  std::map<std::string, std::string> givenBy;
  for (const InputPlan &input : plan.inputs) {
    if (input.segments.empty())
      continue;
    const Shape &shape = segmentOf(input, index).layout.sampleShape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      std::string symbol = symbolOf(input.spec, axis);
      if (symbol.empty())
        continue;
      auto [found, isNew] = given.emplace(symbol, shape[axis]);
      if (isNew)
        givenBy[symbol] = input.spec.name;
      else if (found->second != shape[axis])
        return makeError(ErrorKind::BadInput, "sample '" + sampleName(plan, index) + "' has " + symbol + "=" +
                                                  llvm::Twine(shape[axis]) + " in input '" + input.spec.name + "' but " +
                                                  llvm::Twine(found->second) + " in input '" + givenBy[symbol] + "'");
    }
  }
  return given;
}

Dimensions boundDimensions(const SamplePlan &plan) {
  Dimensions bound;
  for (const InputPlan &input : plan.inputs)
    for (size_t axis = 0; axis < input.spec.shape.size(); ++axis)
      if (std::string symbol = symbolOf(input.spec, axis); !symbol.empty() && input.spec.shape[axis] >= 0)
        bound.emplace(symbol, input.spec.shape[axis]);
  return bound;
}

/// The dimensions that are bound to another value.
Dimensions findOther(const Dimensions &dimensions, const Dimensions &bound) {
  Dimensions other;
  for (const auto &[symbol, value] : dimensions)
    if (auto found = bound.find(symbol); found != bound.end() && found->second != value)
      other.emplace(symbol, value);
  return other;
}

/// Adds what follows for inputs that are completed: no past, positions of the tokens, and a mask over both.
void addCompleted(const SamplePlan &plan, int64_t index, const Dimensions &bound, Dimensions &dimensions) {
  int64_t past = 0, sequence = -1;
  for (const InputPlan &input : plan.inputs) {
    bool isTokens = isInteger(input.spec.elementType) && input.spec.shape.size() == 2;
    if (!input.segments.empty() && isTokens && sequence < 0)
      sequence = segmentOf(input, index).layout.sampleShape[1];
    if (!llvm::StringRef(input.spec.name).starts_with("past_"))
      continue;
    for (size_t axis = 0; axis < input.spec.shape.size(); ++axis)
      if (std::string symbol = symbolOf(input.spec, axis); llvm::StringRef(symbol).contains("past")) {
        auto value = bound.find(symbol);
        past = dimensions.emplace(symbol, value == bound.end() ? 0 : value->second).first->second;
      }
  }
  for (const InputPlan &input : plan.inputs) {
    bool isMask = input.completion == Completion::AttentionMask;
    if (sequence < 0 || (!isMask && input.completion != Completion::PositionIds) || input.spec.shape.empty())
      continue;
    if (std::string symbol = symbolOf(input.spec, input.spec.shape.size() - 1); !symbol.empty())
      dimensions.emplace(symbol, isMask ? past + sequence : sequence);
  }
}

llvm::Expected<DimensionRun> dimensionsOf(const SamplePlan &plan, int64_t index, const Dimensions &bound) {
  llvm::Expected<Dimensions> given = givenDimensions(plan, index);
  if (!given)
    return given.takeError();
  DimensionRun run;
  run.first = index;
  run.dimensions = std::move(*given);
  // A sample with the bound dimensions has them all, whatever could be derived.
  if (findOther(run.dimensions, bound).empty())
    run.dimensions.insert(bound.begin(), bound.end());
  addCompleted(plan, index, bound, run.dimensions);
  run.dimensions.insert(bound.begin(), bound.end());
  run.otherDimensions = findOther(run.dimensions, bound);
  return run;
}

//===----------------------------------------------------------------------===//
// Options to paste
//===----------------------------------------------------------------------===//

struct Count {
  Dimensions values;
  int64_t samples = 0;
  /// Where it came up first, which decides between equally frequent ones.
  size_t order = 0;
};

/// The values that `names` have together, the most frequent first, then in the order of samples.
std::vector<Count> countValues(llvm::ArrayRef<std::string> names, llvm::ArrayRef<DimensionRun> runs) {
  std::vector<Count> counts;
  for (const DimensionRun &run : runs) {
    Dimensions values;
    for (const std::string &name : names)
      if (auto found = run.dimensions.find(name); found != run.dimensions.end())
        values.insert(*found);
    auto count = llvm::find_if(counts, [&](const Count &known) { return known.values == values; });
    if (count == counts.end())
      count = counts.insert(counts.end(), Count{values, 0, counts.size()});
    count->samples += run.samples;
  }
  llvm::sort(counts, [](const Count &a, const Count &b) {
    return std::tie(b.samples, a.order) < std::tie(a.samples, b.order);
  });
  return counts;
}

/// "the samples have height=16 (8 samples) or 24 (4 samples)".
std::string describeValues(const std::string &name, llvm::ArrayRef<Count> counts) {
  constexpr size_t shown = 8;
  std::string text = "the samples have " + name + "=";
  for (size_t i = 0; i < std::min(shown, counts.size()); ++i)
    text += (i ? " or " : "") + std::to_string(counts[i].values.at(name)) + " (" + std::to_string(counts[i].samples) +
            (counts[i].samples == 1 ? " sample)" : " samples)");
  if (counts.size() > shown)
    text += " or one of " + std::to_string(counts.size() - shown) + " other values";
  return text;
}

/// Names of dimensions without a value, in the order of the inputs.
llvm::Expected<std::vector<std::string>> findUnbound(llvm::ArrayRef<InputSpec> inputs) {
  std::vector<std::string> names;
  for (const InputSpec &input : inputs)
    for (size_t axis = 0; axis < input.shape.size(); ++axis) {
      if (input.shape[axis] >= 0)
        continue;
      std::string symbol = symbolOf(input, axis);
      if (symbol.empty())
        return makeError(ErrorKind::Unsupported, "dimension " + llvm::Twine(axis) + " of input '" + input.name +
                                                     "' is dynamic and has no name",
                         {"give the dimension a name or a value in the model"});
      if (!llvm::is_contained(names, symbol))
        names.push_back(symbol);
    }
  return names;
}

} // namespace

llvm::Expected<std::vector<DimensionRun>> findDimensions(const SamplePlan &plan) {
  // Samples of one segment all have one shape.
  std::set<int64_t> starts;
  for (const InputPlan &input : plan.inputs)
    for (const Segment &segment : input.segments)
      starts.insert(segment.first);
  Dimensions bound = boundDimensions(plan);
  std::vector<DimensionRun> runs;
  for (auto start = starts.begin(); start != starts.end(); ++start) {
    llvm::Expected<DimensionRun> run = dimensionsOf(plan, *start, bound);
    if (!run)
      return run.takeError();
    run->samples = (std::next(start) == starts.end() ? plan.samples : *std::next(start)) - *start;
    runs.push_back(std::move(*run));
  }
  return runs;
}

Shape completedShape(const InputSpec &spec, const Dimensions &dimensions) {
  Shape shape = spec.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (std::string symbol = symbolOf(spec, axis); !symbol.empty())
      shape[axis] = dimensions.at(symbol);
  return shape;
}

llvm::Error checkBound(llvm::ArrayRef<InputSpec> inputs, llvm::ArrayRef<DimensionRun> runs, bool isRandom) {
  llvm::Expected<std::vector<std::string>> names = findUnbound(inputs);
  if (!names)
    return names.takeError();
  if (names->empty())
    return llvm::Error::success();
  // What is bound already says which samples matter.
  std::vector<DimensionRun> fitting;
  llvm::copy_if(runs, std::back_inserter(fitting), [](const DimensionRun &run) { return run.otherDimensions.empty(); });
  if (fitting.empty())
    fitting.assign(runs.begin(), runs.end());
  std::vector<Count> counts = countValues(*names, fitting);
  Dimensions values = counts.empty() ? Dimensions() : counts.front().values;
  std::vector<std::string> notes;
  std::string options;
  for (const std::string &name : *names) {
    auto found = values.find(name);
    options += " --bind " + name + "=" + (found == values.end() ? "N" : std::to_string(found->second));
    if (found == values.end() && !isRandom)
      notes.push_back("no sample has a value for " + name + ": it is the model's own, for example the size of a head");
    else if (std::vector<Count> single = countValues(name, fitting); single.size() > 1)
      notes.push_back(describeValues(name, single));
  }
  int64_t samples = 0;
  for (const DimensionRun &run : runs)
    samples += run.samples;
  std::string source = isRandom             ? ""
                       : counts.size() == 1 && fitting.size() == runs.size()
                           ? ", as in the samples"
                           : ", as in " + std::to_string(counts.front().samples) + " of " + std::to_string(samples) + " samples";
  notes.insert(notes.begin(), (isRandom ? "random samples have no shape of their own, add" : "add") + options + source);
  return makeError(ErrorKind::BadInput, "the model has symbolic dimensions: " + llvm::join(*names, ", "), std::move(notes));
}

} // namespace nibble::calib
