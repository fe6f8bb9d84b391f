// RUN: nibble-opt %s -nibble-legalize=patterns=matmul-operand-order -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @values_first
func.func @values_first(%s: tensor<2x5x7xf32>, %v: tensor<2x4x7xf32>) -> tensor<2x4x5xf32> {
  // CHECK: %[[P:.+]] = nn.softmax %arg0
  // CHECK: %[[V:.+]] = nn.transpose %arg1 {perm = array<i64: 0, 2, 1>}
  // CHECK: %[[M:.+]] = nn.matmul %[[P]], %[[V]]
  // CHECK: nn.transpose %[[M]] {perm = array<i64: 0, 2, 1>} {{.*}} loc("/MatMul"("y"))
  %p = nn.softmax %s : (tensor<2x5x7xf32>) -> tensor<2x5x7xf32>
  %t = nn.transpose %p {perm = array<i64: 0, 2, 1>} : (tensor<2x5x7xf32>) -> tensor<2x7x5xf32>
  %y = nn.matmul %v, %t : (tensor<2x4x7xf32>, tensor<2x7x5xf32>) -> tensor<2x4x5xf32> loc("/MatMul"("y"))
  return %y : tensor<2x4x5xf32>
}
