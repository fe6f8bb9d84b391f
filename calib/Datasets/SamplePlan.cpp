//===- SamplePlan.cpp - matches arrays with inputs -------------------------===//
#include "calib/Datasets/SamplePlan.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"
#include <set>

namespace nibble::calib {
namespace {

class Planner {
public:
  Planner(llvm::ArrayRef<InputSpec> specs, llvm::function_ref<void(llvm::StringRef)> note) : note(note) {
    for (const InputSpec &spec : specs)
      plan.inputs.push_back({spec, {}, Completion::None});
  }

  llvm::Expected<SamplePlan> make(const Sources &sources) {
    plan.files = sources.files();
    if (plan.inputs.empty())
      return makeError(ErrorKind::BadInput, "the model has no inputs, so '" + plan.files.front() + "' fills nothing",
                       {"--calib random:2 calibrates a model that depends on nothing"});
    if (llvm::Error error = addArchives(sources.archives))
      return std::move(error);
    if (llvm::Error error = addColumns(sources.columns))
      return std::move(error);
    if (llvm::Error error = completeInputs(sources))
      return std::move(error);
    return std::move(plan);
  }

private:
  void say(const llvm::Twine &text) {
    std::string line = text.str();
    if (said.insert(line).second)
      note(line);
  }

  /// One note per thing the file holds and per thing that is expected and absent.
  llvm::Error missing(llvm::StringRef path, llvm::ArrayRef<const InputPlan *> absent,
                      llvm::ArrayRef<SourceArray> held) {
    std::vector<std::string> notes, names;
    for (const SourceArray &array : held)
      names.push_back(array.entry.empty() ? llvm::sys::path::stem(array.path).str() : array.entry);
    for (const InputPlan *input : absent) {
      std::string line = "expected '" + input->spec.name + "': " + describeSpec(input->spec);
      if (std::string nearest = nearestName(input->spec.name, names); !nearest.empty())
        line += "; nearest name: '" + nearest + "'";
      notes.push_back(line);
    }
    for (size_t i = 0; i < held.size(); ++i)
      notes.push_back("found '" + names[i] + "': " + describeArray(held[i].elementType, held[i].shape));
    if (held.empty())
      notes.push_back("found no array");
    return makeError(ErrorKind::BadInput, "'" + path + "' has nothing for input '" + absent.front()->spec.name + "'",
                     std::move(notes));
  }

  /// Adds the array to the input's segments, at the sample where the last one ended.
  llvm::Error addSegment(InputPlan &input, const SourceArray &array, bool rowsAreSamples) {
    const InputSpec &spec = input.spec;
    std::string what = "'" + array.path + (array.entry.empty() ? "" : ":" + array.entry) + "'";
    if (!isConvertible(array.elementType, spec.elementType))
      return makeError(ErrorKind::BadInput, what + " holds " + describeArray(array.elementType, array.shape) +
                                                ", input '" + spec.name + "' expects " + describeSpec(spec));
    std::optional<Layout> layout = matchArray(array.shape, spec, rowsAreSamples);
    if (!layout)
      return mismatch(what, spec, array, rowsAreSamples);
    if (array.elementType != spec.elementType)
      say("input '" + spec.name + "' is converted from " + name(array.elementType) + " to " + name(spec.elementType));
    if (layout->windowsPerRow > 1 || layout->droppedPerRow > 0)
      say("rows of " + llvm::Twine(layout->rowSize) + " for input '" + spec.name + "' are cut into " +
          llvm::Twine(layout->windowsPerRow) + " windows of " + llvm::Twine(layout->windowSize) +
          (layout->droppedPerRow ? ", the last " + llvm::Twine(layout->droppedPerRow) + " elements are left out"
                                 : llvm::Twine("")).str());
    if (layout->droppedRows > 0)
      say("the last " + llvm::Twine(layout->droppedRows) + " rows of " + what + " fill no batch of " +
          llvm::Twine(layout->batch) + " and are left out");
    int64_t first = input.segments.empty() ? 0 : input.segments.back().first + input.segments.back().layout.samples;
    input.segments.push_back({array, *layout, first});
    return llvm::Error::success();
  }

