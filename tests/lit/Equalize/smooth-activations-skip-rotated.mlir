// On request, edges that were rotated are left alone and the others smoothed.
// RUN: nibble-opt %s '-nibble-smooth-activations=statistics=%S/Inputs/statistics.safetensors skip-rotated' 2>/dev/null | FileCheck %s

// CHECK: nn.matmul %{{.+}}, %{{.+}} {nn.equalized = ["nibble-rotate-residual"]} :
// CHECK: nn.matmul %{{.+}}, %{{.+}} {nn.equalized = ["nibble-smooth-activations"]} :
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> (tensor<1x1xf32>, tensor<1x1xf32>) {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [1.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %n = nn.rms_normalization %x, %scale : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("N"("n"))
  %y = nn.matmul %n, %w {nn.equalized = ["nibble-rotate-residual"]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("Y"("y"))
  %m = nn.rms_normalization %x, %scale : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("M"("h"))
  %z = nn.matmul %m, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("Z"("z"))
  return %y, %z : tensor<1x1xf32>, tensor<1x1xf32>
}
