// Every operator verifies that its result types are what its operands give; dimensions that are not
// known stay dynamic.
// RUN: nibble-opt %s | nibble-opt | FileCheck %s

// CHECK-LABEL: @window
func.func @window(%x: tensor<1x3x7x7xf32>, %w: tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32> {
  %c = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : (tensor<1x3x7x7xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x4x4xf32>
  // A last window that would start in the padding behind is dropped.
  %p = nn.max_pool %c {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>, ceil_mode = true} : (tensor<1x8x4x4xf32>) -> tensor<1x8x2x2xf32>
  return %p : tensor<1x8x2x2xf32>
}

// CHECK-LABEL: @auto_pad
func.func @auto_pad(%x: tensor<1x3x5x5xf32>, %w: tensor<3x4x3x3xf32>) -> tensor<1x4x10x10xf32> {
  %c = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>, output_padding = array<i64: 0, 0>, auto_pad = "SAME_UPPER"}
    : (tensor<1x3x5x5xf32>, tensor<3x4x3x3xf32>) -> tensor<1x4x10x10xf32>
  return %c : tensor<1x4x10x10xf32>
}

// CHECK-LABEL: @movement
func.func @movement(%x: tensor<2x3x4xf32>, %n: tensor<3xi64>) -> tensor<?x?x?xf32> {
  %s = nn.constant(dense<[0, -1]> : tensor<2xi64>) : tensor<2xi64>
  %flat = nn.reshape %x, %s : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<2x12xf32>
  %first = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>
  %last = nn.constant(dense<-9223372036854775808> : tensor<1xi64>) : tensor<1xi64>
  %axis = nn.constant(dense<1> : tensor<1xi64>) : tensor<1xi64>
  %step = nn.constant(dense<-5> : tensor<1xi64>) : tensor<1xi64>
  %back = nn.slice %flat, %first, %last, %axis, %step {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>}
    : (tensor<2x12xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  %parts:3 = nn.split %flat {axis = 1 : i64} : (tensor<2x12xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
  %e = nn.expand %x, %n : (tensor<2x3x4xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  return %e : tensor<?x?x?xf32>
}

// CHECK-LABEL: @products
func.func @products(%a: tensor<5x1x2x3xf32>, %b: tensor<4x3x7xf32>, %v: tensor<3xf32>) -> tensor<5x7x2x4xf32> {
  %m = nn.matmul %a, %b : (tensor<5x1x2x3xf32>, tensor<4x3x7xf32>) -> tensor<5x4x2x7xf32>
  %r = nn.matmul %a, %v : (tensor<5x1x2x3xf32>, tensor<3xf32>) -> tensor<5x1x2xf32>
  %e = nn.einsum %m {equation = "bhqd->bdqh"} : (tensor<5x4x2x7xf32>) -> tensor<5x7x2x4xf32>
  return %e : tensor<5x7x2x4xf32>
}

// The cache grows by the new rows; the packed query holds 8 heads and twice 4 key heads.
// CHECK-LABEL: @attention
func.func @attention(%q: tensor<1x2x512xf32>, %past: tensor<1x4x6x32xf32>, %n: tensor<1xi32>) -> tensor<1x4x8x32xf32> {
  %total = nn.constant(dense<8> : tensor<i32>) : tensor<i32>
  %o, %k, %v = nn.group_query_attention %q, %past, %past, %n, %total {num_heads = 8 : i64, kv_num_heads = 4 : i64,
    operandSegmentSizes = array<i32: 1, 0, 0, 1, 1, 1, 1, 0, 0>}
    : (tensor<1x2x512xf32>, tensor<1x4x6x32xf32>, tensor<1x4x6x32xf32>, tensor<1xi32>, tensor<i32>)
    -> (tensor<1x2x256xf32>, tensor<1x4x8x32xf32>, tensor<1x4x8x32xf32>)
  return %k : tensor<1x4x8x32xf32>
}
