// RUN: nibble-opt %s -nibble-legalize=patterns=einsum-to-matmul -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// Attention scores: K is the right operand and transposed.
// CHECK-LABEL: func.func @scores
func.func @scores(%q: tensor<2x5x4x8xf32>, %k: tensor<2x7x4x8xf32>) -> tensor<2x4x5x7xf32> {
  // CHECK: %[[Q:.+]] = nn.transpose %arg0 {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: %[[K:.+]] = nn.transpose %arg1 {perm = array<i64: 0, 2, 3, 1>}
  // CHECK: nn.matmul %[[Q]], %[[K]] {{.*}} -> tensor<2x4x5x7xf32> loc("/Einsum"("y"))
  %y = nn.einsum %q, %k {equation = "bqhd,bkhd->bhqk"}
    : (tensor<2x5x4x8xf32>, tensor<2x7x4x8xf32>) -> tensor<2x4x5x7xf32> loc("/Einsum"("y"))
  return %y : tensor<2x4x5x7xf32>
}

// An implicit result is in alphabetical order; two summed indices become one.
// CHECK-LABEL: func.func @implicit
func.func @implicit(%a: tensor<3x4x5xf32>, %b: tensor<4x5x6xf32>) -> tensor<3x6xf32> {
  // CHECK: nn.matmul {{.*}} : (tensor<3x20xf32>, tensor<20x6xf32>) -> tensor<3x6xf32>
  %y = nn.einsum %a, %b {equation = "ijk, jkl"} : (tensor<3x4x5xf32>, tensor<4x5x6xf32>) -> tensor<3x6xf32>
  return %y : tensor<3x6xf32>
}
