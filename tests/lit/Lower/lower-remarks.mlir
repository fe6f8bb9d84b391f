// Wider forms that the lowering takes, as its remarks say them. They go into the trace.
// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-lower-to-tosa -nibble-check-intervals -o /dev/null
// RUN: nibble-opt %s -split-input-file -nibble-lower-to-tosa 2>/dev/null | FileCheck %s

// TOSA's int4 ends at -7.
// CHECK: nn.constant({{.*}} : tensor<1x1x1x2xi8>)
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i4, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %ws = nn.constant(dense<[[-8], [7]]> : tensor<2x1xi4>) : tensor<2x1xi4>
  %w = nn.dequantize_weight %ws, @w : (tensor<2x1xi4>) -> tensor<2x1xf32>
  // expected-remark @unknown {{node 'M': its int4 weights hold -8, where TOSA's int4 ends at -7: they are stored as int8}}
  %y = nn.matmul %xq, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

// There is no product of 16-bit activations with 4-bit weights.
// CHECK: nn.constant({{.*}} : tensor<1x1x1x2xi8>)
nn.quantizer @x {role = "activation", storage = i16, symmetric, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i4, quant_min = -7 : i64, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %ws = nn.constant(dense<[[-7], [7]]> : tensor<2x1xi4>) : tensor<2x1xi4>
  %w = nn.dequantize_weight %ws, @w : (tensor<2x1xi4>) -> tensor<2x1xf32>
  // expected-remark @unknown {{node 'M': its int4 weights are stored as int8, as TOSA multiplies 16-bit activations with 8-bit weights only}}
  %y = nn.matmul %xq, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

// 255 * 127 * 66400 exceeds 2^31: the sums get 48 bits.
// CHECK: tosa.rescale {{.+}}(tensor<1x1x1x66400xi8>{{.+}} -> tensor<1x1x1x66400xi16>
// CHECK: tosa.conv2d {{.+}}acc_type = i48
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>, zero_points = dense<127> : tensor<1xi32>}
nn.quantizer @w {role = "weight", storage = i8, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%x: tensor<1x66400xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x66400xf32>) -> tensor<1x66400xf32>
  %ws = nn.constant(dense<127> : tensor<66400x1xi8>) : tensor<66400x1xi8>
  %w = nn.dequantize_weight %ws, @w : (tensor<66400x1xi8>) -> tensor<66400x1xf32>
  // expected-remark @unknown {{node 'M': its sums may reach 2150364001, more than 32 bits hold: the input is widened to 16 bits, whose products are summed in 48}}
  %y = nn.matmul %xq, %w : (tensor<1x66400xf32>, tensor<66400x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

// CHECK: tosa.matmul {{.+}}tensor<1x1x40000xi16>
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<1x40000xf32> {nn.name = "x"}, %z: tensor<40000x1xf32> {nn.name = "z"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x40000xf32>) -> tensor<1x40000xf32>
  %zq = nn.fake_quant %z, @x : (tensor<40000x1xf32>) -> tensor<40000x1xf32>
  // expected-remark @unknown {{node 'M': its sums of 40000 products may leave 32 bits: the operands are widened to 16 bits, whose products are summed in 48}}
  %y = nn.matmul %xq, %zq : (tensor<1x40000xf32>, tensor<40000x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

// A scale per block of inputs: one product each.
// CHECK-COUNT-2: tosa.conv2d
// CHECK: tosa.add
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i8, axis = 0 : i64, block_size = 2 : i64, scales = dense<[[0.1], [0.2]]> : tensor<2x1xf32>}
func.func @main(%x: tensor<1x4xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %ws = nn.constant(dense<[[1], [2], [3], [4]]> : tensor<4x1xi8>) : tensor<4x1xi8>
  %w = nn.dequantize_weight %ws, @w : (tensor<4x1xi8>) -> tensor<4x1xf32>
  // expected-remark @unknown {{node 'M': its weights have a scale per block: 2 products are rescaled and added, one per block}}
  %y = nn.matmul %xq, %w : (tensor<1x4xf32>, tensor<4x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

// Numbers whose sum may leave 32 bits are limited.
// CHECK: dense<536870911>
// CHECK: tosa.minimum
// CHECK: tosa.reduce_sum
func.func @main(%x: tensor<4xi64> {nn.name = "x"}) -> tensor<i64> {
  %axes = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  // expected-remark @unknown {{node 'S': its sum of 4 integers may leave 32 bits: integers beyond 536870911 are summed as that}}
  %y = nn.reduce_sum %x, %axes {keepdims = false} : (tensor<4xi64>, tensor<1xi64>) -> tensor<i64> loc("S"("y"))
  return %y : tensor<i64>
}
