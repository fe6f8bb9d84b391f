//===- Dataset.cpp - samples from files ------------------------------------===//
//
// A plan says, for every input, which array holds which samples. It is made from
// the headers of all files; elements are read when a sample is asked for.
//
//===----------------------------------------------------------------------===//
#include "calib/Datasets/Dataset.h"
#include "calib/Datasets/RandomDataset.h"
#include "calib/Datasets/Sources.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <set>

namespace nibble::calib {
namespace {

/// Samples [first, first + layout.samples) of an input, in one array.
struct Segment {
  SourceArray array;
  Layout layout;
  int64_t first = 0;
};

struct InputPlan {
  InputSpec spec;
  /// In order of samples, without gaps; empty for an input that is completed.
  std::vector<Segment> segments;
  Completion completion = Completion::None;
};

struct Plan {
  std::vector<InputPlan> inputs;
  int64_t samples = 0;
  std::vector<std::string> files;
};

using Symbols = std::map<std::string, int64_t>;

std::string symbolOf(const InputSpec &spec, size_t axis) {
  return axis < spec.symbols.size() ? spec.symbols[axis] : std::string();
}

const Segment &segmentOf(const InputPlan &input, int64_t sample) {
  auto after = llvm::upper_bound(input.segments, sample,
                                 [](int64_t index, const Segment &segment) { return index < segment.first; });
  return *std::prev(after);
}

//===----------------------------------------------------------------------===//
// Making the plan
//===----------------------------------------------------------------------===//

class Planner {
public:
  Planner(llvm::ArrayRef<InputSpec> specs, llvm::function_ref<void(llvm::StringRef)> note) : note(note) {
    for (const InputSpec &spec : specs)
      plan.inputs.push_back({spec, {}, Completion::None});
  }

  llvm::Expected<Plan> make(const Sources &sources) {
    plan.files = sources.files();
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
    for (size_t axis = rowsAreSamples ? 1 : 0; sameRank && axis < spec.shape.size(); ++axis)
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

  Plan plan;
  llvm::function_ref<void(llvm::StringRef)> note;
  std::set<std::string> said;
  int64_t archiveSamples = 0;
};

//===----------------------------------------------------------------------===//
// Symbolic dimensions
//===----------------------------------------------------------------------===//

/// Adds the values that sample `index` gives to symbols. Errors: BadInput where two inputs disagree.
llvm::Error addSymbols(const Plan &plan, int64_t index, Symbols &symbols) {
  std::map<std::string, std::string> givenBy;
  for (const InputPlan &input : plan.inputs) {
    if (input.segments.empty())
      continue;
    const Shape &shape = segmentOf(input, index).layout.sampleShape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      std::string symbol = symbolOf(input.spec, axis);
      if (symbol.empty() || input.spec.shape[axis] >= 0)
        continue;
      auto [found, isNew] = symbols.emplace(symbol, shape[axis]);
      if (isNew)
        givenBy[symbol] = input.spec.name;
      else if (found->second != shape[axis])
        return makeError(ErrorKind::BadInput,
                         "sample " + llvm::Twine(index) + " has " + symbol + "=" + llvm::Twine(shape[axis]) +
                             " in input '" + input.spec.name + "' but " + llvm::Twine(found->second) + " in " +
                             (givenBy.count(symbol) ? "input '" + givenBy[symbol] + "'" : "an earlier sample"));
    }
  }
  return llvm::Error::success();
}

/// Adds what follows for inputs that are completed: no past, and a mask as long as the tokens.
void addCompletedSymbols(const Plan &plan, int64_t index, Symbols &symbols) {
  int64_t past = 0, sequence = -1;
  for (const InputPlan &input : plan.inputs) {
    bool isTokens = isInteger(input.spec.elementType) && input.spec.shape.size() == 2;
    if (!input.segments.empty() && isTokens && sequence < 0)
      sequence = segmentOf(input, index).layout.sampleShape[1];
    if (!llvm::StringRef(input.spec.name).starts_with("past_"))
      continue;
    for (size_t axis = 0; axis < input.spec.shape.size(); ++axis) {
      std::string symbol = symbolOf(input.spec, axis);
      if (input.spec.shape[axis] >= 0 || !llvm::StringRef(symbol).contains("past"))
        continue;
      past = symbols.emplace(symbol, 0).first->second;
    }
  }
  for (const InputPlan &input : plan.inputs)
    if (input.completion == Completion::AttentionMask && input.spec.shape[1] < 0 && sequence >= 0)
      if (std::string symbol = symbolOf(input.spec, 1); !symbol.empty())
        symbols.emplace(symbol, past + sequence);
}

/// The shape of a completed input in a sample with these symbols.
llvm::Expected<Shape> completedShape(const InputSpec &spec, const Symbols &symbols) {
  Shape shape = spec.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] >= 0)
      continue;
    auto found = symbols.find(symbolOf(spec, axis));
    if (found == symbols.end())
      return makeError(ErrorKind::BadInput, "dimension " + llvm::Twine(axis) + " of input '" + spec.name +
                                                "', which is not in the samples, has no value",
                       {"add --bind " + symbolOf(spec, axis) + "=N"});
    shape[axis] = found->second;
  }
  return shape;
}

