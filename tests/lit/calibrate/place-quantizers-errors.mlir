// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-place-quantizers

// expected-error @+1 {{the module already has quantizers; they are placed once, on the float program}}
nn.quantizer @x {storage = ui8}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
