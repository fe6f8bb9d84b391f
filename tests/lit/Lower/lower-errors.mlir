// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-lower-to-tosa

// expected-error @+1 {{there is no function 'main' to lower}}
module {
}

// -----

// expected-error @+1 {{input 'x' has dynamic dimensions, which an integer program cannot have; give them values with --bind}}
func.func @main(%x: tensor<?xi64> {nn.name = "x"}) -> tensor<?xi64> {
  return %x : tensor<?xi64>
}

// -----

// expected-error @+1 {{input 'x' is float and no quantizer follows it; give it 8 or 16 bits in the recipe}}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %y = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32> loc("E"("y"))
  return %y : tensor<4xf32>
}

// -----

// expected-error @+1 {{input 'x' has elements of type 'ui8', which an integer program does not take}}
func.func @main(%x: tensor<4xui8> {nn.name = "x"}) -> tensor<4xui8> {
  return %x : tensor<4xui8>
}

// -----

// A float edge inside.
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @unknown {{node 'E': its result 'y' is float, which an integer program cannot hold}}
  // expected-note @unknown {{give it 8 or 16 bits in the recipe}}
  %y = nn.exp %xq : (tensor<4xf32>) -> tensor<4xf32> loc("E"("y"))
  %z = nn.neg %y : (tensor<4xf32>) -> tensor<4xf32> loc("N"("z"))
  %zq = nn.fake_quant %z, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %zq : tensor<4xf32>
}

// -----

// An operator without an integer form.
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<4xf32>) -> tensor<4xf32>
  %axes = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  // expected-error @unknown {{node 'P': operator reduce_prod has no integer form}}
  // expected-note @unknown {{a pass that rewrites it into operators that have one would be needed; docs/spec/numerics.md lists them}}
  %y = nn.reduce_prod %xq, %axes : (tensor<4xf32>, tensor<1xi64>) -> tensor<1xf32> loc("P"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1xf32>) -> tensor<1xf32>
  return %yq : tensor<1xf32>
}

// -----