  llvm::Error mismatch(const std::string &what, const InputSpec &spec, const SourceArray &array, bool rowsAreSamples) {
    std::vector<std::string> notes;
    bool sameRank = array.shape.size() == spec.shape.size();
    // Rows are cut to the bound dimensions, of which the first is the batch that they are grouped to.
    for (size_t axis = 1; rowsAreSamples && sameRank && axis < spec.shape.size(); ++axis)
      if (std::string symbol = symbolOf(spec, axis);
          !symbol.empty() && spec.shape[axis] >= 0 && spec.shape[axis] != array.shape[axis])
        notes.push_back("the samples would need --bind " + symbol + "=" + std::to_string(array.shape[axis]));
    if (rowsAreSamples && sameRank && !array.shape.empty() && array.shape[0] < spec.shape[0])
      notes.push_back("its " + std::to_string(array.shape[0]) + " rows do not fill a batch of " +
                      std::to_string(spec.shape[0]));
    return makeError(ErrorKind::BadInput, what + " holds " + describeArray(array.elementType, array.shape) +
                                              ", input '" + spec.name + "' expects " + describeSpec(spec),
                     std::move(notes));
  }

  llvm::Error addArchives(llvm::ArrayRef<SourceArchive> archives) {
    for (const SourceArchive &archive : archives) {
      int64_t samples = -1;
      std::string counted;
      for (InputPlan &input : plan.inputs) {
        auto array = llvm::find_if(archive.arrays, [&](const SourceArray &a) { return a.entry == input.spec.name; });
        if (array == archive.arrays.end())
          continue;
        if (llvm::Error error = addSegment(input, *array, /*rowsAreSamples=*/false))
          return error;
        int64_t found = input.segments.back().layout.samples;
        if (samples >= 0 && found != samples)
          return makeError(ErrorKind::BadInput, "'" + archive.path + "' holds " + llvm::Twine(samples) +
                                                    " samples of '" + counted + "' but " + llvm::Twine(found) +
                                                    " of '" + input.spec.name + "'");
        samples = found;
        counted = input.spec.name;
      }
      for (const SourceArray &array : archive.arrays)
        if (llvm::none_of(plan.inputs, [&](const InputPlan &input) { return input.spec.name == array.entry; }))
          say("array '" + array.entry + "' is no input of the model and is not used");
      archiveSamples += std::max<int64_t>(samples, 0);
      // Every archive must bring what the first one brought.
      std::vector<const InputPlan *> absent;
      for (const InputPlan &input : plan.inputs)
        if (!input.segments.empty() && endOf(input) != archiveSamples)
          absent.push_back(&input);
      if (samples < 0)
        for (const InputPlan &input : plan.inputs)
          absent.push_back(&input);
      if (!absent.empty())
        return missing(archive.path, absent, archive.arrays);
    }
    return llvm::Error::success();
  }

  llvm::Error addColumns(llvm::ArrayRef<SourceColumn> columns) {
    std::set<const InputPlan *> fromArchives;
    for (const InputPlan &input : plan.inputs)
      if (!input.segments.empty())
        fromArchives.insert(&input);
    InputPlan *unnamed = nullptr;
    // Named files first: they decide which inputs are left for the others.
    for (bool named : {true, false})
      for (const SourceColumn &column : columns) {
        if (column.input.empty() == named)
          continue;
        InputPlan *input = nullptr;
        if (named) {
          input = &*llvm::find_if(plan.inputs, [&](const InputPlan &p) { return p.spec.name == column.input; });
        } else {
          if (!unnamed) {
            llvm::Expected<InputPlan *> found = findInputFor(column.array);
            if (!found)
              return found.takeError();
            unnamed = *found;
          }
          input = unnamed;
        }
        if (fromArchives.count(input))
          return makeError(ErrorKind::BadInput, "input '" + input->spec.name + "' is filled by '" + column.array.path +
                                                    "' and by '" + input->segments.front().array.path + "'");
        if (llvm::Error error = addSegment(*input, column.array, /*rowsAreSamples=*/true))
          return error;
      }
    return llvm::Error::success();
  }

  /// The input that a .npy without a name fills.
  llvm::Expected<InputPlan *> findInputFor(const SourceArray &array) {
    std::vector<InputPlan *> unmatched, tokens;
    std::vector<std::string> notes;
    for (InputPlan &input : plan.inputs) {
      if (!input.segments.empty() || completionOf(input.spec) != Completion::None)
        continue;
      unmatched.push_back(&input);
      notes.push_back("input '" + input.spec.name + "': " + describeSpec(input.spec));
      if (isInteger(input.spec.elementType) && input.spec.shape.size() == 2)
        tokens.push_back(&input);
    }
    bool isTokens = array.shape.size() == 2 && isInteger(array.elementType);
    if (isTokens && tokens.size() == 1)
      return tokens.front();
    if (unmatched.size() == 1)
      return unmatched.front();
    if (unmatched.empty()) {
      for (const InputPlan &input : plan.inputs)
        notes.push_back("input '" + input.spec.name + "' is filled " +
                        (input.segments.empty() ? "in by itself"
                                                : "by '" + input.segments.front().array.path + "'"));
      return makeError(ErrorKind::BadInput, "'" + array.path + "' is left over: no input of the model is without samples",
                       std::move(notes));
    }
    notes.push_back("say which with INPUT=" + array.path);
    return makeError(ErrorKind::BadInput, "'" + array.path + "' holds " + describeArray(array.elementType, array.shape) +
                                              ", which could be for any of " + llvm::Twine(unmatched.size()) + " inputs",
                     std::move(notes));
  }

