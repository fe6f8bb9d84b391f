//===- Npy.h - numpy's .npy and .npz files ---------------------------------===//
//
// Files come from users and are not trusted: headers are bounded and must agree
// exactly with the bytes that are there before anything is allocated.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_NPY_H
#define NIBBLE_SUPPORT_NPY_H

#include "lib/Support/MappedFile.h"
#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace nibble {

/// What the header of a .npy says.
struct NpyHeader {
  ElementType elementType = ElementType::F32;
  Shape shape;
  /// Where the elements begin.
  uint64_t dataOffset = 0;
};

/// Largest header that is read; numpy writes 128 bytes for all but huge ranks.
inline constexpr uint64_t maximumNpyHeader = 64 * 1024;

/// Parses the header of a .npy whose first bytes are `bytes` and whose whole size is `fileSize`.
/// float16/32/64, signed and unsigned integers and bool, little-endian, C order. `what` names the
/// array in messages. Errors: BadInput, Unsupported (with the numpy call that converts the array).
llvm::Expected<NpyHeader> parseNpyHeader(llvm::ArrayRef<char> bytes, uint64_t fileSize, llvm::StringRef what);

/// The array of a .npy file, a view of the mapped file. Errors: IO and those of parseNpyHeader.
llvm::Expected<Tensor> readNpy(llvm::StringRef path);

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// An opened .npz: the headers of all arrays are read and checked, elements only on demand.
class NpzReader {
public:
  struct Entry {
    std::string name;
    NpyHeader header;
    uint64_t size = 0, index = 0;
  };
  /// Errors: IO, BadInput, Limit, Unsupported; each names the file and the array.
  static llvm::Expected<std::unique_ptr<NpzReader>> open(llvm::StringRef path);
  ~NpzReader();
  NpzReader(const NpzReader &) = delete;
  NpzReader &operator=(const NpzReader &) = delete;

  /// Arrays in the order of their names.
  llvm::ArrayRef<Entry> entries() const { return arrays; }
  /// The elements of an array. Errors: BadInput (damaged archive).
  llvm::Expected<Tensor> read(const Entry &entry);

private:
  NpzReader() = default;
  std::string path;
  std::shared_ptr<const MappedFile> file;
  void *archive = nullptr;
  std::vector<Entry> arrays;
};

/// All arrays of a .npz, in the order of their names.
llvm::Expected<std::vector<NamedTensor>> readNpz(llvm::StringRef path);

/// The bytes of a .npy with this tensor. Errors: Unsupported for types that numpy lacks.
llvm::Expected<std::string> formatNpy(const Tensor &tensor);
/// Writes a .npy atomically. Errors: IO, Unsupported.
llvm::Error writeNpy(llvm::StringRef path, const Tensor &tensor);
/// Writes a .npz atomically: stored, in the given order, with the ZIP format's first date, so equal
/// tensors give equal bytes. Errors: IO, Unsupported.
llvm::Error writeNpz(llvm::StringRef path, llvm::ArrayRef<NamedTensor> tensors);

} // namespace nibble

#endif
