#include "lib/Export/Vendor/Estimate.h"
#include "lib/Export/Vendor/OpTrace.h"
#include "lib/Export/Vendor/QnnOptions.h"
#include "lib/Support/Error.h"

#include "llvm/Support/MemoryBuffer.h"
#include <gtest/gtest.h>

using namespace nibble;
using namespace nibble::vendor;

namespace {

std::string read(const std::string &name) {
  auto buffer = llvm::MemoryBuffer::getFile(std::string(NIBBLE_TEST_DATA) + "/" + name);
  EXPECT_TRUE(bool(buffer)) << name;
  return buffer ? (*buffer)->getBuffer().str() : "";
}

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

template <typename T> std::string messageOf(llvm::Expected<T> value) {
  return value ? "" : llvm::toString(value.takeError());
}

TEST(Estimate, ReadsARecordedProfile) {
  auto estimate = parseEstimate(read("htp_profile.csv"));
  ASSERT_TRUE(bool(estimate)) << llvm::toString(estimate.takeError());
  EXPECT_EQ(estimate->cycles, 7831u);
  EXPECT_EQ(estimate->cyclesLower, 6850u);
  EXPECT_EQ(estimate->cyclesUpper, 9009u);
  EXPECT_EQ(estimate->microseconds, 5u);
  EXPECT_EQ(estimate->microsecondsLower, 4u);
  EXPECT_EQ(estimate->microsecondsUpper, 6u);
  EXPECT_EQ(estimate->inputFillBytes, 8192u);
  EXPECT_EQ(estimate->intermediateFillBytes, 0u);
  EXPECT_EQ(estimate->spillBytes, 0u);
  EXPECT_EQ(estimate->outputBytes, 2048u);
  EXPECT_EQ(estimate->operatorsWithoutCost, 0u);
}

TEST(Estimate, RefusesFiguresThatCannotBeUsed) {
  std::string text = read("htp_profile.csv");
  EXPECT_EQ(messageOf(parseEstimate("")),
            "the vendor's estimate has no figure for 'Simulated (Accelerator exec cycles)'");
  EXPECT_EQ(messageOf(parseEstimate(replaced(text, "7831,CYCLES", "18446744073709551000,CYCLES"))),
            "the vendor's estimate is wrapped around: 18446744073709551000 for 'Simulated (Accelerator exec cycles)'");
  EXPECT_EQ(messageOf(parseEstimate(replaced(text, "8192,BYTES", "many,BYTES"))),
            "the vendor's estimate has 'many' for 'Input Fill'");
  EXPECT_EQ(messageOf(parseEstimate(replaced(text, "7831,CYCLES", "1,CYCLES"))),
            "the vendor's estimate contradicts itself: 1 cycles, from 6850 to 9009");
  EXPECT_EQ(messageOf(parseEstimate(text + text)),
            "the vendor's estimate has two figures for 'Simulated (Accelerator exec cycles)'");
}

TEST(OpTrace, ReadsARecordedTrace) {
  auto accepted = parseOpTrace(read("htp_trace_accepted.json"));
  ASSERT_TRUE(bool(accepted)) << llvm::toString(accepted.takeError());
  EXPECT_TRUE(accepted->isComplete());
  EXPECT_EQ(accepted->totalNodes, 9);
  EXPECT_EQ(accepted->nodesOnNpu, 9);
  EXPECT_EQ(accepted->vendorOperators, 3);
  EXPECT_EQ(accepted->graphName.find("QNNExecutionProvider_"), 0u);

  auto refused = parseOpTrace(read("htp_trace_refused.json"));
  ASSERT_TRUE(bool(refused)) << llvm::toString(refused.takeError());
  EXPECT_FALSE(refused->isComplete());
  EXPECT_EQ(refused->nodesOnCpu, 4);
  // Its Q and DQ and an inserted Transpose were refused with it, and say nothing of their own.
  ASSERT_EQ(refused->refusals.size(), 1u);
  EXPECT_EQ(refused->refusals[0].nodeName, "erf0");
  EXPECT_EQ(refused->refusals[0].operatorType, "Erf");
  EXPECT_NE(refused->refusals[0].reason.find("not supported by QNN EP"), std::string::npos);
}

TEST(OpTrace, RefusesOtherFiles) {
  EXPECT_NE(messageOf(parseOpTrace("{")), "");
  EXPECT_EQ(messageOf(parseOpTrace("[]")), "'qnn_op_trace.json' has no object 'summary'");
  EXPECT_EQ(messageOf(parseOpTrace("{\"summary\": {\"total_onnx_nodes\": -1}}")),
            "'qnn_op_trace.json' has no count 'total_onnx_nodes'");
}

TEST(QnnOptions, UnknownOnesAreRefused) {
  auto check = [](Options options) { return llvm::toString(checkVendorOptions(options)); };
  EXPECT_EQ(check({{"htp_graph_finalization_optimization_mode", "3"}, {"vtcm_mb", "4"}}), "");
  EXPECT_EQ(check({{"htp_graph_finalisation_optimization_mode", "3"}}),
            "unknown vendor option 'htp_graph_finalisation_optimization_mode'\n"
            "note: did you mean 'htp_graph_finalization_optimization_mode'");
  EXPECT_EQ(check({{"vtcm_mb", "999"}}), "vendor option 'vtcm_mb': wanted one of 1, 2, 4, 8, found '999'");
  EXPECT_EQ(check({{"vtcm_mb", "4"}, {"vtcm_mb", "2"}}), "vendor option 'vtcm_mb' is given twice");
  EXPECT_EQ(check({{"soc_model", "43"}}), "vendor option 'soc_model' cannot be set: nibble sets it itself");
  EXPECT_EQ(check({{"enable_block_quant_weight_optimization", "1"}}),
            "vendor option 'enable_block_quant_weight_optimization' cannot be set: it makes block-quantized weights "
            "wrong by about 1000 quanta");
}

} // namespace
