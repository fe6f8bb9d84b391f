// RUN: nibble-opt %s -nibble-check-intervals=remarks -o /dev/null 2>&1 | FileCheck %s
// CHECK-NOT: error

func.func @elementwise(%x: tensor<2x8xi8>, %y: tensor<2x8xi16>) -> tensor<2x8xi32> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[-5, 0, 2, 7, 1, 1, 1, 1]]> : tensor<1x8xi32>}> : () -> tensor<1x8xi32>
  %three = "tosa.const"() <{values = dense<3> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %two = "tosa.const"() <{values = dense<2> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %minus2 = "tosa.const"() <{values = dense<-2> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-128, 127]
  %a = tosa.cast %x : (tensor<2x8xi8>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-32768, 32767]
  %b = tosa.cast %y : (tensor<2x8xi16>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-133, 134]
  %add = tosa.add %a, %c : (tensor<2x8xi32>, tensor<1x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-135, 132]
  %sub = tosa.sub %a, %c : (tensor<2x8xi32>, tensor<1x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-896, 889]
  %mul = tosa.mul %a, %c, %zp : (tensor<2x8xi32>, tensor<1x8xi32>, tensor<1xi8>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 16384]
  %square = tosa.mul %a, %a, %zp : (tensor<2x8xi32>, tensor<2x8xi32>, tensor<1xi8>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 135]
  %abs = tosa.abs %sub : (tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [24, 32]
  %clz = tosa.clz %abs : (tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-17, 17]
  %rounded = tosa.arithmetic_right_shift %sub, %three {round = true} : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-17, 16]
  %floor = tosa.arithmetic_right_shift %sub, %three {round = false} : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-17, 17]
  %rounded2 = tosa.arithmetic_right_shift %add, %three {round = true} : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-134, 134]
  %even = tosa.bitwise_and %add, %minus2 : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-136, 132]
  %even2 = tosa.bitwise_and %sub, %minus2 : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-256, 255]
  %or = tosa.bitwise_or %sub, %a : (tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-133, 134]
  %not = tosa.bitwise_not %sub : (tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-45, 44]
  %div = tosa.intdiv %sub, %three : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [3, 127]
  %max = tosa.maximum %a, %three : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-128, 3]
  %min = tosa.minimum %a, %three : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %clamp = tosa.clamp %a {min_val = -10 : i32, max_val = 20 : i32} : (tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-127, 127]
  %negate = tosa.negate %x, %zp, %zp : (tensor<2x8xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2x8xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 1]
  %greater = tosa.greater %a, %three : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi1>
  // CHECK: :[[@LINE+1]]:{{.*}} in [1, 1]
  %always = tosa.greater_equal %max, %three : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi1>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 0]
  %never = tosa.greater %three, %max : (tensor<1x1xi32>, tensor<2x8xi32>) -> tensor<2x8xi1>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 127]
  %select = tosa.select %greater, %max, %clamp : (tensor<2x8xi1>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %selected = tosa.select %never, %max, %clamp : (tensor<2x8xi1>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 31]
  %logical = tosa.logical_right_shift %max, %two : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 1073741823]
  %logical2 = tosa.logical_right_shift %a, %two : (tensor<2x8xi32>, tensor<1x1xi32>) -> tensor<2x8xi32>
  return %selected : tensor<2x8xi32>
}

