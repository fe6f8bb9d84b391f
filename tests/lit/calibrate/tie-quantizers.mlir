// Values that end up on one grid share its quantizer; values with other readers or a range of their own do not.
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers -nibble-tie-quantizers 2>/dev/null | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers -nibble-tie-quantizers 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// An operand that only the concat reads takes its quantizer, also where it is moved before; %b has another reader.
// REMARK: node 'C': tensors 'a' and 'c' share one quantizer
// CHECK-NOT: nn.quantizer @a {
// CHECK: nn.quantizer @b {
// CHECK: nn.quantizer @c {
// CHECK-LABEL: func.func @main
// CHECK: nn.fake_quant %{{.+}}, @c
// CHECK: nn.reshape
// CHECK: nn.fake_quant %{{.+}}, @c
// CHECK: nn.fake_quant %{{.+}}, @b
// CHECK: nn.concat
// CHECK: nn.fake_quant %{{.+}}, @c
func.func @main(%x: tensor<4xf32> {nn.name = "x"}, %y: tensor<1x4xf32> {nn.name = "y"}) -> (tensor<1x8xf32>, tensor<1x4xf32>) {
  %shape = nn.constant(dense<[1, 4]> : tensor<2xi64>) : tensor<2xi64>
  %a = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
  %r = nn.reshape %a, %shape : (tensor<4xf32>, tensor<2xi64>) -> tensor<1x4xf32> loc("R"("r"))
  %b = nn.neg %y : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("B"("b"))
  %c = nn.concat %r, %b {axis = 1 : i64} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x8xf32> loc("C"("c"))
  return %c, %b : tensor<1x8xf32>, tensor<1x4xf32>
}

// -----

// A concat of concats ends in one quantizer, through the borders of blocks.
// CHECK: nn.quantizer @x {
// CHECK: nn.quantizer @d {
// CHECK-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<12xf32> {
  %c = nn.block @inner(%p = %x) : (tensor<4xf32>) -> tensor<8xf32> {
    %a = nn.exp %p : (tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
    %b = nn.neg %p : (tensor<4xf32>) -> tensor<4xf32> loc("B"("b"))
    %j = nn.concat %a, %b {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32> loc("C"("c"))
    nn.yield %j : tensor<8xf32>
  }
  %e = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32> loc("E"("e"))
  %d = nn.concat %c, %e {axis = 0 : i64} : (tensor<8xf32>, tensor<4xf32>) -> tensor<12xf32> loc("D"("d"))
  return %d : tensor<12xf32>
}

// -----

// The range of a softmax is exact and stays; interpolation stays inside the range of its input.
// CHECK: nn.quantizer @x {
// CHECK: nn.quantizer @s {fixed
// CHECK: nn.quantizer @c {
// CHECK-NOT: nn.quantizer
// CHECK-LABEL: func.func @main
// CHECK: nn.resize
// CHECK: nn.fake_quant %{{.+}}, @x
func.func @main(%x: tensor<1x1x2x2xf32> {nn.name = "x"}) -> (tensor<1x2x2x2xf32>, tensor<1x1x4x4xf32>) {
  %scales = nn.constant(dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>) : tensor<4xf32>
  %s = nn.softmax %x : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> loc("S"("s"))
  %c = nn.concat %s, %x {axis = 1 : i64} : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x2x2x2xf32> loc("C"("c"))
  %z = nn.resize %x, %scales {mode = "linear", operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x2x2xf32>, tensor<4xf32>) -> tensor<1x1x4x4xf32> loc("Z"("z"))
  return %c, %z : tensor<1x2x2x2xf32>, tensor<1x1x4x4xf32>
}

// -----

// A cache leaves on the grid that it came in on.
// CHECK-NOT: nn.quantizer @past
// CHECK: nn.quantizer @present_key {
// CHECK: nn.quantizer @present_value {
// CHECK-LABEL: func.func @main
// CHECK: nn.fake_quant %{{.+}}, @present_key
// CHECK: nn.fake_quant %{{.+}}, @present_value
func.func @main(%q: tensor<1x1x4xf32> {nn.name = "q"}, %k: tensor<1x1x4xf32> {nn.name = "k"}, %v: tensor<1x1x4xf32> {nn.name = "v"}, %pk: tensor<1x1x2x4xf32> {nn.name = "past_key"}, %pv: tensor<1x1x2x4xf32> {nn.name = "past_value"}) -> (tensor<1x1x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>) {
  %length = nn.constant(dense<2> : tensor<1xi32>) : tensor<1xi32>
  %total = nn.constant(dense<3> : tensor<i32>) : tensor<i32>
  %o:3 = nn.group_query_attention %q, %k, %v, %pk, %pv, %length, %total {num_heads = 1 : i64, kv_num_heads = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1xi32>, tensor<i32>) -> (tensor<1x1x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>) loc("G"(fused["o", "present_key", "present_value"]))
  return %o#0, %o#1, %o#2 : tensor<1x1x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>
}
