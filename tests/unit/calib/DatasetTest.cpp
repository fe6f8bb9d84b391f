// How files become samples: what is inferred, what is said, and what is refused.
#include "calib/Datasets/Dataset.h"
#include "calib/Datasets/ModelInputs.h"
#include "calib/Datasets/ShapeGroups.h"
#include "calib/Datasets/Split.h"
#include "lib/Support/Npy.h"
#include "tests/unit/TestFiles.h"

#include <cstring>

using namespace nibble;
using namespace nibble::calib;
using namespace nibble::test;

namespace {

/// What allocate leaves in memory may be a NaN, which no sample may hold.
Tensor zeros(ElementType type, llvm::ArrayRef<int64_t> shape) {
  Tensor tensor = Tensor::allocate(type, shape);
  std::memset(tensor.mutableRaw(), 0, tensor.byteSize());
  return tensor;
}

InputSpec makeSpec(std::string name, ElementType type, Shape shape, std::vector<std::string> symbols = {}) {
  return {std::move(name), type, std::move(shape), std::move(symbols)};
}

std::vector<InputSpec> unetInputs(int64_t batch) {
  return {makeSpec("sample", ElementType::F32, {batch, 4, 16, 16}, {"batch_size", "", "", ""}),
          makeSpec("timestep", ElementType::F32, {1}, {""}),
          makeSpec("encoder_hidden_states", ElementType::F32, {batch, 24, 128}, {"batch_size", "", ""})};
}

std::vector<InputSpec> decoderInputs(int64_t batch, int64_t sequence, int64_t past, int64_t total, int64_t head = 32) {
  std::vector<InputSpec> inputs{
      makeSpec("input_ids", ElementType::I64, {batch, sequence}, {"batch_size", "sequence_length"}),
      makeSpec("attention_mask", ElementType::I64, {batch, total}, {"batch_size", "total_sequence_length"}),
      makeSpec("position_ids", ElementType::I64, {batch, sequence}, {"batch_size", "sequence_length"})};
  for (const char *name : {"past_key_values.0.key", "past_key_values.0.value"})
    inputs.push_back(makeSpec(name, ElementType::F32, {batch, 4, past, head},
                              {"batch_size", "", "past_sequence_length", "kv_cache_dim"}));
  return inputs;
}

struct Opened {
  std::unique_ptr<Dataset> dataset;
  std::vector<std::string> notes;
  bool said(llvm::StringRef fragment) const {
    return llvm::any_of(notes, [&](llvm::StringRef note) { return note.contains(fragment); });
  }
};

llvm::Expected<Opened> tryOpen(std::vector<std::string> arguments, std::vector<InputSpec> inputs) {
  Opened opened;
  DatasetOptions options;
  options.arguments = std::move(arguments);
  auto dataset = Dataset::open(options, std::move(inputs), [&](llvm::StringRef note) { opened.notes.push_back(note.str()); });
  if (!dataset)
    return dataset.takeError();
  opened.dataset = std::move(*dataset);
  return opened;
}

Opened open(std::vector<std::string> arguments, std::vector<InputSpec> inputs) {
  return valueOrFail(tryOpen(std::move(arguments), std::move(inputs)));
}

void expectRefused(std::vector<std::string> arguments, std::vector<InputSpec> inputs, ErrorKind kind,
                   std::vector<std::string> fragments) {
  llvm::Expected<Opened> opened = tryOpen(std::move(arguments), std::move(inputs));
  ASSERT_FALSE(static_cast<bool>(opened));
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_EQ(reportError(opened.takeError(), os), static_cast<int>(kind)) << text;
  for (const std::string &fragment : fragments)
    EXPECT_NE(text.find(fragment), std::string::npos) << "wanted: " << fragment << "\nfound: " << text;
}

const std::string unetFolder = testData("models/emoji-diffusion/calib/unet");
const std::string tokenFile = testData("models/debian-llama/calib_tokens.npy");

TEST(Dataset, FolderOfArchives) {
  Opened opened = open({unetFolder}, unetInputs(2));
  EXPECT_EQ(opened.dataset->size(), 80);
  EXPECT_EQ(opened.notes, std::vector<std::string>());
  EXPECT_EQ(opened.dataset->sampleName(3), "003.npz");
  std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(3));
  std::vector<NamedTensor> file = valueOrFail(readNpz(unetFolder + "/003.npz"));
  ASSERT_EQ(sample.size(), 3u);
  EXPECT_EQ(sample[2].values<float>(), file[0].tensor.values<float>());
  EXPECT_EQ(sample[0].values<float>(), file[1].tensor.values<float>());
  EXPECT_EQ(opened.dataset->files().size(), 80u);
}

