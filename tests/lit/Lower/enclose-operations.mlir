// RUN: nibble-opt %s -nibble-enclose-operations | FileCheck %s

// What lies between two blocks is one block; a constant of two of them is in both.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x4xi32>)
// CHECK-NEXT: %[[A:.*]] = nn.block @"/first to /second"(%{{.*}} = %[[X]]) : (tensor<1x4xi32>) -> tensor<1x4xi32> {
// CHECK-NEXT: tosa.const
// CHECK-NEXT: tosa.add
// CHECK-NEXT: tosa.sub
// CHECK: %[[B:.*]] = nn.block @inner(%{{.*}} = %[[A]]) : (tensor<1x4xi32>) -> tensor<1x4xi32> {
// CHECK-NEXT: tosa.abs
// CHECK: %[[C:.*]]:2 = nn.block @"/last"(%{{.*}} = %[[B]]) : (tensor<1x4xi32>) -> (tensor<1x4xi32>, tensor<1x4xi32>) {
// CHECK-NEXT: tosa.const
// CHECK-NEXT: tosa.add
// CHECK-NEXT: tosa.maximum
// CHECK: return %[[C]]#0, %[[C]]#1
func.func @main(%x: tensor<1x4xi32>) -> (tensor<1x4xi32>, tensor<1x4xi32>) {
  %c = "tosa.const"() <{values = dense<3> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %unused = "tosa.const"() <{values = dense<7> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %a = tosa.add %x, %c : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32> loc("/first")
  %b = tosa.sub %a, %x : (tensor<1x4xi32>, tensor<1x4xi32>) -> tensor<1x4xi32> loc("/second")
  %d = nn.block @inner(%y = %b) : (tensor<1x4xi32>) -> tensor<1x4xi32> {
    %e = tosa.abs %y : (tensor<1x4xi32>) -> tensor<1x4xi32>
    nn.yield %e : tensor<1x4xi32>
  }
  %f = tosa.add %d, %c : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32> loc("/last")
  %g = tosa.maximum %f, %c : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32> loc("/last")
  return %f, %g : tensor<1x4xi32>, tensor<1x4xi32>
}
