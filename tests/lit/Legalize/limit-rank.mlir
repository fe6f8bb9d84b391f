// RUN: nibble-opt %s -nibble-legalize=patterns=limit-rank | FileCheck %s

// Two pixels of a patch move past one axis: the rest moves as one.
// CHECK-LABEL: func.func @patches
func.func @patches(%x: tensor<1x4x2x4x2x3xf32>) -> tensor<1x4x4x2x2x3xf32> {
  // CHECK: nn.reshape %arg0, {{.*}} -> tensor<4x2x4x6xf32>
  // CHECK: nn.transpose %{{.*}} {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: nn.reshape {{.*}} -> tensor<1x4x4x2x2x3xf32>
  %y = nn.transpose %x {perm = array<i64: 0, 1, 3, 2, 4, 5>} : (tensor<1x4x2x4x2x3xf32>) -> tensor<1x4x4x2x2x3xf32>
  return %y : tensor<1x4x4x2x2x3xf32>
}
