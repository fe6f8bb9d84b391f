// What an operator's integer form does not take.
// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-lower-to-tosa

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4xf32> {nn.name = "a"}, %c: tensor<4xf32> {nn.name = "c"}) -> tensor<4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4xf32>) -> tensor<4xf32>
  %cq = nn.fake_quant %c, @x : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @unknown {{node 'pow1': only powers with one constant exponent have an integer form}}
  %y = nn.pow %aq, %cq : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("pow1"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %yq : tensor<4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4xf32> {nn.name = "a"}, %c: tensor<4xf32> {nn.name = "c"}) -> tensor<4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4xf32>) -> tensor<4xf32>
  %cq = nn.fake_quant %c, @x : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @unknown {{node 'mod2': Mod has an integer form for integers only}}
  %y = nn.mod %aq, %cq {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("mod2"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %yq : tensor<4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4xf32> {nn.name = "a"}, %c: tensor<f32> {nn.name = "c"}) -> tensor<4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4xf32>) -> tensor<4xf32>
  %cq = nn.fake_quant %c, @x : (tensor<f32>) -> tensor<f32>
  // expected-error @unknown {{node 'clip3': its bounds are not constant}}
  %y = nn.clip %aq, %cq {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("clip3"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %yq : tensor<4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<2x2xi64> {nn.name = "i"}) -> tensor<2x2xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error @unknown {{node 'gather_elements4': indices for a part of the data only have no integer form}}
  %y = nn.gather_elements %aq, %i {axis = 0 : i64} : (tensor<4x4xf32>, tensor<2x2xi64>) -> tensor<2x2xf32> loc("gather_elements4"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<2x2xf32>) -> tensor<2x2xf32>
  return %yq : tensor<2x2xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<2x2xi64> {nn.name = "i"}, %u: tensor<2x2xf32> {nn.name = "u"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %uq = nn.fake_quant %u, @x : (tensor<2x2xf32>) -> tensor<2x2xf32>
  // expected-error @unknown {{node 'scatter_elements5': indices for a part of the data only have no integer form}}
  %y = nn.scatter_elements %aq, %i, %uq {axis = 0 : i64} : (tensor<4x4xf32>, tensor<2x2xi64>, tensor<2x2xf32>) -> tensor<4x4xf32> loc("scatter_elements5"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<2x4xi64> {nn.name = "i"}, %u: tensor<2x4xf32> {nn.name = "u"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %uq = nn.fake_quant %u, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  // expected-error @unknown {{node 'scatter_elements6': reductions of scattered values have no integer form}}
  %y = nn.scatter_elements %aq, %i, %uq {axis = 0 : i64, reduction = "add"} : (tensor<4x4xf32>, tensor<2x4xi64>, tensor<2x4xf32>) -> tensor<4x4xf32> loc("scatter_elements6"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<2x1xi64> {nn.name = "i"}, %u: tensor<2x4xf32> {nn.name = "u"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %uq = nn.fake_quant %u, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  // expected-error @unknown {{node 'scatter_nd7': reductions of scattered values have no integer form}}
  %y = nn.scatter_nd %aq, %i, %uq {reduction = "add"} : (tensor<4x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<4x4xf32> loc("scatter_nd7"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<3x2xi64> {nn.name = "i"}, %u: tensor<3xf32> {nn.name = "u"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %uq = nn.fake_quant %u, @x : (tensor<3xf32>) -> tensor<3xf32>
  // expected-error @unknown {{node 'scatter_nd8': scattered values have an integer form for indices of the first dimension only, found 2 dimensions}}
  %y = nn.scatter_nd %aq, %i, %uq : (tensor<4x4xf32>, tensor<3x2xi64>, tensor<3xf32>) -> tensor<4x4xf32> loc("scatter_nd8"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<3x2xi64> {nn.name = "i"}) -> tensor<3xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error @unknown {{node 'gather_nd9': GatherND has an integer form for constant indices without batches only}}
  %y = nn.gather_nd %aq, %i : (tensor<4x4xf32>, tensor<3x2xi64>) -> tensor<3xf32> loc("gather_nd9"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<3xf32>) -> tensor<3xf32>
  return %yq : tensor<3xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %c: tensor<4x4xf32> {nn.name = "c"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %cq = nn.fake_quant %c, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error @unknown {{node 'gemm10': Gemm has an integer form for constant weights only}}
  // expected-note @unknown {{export the product as MatMul}}
  %y = nn.gemm %aq, %cq : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("gemm10"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
nn.quantizer @w {role = "weight", storage = i8, scales = dense<0.1> : tensor<1xf32>}
func.func @main(%a: tensor<2x2xf32> {nn.name = "a"}, %c: tensor<2x2xf32> {nn.name = "c"}) -> tensor<2x2xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %cq = nn.fake_quant %c, @x : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %ws = nn.constant(dense<1> : tensor<2x2xi8>) : tensor<2x2xi8>
  %w = nn.dequantize_weight %ws, @w : (tensor<2x2xi8>) -> tensor<2x2xf32>
  // expected-error @unknown {{node 'gemm11': Gemm has an integer form for a constant vector as its third operand only}}
  // expected-note @unknown {{export the addition as Add}}
  %y = nn.gemm %aq, %w, %cq : (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("gemm11"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<2x2xf32>) -> tensor<2x2xf32>
  return %yq : tensor<2x2xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<4x4xf32> {nn.name = "a"}, %i: tensor<1xi64> {nn.name = "i"}) -> tensor<4x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error @unknown {{node 'cum_sum12': its axis is not constant}}
  %y = nn.cum_sum %aq, %i : (tensor<4x4xf32>, tensor<1xi64>) -> tensor<4x4xf32> loc("cum_sum12"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %yq : tensor<4x4xf32>
}

// -----

func.func @main(%a: tensor<4xi64> {nn.name = "a"}) -> tensor<1xi64> {
  %axes = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  // expected-error @unknown {{node 'reduce_mean13': the mean of integers has no integer form}}
  %y = nn.reduce_mean %a, %axes {keepdims = true} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64> loc("reduce_mean13"("y"))
  return %y : tensor<1xi64>
}

// -----

func.func @main(%a: tensor<4x4xi64> {nn.name = "a"}) -> tensor<4xi64> {
  // expected-error @unknown {{node 'arg_max14': TOSA finds the largest of 8-bit and 16-bit values only}}
  %y = nn.arg_max %a {axis = 1 : i64, keepdims = false} : (tensor<4x4xi64>) -> tensor<4xi64> loc("arg_max14"("y"))
  return %y : tensor<4xi64>
}

// -----

func.func @main(%i: tensor<4xi64> {nn.name = "i"}, %v: tensor<2xi64> {nn.name = "v"}) -> tensor<4x3xi64> {
  %depth = nn.constant(dense<3> : tensor<i64>) : tensor<i64>
  // expected-error @unknown {{node 'one_hot15': its values are not constant}}
  %y = nn.one_hot %i, %depth, %v : (tensor<4xi64>, tensor<i64>, tensor<2xi64>) -> tensor<4x3xi64> loc("one_hot15"("y"))
  return %y : tensor<4x3xi64>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<200000.0> : tensor<1xf32>}
func.func @main(%a: tensor<4xf32> {nn.name = "a"}) -> tensor<4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @unknown {{node 'sin16': its argument reaches 25600000.00, more than 4096 turns, which leaves no phase}}
  %y = nn.sin %aq : (tensor<4xf32>) -> tensor<4xf32> loc("sin16"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<4xf32>) -> tensor<4xf32>
  return %yq : tensor<4xf32>
}

// -----

nn.quantizer @x {role = "activation", storage = i8, scales = dense<0.5> : tensor<1xf32>}
func.func @main(%a: tensor<2x4xf32> {nn.name = "a"}, %g: tensor<4xf32> {nn.name = "g"}) -> tensor<2x4xf32> {
  %aq = nn.fake_quant %a, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %gq = nn.fake_quant %g, @x : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @unknown {{node 'rms_normalization17': its scale is not constant}}
  %y = nn.rms_normalization %aq, %gq : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("rms_normalization17"("y"))
  %yq = nn.fake_quant %y, @x : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %yq : tensor<2x4xf32>
}
