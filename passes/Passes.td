//===- Passes.td - all passes, in pipeline order -----------------*- tablegen -*-===//
#ifndef NIBBLE_PASSES_TD
#define NIBBLE_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Calibrate, Assign, Quantize
//===----------------------------------------------------------------------===//

def PlaceQuantizersPass : Pass<"nibble-place-quantizers", "::mlir::ModuleOp"> {
  let summary = "puts a quantizer behind every float value";
  let description = [{
    Graph inputs, results of operators and constant operands get an `nn.fake_quant` with a quantizer
    that has no range yet. Operators that only move data share the quantizer of what they move, also
    across blocks; a relu shares that of the operator whose only reader it is. Weights, biases and
    other constants are told apart by `role`. Bounds, axes and other parameters stay float.

    ```mlir
    %y = nn.conv %x, %w, %b ...
    %t = nn.transpose %y
    ==>
    %y = nn.conv %x, %wq, %bq ...
    %yq = nn.fake_quant %y, @y
    %t = nn.transpose %yq
    %tq = nn.fake_quant %t, @y
    ```

    Diagnoses a program that already has quantizers.

    numerics: exact until ranges are set
  }];
  let statistics = [Statistic<"numPlaced", "placed", "Quantizers made">,
                    Statistic<"numShared", "shared", "Values that share the quantizer of what they move">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

class RecipePass<string argument> : Pass<argument, "::mlir::ModuleOp"> {
  let dependentDialects = ["::nibble::nn::NNDialect"];
}
def RecipeOption : Option<"recipeName", "recipe", "std::string", /*default=*/"\"w8a16\"",
  "Recipe name or .yaml file, where the pass was not given a recipe">;
def TargetOption : Option<"targetName", "target", "std::string", /*default=*/"\"onnx\"",
  "Target name, where the pass was not given a target">;
def StatisticsOption : Option<"statisticsPath", "statistics", "std::string", /*default=*/"\"\"",
  "Statistics file, where the pass was not given statistics">;

def AssignEncodingsPass : RecipePass<"nibble-assign-encodings"> {
  let summary = "gives every quantizer its storage, from the recipe and the target";
  let description = [{
    Sets storage type, symmetry and granularity of every quantizer; removes those that the recipe
    leaves in float. An operator computes at the width of its result: an operand of another width is
    rounded to it at the edge. A product of two 16-bit activations that the target does not compute
    natively gets a symmetric 8-bit right operand.

    ```mlir
    nn.quantizer @v {storage = ui8}
    ==>
    nn.quantizer @v {storage = ui16}
    ```

    Diagnoses what the target does not execute or computes unsoundly (node, encodings, reason,
    evidence, recipe line), and overrides that match nothing or contradict each other.

    numerics: exact until ranges are set
  }];
  let options = [RecipeOption, TargetOption];
  let statistics = [Statistic<"numConversions", "conversions", "Edges rounded to another width">,
                    Statistic<"numFloat", "float", "Quantizers removed because the recipe leaves the value in float">];
}

def QuantizeActivationsPass : RecipePass<"nibble-quantize-activations"> {
  let summary = "sets the ranges of activation quantizers";
  let description = [{
    From the statistics of the tensor by the recipe's observer, or from the operator's own range.
    Values that are all integers get a scale that represents them exactly where the storage has room.

    ```mlir
    nn.quantizer @v {storage = ui16}
    ==>
    nn.quantizer @v {scales = dense<1.0e-3> : tensor<f32>, zero_points = dense<7> : tensor<i32>, storage = ui16}
    ```

    Diagnoses a value with neither statistics nor rule: no range is guessed.

    numerics: lossy
  }];
  let options = [RecipeOption, TargetOption, StatisticsOption];
  let statistics = [Statistic<"numRanges", "ranges", "Quantizers whose range was set">,
                    Statistic<"numFloors", "floors", "Ranges of masked scores that leave out what softmax cannot resolve">];
}

def QuantizeWeightsPass : RecipePass<"nibble-quantize-weights"> {
  let summary = "stores constants as integers";
  let description = [{
    Chooses the scales of weights by least squared error (weighted by the mean square of the inputs
    where statistics hold it) or by extremes, stores biases in steps of input scale times weight
    scale, and constants beside activations with their own encoding. Weight scales are raised where
    a bias or a requantization multiplier would otherwise leave its integer range.

    ```mlir
    %w = nn.constant(dense<...>) : tensor<8x8xf32>
    %q = nn.fake_quant %w, @w : (tensor<8x8xf32>) -> tensor<8x8xf32>
    ==>
    %w = nn.constant(dense<...>) : tensor<8x8xi8>
    %q = nn.dequantize_weight %w, @w : (tensor<8x8xi8>) -> tensor<8x8xf32>
    ```

    Diagnoses weights that are not finite and biases whose input has no range.

    numerics: lossy
  }];
  let options = [RecipeOption, TargetOption, StatisticsOption];
  let statistics = [Statistic<"numStored", "stored", "Constants stored as integers">,
                    Statistic<"numRaised", "raised", "Weight scales raised for the sake of a bias or multiplier">];
}

#endif
