#include "lib/Support/Error.h"
#include "lib/Target/Target.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <gtest/gtest.h>

using namespace nibble;
using Kind = Legality::Kind;
using Granularity = EncodingClass::Granularity;

namespace {

EncodingClass activation(ElementType type, bool symmetric = false) { return {type, symmetric, Granularity::Tensor, 0, false}; }
EncodingClass weight(ElementType type, Granularity granularity, bool symmetric = true) {
  return {type, symmetric, granularity, 32, true};
}

std::unique_ptr<Target> loadOrFail(llvm::StringRef name) {
  auto target = Target::load(name);
  if (!target) {
    ADD_FAILURE() << llvm::toString(target.takeError());
    return nullptr;
  }
  return std::move(*target);
}

TEST(Target, EveryInstalledTargetLoads) {
  std::vector<std::string> names = Target::listNames();
  EXPECT_EQ(names, (std::vector<std::string>{"ethos-u55-256", "ethos-u65-512", "ethos-u85-1024", "onnx", "snapdragon-8elite",
                                             "snapdragon-8gen2", "snapdragon-8gen3", "tosa"}));
  for (const std::string &name : names)
    EXPECT_TRUE(loadOrFail(name));
}

TEST(Target, ThePlainTargetTakesEverything) {
  auto target = loadOrFail("onnx");
  ASSERT_TRUE(target);
  EXPECT_TRUE(target->hasFloatArithmetic);
  EXPECT_EQ(target->backend, "onnx");
  EXPECT_EQ(target->legality({"erf", {{}}, {}, {}}).kind, Kind::Native);
}

TEST(Target, EthosTargetsSayWhatVelaTakes) {
  auto u85 = loadOrFail("ethos-u85-1024"), u55 = loadOrFail("ethos-u55-256"), tosa = loadOrFail("tosa");
  ASSERT_TRUE(u85 && u55 && tosa);
  EXPECT_EQ(u85->backend, "vela");
  EXPECT_TRUE(u85->runsIntegerPrograms() && tosa->runsIntegerPrograms());
  EXPECT_EQ(u85->backendOptions["memory_mode"], "Dedicated_Sram_512KB");
  EXPECT_EQ(std::pair(u55->int4Minimum, u55->int4Maximum), (std::pair<int64_t, int64_t>(-7, 7)));
  EncodingClass i8 = activation(ElementType::I8), i16 = activation(ElementType::I16, true), none;
  struct Case {
    const char *operation;
    std::vector<EncodingClass> operands;
    EncodingClass result;
    Kind onU85, onU55;
  };
  for (const Case &c :
       {Case{"matmul", {i8, i8}, i8, Kind::Native, Kind::Native},
        Case{"matmul", {i16, i16}, i16, Kind::Native, Kind::Unsupported},
        Case{"matmul", {i16, i8}, i16, Kind::Unsupported, Kind::Unsupported},
        Case{"matmul", {i16, weight(ElementType::I8, Granularity::Axis)}, i16, Kind::Native, Kind::Native},
        Case{"matmul", {i16, weight(ElementType::I4, Granularity::Block)}, i16, Kind::Native, Kind::Native},
        Case{"matmul", {i16, weight(ElementType::I16, Granularity::Axis)}, i16, Kind::Unsupported, Kind::Unsupported},
        Case{"conv", {i8, weight(ElementType::U8, Granularity::Tensor, false)}, i8, Kind::Unsupported, Kind::Unsupported},
        Case{"softmax", {i16}, none, Kind::Unsupported, Kind::Unsupported},
        Case{"layer_normalization", {i8, none}, i8, Kind::Native, Kind::Native},
        Case{"gather", {i8, none}, i8, Kind::Native, Kind::Unsupported},
        Case{"where", {none, i8, i8}, i8, Kind::Native, Kind::Unsupported},
        Case{"einsum", {i8, i8}, i8, Kind::Rewrite, Kind::Rewrite}}) {
    EXPECT_EQ(u85->legality({c.operation, c.operands, c.result, {}}).kind, c.onU85) << c.operation;
    EXPECT_EQ(tosa->legality({c.operation, c.operands, c.result, {}}).kind, c.onU85) << c.operation;
    EXPECT_EQ(u55->legality({c.operation, c.operands, c.result, {}}).kind, c.onU55) << c.operation;
  }
}

TEST(Target, Snapdragon8Gen2SaysWhatWasMeasured) {
  auto target = loadOrFail("snapdragon-8gen2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->backendOptions["soc_model"], "43");
  EXPECT_EQ(target->backendOptions["architecture"], "v73");
  EXPECT_TRUE(target->unsignedActivations);
  auto ask = [&](llvm::StringRef operation, std::vector<EncodingClass> operands, EncodingClass result) {
    Legality answer = target->legality({operation.str(), std::move(operands), result, {}});
    EXPECT_FALSE(answer.evidence.empty());
    EXPECT_EQ(answer.kind == Kind::Rewrite, !answer.rewrites.empty());
    EXPECT_TRUE(answer.kind == Kind::Native || !answer.reason.empty());
    return answer.kind;
  };
  EncodingClass u8 = activation(ElementType::U8), u16 = activation(ElementType::U16);
  EncodingClass s8Axis = weight(ElementType::I8, Granularity::Axis);
  // Weights.
  EXPECT_EQ(ask("matmul", {u16, s8Axis}, u16), Kind::Native);
  EXPECT_EQ(ask("matmul", {u8, s8Axis}, u8), Kind::Native);
  EXPECT_EQ(ask("matmul", {u8, s8Axis}, u16), Kind::Rewrite);
  EXPECT_EQ(ask("conv", {u16, weight(ElementType::U8, Granularity::Tensor, /*symmetric=*/false)}, u16), Kind::Unsound);
  EXPECT_EQ(ask("conv", {u8, weight(ElementType::U8, Granularity::Tensor, /*symmetric=*/false)}, u8), Kind::Native);
  EXPECT_EQ(ask("matmul", {u16, weight(ElementType::I4, Granularity::Block)}, u16), Kind::Native);
  EXPECT_EQ(ask("matmul", {u8, weight(ElementType::I4, Granularity::Block)}, u8), Kind::Unsupported);
  EXPECT_EQ(ask("matmul", {u8, weight(ElementType::I4, Granularity::LPBQ)}, u8), Kind::Native);
  EXPECT_EQ(ask("gemm", {u8, weight(ElementType::I4, Granularity::LPBQ)}, u8), Kind::Unsupported);
  EXPECT_EQ(ask("matmul", {u16, weight(ElementType::U4, Granularity::Block, /*symmetric=*/false)}, u16), Kind::Unsound);
  EXPECT_EQ(ask("matmul", {u8, weight(ElementType::U8, Granularity::Axis, /*symmetric=*/false)}, u8), Kind::Unsupported);
  EncodingClass bias = weight(ElementType::I32, Granularity::Tensor);
  EXPECT_EQ(ask("conv", {u8, weight(ElementType::I4, Granularity::Tensor), bias}, u8), Kind::Unsupported);
  EXPECT_EQ(ask("conv", {u8, weight(ElementType::I4, Granularity::Tensor)}, u8), Kind::Native);
  // Products of activations.
  EXPECT_EQ(ask("matmul", {u16, u16}, u16), Kind::Rewrite);
  EXPECT_EQ(ask("matmul", {u16, activation(ElementType::U8, true)}, u16), Kind::Native);
  EXPECT_EQ(ask("matmul", {u8, activation(ElementType::I8, true)}, u8), Kind::Unsound);
  // Others.
  EXPECT_EQ(ask("erf", {u8}, u8), Kind::Rewrite);
  EXPECT_EQ(ask("softmax", {u8}, activation(ElementType::I8, /*symmetric=*/true)), Kind::Unsound);
  EXPECT_EQ(ask("softmax", {activation(ElementType::I8)}, activation(ElementType::I8)), Kind::Native);
  EXPECT_EQ(ask("rms_normalization", {u8, weight(ElementType::U8, Granularity::Tensor, false)}, u8), Kind::Rewrite);
  EXPECT_EQ(ask("rms_normalization", {u16, weight(ElementType::U16, Granularity::Tensor, false)}, u16), Kind::Native);
  EXPECT_EQ(ask("rms_normalization", {u16, {}}, u16), Kind::Unsound) << "a float scale";
  EXPECT_EQ(ask("softmax", {u16}, u16), Kind::Native);
  EXPECT_EQ(ask("gelu", {{}}, {}), Kind::Unsupported);
  EXPECT_EQ(ask("mish", {u8}, u8), Kind::Unsupported);
  Legality deep = target->legality({"transpose", {u8}, u8, {{1, 2, 3, 4, 5, 6}}});
  EXPECT_EQ(deep.kind, Kind::Rewrite);
  EXPECT_EQ(deep.rewrites, std::vector<std::string>{"limit-rank"});
}

TEST(Target, EveryRewriteOfARuleIsAmongTheLegalizations) {
  for (const std::string &name : Target::listNames()) {
    auto target = loadOrFail(name);
    ASSERT_TRUE(target);
    for (llvm::StringRef operation : {"erf", "group_normalization", "rotary_embedding", "group_query_attention", "matmul", "einsum",
                                      "rms_normalization"})
      for (ElementType type : {ElementType::U8, ElementType::U16}) {
        Legality answer = target->legality({operation.str(), {activation(type), activation(type)}, activation(type), {}});
        for (const std::string &rewrite : answer.rewrites)
          EXPECT_TRUE(llvm::is_contained(target->legalizations, rewrite)) << name << ": " << rewrite;
      }
  }
}

TEST(Target, BoundsFollowOperationWidthAndWeight) {
  auto target = loadOrFail("snapdragon-8gen2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->errorBound("softmax", ElementType::U8).maximum, 2);
  EXPECT_EQ(target->errorBound("softmax", ElementType::U16).maximum, 120);
  EXPECT_EQ(target->errorBound("transpose", ElementType::U16).maximum, 1);
  EncodingClass int4 = weight(ElementType::I4, Granularity::Axis), int8 = weight(ElementType::I8, Granularity::Axis),
                lpbq = weight(ElementType::I4, Granularity::LPBQ);
  EXPECT_EQ(target->errorBound("matmul", ElementType::U16, &int4).maximum, 57);
  EXPECT_EQ(target->errorBound("matmul", ElementType::U16, &int8).maximum, 8);
  EXPECT_EQ(target->errorBound("matmul", ElementType::U16, &lpbq).maximum, 2);
  EXPECT_EQ(target->errorBound("matmul", ElementType::U16).maximum, 4);
}

TEST(Target, UnknownNamesGetTheNearest) {
  auto target = Target::load("snapdragon-8gen");
  ASSERT_FALSE(bool(target));
  llvm::handleAllErrors(target.takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::Usage);
    EXPECT_EQ(error.message, "unknown target 'snapdragon-8gen'");
    ASSERT_EQ(error.notes.size(), 2u);
    EXPECT_EQ(error.notes[0], "did you mean 'snapdragon-8gen2'");
  });
}

/// Loads target "t" from a configuration folder that holds only `text`.
std::string errorOf(const std::string &text) {
  llvm::SmallString<128> root;
  EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-configs", root));
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(root); });
  std::string folder = (root + "/targets").str();
  EXPECT_FALSE(llvm::sys::fs::create_directories(folder));
  {
    std::error_code error;
    llvm::raw_fd_ostream(folder + "/t.yaml", error) << text;
  }
  setenv("NIBBLE_CONFIG_DIR", root.c_str(), 1);
  auto target = Target::load("t");
  unsetenv("NIBBLE_CONFIG_DIR");
  if (target)
    return "";
  std::string message = llvm::toString(target.takeError());
  return llvm::StringRef(message).substr(message.find("t.yaml")).str();
}

