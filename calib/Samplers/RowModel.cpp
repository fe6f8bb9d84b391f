#include "calib/Samplers/RowModel.h"
#include "calib/Datasets/Layout.h"
#include "calib/Datasets/ModelInputs.h"
#include "lib/Support/ErrorContext.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>
#include <numeric>

namespace nibble::calib {

llvm::StringRef nameOf(Component component) {
  switch (component) {
  case Component::TextEncoder: return "text_encoder";
  case Component::UNet: return "unet";
  case Component::VaeDecoder: return "vae_decoder";
  }
  llvm_unreachable("all components are named");
}

Tensor selectRows(const Tensor &tensor, llvm::ArrayRef<int64_t> rows) {
  Shape shape(tensor.shape());
  shape[0] = static_cast<int64_t>(rows.size());
  Tensor result = Tensor::allocate(tensor.elementType(), shape);
  int64_t bytes = byteSize(tensor.elementType(), elementCount(tensor.shape().drop_front()));
  for (auto [index, row] : llvm::enumerate(rows)) {
    assert(row >= 0 && row < tensor.shape()[0]);
    std::memcpy(static_cast<char *>(result.mutableRaw()) + static_cast<int64_t>(index) * bytes,
                static_cast<const char *>(tensor.raw()) + row * bytes, static_cast<size_t>(bytes));
  }
  return result;
}

static std::string listNames(llvm::ArrayRef<InputSpec> specs) {
  std::vector<std::string> names;
  for (const InputSpec &spec : specs)
    names.push_back("'" + spec.name + "' " + describeSpec(spec));
  return llvm::join(names, ", ");
}

llvm::Error RowModel::context(llvm::Error error) const { return addContext(std::move(error), nameOf(component)); }

/// Finds the array for every input of the model.
llvm::Error RowModel::match(llvm::ArrayRef<InputSpec> specs, llvm::ArrayRef<NamedTensor> given) {
  std::vector<std::string> names;
  for (const NamedTensor &array : given)
    names.push_back(array.name);
  for (const InputSpec &spec : specs) {
    auto source = llvm::find(names, spec.name);
    bool isOnlyOne = specs.size() == 1 && given.size() == 1;
    if (source == names.end() && !isOnlyOne)
      return makeError(ErrorKind::Unsupported, "input '" + spec.name + "' is none that is fed", {"fed are " + llvm::join(names, ", ")});
    size_t index = isOnlyOne ? 0 : static_cast<size_t>(source - names.begin());
    if (!isConvertible(given[index].tensor.elementType(), spec.elementType) && given[index].tensor.rank() > 0)
      return makeError(ErrorKind::BadInput, "input '" + spec.name + "': wanted " + name(spec.elementType) + ", found " +
                                                name(given[index].tensor.elementType()));
    inputs.push_back({spec.name, spec.elementType, spec.shape, index, given[index].tensor.rank() > 0});
  }
  for (auto [index, name] : llvm::enumerate(names))
    if (llvm::none_of(inputs, [&](const Input &input) { return input.source == index; }))
      return makeError(ErrorKind::BadInput, "the model has no input '" + name + "'", {"its inputs are " + listNames(specs)});
  return llvm::Error::success();
}

llvm::Error RowModel::chooseBatch(llvm::ArrayRef<InputSpec> specs, int64_t openBatch) {
  for (auto [input, spec] : llvm::zip_equal(inputs, specs)) {
    if (!input.isRows || spec.shape.empty() || spec.shape[0] < 0)
      continue;
    if (spec.shape[0] == 0 || (batch && spec.shape[0] != batch))
      return makeError(ErrorKind::BadInput, "wanted one batch in all inputs, found " + listNames(specs));
    batch = spec.shape[0];
  }
  if (!batch)
    batch = openBatch;
  return llvm::Error::success();
}

llvm::Error RowModel::bind(llvm::ArrayRef<InputSpec> specs, llvm::ArrayRef<NamedTensor> given, Dimensions &bindings) {
  for (auto [input, spec] : llvm::zip_equal(inputs, specs)) {
    if (!input.isRows)
      continue;
    const Tensor &array = given[input.source].tensor;
    Shape shape(array.shape());
    shape[0] = batch;
    if (llvm::Error error = bindDimensions(spec, array.elementType(), shape, bindings))
      return error;
    for (auto [wanted, found] : llvm::zip_equal(spec.shape, shape))
      if (wanted >= 0 && wanted != found)
        return makeError(ErrorKind::BadInput, "input '" + spec.name + "': wanted " + describeSpec(spec) + ", found " +
                                                  describeArray(array.elementType(), shape));
  }
  for (auto [input, spec] : llvm::zip_equal(inputs, specs))
    for (size_t axis = 0; axis < spec.shape.size(); ++axis) {
      std::string symbol = symbolOf(spec, axis);
      if (spec.shape[axis] < 0 && symbol.empty())
        return makeError(ErrorKind::Unsupported, "input '" + spec.name + "' is " + describeSpec(spec) +
                                                     ", which has a dimension with neither size nor name");
      if (spec.shape[axis] < 0)
        input.shape[axis] = bindings.try_emplace(symbol, 1).first->second;
    }
  return llvm::Error::success();
}

llvm::Expected<RowModel> RowModel::open(PipelineModels &models, Component component, llvm::ArrayRef<NamedTensor> inputs,
                                        int64_t batch) {
  RowModel result;
  result.component = component;
  llvm::Expected<std::vector<InputSpec>> specs = models.inputs(component);
  if (!specs)
    return result.context(specs.takeError());
  Dimensions bindings;
  if (llvm::Error error = result.match(*specs, inputs))
    return result.context(std::move(error));
  if (llvm::Error error = result.chooseBatch(*specs, batch))
    return result.context(std::move(error));
  if (llvm::Error error = result.bind(*specs, inputs, bindings))
    return result.context(std::move(error));
  if (llvm::Error error = models.open(component, bindings).moveInto(result.model))
    return result.context(std::move(error));
  return result;
}

/// What the input is fed for the batch that begins at `firstRow`.
llvm::Expected<Tensor> RowModel::fill(const Input &input, const Tensor &array, int64_t firstRow) const {
  Tensor values;
  if (input.isRows) {
    std::vector<int64_t> rows(static_cast<size_t>(batch));
    std::iota(rows.begin(), rows.end(), firstRow);
    for (int64_t &row : rows)
      row = std::min(row, array.shape()[0] - 1);
    values = selectRows(array, rows);
  } else {
    std::vector<int64_t> filled(static_cast<size_t>(elementCount(input.shape)), array.valuesAsInt64().front());
    values = Tensor::fromValues<int64_t>(input.shape, filled);
  }
  return convertTensor(values, input.elementType, "input '" + input.name + "'");
}

llvm::Expected<Tensor> RowModel::run(llvm::ArrayRef<NamedTensor> arrays) {
  int64_t rows = 0;
  for (const Input &input : inputs)
    if (input.isRows)
      rows = arrays[input.source].tensor.shape()[0];
  Tensor output;
  for (int64_t first = 0; first < rows; first += batch) {
    std::vector<Tensor> tensors;
    for (const Input &input : inputs) {
      llvm::Expected<Tensor> tensor = fill(input, arrays[input.source].tensor, first);
      if (!tensor)
        return context(tensor.takeError());
      tensors.push_back(std::move(*tensor));
    }
    llvm::Expected<std::vector<Tensor>> results = model->run(tensors);
    if (!results)
      return context(results.takeError());
    if (results->empty() || results->front().rank() == 0 || results->front().shape()[0] != batch)
      return context(makeError(ErrorKind::BadInput, "wanted a first output of batch " + llvm::Twine(batch) + ", found " +
                                                        (results->empty() ? "no output"
                                                                          : describeArray(results->front().elementType(),
                                                                                          results->front().shape()))));
    llvm::Expected<Tensor> result = convertTensor(results->front(), ElementType::F32, "the first output");
    if (!result)
      return context(result.takeError());
    Shape shape(result->shape());
    shape[0] = rows;
    if (!output)
      output = Tensor::allocate(ElementType::F32, shape);
    if (output.shape() != llvm::ArrayRef(shape))
      return context(makeError(ErrorKind::BadInput, "the shape of the first output depends on the values of the inputs"));
    int64_t rowSize = result->elementCount() / batch;
    std::copy_n(result->data<float>(), std::min(batch, rows - first) * rowSize,
                output.mutableData<float>() + first * rowSize);
  }
  return output;
}

} // namespace nibble::calib
