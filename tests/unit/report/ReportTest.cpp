// The report fits its schema, gates judge, and verification notices what was changed.
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Report/Manifest.h"
#include "lib/Report/Report.h"
#include "lib/Report/Schema.h"
#include "lib/Report/Verify.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Json.h"
#include "lib/Support/Npy.h"
#include "tests/unit/TestFiles.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include <limits>

using namespace nibble;
using namespace nibble::report;
using namespace nibble::test;

namespace {

const double inf = std::numeric_limits<double>::infinity();

std::string schemaText() { return readText(NIBBLE_SOURCE_DIR "/configs/schema/report.schema.json"); }

std::vector<std::string> violationsOf(const llvm::json::Value &value, llvm::StringRef schema) {
  llvm::Expected<llvm::json::Value> parsed = parseJson(schema, "schema");
  EXPECT_TRUE(static_cast<bool>(parsed));
  return parsed ? validateJson(value, *parsed) : std::vector<std::string>{llvm::toString(parsed.takeError())};
}

Report makeReport() {
  Report report;
  report.toolVersion = "1.2.3";
  report.model = "model.onnx";
  report.recipe = "w8a16";
  report.target = "snapdragon-8gen2";
  report.bindings = {{"batch_size", 2}};
  report.calibrationSamples = 64;
  report.evaluationLabel = "held-out calibration";
  report.evaluationSamples = 16;
  report.headlineArithmetic = htpEmulator.str();
  report.weightsBefore.parameters = 1000;
  report.weightsBefore.bytesByType = {{"float32", 4000}};
  report.weightsAfter.parameters = 1000;
  report.weightsAfter.bytesByType = {{"int8", 990}, {"int32", 40}};
  report.weightsAfter.quantizerBytes = 70;
  report.files = {{"model_qdq.onnx", 1234}};
  report.coverage.computeNodes = 10;
  report.coverage.integerComputeNodes = 9;
  report.coverage.floatOperators = {{"erf", 1}};
  report.outputs = {{"out|put", "onnxruntime", 16, {41.5, 0.9999, 0.01}}, {"same", "htp-emulator", 4, {inf, 1, 0}}};
  report.layers = {{"good", "conv", "g", {50, 1, 0.1}, {40, 1, 0.2}, 8, 16, ""},
                   {"bad", "matmul", "b", {12, 0.9, 3}, {10, 0.8, 4}, 4, 0, "4-bit weights"}};
  report.metrics = {{"sqnr", "htp-emulator", 4, 38, inf}, {"perplexity", "htp-emulator", 4, 12.5, 12},
                    {"top1", "htp-emulator", 4, 0.97, 1}, {"sqnr", "fake-quant", 16, 45, inf}};
  report.estimate = VendorEstimate{"offline estimate for another chip", 812.5, 1000000, 4096, 0};
  report.binary = VendorBinary{2892, 0, 900, 123456};
  report.npuProgram.emplace();
  report.npuProgram->estimator = "a compiler";
  report.npuProgram->operatorsOnNpu = 17;
  report.npuProgram->cycles = 4000;
  report.npuProgram->encodedWeightBytes = 777;
  report.npuProgram->operators = {{"quick", "Conv2D", 1000, 900, 10, 5}, {"slow", "MatMul", 3000, 2900, 20, 6}};
  report.checks = {{"twin", "quanta of the output", 0.6, 1, true}};
  report.notes = {"one thing"};
  sortLayers(report.layers);
  return report;
}

TEST(Report, FitsItsSchema) {
  Report report = makeReport();
  report.gates = evaluateGates({{"sqnr", 30}, {"kl", 1}}, report);
  llvm::json::Value json = toJson(report);
  EXPECT_EQ(violationsOf(json, schemaText()), std::vector<std::string>());
  report.binary.reset();
  report.estimate.reset();
  report.npuProgram.reset();
  EXPECT_EQ(violationsOf(toJson(report), schemaText()), std::vector<std::string>());
  // The validator does see what is wrong.
  llvm::json::Object broken = *json.getAsObject();
  broken["version"] = 2;
  broken["surprise"] = true;
  broken["calibrated"] = "yes";
  broken.erase("layers");
  (*broken.getArray("outputs"))[0].getAsObject()->getObject("error")->operator[]("sqnr_db") = "large";
  std::vector<std::string> violations = violationsOf(std::move(broken), schemaText());
  EXPECT_EQ(violations.size(), 5u) << llvm::join(violations, "\n");
}

TEST(Report, IsReadable) {
  Report report = makeReport();
  EXPECT_EQ(report.layers[0].node, "bad");
  report.gates = evaluateGates({{"sqnr", 40}}, report);
  std::string text = toMarkdown(report);
  for (const char *fragment :
       {"# model.onnx: w8a16 for snapdragon-8gen2", "`batch_size` = 2", "| `out\\|put` | onnxruntime | 16 | 41.50 |",
        "| `same` | htp-emulator | 4 | exact |", "| bits per weight | 32.000 | 8.800 |", "| compute nodes | 9 | 10 | 90.0 % |",
        "In float: erf (1)", "4-bit weights", "| 2892 | 0 | 900 | 123456 |", "not a measurement", "| sqnr | htp-emulator | 4 | 40 | 38 | FAILED: below the limit |",
        "Task metrics (held-out calibration)", "| operators on the NPU | 17 |", "| bytes of encoded weights | 777 |",
        "| `slow` | MatMul | 3000 | 75.0 % | 2900 | 20 | 6 |\n| `quick` | Conv2D | 1000 |"})
    EXPECT_NE(text.find(fragment), std::string::npos) << fragment << "\n" << text;
  EXPECT_EQ(text.find("NOT CALIBRATED"), std::string::npos);
  report.isCalibrated = false;
  EXPECT_NE(toMarkdown(report).find("**NOT CALIBRATED.**"), std::string::npos);
  // Statistics that are reused, or weights alone, come without samples to evaluate.
  report.evaluationSamples = 0;
  EXPECT_NE(toMarkdown(report).find("Calibrated on 64 samples; nothing was evaluated.\n"), std::string::npos);
}

TEST(Gates, JudgeTheHeadlineArithmetic) {
  Report report = makeReport();
  report.metrics.push_back({"fid", "htp-emulator", 4, 2, 0});
  std::vector<GateResult> results = evaluateGates(
      {{"sqnr", 38}, {"sqnr", 38.1}, {"perplexity", 0.5}, {"perplexity", 0.4}, {"top1", 0.04}, {"fid", 1}, {"kl", 1}}, report);
  std::vector<bool> passed;
  for (const GateResult &result : results)
    passed.push_back(result.passed);
  EXPECT_EQ(passed, (std::vector<bool>{true, false, true, false, true, false, false}));
  EXPECT_EQ(results[0].samples, 4);
  expectError(checkGates(results), ErrorKind::Gate, "4 of 7 gates failed");
  expectError(checkGates(results), ErrorKind::Gate, "perplexity in htp-emulator: limit 0.4, found 0.5; above the limit");
  EXPECT_FALSE(llvm::errorToBool(checkGates({results[0], results[2]})));
  report.isCalibrated = false;
  EXPECT_FALSE(evaluateGates({{"sqnr", 1}}, report)[0].passed);
  EXPECT_EQ(valueOrFail(parseGate("kl=0.02")).limit, 0.02);
  for (const char *bad : {"kl", "=1", "kl=", "kl=x", "kl=inf"})
    expectError(parseGate(bad).takeError(), ErrorKind::Usage, "METRIC=NUMBER");
}

//===----------------------------------------------------------------------===//
// Coverage and sizes
//===----------------------------------------------------------------------===//

const char *const quantizedModule = R"(
nn.quantizer @x {storage = i8, scales = dense<0.5> : tensor<f32>}
nn.quantizer @w {storage = i8, symmetric, axis = 0 : i64, scales = dense<[0.5, 0.25]> : tensor<2xf32>}
func.func @main(%x: tensor<1x3x4x4xf32> {nn.name = "x"}) -> (tensor<2x16xf32>, tensor<1x2x4x4xf32>) {
  %w = nn.constant(dense<1> : tensor<2x3x1x1xi8>) : tensor<2x3x1x1xi8>
  %scalar = nn.constant(dense<2.0> : tensor<f32>) : tensor<f32>
  %shape = nn.constant(dense<[2, 16]> : tensor<2xi64>) : tensor<2xi64>
  %xq = nn.fake_quant %x, @x : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32>
  %wq = nn.dequantize_weight %w, @w : (tensor<2x3x1x1xi8>) -> tensor<2x3x1x1xf32>
  %y = nn.conv %xq, %wq {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
       : (tensor<1x3x4x4xf32>, tensor<2x3x1x1xf32>) -> tensor<1x2x4x4xf32>
  %r = nn.relu %y : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %rq = nn.fake_quant %r, @x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %flat = nn.reshape %rq, %shape : (tensor<1x2x4x4xf32>, tensor<2xi64>) -> tensor<2x16xf32>
  %flatq = nn.fake_quant %flat, @x : (tensor<2x16xf32>) -> tensor<2x16xf32>
  %e = nn.erf %rq : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %m = nn.mul %e, %scalar : (tensor<1x2x4x4xf32>, tensor<f32>) -> tensor<1x2x4x4xf32>
  %mq = nn.fake_quant %m, @x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %flatq, %mq : tensor<2x16xf32>, tensor<1x2x4x4xf32>
})";

TEST(Coverage, CountsWhatIsReallyOnTheGrid) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(quantizedModule, &context);
  ASSERT_TRUE(module);
  Coverage coverage = computeCoverage(*module);
  // conv, relu (applied before the rounding), erf, mul; the reshape only moves values.
  EXPECT_EQ(coverage.computeNodes, 4);
  EXPECT_EQ(coverage.integerComputeNodes, 2);
  EXPECT_EQ(coverage.multiplyAccumulates, 32 * 3);
  EXPECT_EQ(coverage.integerMultiplyAccumulates, 32 * 3);
  EXPECT_EQ(coverage.floatOperators, (std::map<std::string, int64_t>{{"erf", 1}, {"mul", 1}}));
  // Results of 32 values each and an input of 48; only erf's result is never rounded.
  EXPECT_EQ(coverage.activationBytes, 4 * (4 * 32 + 48));
  EXPECT_EQ(coverage.integerActivationBytes, 4 * (3 * 32 + 48));

