#include "cli/nibble/RunInputs.h"
#include "calib/Datasets/Layout.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/Support/raw_ostream.h"

namespace nibble::cli {

llvm::Expected<RunSample> RunSample::read(llvm::StringRef path) {
  llvm::Expected<std::vector<NamedTensor>> arrays = readNpz(path);
  if (!arrays)
    return arrays.takeError();
  RunSample sample;
  sample.path = path.str();
  sample.arrays = std::move(*arrays);
  return sample;
}

llvm::Expected<Tensor> RunSample::take(llvm::StringRef name) const {
  std::vector<std::string> names;
  std::string held;
  for (const NamedTensor &array : arrays) {
    if (array.name == name)
      return array.tensor;
    names.push_back(array.name);
    held += (held.empty() ? "" : ", ") + array.name + " " +
            calib::describeArray(array.tensor.elementType(), array.tensor.shape());
  }
  std::vector<std::string> notes = {"it holds " + (held.empty() ? "nothing" : held)};
  if (std::string nearest = nearestName(name, names); !nearest.empty())
    notes.push_back("did you mean '" + nearest + "'");
  return makeError(ErrorKind::BadInput, "'" + path + "' has no array '" + name + "'", std::move(notes));
}

llvm::Expected<Tensor> RunSample::take(llvm::StringRef name, ElementType wanted) const {
  llvm::Expected<Tensor> tensor = take(name);
  if (!tensor || tensor->elementType() == wanted)
    return tensor;
  std::string what = ("input '" + name + "'").str();
  if (!calib::isConvertible(tensor->elementType(), wanted))
    return makeError(ErrorKind::BadInput,
                     what + ": wanted " + nibble::name(wanted) + ", found " + nibble::name(tensor->elementType()));
  llvm::errs() << "note: " << what << " is " << nibble::name(tensor->elementType()) << " in '" << path
               << "' and is converted to " << nibble::name(wanted) << '\n';
  return calib::convertTensor(*tensor, wanted, what);
}

} // namespace nibble::cli
