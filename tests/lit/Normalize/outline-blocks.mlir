// RUN: nibble-opt %s -nibble-outline-blocks="max-operations=2 merge-operations=0" | FileCheck %s
// RUN: nibble-opt %s -nibble-outline-blocks="min-operations=2 merge-operations=0" | FileCheck %s --check-prefix=LIVE

// Blocks are scopes; the residual sum stays with the layer before it; layers of one structure have one
// hash, although their constants differ.
// CHECK-LABEL: func.func @scopes
func.func @scopes(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: %[[A:.+]] = nn.block @"/m/layers.0"(%[[P:.+]] = %arg0) : (tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT:   %[[C:.+]] = nn.constant(dense<2.000000e+00>
  // CHECK-NEXT:   nn.mul %[[P]], %[[C]]
  // CHECK: attributes {structural_hash = "[[HASH:[0-9a-f]+]]"}
  // CHECK-NEXT: nn.block @"/m/layers.1"(%{{.*}} = %[[A]]) : (tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT:   nn.constant(dense<3.000000e+00>
  // CHECK: attributes {structural_hash = "[[HASH]]"}
  // CHECK-NEXT: return
  %two = nn.constant(dense<2.0> : tensor<f32>) : tensor<f32>
  %three = nn.constant(dense<3.0> : tensor<f32>) : tensor<f32>
  %a = nn.mul %x, %two : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("/m/layers.0/mlp/Mul"("a"))
  %b = nn.add %x, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/m/layers.0/Add"("b"))
  %c = nn.mul %b, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("/m/layers.1/mlp/Mul"("c"))
  %d = nn.add %b, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/m/layers.1/Add"("d"))
  return %d : tensor<4xf32>
}

// Segments as small as these are joined.
// RUN: nibble-opt %s -nibble-outline-blocks=max-operations=2 | FileCheck %s --check-prefix=MERGED
// MERGED-LABEL: func.func @scopes
// MERGED: nn.block @"/m/layers.0"
// MERGED-NOT: nn.block
// MERGED: return

// Without scopes the cut is where one value is live.
// LIVE-LABEL: func.func @residual
func.func @residual(%x: tensor<4xf32>) -> tensor<4xf32> {
  // LIVE: nn.block @block_0
  // LIVE-NEXT: nn.relu
  // LIVE-NEXT: nn.exp
  // LIVE-NEXT: nn.add
  // LIVE-NEXT: nn.yield
  // LIVE: nn.block @block_1
  %r = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
  %a = nn.exp %r : (tensor<4xf32>) -> tensor<4xf32>
  %b = nn.add %r, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %c = nn.exp %b : (tensor<4xf32>) -> tensor<4xf32>
  %d = nn.add %b, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %e = nn.relu %d : (tensor<4xf32>) -> tensor<4xf32>
  return %e : tensor<4xf32>
}
