// RUN: nibble-opt %s -nibble-infer-shapes -split-input-file -verify-diagnostics

// expected-error @+3 {{graph inputs have dimensions without a value; give it with --bind batch_size=N --bind length=N}}
// expected-note @+2 {{dimension 0 of input ids is batch_size}}
// expected-note @+1 {{dimension 1 of input ids is length}}
func.func @main(%x: tensor<?x?xf32> {nn.name = "ids", nn.symbols = ["batch_size", "length"]}) -> tensor<?x?xf32> {
  return %x : tensor<?x?xf32>
}

// -----
func.func @main(%x: tensor<2x3xf32>, %n: tensor<2xi64>) -> tensor<?x?xf32> {
  // expected-error @+1 {{has a result whose shape depends on data: 'tensor<?x?xf32>'}}
  %y = nn.reshape %x, %n : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----
func.func @main() -> tensor<1xf32> {
  %data = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>
  %row = nn.constant(dense<7> : tensor<1xi64>) : tensor<1xi64>
  // expected-error @+1 {{cannot be evaluated: }}
  %y = nn.gather %data, %row : (tensor<2xf32>, tensor<1xi64>) -> tensor<1xf32>
  return %y : tensor<1xf32>
}
