// Factors move from channels with outliers into all layers that read them. The statistics are those of
// Inputs/make_statistics.py: the second channel of every tensor is 64 times the first one.
// RUN: nibble-opt %s -split-input-file '-nibble-smooth-activations=statistics=%S/Inputs/statistics.safetensors' 2>/dev/null | FileCheck %s
// RUN: nibble-opt %s -split-input-file '-nibble-smooth-activations=statistics=%S/Inputs/statistics.safetensors' 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK
// RUN: nibble-opt %s -split-input-file '-nibble-smooth-activations=method=awq weight-bits=4 activation-bits=0 statistics=%S/Inputs/statistics.safetensors' 2>&1 >/dev/null | FileCheck %s --check-prefix=AWQ

// One norm, two readers, one factor. Weights that are all alike leave nothing to gain where only they are rounded.
// REMARK: node 'N': 2 channels scaled for 2 readers, exponent 0.65, predicted noise -39.3 dB instead of -36.6
// AWQ-NOT: node 'N'
// CHECK-LABEL: func.func @main
// CHECK: nn.constant(dense<[3.863{{.*}}, 0.2588{{.*}}]> : tensor<2xf32>)
// CHECK: nn.rms_normalization
// CHECK: %[[W:.+]] = nn.constant(dense<{{\[\[}}0.2588{{.*}}, 0.2588{{.*}}], [3.863{{.*}}, -3.863{{.*}}]]>
// CHECK: nn.matmul %{{.+}}, %[[W]] {nn.equalized = ["nibble-smooth-activations"]}
// CHECK: %[[V:.+]] = nn.constant(dense<{{\[\[}}0.2588{{.*}}, 3.863{{.*}}]]>
// CHECK: nn.gemm %{{.+}}, %[[V]] {nn.equalized = ["nibble-smooth-activations"], trans_b = true}
func.func @main(%x: tensor<4x2xf32> {nn.name = "x"}) -> (tensor<4x2xf32>, tensor<4x1xf32>) {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %n = nn.rms_normalization %x, %scale : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("N"("n"))
  %w = nn.constant(dense<[[1.0, 1.0], [1.0, -1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %v = nn.constant(dense<[[1.0, 1.0]]> : tensor<1x2xf32>) : tensor<1x2xf32>
  %q = nn.matmul %n, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("Q"("q"))
  %k = nn.gemm %n, %v {trans_b = true} : (tensor<4x2xf32>, tensor<1x2xf32>) -> tensor<4x1xf32> loc("K"("k"))
  return %q, %k : tensor<4x2xf32>, tensor<4x1xf32>
}

// -----

// A gate does not keep the up projection from taking factors; they go through its bias. Half of a fused projection that
// an activation reads keeps its scale.
// REMARK: node 'U': 2 channels scaled for 1 reader
// REMARK: node 'F': 2 channels scaled for 1 reader
// CHECK-LABEL: func.func @main
// CHECK: %[[U:.+]] = nn.constant(dense<{{\[\[}}3.863{{.*}}, 0.2588{{.*}}]]>
// CHECK: nn.matmul %{{.+}}, %[[U]]
// CHECK: %[[B:.+]] = nn.constant(dense<[7.727{{.*}}, 0.5176{{.*}}]>
// CHECK: nn.add %{{.+}}, %[[B]]
// CHECK: %[[F:.+]] = nn.constant(dense<{{\[\[}}1.000000e+00, 1.000000e+00, 3.863{{.*}}, 0.2588{{.*}}]]>
// CHECK: nn.matmul %{{.+}}, %[[F]]
func.func @main(%x: tensor<4x1xf32> {nn.name = "x"}, %g: tensor<4x2xf32> {nn.name = "g"}) -> (tensor<4x1xf32>, tensor<4x1xf32>) {
  %w = nn.constant(dense<[[1.0, 1.0]]> : tensor<1x2xf32>) : tensor<1x2xf32>
  %b = nn.constant(dense<[2.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>
  %d = nn.constant(dense<[[1.0], [1.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %u = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x2xf32>) -> tensor<4x2xf32> loc("U"("p"))
  %s = nn.add %u, %b : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("S"("s"))
  %m = nn.mul %g, %s : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32> loc("M"("u"))
  %y = nn.matmul %m, %d : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32> loc("Y"("y"))
  %f = nn.constant(dense<[[1.0, 1.0, 1.0, 1.0]]> : tensor<1x4xf32>) : tensor<1x4xf32>
  %h = nn.matmul %x, %f : (tensor<4x1xf32>, tensor<1x4xf32>) -> tensor<4x4xf32> loc("F"("f"))
  %halves:2 = nn.split %h {axis = 1 : i64} : (tensor<4x4xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) loc("H"(fused["a", "c"]))
  %e = nn.gelu %halves#0 : (tensor<4x2xf32>) -> tensor<4x2xf32> loc("G"("e"))
  %p = nn.mul %halves#1, %e : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32> loc("P"("h"))
  %z = nn.matmul %p, %d : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32> loc("Z"("z"))
  return %y, %z : tensor<4x1xf32>, tensor<4x1xf32>
}

// -----

// Four heads share two heads of one channel each: rows of the output projection that read one channel of v get its factor.
// REMARK: node 'V': 2 channels scaled for 1 reader
// CHECK-LABEL: func.func @main
// CHECK: %[[V:.+]] = nn.constant(dense<{{\[\[}}3.863{{.*}}, 0.2588{{.*}}]]>
// CHECK: nn.matmul %{{.+}}, %[[V]]
// CHECK: %[[O:.+]] = nn.constant(dense<{{\[\[}}0.2588{{.*}}], [0.2588{{.*}}], [3.863{{.*}}], [3.863{{.*}}]]>
// CHECK: nn.matmul %{{.+}}, %[[O]] {nn.equalized
func.func @main(%x: tensor<1x4x1xf32> {nn.name = "x"}, %a: tensor<1x4x4x4xf32> {nn.name = "a"}) -> tensor<1x4x1xf32> {
  %w = nn.constant(dense<1.0> : tensor<1x2xf32>) : tensor<1x2xf32>
  %o = nn.constant(dense<1.0> : tensor<4x1xf32>) : tensor<4x1xf32>
  %heads = nn.constant(dense<[1, 4, 2, 1]> : tensor<4xi64>) : tensor<4xi64>
  %single = nn.constant(dense<[1, 2, 1, 4, 1]> : tensor<5xi64>) : tensor<5xi64>
  %repeated = nn.constant(dense<[1, 2, 2, 4, 1]> : tensor<5xi64>) : tensor<5xi64>
  %all = nn.constant(dense<[1, 4, 4, 1]> : tensor<4xi64>) : tensor<4xi64>
  %flat = nn.constant(dense<[1, 4, 4]> : tensor<3xi64>) : tensor<3xi64>
  %v = nn.matmul %x, %w : (tensor<1x4x1xf32>, tensor<1x2xf32>) -> tensor<1x4x2xf32> loc("V"("v"))
  %h = nn.reshape %v, %heads : (tensor<1x4x2xf32>, tensor<4xi64>) -> tensor<1x4x2x1xf32>
  %s = nn.transpose %h {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x1xf32>) -> tensor<1x2x4x1xf32>
  %r = nn.reshape %s, %single : (tensor<1x2x4x1xf32>, tensor<5xi64>) -> tensor<1x2x1x4x1xf32>
  %e = nn.expand %r, %repeated : (tensor<1x2x1x4x1xf32>, tensor<5xi64>) -> tensor<1x2x2x4x1xf32>
  %k = nn.reshape %e, %all : (tensor<1x2x2x4x1xf32>, tensor<4xi64>) -> tensor<1x4x4x1xf32>
  %m = nn.matmul %a, %k : (tensor<1x4x4x4xf32>, tensor<1x4x4x1xf32>) -> tensor<1x4x4x1xf32>
  %t = nn.transpose %m {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x4x1xf32>) -> tensor<1x4x4x1xf32>
  %f = nn.reshape %t, %flat : (tensor<1x4x4x1xf32>, tensor<3xi64>) -> tensor<1x4x4xf32> loc("O"("o"))
  %y = nn.matmul %f, %o : (tensor<1x4x4xf32>, tensor<4x1xf32>) -> tensor<1x4x1xf32> loc("Y"("y"))
  return %y : tensor<1x4x1xf32>
}

// -----

// A group without statistics is left alone and says so; one that something else reads is no group.
// REMARK: node 'Q': its input is not smoothed, as there are no statistics of the 2 channels of tensor 'unseen'
// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.equalized
func.func @main(%x: tensor<4x2xf32> {nn.name = "x"}) -> (tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>) {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0, 1.0], [1.0, -1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %a = nn.rms_normalization %x, %scale : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("A"("unseen"))
  %q = nn.matmul %a, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("Q"("q"))
  %n = nn.rms_normalization %x, %scale : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("N"("n"))
  %k = nn.matmul %n, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("K"("k"))
  return %q, %k, %n : tensor<4x2xf32>, tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

// Small weights on the channel with large values: the fourth bit is spent on them when they are scaled up.
// AWQ: node 'A': 2 channels scaled for 1 reader
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<4x2xf32> {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[7.0, 3.0], [0.4, -0.7]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %a = nn.rms_normalization %x, %scale : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32> loc("A"("n"))
  %q = nn.matmul %a, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("Q"("q"))
  return %q : tensor<4x2xf32>
}
