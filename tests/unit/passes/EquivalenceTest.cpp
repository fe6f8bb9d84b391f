// The passes of the normalize and legalize phases keep the float function: outputs of the imported
// model, of the normalized one and of the legalized one agree.
#include "lib/Import/ONNX/Import.h"
#include "passes/Legalize/Legalizations.h"
#include "passes/Passes.h"
#include "tests/unit/passes/FloatPrograms.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringMap.h"
#include <gtest/gtest.h>

using namespace nibble;
using namespace nibble::test;

namespace {

struct Case {
  const char *path;
  std::map<std::string, int64_t> bindings;
  /// How many operations of a name the normalized model has.
  std::map<std::string, int> expected;
};

void PrintTo(const Case &model, std::ostream *os) { *os << model.path; }

class Equivalence : public ::testing::TestWithParam<Case> {
protected:
  Equivalence() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  mlir::MLIRContext context;
};

llvm::StringMap<int> countOperations(mlir::ModuleOp module) {
  llvm::StringMap<int> counts;
  module.walk([&](mlir::Operation *op) { ++counts[op->getName().stripDialect()]; });
  return counts;
}

TEST_P(Equivalence, HoldsAfterNormalizeAndLegalize) {
  onnx_import::ImportOptions options;
  options.bindings = GetParam().bindings;
  auto module = onnx_import::importModel(std::string(NIBBLE_TESTDATA) + "/models/" + GetParam().path, context, options);
  ASSERT_TRUE(static_cast<bool>(module)) << llvm::toString(module.takeError());

  // Types have to be static to run; nothing else is done to the reference.
  mlir::PassManager infer(&context);
  infer.nest<mlir::func::FuncOp>().addPass(createInferShapesPass());
  ASSERT_TRUE(mlir::succeeded(infer.run(**module)));
  std::vector<Tensor> reference = run(**module);

  mlir::PassManager normalize(&context);
  buildNormalizePipeline(normalize);
  ASSERT_TRUE(mlir::succeeded(normalize.run(**module)));
  llvm::StringMap<int> counts = countOperations(**module);
  for (const auto &[name, count] : GetParam().expected)
    EXPECT_EQ(counts.lookup(name), count) << name;
  EXPECT_GT(counts.lookup("block"), 1);
  for (mlir::Operation &op : (*module)->lookupSymbol<mlir::func::FuncOp>("main").getBody().front().without_terminator())
    EXPECT_TRUE(mlir::isa<nn::BlockOp>(op)) << op.getName().getStringRef().str();
  expectClose(reference, run(**module));

  mlir::PassManager legalize(&context);
  LegalizePassOptions patterns;
  for (const Legalization &legalization : getLegalizations())
    if (legalization.populate)
      patterns.patterns.push_back(legalization.name.str());
  legalize.nest<mlir::func::FuncOp>().addPass(createLegalizePass(patterns));
  legalize.nest<mlir::func::FuncOp>().addPass(createSimplifyOperatorsPass());
  legalize.nest<mlir::func::FuncOp>().addPass(createInferShapesPass());
  legalize.nest<mlir::func::FuncOp>().addPass(createPruneBlocksPass());
  ASSERT_TRUE(mlir::succeeded(legalize.run(**module)));
  counts = countOperations(**module);
  for (const char *name : {"group_normalization", "group_query_attention", "rotary_embedding", "einsum", "is_nan"})
    EXPECT_EQ(counts.lookup(name), 0) << name;
  expectClose(reference, run(**module));
}

const Case cases[] = {
    {"emoji-diffusion/unet/model.onnx",
     {{"batch_size", 2}},
     {{"group_normalization", 30}, {"layer_normalization", 21}, {"gelu", 7}, {"erf", 0}, {"shape", 0}}},
    {"emoji-diffusion/vae_decoder/model.onnx", {{"batch_size", 1}}, {{"group_normalization", 18}, {"shape", 0}}},
    {"emoji-diffusion/vae_encoder/model.onnx", {{"batch_size", 1}}, {{"group_normalization", 12}, {"shape", 0}}},
    {"emoji-diffusion/text_encoder/model.onnx", {{"batch_size", 2}}, {{"trilu", 0}, {"where", 0}}},
    {"debian-llama/decoder/model.onnx",
     {{"sequence_length", 48}},
     {{"rms_normalization", 11}, {"is_nan", 0}, {"gather_nd", 0}, {"where", 0}, {"cos", 0}}},
    {"debian-llama/decoder-genai/model.onnx",
     {{"batch_size", 1}, {"sequence_length", 12}, {"past_sequence_length", 0}, {"total_sequence_length", 12},
      {"kv_cache_dim", 32}},
     {{"group_query_attention", 5}}},
    {"debian-llama/decoder-genai/model.onnx",
     {{"batch_size", 2}, {"sequence_length", 1}, {"past_sequence_length", 11}, {"total_sequence_length", 12},
      {"kv_cache_dim", 32}},
     {{"group_query_attention", 5}}},
    {"debian-llama/decoder-genai/model.onnx",
     {{"batch_size", 1}, {"sequence_length", 3}, {"past_sequence_length", 9}, {"total_sequence_length", 12},
      {"kv_cache_dim", 32}},
     {{"group_query_attention", 5}}},
};

INSTANTIATE_TEST_SUITE_P(Models, Equivalence, ::testing::ValuesIn(cases));

} // namespace
