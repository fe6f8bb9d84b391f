// RUN: nibble-opt %s -verify-diagnostics '-nibble-assign-encodings=recipe=w8a16 target=onnx'

// A weight that was stored before keeps its quantizer, which must be sound to ask the target about.
// expected-error @+1 {{quantizer @broken uses integers -200 to 127, but its storage holds -128 to 127}}
nn.quantizer @broken {storage = i8, symmetric, quant_min = -200 : i64, scales = dense<0.5> : tensor<f32>}
func.func @main(%x: tensor<1x4xf32> {nn.name = "x"}) -> tensor<1x4xf32> {
  %s = nn.constant(dense<1> : tensor<4x4xi8>) : tensor<4x4xi8> loc("S"("s"))
  %w = nn.dequantize_weight %s, @broken : (tensor<4x4xi8>) -> tensor<4x4xf32> loc("W"("w"))
  %y = nn.matmul %x, %w : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32> loc("MatMul"("y"))
  return %y : tensor<1x4xf32>
}
