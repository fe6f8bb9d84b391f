// RUN: nibble-opt %s -nibble-simplify-operators -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @identities
func.func @identities(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK-NEXT: return %{{.*}} : tensor<2x3xf32>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %zero = nn.constant(dense<0.0> : tensor<1xf32>) : tensor<1xf32>
  %a = nn.mul %one, %x : (tensor<f32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = nn.add %a, %zero : (tensor<2x3xf32>, tensor<1xf32>) -> tensor<2x3xf32>
  %c = nn.div %b, %one : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %d = nn.cast %c {to = f32} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %e = nn.concat %d {axis = 0 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %f = nn.transpose %e {perm = array<i64: 0, 1>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %yes = nn.constant(dense<true> : tensor<1xi1>) : tensor<1xi1>
  %g = nn.where %yes, %f, %zero : (tensor<1xi1>, tensor<2x3xf32>, tensor<1xf32>) -> tensor<2x3xf32>
  return %g : tensor<2x3xf32>
}

// A factor of one that broadcasts, and a slice that reverses, are not identities.
// CHECK-LABEL: func.func @not_identities
func.func @not_identities(%x: tensor<2x1xf32>) -> tensor<2x3xf32> {
  // CHECK: nn.mul
  // CHECK: nn.slice
  %one = nn.constant(dense<1.0> : tensor<1x3xf32>) : tensor<1x3xf32>
  %a = nn.mul %x, %one : (tensor<2x1xf32>, tensor<1x3xf32>) -> tensor<2x3xf32>
  %start = nn.constant(dense<1> : tensor<1xi64>) : tensor<1xi64>
  %end = nn.constant(dense<-9> : tensor<1xi64>) : tensor<1xi64>
  %axis = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  %step = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>
  %b = nn.slice %a, %start, %end, %axis, %step {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>}
    : (tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  return %b : tensor<2x3xf32>
}

// The value of the last reshape keeps its name.
// CHECK-LABEL: func.func @reshapes
func.func @reshapes(%x: tensor<2x12xf32>) -> tensor<2x1x3x4xf32> {
  // CHECK: %[[SHAPE:.+]] = nn.constant(dense<[2, 1, 3, 4]> : tensor<4xi64>)
  // CHECK-NEXT: nn.reshape %arg0, %[[SHAPE]] {{.*}} -> tensor<2x1x3x4xf32> loc("/Unsqueeze"("/Unsqueeze_output_0"))
  // CHECK-NEXT: return
  %s = nn.constant(dense<[0, 3, -1]> : tensor<3xi64>) : tensor<3xi64>
  %r = nn.reshape %x, %s : (tensor<2x12xf32>, tensor<3xi64>) -> tensor<2x3x4xf32>
  %axes = nn.constant(dense<1> : tensor<1xi64>) : tensor<1xi64>
  %u = nn.unsqueeze %r, %axes : (tensor<2x3x4xf32>, tensor<1xi64>) -> tensor<2x1x3x4xf32> loc("/Unsqueeze"("/Unsqueeze_output_0"))
  return %u : tensor<2x1x3x4xf32>
}

// CHECK-LABEL: func.func @transposes
func.func @transposes(%x: tensor<2x3x4xf32>) -> tensor<3x4x2xf32> {
  // CHECK-NEXT: nn.transpose %arg0 {perm = array<i64: 1, 2, 0>}
  // CHECK-NEXT: return
  %a = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %b = nn.transpose %a {perm = array<i64: 2, 1, 0>} : (tensor<2x4x3xf32>) -> tensor<3x4x2xf32>
  return %b : tensor<3x4x2xf32>
}

// CHECK-LABEL: func.func @pads
func.func @pads(%x: tensor<1x3x5x5xf32>, %w: tensor<8x3x3x3xf32>) -> tensor<1x8x3x3xf32> {
  // CHECK: nn.conv {{.*}}pads = array<i64: 1, 1, 1, 1>
  // CHECK-NOT: SAME
  %c = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    auto_pad = "SAME_UPPER"} : (tensor<1x3x5x5xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x3x3xf32>
  return %c : tensor<1x8x3x3xf32>
}

// An empty cache adds no rows.
// CHECK-LABEL: func.func @empty_cache
func.func @empty_cache(%past: tensor<1x4x0x8xf32>, %new: tensor<1x4x5x8xf32>) -> tensor<1x4x5x8xf32> {
  // CHECK-NEXT: return %arg1
  %c = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x4x0x8xf32>, tensor<1x4x5x8xf32>) -> tensor<1x4x5x8xf32>
  return %c : tensor<1x4x5x8xf32>
}
