// RUN: nibble-opt %s -split-input-file -verify-diagnostics -nibble-check-intervals=remarks

// A positive value shifted by its leading zeros less c lies in [2^(31-c), 2^(32-c)).
func.func @normalized(%x: tensor<4x1xi16>) -> tensor<4x1xi32> {
  %one = "tosa.const"() <{values = dense<1> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  // expected-remark @+1 {{in [-32768, 32767]}}
  %w = tosa.cast %x : (tensor<4x1xi16>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [1, 32767]}}
  %s = tosa.maximum %w, %one : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [17, 31]}}
  %z = tosa.clz %s : (tensor<4x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [16, 30]}}
  %k = tosa.sub %z, %one : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [1073741824, 2147483647]}}
  %n = tosa.logical_left_shift %s, %k : (tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x1xi32>
  return %n : tensor<4x1xi32>
}

// -----

// By all leading zeros it would lie in [2^31, 2^32).
func.func @normalized_too_far(%x: tensor<4x1xi16>) -> tensor<4x1xi32> {
  %one = "tosa.const"() <{values = dense<1> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  // expected-remark @+1 {{in}}
  %w = tosa.cast %x : (tensor<4x1xi16>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in}}
  %s = tosa.maximum %w, %one : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in}}
  %z = tosa.clz %s : (tensor<4x1xi32>) -> tensor<4x1xi32>
  // expected-error @+2 {{node 'tosa.logical_left_shift': tosa.logical_left_shift: result may lie in [2147483648, 4294967295], which must be within [-2147483648, 2147483647]}}
  // expected-remark @+1 {{in [-2147483648, 2147483647]}}
  %n = tosa.logical_left_shift %s, %z : (tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x1xi32>
  return %n : tensor<4x1xi32>
}

// -----

// Kept within what the shift leaves room for.
func.func @limited(%x: tensor<4x8xi16>, %s: tensor<4x1xi8>) -> tensor<4x8xi32> {
  %zero = "tosa.const"() <{values = dense<0> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %most = "tosa.const"() <{values = dense<1073741823> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %c31 = "tosa.const"() <{values = dense<31> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  // expected-remark @+1 {{in [-32768, 32767]}}
  %w = tosa.cast %x : (tensor<4x8xi16>) -> tensor<4x8xi32>
  // expected-remark @+1 {{in [-128, 127]}}
  %t = tosa.cast %s : (tensor<4x1xi8>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [0, 127]}}
  %p = tosa.maximum %t, %zero : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [0, 31]}}
  %k = tosa.minimum %p, %c31 : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [0, 1073741823]}}
  %limit = tosa.arithmetic_right_shift %most, %k {round = false} : (tensor<1x1xi32>, tensor<4x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [-1073741823, 0]}}
  %least = tosa.sub %zero, %limit : (tensor<1x1xi32>, tensor<4x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [-32768, 32767]}}
  %a = tosa.minimum %w, %limit : (tensor<4x8xi32>, tensor<4x1xi32>) -> tensor<4x8xi32>
  // expected-remark @+1 {{in [-32768, 32767]}}
  %b = tosa.maximum %a, %least : (tensor<4x8xi32>, tensor<4x1xi32>) -> tensor<4x8xi32>
  // expected-remark @+1 {{in [-1073741823, 1073741823]}}
  %n = tosa.logical_left_shift %b, %k : (tensor<4x8xi32>, tensor<4x1xi32>) -> tensor<4x8xi32>
  return %n : tensor<4x8xi32>
}

// -----

// The limit is made for another shift.
func.func @limited_for_another(%x: tensor<4x8xi16>, %s: tensor<4x1xi8>) -> tensor<4x8xi32> {
  %zero = "tosa.const"() <{values = dense<0> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %c2 = "tosa.const"() <{values = dense<2> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %most = "tosa.const"() <{values = dense<1073741823> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %c31 = "tosa.const"() <{values = dense<31> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  // expected-remark @+1 {{in}}
  %w = tosa.cast %x : (tensor<4x8xi16>) -> tensor<4x8xi32>
  // expected-remark @+1 {{in}}
  %t = tosa.cast %s : (tensor<4x1xi8>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in}}
  %p = tosa.maximum %t, %zero : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in [0, 31]}}
  %k = tosa.minimum %p, %c31 : (tensor<4x1xi32>, tensor<1x1xi32>) -> tensor<4x1xi32>
  // expected-remark @+1 {{in}}
  %limit = tosa.arithmetic_right_shift %most, %c2 {round = false} : (tensor<1x1xi32>, tensor<1x1xi32>) -> tensor<1x1xi32>
  // expected-remark @+1 {{in}}
  %least = tosa.sub %zero, %limit : (tensor<1x1xi32>, tensor<1x1xi32>) -> tensor<1x1xi32>
  // expected-remark @+1 {{in}}
  %a = tosa.minimum %w, %limit : (tensor<4x8xi32>, tensor<1x1xi32>) -> tensor<4x8xi32>
  // expected-remark @+1 {{in}}
  %b = tosa.maximum %a, %least : (tensor<4x8xi32>, tensor<1x1xi32>) -> tensor<4x8xi32>
  // expected-error @+2 {{tosa.logical_left_shift: result may lie in}}
  // expected-remark @+1 {{in}}
  %n = tosa.logical_left_shift %b, %k : (tensor<4x8xi32>, tensor<4x1xi32>) -> tensor<4x8xi32>
  return %n : tensor<4x8xi32>
}
