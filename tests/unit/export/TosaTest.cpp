#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Export/TOSA/TosaWriter.h"
#include "lib/Export/TOSA/tosa_generated.h"
#include "lib/Support/Json.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Parser/Parser.h"
#include "tests/unit/TestFiles.h"
#include "gtest/gtest.h"
#include <map>

using namespace nibble;
using namespace nibble::tosa_export;

namespace {

/// Two blocks: the first yields its own argument too, the second uses a constant of four bits.
constexpr const char *blocksText = R"mlir(
  func.func @main(%x: tensor<1x2x2x4xi8> {nn.name = "x"}) -> tensor<1x2x2x3xi32> {
    %0:2 = nn.block @first(%i = %x) : (tensor<1x2x2x4xi8>) -> (tensor<1x2x2x4xi8>, tensor<1x2x2x4xi8>) {
      %c = tosa.clamp %i {min_val = -5 : i8, max_val = 9 : i8} : (tensor<1x2x2x4xi8>) -> tensor<1x2x2x4xi8> loc("relu"("r"))
      nn.yield %c, %i : tensor<1x2x2x4xi8>, tensor<1x2x2x4xi8>
    }
    %1 = nn.block @second(%a = %0#0) : (tensor<1x2x2x4xi8>) -> tensor<1x2x2x3xi32> {
      %w = nn.constant(dense<[[[[1, -7, 7, 0]]], [[[2, 3, -1, 5]]], [[[4, 4, 4, 4]]]]> : tensor<3x1x1x4xi4>) : tensor<3x1x1x4xi4>
      %b = "tosa.const"() <{values = dense<[1, 2, 3]> : tensor<3xi32>}> : () -> tensor<3xi32>
      %iz = "tosa.const"() <{values = dense<-3> : tensor<1xi8>}> : () -> tensor<1xi8>
      %wz = "tosa.const"() <{values = dense<0> : tensor<1xi4>}> : () -> tensor<1xi4>
      %y = tosa.conv2d %a, %w, %b, %iz, %wz {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x2x2x4xi8>, tensor<3x1x1x4xi4>, tensor<3xi32>, tensor<1xi8>, tensor<1xi4>) -> tensor<1x2x2x3xi32> loc("conv"("r"))
      nn.yield %y : tensor<1x2x2x3xi32>
    }
    return %1 : tensor<1x2x2x3xi32>
  })mlir";

std::string messageOf(llvm::Error error, ErrorKind kind) {
  std::string message = "no error";
  llvm::handleAllErrors(std::move(error), [&](const NibbleError &found) {
    EXPECT_EQ(found.kind, kind);
    message = found.message;
  });
  return message;
}

class TosaTest : public testing::Test {
protected:
  TosaTest() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect, mlir::tosa::TosaDialect>(); }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    return module;
  }
  static mlir::func::FuncOp mainOf(mlir::ModuleOp module) { return module.lookupSymbol<mlir::func::FuncOp>("main"); }

  /// The one block of the file of @main, or of the nn.block with this name.
  const ::tosa::TosaBasicBlock *write(const std::string &text, llvm::StringRef blockName = "") {
    auto module = parse(text);
    llvm::Expected<std::string> result = std::string();
    if (blockName.empty())
      result = toTosaFlatbuffer(mainOf(*module));
    else
      mainOf(*module).walk([&](nn::BlockOp block) {
        if (block.getSymName() == blockName) {
          llvm::consumeError(result.takeError());
          result = toTosaFlatbuffer(block);
        }
      });
    if (!result) {
      ADD_FAILURE() << llvm::toString(result.takeError());
      return nullptr;
    }
    bytes = std::move(*result);
    return ::tosa::GetTosaGraph(bytes.data())->regions()->Get(0)->blocks()->Get(0);
  }
  std::string errorOf(const std::string &text, ErrorKind kind, const TosaOptions &options = {}) {
    auto module = parse(text);
    return messageOf(toTosaFlatbuffer(mainOf(*module), options).takeError(), kind);
  }
  static std::vector<std::string> strings(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>> *list) {
    std::vector<std::string> result;
    for (const flatbuffers::String *text : *list)
      result.push_back(text->str());
    return result;
  }
  static const ::tosa::TosaTensor *findTensor(const ::tosa::TosaBasicBlock *block, const std::string &name) {
    for (const ::tosa::TosaTensor *tensor : *block->tensors())
      if (tensor->name()->str() == name)
        return tensor;
    return nullptr;
  }
  static std::vector<uint8_t> dataOf(const ::tosa::TosaTensor *tensor) {
    return {tensor->data()->begin(), tensor->data()->end()};
  }

  mlir::MLIRContext context;
  std::string bytes;
};

