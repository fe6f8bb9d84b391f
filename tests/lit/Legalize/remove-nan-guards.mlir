// RUN: nibble-opt %s -nibble-legalize=patterns=remove-nan-guards | FileCheck %s

// The lowest finite float is no infinity: a row of it alone has a softmax.
// CHECK-LABEL: func.func @finite
func.func @finite(%s: tensor<1x2xf32>) -> tensor<1x2xf32> {
  // CHECK-NOT: nn.is_nan
  // CHECK: return
  %mask = nn.constant(dense<-3.40282347E+38> : tensor<1x2xf32>) : tensor<1x2xf32>
  %zero = nn.constant(dense<0.0> : tensor<f32>) : tensor<f32>
  %a = nn.add %s, %mask : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %p = nn.softmax %a : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %n = nn.is_nan %p : (tensor<1x2xf32>) -> tensor<1x2xi1>
  %g = nn.where %n, %zero, %p : (tensor<1x2xi1>, tensor<f32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %g : tensor<1x2xf32>
}

// A row that is masked by minus infinity throughout is NaN without its guard.
// CHECK-LABEL: func.func @infinite
func.func @infinite(%s: tensor<1x2xf32>) -> tensor<1x2xf32> {
  // CHECK: nn.is_nan
  // CHECK: nn.where
  %mask = nn.constant(dense<0xFF800000> : tensor<1x2xf32>) : tensor<1x2xf32>
  %zero = nn.constant(dense<0.0> : tensor<f32>) : tensor<f32>
  %a = nn.add %s, %mask : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %p = nn.softmax %a : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %n = nn.is_nan %p : (tensor<1x2xf32>) -> tensor<1x2xi1>
  %g = nn.where %n, %zero, %p : (tensor<1x2xi1>, tensor<f32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %g : tensor<1x2xf32>
}
