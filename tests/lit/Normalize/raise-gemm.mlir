// RUN: nibble-opt %s -nibble-raise-gemm -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// The layer keeps the node of the product and the tensor of the sum; a bias of one row loses that dimension.
// CHECK-LABEL: func.func @layer
func.func @layer(%x: tensor<4x8xf32>) -> tensor<4x16xf32> {
  // CHECK: %[[W:.+]] = nn.constant(dense<1.0
  // CHECK: %[[B:.+]] = nn.constant({{.*}}) : tensor<16xf32>
  // CHECK: nn.gemm %arg0, %[[W]], %[[B]] {{.*}} loc("/MatMul"("y"))
  // CHECK-NOT: nn.add
  %w = nn.constant(dense<1.0> : tensor<8x16xf32>) : tensor<8x16xf32>
  %b = nn.constant(dense<2.0> : tensor<1x16xf32>) : tensor<1x16xf32>
  %p = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32> loc("/MatMul"("p"))
  %y = nn.add %b, %p : (tensor<1x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32> loc("/Add"("y"))
  return %y : tensor<4x16xf32>
}

// A bias per row is none; a product of three dimensions is no Gemm; a product with another reader stays.
// CHECK-LABEL: func.func @others
// CHECK-NOT: nn.gemm
func.func @others(%x: tensor<4x8xf32>, %z: tensor<2x4x8xf32>) -> (tensor<4x16xf32>, tensor<2x4x16xf32>, tensor<4x16xf32>, tensor<4x16xf32>) {
  %w = nn.constant(dense<1.0> : tensor<8x16xf32>) : tensor<8x16xf32>
  %rows = nn.constant(dense<2.0> : tensor<4x1xf32>) : tensor<4x1xf32>
  %b = nn.constant(dense<2.0> : tensor<16xf32>) : tensor<16xf32>
  %p = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %y = nn.add %p, %rows : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32>
  %q = nn.matmul %z, %w : (tensor<2x4x8xf32>, tensor<8x16xf32>) -> tensor<2x4x16xf32>
  %s = nn.add %q, %b : (tensor<2x4x16xf32>, tensor<16xf32>) -> tensor<2x4x16xf32>
  %r = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %t = nn.add %r, %b : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  return %y, %s, %r, %t : tensor<4x16xf32>, tensor<2x4x16xf32>, tensor<4x16xf32>, tensor<4x16xf32>
}
