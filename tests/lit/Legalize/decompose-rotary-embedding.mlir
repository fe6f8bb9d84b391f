// RUN: nibble-opt %s -nibble-legalize=patterns=decompose-rotary-embedding -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// Rows of the caches are looked up at compile time; the sign of the exchanged half is in the sine.
// CHECK-LABEL: func.func @constant_positions
func.func @constant_positions(%x: tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32> {
  // CHECK: %[[COS:.+]] = nn.constant({{.*}}[3.000000e+00, 4.000000e+00, 3.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00, 5.000000e+00, 6.000000e+00]
  // CHECK: %[[SIN:.+]] = nn.constant({{.*}}[-3.000000e+01, -4.000000e+01, 3.000000e+01, 4.000000e+01], [-5.000000e+01, -6.000000e+01, 5.000000e+01, 6.000000e+01]
  // CHECK: %[[HIGH:.+]] = nn.slice %arg0
  // CHECK: %[[LOW:.+]] = nn.slice %arg0
  // CHECK: %[[SWAPPED:.+]] = nn.concat %[[HIGH]], %[[LOW]]
  // CHECK: %[[A:.+]] = nn.mul %arg0, %[[COS]]
  // CHECK: %[[B:.+]] = nn.mul %[[SWAPPED]], %[[SIN]]
  // CHECK: nn.add %[[A]], %[[B]] {{.*}} loc("/rope"("y"))
  %positions = nn.constant(dense<[[1, 2]]> : tensor<1x2xi64>) : tensor<1x2xi64>
  %cos = nn.constant(dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>) : tensor<3x2xf32>
  %sin = nn.constant(dense<[[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]> : tensor<3x2xf32>) : tensor<3x2xf32>
  %y = nn.rotary_embedding %x, %positions, %cos, %sin
    : (tensor<1x2x2x4xf32>, tensor<1x2xi64>, tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<1x2x2x4xf32> loc("/rope"("y"))
  return %y : tensor<1x2x2x4xf32>
}

// CHECK-LABEL: func.func @computed_positions
func.func @computed_positions(%x: tensor<1x2x8xf32>, %positions: tensor<1x2xi64>) -> tensor<1x2x8xf32> {
  // CHECK: nn.gather %{{.*}}, %arg1 {{.*}} -> tensor<1x2x4xf32>
  // CHECK: nn.reshape {{.*}} -> tensor<1x2x8xf32> loc("/rope"("y"))
  %cos = nn.constant(dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>) : tensor<3x2xf32>
  %y = nn.rotary_embedding %x, %positions, %cos, %cos {num_heads = 2 : i64, interleaved = true}
    : (tensor<1x2x8xf32>, tensor<1x2xi64>, tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<1x2x8xf32> loc("/rope"("y"))
  return %y : tensor<1x2x8xf32>
}
