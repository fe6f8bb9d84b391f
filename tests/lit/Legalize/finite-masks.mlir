// RUN: nibble-opt %s -nibble-legalize=patterns=finite-masks,remove-nan-guards | FileCheck %s

// A causal mask of minus infinity is clamped, and the guard behind its softmax goes.
// CHECK-LABEL: func.func @causal
func.func @causal(%s: tensor<2x2xf32>) -> tensor<2x2xf32> {
  // CHECK: %[[M:.+]] = nn.constant({{.*}}[0.000000e+00, -5.000000e+01], [0.000000e+00, 0.000000e+00]
  // CHECK-NEXT: %[[A:.+]] = nn.add %arg0, %[[M]]
  // CHECK-NEXT: %[[P:.+]] = nn.softmax %[[A]]
  // CHECK-NEXT: return %[[P]]
  %mask = nn.constant(dense<[[0.0, 0xFF800000], [0.0, 0.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %zero = nn.constant(dense<0.0> : tensor<f32>) : tensor<f32>
  %a = nn.add %s, %mask : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %p = nn.softmax %a : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %n = nn.is_nan %p : (tensor<2x2xf32>) -> tensor<2x2xi1>
  %g = nn.where %n, %zero, %p : (tensor<2x2xi1>, tensor<f32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %g : tensor<2x2xf32>
}

// (1 - mask) * lowest, as encoders compute it, in a block of its own. The same constant elsewhere stays.
// CHECK-LABEL: func.func @padding
func.func @padding(%s: tensor<2x2xf32>, %mask: tensor<1x2xf32>) -> (tensor<2x2xf32>, tensor<1x2xf32>) {
  // CHECK: %[[LOW:.+]] = nn.constant(dense<-3.40282347E+38>
  // CHECK: %[[C:.+]] = nn.constant(dense<-5.000000e+01>
  // CHECK: nn.mul %{{.*}}, %[[C]]
  // CHECK: nn.max %{{.*}}, %[[LOW]]
  // CHECK: nn.block @attention
  %bias, %other = nn.block @mask(%m = %mask) : (tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
    %one = nn.constant(dense<1.0> : tensor<f32>) : tensor<f32>
    %low = nn.constant(dense<-3.40282347E+38> : tensor<f32>) : tensor<f32>
    %i = nn.sub %one, %m : (tensor<f32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %b = nn.mul %i, %low : (tensor<1x2xf32>, tensor<f32>) -> tensor<1x2xf32>
    %o = nn.max %m, %low : (tensor<1x2xf32>, tensor<f32>) -> tensor<1x2xf32>
    nn.yield %b, %o : tensor<1x2xf32>, tensor<1x2xf32>
  }
  %p = nn.block @attention(%x = %s, %b = %bias) : (tensor<2x2xf32>, tensor<1x2xf32>) -> tensor<2x2xf32> {
    %a = nn.add %x, %b : (tensor<2x2xf32>, tensor<1x2xf32>) -> tensor<2x2xf32>
    %q = nn.softmax %a : (tensor<2x2xf32>) -> tensor<2x2xf32>
    nn.yield %q : tensor<2x2xf32>
  }
  return %p, %other : tensor<2x2xf32>, tensor<1x2xf32>
}

// A boolean mask chooses between scores and minus infinity.
// CHECK-LABEL: func.func @boolean
func.func @boolean(%s: tensor<2x2xf32>, %m: tensor<2x2xi1>) -> tensor<2x2xf32> {
  // CHECK: %[[C:.+]] = nn.constant(dense<-5.000000e+01>
  // CHECK: nn.where %arg1, %arg0, %[[C]]
  %low = nn.constant(dense<0xFF800000> : tensor<f32>) : tensor<f32>
  %a = nn.where %m, %s, %low : (tensor<2x2xi1>, tensor<2x2xf32>, tensor<f32>) -> tensor<2x2xf32>
  %p = nn.softmax %a : (tensor<2x2xf32>) -> tensor<2x2xf32>
  return %p : tensor<2x2xf32>
}
