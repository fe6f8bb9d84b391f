// RUN: nibble-opt %s -nibble-legalize=patterns=pad-into-conv | FileCheck %s

// CHECK-LABEL: func.func @downsample
func.func @downsample(%x: tensor<1x3x4x4xf32>, %w: tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32> {
  // CHECK-NOT: nn.pad
  // CHECK: nn.conv %arg0, %arg1 {{.*}}pads = array<i64: 0, 0, 1, 1>
  %pads = nn.constant(dense<[0, 0, 0, 0, 0, 0, 1, 1]> : tensor<8xi64>) : tensor<8xi64>
  %p = nn.pad %x, %pads {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4x4xf32>, tensor<8xi64>) -> tensor<1x3x5x5xf32>
  %c = nn.conv %p, %w {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : (tensor<1x3x5x5xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32>
  return %c : tensor<1x8x2x2xf32>
}

// Padding with another value than zero stays.
// CHECK-LABEL: func.func @ones
func.func @ones(%x: tensor<1x3x4x4xf32>, %w: tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32> {
  // CHECK: nn.pad
  %pads = nn.constant(dense<[0, 0, 0, 0, 0, 0, 1, 1]> : tensor<8xi64>) : tensor<8xi64>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %p = nn.pad %x, %pads, %one {operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x3x4x4xf32>, tensor<8xi64>, tensor<f32>) -> tensor<1x3x5x5xf32>
  %c = nn.conv %p, %w {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : (tensor<1x3x5x5xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32>
  return %c : tensor<1x8x2x2xf32>
}
