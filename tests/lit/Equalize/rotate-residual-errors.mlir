// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-rotate-residual

nn.quantizer @x {storage = ui8}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  // expected-error @+1 {{the program already has quantizers; nibble-rotate-residual rewrites the float program}}
  %q = nn.fake_quant %x, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %q : tensor<4xf32>
}

// -----

func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> tensor<3x1xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32>
  %n = nn.rms_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  // expected-error @+2 {{its input went through nibble-smooth-activations and must not go through nibble-rotate-residual}}
  // expected-note @+1 {{a rotation mixes channels, so scales that were chosen per channel are lost; leave one of the two stages out}}
  %y = nn.matmul %n, %w {nn.equalized = ["nibble-fold-norm-scales", "nibble-smooth-activations"]} : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// -----

func.func @main(%ids: tensor<3xi64> {nn.name = "ids"}) -> tensor<3x1xf32> {
  %ones = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %table = nn.constant(dense<[[1.0, 1.0], [3.0, 1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  %e = nn.gather %table, %ids : (tensor<2x2xf32>, tensor<3xi64>) -> tensor<3x2xf32>
  %n = nn.rms_normalization %e, %ones : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  // expected-error @+2 {{its input went through nibble-rotate-residual and must not go through nibble-rotate-residual}}
  // expected-note @+1 {{one rotation does all that two can; leave one of the two stages out}}
  %y = nn.matmul %n, %w {nn.equalized = ["nibble-rotate-residual"]} : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}
