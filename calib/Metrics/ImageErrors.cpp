#include "calib/Metrics/ImageErrors.h"
#include "calib/Datasets/Layout.h"
#include "calib/Metrics/Errors.h"
#include "lib/Support/Error.h"

namespace nibble::calib {

static llvm::Error checkShapes(const Tensor &reference, const Tensor &actual, llvm::StringRef what) {
  if (reference.rank() > 0 && reference.shape() == actual.shape() && isFloat(reference.elementType()))
    return llvm::Error::success();
  return makeError(ErrorKind::BadInput, what + ": the reference is " + describeArray(reference.elementType(), reference.shape()) +
                                            ", wanted " + describeArray(actual.elementType(), actual.shape()));
}

/// The differences in row `row`.
static ErrorAccumulator compareRow(const Tensor &reference, const Tensor &actual, int64_t row) {
  Layout layout;
  layout.leading = true;
  layout.samples = reference.shape()[0];
  layout.sampleShape = Shape(reference.shape().drop_front());
  ErrorAccumulator errors;
  errors.add(takeSample(reference, layout, row), takeSample(actual, layout, row));
  return errors;
}

/// Values that are no numbers stay so, that they are not taken for black ones.
static Tensor clampToImage(const Tensor &tensor) {
  Tensor result = Tensor::allocate(ElementType::F32, tensor.shape());
  for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i) {
    double value = tensor.valueAsDouble(i);
    result.mutableData<float>()[i] = static_cast<float>(value < -1 ? -1 : value > 1 ? 1 : value);
  }
  return result;
}

llvm::Expected<std::vector<double>> latentPsnr(const Tensor &reference, const Tensor &actual, llvm::StringRef what) {
  if (llvm::Error error = checkShapes(reference, actual, what))
    return std::move(error);
  std::vector<double> decibels;
  for (int64_t row = 0; row < reference.shape()[0]; ++row)
    decibels.push_back(compareRow(reference, actual, row).psnr());
  return decibels;
}

llvm::Expected<std::vector<double>> imagePsnr(const Tensor &reference, const Tensor &actual, llvm::StringRef what) {
  if (llvm::Error error = checkShapes(reference, actual, what))
    return std::move(error);
  Tensor wanted = clampToImage(reference), found = clampToImage(actual);
  std::vector<double> decibels;
  for (int64_t row = 0; row < reference.shape()[0]; ++row)
    decibels.push_back(compareRow(wanted, found, row).psnr(/*peak=*/2));
  return decibels;
}

} // namespace nibble::calib
