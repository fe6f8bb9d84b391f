//===- GptqSpeed.cpp - time of GPTQ on one layer -------------------------------===//
//
// usage: gptq-speed WEIGHT.npy GRAM.npy GROUP_SIZE
//
// Rounds float32 WEIGHT [rows, columns] to symmetric int4 in groups along columns, with scales that cover the extremes,
// for inputs whose mean products are GRAM [columns, columns]. Prints seconds and the output's error as JSON.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/Gptq.h"
#include "lib/Quant/WeightQuantizer.h"
#include "lib/Support/Error.h"
#include "lib/Support/Npy.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

using namespace nibble;

int main(int argc, char **argv) {
  llvm::ExitOnError exitOnError("gptq-speed: ");
  if (argc != 4) {
    llvm::errs() << "usage: gptq-speed WEIGHT.npy GRAM.npy GROUP_SIZE\n";
    return 1;
  }
  Tensor weight = exitOnError(readNpy(argv[1])), gram = exitOnError(readNpy(argv[2]));
  auto start = std::chrono::steady_clock::now();
  quant::WeightEncodingOptions options;
  options.storage = ElementType::I4;
  options.granularity = quant::Granularity::Block;
  options.blockSize = std::stoll(argv[3]);
  options.searchScale = false;
  quant::Encoding encoding = exitOnError(quant::chooseWeightEncoding(weight, options));
  int64_t rows = weight.shape()[0], columns = weight.shape()[1];
  quant::WeightLayout layout{1, rows, columns, 0, columns, 1};
  std::vector<float> values = layout.read(weight, 0);
  quant::RoundingGrid grid(encoding, weight.shape(), layout, 0);
  quant::GptqResult result = quant::roundWithGptq(values, grid, gram.data<float>(), {});
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double error = quant::outputError(values, result.rounded, columns, gram.data<float>());
  llvm::outs() << "{\"seconds\": " << llvm::format("%.3f", seconds) << ", \"error\": " << llvm::format("%.6g", error)
               << "}\n";
}
