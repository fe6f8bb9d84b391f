// RUN: nibble-opt %s -nibble-legalize=patterns=erf-gelu-to-gelu,tanh-gelu-to-gelu | FileCheck %s

// CHECK-LABEL: func.func @erf
func.func @erf(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: %[[G:.+]] = nn.gelu %arg0
  // CHECK-NEXT: return %[[G]]
  %r = nn.constant(dense<0.707106769> : tensor<f32>) : tensor<f32>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %half = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %d = nn.mul %r, %x : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %e = nn.erf %d : (tensor<4xf32>) -> tensor<4xf32>
  %p = nn.add %one, %e : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %h = nn.mul %x, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %y = nn.mul %h, %p : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: func.func @tanh
func.func @tanh(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: %[[G:.+]] = nn.gelu %arg0 {approximate = "tanh"}
  // CHECK-NEXT: return %[[G]]
  %three = nn.constant(dense<3.0> : tensor<f32>) : tensor<f32>
  %cubic = nn.constant(dense<0.044715> : tensor<f32>) : tensor<f32>
  %root = nn.constant(dense<0.797884583> : tensor<f32>) : tensor<f32>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %half = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %p = nn.pow %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %c = nn.mul %p, %cubic : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %s = nn.add %x, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %t = nn.mul %s, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %h = nn.tanh %t : (tensor<4xf32>) -> tensor<4xf32>
  %q = nn.add %h, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %m = nn.mul %x, %q : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y = nn.mul %m, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// Another factor than 0.5, or erf of another value, is not a GELU.
// CHECK-LABEL: func.func @others
func.func @others(%x: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NOT: nn.gelu
  // CHECK: return
  %r = nn.constant(dense<0.707106769> : tensor<f32>) : tensor<f32>
  %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
  %half = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %d = nn.mul %x, %r : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %e = nn.erf %d : (tensor<4xf32>) -> tensor<4xf32>
  %p = nn.add %e, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %a = nn.mul %x, %p : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %b = nn.mul %z, %p : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %c = nn.mul %b, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %y = nn.add %a, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