using Strings = std::vector<std::string>;
using Bytes = std::vector<uint8_t>;

TEST_F(TosaTest, BlocksAreInlinedAndNamesKept) {
  const auto *block = write(blocksText);
  ASSERT_TRUE(block);
  EXPECT_EQ(strings(block->inputs()), Strings{"TosaInput_0"});
  EXPECT_EQ(strings(block->outputs()), Strings{"TosaOutput_0"});
  std::map<std::string, const ::tosa::TosaOperator *> operators;
  for (const ::tosa::TosaOperator *op : *block->operators())
    operators[op->location()->text()->str()] = op;
  ASSERT_TRUE(operators.count("relu") && operators.count("conv"));
  EXPECT_EQ(operators["relu"]->op(), ::tosa::Op_CLAMP);
  EXPECT_EQ(strings(operators["relu"]->inputs()), Strings{"TosaInput_0"});
  EXPECT_EQ(strings(operators["relu"]->outputs()), Strings{"r"});
  EXPECT_EQ(operators["relu"]->attribute_as_ClampAttribute()->min_val()->Get(0), 251);
  EXPECT_EQ(operators["conv"]->inputs()->Get(0)->str(), "r");
  EXPECT_EQ(strings(operators["conv"]->outputs()), Strings{"TosaOutput_0"});
  const ::tosa::TosaTensor *weight = findTensor(block, operators["conv"]->inputs()->Get(1)->str());
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight->type(), ::tosa::DType_INT4);
  EXPECT_EQ(dataOf(weight), (Bytes{0x91, 0x07, 0x32, 0x5f, 0x44, 0x44}));
  EXPECT_EQ(static_cast<uintptr_t>(weight->data()->data() - reinterpret_cast<const uint8_t *>(bytes.data())) % 8, 0u);
  const ::tosa::Version *version = ::tosa::GetTosaGraph(bytes.data())->version();
  EXPECT_EQ(version->_major(), 1);
  EXPECT_EQ(version->_minor(), 0);
  EXPECT_FALSE(version->_draft());
}

TEST_F(TosaTest, ReturnedArgumentsAndRepeatedValuesAreCopied) {
  const auto *block = write(R"mlir(
    func.func @main(%x: tensor<2xi8>, %y: tensor<2xi8>) -> (tensor<2xi8>, tensor<2xi8>, tensor<2xi8>, tensor<1xi48>) {
      %w = "tosa.const"() <{values = dense<-2> : tensor<1xi48>}> : () -> tensor<1xi48>
      %0 = nn.block @b(%i = %x, %j = %y) : (tensor<2xi8>, tensor<2xi8>) -> tensor<2xi8> {
        %m = tosa.maximum %i, %j : (tensor<2xi8>, tensor<2xi8>) -> tensor<2xi8>
        nn.yield %m : tensor<2xi8>
      }
      return %0, %0, %y, %w : tensor<2xi8>, tensor<2xi8>, tensor<2xi8>, tensor<1xi48>
    })mlir");
  ASSERT_TRUE(block);
  std::map<std::string, std::string> copies;
  for (const ::tosa::TosaOperator *op : *block->operators())
    if (op->op() == ::tosa::Op_IDENTITY)
      copies[op->outputs()->Get(0)->str()] = op->inputs()->Get(0)->str();
  std::string constant = copies["TosaOutput_3"];
  EXPECT_EQ(copies.size(), 3u);
  EXPECT_EQ(copies["TosaOutput_1"], "TosaOutput_0");
  EXPECT_EQ(copies["TosaOutput_2"], "TosaInput_1");
  ASSERT_TRUE(findTensor(block, constant));
  EXPECT_EQ(dataOf(findTensor(block, constant)), (Bytes{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}));
}

TEST_F(TosaTest, OneBlockIsAFileOfItsOwn) {
  const auto *block = write(blocksText, "first");
  ASSERT_TRUE(block);
  EXPECT_EQ(strings(block->inputs()), Strings{"TosaInput_0"});
  EXPECT_EQ(strings(block->outputs()), (Strings{"TosaOutput_0", "TosaOutput_1"}));
}