  /// Counts the samples, and says what absent inputs are filled with.
  llvm::Error completeInputs(const Sources &sources) {
    std::vector<const InputPlan *> absent;
    const InputPlan *counted = nullptr;
    for (InputPlan &input : plan.inputs) {
      if (input.segments.empty()) {
        input.completion = completionOf(input.spec);
        if (input.completion == Completion::None)
          absent.push_back(&input);
        continue;
      }
      if (counted && endOf(input) != endOf(*counted))
        return makeError(ErrorKind::BadInput, "there are " + llvm::Twine(endOf(*counted)) + " samples of '" +
                                                  counted->spec.name + "' but " + llvm::Twine(endOf(input)) + " of '" +
                                                  input.spec.name + "'");
      counted = &input;
    }
    if (!absent.empty() || !counted) {
      std::vector<SourceArray> held;
      if (!sources.archives.empty())
        held = sources.archives.front().arrays;
      for (const SourceColumn &column : sources.columns)
        held.push_back(column.array);
      for (const InputPlan &input : plan.inputs)
        if (absent.empty())
          absent.push_back(&input);
      return missing(plan.files.front(), absent, held);
    }
    plan.samples = endOf(*counted);
    return sayCompletions();
  }

  llvm::Error sayCompletions() {
    int64_t pasts = 0;
    for (const InputPlan &input : plan.inputs) {
      const InputSpec &spec = input.spec;
      if (input.completion == Completion::AttentionMask)
        say("input '" + spec.name + "' is not in the samples and becomes ones");
      else if (input.completion == Completion::PositionIds)
        say("input '" + spec.name + "' is not in the samples and becomes 0, 1, 2, ...");
      if (input.completion != Completion::Past)
        continue;
      ++pasts;
      bool canBeEmpty = llvm::any_of(spec.shape, [](int64_t dim) { return dim <= 0; });
      if (!canBeEmpty) {
        size_t axis = 0;
        while (axis + 1 < spec.symbols.size() && !llvm::StringRef(spec.symbols[axis]).contains("past"))
          ++axis;
        std::string symbol = symbolOf(spec, axis);
        return makeError(ErrorKind::BadInput, "input '" + spec.name + "' is not in the samples and its shape " +
                                                  describeSpec(spec) + " leaves no room for an empty past",
                         {symbol.empty() ? "give samples of it" : "give samples of it, or --bind " + symbol + "=0"});
      }
    }
    if (pasts > 0)
      say(llvm::Twine(pasts) + " past_* inputs are not in the samples and become empty");
    return llvm::Error::success();
  }

  static int64_t endOf(const InputPlan &input) {
    return input.segments.back().first + input.segments.back().layout.samples;
  }

  SamplePlan plan;
  llvm::function_ref<void(llvm::StringRef)> note;
  std::set<std::string> said;
  int64_t archiveSamples = 0;
};

} // namespace

const Segment &segmentOf(const InputPlan &input, int64_t sample) {
  auto after = llvm::upper_bound(input.segments, sample,
                                 [](int64_t index, const Segment &segment) { return index < segment.first; });
  return *std::prev(after);
}

std::string sampleName(const SamplePlan &plan, int64_t index) {
  auto input = llvm::find_if(plan.inputs, [](const InputPlan &p) { return !p.segments.empty(); });
  assert(input != plan.inputs.end() && "a plan has samples of an input");
  const Segment &segment = segmentOf(*input, index);
  std::string file = llvm::sys::path::filename(segment.array.path).str();
  return segment.layout.samples == 1 ? file : file + "[" + std::to_string(index - segment.first) + "]";
}

llvm::Expected<SamplePlan> makeSamplePlan(llvm::ArrayRef<InputSpec> inputs, const Sources &sources,
                                          llvm::function_ref<void(llvm::StringRef)> note) {
  return Planner(inputs, note).make(sources);
}

} // namespace nibble::calib
