// The parameters of a norm become factors and biases of the layers that read it, where all readers can take them.
// RUN: nibble-opt %s -split-input-file -nibble-fold-norm-scales 2>/dev/null | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-fold-norm-scales 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Readers behind the border of a block; a weight that another layer reads too is copied.
// CHECK-LABEL: func.func @main
// CHECK: %[[ONES:.+]] = nn.constant(dense<1.000000e+00> : tensor<2xf32>)
// CHECK: %[[N:.+]] = nn.rms_normalization %{{.+}}, %[[ONES]]
// CHECK: nn.block @b
// CHECK: %[[SHARED:.+]] = nn.constant(dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]>
// CHECK: %[[Q:.+]] = nn.constant(dense<{{\[\[}}2.000000e+00, 4.000000e+00], [-9.000000e+00, -1.200000e+01]]>
// CHECK: nn.matmul %{{.+}}, %[[Q]] {nn.equalized = ["nibble-fold-norm-scales"]}
// CHECK: %[[K:.+]] = nn.constant(dense<{{\[\[}}2.000000e+00, -3.000000e+00]]>
// CHECK: nn.gemm %{{.+}}, %[[K]] {nn.equalized = ["nibble-fold-norm-scales"], trans_b = true}
// CHECK: nn.matmul %{{.+}}, %[[SHARED]] :
func.func @main(%x: tensor<3x2xf32> {nn.name = "x"}, %z: tensor<3x2xf32> {nn.name = "z"}) -> (tensor<3x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>) {
  %scale = nn.constant(dense<[2.0, -3.0]> : tensor<2xf32>) : tensor<2xf32> loc("S"("s"))
  %n = nn.rms_normalization %x, %scale : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32> loc("N"("n"))
  %y:3 = nn.block @b(%p = %n, %q = %z) : (tensor<3x2xf32>, tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>) {
    %w = nn.constant(dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>) : tensor<2x2xf32> loc("W"("w"))
    %v = nn.constant(dense<[[1.0, 1.0]]> : tensor<1x2xf32>) : tensor<1x2xf32> loc("V"("v"))
    %a = nn.matmul %p, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32> loc("A"("a"))
    %b = nn.gemm %p, %v {trans_b = true} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<3x1xf32> loc("B"("b"))
    %c = nn.matmul %q, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32> loc("C"("c"))
    nn.yield %a, %b, %c : tensor<3x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>
  }
  return %y#0, %y#1, %y#2 : tensor<3x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>
}

// -----

// A bias is added to the constant behind a product, to the bias of a layer, or becomes a sum of its own.
// CHECK-LABEL: func.func @main
// CHECK: nn.layer_normalization %{{.+}}, %{{.+}} : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32>
// CHECK: %[[SUM:.+]] = nn.constant(dense<3.100000e+01> : tensor<1xf32>)
// CHECK: nn.add %{{.+}}, %[[SUM]]
// CHECK: %[[BIAS:.+]] = nn.constant(dense<4.100000e+01> : tensor<1xf32>)
// CHECK: nn.gemm %{{.+}}, %{{.+}}, %[[BIAS]] {nn.equalized
// CHECK: %[[NEW:.+]] = nn.constant(dense<2.100000e+01> : tensor<1xf32>)
// CHECK: %[[PRODUCT:.+]] = nn.matmul
// CHECK: %[[C:.+]] = nn.add %[[PRODUCT]], %[[NEW]]
// CHECK: nn.exp %[[C]]
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> (tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>) {
  %scale = nn.constant(dense<[2.0, 3.0]> : tensor<2xf32>) : tensor<2xf32> loc("S"("s"))
  %offset = nn.constant(dense<[5.0, 8.0]> : tensor<2xf32>) : tensor<2xf32> loc("O"("o"))
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32> loc("W"("w"))
  %b = nn.constant(dense<[10.0]> : tensor<1xf32>) : tensor<1xf32> loc("B"("b"))
  %d = nn.constant(dense<[20.0]> : tensor<1xf32>) : tensor<1xf32> loc("D"("d"))
  %n = nn.layer_normalization %x, %scale, %offset : (tensor<1x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("N"("n"))
  %p = nn.matmul %n, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("P"("p"))
  %a = nn.add %p, %b : (tensor<1x1xf32>, tensor<1xf32>) -> tensor<1x1xf32> loc("A"("a"))
  %g = nn.gemm %n, %w, %d : (tensor<1x2xf32>, tensor<2x1xf32>, tensor<1xf32>) -> tensor<1x1xf32> loc("G"("g"))
  %m = nn.matmul %n, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("m"))
  %e = nn.exp %m : (tensor<1x1xf32>) -> tensor<1x1xf32> loc("E"("e"))
  return %a, %g, %e : tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>
}

// -----

// A norm with another reader keeps its scale; a bias does not pass a convolution that pads with zeros.
// REMARK: node 'N': its parameters stay, as node 'E' (nn.exp) cannot take them
// REMARK: node 'L': its parameters stay, as node 'C' (nn.conv) cannot take them
// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.equalized
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}, %z: tensor<1x1x4xf32> {nn.name = "z"}) -> (tensor<1x1xf32>, tensor<1x2xf32>, tensor<1x1x4xf32>) {
  %scale = nn.constant(dense<[2.0, 3.0]> : tensor<2xf32>) : tensor<2xf32> loc("S"("s"))
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32> loc("W"("w"))
  %n = nn.rms_normalization %x, %scale : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("N"("n"))
  %m = nn.matmul %n, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("m"))
  %e = nn.exp %n : (tensor<1x2xf32>) -> tensor<1x2xf32> loc("E"("e"))
  %twos = nn.constant(dense<2.0> : tensor<4xf32>) : tensor<4xf32>
  %l = nn.layer_normalization %z, %twos, %twos : (tensor<1x1x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32> loc("L"("l"))
  %k = nn.constant(dense<1.0> : tensor<1x1x3xf32>) : tensor<1x1x3xf32>
  %c = nn.conv %l, %k {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>} : (tensor<1x1x4xf32>, tensor<1x1x3xf32>) -> tensor<1x1x4xf32> loc("C"("c"))
  return %m, %e, %c : tensor<1x1xf32>, tensor<1x2xf32>, tensor<1x1x4xf32>
}
