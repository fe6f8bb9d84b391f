//===- Sources.h - the arrays that a dataset's arguments name --------------===//
#ifndef NIBBLE_CALIB_DATASETS_SOURCES_H
#define NIBBLE_CALIB_DATASETS_SOURCES_H

#include "calib/Datasets/Dataset.h"
#include "calib/Datasets/Layout.h"
#include "lib/Support/Npy.h"

namespace nibble::calib {

/// An array in a file, known by its header.
struct SourceArray {
  std::string path;
  /// Name inside a .npz; empty for a .npy.
  std::string entry;
  ElementType elementType;
  Shape shape;
};

/// A .npz: its arrays by name.
struct SourceArchive {
  std::string path;
  std::vector<SourceArray> arrays;
};

/// A .npy and the input it is said to fill; empty where nothing says it.
struct SourceColumn {
  std::string input;
  SourceArray array;
};

struct Sources {
  std::vector<SourceArchive> archives;
  std::vector<SourceColumn> columns;
  /// Set by `random:N`.
  int64_t randomSamples = 0;
  std::vector<std::string> files() const;
};

/// Resolves the arguments and reads the headers of all files. Errors: Usage (no argument, malformed
/// `random:N`, unknown input in `input=path`), IO, BadInput, Limit, Unsupported.
llvm::Expected<Sources> findSources(const DatasetOptions &options, llvm::ArrayRef<InputSpec> inputs);

} // namespace nibble::calib

#endif
