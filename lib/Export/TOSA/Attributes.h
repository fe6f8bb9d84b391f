//===- Attributes.h - TOSA operations as operators of the file format ------===//
#ifndef NIBBLE_EXPORT_TOSA_ATTRIBUTES_H
#define NIBBLE_EXPORT_TOSA_ATTRIBUTES_H

#include "lib/Export/TOSA/tosa_generated.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"
#include <flatbuffers/flatbuffers.h>

namespace nibble::tosa_export {

/// An operator's code with its attribute table, which a union of the schema holds.
struct OperatorForm {
  ::tosa::Op code = ::tosa::Op_UNKNOWN;
  ::tosa::Attribute attributeType = ::tosa::Attribute_NONE;
  flatbuffers::Offset<void> attribute;
};

/// The form of an operation of the tosa dialect that computes; constants are not among them. Errors: Internal
/// where an integer program holds no such operation.
llvm::Expected<OperatorForm> toOperatorForm(mlir::Operation *op, flatbuffers::FlatBufferBuilder &builder);

/// The format's number of an element type. Errors: Internal for types that an integer program does not have; the
/// message begins with `subject`.
llvm::Expected<::tosa::DType> toDType(mlir::Type elementType, const llvm::Twine &subject);

} // namespace nibble::tosa_export

#endif