  WeightSizes sizes = valueOrFail(computeWeightSizes(*module));
  EXPECT_EQ(sizes.parameters, 7);
  EXPECT_EQ(sizes.bytesByType, (std::map<std::string, int64_t>{{"float32", 4}, {"int8", 6}}));
  EXPECT_EQ(sizes.quantizerBytes, 8);
  EXPECT_DOUBLE_EQ(sizes.bitsPerWeight(), 8.0 * 18 / 7);
}

//===----------------------------------------------------------------------===//
// Manifest and verification
//===----------------------------------------------------------------------===//

llvm::Error openAnything(llvm::StringRef path) { return llvm::Error::success(); }

llvm::Error verify(llvm::StringRef folder) {
  llvm::Expected<VerifySummary> summary = verifyFolder(folder, {openAnything, schemaText()});
  return summary ? llvm::Error::success() : summary.takeError();
}

/// A folder with a report, a binary and its io.json, arrays, and the records of the run.
void fillFolder(const TemporaryFolder &folder, llvm::StringRef modelPath) {
  ASSERT_FALSE(llvm::errorToBool(writeReport(folder.file("."), makeReport())));
  folder.write("blocks/a.bin", "binary");
  folder.write("blocks/a.io.json", "{\"binary\": {\"file\": \"a.bin\", \"sha256\": \"" + sha256({"binary", 6}) + "\"}}");
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("x.npz"), {{"x", Tensor::fromValues<float>({1}, {1})}})));
  Manifest manifest{"1.2.3", "name: w8a16\n", "onnx", {{"batch", 1}}, {{"seed", "0"}}, {{"model", modelPath.str()}}};
  ASSERT_FALSE(llvm::errorToBool(writeManifest(folder.file("."), manifest)));
  ASSERT_FALSE(llvm::errorToBool(writeRunRecord(folder.file("."), startRunRecord({"nibble", "compile"}))));
}

