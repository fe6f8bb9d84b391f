//===- Layout.h - how an array of a file fills a model input ---------------===//
#ifndef NIBBLE_CALIB_DATASETS_LAYOUT_H
#define NIBBLE_CALIB_DATASETS_LAYOUT_H

#include "calib/Datasets/Dataset.h"
#include <optional>

namespace nibble::calib {

/// How samples lie in an array.
struct Layout {
  /// Rows: `batch` rows, or windows of rows, make a sample; otherwise the array is one sample or, with
  /// `leading`, its first dimension counts samples.
  bool rows = false, leading = false;
  int64_t samples = 1, batch = 1;
  /// Rows only: windows that each row is cut into, and elements of a window and of a row.
  int64_t windowsPerRow = 1, windowSize = 0, rowSize = 0;
  /// Rows, or windows, at the end that fill no batch; elements at the end of each row that fill no window.
  int64_t droppedRows = 0, droppedPerRow = 0;
  Shape sampleShape;
};

/// The name of a dimension that the model leaves open; empty where it has a number.
std::string symbolOf(const InputSpec &input, size_t axis);

/// The layout of an array of shape `shape` as samples of `input`, or nullopt where it fits in no way. Named
/// dimensions may have any size, but for the batch that rows are grouped to and the windows that tokens are cut
/// to. `rowsAreSamples` for a .npy, whose first dimension always counts rows.
std::optional<Layout> matchArray(llvm::ArrayRef<int64_t> shape, const InputSpec &input, bool rowsAreSamples);

/// Sample `index` of `array`, in the array's own element type.
Tensor takeSample(const Tensor &array, const Layout &layout, int64_t index);

/// Whether elements of type `from` may fill an input of type `to`: floats and integers among
/// themselves; which values are too large is seen when they are converted.
bool isConvertible(ElementType from, ElementType to);
/// Errors: BadInput where a value does not fit, named by `what` and its index.
llvm::Expected<Tensor> convertTensor(const Tensor &tensor, ElementType to, llvm::StringRef what);

/// What an absent input is filled with, by its name and rank.
enum class Completion { None, AttentionMask, PositionIds, Past };
Completion completionOf(const InputSpec &input);
/// All ones; or 0, 1, 2... along the last axis; or no elements.
Tensor makeCompletion(Completion completion, ElementType type, llvm::ArrayRef<int64_t> shape);

/// "float32 [batch_size, 4, 16, 16]".
std::string describeSpec(const InputSpec &input);
std::string describeArray(ElementType type, llvm::ArrayRef<int64_t> shape);

bool isInteger(ElementType type);
bool isFloat(ElementType type);

} // namespace nibble::calib

#endif
