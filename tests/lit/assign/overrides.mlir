// Overrides by node, operator, tensor and role; an operator computes at the width of its result.
// RUN: split-file %s %t
// RUN: nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/good.yaml target=onnx' | FileCheck %s
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/unmatched.yaml target=onnx' 2>&1 | FileCheck %s --check-prefix=UNMATCHED
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/nothing.yaml target=onnx' 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/conflict.yaml target=onnx' 2>&1 | FileCheck %s --check-prefix=CONFLICT
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/lpbq.yaml target=onnx' 2>&1 | FileCheck %s --check-prefix=LPBQ
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/blocked.yaml target=onnx' 2>&1 | FileCheck %s --check-prefix=BLOCKED
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/blocked-a8.yaml target=snapdragon-8gen2' 2>&1 | FileCheck %s --check-prefix=HTP
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/override-a8.yaml target=snapdragon-8gen2' 2>&1 | FileCheck %s --check-prefix=PLACE
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=%t/float-weights.yaml target=snapdragon-8gen2' 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a61 target=onnx' 2>&1 | FileCheck %s --check-prefix=RECIPE
// RUN: not nibble-opt %t/model.mlir -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=snapdragon' 2>&1 | FileCheck %s --check-prefix=TARGET

// CHECK: nn.quantizer @x {role = "activation", storage = i8
// CHECK: nn.quantizer @w1 {axis = 1 : i64, role = "weight", storage = i4
// CHECK: nn.quantizer @y1 {role = "activation", storage = i8
// CHECK: nn.quantizer @c {role = "constant", storage = i16
// CHECK: nn.quantizer @y2 {role = "activation", storage = i16
// CHECK: nn.quantizer @y4 {role = "activation", storage = i8
// CHECK: nn.quantizer @w5 {role = "weight", storage = i8
// CHECK: nn.quantizer @b5 {role = "bias", storage = i32
// CHECK: nn.quantizer @"y1/int16" {role = "activation", storage = i16, tensor = "y1"}
// CHECK: nn.quantizer @"y2/int8" {role = "activation", storage = i8, tensor = "y2"}
// CHECK-LABEL: func.func @main
// CHECK: %[[Y1:.+]] = nn.fake_quant %{{.+}}, @y1 :
// CHECK: %[[WIDE:.+]] = nn.fake_quant %[[Y1]], @"y1/int16"
// CHECK: nn.mul %[[WIDE]]
// CHECK: %[[Y2:.+]] = nn.fake_quant %{{.+}}, @y2 :
// The tensor that an override leaves in float has no quantizer; what reads it sees the float value.
// CHECK: %[[Y3:.+]] = nn.neg %[[Y2]]
// CHECK-NEXT: nn.abs %[[Y3]]
// CHECK: %[[NARROW:.+]] = nn.fake_quant %[[Y2]], @"y2/int8"
// CHECK: nn.add %{{.+}}, %[[NARROW]]

// UNMATCHED: error: {{.*}}unmatched.yaml:5:5: the override matches nothing in the model
// NOTHING: error: {{.*}}nothing.yaml:5:5: the override matches, but nothing there has weights to set
// CONFLICT: error: {{.*}}tensor 'w1': two overrides set bits differently
// CONFLICT: note: {{.*}}the first is at {{.*}}conflict.yaml:5:5
// CONFLICT: note: {{.*}}the second is at {{.*}}conflict.yaml:6:5
// LPBQ: error: {{.*}}node 'first': lpbq is a form of symmetric 4-bit weights
// LPBQ: note: {{.*}}asked for at {{.*}}lpbq.yaml:5:5
// BLOCKED: error: {{.*}}node 'last': a bias needs one weight scale per output channel, but its weight is stored in blocks
// HTP: error: {{.*}}node 'first': target 'snapdragon-8gen2' does not execute matmul(uint8, symmetric int4 in blocks of 16 constant) -> uint8: float block scales need 16-bit activations
// HTP: note: {{.*}}evidence:
// HTP: note: {{.*}}the recipe asks for weights at {{.*}}blocked-a8.yaml:3:10, activations at
// PLACE: error: {{.*}}node 'first': target 'snapdragon-8gen2' does not execute
// PLACE: note: {{.*}}the recipe asks for weights at {{.*}}override-a8.yaml:5:5, activations at {{.*}}w8a8.yaml:
// FLOAT: error: {{.*}}node 'first': target 'snapdragon-8gen2' does not execute matmul(uint16, constant) -> uint16: float weights are multiplied in 16-bit float
// RECIPE: error: {{.*}}unknown recipe 'w8a61'
// TARGET: error: {{.*}}unknown target 'snapdragon'

//--- good.yaml
schema: nibble-recipe-1
name: good
base: w8a8
overrides:
  - {node: first, weights: {bits: 4}}
  - {operator: Mul, activations: {bits: 16}}
  - {tensor: "y3", activations: {bits: float}}
  - {role: output, weights: {granularity: tensor}}
//--- float-weights.yaml
schema: nibble-recipe-1
name: float-weights
base: w8a16
overrides:
  - {node: first, weights: {bits: float}}
//--- override-a8.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: first, weights: {bits: 4, granularity: group, group-size: 16}}
//--- unmatched.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: frist, weights: {bits: 4}}
//--- nothing.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: second, weights: {bits: 4}}
//--- conflict.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: first, weights: {bits: 4}}
  - {operator: MatMul, weights: {bits: 8}}
//--- lpbq.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: first, weights: {bits: 8, granularity: lpbq, group-size: 16}}
//--- blocked.yaml
schema: nibble-recipe-1
name: bad
base: w8a8
overrides:
  - {node: last, weights: {granularity: group, group-size: 16}}
//--- blocked-a8.yaml
schema: nibble-recipe-1
name: bad
weights: {bits: 4, granularity: group, group-size: 16}
activations: {bits: 8}
overrides:
  - {operator: Gemm, weights: {granularity: channel}}
//--- model.mlir
func.func @main(%x: tensor<4x32xf32> {nn.name = "x"}) -> tensor<4x2xf32> {
  %w1 = nn.constant(dense<1.0> : tensor<32x8xf32>) : tensor<32x8xf32> loc("c1"("w1"))
  %y1 = nn.matmul %x, %w1 : (tensor<4x32xf32>, tensor<32x8xf32>) -> tensor<4x8xf32> loc("first"("y1"))
  %c = nn.constant(dense<3.0> : tensor<f32>) : tensor<f32> loc("c2"("c"))
  %y2 = nn.mul %y1, %c : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32> loc("second"("y2"))
  %y3 = nn.neg %y2 : (tensor<4x8xf32>) -> tensor<4x8xf32> loc("third"("y3"))
  %y4 = nn.abs %y3 : (tensor<4x8xf32>) -> tensor<4x8xf32> loc("fourth"("y4"))
  %w5 = nn.constant(dense<1.0> : tensor<2x8xf32>) : tensor<2x8xf32> loc("c5"("w5"))
  %b5 = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32> loc("c6"("b5"))
  %s = nn.add %y4, %y2 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32> loc("sum"("s"))
  %y5 = nn.gemm %s, %w5, %b5 {trans_b = true} : (tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("last"("y5"))
  return %y5 : tensor<4x2xf32>
}
