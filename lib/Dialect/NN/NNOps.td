//===- NNOps.td - operators of the nn dialect ---------------------*- tablegen -*-===//
#ifndef NIBBLE_DIALECT_NN_NNOPS_TD
#define NIBBLE_DIALECT_NN_NNOPS_TD

include "lib/Dialect/NN/NNDialect.td"
include "lib/Dialect/NN/NNInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def NN_Tensor : AnyTypeOf<[AnyTensor]>;
def NN_ConstantValue : AnyAttrOf<[ElementsAttr, NN_BlobAttr], "elements or a blob">;

/// `inference` names the function of ShapeInference.h that the whole family shares; an operator
/// without one defines its own inferShapes.
class NN_Op<string opMnemonic, list<Trait> traits = [], string inference = "">
    : Op<NN_Dialect, opMnemonic,
         !listconcat([Pure, DeclareOpInterfaceMethods<NN_ShapeInference, ["inferShapes"]>], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = !if(!empty(inference), "",
    "::llvm::LogicalResult $cppClass::inferShapes(\n"
    "    ::llvm::SmallVectorImpl<::mlir::RankedTensorType> &resultTypes) {\n"
    "  return " # inference # "(getOperation(), resultTypes);\n}\n");
}

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

def NN_ConstantOp : Op<NN_Dialect, "constant", [Pure, ConstantLike]> {
  let summary = "a constant tensor, inline or stored in a blob";
  let arguments = (ins NN_ConstantValue:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "`(` $value `)` attr-dict `:` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def NN_BlockOp : Op<NN_Dialect, "block", [IsolatedFromAbove, SingleBlock, RecursiveMemoryEffects]> {
  let summary = "a named part of the model";
  let description = [{
    The unit of calibration replay, weight algorithms, cost and accuracy queries, emulation and
    report rows. Operands and results are all live edges, so a block can be executed on its own.
    `structural_hash` is equal for blocks that differ only in constants and names.
  }];
  let arguments = (ins StrAttr:$sym_name, Variadic<NN_Tensor>:$inputs, OptionalAttr<StrAttr>:$structural_hash);
  let results = (outs Variadic<NN_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def NN_YieldOp : Op<NN_Dialect, "yield", [Pure, Terminator, ReturnLike, HasParent<"BlockOp">]> {
  let summary = "the results of a block";
  let arguments = (ins Variadic<NN_Tensor>:$outputs);
  let assemblyFormat = "($outputs^ `:` type($outputs))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

def NN_QuantizerOp : Op<NN_Dialect, "quantizer", [Symbol]> {
  let summary = "how real values are stored as integers: real = scale * (q - zero_point)";
  let description = [{
    `storage` is the integer type of q; `quant_min` and `quant_max` are the values used, where they
    are narrower than the type. Without `axis` the scale is one number. With `axis` and no
    `block_size` there is one scale per index of `axis`. With `block_size` the scales have the
    shape of the tensor with dimension `axis` divided by `block_size`, rounded up. `kind = lpbq`:
    `scales` are per index of `channel_axis` and `block_multipliers` (ui8, 1..16, shape as block
    scales) multiply them. A quantizer without `scales` has no range yet. `fixed` says that the
    range was given by a rule and not measured; `origin` says by which.

    `role` is what the values are: `activation` (computed, measured), `constant` (a constant operand
    that is stored like an activation), `weight` or `bias`. `tensor` is the ONNX name of the tensor
    whose statistics give the range.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$storage,
    DefaultValuedAttr<NN_QuantizerKind, "QuantizerKind::Uniform">:$kind,
    UnitAttr:$symmetric, OptionalAttr<NN_I64Attr>:$quant_min, OptionalAttr<NN_I64Attr>:$quant_max,
    OptionalAttr<NN_I64Attr>:$axis, OptionalAttr<NN_I64Attr>:$block_size, OptionalAttr<NN_I64Attr>:$channel_axis,
    OptionalAttr<NN_ConstantValue>:$scales, OptionalAttr<NN_ConstantValue>:$zero_points,
    OptionalAttr<NN_ConstantValue>:$block_multipliers,
    UnitAttr:$fixed, OptionalAttr<StrAttr>:$origin, OptionalAttr<StrAttr>:$role, OptionalAttr<StrAttr>:$tensor);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

def NN_FakeQuantOp : NN_Op<"fake_quant", [], "inferSameAsInput"> {
  let summary = "rounds a value to the grid of a quantizer";
  let description = [{
    result = scale * (clamp(round_half_even(input / scale) + zero_point) - zero_point), as ONNX
    QuantizeLinear followed by DequantizeLinear.
  }];
  let arguments = (ins NN_Tensor:$input, FlatSymbolRefAttr:$quantizer);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input `,` $quantizer attr-dict `:` functional-type($input, $result)";
}

def NN_DequantizeWeightOp : NN_Op<"dequantize_weight"> {
  let summary = "the real values of stored integers";
  let arguments = (ins NN_Tensor:$input, FlatSymbolRefAttr:$quantizer);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input `,` $quantizer attr-dict `:` functional-type($input, $result)";
}

def NN_QuantizeLinearOp : NN_Op<"quantize_linear"> {
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$y_scale, Optional<NN_Tensor>:$y_zero_point,
    DefaultValuedAttr<NN_I64Attr, "1">:$axis, DefaultValuedAttr<NN_I64Attr, "0">:$block_size);
  let results = (outs NN_Tensor:$y);
}

def NN_DequantizeLinearOp : NN_Op<"dequantize_linear"> {
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$x_scale, Optional<NN_Tensor>:$x_zero_point,
    DefaultValuedAttr<NN_I64Attr, "1">:$axis, DefaultValuedAttr<NN_I64Attr, "0">:$block_size);
  let results = (outs NN_Tensor:$y);
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

class NN_UnaryOp<string m, string inference = "inferSameAsInput"> : NN_Op<m, [], inference> {
  let arguments = (ins NN_Tensor:$input);
  let results = (outs NN_Tensor:$result);
}
class NN_BinaryOp<string m, string inference = "inferBroadcast"> : NN_Op<m, [], inference> {
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs);
  let results = (outs NN_Tensor:$result);
}
class NN_VariadicOp<string m> : NN_Op<m, [], "inferBroadcast"> {
  let arguments = (ins Variadic<NN_Tensor>:$inputs);
  let results = (outs NN_Tensor:$result);
}

def NN_AbsOp : NN_UnaryOp<"abs">;
def NN_NegOp : NN_UnaryOp<"neg">;
def NN_ExpOp : NN_UnaryOp<"exp">;
def NN_LogOp : NN_UnaryOp<"log">;
def NN_SqrtOp : NN_UnaryOp<"sqrt">;
def NN_ReciprocalOp : NN_UnaryOp<"reciprocal">;
def NN_SinOp : NN_UnaryOp<"sin">;
def NN_CosOp : NN_UnaryOp<"cos">;
def NN_TanhOp : NN_UnaryOp<"tanh">;
def NN_SigmoidOp : NN_UnaryOp<"sigmoid">;
def NN_ErfOp : NN_UnaryOp<"erf">;
def NN_ReluOp : NN_UnaryOp<"relu">;
def NN_SoftplusOp : NN_UnaryOp<"softplus">;
def NN_SoftsignOp : NN_UnaryOp<"softsign">;
def NN_HardSwishOp : NN_UnaryOp<"hard_swish">;
def NN_MishOp : NN_UnaryOp<"mish">;
def NN_FloorOp : NN_UnaryOp<"floor">;
def NN_CeilOp : NN_UnaryOp<"ceil">;
def NN_RoundOp : NN_UnaryOp<"round">;
def NN_SignOp : NN_UnaryOp<"sign">;
def NN_NotOp : NN_UnaryOp<"not">;
def NN_IsNaNOp : NN_UnaryOp<"is_nan", "">;
def NN_IdentityOp : NN_UnaryOp<"identity">;

class NN_AlphaOp<string m, string alpha> : NN_Op<m, [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<F32Attr, alpha>:$alpha);
  let results = (outs NN_Tensor:$result);
}
def NN_LeakyReluOp : NN_AlphaOp<"leaky_relu", "0.01f">;
def NN_EluOp : NN_AlphaOp<"elu", "1.0f">;
/// com.microsoft QuickGelu: x * sigmoid(alpha * x).
def NN_QuickGeluOp : NN_AlphaOp<"quick_gelu", "1.702f">;
def NN_HardSigmoidOp : NN_Op<"hard_sigmoid", [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<F32Attr, "0.2f">:$alpha,
    DefaultValuedAttr<F32Attr, "0.5f">:$beta);
  let results = (outs NN_Tensor:$result);
}
def NN_GeluOp : NN_Op<"gelu", [], "inferSameAsInput"> {
  let summary = "ONNX Gelu; `approximate` is `none` (erf) or `tanh`";
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<StrAttr, "\"none\"">:$approximate);
  let results = (outs NN_Tensor:$result);
}
def NN_PReluOp : NN_BinaryOp<"prelu", "inferSameAsInput">;
def NN_AddOp : NN_BinaryOp<"add">;
def NN_SubOp : NN_BinaryOp<"sub">;
def NN_MulOp : NN_BinaryOp<"mul">;
def NN_DivOp : NN_BinaryOp<"div">;
def NN_PowOp : NN_BinaryOp<"pow">;
def NN_ModOp : NN_Op<"mod", [], "inferBroadcast"> {
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs, DefaultValuedAttr<BoolAttr, "false">:$fmod);
  let results = (outs NN_Tensor:$result);
}
def NN_MaxOp : NN_VariadicOp<"max">;
def NN_MinOp : NN_VariadicOp<"min">;
def NN_EqualOp : NN_BinaryOp<"equal", "inferComparison">;
def NN_LessOp : NN_BinaryOp<"less", "inferComparison">;
def NN_LessOrEqualOp : NN_BinaryOp<"less_or_equal", "inferComparison">;
def NN_GreaterOp : NN_BinaryOp<"greater", "inferComparison">;
def NN_GreaterOrEqualOp : NN_BinaryOp<"greater_or_equal", "inferComparison">;
def NN_AndOp : NN_BinaryOp<"and">;
def NN_OrOp : NN_BinaryOp<"or">;
def NN_XorOp : NN_BinaryOp<"xor">;
def NN_ClipOp : NN_Op<"clip", [AttrSizedOperandSegments], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$min, Optional<NN_Tensor>:$max);
  let results = (outs NN_Tensor:$result);
}
def NN_WhereOp : NN_Op<"where"> {
  let arguments = (ins NN_Tensor:$condition, NN_Tensor:$x, NN_Tensor:$y);
  let results = (outs NN_Tensor:$result);
}
def NN_CastOp : NN_Op<"cast"> {
  let arguments = (ins NN_Tensor:$input, TypeAttr:$to);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Shapes and data movement
//===----------------------------------------------------------------------===//

def NN_ShapeOp : NN_Op<"shape"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<NN_I64Attr, "0">:$start, OptionalAttr<NN_I64Attr>:$end);
  let results = (outs NN_Tensor:$result);
}
def NN_SizeOp : NN_UnaryOp<"size", "">;
def NN_ReshapeOp : NN_Op<"reshape"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$shape, DefaultValuedAttr<BoolAttr, "false">:$allowzero);
  let results = (outs NN_Tensor:$result);
}
def NN_FlattenOp : NN_Op<"flatten"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<NN_I64Attr, "1">:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_SqueezeOp : NN_Op<"squeeze"> {
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$axes);
  let results = (outs NN_Tensor:$result);
}
def NN_UnsqueezeOp : NN_Op<"unsqueeze"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$axes);
  let results = (outs NN_Tensor:$result);
}
def NN_TransposeOp : NN_Op<"transpose"> {
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$perm);
  let results = (outs NN_Tensor:$result);
}
def NN_ConcatOp : NN_Op<"concat"> {
  let arguments = (ins Variadic<NN_Tensor>:$inputs, NN_I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_SplitOp : NN_Op<"split"> {
  let summary = "cuts a tensor along an axis; without `sizes` into equal parts";
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$sizes, DefaultValuedAttr<NN_I64Attr, "0">:$axis);
  let results = (outs Variadic<NN_Tensor>:$outputs);
}
def NN_SliceOp : NN_Op<"slice", [AttrSizedOperandSegments]> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$starts, NN_Tensor:$ends, Optional<NN_Tensor>:$axes,
    Optional<NN_Tensor>:$steps);
  let results = (outs NN_Tensor:$result);
}
def NN_ExpandOp : NN_Op<"expand"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$shape);
  let results = (outs NN_Tensor:$result);
}
def NN_TileOp : NN_Op<"tile"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$repeats);
  let results = (outs NN_Tensor:$result);
}
def NN_PadOp : NN_Op<"pad", [AttrSizedOperandSegments]> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$pads, Optional<NN_Tensor>:$constant_value,
    Optional<NN_Tensor>:$axes, DefaultValuedAttr<NN_PadMode, "PadMode::Constant">:$mode);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherOp : NN_Op<"gather"> {
  let arguments = (ins NN_Tensor:$data, NN_Tensor:$indices, DefaultValuedAttr<NN_I64Attr, "0">:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherElementsOp : NN_Op<"gather_elements"> {
  let arguments = (ins NN_Tensor:$data, NN_Tensor:$indices, DefaultValuedAttr<NN_I64Attr, "0">:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherNDOp : NN_Op<"gather_nd"> {
  let arguments = (ins NN_Tensor:$data, NN_Tensor:$indices, DefaultValuedAttr<NN_I64Attr, "0">:$batch_dims);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterNDOp : NN_Op<"scatter_nd", [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$data, NN_Tensor:$indices, NN_Tensor:$updates,
    DefaultValuedAttr<StrAttr, "\"none\"">:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterElementsOp : NN_Op<"scatter_elements", [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$data, NN_Tensor:$indices, NN_Tensor:$updates,
    DefaultValuedAttr<NN_I64Attr, "0">:$axis, DefaultValuedAttr<StrAttr, "\"none\"">:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_DepthToSpaceOp : NN_Op<"depth_to_space"> {
  let arguments = (ins NN_Tensor:$input, NN_I64Attr:$blocksize, DefaultValuedAttr<StrAttr, "\"DCR\"">:$mode);
  let results = (outs NN_Tensor:$result);
}
def NN_SpaceToDepthOp : NN_Op<"space_to_depth"> {
  let arguments = (ins NN_Tensor:$input, NN_I64Attr:$blocksize);
  let results = (outs NN_Tensor:$result);
}
def NN_TriluOp : NN_Op<"trilu", [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$k, DefaultValuedAttr<BoolAttr, "true">:$upper);
  let results = (outs NN_Tensor:$result);
}
def NN_RangeOp : NN_Op<"range"> {
  let arguments = (ins NN_Tensor:$start, NN_Tensor:$limit, NN_Tensor:$delta);
  let results = (outs NN_Tensor:$result);
}
def NN_ConstantOfShapeOp : NN_Op<"constant_of_shape"> {
  let summary = "a tensor of the given shape filled with the one element of `value`";
  let arguments = (ins NN_Tensor:$shape, ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
}
def NN_CumSumOp : NN_Op<"cum_sum", [], "inferSameAsInput"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$axis, DefaultValuedAttr<BoolAttr, "false">:$exclusive,
    DefaultValuedAttr<BoolAttr, "false">:$reverse);
  let results = (outs NN_Tensor:$result);
}
def NN_OneHotOp : NN_Op<"one_hot"> {
  let arguments = (ins NN_Tensor:$indices, NN_Tensor:$depth, NN_Tensor:$values,
    DefaultValuedAttr<NN_I64Attr, "-1">:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_ResizeOp : NN_Op<"resize", [AttrSizedOperandSegments]> {
  let summary = "ONNX Resize; one of scales and sizes";
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$scales, Optional<NN_Tensor>:$sizes,
    DefaultValuedAttr<StrAttr, "\"nearest\"">:$mode,
    DefaultValuedAttr<StrAttr, "\"half_pixel\"">:$coordinate_transformation_mode,
    DefaultValuedAttr<StrAttr, "\"round_prefer_floor\"">:$nearest_mode,
    DefaultValuedAttr<F32Attr, "-0.75f">:$cubic_coeff_a,
    DefaultValuedAttr<BoolAttr, "false">:$antialias, OptionalAttr<DenseI64ArrayAttr>:$axes);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Linear algebra, convolution, pooling, reduction, normalization
//===----------------------------------------------------------------------===//

def NN_MatMulOp : NN_BinaryOp<"matmul", "">;
def NN_GemmOp : NN_Op<"gemm"> {
  let arguments = (ins NN_Tensor:$a, NN_Tensor:$b, Optional<NN_Tensor>:$c,
    DefaultValuedAttr<F32Attr, "1.0f">:$alpha, DefaultValuedAttr<F32Attr, "1.0f">:$beta,
    DefaultValuedAttr<BoolAttr, "false">:$trans_a, DefaultValuedAttr<BoolAttr, "false">:$trans_b);
  let results = (outs NN_Tensor:$result);
}
def NN_EinsumOp : NN_Op<"einsum"> {
  let arguments = (ins Variadic<NN_Tensor>:$inputs, StrAttr:$equation);
  let results = (outs NN_Tensor:$result);
}
def NN_ConvOp : NN_Op<"conv"> {
  let summary = "ONNX Conv; `auto_pad` is resolved to `pads` (begins, then ends) once shapes are known";
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$weight, Optional<NN_Tensor>:$bias,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
    DefaultValuedAttr<NN_I64Attr, "1">:$group, DefaultValuedAttr<StrAttr, "\"NOTSET\"">:$auto_pad);
  let results = (outs NN_Tensor:$result);
}
def NN_ConvTransposeOp : NN_Op<"conv_transpose"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$weight, Optional<NN_Tensor>:$bias,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
    DenseI64ArrayAttr:$output_padding, OptionalAttr<DenseI64ArrayAttr>:$output_shape,
    DefaultValuedAttr<NN_I64Attr, "1">:$group, DefaultValuedAttr<StrAttr, "\"NOTSET\"">:$auto_pad);
  let results = (outs NN_Tensor:$result);
}
class NN_PoolOp<string m, dag extra = (ins)> : NN_Op<m, [], "inferPool"> {
  let arguments = !con((ins NN_Tensor:$input, DenseI64ArrayAttr:$kernel_shape, DenseI64ArrayAttr:$strides,
    DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations, DefaultValuedAttr<BoolAttr, "false">:$ceil_mode,
    DefaultValuedAttr<StrAttr, "\"NOTSET\"">:$auto_pad), extra);
  let results = (outs NN_Tensor:$result);
}
def NN_MaxPoolOp : NN_PoolOp<"max_pool">;
def NN_AveragePoolOp : NN_PoolOp<"average_pool", (ins DefaultValuedAttr<BoolAttr, "false">:$count_include_pad)>;
def NN_GlobalAveragePoolOp : NN_UnaryOp<"global_average_pool", "inferGlobalPool">;
def NN_GlobalMaxPoolOp : NN_UnaryOp<"global_max_pool", "inferGlobalPool">;

class NN_ReduceOp<string m> : NN_Op<m, [], "inferReduction"> {
  let summary = "reduces over `axes`, or over all where it is absent or empty and `noop_with_empty_axes` is false";
  let arguments = (ins NN_Tensor:$input, Optional<NN_Tensor>:$axes, DefaultValuedAttr<BoolAttr, "true">:$keepdims,
    DefaultValuedAttr<BoolAttr, "false">:$noop_with_empty_axes);
  let results = (outs NN_Tensor:$result);
}
def NN_ReduceMeanOp : NN_ReduceOp<"reduce_mean">;
def NN_ReduceSumOp : NN_ReduceOp<"reduce_sum">;
def NN_ReduceMaxOp : NN_ReduceOp<"reduce_max">;
def NN_ReduceMinOp : NN_ReduceOp<"reduce_min">;
def NN_ReduceProdOp : NN_ReduceOp<"reduce_prod">;
def NN_ReduceL1Op : NN_ReduceOp<"reduce_l1">;
def NN_ReduceL2Op : NN_ReduceOp<"reduce_l2">;
def NN_ReduceSumSquareOp : NN_ReduceOp<"reduce_sum_square">;
def NN_ReduceLogSumExpOp : NN_ReduceOp<"reduce_log_sum_exp">;

class NN_ArgOp<string m> : NN_Op<m, [], "inferArgument"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<NN_I64Attr, "0">:$axis,
    DefaultValuedAttr<BoolAttr, "true">:$keepdims, DefaultValuedAttr<BoolAttr, "false">:$select_last_index);
  let results = (outs NN_Tensor:$result);
}
def NN_ArgMaxOp : NN_ArgOp<"arg_max">;
def NN_ArgMinOp : NN_ArgOp<"arg_min">;
def NN_TopKOp : NN_Op<"top_k"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$k, DefaultValuedAttr<NN_I64Attr, "-1">:$axis,
    DefaultValuedAttr<BoolAttr, "true">:$largest, DefaultValuedAttr<BoolAttr, "true">:$sorted);
  let results = (outs NN_Tensor:$values, NN_Tensor:$indices);
}

