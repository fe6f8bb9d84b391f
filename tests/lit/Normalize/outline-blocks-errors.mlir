// RUN: nibble-opt %s -nibble-outline-blocks=max-operations=0 -verify-diagnostics

// expected-error @+1 {{max-operations and min-operations must be positive and merge-operations not negative, but they are 0, 12 and 4}}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
