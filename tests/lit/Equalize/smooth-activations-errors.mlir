// RUN: nibble-opt %s -split-input-file -verify-diagnostics '-nibble-smooth-activations=statistics=%S/Inputs/statistics.safetensors'
// RUN: not nibble-opt %s -split-input-file -nibble-smooth-activations 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not nibble-opt %s -split-input-file '-nibble-smooth-activations=statistics=%s' 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: not nibble-opt %s -split-input-file '-nibble-smooth-activations=method=awq weight-bits=5' 2>&1 | FileCheck %s --check-prefix=AWQ
// RUN: not nibble-opt %s -split-input-file '-nibble-smooth-activations=weight-bits=1' 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not nibble-opt %s -split-input-file '-nibble-smooth-activations=group-size=-1' 2>&1 | FileCheck %s --check-prefix=GROUP

// NONE: error: nibble-smooth-activations needs statistics of the program
// NONE: note: calibrate the program that is smoothed
// FILE: error: {{.*}}safetensors header
// AWQ: error: nibble-smooth-activations: awq needs weight-bits 4 or 8, but found 5
// BITS: error: nibble-smooth-activations: expected 2 to 16 bits (activations: or 0), but found weight-bits 1, activation-bits 8, norm-bits 16
// GROUP: error: nibble-smooth-activations: group-size must not be negative, but is -1

func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [1.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %n = nn.rms_normalization %x, %scale : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("N"("n"))
  // expected-error @+2 {{its input went through nibble-rotate-residual and must not go through nibble-smooth-activations}}
  // expected-note @+1 {{a rotation leaves no outlier channels that scales could even out; leave one of the two stages out, or let smoothing skip rotated edges}}
  %y = nn.matmul %n, %w {nn.equalized = ["nibble-rotate-residual"]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}

// -----

func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %scale = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32>
  %w = nn.constant(dense<[[1.0], [1.0]]> : tensor<2x1xf32>) : tensor<2x1xf32>
  %n = nn.rms_normalization %x, %scale : (tensor<1x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("N"("n"))
  // expected-error @+2 {{its input went through nibble-smooth-activations and must not go through nibble-smooth-activations}}
  // expected-note @+1 {{it would replace the scales that were chosen from statistics; leave one of the two stages out}}
  %y = nn.matmul %n, %w {nn.equalized = ["nibble-smooth-activations"]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}
