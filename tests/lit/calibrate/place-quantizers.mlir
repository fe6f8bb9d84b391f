// Quantizers behind every float value: own ones for what is computed, shared ones for what is moved, roles for constants.
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers | FileCheck %s

// CHECK: nn.quantizer @x {role = "activation", storage = ui8, tensor = "x"}
// CHECK: nn.quantizer @w {role = "weight", storage = i8, tensor = "w"}
// CHECK: nn.quantizer @b {role = "bias", storage = i32, tensor = "b"}
// CHECK: nn.quantizer @y {role = "activation", storage = ui8, tensor = "y"}
// CHECK: nn.quantizer @s {fixed, origin = "softmax lies in [0, 1]", role = "activation", storage = ui8, tensor = "s"}
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:.+]]: tensor<1x2x4x4xf32>
func.func @main(%x: tensor<1x2x4x4xf32> {nn.name = "x"}) -> tensor<1x4x4x2xf32> {
  // CHECK: %[[XQ:.+]] = nn.fake_quant %[[X]], @x
  %w = nn.constant(dense<1.0> : tensor<2x2x1x1xf32>) : tensor<2x2x1x1xf32> loc("W"("w"))
  %b = nn.constant(dense<1.0> : tensor<2xf32>) : tensor<2xf32> loc("B"("b"))
  // CHECK: %[[WQ:.+]] = nn.fake_quant %{{.+}}, @w
  // CHECK: %[[BQ:.+]] = nn.fake_quant %{{.+}}, @b
  // CHECK: %[[Y:.+]] = nn.conv %[[XQ]], %[[WQ]], %[[BQ]]
  // CHECK: %[[YQ:.+]] = nn.fake_quant %[[Y]], @y
  %y = nn.conv %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32> loc("Conv"("y"))
  // CHECK: %[[T:.+]] = nn.transpose %[[YQ]]
  // CHECK: %[[TQ:.+]] = nn.fake_quant %[[T]], @y
  %t = nn.transpose %y {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x4x2xf32> loc("T"("t"))
  // CHECK: nn.softmax %[[TQ]]
  // CHECK: nn.fake_quant %{{.+}}, @s
  %s = nn.softmax %t : (tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32> loc("S"("s"))
  return %s : tensor<1x4x4x2xf32>
}

// -----

// Blocks: symbols pass through arguments and results; a constant that is passed in is copied to its use.
// CHECK: nn.quantizer @x
// CHECK: nn.quantizer @c {role = "constant"
// CHECK: nn.quantizer @a
// CHECK-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<2x2xf32> {
  %c = nn.constant(dense<2.0> : tensor<4xf32>) : tensor<4xf32> loc("C"("c"))
  // CHECK: nn.block @one(%[[P:.+]] = %{{.+}}, %{{.+}} = %{{.+}})
  // CHECK: %[[C:.+]] = nn.constant
  // CHECK: %[[CQ:.+]] = nn.fake_quant %[[C]], @c
  // CHECK: nn.add %[[P]], %[[CQ]]
  // CHECK: %[[A:.+]] = nn.fake_quant %{{.+}}, @a
  // CHECK: nn.yield %[[A]]
  %a = nn.block @one(%p = %x, %q = %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> {
    %s = nn.add %p, %q : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
    nn.yield %s : tensor<4xf32>
  }
  // CHECK: nn.block @two
  // CHECK: nn.reshape
  // CHECK: nn.fake_quant %{{.+}}, @a
  %r = nn.block @two(%p = %a) : (tensor<4xf32>) -> tensor<2x2xf32> {
    %shape = nn.constant(dense<2> : tensor<2xi64>) : tensor<2xi64>
    %t = nn.reshape %p, %shape : (tensor<4xf32>, tensor<2xi64>) -> tensor<2x2xf32> loc("R"("r"))
    nn.yield %t : tensor<2x2xf32>
  }
  return %r : tensor<2x2xf32>
}

// -----

// A relu shares the quantizer of its only producer, which takes the range of the relu's result.
// CHECK: nn.quantizer @x
// CHECK: nn.quantizer @r {role = "activation", storage = ui8, tensor = "r"}
// CHECK-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
// CHECK: nn.fake_quant %{{.+}}, @r
// CHECK: nn.relu
// CHECK: nn.fake_quant %{{.+}}, @r
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %a = nn.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
  %r = nn.relu %a : (tensor<4xf32>) -> tensor<4xf32> loc("R"("r"))
  return %r : tensor<4xf32>
}

// -----

// A table is a weight and its rows are values of their own; bounds of a clip are parameters and stay float.
// CHECK: nn.quantizer @table {role = "weight"
// CHECK: nn.quantizer @g {role = "activation"
// CHECK: nn.quantizer @k {role = "activation"
// CHECK-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
func.func @main(%i: tensor<3xi64> {nn.name = "i"}) -> tensor<3x4xf32> {
  %table = nn.constant(dense<1.0> : tensor<8x4xf32>) : tensor<8x4xf32> loc("T"("table"))
  %low = nn.constant(dense<0.0> : tensor<f32>) : tensor<f32> loc("L"("low"))
  %g = nn.gather %table, %i : (tensor<8x4xf32>, tensor<3xi64>) -> tensor<3x4xf32> loc("G"("g"))
  // CHECK: %[[LOW:.+]] = nn.constant(dense<0.0
  // CHECK: nn.clip %{{.+}}, %[[LOW]]
  %k = nn.clip %g, %low {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<f32>) -> tensor<3x4xf32> loc("K"("k"))
  return %k : tensor<3x4xf32>
}

// -----

// An empty past and float64 take no quantizer: the one has no range, of the other there is no quantized form.
// CHECK-NOT: tensor = "past"
// CHECK: nn.quantizer @new
// CHECK: nn.quantizer @all
// CHECK-NOT: tensor = "wide"
// CHECK-LABEL: func.func @main
func.func @main(%past: tensor<1x0x4xf32> {nn.name = "past"}, %new: tensor<1x2x4xf32> {nn.name = "new"}) -> (tensor<1x2x4xf32>, tensor<1x2x4xf64>) {
  // CHECK: nn.concat %{{.*}}, %{{.*}}
  %all = nn.concat %past, %new {axis = 1 : i64} : (tensor<1x0x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("Concat"("all"))
  %wide = nn.cast %new {to = f64} : (tensor<1x2x4xf32>) -> tensor<1x2x4xf64> loc("Cast"("wide"))
  return %all, %wide : tensor<1x2x4xf32>, tensor<1x2x4xf64>
}