TEST(Manifest, IsTheSameForTheSameInputsElsewhere) {
  TemporaryFolder one, two;
  fillFolder(one, one.write("../model-a/unet/model.onnx", "m"));
  fillFolder(two, two.write("../model-b/unet/model.onnx", "m"));
  EXPECT_EQ(readText(one.file("manifest.json")), readText(two.file("manifest.json")));
  EXPECT_NE(readText(one.file("manifest.json")).find("\"unet/model.onnx\""), std::string::npos);
  EXPECT_FALSE(llvm::errorToBool(verify(one.file("."))));
  llvm::Expected<llvm::json::Value> run = readJson(one.file("run.json"));
  ASSERT_TRUE(static_cast<bool>(run));
  EXPECT_GT(*run->getAsObject()->getInteger("peak_memory_bytes"), 1 << 20);
}

TEST(Verify, NamesEveryProblem) {
  TemporaryFolder folder;
  fillFolder(folder, folder.write("../model/m.onnx", "m"));
  std::string report = readText(folder.file("report.json"));
  std::string flipped = report;
  flipped[report.find("1.2.3")] = '9';
  folder.write("report.json", flipped);
  expectError(verify(folder.file(".")), ErrorKind::BadInput, "'report.json' was changed: its SHA-256 differs");
  folder.write("report.json", report + " ");
  expectError(verify(folder.file(".")), ErrorKind::BadInput, "bytes, expected");
  folder.write("report.json", report);
  EXPECT_FALSE(llvm::errorToBool(verify(folder.file("."))));
  folder.write("blocks/more.txt", "x");
  expectError(verify(folder.file(".")), ErrorKind::BadInput, "'blocks/more.txt' is not in the manifest");
  llvm::sys::fs::remove(folder.file("blocks/more.txt"));
  llvm::sys::fs::remove(folder.file("x.npz"));
  expectError(verify(folder.file(".")), ErrorKind::BadInput, "'x.npz' is missing");
  llvm::sys::fs::remove(folder.file("manifest.json"));
  expectError(verify(folder.file(".")), ErrorKind::IO, "manifest.json");
}

