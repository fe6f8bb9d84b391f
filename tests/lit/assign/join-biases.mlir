// A product of a matrix and its bias become a Gemm after overrides were matched, where the recipe leaves them alike.
// RUN: split-file %s %t
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=onnx' -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s --check-prefix=JOINED
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/sum.yaml target=onnx' | FileCheck %s --check-prefix=SUM
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/product.yaml target=onnx' | FileCheck %s --check-prefix=PRODUCT
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/weights.yaml target=onnx' | FileCheck %s --check-prefix=WEIGHTS
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w4a8 target=onnx' | FileCheck %s --check-prefix=BLOCKS
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8 target=onnx' | FileCheck %s --check-prefix=FLOAT
// RUN: nibble-opt %t/others.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=onnx' | FileCheck %s --check-prefix=OTHERS

// The layer keeps the node of the product and the tensor of the sum; a bias of one row loses that dimension.
// JOINED: nn.quantizer @w
// JOINED-NOT: nn.quantizer @p
// JOINED: nn.quantizer @b {axis = 0 : i64, role = "bias", storage = i32
// JOINED-NOT: nn.quantizer @p
// JOINED: nn.quantizer @y
// JOINED: %[[W:.+]] = nn.fake_quant %{{.+}}, @w
// JOINED: %[[B:.+]] = nn.fake_quant %{{.+}}, @b : (tensor<16xf32>)
// JOINED: nn.gemm %{{.+}}, %[[W]], %[[B]] {{.*}} loc("/MatMul"("y"))
// JOINED-NOT: nn.add

// An override of the sum is one of the layer.
// SUM: nn.quantizer @y {role = "activation", storage = i16
// SUM: nn.gemm
// What is set for the product alone is kept.
// PRODUCT: nn.quantizer @p {role = "activation", storage = i16
// PRODUCT: nn.quantizer @y {role = "activation", storage = i8
// PRODUCT: nn.matmul
// PRODUCT: nn.add
// The operator is the model's own.
// WEIGHTS: nn.quantizer @w {{.*}}storage = i4
// WEIGHTS: nn.gemm
// Weights in blocks have no one scale per output channel for the steps of a bias.
// BLOCKS: nn.quantizer @w {{.*}}block_size = 32
// BLOCKS: nn.matmul
// BLOCKS: nn.add
// FLOAT: nn.matmul
// FLOAT: nn.add
// A bias per row is none; a product of three dimensions is no Gemm; a product with another reader stays.
// OTHERS-NOT: nn.gemm

//--- sum.yaml
schema: nibble-recipe-1
name: sum
base: w8a8
overrides:
  - {node: /Add, operator: Add, activations: {bits: 16}}
//--- product.yaml
schema: nibble-recipe-1
name: product
base: w8a8
overrides:
  - {tensor: p, activations: {bits: 16}}
//--- weights.yaml
schema: nibble-recipe-1
name: weights
base: w8a8
overrides:
  - {node: /MatMul, operator: MatMul, weights: {bits: 4}}
//--- model.mlir
func.func @main(%x: tensor<4x32xf32> {nn.name = "x"}) -> tensor<4x16xf32> {
  %w = nn.constant(dense<1.0> : tensor<32x16xf32>) : tensor<32x16xf32> loc("c"("w"))
  %b = nn.constant(dense<2.0> : tensor<1x16xf32>) : tensor<1x16xf32> loc("d"("b"))
  %p = nn.matmul %x, %w : (tensor<4x32xf32>, tensor<32x16xf32>) -> tensor<4x16xf32> loc("/MatMul"("p"))
  %y = nn.add %b, %p : (tensor<1x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32> loc("/Add"("y"))
  return %y : tensor<4x16xf32>
}
//--- others.mlir
func.func @main(%x: tensor<4x8xf32> {nn.name = "x"}, %z: tensor<2x4x8xf32> {nn.name = "z"}) -> (tensor<4x16xf32>, tensor<2x4x16xf32>, tensor<4x16xf32>, tensor<4x16xf32>) {
  %w = nn.constant(dense<1.0> : tensor<8x16xf32>) : tensor<8x16xf32> loc("c1"("w"))
  %rows = nn.constant(dense<2.0> : tensor<4x1xf32>) : tensor<4x1xf32> loc("c2"("rows"))
  %b = nn.constant(dense<2.0> : tensor<16xf32>) : tensor<16xf32> loc("c3"("b"))
  %p = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32> loc("m1"("p"))
  %y = nn.add %p, %rows : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> loc("a1"("y"))
  %q = nn.matmul %z, %w : (tensor<2x4x8xf32>, tensor<8x16xf32>) -> tensor<2x4x16xf32> loc("m2"("q"))
  %s = nn.add %q, %b : (tensor<2x4x16xf32>, tensor<16xf32>) -> tensor<2x4x16xf32> loc("a2"("s"))
  %r = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32> loc("m3"("r"))
  %t = nn.add %r, %b : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> loc("a3"("t"))
  return %y, %s, %r, %t : tensor<4x16xf32>, tensor<2x4x16xf32>, tensor<4x16xf32>, tensor<4x16xf32>
}
