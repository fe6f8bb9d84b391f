// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-cross-layer-equalization

nn.quantizer @x {storage = ui8}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  // expected-error @+1 {{the program already has quantizers; nibble-cross-layer-equalization rewrites the float program}}
  %q = nn.fake_quant %x, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %q : tensor<4xf32>
}

// -----

func.func @main(%x: tensor<1x1xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %w = nn.constant(dense<[[1.0, 2.0]]> : tensor<1x2xf32>) : tensor<1x2xf32>
  %v = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %a = nn.matmul %x, %w : (tensor<1x1xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  // expected-error @+2 {{its input went through nibble-smooth-activations and must not go through nibble-cross-layer-equalization}}
  // expected-note @+1 {{it would replace the scales that were chosen from statistics; leave one of the two stages out}}
  %y = nn.matmul %a, %v {nn.equalized = ["nibble-smooth-activations"]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}