TEST(Verify, ReadsWhatWasWrittenWrong) {
  struct Case {
    const char *name, *contents, *fragment;
  };
  for (const Case &bad : {Case{"a.json", "{", "is not JSON"}, Case{"a.npz", "x", "not a .npz"}, Case{"a.npy", "x", "not a .npy"},
                          Case{"a.safetensors", "x", "too short"}, Case{"io.json", "{}", "names no binary"},
                          Case{"report.json", "{}", "lacks 'coverage'"},
                          Case{"io.json", "{\"binary\": {\"file\": \"../b\", \"sha256\": \"\"}}", "outside"},
                          Case{"io.json", "{\"binary\": {\"file\": \"io.json\", \"sha256\": \"\"}}", "another SHA-256"}}) {
    SCOPED_TRACE(bad.fragment);
    TemporaryFolder folder;
    folder.write(bad.name, bad.contents);
    ASSERT_FALSE(llvm::errorToBool(writeManifest(folder.file("."), {})));
    expectError(verify(folder.file(".")), ErrorKind::BadInput, bad.fragment);
  }
}

TEST(Verify, RefusesHostileManifests) {
  TemporaryFolder folder;
  for (auto [text, fragment] : {std::pair<const char *, const char *>{"[]", "is not a manifest"},
                                {"{\"schema\":\"nibble-manifest\",\"version\":2,\"outputs\":[]}", "expected version 1"},
                                {"{\"schema\":\"nibble-manifest\",\"version\":1,\"outputs\":[{}]}", "without name"},
                                {"{\"schema\":\"nibble-manifest\",\"version\":1,\"outputs\":[{\"name\":\"../../etc/passwd\","
                                 "\"sha256\":\"\",\"bytes\":1}]}", "leads outside"},
                                {"{\"schema\":\"nibble-manifest\",\"version\":1,\"outputs\":[{\"name\":\"/etc/passwd\","
                                 "\"sha256\":\"\",\"bytes\":1}]}", "not a relative path"}}) {
    folder.write("manifest.json", text);
    expectError(verify(folder.file(".")), ErrorKind::BadInput, fragment);
  }
}

} // namespace
