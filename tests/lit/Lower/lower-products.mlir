// RUN: nibble-opt %s -split-input-file -nibble-lower-to-tosa 2>&1 | FileCheck %s

// 8 bits by 4 bits: unsigned storage is the same integers less 128, the weights keep 4 bits, inputs come last.
// CHECK: func.func @main
// CHECK-SAME: %arg0: tensor<2x4xi8> {nn.encoding = @x, nn.name = "x"}) -> (tensor<2x3xi8> {nn.encoding = @y, nn.name = "y"})
// CHECK: nn.constant(dense<{{.*}}> : tensor<3x1x1x4xi4>)
// CHECK: %[[ZERO:.+]] = "tosa.const"() <{values = dense<-8> : tensor<1xi8>}>
// CHECK: tosa.conv2d %{{.+}}, %{{.+}}, %{{.+}}, %[[ZERO]], %{{.+}} {acc_type = i32
// CHECK-SAME: -> tensor<1x2x1x3xi32>
// CHECK: "tosa.const"() <{values = dense<-28> : tensor<1xi8>}>
// CHECK: tosa.rescale {{.+}}per_channel = true{{.+}} -> tensor<1x2x1x3xi8>
nn.quantizer @x {role = "activation", storage = ui8, scales = dense<0.5> : tensor<1xf32>, zero_points = dense<120> : tensor<1xi32>}
nn.quantizer @w {role = "weight", storage = i4, quant_min = -7 : i64, axis = 1 : i64, scales = dense<[0.1, 0.2, 0.3]> : tensor<3xf32>}
nn.quantizer @y {role = "activation", storage = ui8, scales = dense<0.25> : tensor<1xf32>, zero_points = dense<100> : tensor<1xi32>}
func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x3xf32> {nn.name = "y"}) {
  %xq = nn.fake_quant %x, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %ws = nn.constant(dense<[[1, -2, 3], [4, 5, 6], [7, -7, 1], [0, 1, 2]]> : tensor<4x3xi4>) : tensor<4x3xi4>
  %w = nn.dequantize_weight %ws, @w : (tensor<4x3xi4>) -> tensor<4x3xf32>
  %y = nn.matmul %xq, %w : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @y : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %yq : tensor<2x3xf32>
}

// -----

// 16 bits by 4 bits: TOSA multiplies 16-bit activations with 8-bit weights, in sums of 48 bits.
// CHECK: func.func @main
// CHECK: nn.constant(dense<{{.*}}> : tensor<3x1x1x4xi8>)
// CHECK: tosa.conv2d {{.+}}acc_type = i48
// CHECK: tosa.rescale {{.+}}scale32 = false
nn.quantizer @x {role = "activation", storage = i16, symmetric, scales = dense<0.001> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i4, quant_min = -7 : i64, axis = 1 : i64, scales = dense<[0.1, 0.2, 0.3]> : tensor<3xf32>}
func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> tensor<2x3xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %ws = nn.constant(dense<[[1, -2, 3], [4, 5, 6], [7, -7, 1], [0, 1, 2]]> : tensor<4x3xi4>) : tensor<4x3xi4>
  %w = nn.dequantize_weight %ws, @w : (tensor<4x3xi4>) -> tensor<4x3xf32>
  %y = nn.matmul %xq, %w : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %yq : tensor<2x3xf32>
}

// -----

// The integer multipliers of LPBQ are part of 8-bit weights: 2 * 3, -3 * 3 and 1 * 16, 7 * 16.
// CHECK: func.func @main
// CHECK: nn.constant(dense<{{\[\[\[\[}}6, -9, 16, 112]]]]> : tensor<1x1x1x4xi8>)
// CHECK: tosa.conv2d
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i4, quant_min = -7 : i64, kind = 1 : i32, axis = 0 : i64, block_size = 2 : i64, channel_axis = 1 : i64, scales = dense<0.1> : tensor<1xf32>, block_multipliers = dense<[[3], [16]]> : tensor<2x1xui8>}
func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> tensor<2x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %ws = nn.constant(dense<[[2], [-3], [1], [7]]> : tensor<4x1xi4>) : tensor<4x1xi4>
  %w = nn.dequantize_weight %ws, @w : (tensor<4x1xi4>) -> tensor<4x1xf32>
  %y = nn.matmul %xq, %w : (tensor<2x4xf32>, tensor<4x1xf32>) -> tensor<2x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<2x1xf32>) -> tensor<2x1xf32>
  return %yq : tensor<2x1xf32>
}