/// The error for inputs with symbolic dimensions: the options to paste.
llvm::Error unbound(llvm::ArrayRef<InputSpec> inputs, const Symbols &values, bool isRandom) {
  std::vector<std::string> names, notes;
  for (const InputSpec &input : inputs)
    for (size_t axis = 0; axis < input.shape.size(); ++axis)
      if (std::string symbol = symbolOf(input, axis); input.shape[axis] < 0 && !llvm::is_contained(names, symbol)) {
        if (symbol.empty())
          return makeError(ErrorKind::Unsupported, "dimension " + llvm::Twine(axis) + " of input '" + input.name +
                                                       "' is dynamic and has no name",
                           {"give the dimension a name or a value in the model"});
        names.push_back(symbol);
      }
  std::string options;
  for (const std::string &name : names) {
    auto found = values.find(name);
    options += " --bind " + name + "=" + (found == values.end() ? "N" : std::to_string(found->second));
    if (found == values.end() && !isRandom)
      notes.push_back("no sample has a value for " + name + ": it is the model's own, for example the size of a head");
  }
  notes.insert(notes.begin(), isRandom ? "random samples have no shape of their own, add" + options
                                       : "add" + options + ", as in the samples");
  return makeError(ErrorKind::BadInput, "the model has symbolic dimensions: " + llvm::join(names, ", "), std::move(notes));
}

bool hasSymbols(llvm::ArrayRef<InputSpec> inputs) {
  return llvm::any_of(inputs, [](const InputSpec &input) {
    return llvm::any_of(input.shape, [](int64_t dim) { return dim < 0; });
  });
}

/// Values that all samples agree on; a segment's samples all have one shape.
llvm::Expected<Symbols> symbolsOf(const Plan &plan) {
  Symbols symbols;
  std::set<int64_t> starts;
  for (const InputPlan &input : plan.inputs)
    for (const Segment &segment : input.segments)
      starts.insert(segment.first);
  for (int64_t start : starts)
    if (llvm::Error error = addSymbols(plan, start, symbols))
      return std::move(error);
  addCompletedSymbols(plan, 0, symbols);
  return symbols;
}

//===----------------------------------------------------------------------===//
// Reading samples
//===----------------------------------------------------------------------===//

class FileDataset : public Dataset {
public:
  explicit FileDataset(Plan plan) : plan(std::move(plan)), cached(this->plan.inputs.size()) {}

  int64_t size() const override { return plan.samples; }
  std::vector<std::string> files() const override { return plan.files; }

  llvm::Expected<std::vector<Tensor>> sample(int64_t index) override {
    std::vector<Tensor> result(plan.inputs.size());
    Symbols symbols;
    if (llvm::Error error = addSymbols(plan, index, symbols))
      return std::move(error);
    addCompletedSymbols(plan, index, symbols);
    for (size_t i = 0; i < plan.inputs.size(); ++i) {
      const InputPlan &input = plan.inputs[i];
      if (input.segments.empty()) {
        llvm::Expected<Shape> shape = completedShape(input.spec, symbols);
        if (!shape)
          return shape.takeError();
        result[i] = makeCompletion(input.completion, input.spec.elementType, *shape);
        if (!result[i])
          return makeError(ErrorKind::Unsupported, "input '" + input.spec.name + "' is " + name(input.spec.elementType) +
                                                       ", for which nothing can be filled in");
        continue;
      }
      const Segment &segment = segmentOf(input, index);
      llvm::Expected<Tensor> array = load(segment.array, cached[i]);
      if (!array)
        return array.takeError();
      Tensor taken = takeSample(*array, segment.layout, index - segment.first);
      llvm::Expected<Tensor> converted = convertTensor(taken, input.spec.elementType, sampleName(index) + ": " + input.spec.name);
      if (!converted)
        return converted.takeError();
      result[i] = std::move(*converted);
    }
    return result;
  }

