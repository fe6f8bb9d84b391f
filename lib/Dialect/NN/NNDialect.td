//===- NNDialect.td - the dialect of imported models -------------*- tablegen -*-===//
#ifndef NIBBLE_DIALECT_NN_NNDIALECT_TD
#define NIBBLE_DIALECT_NN_NNDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::nibble::nn";
  let summary = "neural network operators with ONNX semantics";
  let description = [{
    An operator `nn.foo_bar` computes what ONNX's `FooBar` computes at opset 21 (com.microsoft
    operators: at version 1). Element types are builtin: signed integers are signless (`i8`),
    unsigned ones are `ui8`, booleans are `i1`. Float operators may appear with quantizers around
    them: `nn.fake_quant` on an edge and `nn.dequantize_weight` on stored integer weights say what
    the integer program computes.
  }];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    /// Where the bytes behind `#nn.blob` attributes are. Thread safe.
    ::nibble::BlobStore &getBlobStore() { return blobStore; }

  private:
    ::nibble::BlobStore blobStore;
  public:
  }];
}

class NN_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<NN_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def NN_BlobAttr : NN_Attr<"Blob", "blob"> {
  let summary = "weights stored outside the IR";
  let description = [{
    `size` bytes at `offset` of the file that the dialect's BlobStore knows as `file`. Elements are
    little-endian and row-major; 4-bit elements are packed, first element in the low nibble.
  }];
  let parameters = (ins StringRefParameter<"name of the file in the BlobStore">:$file,
                        "uint64_t":$offset, "uint64_t":$size);
  let assemblyFormat = "`<` $file `,` $offset `,` $size `>`";
}

def NN_QuantizerKind : I32EnumAttr<"QuantizerKind", "how stored integers become reals", [
  I32EnumAttrCase<"Uniform", 0, "uniform">,
  I32EnumAttrCase<"LPBQ", 1, "lpbq">,
  I32EnumAttrCase<"Palette", 2, "palette">]> {
  let cppNamespace = "::nibble::nn";
}

def NN_PadMode : I32EnumAttr<"PadMode", "what Pad fills with", [
  I32EnumAttrCase<"Constant", 0, "constant">, I32EnumAttrCase<"Reflect", 1, "reflect">,
  I32EnumAttrCase<"Edge", 2, "edge">, I32EnumAttrCase<"Wrap", 3, "wrap">]> {
  let cppNamespace = "::nibble::nn";
}

/// I64Attr whose accessor is signed, as axes and sizes are compared with signed numbers.
def NN_I64Attr : TypedSignlessIntegerAttrBase<I64, "int64_t", "64-bit integer attribute">;

#endif
