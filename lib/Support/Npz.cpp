#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/Npy.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <tuple>
#include <zip.h>

namespace nibble {
namespace {

constexpr zip_int64_t maximumEntries = 4096;
/// Deflate cannot expand a byte to more than 1032, so a larger ratio is a lie about sizes.
constexpr uint64_t maximumExpansion = 1032;

struct CloseEntry {
  void operator()(zip_file_t *entry) const { zip_fclose(entry); }
};
using EntryHandle = std::unique_ptr<zip_file_t, CloseEntry>;

struct DiscardArchive {
  void operator()(zip_t *archive) const { zip_discard(archive); }
};

/// Reads up to `size` bytes; false where the archive is damaged.
bool readUpTo(zip_file_t *entry, char *destination, uint64_t size, uint64_t &count) {
  count = 0;
  while (count < size) {
    zip_int64_t got = zip_fread(entry, destination + count, size - count);
    if (got < 0)
      return false;
    if (got == 0)
      break;
    count += static_cast<uint64_t>(got);
  }
  return true;
}

llvm::Error damaged(llvm::StringRef what, llvm::StringRef reason) {
  return makeError(ErrorKind::BadInput, "'" + what + "' is damaged: " + reason);
}

/// Elements begin at a fixed place, so the header is all that is read of an entry.
llvm::Expected<NpyHeader> readHeader(zip_t *archive, const zip_stat_t &status, llvm::StringRef what) {
  EntryHandle entry(zip_fopen_index(archive, status.index, 0));
  if (!entry)
    return damaged(what, zip_strerror(archive));
  std::vector<char> start(std::min<uint64_t>(status.size, maximumNpyHeader + 12));
  uint64_t count = 0;
  // Most headers have 128 bytes: a large array is not inflated by 64 KiB for them.
  uint64_t first = std::min<uint64_t>(start.size(), 512);
  if (!readUpTo(entry.get(), start.data(), first, count))
    return damaged(what, zip_file_strerror(entry.get()));
  if (count == first && first >= 12 && first < start.size()) {
    uint64_t length = static_cast<uint8_t>(start[8]) | uint64_t(static_cast<uint8_t>(start[9])) << 8;
    uint64_t rest = 0;
    if ((start[6] != 1 || length + 10 > first) &&
        !readUpTo(entry.get(), start.data() + first, start.size() - first, rest))
      return damaged(what, zip_file_strerror(entry.get()));
    count += rest;
  }
  return parseNpyHeader({start.data(), static_cast<size_t>(count)}, status.size, what);
}

} // namespace

NpzReader::~NpzReader() {
  if (archive)
    zip_discard(static_cast<zip_t *>(archive));
}

llvm::Expected<std::unique_ptr<NpzReader>> NpzReader::open(llvm::StringRef path) {
  std::unique_ptr<NpzReader> reader(new NpzReader);
  reader->path = path.str();
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  reader->file = *file;
  // libzip takes a file without bytes for an archive without entries.
  if ((*file)->bytes().empty())
    return makeError(ErrorKind::BadInput, "'" + path + "' is not a .npz archive: it is empty");
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *source = zip_source_buffer_create((*file)->bytes().data(), (*file)->bytes().size(), 0, &error);
  zip_t *archive = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  if (!archive) {
    std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    if (source)
      zip_source_free(source);
    return makeError(ErrorKind::BadInput, "'" + path + "' is not a .npz archive: " + reason);
  }
  zip_error_fini(&error);
  reader->archive = archive;

  zip_int64_t count = zip_get_num_entries(archive, 0);
  if (count > maximumEntries)
    return makeError(ErrorKind::Limit, "'" + path + "' holds " + llvm::Twine(count) + " arrays, at most " +
                                           llvm::Twine(maximumEntries) + " are read");
  for (zip_int64_t index = 0; index < count; ++index) {
    zip_stat_t status;
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if (zip_stat_index(archive, static_cast<zip_uint64_t>(index), 0, &status) != 0 ||
        (status.valid & needed) != needed)
      return damaged(path, zip_strerror(archive));
    llvm::StringRef name = status.name;
    std::string what = (path + ":" + name).str();
    if (!name.consume_back(".npy"))
      return makeError(ErrorKind::BadInput, "'" + what + "' is not a .npy array");
    if (status.comp_size > (*file)->bytes().size() || status.size / maximumExpansion > status.comp_size)
      return makeError(ErrorKind::BadInput, "'" + what + "' states " + llvm::Twine(status.size) + " bytes in " +
                                                llvm::Twine(status.comp_size) + ", which cannot be");
    llvm::Expected<NpyHeader> header = readHeader(archive, status, what);
    if (!header)
      return header.takeError();
    reader->arrays.push_back({name.str(), *header, status.size, status.index});
  }
  llvm::sort(reader->arrays,
             [](const Entry &a, const Entry &b) { return std::tie(a.name, a.index) < std::tie(b.name, b.index); });
  for (size_t i = 1; i < reader->arrays.size(); ++i)
    if (reader->arrays[i - 1].name == reader->arrays[i].name)
      return makeError(ErrorKind::BadInput, "'" + path + "' holds two arrays named '" + reader->arrays[i].name + "'");
  return reader;
}

llvm::Expected<Tensor> NpzReader::read(const Entry &entry) {
  zip_t *zip = static_cast<zip_t *>(archive);
  std::string what = path + ":" + entry.name + ".npy";
  EntryHandle handle(zip_fopen_index(zip, entry.index, 0));
  if (!handle)
    return damaged(what, zip_strerror(zip));
  std::vector<char> header(entry.header.dataOffset);
  uint64_t count = 0;
  if (!readUpTo(handle.get(), header.data(), header.size(), count) || count != header.size())
    return damaged(what, "its header cannot be read twice");
  Tensor tensor = Tensor::allocate(entry.header.elementType, entry.header.shape);
  uint64_t size = static_cast<uint64_t>(tensor.byteSize());
  if (!readUpTo(handle.get(), static_cast<char *>(tensor.mutableRaw()), size, count))
    return damaged(what, zip_file_strerror(handle.get()));
  // The checksum is compared when the end is met, which takes one more read.
  char extra;
  uint64_t extraCount = 0;
  bool checksumHolds = readUpTo(handle.get(), &extra, 1, extraCount);
  if (count != size || extraCount != 0)
    return damaged(what, "its elements have another size than stated");
  if (!checksumHolds)
    return damaged(what, zip_file_strerror(handle.get()));
  return tensor;
}

llvm::Expected<std::vector<NamedTensor>> readNpz(llvm::StringRef path) {
  llvm::Expected<std::unique_ptr<NpzReader>> reader = NpzReader::open(path);
  if (!reader)
    return reader.takeError();
  std::vector<NamedTensor> result;
  for (const NpzReader::Entry &entry : (*reader)->entries()) {
    llvm::Expected<Tensor> tensor = (*reader)->read(entry);
    if (!tensor)
      return tensor.takeError();
    result.push_back({entry.name, std::move(*tensor)});
  }
  return result;
}

llvm::Error writeNpz(llvm::StringRef path, llvm::ArrayRef<NamedTensor> tensors) {
  // libzip replaces the file it is given, so it is given the temporary name.
  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  int openError = 0;
  std::unique_ptr<zip_t, DiscardArchive> archive(
      zip_open((*file)->temporaryPath().str().c_str(), ZIP_CREATE | ZIP_TRUNCATE, &openError));
  auto failed = [&](llvm::StringRef reason) {
    return makeError(ErrorKind::IO, "cannot write '" + path + "': " + reason);
  };
  if (!archive)
    return failed("the archive cannot be made");
  std::vector<std::string> arrays(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    llvm::Expected<std::string> bytes = formatNpy(tensors[i].tensor);
    if (!bytes)
      return bytes.takeError();
    arrays[i] = std::move(*bytes);
    zip_source_t *source = zip_source_buffer(archive.get(), arrays[i].data(), arrays[i].size(), 0);
    if (!source)
      return failed(zip_strerror(archive.get()));
    zip_int64_t index = zip_file_add(archive.get(), (tensors[i].name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      return failed(zip_strerror(archive.get()));
    }
    // 1 January 1980, 0:00.
    const zip_uint16_t firstDate = (1 << 5) | 1;
    zip_set_file_compression(archive.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
    zip_file_set_dostime(archive.get(), static_cast<zip_uint64_t>(index), 0, firstDate, 0);
  }
  if (zip_close(archive.get()) != 0)
    return failed(zip_strerror(archive.get()));
  archive.release();
  return (*file)->commit();
}

} // namespace nibble