func.func @scaling(%x: tensor<1x4x4x2xi8>, %y: tensor<4xi16>) -> tensor<1x4x4x2xi8> {
  %zp = "tosa.const"() <{values = dense<-3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %zero32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s29 = "tosa.const"() <{values = dense<29> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s32 = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %ms = "tosa.const"() <{values = dense<[1073741824, 1610612736]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %ss = "tosa.const"() <{values = dense<[32, 29]> : tensor<2xi8>}> : () -> tensor<2xi8>
  // Twice [-125, 130].
  // CHECK: :[[@LINE+1]]:{{.*}} in [-250, 260]
  %double = tosa.rescale %x, %m, %s29, %zp, %zero32 {scale32 = true, rounding_mode = SINGLE_ROUND, per_channel = false, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x4x4x2xi32>
  // A quarter, rounded upwards from the middle: -62.5 and 65.
  // CHECK: :[[@LINE+1]]:{{.*}} in [-62, 65]
  %quarter = tosa.rescale %double, %m, %s32, %zero32, %zero32 {scale32 = true, rounding_mode = SINGLE_ROUND, per_channel = false, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4x4x2xi32>
  // The second rounding takes -62.5 down.
  // CHECK: :[[@LINE+1]]:{{.*}} in [-63, 65]
  %twice = tosa.rescale %double, %m, %s32, %zero32, %zero32 {scale32 = true, rounding_mode = DOUBLE_ROUND, per_channel = false, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4x4x2xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-65, 62]
  %offset = tosa.rescale %double, %m, %s32, %zero32, %zp {scale32 = true, rounding_mode = SINGLE_ROUND, per_channel = false, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-750, 780]
  %channels = tosa.rescale %double, %ms, %ss, %zero32, %zero32 {scale32 = true, rounding_mode = SINGLE_ROUND, per_channel = true, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4x4x2xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-128, 127]
  %saturated = tosa.rescale %double, %m, %s29, %zero32, %zero8 {scale32 = true, rounding_mode = SINGLE_ROUND, per_channel = false, input_unsigned = false, output_unsigned = false} : (tensor<1x4x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-65, 62]
  %average = tosa.avg_pool2d %offset, %zp, %zp {kernel = array<i64: 2, 2>, stride = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, acc_type = i32} : (tensor<1x4x4x2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x2x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-65, 62]
  %padded = tosa.avg_pool2d %offset, %zp, %zp {kernel = array<i64: 3, 3>, stride = array<i64: 1, 1>, pad = array<i64: 1, 1, 1, 1>, acc_type = i32} : (tensor<1x4x4x2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x4x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-65, 62]
  %largest = tosa.max_pool2d %offset {kernel = array<i64: 2, 2>, stride = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>} : (tensor<1x4x4x2xi8>) -> tensor<1x2x2x2xi8>
  %scale = tosa.const_shape {values = dense<[4, 2, 6, 2]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %begin = tosa.const_shape {values = dense<0> : tensor<2xindex>} : () -> !tosa.shape<2>
  %border = tosa.const_shape {values = dense<[2, 4]> : tensor<2xindex>} : () -> !tosa.shape<2>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-1560, 1488]
  %bilinear = tosa.resize %offset, %scale, %begin, %border {mode = BILINEAR} : (tensor<1x4x4x2xi8>, !tosa.shape<4>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<1x8x12x2xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-65, 62]
  %nearest = tosa.resize %offset, %scale, %begin, %border {mode = NEAREST_NEIGHBOR} : (tensor<1x4x4x2xi8>, !tosa.shape<4>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<1x8x12x2xi8>
  return %offset : tensor<1x4x4x2xi8>
}

func.func @movement(%x: tensor<2x8xi8>, %g: tensor<1x3xi32>) -> tensor<1x1xi32> {
  %one = "tosa.const"() <{values = dense<100> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[[-5, 0], [2, 7], [90, 91]]]> : tensor<1x3x2xi8>}> : () -> tensor<1x3x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %a = tosa.clamp %x {min_val = -10 : i8, max_val = 20 : i8} : (tensor<2x8xi8>) -> tensor<2x8xi8>
  %pads = tosa.const_shape {values = dense<[0, 0, 1, 1]> : tensor<4xindex>} : () -> !tosa.shape<4>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 100]
  %pad = tosa.pad %a, %pads, %one : (tensor<2x8xi8>, !tosa.shape<4>, tensor<1xi8>) -> tensor<2x10xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-128, 127]
  %concat = tosa.concat %a, %x {axis = 1 : i32} : (tensor<2x8xi8>, tensor<2x8xi8>) -> tensor<2x16xi8>
  %shape = tosa.const_shape {values = dense<[4, 4]> : tensor<2xindex>} : () -> !tosa.shape<2>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %reshape = tosa.reshape %a, %shape : (tensor<2x8xi8>, !tosa.shape<2>) -> tensor<4x4xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %reverse = tosa.reverse %reshape {axis = 1 : i32} : (tensor<4x4xi8>) -> tensor<4x4xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %transpose = tosa.transpose %reverse {perms = array<i32: 1, 0>} : (tensor<4x4xi8>) -> tensor<4x4xi8>
  %multiples = tosa.const_shape {values = dense<[1, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %tile = tosa.tile %transpose, %multiples : (tensor<4x4xi8>, !tosa.shape<2>) -> tensor<4x8xi8>
  %start = tosa.const_shape {values = dense<[0, 1, 0]> : tensor<3xindex>} : () -> !tosa.shape<3>
  %size = tosa.const_shape {values = dense<[1, 2, 1]> : tensor<3xindex>} : () -> !tosa.shape<3>
  // CHECK: :[[@LINE+1]]:{{.*}} in [2, 90]
  %slice = tosa.slice %c, %start, %size : (tensor<1x3x2xi8>, !tosa.shape<3>, !tosa.shape<3>) -> tensor<1x2x1xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-5, 91]
  %gather = tosa.gather %c, %g : (tensor<1x3x2xi8>, tensor<1x3xi32>) -> tensor<1x3x2xi8>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %wide = tosa.cast %a : (tensor<2x8xi8>) -> tensor<2x8xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-80, 160]
  %sum = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<2x8xi32>) -> tensor<2x1xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-80, 160]
  %max = tosa.reduce_max %sum {axis = 0 : i32} : (tensor<2x1xi32>) -> tensor<1x1xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [-80, 160]
  %min = tosa.reduce_min %sum {axis = 0 : i32} : (tensor<2x1xi32>) -> tensor<1x1xi32>
  // CHECK: :[[@LINE+1]]:{{.*}} in [0, 7]
  %argmax = tosa.argmax %x {axis = 1 : i32} : (tensor<2x8xi8>) -> tensor<2xi32>
  return %min : tensor<1x1xi32>
}

// A block has what its operands have, and its results what it yields.
func.func @blocks(%x: tensor<4xi8>) -> tensor<4xi8> {
  // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 20]
  %a = tosa.clamp %x {min_val = -10 : i8, max_val = 20 : i8} : (tensor<4xi8>) -> tensor<4xi8>
  %b = nn.block @"/layer"(%p = %a) : (tensor<4xi8>) -> tensor<4xi8> {
    // CHECK: :[[@LINE+1]]:{{.*}} in [-10, 5]
    %c = tosa.clamp %p {min_val = -128 : i8, max_val = 5 : i8} : (tensor<4xi8>) -> tensor<4xi8>
    nn.yield %c : tensor<4xi8>
  }
  // CHECK: :[[@LINE+1]]:{{.*}} in [-2, 5]
  %d = tosa.clamp %b {min_val = -2 : i8, max_val = 127 : i8} : (tensor<4xi8>) -> tensor<4xi8>
  return %d : tensor<4xi8>
}
