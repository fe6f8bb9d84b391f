// RUN: nibble-opt %s -nibble-raise-normalizations -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK: %[[W:.+]] = nn.constant(dense<5.000000e-01> : tensor<8xf32>) : tensor<8xf32> loc("weight")
  // CHECK-NEXT: nn.rms_normalization %arg0, %[[W]] {epsilon = 1.000000e-03 : f32} {{.*}} loc("/mul"("normalized"))
  // CHECK-NEXT: return
  %two = nn.constant(dense<2.0> : tensor<f32>) : tensor<f32>
  %last = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>
  %eps = nn.constant(dense<1.0e-3> : tensor<f32>) : tensor<f32>
  %weight = nn.constant(dense<0.5> : tensor<8xf32>) : tensor<8xf32> loc("weight")
  %p = nn.pow %x, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %m = nn.reduce_mean %p, %last : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %e = nn.add %m, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %s = nn.sqrt %e : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %r = nn.reciprocal %s : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %n = nn.mul %x, %r : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %y = nn.mul %weight, %n : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("/mul"("normalized"))
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @layer_norm
func.func @layer_norm(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK-DAG: %[[W:.+]] = nn.constant({{.*}} loc("weight")
  // CHECK-DAG: %[[B:.+]] = nn.constant({{.*}} loc("bias")
  // CHECK: nn.layer_normalization %arg0, %[[W]], %[[B]] {epsilon = 1.000000e-03 : f32}
  // CHECK-NEXT: return
  %two = nn.constant(dense<2.0> : tensor<f32>) : tensor<f32>
  %last = nn.constant(dense<1> : tensor<1xi64>) : tensor<1xi64>
  %eps = nn.constant(dense<1.0e-3> : tensor<f32>) : tensor<f32>
  %weight = nn.constant(dense<0.5> : tensor<8xf32>) : tensor<8xf32> loc("weight")
  %bias = nn.constant(dense<0.25> : tensor<8xf32>) : tensor<8xf32> loc("bias")
  %mean = nn.reduce_mean %x, %last : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %d = nn.sub %x, %mean : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %p = nn.mul %d, %d : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %m = nn.reduce_mean %p, %last : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %e = nn.add %eps, %m : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %s = nn.sqrt %e : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %n = nn.div %d, %s : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %y = nn.mul %n, %weight : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %z = nn.add %y, %bias : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %z : tensor<2x8xf32>
}

// The mean runs over the first axis: not a normalization of this dialect.
// CHECK-LABEL: func.func @other_axis
func.func @other_axis(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK-NOT: nn.rms_normalization
  // CHECK: return
  %first = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  %eps = nn.constant(dense<1.0e-3> : tensor<f32>) : tensor<f32>
  %p = nn.mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %m = nn.reduce_mean %p, %first : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<1x8xf32>
  %e = nn.add %m, %eps : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %s = nn.sqrt %e : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %n = nn.div %x, %s : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  return %n : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @group_norm
func.func @group_norm(%x: tensor<2x8x4x4xf32>) -> tensor<2x8x4x4xf32> {
  // CHECK-DAG: %[[W:.+]] = nn.constant({{.*}} : tensor<8xf32> loc("weight")
  // CHECK-DAG: %[[B:.+]] = nn.constant({{.*}} : tensor<8xf32> loc("bias")
  // CHECK: nn.group_normalization %arg0, %[[W]], %[[B]] {epsilon = 9.99999997E-7 : f32, num_groups = 4 : i64} {{.*}} loc("/Add"("y"))
  // CHECK-NEXT: return
  %s0 = nn.constant(dense<[0, 4, -1]> : tensor<3xi64>) : tensor<3xi64>
  %s1 = nn.constant(dense<[2, 8, 4, 4]> : tensor<4xi64>) : tensor<4xi64>
  %ones = nn.constant(dense<1.0> : tensor<4xf32>) : tensor<4xf32>
  %zeros = nn.constant(dense<0.0> : tensor<4xf32>) : tensor<4xf32>
  %weight = nn.constant(dense<0.5> : tensor<8x1x1xf32>) : tensor<8x1x1xf32> loc("weight")
  %bias = nn.constant(dense<0.25> : tensor<1x8x1x1xf32>) : tensor<1x8x1x1xf32> loc("bias")
  %g = nn.reshape %x, %s0 : (tensor<2x8x4x4xf32>, tensor<3xi64>) -> tensor<2x4x32xf32>
  %n = nn.instance_normalization %g, %ones, %zeros {epsilon = 1.0e-6 : f32}
    : (tensor<2x4x32xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4x32xf32>
  %r = nn.reshape %n, %s1 : (tensor<2x4x32xf32>, tensor<4xi64>) -> tensor<2x8x4x4xf32>
  %m = nn.mul %r, %weight : (tensor<2x8x4x4xf32>, tensor<8x1x1xf32>) -> tensor<2x8x4x4xf32>
  %a = nn.add %m, %bias : (tensor<2x8x4x4xf32>, tensor<1x8x1x1xf32>) -> tensor<2x8x4x4xf32> loc("/Add"("y"))
  return %a : tensor<2x8x4x4xf32>
}
