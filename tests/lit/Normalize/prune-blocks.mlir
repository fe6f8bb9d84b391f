// RUN: nibble-opt %s -nibble-prune-blocks | FileCheck %s

// The second result has no user, so what it needed and the operand behind it go; the block that made
// that operand has no users left. A result that is an operand is bypassed.
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NOT: @lengths
  // CHECK: %[[B:.+]] = nn.block @layer(%[[P:.+]] = %arg0) : (tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: %[[R:.+]] = nn.relu %[[P]]
  // CHECK-NEXT: nn.yield %[[R]]
  // CHECK-NEXT: attributes {structural_hash = "{{[0-9a-f]+}}"}
  // CHECK-NEXT: return %[[B]], %arg1
  %l = nn.block @lengths(%p = %y) : (tensor<4xf32>) -> tensor<4xf32> {
    %e = nn.exp %p : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %e : tensor<4xf32>
  }
  %a:3 = nn.block @layer(%p = %x, %q = %l, %s = %y) : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
      -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %r = nn.relu %p : (tensor<4xf32>) -> tensor<4xf32>
    %n = nn.neg %q : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %r, %n, %s : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
  return %a#0, %a#2 : tensor<4xf32>, tensor<4xf32>
}
