// Storage types, conversions at edges and float edges, for a target that takes everything and for one that does not.
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=onnx' | FileCheck %s --check-prefixes=CHECK,ONNX
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=snapdragon-8gen2' 2>%t.log | FileCheck %s --check-prefixes=CHECK,HTP
// RUN: FileCheck %s --check-prefix=REMARK --input-file %t.log
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w4-g32 target=onnx' | FileCheck %s --check-prefix=WEIGHT

// Convolution: weights per channel, bias per channel.
// ONNX: nn.quantizer @x {role = "activation", storage = i16, tensor = "x"}
// HTP: nn.quantizer @x {role = "activation", storage = ui16, tensor = "x"}
// CHECK: nn.quantizer @w {axis = 0 : i64, role = "weight", storage = i8, symmetric, tensor = "w"}
// CHECK: nn.quantizer @b {axis = 0 : i64, role = "bias", storage = i32, symmetric, tensor = "b"}
// WEIGHT: nn.quantizer @w {axis = 1 : i64, block_size = 32 : i64, role = "weight", storage = ui4, tensor = "w"}
// WEIGHT-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
// CHECK: nn.conv
// WEIGHT: nn.fake_quant {{.*}} @w
// WEIGHT-NOT: nn.fake_quant
// WEIGHT: return
func.func @main(%x: tensor<1x32x4x4xf32> {nn.name = "x"}) -> tensor<1x2x4x4xf32> {
  %w = nn.constant(dense<1.0> : tensor<2x32x1x1xf32>) : tensor<2x32x1x1xf32> loc("W"("w"))
  %b = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32> loc("B"("b"))
  %y = nn.conv %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x32x4x4xf32>, tensor<2x32x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32> loc("Conv"("y"))
  %r = nn.add %y, %y : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("Add"("r"))
  return %r : tensor<1x2x4x4xf32>
}

// -----

// The product of two activations: the target computes it natively with a symmetric 8-bit right operand.
// REMARK: remark: {{.*}}node 'MatMul': the right operand of the product is rounded to symmetric int8, as the target computes it best
// HTP: nn.quantizer @"k/int8" {role = "activation", storage = i8, symmetric, tensor = "k"}
// CHECK-LABEL: func.func @main
// ONNX-NOT: int8
// HTP: %[[K:.+]] = nn.fake_quant %{{.+}}, @k :
// HTP: %[[K8:.+]] = nn.fake_quant %[[K]], @"k/int8"
// HTP: nn.matmul %{{.+}}, %[[K8]]
func.func @main(%q: tensor<1x4x8xf32> {nn.name = "q"}, %k: tensor<1x8x4xf32> {nn.name = "k"}) -> tensor<1x4x4xf32> {
  %y = nn.matmul %q, %k : (tensor<1x4x8xf32>, tensor<1x8x4xf32>) -> tensor<1x4x4xf32> loc("MatMul"("y"))
  return %y : tensor<1x4x4xf32>
}
