// RUN: nibble-opt %s -nibble-legalize=patterns=decompose-rotary-embedding -split-input-file -verify-diagnostics
// RUN: not nibble-opt %s -nibble-legalize=patterns=no-such-pattern 2>&1 | FileCheck %s

// CHECK: error: no legalization is named 'no-such-pattern'
// CHECK: note: known are erf-gelu-to-gelu
func.func @main(%x: tensor<1x2x2x4xf32>, %p: tensor<1x2xi64>, %c: tensor<3x2xf32>) -> tensor<1x2x2x4xf32> {
  // expected-error @+1 {{of node 'nn.rotary_embedding' cannot be rewritten by 'decompose-rotary-embedding', which needs constant caches}}
  %y = nn.rotary_embedding %x, %p, %c, %c
    : (tensor<1x2x2x4xf32>, tensor<1x2xi64>, tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<1x2x2x4xf32>
  return %y : tensor<1x2x2x4xf32>
}
