// The models of testdata import, with the names, types and weights that they have.
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Import/ONNX/NodeBuilder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <fstream>
#include <gtest/gtest.h>
#include <regex>

using namespace nibble;
using namespace nibble::onnx_import;

namespace {

struct Imported {
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function() { return module->lookupSymbol<mlir::func::FuncOp>("main"); }
};

/// An import that must succeed; `function()` is null and the test fails where it does not.
Imported import(const std::string &name, const ImportOptions &options) {
  Imported result;
  result.context = std::make_unique<mlir::MLIRContext>(mlir::MLIRContext::Threading::DISABLED);
  result.context->loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto module = importModel(NIBBLE_TESTDATA "/models/" + name + "/model.onnx", *result.context, options);
  if (module)
    result.module = std::move(*module);
  else
    ADD_FAILURE() << llvm::toString(module.takeError());
  return result;
}

std::string typeText(mlir::Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

struct Case {
  const char *name;
  ImportOptions options;
  std::vector<std::string> inputs, outputs;
};

void PrintTo(const Case &value, std::ostream *os) { *os << value.name; }

class ImportModels : public ::testing::TestWithParam<Case> {};

TEST_P(ImportModels, KeepsNamesAndTypes) {
  const Case &expected = GetParam();
  Imported model = import(expected.name, expected.options);
  ASSERT_TRUE(model.module);
  mlir::func::FuncOp function = model.function();
  std::vector<std::string> inputs, outputs;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    inputs.push_back(function.getArgAttrOfType<mlir::StringAttr>(i, nn::nameAttribute).str() + " " +
                     typeText(function.getArgumentTypes()[i]));
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    outputs.push_back(function.getResultAttrOfType<mlir::StringAttr>(i, nn::nameAttribute).str());
  inputs.resize(std::min(inputs.size(), expected.inputs.size()));
  outputs.resize(std::min(outputs.size(), expected.outputs.size()));
  EXPECT_EQ(inputs, expected.inputs);
  EXPECT_EQ(outputs, expected.outputs);
}

TEST_P(ImportModels, LeavesWeightsInTheirFiles) {
  Imported model = import(GetParam().name, GetParam().options);
  ASSERT_TRUE(model.module);
  int64_t blobs = 0;
  model.function().walk([&](nn::ConstantOp constant) {
    if (auto blob = mlir::dyn_cast<nn::BlobAttr>(constant.getValue())) {
      EXPECT_FALSE(blob.getFile().starts_with("spill:")) << nn::nodeName(constant);
      ++blobs;
    }
    llvm::Expected<Tensor> values = nn::readConstant(constant.getResult());
    ASSERT_TRUE(bool(values)) << llvm::toString(values.takeError());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(values->raw()) % (bitWidth(values->elementType()) / 8), 0u);
  });
  EXPECT_GT(blobs, 10);
}

INSTANTIATE_TEST_SUITE_P(
    Testdata, ImportModels,
    ::testing::Values(
        Case{"emoji-diffusion/unet",
             {{{"batch_size", 2}}},
             {"sample tensor<2x4x16x16xf32>", "timestep tensor<1xf32>", "encoder_hidden_states tensor<2x24x128xf32>"},
             {"out_sample"}},
        Case{"emoji-diffusion/unet",
             {},
             {"sample tensor<?x4x16x16xf32>", "timestep tensor<1xf32>", "encoder_hidden_states tensor<?x24x128xf32>"},
             {"out_sample"}},
        Case{"emoji-diffusion/vae_decoder", {{{"batch_size", 1}}}, {"latent_sample tensor<1x4x16x16xf32>"}, {"sample"}},
        Case{"emoji-diffusion/vae_encoder",
             {{{"batch_size", 1}}},
             {"sample tensor<1x3x64x64xf32>"},
             {"latent_parameters"}},
        Case{"emoji-diffusion/text_encoder",
             {{{"batch_size", 1}}},
             {"input_ids tensor<1x24xi32>"},
             {"last_hidden_state"}},
        Case{"debian-llama/decoder", {{{"sequence_length", 64}}}, {"input_ids tensor<1x64xi64>"}, {"logits"}},
        Case{"debian-llama/decoder-genai",
             {{{"batch_size", 1}, {"sequence_length", 8}, {"total_sequence_length", 8}, {"past_sequence_length", 4}}},
             {"input_ids tensor<1x8xi64>", "attention_mask tensor<1x8xi64>"},
             {"logits", "present.0.key", "present.1.key"}}));

TEST(ImportOptionsTest, UnknownBindingNamesTheKnownOnes) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto module = importModel(NIBBLE_TESTDATA "/models/emoji-diffusion/unet/model.onnx", context, {{{"batch", 2}}});
  ASSERT_FALSE(bool(module));
  std::string message = llvm::toString(module.takeError());
  EXPECT_NE(message.find("has a dimension named 'batch'"), std::string::npos) << message;
  EXPECT_NE(message.find("symbolic dimensions are batch_size"), std::string::npos) << message;
}

TEST(SummaryTest, CountsWhatTheModelHolds) {
  llvm::Expected<ModelSummary> summary =
      summarizeModel(NIBBLE_TESTDATA "/models/debian-llama/decoder-genai/model.onnx");
  ASSERT_TRUE(bool(summary)) << llvm::toString(summary.takeError());
  EXPECT_EQ(summary->irVersion, 10);
  EXPECT_EQ(summary->operators["com.microsoft::GroupQueryAttention"], 5);
  EXPECT_EQ(summary->operators["MatMul"], 26);
  EXPECT_EQ(summary->externalBytes, 23211008);
  EXPECT_EQ(summary->bytesByElementType["float"], 23211008);
  ASSERT_FALSE(summary->symbolicDimensions.empty());
  EXPECT_EQ(summary->symbolicDimensions[0].name, "batch_size");
  EXPECT_EQ(summary->symbolicDimensions[0].uses[0], (std::pair<std::string, int64_t>("input_ids", 0)));
}

/// docs/spec/import.md names every operator that has a conversion.
TEST(Documentation, ListsEveryOperator) {
  std::ifstream file(NIBBLE_DOCS "/spec/import.md");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ASSERT_FALSE(text.empty());
  for (const auto &conversion : conversionTable()) {
    std::string name = conversion.first().rsplit(':').second.str();
    if (name.empty())
      name = conversion.first().str();
    EXPECT_TRUE(std::regex_search(text, std::regex("\\b" + name + "\\b"))) << conversion.first().str();
  }
}

} // namespace
