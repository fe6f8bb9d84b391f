//===- Passes.h - all passes and pipelines ---------------------------------===//
#ifndef NIBBLE_PASSES_PASSES_H
#define NIBBLE_PASSES_PASSES_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/Rotation.h"
#include "lib/Quant/Statistics.h"
#include "lib/Recipe/Recipe.h"
#include "lib/Target/Target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace nibble {

class LayerCalibration;

/// How `nibble-smooth-activations` chooses scales.
enum class SmoothingMethod { SmoothQuant, AWQ };

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// From an imported module to one with static shapes, folded constants, raised normalizations and
/// activations, and outlined blocks.
void buildNormalizePipeline(mlir::OpPassManager &manager);

/// Scales channels of the legalized float program by what `statistics` saw of the same program. The statistics must
/// outlive the pass.
std::unique_ptr<mlir::Pass> createSmoothActivationsPass(const quant::Statistics &statistics,
                                                        const SmoothActivationsPassOptions &options);

/// Adds the pass of one stage of `recipe.equalize`. Of the stages "smoothquant" and "awq", `statistics` are those of the
/// module as it is when the stage runs; they must outlive the manager.
void addEqualizeStage(mlir::OpPassManager &manager, llvm::StringRef stage, const quant::Statistics &statistics,
                      const Recipe &recipe);

/// Rewrites a normalized module into the float form that `target` asks for.
void buildLegalizePipeline(mlir::OpPassManager &manager, const Target &target);

/// The first part of buildQuantizePipeline: up to ranges of activations, with constants still float.
void buildActivationPipeline(mlir::OpPassManager &manager, const quant::Statistics &statistics, const Recipe &recipe,
                             const Target &target);
/// Puts uncalibrated quantizers into a legalized float program, assigns their encodings, sets their ranges
/// and stores constants as integers. The arguments must outlive the manager. Weight-only recipes need no
/// statistics; recipes that round against what layers read need `calibration`.
void buildQuantizePipeline(mlir::OpPassManager &manager, const quant::Statistics &statistics, const Recipe &recipe,
                           const Target &target, LayerCalibration *calibration = nullptr);
std::unique_ptr<mlir::Pass> createAssignEncodingsPass(const Recipe &recipe, const Target &target);
std::unique_ptr<mlir::Pass> createQuantizeActivationsPass(const quant::Statistics &statistics, const Recipe &recipe,
                                                          const Target &target);
std::unique_ptr<mlir::Pass> createQuantizeWeightsPass(const quant::Statistics &statistics, const Recipe &recipe,
                                                      const Target &target, LayerCalibration *calibration = nullptr);

/// From a quantized program to its integer program: TOSA 1.0 integers, merged, checked against the profile
/// (PRO-INT, INT4, INT16, DOUBLEROUND, level 8K) and with every range proven.
void buildLowerPipeline(mlir::OpPassManager &manager);

/// Makes `nibble-normalize` and `nibble-lower` known to `nibble-opt`.
void registerNibblePipelines();

} // namespace nibble

#endif
