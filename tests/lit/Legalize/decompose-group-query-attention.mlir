// RUN: nibble-opt %s -nibble-legalize=patterns=decompose-group-query-attention -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// Prefill: positions and mask are constants; 4 query heads over 2 key heads are 2 products of twice the rows.
// CHECK-LABEL: func.func @prefill
func.func @prefill(%qkv: tensor<1x2x16xf32>, %past: tensor<1x2x0x2xf32>, %n: tensor<1xi32>)
    -> (tensor<1x2x8xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) {
  // CHECK: nn.concat {{.*}}/key/swapped
  // CHECK: %[[K:.+]] = nn.add {{.*}} loc("/attn"("present_key"))
  // CHECK: %[[MASK:.+]] = nn.constant({{.*}}[0.000000e+00, -5.000000e+01], [0.000000e+00, 0.000000e+00], [0.000000e+00, -5.000000e+01], [0.000000e+00, 0.000000e+00]
  // CHECK: %[[KT:.+]] = nn.transpose %[[K]] {perm = array<i64: 0, 1, 3, 2>}
  // CHECK: %[[S:.+]] = nn.matmul %{{.*}}, %[[KT]] {{.*}} -> tensor<1x2x4x2xf32>
  // CHECK: nn.add %[[S]], %[[MASK]]
  // CHECK: nn.softmax
  // CHECK: nn.matmul
  // CHECK: nn.reshape {{.*}} -> tensor<1x2x8xf32> loc("/attn"("out"))
  // CHECK-NOT: nn.gather
  %total = nn.constant(dense<2> : tensor<i32>) : tensor<i32>
  %cos = nn.constant(dense<[[1.0], [0.5], [0.25]]> : tensor<3x1xf32>) : tensor<3x1xf32>
  %o, %k, %v = nn.group_query_attention %qkv, %past, %past, %n, %total, %cos, %cos {num_heads = 4 : i64,
    kv_num_heads = 2 : i64, do_rotary = true, operandSegmentSizes = array<i32: 1, 0, 0, 1, 1, 1, 1, 1, 1>}
    : (tensor<1x2x16xf32>, tensor<1x2x0x2xf32>, tensor<1x2x0x2xf32>, tensor<1xi32>, tensor<i32>, tensor<3x1xf32>, tensor<3x1xf32>)
    -> (tensor<1x2x8xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) loc("/attn"(fused["out", "present_key", "present_value"]))
  return %o, %k, %v : tensor<1x2x8xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>
}

// Decode: the number of valid past rows is computed; new rows stand behind the past.
// CHECK-LABEL: func.func @decode
func.func @decode(%qkv: tensor<1x1x16xf32>, %past: tensor<1x2x5x2xf32>, %n: tensor<1xi32>)
    -> (tensor<1x1x8xf32>, tensor<1x2x6x2xf32>, tensor<1x2x6x2xf32>) {
  // CHECK: nn.concat %arg1, {{.*}} loc("/attn"("present_key"))
  // CHECK: nn.concat %arg1, {{.*}} loc("/attn"("present_value"))
  // CHECK: nn.less
  // CHECK: nn.where
  // CHECK: nn.concat {{.*}} -> tensor<1x1x2x6xf32>
  %total = nn.constant(dense<6> : tensor<i32>) : tensor<i32>
  %o, %k, %v = nn.group_query_attention %qkv, %past, %past, %n, %total {num_heads = 4 : i64,
    kv_num_heads = 2 : i64, operandSegmentSizes = array<i32: 1, 0, 0, 1, 1, 1, 1, 0, 0>}
    : (tensor<1x1x16xf32>, tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>, tensor<1xi32>, tensor<i32>)
    -> (tensor<1x1x8xf32>, tensor<1x2x6x2xf32>, tensor<1x2x6x2xf32>) loc("/attn"(fused["out", "present_key", "present_value"]))
  return %o, %k, %v : tensor<1x1x8xf32>, tensor<1x2x6x2xf32>, tensor<1x2x6x2xf32>
}
