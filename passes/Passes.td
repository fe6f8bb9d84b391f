//===- Passes.td - all passes, in pipeline order -----------------*- tablegen -*-===//
#ifndef NIBBLE_PASSES_TD
#define NIBBLE_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Normalize
//===----------------------------------------------------------------------===//

def InferShapesPass : Pass<"nibble-infer-shapes", "::mlir::func::FuncOp"> {
  let summary = "makes all types static and evaluates what is constant";
  let description = [{
    One walk in program order. Every operation gets the result types that its operands give it;
    `nn.shape` and `nn.size` become constants; an operation whose operands are all constant is
    executed by the float runtime where its results take at most `fold-limit` bytes or no more than
    its operands, so that folding cannot make a model larger than it was.

    ```mlir
    func.func @main(%x: tensor<2x8xf32>) -> tensor<?x?xf32> {
      %s = nn.shape %x {end = 1 : i64} : (tensor<2x8xf32>) -> tensor<1xi64>
      %m = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>
      %c = nn.concat %s, %m {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
      %r = nn.reshape %x, %c : (tensor<2x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>
    ==>
    func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
      %c = nn.constant(dense<[2, -1]> : tensor<2xi64>) : tensor<2xi64>
      %r = nn.reshape %x, %c : (tensor<2x8xf32>, tensor<2xi64>) -> tensor<2x8xf32>
    ```

    Diagnoses graph inputs with dynamic dimensions (with the `--bind` that is missing) and results
    whose shape depends on data. Quantizers are never folded.

    numerics: exact
  }];
  let options = [Option<"foldLimit", "fold-limit", "int64_t", /*default=*/"1048576",
    "Bytes that the results of a folded operation may take where its operands take fewer">];
  let statistics = [Statistic<"numFolded", "folded", "Operations replaced by constants">,
                    Statistic<"numKept", "kept", "Operations on constants that were too large to fold">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def SimplifyOperatorsPass : Pass<"nibble-simplify-operators", "::mlir::func::FuncOp"> {
  let summary = "removes operations that do nothing and gives the rest one form";
  let description = [{
    Removes identities (`x * 1`, `x + 0`, a cast to the same type, an expand, tile, slice, pad,
    transpose or reshape that changes nothing, a where with a constant condition, a concat of one
    tensor). Squeeze, unsqueeze and flatten become `nn.reshape` with a constant, complete shape;
    reshapes of reshapes and transposes of transposes are composed; `auto_pad` and `output_shape`
    become `pads`. A guard against NaN behind a softmax is removed where every constant that is
    added to the scores is finite.

    ```mlir
    %a = nn.unsqueeze %x, %axes : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1x8xf32>
    %n = nn.mul %a, %one : (tensor<2x1x8xf32>, tensor<f32>) -> tensor<2x1x8xf32>
    ==>
    %n = nn.reshape %x, %shape : (tensor<2x8xf32>, tensor<3xi64>) -> tensor<2x1x8xf32>
    ```

    numerics: exact, except for the sign of a zero in `x + 0`, and for inputs with infinities behind
    a removed guard
  }];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def RaiseNormalizationsPass : Pass<"nibble-raise-normalizations", "::mlir::func::FuncOp"> {
  let summary = "finds LayerNorm, RMSNorm and GroupNorm in the operators that exporters write";
  let description = [{
    LayerNorm and RMSNorm from mean, square, square root and quotient over the last axes; GroupNorm
    from reshape, instance normalization with trivial parameters and reshape. Factors and offsets
    that follow become the scale and the bias.

    ```mlir
    %p = nn.pow %x, %two
    %m = nn.reduce_mean %p, %last
    %e = nn.add %m, %epsilon
    %s = nn.sqrt %e
    %r = nn.reciprocal %s
    %n = nn.mul %x, %r
    %y = nn.mul %weight, %n
    ==>
    %y = nn.rms_normalization %x, %weight {axis = -1 : i64, epsilon = 1.0e-5 : f32}
    ```

    A chain whose inner values have other uses is left as it is.

    numerics: bounded by a few units in the last place of the normalized value
  }];
  let statistics = [Statistic<"numRaised", "raised", "Normalizations found">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def RaiseActivationsPass : Pass<"nibble-raise-activations", "::mlir::func::FuncOp"> {
  let summary = "finds GELU, and gathers the two halves of an attention scale";
  let description = [{
    `x * 0.5 * (1 + erf(x / sqrt(2)))` in any association becomes `nn.gelu`; likewise the tanh form.
    Exporters of scaled dot product attention multiply both query and key by the square root of the
    scale; both factors move to the query, as one rounding in an integer program is better than two.

    ```mlir
    %d = nn.div %x, %sqrt2
    %e = nn.erf %d
    %p = nn.add %e, %one
    %m = nn.mul %x, %p
    %y = nn.mul %m, %half
    ==>
    %y = nn.gelu %x
    ```

    numerics: bounded by a few units in the last place
  }];
  let statistics = [Statistic<"numGelu", "gelu", "GELU activations found">,
                    Statistic<"numScales", "scales", "Attention scales gathered">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def OutlineBlocksPass : Pass<"nibble-outline-blocks", "::mlir::func::FuncOp"> {
  let summary = "cuts the function into nn.block operations";
  let description = [{
    The program is cut into contiguous segments, so that every block can be executed on its own.
    Where the names of nodes carry scopes ("/down_blocks.0/resnets.0/conv1/Conv"), a segment is a
    scope: the largest with at most `max-operations` operations. Where they do not, cuts are made
    where the fewest values are live, which is between the layers of a residual network. Operands
    and results of a block are all live edges; constants are inside the blocks that use them.

    ```mlir
    %w = nn.constant(#nn.blob<...>) : tensor<8x8xf32>
    %a = nn.matmul %x, %w loc("/layers.0/MatMul")
    %b = nn.relu %a loc("/layers.1/Relu")
    ==>
    %a = nn.block @"/layers.0"(%p = %x) {
      %w = nn.constant(#nn.blob<...>) : tensor<8x8xf32>
      %m = nn.matmul %p, %w
      nn.yield %m
    } attributes {structural_hash = "..."}
    %b = nn.block @"/layers.1"(%p = %a) { ... }
    ```

    `structural_hash` is a SHA-256, cut to 16 digits, over operators, types, attributes and integer
    constants; blocks that differ in names and float constants only have the same.

    numerics: exact
  }];
  let options = [
    Option<"maxOperations", "max-operations", "int64_t", /*default=*/"64",
      "Largest number of operations in a scope that becomes one block">,
    Option<"minOperations", "min-operations", "int64_t", /*default=*/"12",
      "Smallest number of operations in a block of a model without scopes">,
    Option<"mergeOperations", "merge-operations", "int64_t", /*default=*/"4",
      "Neighbours of at most this many operations become one block">];
  let statistics = [Statistic<"numBlocks", "blocks", "Blocks made">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def PruneBlocksPass : Pass<"nibble-prune-blocks", "::mlir::func::FuncOp"> {
  let summary = "removes operands, results and blocks that nothing uses";
  let description = [{
    To be run after rewrites inside of blocks. Results that nobody reads go, with what only they
    needed, then operands that the body does not read; a result that is an operand is replaced by it.
    `structural_hash` is computed anew.

    ```mlir
    %a:2 = nn.block @a(%p = %x, %q = %y) {
      %r = nn.relu %p
      %s = nn.exp %q
      nn.yield %r, %s
    }
    return %a#0
    ==>
    %a = nn.block @a(%p = %x) {
      %r = nn.relu %p
      nn.yield %r
    }
    return %a
    ```

    numerics: exact
  }];
  let statistics = [Statistic<"numErased", "erased", "Blocks without a used result">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

//===----------------------------------------------------------------------===//
// Legalize
//===----------------------------------------------------------------------===//

def LegalizePass : Pass<"nibble-legalize", "::mlir::func::FuncOp"> {
  let summary = "rewrites float operators into forms that a target executes";
  let description = [{
    Applies the named patterns of `passes/Legalize/Legalizations.h`, all at once and inside blocks.
    Each pattern states its conditions, its numerics and the rule by which a value it creates takes
    its range. The names come from the target's file; an unknown one is an error.

    ```mlir
    // patterns=erf-gelu-to-gelu
    %e = nn.erf %d
    ...
    ==>
    %y = nn.gelu %x
    ```

    numerics: as each pattern states
  }];
  let options = [ListOption<"patterns", "patterns", "std::string", "Names of the patterns to apply">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

//===----------------------------------------------------------------------===//
// Equalize
//===----------------------------------------------------------------------===//

def FoldNormScalesPass : Pass<"nibble-fold-norm-scales", "::mlir::func::FuncOp"> {
  let summary = "moves the parameters of norms into the layers that read them";
  let description = [{
    The scale of a LayerNorm, RMSNorm or GroupNorm becomes a factor on the weights of the linear layers behind it, the
    bias a part of theirs. Readers are found across blocks and through operators that move data, and a scale without a
    bias also through products and attention. A scale moves only where every reader is a linear layer with constant
    weights; what keeps a LayerNorm or RMSNorm from moving is a remark. Weights that others read too are copied.

    ```mlir
    %n = nn.layer_normalization %x, %scale, %bias
    %y = nn.matmul %n, %w
    ==>
    %n = nn.layer_normalization %x, %ones
    %p = nn.matmul %n, %scaled  // diag(scale) w
    %y = nn.add %p, %shift      // bias w
    ```

    Diagnoses a program that already has quantizers, and layers whose input was smoothed before.

    numerics: exact in real arithmetic; FP32 outputs agree to 1e-5
  }];
  let statistics = [Statistic<"numFolded", "folded", "Norms left without parameters">,
                    Statistic<"numReaders", "readers", "Layers that took parameters">,
                    Statistic<"numKept", "kept", "LayerNorms and RMSNorms with a reader that cannot take parameters">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def SmoothActivationsPass : Pass<"nibble-smooth-activations", "::mlir::func::FuncOp"> {
  let summary = "moves factors from channels of values into the weights that read them";
  let description = [{
    A group is a norm or a linear layer with all linear layers that read its channels: q, k and v of one norm, gate and
    up, v and the output projection of attention (where heads share keys and values, their channels share factors), up
    and down. Channels that something else reads too keep theirs. Each channel is divided by a factor, the weights that
    read it are multiplied by it:
    - `smoothquant`: max|x|^a / max|w|^(1-a), with the exponent that gives the least predicted noise of values rounded
      to one scale per tensor, what the producer makes included, and weights rounded to one per output;
    - `awq`: mean|x|^a, with the exponent that gives the least error of the rounded weights.
    No change is always a candidate, so a group is never worse by its own measure. Each group is a remark.

    ```mlir
    %n = nn.rms_normalization %x, %g
    %q = nn.matmul %n, %wq
    %k = nn.matmul %n, %wk
    ==>
    %n = nn.rms_normalization %x, %h   // g / s
    %q = nn.matmul %n, %uq             // diag(s) wq
    %k = nn.matmul %n, %uk             // diag(s) wk
    ```

    The statistics are those of the program as it is when the pass runs; those of scaled tensors no longer hold behind
    it. A group without statistics of its channels is left alone, with a remark. Diagnoses a program that already has
    quantizers, missing statistics, and edges that were smoothed or rotated before.

    numerics: exact in real arithmetic; FP32 outputs agree to 1e-5
  }];
  let options = [
    Option<"method", "method", "::nibble::SmoothingMethod", /*default=*/"::nibble::SmoothingMethod::SmoothQuant",
      "How factors are chosen", [{::llvm::cl::values(
        clEnumValN(::nibble::SmoothingMethod::SmoothQuant, "smoothquant", "For values and weights that are both rounded"),
        clEnumValN(::nibble::SmoothingMethod::AWQ, "awq", "For rounded weights"))}]>,
    Option<"activationBits", "activation-bits", "unsigned", /*default=*/"8",
      "smoothquant: bits of values; 0 where they stay float">,
    Option<"weightBits", "weight-bits", "unsigned", /*default=*/"8", "Bits of weights; awq: 4 or 8">,
    Option<"groupSize", "group-size", "int64_t", /*default=*/"0",
      "Inputs that share a weight scale; 0: all inputs of an output">,
    Option<"normBits", "norm-bits", "unsigned", /*default=*/"16", "smoothquant: bits of the scale of a norm">,
    Option<"skipRotated", "skip-rotated", "bool", /*default=*/"false",
      "Leave rotated edges alone instead of refusing the program">,
    Option<"statisticsPath", "statistics", "std::string", /*default=*/"\"\"",
      "Statistics file, where the pass was not given statistics">];
  let statistics = [Statistic<"numSmoothed", "smoothed", "Groups whose channels were scaled">,
                    Statistic<"numUnchanged", "unchanged", "Groups that no candidate made better">,
                    Statistic<"numUnknown", "unknown", "Groups without statistics of their channels">,
                    Statistic<"numSkipped", "skipped", "Groups with a reader that is rotated or belongs to another group">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def CrossLayerEqualizationPass : Pass<"nibble-cross-layer-equalization", "::mlir::func::FuncOp"> {
  let summary = "evens out the weight ranges of a channel in neighbouring layers";
  let description = [{
    Between two linear layers (convolutions, matrix products with constant weights) with nothing but ReLU, LeakyReLU,
    PReLU, pooling, sums with constants and movement of data in between, each channel is scaled so that the weights that
    write it and those that read it have one range (Nagel et al. 2019). All readers of the channels must be such layers.
    Sweeps over all pairs repeat until scales settle. For weights with one scale per tensor.

    ```mlir
    %a = nn.conv %x, %w, %b
    %r = nn.relu %a
    %y = nn.conv %r, %v
    ==>
    %a = nn.conv %x, %ws, %bs  // w / s, b / s
    %r = nn.relu %a
    %y = nn.conv %r, %vs       // s v
    ```

    Each pair is a remark. Diagnoses a program that already has quantizers, and edges that were smoothed or rotated
    before.

    numerics: exact in real arithmetic; FP32 outputs agree to 1e-5
  }];
  let options = [Option<"sweeps", "sweeps", "int64_t", /*default=*/"20", "Largest number of sweeps over all pairs">];
  let statistics = [Statistic<"numEqualized", "equalized", "Layers equalized with their readers">,
                    Statistic<"numSkipped", "skipped", "Linear layers that something else than a chain reads">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def RotateResidualPass : Pass<"nibble-rotate-residual", "::mlir::func::FuncOp"> {
  let summary = "rotates the residual stream and the values of attention, in the weights around them";
  let description = [{
    The residual stream of a pre-norm transformer with RMSNorm is everything that shares a frame with the input of a norm:
    sums, norms, operators that move data without touching channels. It is rotated by rotating what writes it (tables of
    embeddings, output and down projections, biases) and, by the transpose, what reads it (q, k, v, gate, up, the head).
    Norms must have a scale that is one number: run `nibble-fold-norm-scales` before. The values of attention heads are
    rotated head by head between v and the output projection, also where heads share values. Weights that others read
    too, as tied embeddings, are copied.

    ```mlir
    %e = nn.gather %table, %ids
    %n = nn.rms_normalization %e, %ones
    %q = nn.matmul %n, %w
    ==>
    %e = nn.gather %turned, %ids  // table R
    %n = nn.rms_normalization %e, %ones
    %q = nn.matmul %n, %v         // R^T w
    ```

    Rotations are products of random signs and Walsh-Hadamard matrices, of blocks of the largest power of two where a
    size is none, or random orthogonal matrices. A stream with a reader or writer that cannot be rotated (a norm that
    keeps a scale, a LayerNorm, an input or output of the model) is left alone, with a remark at the operation that is in
    the way. Diagnoses a program that already has quantizers, and edges that were scaled or rotated before.

    numerics: exact in real arithmetic; FP32 outputs agree to 1e-5
  }];
  let options = [
    Option<"residual", "residual", "bool", /*default=*/"true", "Rotate residual streams">,
    Option<"values", "values", "bool", /*default=*/"true", "Rotate the values of attention heads">,
    Option<"matrix", "matrix", "::nibble::quant::RotationKind", /*default=*/"::nibble::quant::RotationKind::Hadamard",
      "The kind of rotation", [{::llvm::cl::values(
        clEnumValN(::nibble::quant::RotationKind::Hadamard, "hadamard",
                   "Signs and blocks of Hadamard; orthogonal where blocks were smaller than 16"),
        clEnumValN(::nibble::quant::RotationKind::Orthogonal, "orthogonal", "A random orthogonal matrix"))}]>,
    Option<"seed", "seed", "uint64_t", /*default=*/"1", "Of the random numbers">];
  let statistics = [Statistic<"numStreams", "streams", "Residual streams rotated">,
                    Statistic<"numRefused", "refused", "Residual streams with something that cannot be rotated">,
                    Statistic<"numValues", "values-rotated", "Layers whose values were rotated head by head">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

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

def TieQuantizersPass : Pass<"nibble-tie-quantizers", "::mlir::ModuleOp"> {
  let summary = "lets values that end up on one grid share its quantizer";
  let description = [{
    An operand that only a concat reads, moved or not, takes the quantizer of the concat's result: it
    is rounded once instead of twice. Operands with other readers and those with a range of their own
    (softmax) keep theirs. Likewise the cache that a GroupQueryAttention appends to takes the quantizer of
    the longer cache. A linear resize keeps the quantizer of its input.

    ```mlir
    %aq = nn.fake_quant %a, @a
    %c = nn.concat %aq, %bq
    %cq = nn.fake_quant %c, @c
    ==>
    %aq = nn.fake_quant %a, @c
    %c = nn.concat %aq, %bq
    %cq = nn.fake_quant %c, @c
    ```

    Each tie is a remark, which goes into the trace.

    numerics: exact until ranges are set
  }];
  let statistics = [Statistic<"numTied", "tied", "Quantizers replaced by another">];
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
    natively gets a symmetric 8-bit right operand. A product of a matrix with constant weights and the
    addition of its bias become a Gemm, which rounds once, unless the weights are stored in blocks or the
    recipe sets something for the product alone; the Gemm has the node name of the product and the tensor
    name of the sum.

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
                    Statistic<"numJoined", "joined", "Products joined with their bias">,
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

    Where the recipe asks for it, weights of layers are rounded against the second moments of what the layers read:
    scales by the output's error, GPTQ, SignRound or AdaRound, coordinate descent with refitted scales, and a correction
    of the bias. The moments come from calibration runs in the middle of the pass, of the float program or of the program
    as it is then, block by block.

    ```mlir
    %w = nn.constant(dense<...>) : tensor<8x8xf32>
    %q = nn.fake_quant %w, @w : (tensor<8x8xf32>) -> tensor<8x8xf32>
    ==>
    %w = nn.constant(dense<...>) : tensor<8x8xi8>
    %q = nn.dequantize_weight %w, @w : (tensor<8x8xi8>) -> tensor<8x8xf32>
    ```

    Diagnoses weights that are not finite, biases whose input has no range, and a recipe that rounds against inputs
    where there is no calibration data.

    numerics: lossy
  }];
  let options = [RecipeOption, TargetOption, StatisticsOption];
  let statistics = [Statistic<"numStored", "stored", "Constants stored as integers">,
                    Statistic<"numRaised", "raised", "Weight scales raised for the sake of a bias or multiplier">];
}

//===----------------------------------------------------------------------===//
// Lower
//===----------------------------------------------------------------------===//

def LowerToTosaPass : Pass<"nibble-lower-to-tosa", "::mlir::ModuleOp"> {
  let summary = "makes the integer program of a quantized model";
  let description = [{
    Every operator between quantizers becomes TOSA operators on integers: products with 32-bit or 48-bit sums and
    one RESCALE, tables, and chains of 32-bit arithmetic for norms and softmax. Blocks keep their names. Convolutions
    leave channels last; a transpose changes the order of dimensions and moves data only where an operator needs
    another order. Inputs and outputs keep ONNX's order; `nn.encoding` names the quantizer of their integers.

    ```mlir
    %y = nn.matmul %xq, %w
    %yq = nn.fake_quant %y, @y
    ==>
    %s = tosa.conv2d %x, %w, %zero ... -> tensor<1x8x1x16xi32>
    %y = tosa.rescale %s, %multiplier, %shift ... -> tensor<1x8x1x16xi8>
    ```

    Diagnoses operators without an integer form, float edges, weights of types that TOSA does not multiply with.
    Wider forms that were taken because 32 bits would not hold a sum are remarks.

    numerics: bounded; docs/spec/numerics.md states the error of every form in quanta of its result
  }];
  let statistics = [Statistic<"numOperators", "operators", "TOSA operators made">];
  let dependentDialects = ["::nibble::nn::NNDialect", "::mlir::func::FuncDialect", "::mlir::tosa::TosaDialect"];
}

def EncloseOperationsPass : Pass<"nibble-enclose-operations", "::mlir::func::FuncOp"> {
  let summary = "puts operations between blocks into blocks of their own";
  let description = [{
    Every part of an integer program is then a block, which can be executed, checked and compiled by itself. A block is
    named after its first and last node. Constants are copied into the blocks that use them.

    ```mlir
    %a = nn.block "mid" (%x)
    %b = tosa.add %a, %c loc("/norm")
    %d = tosa.rescale %b ... loc("/out")
    ==>
    %a = nn.block "mid" (%x)
    %d = nn.block "/norm to /out" (%a)
    ```

    numerics: exact
  }];
  let statistics = [Statistic<"numBlocks", "blocks", "Blocks made">];
  let dependentDialects = ["::nibble::nn::NNDialect"];
}

def CheckIntervalsPass : Pass<"nibble-check-intervals", "::mlir::ModuleOp"> {
  let summary = "proves that no integer of a TOSA program leaves what its operation is specified for";
  let description = [{
    Bounds every value of the integer program by an interval: arguments by their types, constants by
    their elements, results by the operations. Sums of products get the exact bound of each output
    channel over its constant weights. What intervals alone do not show is proven by structure:
    `x - ((x >> k) << k)` and `x - (x / y) * y` are remainders; a maximum over an axis, less what it is the maximum of, is not
    negative; a value that is shifted left by the leading zeros of its magnitude, or of the largest
    magnitude in its block, less c, stays below 2^(32-c). Maxima may be trees of `tosa.maximum` over
    slices.

    Diagnoses, with the interval found and the interval wanted: accumulators and results that may leave
    their type, inputs of `tosa.rescale` outside [-2^(shift-1), 2^(shift-1)-1] (48-bit inputs: results
    outside i32), shifts out of range, divisors that may be 0, slopes of tables that need more than 16
    bits, and casts that may lose bits. The program is not changed.

    ```mlir
    %s = tosa.reduce_sum %x {axis = 1 : i32} : (tensor<4x512xi32>) -> tensor<4x1xi32>
    ==>
    error: node '/softmax': tosa.reduce_sum: result may lie in [0, 2147483648], which must be within
    [-2147483648, 2147483647]
    ```

    numerics: exact
  }];
  let options = [Option<"remarks", "remarks", "bool", /*default=*/"false",
    "Report the interval of every result as a remark">];
  let statistics = [Statistic<"numProven", "proven", "Operations whose integers stay in range">,
                    Statistic<"numUnproven", "unproven", "Operations with an error">];
  let dependentDialects = ["::nibble::nn::NNDialect", "::mlir::tosa::TosaDialect"];
}

#endif
