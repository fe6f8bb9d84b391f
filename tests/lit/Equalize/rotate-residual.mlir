// Rotations of the residual stream and of attention's values go into the weights around them. A Hadamard matrix of two
// rows gives sums and differences over the root of 2.
// RUN: nibble-opt %s -split-input-file -nibble-rotate-residual=seed=2 2>/dev/null | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-rotate-residual=seed=2 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK
// RUN: nibble-opt %s -split-input-file '-nibble-rotate-residual=residual=false values=false' | FileCheck %s --check-prefix=OFF
// OFF-NOT: nn.equalized

// A stream across a block: table, a layer that writes, one that reads. The head is tied to the table; both are rotated,
// each for itself.
// REMARK: node 'N': residual stream of 2 channels rotated: 2 norms, 1 layers that write it, 2 that read it
// CHECK-LABEL: func.func @main
// CHECK: %[[TABLE:.+]] = nn.constant(dense<{{\[\[}}-1.41421354, 0.000000e+00], [-2.82842708, -1.41421354]]>
// CHECK: nn.gather %[[TABLE]]
// CHECK: nn.block @layer
// CHECK: %[[U:.+]] = nn.constant(dense<{{\[\[}}-4.2426405, 1.41421354]]>
// CHECK: nn.gemm %{{.+}}, %[[U]] {nn.equalized = ["nibble-rotate-residual"]
// CHECK: %[[D:.+]] = nn.constant(dense<{{\[\[}}-7.7781744, 0.707106769]]>
// CHECK: nn.matmul %{{.+}}, %[[D]] :
// CHECK: %[[HEAD:.+]] = nn.constant(dense<{{\[\[}}-1.41421354, 0.000000e+00], [-2.82842708, -1.41421354]]>
// CHECK: nn.gemm %{{.+}}, %[[HEAD]] {nn.equalized = ["nibble-rotate-residual"]
func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> tensor<3x2xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32> loc("T"("t"))
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("E"("e"))
  %s = nn.block @layer(%p = %e) : (tensor<3x2xf32>) -> tensor<3x2xf32> {
    %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
    %u = nn.constant(dense<[[2.0, 4.0]]> : tensor<1x2xf32>) : tensor<1x2xf32>
    %d = nn.constant(dense<[[5.0, 6.0]]> : tensor<1x2xf32>) : tensor<1x2xf32>
    %n = nn.rms_normalization %p, %scale : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
    %a = nn.gemm %n, %u {trans_b = true} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<3x1xf32> loc("U"("a"))
    %r = nn.relu %a : (tensor<3x1xf32>) -> tensor<3x1xf32> loc("R"("r"))
    %b = nn.matmul %r, %d : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32> loc("D"("b"))
    %c = nn.add %p, %b : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32> loc("S"("s"))
    nn.yield %c : tensor<3x2xf32>
  }
  %l = nn.rms_normalization %s, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("L"("l"))
  %y = nn.gemm %l, %table {trans_b = true} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32> loc("Y"("y"))
  return %y : tensor<3x2xf32>
}

// -----