TEST(Dataset, SymbolicDimensionsPrintTheOptionsToPaste) {
  expectRefused({unetFolder}, unetInputs(-1), ErrorKind::BadInput, {"symbolic dimensions: batch_size", "add --bind batch_size=2"});
  expectRefused({tokenFile}, decoderInputs(-1, -1, -1, -1, -1), ErrorKind::BadInput,
                {"--bind batch_size=1 --bind sequence_length=256 --bind total_sequence_length=256 "
                 "--bind past_sequence_length=0 --bind kv_cache_dim=N",
                 "no sample has a value for kv_cache_dim"});
  expectRefused({"random:4"}, unetInputs(-1), ErrorKind::BadInput, {"--bind batch_size=N"});
}

/// Images of the given heights and widths, in order.
std::string writeImages(TemporaryFolder &folder, const std::vector<std::pair<int64_t, int64_t>> &sizes) {
  for (size_t i = 0; i < sizes.size(); ++i)
    EXPECT_FALSE(llvm::errorToBool(writeNpz(folder.file(std::to_string(i) + ".npz"),
        {{"image", zeros(ElementType::F32, {1, 3, sizes[i].first, sizes[i].second})}})));
  return folder.file("");
}

InputSpec imageInput(int64_t height, int64_t width) {
  return makeSpec("image", ElementType::F32, {1, 3, height, width}, {"", "", "height", "width"});
}

TEST(Dataset, TheMostFrequentDimensionsAreTheOnesToPaste) {
  TemporaryFolder folder;
  std::string images = writeImages(folder, {{16, 16}, {24, 12}, {24, 12}, {16, 12}});
  expectRefused({images}, {imageInput(-1, -1)}, ErrorKind::BadInput,
                {"symbolic dimensions: height, width", "add --bind height=24 --bind width=12, as in 2 of 4 samples",
                 "the samples have height=16 (2 samples) or 24 (2 samples)",
                 "the samples have width=12 (3 samples) or 16 (1 sample)"});
  // Of equally frequent ones the first; what is bound decides which samples are asked.
  TemporaryFolder even;
  images = writeImages(even, {{16, 16}, {24, 12}});
  expectRefused({images}, {imageInput(-1, -1)}, ErrorKind::BadInput, {"--bind height=16 --bind width=16, as in 1 of 2"});
  expectRefused({images}, {imageInput(24, -1)}, ErrorKind::BadInput,
                {"symbolic dimensions: width", "add --bind width=12, as in 1 of 2 samples"});
}

TEST(Dataset, TokensFillTheOnlyIntegerInputAndTheRestIsCompleted) {
  Opened opened = open({tokenFile}, decoderInputs(1, 256, 0, 256));
  ASSERT_EQ(opened.dataset->size(), 128);
  EXPECT_TRUE(opened.said("'input_ids' is converted from int32 to int64"));
  EXPECT_TRUE(opened.said("'attention_mask' is not in the samples and becomes ones"));
  EXPECT_TRUE(opened.said("'position_ids' is not in the samples"));
  EXPECT_TRUE(opened.said("2 past_* inputs"));
  EXPECT_EQ(opened.notes.size(), 4u);
  std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(5));
  Tensor tokens = valueOrFail(readNpy(tokenFile));
  EXPECT_EQ(sample[0].shape(), (llvm::ArrayRef<int64_t>{1, 256}));
  for (int64_t i = 0; i < 256; ++i) {
    ASSERT_EQ(sample[0].values<int64_t>()[i], tokens.values<int32_t>()[5 * 256 + i]);
    ASSERT_EQ(sample[1].values<int64_t>()[i], 1);
    ASSERT_EQ(sample[2].values<int64_t>()[i], i);
  }
  EXPECT_EQ(sample[3].shape(), (llvm::ArrayRef<int64_t>{1, 4, 0, 32}));
  EXPECT_EQ(opened.dataset->sampleName(5), "calib_tokens.npy[5]");
}