  std::string sampleName(int64_t index) const override {
    for (const InputPlan &input : plan.inputs) {
      if (input.segments.empty())
        continue;
      const Segment &segment = segmentOf(input, index);
      std::string file = llvm::sys::path::filename(segment.array.path).str();
      return segment.layout.samples == 1 ? file : file + "[" + std::to_string(index - segment.first) + "]";
    }
    return "sample " + std::to_string(index);
  }

  llvm::Expected<std::string> sampleDigest(int64_t index) override {
    llvm::Expected<std::vector<Tensor>> tensors = sample(index);
    if (!tensors)
      return tensors.takeError();
    return digestOfSample(*tensors);
  }

private:
  /// The array read last for an input, since an array often holds many samples.
  struct Cached {
    std::string path;
    Tensor tensor;
  };

  llvm::Expected<Tensor> load(const SourceArray &array, Cached &cache) {
    if (cache.tensor && cache.path == array.path)
      return cache.tensor;
    llvm::Expected<Tensor> tensor = array.entry.empty() ? readNpy(array.path) : readEntry(array);
    if (!tensor)
      return tensor;
    if (tensor->elementType() != array.elementType || tensor->shape() != llvm::ArrayRef<int64_t>(array.shape))
      return makeError(ErrorKind::BadInput, "'" + array.path + "' has changed while the program ran");
    cache = {array.path, *tensor};
    return tensor;
  }

  llvm::Expected<Tensor> readEntry(const SourceArray &array) {
    if (!archive || archivePath != array.path) {
      llvm::Expected<std::unique_ptr<NpzReader>> opened = NpzReader::open(array.path);
      if (!opened)
        return opened.takeError();
      archive = std::move(*opened);
      archivePath = array.path;
    }
    for (const NpzReader::Entry &entry : archive->entries())
      if (entry.name == array.entry)
        return archive->read(entry);
    return makeError(ErrorKind::BadInput, "'" + array.path + "' has changed while the program ran");
  }

  Plan plan;
  std::vector<Cached> cached;
  std::unique_ptr<NpzReader> archive;
  std::string archivePath;
};

} // namespace

llvm::Expected<std::unique_ptr<Dataset>> Dataset::open(const DatasetOptions &options, std::vector<InputSpec> inputs,
                                                       llvm::function_ref<void(llvm::StringRef)> note) {
  llvm::Expected<Sources> sources = findSources(options, inputs);
  if (!sources)
    return sources.takeError();
  if (sources->randomSamples > 0) {
    if (hasSymbols(inputs))
      return unbound(inputs, {}, /*isRandom=*/true);
    note("samples are random: the result is NOT CALIBRATED");
    return makeRandomDataset(sources->randomSamples, options.seed, std::move(inputs));
  }
  llvm::Expected<Plan> plan = Planner(inputs, note).make(*sources);
  if (!plan)
    return plan.takeError();
  if (hasSymbols(inputs) && !options.allowSymbolicShapes) {
    llvm::Expected<Symbols> symbols = symbolsOf(*plan);
    if (!symbols)
      return symbols.takeError();
    return unbound(inputs, *symbols, /*isRandom=*/false);
  }
  return std::make_unique<FileDataset>(std::move(*plan));
}

llvm::Expected<std::map<std::string, int64_t>> inferBindings(const DatasetOptions &options,
                                                             llvm::ArrayRef<InputSpec> inputs) {
  llvm::Expected<Sources> sources = findSources(options, inputs);
  if (!sources)
    return sources.takeError();
  if (sources->randomSamples > 0)
    return Symbols();
  llvm::Expected<Plan> plan = Planner(inputs, [](llvm::StringRef) {}).make(*sources);
  if (!plan)
    return plan.takeError();
  return symbolsOf(*plan);
}

} // namespace nibble::calib
