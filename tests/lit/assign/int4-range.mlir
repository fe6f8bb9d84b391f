// TOSA's int4 ends at -7: the target's file says so, every granularity of 4-bit weights follows, and no weight is
// rounded to -8.
// RUN: nibble-opt %s -nibble-place-quantizers '-nibble-assign-encodings=recipe=%S/Inputs/int4-range.yaml target=tosa' | FileCheck %s --check-prefixes=CHECK,NARROW
// RUN: nibble-opt %s -nibble-place-quantizers '-nibble-assign-encodings=recipe=%S/Inputs/int4-range.yaml target=onnx' | FileCheck %s --check-prefixes=CHECK,WHOLE

// NARROW: nn.quantizer @w1 {axis = 0 : i64, quant_min = -7 : i64, role = "weight", storage = i4, symmetric, tensor = "w1"}
// NARROW: nn.quantizer @w2 {{.*}}block_size = 16 : i64{{.*}}quant_min = -7 : i64{{.*}}storage = i4
// NARROW: nn.quantizer @w3 {{.*}}kind = {{.*}}quant_min = -7 : i64{{.*}}storage = i4
// WHOLE-NOT: quant_min
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x32x4x4xf32> {nn.name = "x"}, %a: tensor<4x32xf32> {nn.name = "a"}) -> (tensor<1x2x4x4xf32>, tensor<4x8xf32>, tensor<4x8xf32>) {
  %w1 = nn.constant(dense<1.0> : tensor<2x32x1x1xf32>) : tensor<2x32x1x1xf32> loc("W1"("w1"))
  %w2 = nn.constant(dense<1.0> : tensor<32x8xf32>) : tensor<32x8xf32> loc("W2"("w2"))
  %w3 = nn.constant(dense<2.0> : tensor<32x8xf32>) : tensor<32x8xf32> loc("W3"("w3"))
  %y = nn.conv %x, %w1 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x32x4x4xf32>, tensor<2x32x1x1xf32>) -> tensor<1x2x4x4xf32> loc("Conv"("y"))
  %g = nn.matmul %a, %w2 : (tensor<4x32xf32>, tensor<32x8xf32>) -> tensor<4x8xf32> loc("Group"("g"))
  %l = nn.matmul %a, %w3 : (tensor<4x32xf32>, tensor<32x8xf32>) -> tensor<4x8xf32> loc("Lpbq"("l"))
  return %y, %g, %l : tensor<1x2x4x4xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}
