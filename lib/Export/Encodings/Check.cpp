#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/Encodings/Layout.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/StringMap.h"

namespace nibble::encodings {
namespace {

using quant::EncodingKind;

llvm::Error differs(llvm::StringRef what, const TensorEncoding &entry, const llvm::Twine &how) {
  return makeError(ErrorKind::Internal, what + ": the entry of tensor '" + entry.tensor + "' " + how);
}

/// The place in the file's order of the scale at `index` of the natural order. 2.0.0 keeps that order; the
/// others go through the output channels and, for each, through its blocks.
size_t placeInFile(const TensorEncoding &entry, bool isNatural, size_t index) {
  if (isNatural || !entry.encoding->blockSize)
    return index;
  Shape shape = blockShape(entry);
  size_t axis = static_cast<size_t>(*entry.encoding->axis);
  int64_t inner = elementCount(llvm::ArrayRef<int64_t>(shape).drop_front(axis + 1));
  int64_t position = static_cast<int64_t>(index);
  int64_t block = position / inner % shape[axis];
  int64_t channel = position / (inner * shape[axis]) * inner + position % inner;
  return static_cast<size_t>(channel * shape[axis] + block);
}

llvm::Error checkNumbers(const TensorEncoding &entry, const FileEncoding &found, bool isNatural, llvm::StringRef what) {
  const quant::Encoding &wanted = *entry.encoding;
  bool isLPBQ = wanted.kind == EncodingKind::LPBQ;
  if (found.isFloat || found.bits != bitWidth(wanted.storage) || found.blockSize != wanted.blockSize)
    return differs(what, entry, "has another type or block size than was written");
  if (found.scales.size() != wanted.scales.size() || found.multipliers.size() != wanted.blockMultipliers.size())
    return differs(what, entry, "has another number of scales than was written");
  for (size_t i = 0; i < wanted.scales.size(); ++i) {
    size_t place = isLPBQ ? i : placeInFile(entry, isNatural, i);
    if (static_cast<float>(found.scales[place]) != wanted.scales[i])
      return differs(what, entry, "has scale " + std::to_string(found.scales[place]) + " where " +
                                      std::to_string(wanted.scales[i]) + " was written");
    if (!isLPBQ && found.zeroPoints[place] != unsignedZeroPoint(wanted, i))
      return differs(what, entry, "has zero point " + llvm::Twine(found.zeroPoints[place]) + " where " +
                                      llvm::Twine(unsignedZeroPoint(wanted, i)) + " was written");
  }
  for (size_t i = 0; i < wanted.blockMultipliers.size(); ++i)
    if (found.multipliers[placeInFile(entry, isNatural, i)] != wanted.blockMultipliers[i])
      return differs(what, entry, "has another block multiplier than was written");
  return llvm::Error::success();
}

} // namespace

llvm::Error checkEncodings(llvm::ArrayRef<TensorEncoding> entries, llvm::StringRef text, llvm::StringRef what) {
  llvm::Expected<EncodingsFile> read = readEncodings(text, what);
  if (!read)
    return read.takeError();
  llvm::StringMap<const FileEncoding *> byName;
  for (const FileEncoding &entry : read->entries)
    if (!byName.try_emplace(entry.tensor, &entry).second)
      return makeError(ErrorKind::Internal, what + ": tensor '" + entry.tensor + "' has two entries");
  bool isNatural = read->version == Version::V200;
  size_t matched = 0;
  for (const TensorEncoding &entry : entries) {
    const FileEncoding *found = byName.lookup(entry.tensor);
    // Only 2.0.0 leaves out tensors that stay float.
    if (!found && !(isNatural && !entry.encoding))
      return differs(what, entry, "is missing");
    matched += found != nullptr;
    if (found && !entry.encoding && !found->isFloat)
      return differs(what, entry, "is quantized, but the tensor stays float");
    if (entry.encoding)
      if (llvm::Error error = checkNumbers(entry, *found, isNatural, what))
        return error;
  }
  if (matched != read->entries.size())
    return makeError(ErrorKind::Internal, what + ": has entries of tensors that were not written");
  return llvm::Error::success();
}

} // namespace nibble::encodings
