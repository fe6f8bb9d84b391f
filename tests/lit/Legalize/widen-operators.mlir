// An operator that the target computes soundly only at 16 bits: its operands are converted, its scale is stored at 16 bits, and
// its result is rounded to 16 bits and then to the 8 that its readers take.
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=snapdragon-8gen2' | FileCheck %s
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=onnx' | FileCheck %s --check-prefix=ONNX
// RUN: nibble-opt %s -split-input-file -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a16 target=snapdragon-8gen2' | FileCheck %s --check-prefix=WIDE

// CHECK-DAG: nn.quantizer @x {role = "activation", storage = ui8, tensor = "x"}
// CHECK-DAG: nn.quantizer @g {role = "constant", storage = ui16, tensor = "g"}
// CHECK-DAG: nn.quantizer @y {role = "activation", storage = ui8, tensor = "y"}
// CHECK-DAG: nn.quantizer @"y/uint16" {role = "activation", storage = ui16, tensor = "y"}
// CHECK-DAG: nn.quantizer @"x/uint16" {role = "activation", storage = ui16, tensor = "x"}
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.+]] = nn.fake_quant %{{.+}}, @x :
// CHECK-DAG: %[[G:.+]] = nn.fake_quant %{{.+}}, @g :
// CHECK-DAG: %[[CONVERTED:.+]] = nn.fake_quant %[[X]], @"x/uint16"
// CHECK: %[[NORM:.+]] = nn.rms_normalization %[[CONVERTED]], %[[G]]
// CHECK: %[[ROUNDED:.+]] = nn.fake_quant %[[NORM]], @"y/uint16"
// CHECK: %[[Y:.+]] = nn.fake_quant %[[ROUNDED]], @y :
// The second reader of the input still takes 8 bits.
// CHECK: nn.add %[[X]], %[[Y]]

// ONNX-NOT: int16
// ONNX: storage = i8, tensor = "g"
// ONNX-NOT: int16
// ONNX: return

// At 16 bits there is nothing to widen.
// WIDE-NOT: y/uint16
// WIDE: nn.rms_normalization
func.func @main(%x: tensor<2x4x8xf32> {nn.name = "x"}) -> tensor<2x4x8xf32> {
  %g = nn.constant(dense<0.75> : tensor<8xf32>) : tensor<8xf32> loc("G"("g"))
  %y = nn.rms_normalization %x, %g {axis = -1 : i64, epsilon = 1.0e-5 : f32} : (tensor<2x4x8xf32>, tensor<8xf32>) -> tensor<2x4x8xf32> loc("Norm"("y"))
  %z = nn.add %x, %y : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32> loc("Add"("z"))
  return %z : tensor<2x4x8xf32>
}