TEST(Dataset, RowsAreCutIntoWindowsAndGroupedIntoBatches) {
  TemporaryFolder folder;
  std::vector<int64_t> values(5 * 7);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int64_t>(i);
  std::string path = folder.file("t.npy");
  ASSERT_FALSE(llvm::errorToBool(writeNpy(path, Tensor::fromValues<int64_t>({5, 7}, values))));
  Opened opened = open({path}, {makeSpec("ids", ElementType::I64, {2, 3}, {"batch", "sequence"})});
  // Ten windows of three in five rows of seven, two to a batch.
  EXPECT_EQ(opened.dataset->size(), 5);
  EXPECT_TRUE(opened.said("cut into 2 windows of 3, the last 1 elements are left out"));
  EXPECT_EQ(valueOrFail(opened.dataset->sample(1))[0].values<int64_t>(), (llvm::ArrayRef<int64_t>{7, 8, 9, 10, 11, 12}));
  Opened batches = open({path}, {makeSpec("ids", ElementType::I64, {2, 7}, {"batch", "sequence"})});
  EXPECT_EQ(batches.dataset->size(), 2);
  EXPECT_TRUE(batches.said("the last 1 rows"));
  expectRefused({path}, {makeSpec("ids", ElementType::I64, {1, 8}, {"batch", "sequence"})}, ErrorKind::BadInput,
                {"holds int64 [5, 7]", "expects int64 [1, 8]", "--bind sequence=7"});
  expectRefused({path}, {makeSpec("ids", ElementType::I64, {6, 7}, {"batch", "sequence"})}, ErrorKind::BadInput,
                {"5 rows do not fill a batch of 6"});
}

TEST(Dataset, ArchiveWithALeadingSampleDimension) {
  TemporaryFolder folder;
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("all.npz"),
      {{"x", Tensor::fromValues<double>({3, 1, 2}, {0, 1, 2, 3, 4, 5})}, {"t", Tensor::fromValues<float>({3}, {7, 8, 9})}})));
  std::vector<InputSpec> inputs{makeSpec("x", ElementType::F32, {1, 2}), makeSpec("t", ElementType::F32, {})};
  Opened opened = open({folder.file("all.npz")}, inputs);
  ASSERT_EQ(opened.dataset->size(), 3);
  EXPECT_TRUE(opened.said("'x' is converted from float64 to float32"));
  std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(2));
  EXPECT_EQ(sample[0].values<float>(), (llvm::ArrayRef<float>{4, 5}));
  EXPECT_EQ(sample[1].values<float>(), (llvm::ArrayRef<float>{9}));
  EXPECT_EQ(opened.dataset->sampleName(2), "all.npz[2]");
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("all.npz"),
      {{"x", Tensor::fromValues<float>({3, 1, 2}, {0, 1, 2, 3, 4, 5})}, {"t", Tensor::fromValues<float>({2}, {7, 8})}})));
  expectRefused({folder.file("all.npz")}, inputs, ErrorKind::BadInput, {"holds 3 samples of 'x' but 2 of 't'"});
}

TEST(Dataset, TokensAreReadBesideArchives) {
  TemporaryFolder folder;
  folder.write("d/README", "");
  for (int i : {0, 1})
    ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("d/" + std::to_string(i) + ".npz"),
                                            {{"x", Tensor::fromValues<float>({1}, {float(i)})},
                                             {"other", Tensor::fromValues<float>({1}, {0})}})));
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("t.npy"), Tensor::fromValues<int32_t>({2, 2}, {1, 2, 3, 4}))));
  Opened opened = open({folder.file("d"), folder.file("t.npy")},
                       {makeSpec("x", ElementType::F32, {1}), makeSpec("ids", ElementType::I64, {1, 2})});
  ASSERT_EQ(opened.dataset->size(), 2);
  EXPECT_TRUE(opened.said("array 'other'"));
  std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(1));
  EXPECT_EQ(sample[0].values<float>(), (llvm::ArrayRef<float>{1}));
  EXPECT_EQ(sample[1].values<int64_t>(), (llvm::ArrayRef<int64_t>{3, 4}));
}

