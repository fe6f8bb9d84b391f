// RUN: nibble-opt %s -nibble-outline-blocks=max-operations=0 -verify-diagnostics

// expected-error @+1 {{max-operations and min-operations must be positive, but are 0 and 12}}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