// TOSA has no operator for these pairs of types.
nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i16, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%x: tensor<1x2x1x1xf32> {nn.name = "x"}) -> tensor<1x1x1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %ws = nn.constant(dense<[[[[-8]], [[7]]]]> : tensor<1x2x1x1xi16>) : tensor<1x2x1x1xi16>
  %w = nn.dequantize_weight %ws, @w : (tensor<1x2x1x1xi16>) -> tensor<1x2x1x1xf32>
  // expected-error @unknown {{node 'C': TOSA multiplies with weights of int4 and int8, found int16}}
  // expected-note @unknown {{give the weights 'bits: 8' and 'symmetric: true'}}
  %y = nn.conv %xq, %w {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x1x1x1xf32> loc("C"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  return %yq : tensor<1x1x1x1xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i8, scales = dense<0.1> : tensor<1xf32>, zero_points = dense<3> : tensor<1xi32>}
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %ws = nn.constant(dense<[[-8], [7]]> : tensor<2x1xi8>) : tensor<2x1xi8>
  %w = nn.dequantize_weight %ws, @w : (tensor<2x1xi8>) -> tensor<2x1xf32>
  // expected-error @unknown {{node 'M': its weights have zero points, for which TOSA has no operator}}
  // expected-note @unknown {{give them 'symmetric: true' in the recipe}}
  %y = nn.matmul %xq, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<1x2x1x1xf32> {nn.name = "x"}) -> tensor<1x1x1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %w = nn.constant(dense<0.5> : tensor<1x2x1x1xf32>) : tensor<1x2x1x1xf32> loc("W"("w"))
  // expected-error @unknown {{node 'C': its weights 'w' are not stored as integers}}
  // expected-note @unknown {{give them 4 or 8 bits in the recipe}}
  %y = nn.conv %xq, %w {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x1x1x1xf32> loc("C"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  return %yq : tensor<1x1x1x1xf32>
}

// -----

// Activations of another width, or with several scales.
nn.quantizer @x {role = "activation", storage = i4, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<4xi64> {nn.name = "x"}) -> tensor<4xf32> {
  %c = nn.cast %x {to = f32} : (tensor<4xi64>) -> tensor<4xf32> loc("C"("c"))
  // expected-error @unknown {{node 'Q': activations have 8 or 16 bits in an integer program, found int4}}
  %cq = nn.fake_quant %c, @x : (tensor<4xf32>) -> tensor<4xf32> loc("Q"("q"))
  return %cq : tensor<4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, axis = 0 : i64, scales = dense<0.5> : tensor<4xf32>}
func.func @main(%x: tensor<4xi64> {nn.name = "x"}) -> tensor<4xf32> {
  %c = nn.cast %x {to = f32} : (tensor<4xi64>) -> tensor<4xf32> loc("C"("c"))
  // expected-error @unknown {{node 'Q': activations have one scale in an integer program, found 4}}
  %cq = nn.fake_quant %c, @x : (tensor<4xf32>) -> tensor<4xf32> loc("Q"("q"))
  return %cq : tensor<4xf32>
}

// -----

// A number beyond 32 bits.
func.func @main(%x: tensor<4xi64> {nn.name = "x"}) -> tensor<4xi64> {
  %c = nn.constant(dense<5000000000> : tensor<1xi64>) : tensor<1xi64> loc("C"("c"))
  // expected-error @unknown {{node 'C': constant 'c' holds 5000000000, which does not fit the 32 bits of an integer program}}
  %y = nn.add %x, %c : (tensor<4xi64>, tensor<1xi64>) -> tensor<4xi64> loc("A"("y"))
  return %y : tensor<4xi64>
}

// -----

func.func @main(%x: tensor<4xi64> {nn.name = "x"}, %d: tensor<4xi64> {nn.name = "d"}) -> tensor<4xi64> {
  // expected-error @unknown {{node 'D': its divisor may be 0 or of either sign}}
  // expected-note @unknown {{divide by constants of one sign}}
  %y = nn.div %x, %d : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64> loc("D"("y"))
  return %y : tensor<4xi64>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<80xf32> {nn.name = "x"}) -> tensor<65xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<80xf32>) -> tensor<80xf32>
  %k = nn.constant(dense<65> : tensor<1xi64>) : tensor<1xi64>
  // expected-error @unknown {{node 'T': TopK has an integer form for a constant k of up to 64 only, because every element that it finds is a pass over the data}}
  // expected-note @unknown {{run it on the CPU}}
  %y, %i = nn.top_k %xq, %k : (tensor<80xf32>, tensor<1xi64>) -> (tensor<65xf32>, tensor<65xi64>) loc("T"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<65xf32>) -> tensor<65xf32>
  return %yq : tensor<65xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i8, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %ws = nn.constant(dense<[[-8], [7]]> : tensor<2x1xi8>) : tensor<2x1xi8>
  %w = nn.dequantize_weight %ws, @w : (tensor<2x1xi8>) -> tensor<2x1xf32>
  // expected-error @unknown {{node 'G': Gemm has an integer form for a positive alpha only, found -0.5}}
  // expected-note @unknown {{multiply the factor into the weights before the export}}
  %y = nn.gemm %xq, %w {alpha = -0.5 : f32} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("G"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1xf32>) -> tensor<1x1xf32>
  return %yq : tensor<1x1xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%x: tensor<1x1x4x4xf32> {nn.name = "x"}) -> tensor<1x1x8x8xf32> {
  %xq = nn.fake_quant %x, @x : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %scales = nn.constant(dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>) : tensor<4xf32>
  // expected-error @unknown {{node 'R': resizing has an integer form for nearest values, and for linear interpolation of pictures}}
  %y = nn.resize %xq, %scales {mode = "cubic", operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x8x8xf32> loc("R"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
  return %yq : tensor<1x1x8x8xf32>
}