TEST(Dataset, MissingInputsAreListedBesideWhatIsThere) {
  TemporaryFolder folder;
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("a.npz"),
      {{"sample", zeros(ElementType::F32, {2, 4, 16, 16})},
       {"timestep", Tensor::fromValues<float>({1}, {1})},
       {"encoder_hidden_state", zeros(ElementType::F16, {2, 24, 128})}})));
  expectRefused({folder.file("a.npz")}, unetInputs(2), ErrorKind::BadInput,
                {"has nothing for input 'encoder_hidden_states'",
                 "expected 'encoder_hidden_states': float32 [2, 24, 128]; nearest name: 'encoder_hidden_state'",
                 "found 'encoder_hidden_state': float16 [2, 24, 128]", "found 'timestep': float32 [1]"});
}

TEST(Dataset, WrongShapesAndTypesAreRefused) {
  TemporaryFolder folder;
  std::vector<InputSpec> inputs{makeSpec("x", ElementType::F32, {2, 3}, {"batch", ""})};
  auto write = [&](Tensor tensor) {
    ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("a.npz"), {{"x", tensor}})));
  };
  write(zeros(ElementType::F32, {2, 4}));
  expectRefused({folder.file("a.npz")}, inputs, ErrorKind::BadInput, {"float32 [2, 4]", "float32 [2, 3]"});
  write(zeros(ElementType::I32, {2, 3}));
  expectRefused({folder.file("a.npz")}, inputs, ErrorKind::BadInput, {"holds int32 [2, 3]", "expects float32 [2, 3]"});
  // A value that does not fit is found when the sample is read.
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("ids.npy"), Tensor::fromValues<int64_t>({1, 2}, {1, int64_t(1) << 40}))));
  Opened opened = open({folder.file("ids.npy")}, {makeSpec("ids", ElementType::I32, {1, 2})});
  expectError(opened.dataset->sample(0).takeError(), ErrorKind::BadInput, "element 1 does not fit into int32");
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("x.npy"), Tensor::fromValues<double>({1, 3}, {0, 1e300, 0}))));
  Opened large = open({folder.file("x.npy")}, {makeSpec("x", ElementType::F32, {1, 3})});
  expectError(large.dataset->sample(0).takeError(), ErrorKind::BadInput, "element 1 does not fit into float32");
}

TEST(Dataset, ArgumentsThatMakeNoSenseAreRefused) {
  TemporaryFolder folder;
  std::vector<InputSpec> inputs = unetInputs(2);
  expectRefused({}, inputs, ErrorKind::Usage, {"no samples"});
  expectRefused({"random:x"}, inputs, ErrorKind::Usage, {"random:N"});
  expectRefused({"random:0"}, inputs, ErrorKind::Usage, {"random:N"});
  expectRefused({"random:2", unetFolder}, inputs, ErrorKind::Usage, {"cannot be combined"});
  expectRefused({"/no/such/folder"}, inputs, ErrorKind::IO, {"does not exist"});
  expectRefused({"timestap=x.npy"}, inputs, ErrorKind::Usage, {"nearest input: 'timestep'"});
  expectRefused({"y=x.npy"}, inputs, ErrorKind::Usage, {"inputs: sample, timestep, encoder_hidden_states"});
  expectRefused({folder.write("a.txt", "")}, inputs, ErrorKind::BadInput, {"neither a folder"});
  expectRefused({folder.file("")}, inputs, ErrorKind::BadInput, {"holds no .npz and no .npy"});
  expectRefused({tokenFile}, inputs, ErrorKind::BadInput, {"any of 3 inputs", "say which with INPUT="});
}

TEST(Dataset, NamedColumnsMustAgreeInLength) {
  TemporaryFolder folder;
  std::vector<InputSpec> inputs{makeSpec("a", ElementType::I64, {1, 2}), makeSpec("b", ElementType::F32, {1})};
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("a.npy"), Tensor::fromValues<int64_t>({2, 2}, {1, 2, 3, 4}))));
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("b.npy"), Tensor::fromValues<float>({2}, {5, 6}))));
  // The stems name the inputs, or the arguments do.
  for (std::vector<std::string> arguments : {std::vector<std::string>{folder.file("")},
                                             {"a=" + folder.file("a.npy"), "b=" + folder.file("b.npy")},
                                             {folder.file("a.npy"), "b=" + folder.file("b.npy")}}) {
    Opened opened = open(arguments, inputs);
    ASSERT_EQ(opened.dataset->size(), 2);
    std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(1));
    EXPECT_EQ(sample[0].values<int64_t>(), (llvm::ArrayRef<int64_t>{3, 4}));
    EXPECT_EQ(sample[1].values<float>(), (llvm::ArrayRef<float>{6}));
  }
  expectRefused({folder.file("a.npy"), folder.file("a.npy"), "b=" + folder.file("b.npy")}, inputs, ErrorKind::BadInput,
                {"4 samples of 'a' but 2 of 'b'"});
}

