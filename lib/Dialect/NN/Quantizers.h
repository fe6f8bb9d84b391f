//===- Quantizers.h - nn.quantizer and quant::Encoding ---------------------===//
#ifndef NIBBLE_DIALECT_NN_QUANTIZERS_H
#define NIBBLE_DIALECT_NN_QUANTIZERS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/Encoding.h"
#include "mlir/IR/BuiltinOps.h"

namespace nibble::nn {

/// The encoding that a quantizer states; without scales where it has no range yet. Errors: BadInput
/// (names the quantizer: scale that is not a positive normal number, zero point or quant_min/max outside
/// the storage type, numbers of scales, zero points and multipliers that do not fit, unreadable blob).
llvm::Expected<quant::Encoding> readEncoding(QuantizerOp quantizer);

/// Makes the quantizer state `encoding`; `fixed` and `origin` stay. Scales are one float32 tensor of rank
/// 1 (rank 0 for one scale per tensor) in the order of Encoding::scales. Errors: IO where a spill cannot
/// be written.
llvm::Error writeEncoding(QuantizerOp quantizer, const quant::Encoding &encoding);

/// Adds a quantizer at the end of the module's leading quantizers, under `name` or, where that symbol
/// is taken, `name` followed by "_1", "_2", ... Errors: as writeEncoding.
llvm::Expected<QuantizerOp> createQuantizer(mlir::ModuleOp module, llvm::StringRef name,
                                            const quant::Encoding &encoding);

/// The quantizer that `symbol` names, found from `from` outwards; null where there is none.
QuantizerOp lookupQuantizer(mlir::Operation *from, mlir::FlatSymbolRefAttr symbol);
/// The quantizer that `value` was rounded or stored with, also through the edges of blocks; null where there
/// is none.
QuantizerOp quantizerOf(mlir::Value value);

/// The fake_quant that rounds `value`, which reads it directly; null where none does.
FakeQuantOp roundingOf(mlir::Value value);

} // namespace nibble::nn

#endif