TEST_F(TosaTest, ShapesAreWrittenAsSuch) {
  const auto *block = write(R"mlir(
    func.func @main(%x: tensor<2x3xi16>) -> tensor<6xi16> {
      %s = tosa.const_shape {values = dense<6> : tensor<1xindex>} : () -> !tosa.shape<1>
      %0 = tosa.reshape %x, %s : (tensor<2x3xi16>, !tosa.shape<1>) -> tensor<6xi16>
      return %0 : tensor<6xi16>
    })mlir");
  ASSERT_TRUE(block);
  ASSERT_EQ(block->shapes()->size(), 1u);
  EXPECT_EQ(block->shapes()->Get(0)->rank(), 1u);
  EXPECT_EQ(Bytes(block->shapes()->Get(0)->data()->begin(), block->shapes()->Get(0)->data()->end()),
            (Bytes{6, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(block->tensors()->size(), 2u);
}

TEST_F(TosaTest, SmallestFourBitValueIsRefused) {
  EXPECT_EQ(errorOf(R"mlir(
    func.func @main() -> tensor<3xi4> {
      %w = nn.constant(dense<[1, 2, -8]> : tensor<3xi4>) : tensor<3xi4> loc("weights"("w"))
      return %w : tensor<3xi4>
    })mlir", ErrorKind::Internal),
            "node 'weights': a 4-bit constant holds -8, but TOSA's int4 ends at -7");
}

TEST_F(TosaTest, WhatNoIntegerProgramHoldsIsRefused) {
  auto castTo = [&](const std::string &type) {
    return errorOf("func.func @main(%x: tensor<2xi8>) -> " + type + " { %0 = tosa.cast %x : (tensor<2xi8>) -> " + type +
                       " loc(\"n\")\n return %0 : " + type + " }",
                   ErrorKind::Internal);
  };
  EXPECT_EQ(castTo("tensor<2xi64>"), "node 'n': type i64 has no place in an integer program");
  EXPECT_EQ(castTo("tensor<2xf32>"), "node 'n': type f32 has no place in an integer program");
  EXPECT_EQ(castTo("tensor<?xi32>"), "node 'n': wanted a tensor of static shape, found tensor<?xi32>");
  EXPECT_EQ(errorOf(R"mlir(
    func.func @main(%x: tensor<2xf32> {nn.name = "x"}) -> tensor<2xf32> {
      return %x : tensor<2xf32>
    })mlir", ErrorKind::Internal),
            "input 'x': type f32 has no place in an integer program");
  EXPECT_EQ(errorOf(R"mlir(
    func.func @main(%x: tensor<2xi8>) -> tensor<2xi8> {
      %0 = nn.relu %x : (tensor<2xi8>) -> tensor<2xi8> loc("n"("r"))
      return %0 : tensor<2xi8>
    })mlir", ErrorKind::Internal),
            "node 'n': operation 'nn.relu' has no place in an integer program");
}

TEST_F(TosaTest, FilesAboveTheLimitAreSplitIntoBlocks) {
  test::TemporaryFolder folder;
  auto module = parse(blocksText);
  EXPECT_NE(errorOf(blocksText, ErrorKind::Limit, {4096}).find("is limited to 4096"), std::string::npos);
  llvm::Expected<std::vector<TosaFile>> whole = writeTosaFiles(*module, folder.file("m.tosa"));
  ASSERT_TRUE(static_cast<bool>(whole));
  ASSERT_EQ(whole->size(), 1u);
  EXPECT_EQ(whole->front().path, folder.file("m.tosa"));
  llvm::Expected<std::vector<TosaFile>> blocks = writeTosaFiles(*module, folder.file("s.tosa"), {9000});
  ASSERT_TRUE(static_cast<bool>(blocks));
  ASSERT_EQ(blocks->size(), 2u);
  EXPECT_FALSE(llvm::sys::fs::exists(folder.file("s.tosa")));
  EXPECT_EQ(blocks->back().path, folder.file("s-001.tosa"));
  EXPECT_EQ(blocks->back().block, "second");
  llvm::Expected<llvm::json::Value> list = readJson(folder.file("s.blocks.json"));
  ASSERT_TRUE(static_cast<bool>(list));
  const llvm::json::Object &second = *(*list->getAsArray())[1].getAsObject();
  EXPECT_EQ(second.getString("file"), "s-001.tosa");
  EXPECT_EQ((*second.getArray("inputs"))[0].getAsString(), "r");
  llvm::Expected<std::vector<TosaFile>> asked = writeTosaFiles(*module, folder.file("a.tosa"), {.filePerBlock = true});
  ASSERT_TRUE(static_cast<bool>(asked));
  EXPECT_EQ(asked->size(), 2u);
  llvm::Expected<std::vector<TosaFile>> none = writeTosaFiles(*module, folder.file("n.tosa"), {100});
  EXPECT_NE(messageOf(none.takeError(), ErrorKind::Limit), "no error");
}

TEST_F(TosaTest, SameProgramGivesSameBytes) {
  ASSERT_TRUE(write(blocksText));
  std::string first = bytes;
  ASSERT_TRUE(write(blocksText));
  EXPECT_EQ(bytes, first);
}

} // namespace
