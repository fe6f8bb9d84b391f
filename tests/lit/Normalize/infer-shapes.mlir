// Shape arithmetic of exporters disappears, types become static and constants keep the names of the
// tensors they replace.
// RUN: nibble-opt %s -nibble-infer-shapes -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// CHECK-LABEL: func.func @main(%{{.*}}: tensor<2x3x4xf32> {{.*}}) -> tensor<2x12xf32>
func.func @main(%x: tensor<2x3x4xf32>) -> tensor<?x?xf32> {
  // CHECK: %[[SHAPE:.+]] = nn.constant(dense<[2, -1]> : tensor<2xi64>) : tensor<2xi64> loc("/Concat"("/Concat_output_0"))
  // CHECK-NEXT: nn.reshape %{{.*}}, %[[SHAPE]] {{.*}} -> tensor<2x12xf32>
  // CHECK-NOT: nn.shape
  %shape = nn.shape %x : (tensor<2x3x4xf32>) -> tensor<3xi64>
  %zero = nn.constant(dense<0> : tensor<i64>) : tensor<i64>
  %batch = nn.gather %shape, %zero : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %axes = nn.constant(dense<0> : tensor<1xi64>) : tensor<1xi64>
  %first = nn.unsqueeze %batch, %axes : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %rest = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>
  %wanted = nn.concat %first, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64> loc("/Concat"("/Concat_output_0"))
  %flat = nn.reshape %x, %wanted : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %flat : tensor<?x?xf32>
}

// An operation on constants whose result is larger than they are and than the limit stays.
// RUN: nibble-opt %s -nibble-infer-shapes=fold-limit=16 | FileCheck %s --check-prefix=LIMIT
// CHECK-LABEL: func.func @large
// LIMIT-LABEL: func.func @large
func.func @large() -> tensor<8xf32> {
  // CHECK-NOT: nn.constant_of_shape
  // LIMIT: nn.constant_of_shape
  %n = nn.constant(dense<8> : tensor<1xi64>) : tensor<1xi64>
  %v = nn.constant_of_shape %n {value = dense<0.5> : tensor<1xf32>} : (tensor<1xi64>) -> tensor<8xf32>
  return %v : tensor<8xf32>
}

// Weights behind a quantizer are not folded back into floats.
// CHECK-LABEL: func.func @quantized
func.func @quantized() -> tensor<2xf32> {
  // CHECK: nn.dequantize_linear
  %q = nn.constant(dense<[1, 2]> : tensor<2xi8>) : tensor<2xi8>
  %s = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %v = nn.dequantize_linear %q, %s : (tensor<2xi8>, tensor<f32>) -> tensor<2xf32>
  return %v : tensor<2xf32>
}

// Blocks take the types of their operands.
// CHECK-LABEL: func.func @block
func.func @block(%x: tensor<2x3xf32>) -> tensor<?x?xf32> {
  // CHECK: nn.block @b(%{{.*}}) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r = nn.relu %x : (tensor<2x3xf32>) -> tensor<?x?xf32>
  %y = nn.block @b(%a = %r) : (tensor<?x?xf32>) -> tensor<?x?xf32> {
    %z = nn.neg %a : (tensor<?x?xf32>) -> tensor<?x?xf32>
    nn.yield %z : tensor<?x?xf32>
  }
  return %y : tensor<?x?xf32>
}
