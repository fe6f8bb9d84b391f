// RUN: nibble-opt %s -nibble-raise-activations -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// Both halves of the scale go to the query: 0.5 * 0.5.
// CHECK-LABEL: func.func @scales
func.func @scales(%q: tensor<4x8xf32>, %k: tensor<8x4xf32>) -> tensor<4x4xf32> {
  // CHECK: %[[S:.+]] = nn.constant(dense<2.500000e-01> : tensor<f32>)
  // CHECK: %[[Q:.+]] = nn.mul %arg0, %[[S]]
  // CHECK: nn.matmul %[[Q]], %arg1 {{.*}} loc("/MatMul"("scores"))
  %half = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %a = nn.mul %q, %half : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %b = nn.mul %k, %half : (tensor<8x4xf32>, tensor<f32>) -> tensor<8x4xf32>
  %s = nn.matmul %a, %b : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32> loc("/MatMul"("scores"))
  return %s : tensor<4x4xf32>
}

// GEGLU: the product with the other half stays outside.
// CHECK-LABEL: func.func @geglu
func.func @geglu(%x: tensor<4xf32>, %h: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: %[[G:.+]] = nn.gelu %arg0 : (tensor<4xf32>) -> tensor<4xf32> loc("/Mul"("g"))
  // CHECK-NEXT: nn.mul %arg1, %[[G]]
  %sqrt2 = nn.constant(dense<1.41421354> : tensor<f32>) : tensor<f32>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %half = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %d = nn.div %x, %sqrt2 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %e = nn.erf %d : (tensor<4xf32>) -> tensor<4xf32>
  %p = nn.add %e, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %m = nn.mul %x, %p : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %g = nn.mul %m, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("/Mul"("g"))
  %y = nn.mul %h, %g : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