class NN_AxisOp<string m> : NN_Op<m, [], "inferAlongAxis"> {
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<NN_I64Attr, "-1">:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_SoftmaxOp : NN_AxisOp<"softmax">;
def NN_LogSoftmaxOp : NN_AxisOp<"log_softmax">;

def NN_LayerNormalizationOp : NN_Op<"layer_normalization", [], "inferNormalization"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$scale, Optional<NN_Tensor>:$bias,
    DefaultValuedAttr<NN_I64Attr, "-1">:$axis, DefaultValuedAttr<F32Attr, "1e-5f">:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_RMSNormalizationOp : NN_Op<"rms_normalization", [], "inferNormalization"> {
  let summary = "ONNX RMSNormalization (opset 23); com.microsoft SimplifiedLayerNormalization";
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$scale, DefaultValuedAttr<NN_I64Attr, "-1">:$axis,
    DefaultValuedAttr<F32Attr, "1e-5f">:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_InstanceNormalizationOp : NN_Op<"instance_normalization", [], "inferNormalization"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$scale, NN_Tensor:$bias, DefaultValuedAttr<F32Attr, "1e-5f">:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_GroupNormalizationOp : NN_Op<"group_normalization", [], "inferNormalization"> {
  let summary = "ONNX GroupNormalization-21: scale and bias per channel";
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$scale, NN_Tensor:$bias, NN_I64Attr:$num_groups,
    DefaultValuedAttr<F32Attr, "1e-5f">:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_BatchNormalizationOp : NN_Op<"batch_normalization", [], "inferNormalization"> {
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$scale, NN_Tensor:$bias, NN_Tensor:$mean, NN_Tensor:$var,
    DefaultValuedAttr<F32Attr, "1e-5f">:$epsilon);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def NN_RotaryEmbeddingOp : NN_Op<"rotary_embedding"> {
  let summary = "com.microsoft RotaryEmbedding";
  let description = [{
    `input` is [batch, sequence, hidden] or [batch, heads, sequence, head_size]; the caches are
    [max_sequence, rotary_dim / 2]. `rotary_dim` 0 means the whole head.
  }];
  let arguments = (ins NN_Tensor:$input, NN_Tensor:$position_ids, NN_Tensor:$cos_cache, NN_Tensor:$sin_cache,
    DefaultValuedAttr<BoolAttr, "false">:$interleaved, DefaultValuedAttr<NN_I64Attr, "0">:$num_heads,
    DefaultValuedAttr<NN_I64Attr, "0">:$rotary_dim);
  let results = (outs NN_Tensor:$result);
}
def NN_GroupQueryAttentionOp : NN_Op<"group_query_attention", [AttrSizedOperandSegments]> {
  let summary = "com.microsoft GroupQueryAttention";
  let arguments = (ins NN_Tensor:$query, Optional<NN_Tensor>:$key, Optional<NN_Tensor>:$value,
    Optional<NN_Tensor>:$past_key, Optional<NN_Tensor>:$past_value, NN_Tensor:$seqlens_k,
    NN_Tensor:$total_sequence_length, Optional<NN_Tensor>:$cos_cache, Optional<NN_Tensor>:$sin_cache,
    NN_I64Attr:$num_heads, NN_I64Attr:$kv_num_heads, DefaultValuedAttr<F32Attr, "0.0f">:$scale,
    DefaultValuedAttr<BoolAttr, "false">:$do_rotary, DefaultValuedAttr<BoolAttr, "false">:$rotary_interleaved,
    DefaultValuedAttr<NN_I64Attr, "-1">:$local_window_size, DefaultValuedAttr<F32Attr, "0.0f">:$softcap);
  let results = (outs NN_Tensor:$output, NN_Tensor:$present_key, NN_Tensor:$present_value);
}

#endif
