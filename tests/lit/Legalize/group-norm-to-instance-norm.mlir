// RUN: nibble-opt %s -nibble-legalize=patterns=group-norm-to-instance-norm -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @affine
func.func @affine(%x: tensor<2x8x4x5xf32>) -> tensor<2x8x4x5xf32> {
  // CHECK-DAG: %[[ONES:.+]] = nn.constant(dense<1.000000e+00> : tensor<4xf32>)
  // CHECK-DAG: %[[ZEROS:.+]] = nn.constant(dense<0.000000e+00> : tensor<4xf32>)
  // CHECK: %[[G:.+]] = nn.reshape %arg0, {{.*}} -> tensor<2x4x8x5xf32>
  // CHECK: %[[N:.+]] = nn.instance_normalization %[[G]], %[[ONES]], %[[ZEROS]] {epsilon = 9.99999997E-7 : f32}
  // CHECK: %[[R:.+]] = nn.reshape %[[N]], {{.*}} -> tensor<2x8x4x5xf32>
  // CHECK: %[[S:.+]] = nn.constant(dense<5.000000e-01> : tensor<8x1x1x1xf32>) {{.*}} loc("weight")
  // CHECK: nn.conv %[[R]], %[[S]], %{{.+}} {{.*}}group = 8 : i64{{.*}} loc("/norm/GroupNorm"("y"))
  %s = nn.constant(dense<0.5> : tensor<8xf32>) : tensor<8xf32> loc("weight")
  %b = nn.constant(dense<0.25> : tensor<8xf32>) : tensor<8xf32>
  %y = nn.group_normalization %x, %s, %b {num_groups = 4 : i64, epsilon = 1.0e-6 : f32}
    : (tensor<2x8x4x5xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x5xf32> loc("/norm/GroupNorm"("y"))
  return %y : tensor<2x8x4x5xf32>
}

// Trivial parameters cost nothing.
// CHECK-LABEL: func.func @plain
func.func @plain(%x: tensor<2x8x6xf32>) -> tensor<2x8x6xf32> {
  // CHECK-NOT: nn.conv
  // CHECK: nn.reshape {{.*}} -> tensor<2x8x6xf32> loc("/norm/GroupNorm"("y"))
  %s = nn.constant(dense<1.0> : tensor<8xf32>) : tensor<8xf32>
  %b = nn.constant(dense<0.0> : tensor<8xf32>) : tensor<8xf32>
  %y = nn.group_normalization %x, %s, %b {num_groups = 4 : i64}
    : (tensor<2x8x6xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x6xf32> loc("/norm/GroupNorm"("y"))
  return %y : tensor<2x8x6xf32>
}
