// RUN: nibble-opt %s -split-input-file -verify-diagnostics

func.func @type(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{result 0 should have type 'tensor<2x3xf32>', but has type 'tensor<2x4xf32>'}}
  %y = nn.relu %x : (tensor<2x3xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----
func.func @broadcast(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error @+1 {{operands cannot be broadcast together: 'tensor<2x3xf32>' 'tensor<2x4xf32>'}}
  %z = nn.add %x, %y : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @element_types(%x: tensor<2xf32>, %y: tensor<2xi64>) {
  // expected-error @+1 {{operands must have one element type, but have 'f32' and 'i64'}}
  %z = nn.mul %x, %y : (tensor<2xf32>, tensor<2xi64>) -> tensor<2xf32>
  return
}

// -----
func.func @reshape(%x: tensor<2x3xf32>) {
  %s = nn.constant(dense<[4, -1]> : tensor<2xi64>) : tensor<2xi64>
  // expected-error @+1 {{cannot infer -1: 6 elements are not a multiple of 4}}
  %z = nn.reshape %x, %s : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<4x?xf32>
  return
}

// -----
func.func @matmul(%x: tensor<2x3xf32>, %y: tensor<4x5xf32>) {
  // expected-error @+1 {{cannot multiply 'tensor<2x3xf32>' by 'tensor<4x5xf32>'}}
  %z = nn.matmul %x, %y : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x5xf32>
  return
}

// -----
func.func @axis(%x: tensor<2x3xf32>) {
  // expected-error @+1 {{axis must be in [-2, 1], but is 2}}
  %z = nn.softmax %x {axis = 2 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----
func.func @window(%x: tensor<1x3x5x5xf32>, %w: tensor<8x3x3x3xf32>) {
  // expected-error @+1 {{kernel sizes, strides and dilations must be positive}}
  %z = nn.conv %x, %w {strides = array<i64: 0, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : (tensor<1x3x5x5xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x3x3xf32>
  return
}

// -----
func.func @group(%x: tensor<1x6x5x5xf32>, %p: tensor<6xf32>) {
  // expected-error @+1 {{cannot cut 6 channels into 4 groups}}
  %z = nn.group_normalization %x, %p, %p {num_groups = 4 : i64}
    : (tensor<1x6x5x5xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<1x6x5x5xf32>
  return
}

// -----
func.func @bomb() {
  %s = nn.constant(dense<1000000000000> : tensor<1xi64>) : tensor<1xi64>
  %v = nn.constant(dense<[9000000000, 9000000000]> : tensor<2xi64>) : tensor<2xi64>
  // expected-error @+1 {{has more than 1099511627776 elements}}
  %z = nn.constant_of_shape %v {value = dense<0.0> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<?x?xf32>
  return
}
