// The passes of the equalize phase keep the float function: outputs of real models agree before and after, and as many
// places are rewritten as the models have.
#include "lib/Import/ONNX/Import.h"
#include "passes/Passes.h"
#include "tests/unit/passes/FloatPrograms.h"

#include "mlir/IR/MLIRContext.h"

using namespace nibble;
using namespace nibble::test;

namespace {

using Passes = std::vector<std::unique_ptr<mlir::Pass>>;

struct Model {
  const char *path;
  std::map<std::string, int64_t> bindings;
  const char *target = "onnx";
};

const Model decoder{"debian-llama/decoder/model.onnx", {{"sequence_length", 48}}};
const Model unet{"emoji-diffusion/unet/model.onnx", {{"batch_size", 2}}};
const Model textEncoder{"emoji-diffusion/text_encoder/model.onnx", {{"batch_size", 2}}};
const Model vaeDecoder{"emoji-diffusion/vae_decoder/model.onnx", {{"batch_size", 1}}};

class Equalization : public ::testing::Test {
protected:
  Equalization() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  /// The legalized float program of a model.
  void load(const Model &model) {
    onnx_import::ImportOptions options;
    options.bindings = model.bindings;
    auto imported = onnx_import::importModel(std::string(NIBBLE_TESTDATA) + "/models/" + model.path, context, options);
    ASSERT_TRUE(static_cast<bool>(imported)) << llvm::toString(imported.takeError());
    module = std::move(*imported);
    std::unique_ptr<Target> target = llvm::cantFail(Target::load(model.target));
    mlir::PassManager manager(&context);
    buildNormalizePipeline(manager);
    buildLegalizePipeline(manager, *target);
    ASSERT_TRUE(mlir::succeeded(manager.run(*module)));
    reference = run(*module);
  }

  struct Outcome {
    /// Linear layers whose input was rewritten, and remarks of the pass.
    int readers = 0, remarks = 0;
    float error = 0;
  };

  /// Applies `pass` and compares outputs.
  Outcome apply(std::unique_ptr<mlir::Pass> pass) {
    std::string argument = pass->getArgument().str();
    Outcome outcome;
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      bool isRemark = diagnostic.getSeverity() == mlir::DiagnosticSeverity::Remark;
      outcome.remarks += isRemark;
      std::printf("%s: %s\n", argument.c_str(), diagnostic.str().c_str());
      return mlir::success(isRemark);
    });
    mlir::PassManager manager(&context);
    manager.addNestedPass<mlir::func::FuncOp>(std::move(pass));
    EXPECT_TRUE(mlir::succeeded(manager.run(*module)));
    module->walk([&](mlir::Operation *op) {
      auto stages = op->getAttrOfType<mlir::ArrayAttr>("nn.equalized");
      outcome.readers += stages && llvm::is_contained(stages.getAsValueRange<mlir::StringAttr>(), argument);
    });
    outcome.error = expectClose(reference, run(*module));
    std::printf("%s: %d layers rewritten, relative error %.2g\n", argument.c_str(), outcome.readers, outcome.error);
    return outcome;
  }

  /// LayerNorms and RMSNorms, and those of them without parameters.
  std::pair<int, int> countNorms() {
    std::pair<int, int> counts;
    module->walk([&](mlir::Operation *op) {
      if (!mlir::isa<nn::LayerNormalizationOp, nn::RMSNormalizationOp>(op))
        return;
      ++counts.first;
      Tensor scale = nn::tryReadConstant(op->getOperand(1));
      counts.second += op->getNumOperands() == 2 && llvm::all_of(scale.values<float>(), [](float v) { return v == 1; });
    });
    return counts;
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<Tensor> reference;
};

using NormCounts = std::pair<int, int>;

TEST_F(Equalization, FoldNormScalesOfTheDecoder) {
  load(decoder);
  // Two norms in each of five layers, read by q, k, v, gate and up, and the one in front of the head.
  Outcome outcome = apply(createFoldNormScalesPass());
  EXPECT_EQ(outcome.readers, 26);
  EXPECT_EQ(outcome.remarks, 0);
  EXPECT_EQ(countNorms(), NormCounts(11, 11));
}

TEST_F(Equalization, FoldNormScalesOfTheUnet) {
  load(unet);
  Outcome outcome = apply(createFoldNormScalesPass());
  // Seven transformer blocks: q, k and v, q of the attention to the text, the two halves of GEGLU in one, and the
  // convolution or product behind the GroupNorm in front.
  EXPECT_EQ(outcome.readers, 7 * 6);
  EXPECT_EQ(outcome.remarks, 0);
  EXPECT_EQ(countNorms(), NormCounts(21, 21));
}

TEST_F(Equalization, FoldNormScalesOfTheTextEncoder) {
  load(textEncoder);
  // The last norm is the output.
  Outcome outcome = apply(createFoldNormScalesPass());
  EXPECT_EQ(outcome.readers, 12);
  EXPECT_EQ(outcome.remarks, 1);
  EXPECT_EQ(countNorms(), NormCounts(7, 6));
}

TEST_F(Equalization, FoldNormScalesOfTheAutoencoder) {
  load(vaeDecoder);
  EXPECT_EQ(apply(createFoldNormScalesPass()).readers, 3);
}

} // namespace
