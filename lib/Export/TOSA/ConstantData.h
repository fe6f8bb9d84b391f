//===- ConstantData.h - constants in the bytes of the file format ----------===//
#ifndef NIBBLE_EXPORT_TOSA_CONSTANTDATA_H
#define NIBBLE_EXPORT_TOSA_CONSTANTDATA_H

#include "lib/Support/Tensor.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"

namespace nibble::tosa_export {

/// Whether `op` is a constant tensor: nn.constant or tosa.const.
bool isConstantTensor(mlir::Operation *op);
/// Bytes that the file stores for a tensor: i1 and i8 one per element, i4 half of one (the last one padded), i16 two,
/// i32 four, i48 six.
uint64_t storedBytes(mlir::RankedTensorType type);

/// The bytes of a constant. Large ones stay where they are and are mapped.
class ConstantData {
public:
  /// Errors: Internal (an i4 element of -8, which the format does not have; the message names the node), and those
  /// of nn::readConstant.
  static llvm::Expected<ConstantData> read(mlir::Operation *op);
  llvm::ArrayRef<uint8_t> bytes() const;

private:
  /// An i48 constant is held as its bytes; every other tensor is stored as it is.
  Tensor tensor;
};

} // namespace nibble::tosa_export

#endif