TEST(Dataset, PastWithoutRoomToBeEmptyIsRefused) {
  expectRefused({tokenFile}, decoderInputs(1, 256, 64, 256), ErrorKind::BadInput,
                {"past_key_values.0.key", "--bind past_sequence_length=0"});
}

TEST(Dataset, SamplesMayHaveOtherDimensionsThanTheBoundOnes) {
  TemporaryFolder folder;
  std::string images = writeImages(folder, {{16, 16}, {24, 12}, {16, 16}});
  Opened opened = open({images}, {imageInput(16, 16)});
  ASSERT_EQ(opened.dataset->size(), 3);
  EXPECT_EQ(opened.dataset->otherDimensions(0), Dimensions());
  EXPECT_EQ(opened.dataset->otherDimensions(1), (Dimensions{{"height", 24}, {"width", 12}}));
  EXPECT_EQ(opened.dataset->otherDimensions(2), Dimensions());
  EXPECT_EQ(valueOrFail(opened.dataset->sample(1))[0].shape(), (llvm::ArrayRef<int64_t>{1, 3, 24, 12}));
  EXPECT_EQ(open({images}, {imageInput(16, 12)}).dataset->otherDimensions(1), (Dimensions{{"height", 24}}));
  // A dimension that the model gives a number has that number.
  expectRefused({images}, {makeSpec("image", ElementType::F32, {1, 3, 16, 16}, {"", "", "", "width"})},
                ErrorKind::BadInput, {"1.npz:image' holds float32 [1, 3, 24, 12]", "expects float32 [1, 3, 16, 16]"});
  expectRefused({images}, {makeSpec("image", ElementType::F32, {1, 4, 16, 16}, {"", "", "height", "width"})},
                ErrorKind::BadInput, {"0.npz:image' holds float32 [1, 3, 16, 16]", "expects float32 [1, 4, 16, 16]"});
}

TEST(Dataset, ColumnsAndStackedSamplesMayHaveOtherDimensions) {
  TemporaryFolder folder;
  ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("x.npy"), zeros(ElementType::F32, {4, 3, 24, 12}))));
  ASSERT_FALSE(llvm::errorToBool(
      writeNpz(folder.file("x.npz"), {{"image", zeros(ElementType::F32, {5, 1, 3, 24, 12})}})));
  InputSpec input = makeSpec("image", ElementType::F32, {2, 3, 16, 16}, {"batch", "", "height", "width"});
  // Rows are still grouped to the bound batch.
  Opened column = open({"image=" + folder.file("x.npy")}, {input});
  ASSERT_EQ(column.dataset->size(), 2);
  EXPECT_EQ(column.dataset->otherDimensions(1), (Dimensions{{"height", 24}, {"width", 12}}));
  Opened stacked = open({folder.file("x.npz")}, {imageInput(16, 16)});
  ASSERT_EQ(stacked.dataset->size(), 5);
  EXPECT_EQ(stacked.dataset->otherDimensions(4), (Dimensions{{"height", 24}, {"width", 12}}));
  EXPECT_EQ(valueOrFail(stacked.dataset->sample(4))[0].shape(), (llvm::ArrayRef<int64_t>{1, 3, 24, 12}));
}

