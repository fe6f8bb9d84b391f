// Norms of 16-bit activations take the storage of scale and bias with which the target stays in integer arithmetic.
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=snapdragon-8gen2' | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=snapdragon-8gen2' | FileCheck %s --check-prefix=NARROW
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=onnx' | FileCheck %s --check-prefix=ONNX

// CHECK: nn.quantizer @g {role = "constant", storage = i16, symmetric, tensor = "g"}
// CHECK: nn.quantizer @b {role = "constant", storage = i32, symmetric, tensor = "b"}
// CHECK-LABEL: func.func @main
// At 8 bits the target wants the norm widened first.
// NARROW: nn.quantizer @g {role = "constant", storage = i16, symmetric, tensor = "g"}
// NARROW: nn.quantizer @b {role = "constant", storage = i32, symmetric, tensor = "b"}
// NARROW: nn.quantizer @y {role = "activation", storage = ui8, tensor = "y"}
// NARROW: nn.quantizer @"y/uint16" {role = "activation", storage = ui16, tensor = "y"}
// ONNX: nn.quantizer @g {role = "constant", storage = i16, tensor = "g"}
// ONNX: nn.quantizer @b {role = "constant", storage = i16, tensor = "b"}
func.func @main(%x: tensor<2x4x8xf32> {nn.name = "x"}) -> tensor<2x4x8xf32> {
  %g = nn.constant(dense<0.75> : tensor<8xf32>) : tensor<8xf32> loc("G"("g"))
  %b = nn.constant(dense<0.25> : tensor<8xf32>) : tensor<8xf32> loc("B"("b"))
  %y = nn.layer_normalization %x, %g, %b {axis = -1 : i64, epsilon = 1.0e-5 : f32} : (tensor<2x4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x4x8xf32> loc("Norm"("y"))
  return %y : tensor<2x4x8xf32>
}

// -----

// CHECK: nn.quantizer @g {role = "constant", storage = ui16, tensor = "g"}
// CHECK: nn.quantizer @b {role = "constant", storage = i32, symmetric, tensor = "b"}
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<2x4x8xf32> {nn.name = "x"}) -> tensor<2x4x8xf32> {
  %g = nn.constant(dense<0.75> : tensor<4xf32>) : tensor<4xf32> loc("G"("g"))
  %b = nn.constant(dense<0.25> : tensor<4xf32>) : tensor<4xf32> loc("B"("b"))
  %y = nn.instance_normalization %x, %g, %b {epsilon = 1.0e-5 : f32} : (tensor<2x4x8xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4x8xf32> loc("Norm"("y"))
  return %y : tensor<2x4x8xf32>
}
