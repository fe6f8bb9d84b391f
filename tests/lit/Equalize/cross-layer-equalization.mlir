// Between layers in a chain every channel gets one range of weights.
// RUN: nibble-opt %s -split-input-file -nibble-cross-layer-equalization 2>/dev/null | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-cross-layer-equalization 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Ranges of channel 0 are 8 and 2, of channel 1 are 1 and 4: scales are 2 and 1/2. The slope of PReLU stays.
// REMARK: node 'C': 2 channels equalized with node 'D'
// CHECK-LABEL: func.func @main
// CHECK: %[[SLOPE:.+]] = nn.constant(dense<{{.*}}2.500000e-01{{.*}}> : tensor<2x1xf32>)
// CHECK: %[[W:.+]] = nn.constant(dense<{{\[\[}}[4.000000e+00]], {{\[\[}}2.000000e+00]]]>
// CHECK: %[[B:.+]] = nn.constant(dense<[5.000000e-01, 2.000000e+00]>
// CHECK: nn.conv %{{.+}}, %[[W]], %[[B]]
// CHECK: nn.prelu %{{.+}}, %[[SLOPE]]
// CHECK: %[[V:.+]] = nn.constant(dense<{{\[\[}}[-4.000000e+00], [2.000000e+00]]]>
// CHECK: nn.conv %{{.+}}, %[[V]] {{.*}}nn.equalized = ["nibble-cross-layer-equalization"]
func.func @main(%x: tensor<1x1x4xf32> {nn.name = "x"}) -> tensor<1x1x4xf32> {
  %w = nn.constant(dense<[[[8.0]], [[1.0]]]> : tensor<2x1x1xf32>) : tensor<2x1x1xf32>
  %b = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %slope = nn.constant(dense<0.25> : tensor<2x1xf32>) : tensor<2x1xf32>
  %v = nn.constant(dense<[[[-2.0], [4.0]]]> : tensor<1x2x1xf32>) : tensor<1x2x1xf32>
  %c = nn.conv %x, %w, %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x1x4xf32>, tensor<2x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4xf32> loc("C"("c"))
  %p = nn.prelu %c, %slope : (tensor<1x2x4xf32>, tensor<2x1xf32>) -> tensor<1x2x4xf32> loc("P"("p"))
  %d = nn.conv %p, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x2x4xf32>, tensor<1x2x1xf32>) -> tensor<1x1x4xf32> loc("D"("d"))
  return %d : tensor<1x1x4xf32>
}

// -----

// Nothing is scaled through an activation that is not linear in positive factors, a gate, or where another reader is.
// REMARK-NOT: equalized
// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.equalized
func.func @main(%x: tensor<4x2xf32> {nn.name = "x"}) -> (tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>) {
  %w = nn.constant(dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %a = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("A"("a"))
  %g = nn.gelu %a : (tensor<4x2xf32>) -> tensor<4x2xf32> loc("G"("g"))
  %b = nn.matmul %g, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("B"("b"))
  %c = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("C"("c"))
  %m = nn.mul %x, %c : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32> loc("M"("m"))
  %d = nn.matmul %m, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("D"("d"))
  %e = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("E"("e"))
  %f = nn.matmul %e, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("F"("f"))
  return %b, %d, %e, %f : tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>
}