TEST(Dataset, ADimensionHasOneValueInAllInputsOfASample) {
  TemporaryFolder folder;
  auto write = [&](int index, int64_t one, int64_t two) {
    ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file(std::to_string(index) + ".npz"),
                                            {{"one", zeros(ElementType::F32, {one})},
                                             {"two", zeros(ElementType::F32, {two})}})));
  };
  std::vector<InputSpec> inputs{makeSpec("one", ElementType::F32, {2}, {"length"}),
                                makeSpec("two", ElementType::F32, {2}, {"length"})};
  write(0, 2, 2);
  write(1, 3, 3);
  EXPECT_EQ(open({folder.file("")}, inputs).dataset->otherDimensions(1), (Dimensions{{"length", 3}}));
  write(2, 3, 2);
  expectRefused({folder.file("")}, inputs, ErrorKind::BadInput,
                {"sample '2.npz' has length=2 in input 'two' but 3 in input 'one'"});
}

TEST(Dataset, CompletedInputsFollowTheSample) {
  TemporaryFolder folder;
  for (int64_t length : {2, 3})
    ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("s" + std::to_string(length) + ".npz"),
                                            {{"input_ids", zeros(ElementType::I64, {1, length})}})));
  Opened opened = open({folder.file("")}, decoderInputs(1, 2, 0, 2));
  EXPECT_EQ(opened.dataset->otherDimensions(0), Dimensions());
  EXPECT_EQ(opened.dataset->otherDimensions(1), (Dimensions{{"sequence_length", 3}, {"total_sequence_length", 3}}));
  std::vector<Tensor> sample = valueOrFail(opened.dataset->sample(1));
  EXPECT_EQ(sample[1].shape(), (llvm::ArrayRef<int64_t>{1, 3}));
  EXPECT_EQ(sample[2].values<int64_t>(), (llvm::ArrayRef<int64_t>{0, 1, 2}));
  EXPECT_EQ(sample[3].shape(), (llvm::ArrayRef<int64_t>{1, 4, 0, 32}));
  expectRefused({folder.file("")}, decoderInputs(-1, -1, -1, -1, -1), ErrorKind::BadInput,
                {"the samples have sequence_length=2 (1 sample) or 3 (1 sample)",
                 "--bind sequence_length=2 --bind total_sequence_length=2 --bind past_sequence_length=0"});
}

TEST(ShapeGroups, AreInTheOrderOfTheirFirstSamples) {
  TemporaryFolder folder;
  Opened opened = open({writeImages(folder, {{24, 12}, {16, 16}, {8, 16}, {24, 12}})}, {imageInput(16, 16)});
  std::vector<ShapeGroup> groups = groupByShape(*opened.dataset);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].samples, (std::vector<int64_t>{0, 3}));
  EXPECT_TRUE(groups[1].isDeployed());
  EXPECT_EQ(describeOtherShapes(groups, "calibration"), "3 of 4 calibration samples have other dimensions than the "
                                                        "deployed ones (height=24, width=12 in 2; height=8 in 1)");
  EXPECT_EQ(describeOtherShapes(llvm::ArrayRef(groups).take_front(2), "calibration"),
            "2 of 3 calibration samples have other dimensions than the deployed ones (height=24, width=12)");
  EXPECT_EQ(describeOtherShapes(groups[1], "evaluation"), "");
}

TEST(Dataset, RandomSamplesAreEqualForEqualSeeds) {
  Opened one = open({"random:3"}, unetInputs(2)), two = open({"random:3"}, unetInputs(2));
  EXPECT_TRUE(one.dataset->isRandom());
  EXPECT_TRUE(one.said("NOT CALIBRATED"));
  EXPECT_EQ(valueOrFail(one.dataset->sampleDigest(1)), valueOrFail(two.dataset->sampleDigest(1)));
  EXPECT_NE(valueOrFail(one.dataset->sampleDigest(1)), valueOrFail(one.dataset->sampleDigest(2)));
  Tensor values = valueOrFail(one.dataset->sample(0))[0];
  double sum = 0, squares = 0;
  for (float value : values.values<float>())
    sum += value, squares += value * value;
  EXPECT_NEAR(sum / 2048, 0, 0.1);
  EXPECT_NEAR(squares / 2048, 1, 0.1);
}

