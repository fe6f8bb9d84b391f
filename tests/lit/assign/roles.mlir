// The role `phase` reaches the sine, what computes its argument and the graph input that this begins with, and keeps
// them at 16 bits; what follows is 8 bits.
// RUN: nibble-opt %s -nibble-place-quantizers '-nibble-assign-encodings=recipe=w8a8 target=onnx' | FileCheck %s

// CHECK: nn.quantizer @f {role = "activation", storage = i16
// CHECK: nn.quantizer @t {role = "activation", storage = i16
// CHECK: nn.quantizer @c {role = "constant", storage = i16
// CHECK: nn.quantizer @a {role = "activation", storage = i16
// CHECK: nn.quantizer @s {{.*}}storage = i16
// CHECK: nn.quantizer @y {role = "activation", storage = i8
// CHECK: nn.quantizer @"s/int8" {{.*}}storage = i8
func.func @main(%i: tensor<1xi64> {nn.name = "i"}, %f: tensor<1xf32> {nn.name = "f"}) -> (tensor<4xf32>, tensor<1x1xf32>) {
  %t = nn.cast %i {to = f32} : (tensor<1xi64>) -> tensor<1xf32> loc("T"("t"))
  %c = nn.constant(dense<[1.0, 0.5, 0.3, 0.1]> : tensor<4xf32>) : tensor<4xf32> loc("C"("c"))
  %a = nn.mul %t, %c : (tensor<1xf32>, tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
  %s = nn.sin %a : (tensor<4xf32>) -> tensor<4xf32> loc("S"("s"))
  %y = nn.neg %s : (tensor<4xf32>) -> tensor<4xf32> loc("Y"("y"))
  %shape = nn.constant(dense<1> : tensor<2xi64>) : tensor<2xi64> loc("D"("d"))
  %moved = nn.reshape %f, %shape : (tensor<1xf32>, tensor<2xi64>) -> tensor<1x1xf32> loc("R"("r"))
  %cosine = nn.cos %moved : (tensor<1x1xf32>) -> tensor<1x1xf32> loc("O"("o"))
  return %y, %cosine : tensor<4xf32>, tensor<1x1xf32>
}