// Values of two heads of two channels, with a bias: both and the rows of the output projection are rotated.
// REMARK: node 'V': values of 2 attention heads rotated, 2 channels each
// CHECK-LABEL: func.func @main
// CHECK: %[[W:.+]] = nn.constant(dense<{{\[\[}}-1.41421354, 0.000000e+00, -1.41421354, 0.000000e+00],
// CHECK: nn.matmul %{{.+}}, %[[W]] :
// CHECK: %[[B:.+]] = nn.constant(dense<[-2.12132025, 0.707106769, -4.94974756, 0.707106769]>
// CHECK: nn.add %{{.+}}, %[[B]]
// CHECK: %[[O:.+]] = nn.constant(dense<{{\[\[}}-2.12132025], [0.707106769], [-4.94974756], [0.707106769]]>
// CHECK: nn.matmul %{{.+}}, %[[O]] {nn.equalized = ["nibble-rotate-residual"]}
func.func @main(%x: tensor<1x3x4xf32> {nn.name = "x"}, %a: tensor<1x2x3x3xf32> {nn.name = "a"}) -> tensor<1x3x1xf32> {
  %w = nn.constant(dense<1.0> : tensor<4x4xf32>) : tensor<4x4xf32>
  %b = nn.constant(dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>) : tensor<4xf32>
  %o = nn.constant(dense<[[1.0], [2.0], [3.0], [4.0]]> : tensor<4x1xf32>) : tensor<4x1xf32>
  %heads = nn.constant(dense<[1, 3, 2, 2]> : tensor<4xi64>) : tensor<4xi64>
  %flat = nn.constant(dense<[1, 3, 4]> : tensor<3xi64>) : tensor<3xi64>
  %v = nn.matmul %x, %w : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32> loc("V"("v"))
  %s = nn.add %v, %b : (tensor<1x3x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32> loc("S"("s"))
  %h = nn.reshape %s, %heads : (tensor<1x3x4xf32>, tensor<4xi64>) -> tensor<1x3x2x2xf32>
  %t = nn.transpose %h {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x2xf32>) -> tensor<1x2x3x2xf32>
  %m = nn.matmul %a, %t : (tensor<1x2x3x3xf32>, tensor<1x2x3x2xf32>) -> tensor<1x2x3x2xf32>
  %u = nn.transpose %m {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x3x2xf32>) -> tensor<1x3x2x2xf32>
  %f = nn.reshape %u, %flat : (tensor<1x3x2x2xf32>, tensor<3xi64>) -> tensor<1x3x4xf32>
  %y = nn.matmul %f, %o : (tensor<1x3x4xf32>, tensor<4x1xf32>) -> tensor<1x3x1xf32> loc("Y"("y"))
  return %y : tensor<1x3x1xf32>
}

// -----

// What keeps a stream from being rotated is named: an input, an output, a LayerNorm, a scale, a reader per channel.
// REMARK: node 'N' (nn.rms_normalization): the residual stream of 2 channels is not rotated: input 'x' of the model is part of it
// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.equalized
func.func @main(%x: tensor<3x2xf32> {nn.name = "x"}) -> tensor<3x1xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %n = nn.rms_normalization %x, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  %y = nn.matmul %n, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Y"("y"))
  return %y : tensor<3x1xf32>
}

// -----

// REMARK: node 'func.return' (func.return): the residual stream of 2 channels is not rotated: an output of the model is part of it
func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> tensor<3x2xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("E"("e"))
  %n = nn.rms_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  return %n : tensor<3x2xf32>
}

// -----

// REMARK: node 'L' (nn.layer_normalization): the residual stream of 2 channels is not rotated: a LayerNorm subtracts a mean
func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> (tensor<3x1xf32>, tensor<3x1xf32>) {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("E"("e"))
  %n = nn.rms_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  %y = nn.matmul %n, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Y"("y"))
  %l = nn.layer_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("L"("l"))
  %z = nn.matmul %l, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Z"("z"))
  return %y, %z : tensor<3x1xf32>, tensor<3x1xf32>
}

// -----

// REMARK: node '{{[NM]}}' (nn.rms_normalization): the residual stream of 2 channels is not rotated: its scale is not one number
// REMARK-NOT: not rotated
func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> (tensor<3x1xf32>, tensor<3x1xf32>) {
  %scale = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("E"("e"))
  %n = nn.rms_normalization %e, %scale : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  %y = nn.matmul %n, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Y"("y"))
  %m = nn.rms_normalization %e, %scale : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("M"("m"))
  %z = nn.matmul %m, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Z"("z"))
  return %y, %z : tensor<3x1xf32>, tensor<3x1xf32>
}

// -----

// REMARK: node 'R' (nn.relu): the residual stream of 2 channels is not rotated: a rotation does not pass it
func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> tensor<3x1xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("E"("e"))
  %n = nn.rms_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  %r = nn.relu %n : (tensor<3x2xf32>) -> tensor<3x2xf32> loc("R"("r"))
  %y = nn.matmul %r, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32> loc("Y"("y"))
  return %y : tensor<3x1xf32>
}