TEST(ModelInputs, EveryModelOfTestdataReadsItsOwnSamples) {
  struct Case {
    const char *model, *samples;
    std::map<std::string, int64_t> bindings;
    int64_t count;
  };
  for (const Case &c : {
           Case{"emoji-diffusion/unet", "emoji-diffusion/calib/unet", {{"batch_size", 2}}, 80},
           Case{"emoji-diffusion/vae_decoder", "emoji-diffusion/eval/vae_decoder", {{"batch_size", 1}}, 8},
           Case{"emoji-diffusion/vae_encoder", "emoji-diffusion/calib/vae_encoder", {{"batch_size", 1}}, 16},
           Case{"emoji-diffusion/text_encoder", "emoji-diffusion/calib/prompt_ids.npy", {{"batch_size", 1}}, 32},
           Case{"debian-llama/decoder", "debian-llama/calib_tokens.npy", {{"sequence_length", 256}}, 128},
           Case{"debian-llama/decoder-genai", "debian-llama/eval_tokens.npy",
                {{"batch_size", 1}, {"sequence_length", 128}, {"total_sequence_length", 128}, {"past_sequence_length", 0},
                 {"kv_cache_dim", 32}}, 128}}) {
    SCOPED_TRACE(c.model);
    onnx_import::ModelSummary summary = valueOrFail(
        onnx_import::summarizeModel(testData("models/" + std::string(c.model) + "/model.onnx")));
    Opened opened = open({testData("models/" + std::string(c.samples))}, valueOrFail(makeInputSpecs(summary, c.bindings)));
    ASSERT_TRUE(opened.dataset);
    EXPECT_EQ(opened.dataset->size(), c.count);
    std::vector<Tensor> last = valueOrFail(opened.dataset->sample(c.count - 1));
    EXPECT_EQ(last.size(), summary.inputs.size());
  }
  onnx_import::ModelSummary unet = valueOrFail(onnx_import::summarizeModel(testData("models/emoji-diffusion/unet/model.onnx")));
  expectError(makeInputSpecs(unet, {{"batchsize", 1}}).takeError(), ErrorKind::Usage, "nearest dimension: 'batch_size'");
  expectError(makeInputSpecs(unet, {{"tokens", 1}}).takeError(), ErrorKind::Usage, "dimensions: batch_size");
}

TEST(Split, HoldsOutEveryFifthSample) {
  std::shared_ptr<Dataset> whole = open({unetFolder}, unetInputs(2)).dataset;
  HeldOutSplit split = valueOrFail(splitHeldOut(whole));
  EXPECT_EQ(split.calibration->size(), 64);
  EXPECT_EQ(split.evaluation->size(), 16);
  EXPECT_EQ(split.evaluation->sampleName(0), "004.npz");
  EXPECT_FALSE(llvm::errorToBool(checkDisjoint(*split.calibration, *split.evaluation)));
  expectError(checkDisjoint(*whole, *split.evaluation), ErrorKind::BadInput,
              "evaluation sample '004.npz' is also calibration sample '004.npz'");
  std::shared_ptr<Dataset> two = open({"random:2"}, unetInputs(2)).dataset;
  EXPECT_EQ(valueOrFail(splitHeldOut(two)).evaluation->sampleName(0), "random sample 1");
  expectError(splitHeldOut(open({"random:1"}, unetInputs(2)).dataset).takeError(), ErrorKind::BadInput, "--eval");
}

TEST(Split, HoldsOutSamplesOfTheDeployedShape) {
  TemporaryFolder folder;
  std::shared_ptr<Dataset> whole =
      open({writeImages(folder, {{16, 16}, {24, 12}, {16, 16}, {24, 12}, {24, 12}})}, {imageInput(16, 16)}).dataset;
  HeldOutSplit split = valueOrFail(splitHeldOut(whole));
  ASSERT_EQ(split.evaluation->size(), 1);
  EXPECT_EQ(split.evaluation->sampleName(0), "2.npz");
  ASSERT_EQ(split.calibration->size(), 4);
  EXPECT_EQ(split.calibration->sampleName(1), "1.npz");
  EXPECT_EQ(split.calibration->otherDimensions(1), (Dimensions{{"height", 24}, {"width", 12}}));
  // One sample of the deployed shape, or none, is kept for calibration.
  for (int64_t height : {8, 20}) {
    TemporaryFolder other;
    HeldOutSplit none = valueOrFail(
        splitHeldOut(open({writeImages(other, {{8, 16}, {24, 16}, {24, 16}})}, {imageInput(height, 16)}).dataset));
    EXPECT_EQ(none.evaluation, nullptr);
    EXPECT_EQ(none.calibration->size(), 3);
  }
}

} // namespace