const std::string head = "schema: nibble-target-1\nname: t\ndescription: d\nbackend: onnx\nfloat-arithmetic: true\nsymmetric-int16: false\n"
                         "unsigned-activations: false\n";
const std::string bounds = "bounds:\n- {operations: ['*'], maximum: 1, root-mean-square: 1, evidence: e}\n";
const std::string legality = "legality:\n- {operations: ['*'], verdict: native, evidence: e}\n";

TEST(TargetFile, MistakesAreLocated) {
  EXPECT_EQ(errorOf(head + legality + bounds), "");
  EXPECT_EQ(errorOf(head + "legalisations: []\n" + legality + bounds),
            "t.yaml:8:1: unknown key 'legalisations'\nnote: did you mean 'legalizations'");
  EXPECT_EQ(errorOf(head + "name: t\n" + legality + bounds), "t.yaml:8:1: key 'name' is given twice");
  EXPECT_EQ(errorOf("schema: nibble-target-1\nname: t\n"), "t.yaml:1:1: key 'description' is missing");
  EXPECT_EQ(errorOf("name: t\n"), "t.yaml:1:1: key 'schema' is missing");
  EXPECT_EQ(errorOf("schema: nibble-target-2\n"), "t.yaml:1:9: wanted 'nibble-target-1', found 'nibble-target-2'");
  EXPECT_EQ(errorOf(head + legality), "t.yaml:1:1: wanted a last error bound for operation '*' and any storage");
  EXPECT_EQ(errorOf(head + bounds), "t.yaml:1:1: wanted at least one legality rule");
  EXPECT_EQ(errorOf(head + bounds + "legality:\n- {operations: [conv], verdict: maybe, evidence: e}\n"),
            "t.yaml:11:33: unknown verdict 'maybe'\nnote: known: native, rewrite, unsound, unsupported");
  EXPECT_EQ(errorOf(head + bounds + "legality:\n- {operations: [conv], verdict: rewrite, reason: r, evidence: e}\n"),
            "t.yaml:11:3: verdict 'rewrite' needs key 'rewrites'");
  EXPECT_EQ(errorOf(head + bounds + "legality:\n- {operations: [conv], verdict: unsound, evidence: e}\n"),
            "t.yaml:11:3: key 'reason' is missing");
  EXPECT_EQ(errorOf(head + bounds + "legality:\n- {operations: [a], result: {storage: uint9}, verdict: native}\n"),
            "t.yaml:11:39: unknown storage type 'uint9'\n"
            "note: known: none, int4, uint4, int8, uint8, int16, uint16, int32");
  EXPECT_EQ(errorOf(head + "options: {soc_model: 43}\n" + legality + bounds).substr(0, 60),
            "t.yaml:8:11: unknown option 'soc_model' of back end 'onnx'\nn");
  EXPECT_EQ(errorOf("schema: nibble-target-1\nname: t\ndescription: d\nbackend: qnn-htp\nfloat-arithmetic: false\n"
                    "symmetric-int16: false\nunsigned-activations: true\noptions: {soc_model: 43, vtcm_md: 4}\n" +
                    legality + bounds),
            "t.yaml:8:26: unknown option 'vtcm_md' of back end 'qnn-htp'\nnote: did you mean 'vtcm_mb'");
  EXPECT_EQ(errorOf(head + "options: [\n").substr(0, 16), "t.yaml:9:1: not ");
  EXPECT_EQ(errorOf(std::string(200, '[')), "t.yaml: nested deeper than 64 levels");
  EXPECT_EQ(errorOf(head + legality + "bounds:\n- {operations: ['*'], maximum: -1, root-mean-square: 1, evidence: e}\n"),
            "t.yaml:11:32: wanted a number of at least 0, found -1");
}

} // namespace
