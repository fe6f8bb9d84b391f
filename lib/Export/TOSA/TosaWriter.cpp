#include "lib/Export/TOSA/TosaWriter.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Export/TOSA/Attributes.h"
#include "lib/Export/TOSA/ConstantData.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Support/DebugStringHelper.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

namespace ops = mlir::tosa;
namespace schema = ::tosa;
using mlir::cast;
using mlir::dyn_cast;
using mlir::isa;

namespace nibble::tosa_export {

std::string inputTensorName(size_t index) { return "TosaInput_" + std::to_string(index); }
std::string outputTensorName(size_t index) { return "TosaOutput_" + std::to_string(index); }

namespace {

using StringOffset = flatbuffers::Offset<flatbuffers::String>;
using DataOffset = flatbuffers::Offset<flatbuffers::Vector<uint8_t>>;

/// More than the tables, offsets and alignment of one operation with its tensor take, names apart.
constexpr uint64_t bytesPerOperation = 1024;
/// Alignment of constants; readers view them in place.
constexpr size_t dataAlignment = 8;

/// Writes what lies in `entry` and in the blocks inside it.
class GraphWriter {
public:
  explicit GraphWriter(mlir::Block &entry) : entry(entry) { collect(entry); }

  llvm::Expected<flatbuffers::DetachedBuffer> write(const TosaOptions &options) {
    uint64_t limit = std::min(options.sizeLimit, flatbufferLimit), size = upperBound();
    if (size > limit)
      return limitError(size, limit);
    nameTensors();
    // One allocation of the final size: growing would copy all constants again.
    builder = flatbuffers::FlatBufferBuilder(static_cast<size_t>(size));
    for (auto [index, argument] : llvm::enumerate(entry.getArguments()))
      if (llvm::Error error = addTensor(argument, inputTensorName(index), 0))
        return std::move(error);
    for (mlir::Operation *op : operations)
      if (llvm::Error error = addOperation(op))
        return std::move(error);
    for (size_t index : copiedOutputs)
      if (llvm::Error error = addCopy(outputs[index], outputTensorName(index)))
        return std::move(error);
    finish();
    // Four tables for every operation at most: itself, attribute, location, tensor.
    flatbuffers::Verifier verifier(builder.GetBufferPointer(), builder.GetSize(), /*max_depth=*/64,
                                   static_cast<flatbuffers::uoffset_t>(4 * operations.size() + 2 * outputs.size() +
                                                                       entry.getNumArguments() + 64));
    if (!schema::VerifyTosaGraphBuffer(verifier))
      return makeError(ErrorKind::Internal, "the TOSA file that was written does not pass verification");
    return builder.Release();
  }

private:
  /// The value that `value` stands for inside of `entry`; edges of inner blocks only pass values on.
  mlir::Value resolve(mlir::Value value) const {
    for (;;) {
      if (auto argument = dyn_cast<mlir::BlockArgument>(value)) {
        if (argument.getOwner() == &entry)
          return value;
        value = argument.getOwner()->getParentOp()->getOperand(argument.getArgNumber());
      } else if (auto block = value.getDefiningOp<nn::BlockOp>()) {
        value = block.getBody().front().getTerminator()->getOperand(cast<mlir::OpResult>(value).getResultNumber());
      } else {
        return value;
      }
    }
  }

  void collect(mlir::Block &block) {
    for (mlir::Operation &op : block.without_terminator()) {
      if (auto inner = dyn_cast<nn::BlockOp>(op))
        collect(inner.getBody().front());
      else
        operations.push_back(&op);
    }
    if (&block == &entry)
      for (mlir::Value value : block.getTerminator()->getOperands())
        outputs.push_back(resolve(value));
  }

  /// Bytes that the file cannot exceed.
  uint64_t upperBound() const {
    uint64_t bytes = bytesPerOperation * (1 + entry.getNumArguments() + outputs.size());
    for (mlir::Operation *op : operations) {
      bytes += bytesPerOperation + 8 * op->getNumOperands() + nn::nodeName(op).size();
      for (mlir::Value result : op->getResults())
        bytes += 2 * nn::tensorName(result).size();
      if (!isConstantTensor(op))
        continue;
      auto type = dyn_cast<mlir::RankedTensorType>(op->getResult(0).getType());
      if (type && type.hasStaticShape())
        bytes += storedBytes(type);
    }
    return bytes;
  }

  static llvm::Error limitError(uint64_t size, uint64_t limit) {
    return makeError(ErrorKind::Limit,
                     "the TOSA file would take up to " + llvm::Twine(size) + " bytes, but it is limited to " +
                         llvm::Twine(limit),
                     {"write one file for every block instead of one for the whole model"});
  }

  std::string makeUnique(std::string wanted) {
    std::string name = wanted;
    unsigned &suffix = suffixes[wanted];
    while (!used.insert(name).second)
      name = wanted + "_" + std::to_string(++suffix);
    return name;
  }

  /// Names go into tables of text that tools print and parse.
  static std::string toPrintable(std::string name) {
    for (char &c : name)
      if (!llvm::isPrint(c) || c == ',' || c == '"')
        c = '_';
    return name;
  }

  void nameTensors() {
    for (auto [index, argument] : llvm::enumerate(entry.getArguments()))
      names[argument] = inputTensorName(index);
    for (size_t i = 0; i < entry.getNumArguments(); ++i)
      used.insert(inputTensorName(i));
    for (auto [index, value] : llvm::enumerate(outputs)) {
      used.insert(outputTensorName(index));
      mlir::Operation *op = value.getDefiningOp();
      if (op && !isConstantTensor(op) && !names.contains(value))
        names[value] = outputTensorName(index);
      else
        copiedOutputs.push_back(index);
    }
    for (mlir::Operation *op : operations)
      for (mlir::Value result : op->getResults()) {
        if (names.contains(result))
          continue;
        std::string wanted = nn::tensorName(result);
        names[result] = makeUnique(toPrintable(wanted.empty() ? nn::nodeName(op) : std::move(wanted)));
      }
  }

  static std::string describe(mlir::Value value) {
    if (mlir::Operation *op = value.getDefiningOp())
      return "node '" + nn::nodeName(op) + "'";
    return "input '" + nn::tensorName(value) + "'";
  }

  llvm::Error addTensor(mlir::Value value, const std::string &name, DataOffset data) {
    std::string subject = describe(value);
    auto type = dyn_cast<mlir::RankedTensorType>(value.getType());
    if (!type || !type.hasStaticShape())
      return makeError(ErrorKind::Internal, subject + ": wanted a tensor of static shape, found " + mlir::debugString(value.getType()));
    llvm::Expected<schema::DType> elementType = toDType(type.getElementType(), subject);
    if (!elementType)
      return elementType.takeError();
    std::vector<int32_t> dimensions;
    for (int64_t dimension : type.getShape()) {
      if (dimension > std::numeric_limits<int32_t>::max())
        return makeError(ErrorKind::Limit, subject + ": a dimension of " + llvm::Twine(dimension) +
                                              " elements does not fit a TOSA file");
      dimensions.push_back(static_cast<int32_t>(dimension));
    }
    StringOffset nameOffset = builder.CreateSharedString(name);
    auto shape = builder.CreateVector(dimensions);
    tensors.push_back(schema::CreateTosaTensor(builder, nameOffset, shape, *elementType, data));
    return llvm::Error::success();
  }

  void addOperator(const OperatorForm &form, llvm::ArrayRef<std::string> inputs, const std::string &output,
                   const std::string &nodeName) {
    std::vector<StringOffset> inputNames;
    for (const std::string &input : inputs)
      inputNames.push_back(builder.CreateSharedString(input));
    auto inputsOffset = builder.CreateVector(inputNames);
    auto outputsOffset = builder.CreateVector(std::vector<StringOffset>{builder.CreateSharedString(output)});
    auto location = schema::CreateOpLocation(builder, builder.CreateSharedString(nodeName));
    operators.push_back(schema::CreateTosaOperator(builder, form.code, form.attributeType, form.attribute, inputsOffset,
                                                   outputsOffset, location));
  }

  llvm::Error addOperation(mlir::Operation *op) {
    std::string nodeName = nn::nodeName(op);
    if (isConstantTensor(op)) {
      llvm::Expected<ConstantData> constant = ConstantData::read(op);
      if (!constant)
        return constant.takeError();
      llvm::ArrayRef<uint8_t> bytes = constant->bytes();
      builder.ForceVectorAlignment(bytes.size(), 1, dataAlignment);
      DataOffset data = builder.CreateVector(bytes.data(), bytes.size());
      addOperator({schema::Op_CONST, schema::Attribute_ConstAttribute, schema::CreateConstAttribute(builder).Union()},
                  {}, names[op->getResult(0)], nodeName);
      return addTensor(op->getResult(0), names[op->getResult(0)], data);
    }
    if (auto shape = dyn_cast<ops::ConstShapeOp>(op)) {
      addShape(shape, nodeName);
      return llvm::Error::success();
    }
    llvm::Expected<OperatorForm> form = toOperatorForm(op, builder);
    if (!form)
      return form.takeError();
    std::vector<std::string> inputs;
    for (mlir::Value operand : op->getOperands())
      inputs.push_back(names.lookup(resolve(operand)));
    const std::string &output = names[op->getResult(0)];
    addOperator(*form, inputs, output, nodeName);
    return addTensor(op->getResult(0), output, 0);
  }

  /// The values of a shape are 64-bit numbers.
  void addShape(ops::ConstShapeOp op, const std::string &nodeName) {
    std::vector<uint8_t> bytes;
    for (const llvm::APInt &value : op.getValues().getValues<llvm::APInt>())
      for (unsigned i = 0; i < 8; ++i)
        bytes.push_back(static_cast<uint8_t>(value.getZExtValue() >> 8 * i));
    builder.ForceVectorAlignment(bytes.size(), 1, dataAlignment);
    DataOffset data = builder.CreateVector(bytes);
    const std::string &name = names[op.getResult()];
    shapes.push_back(schema::CreateTosaShape(builder, builder.CreateSharedString(name),
                                             static_cast<uint32_t>(bytes.size() / 8), data));
    addOperator({schema::Op_CONST_SHAPE, schema::Attribute_ConstShapeAttribute,
                 schema::CreateConstShapeAttribute(builder).Union()},
                {}, name, nodeName);
  }

  llvm::Error addCopy(mlir::Value value, const std::string &output) {
    addOperator({schema::Op_IDENTITY, schema::Attribute_IdentityAttribute,
                 schema::CreateIdentityAttribute(builder).Union()},
                {names[value]}, output, output);
    return addTensor(value, output, 0);
  }

  void finish() {
    auto listNames = [&](size_t count, std::string nameOf(size_t)) {
      std::vector<StringOffset> offsets;
      for (size_t i = 0; i < count; ++i)
        offsets.push_back(builder.CreateSharedString(nameOf(i)));
      return builder.CreateVector(offsets);
    };
    auto inputsOffset = listNames(entry.getNumArguments(), inputTensorName);
    auto outputsOffset = listNames(outputs.size(), outputTensorName);
    auto operatorsOffset = builder.CreateVector(operators);
    auto tensorsOffset = builder.CreateVector(tensors);
    auto shapesOffset = builder.CreateVector(shapes);
    StringOffset name = builder.CreateSharedString("main");
    auto block = schema::CreateTosaBasicBlock(builder, name, operatorsOffset, tensorsOffset, inputsOffset,
                                              outputsOffset, shapesOffset);
    auto region = schema::CreateTosaRegion(builder, name, builder.CreateVector(std::vector{block}));
    auto version = schema::CreateVersion(builder, 1, 0, 0, /*_draft=*/false);
    auto regions = builder.CreateVector(std::vector{region});
    builder.Finish(schema::CreateTosaGraph(builder, version, regions), schema::TosaGraphIdentifier());
  }

  mlir::Block &entry;
  llvm::SmallVector<mlir::Operation *> operations;
  llvm::SmallVector<mlir::Value> outputs;
  /// Outputs that a value with another name is copied to.
  llvm::SmallVector<size_t> copiedOutputs;
  llvm::DenseMap<mlir::Value, std::string> names;
  llvm::StringSet<> used;
  llvm::StringMap<unsigned> suffixes;
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<schema::TosaOperator>> operators;
  std::vector<flatbuffers::Offset<schema::TosaTensor>> tensors;
  std::vector<flatbuffers::Offset<schema::TosaShape>> shapes;
};

} // namespace

static llvm::Expected<flatbuffers::DetachedBuffer> write(mlir::Block &entry, const TosaOptions &options) {
  return GraphWriter(entry).write(options);
}

static llvm::Expected<std::string> writeToMemory(mlir::Block &entry, const TosaOptions &options) {
  llvm::Expected<flatbuffers::DetachedBuffer> buffer = write(entry, options);
  if (!buffer)
    return buffer.takeError();
  return std::string(reinterpret_cast<const char *>(buffer->data()), buffer->size());
}

static llvm::Error writeToStream(mlir::Block &entry, llvm::raw_ostream &os, const TosaOptions &options) {
  llvm::Expected<flatbuffers::DetachedBuffer> buffer = write(entry, options);
  if (!buffer)
    return buffer.takeError();
  os.write(reinterpret_cast<const char *>(buffer->data()), buffer->size());
  return llvm::Error::success();
}

llvm::Expected<std::string> toTosaFlatbuffer(mlir::func::FuncOp function, const TosaOptions &options) {
  return writeToMemory(function.getBody().front(), options);
}
llvm::Expected<std::string> toTosaFlatbuffer(nn::BlockOp block, const TosaOptions &options) {
  return writeToMemory(block.getBody().front(), options);
}
llvm::Error writeTosa(mlir::func::FuncOp function, llvm::raw_ostream &os, const TosaOptions &options) {
  return writeToStream(function.getBody().front(), os, options);
}
llvm::Error writeTosa(nn::BlockOp block, llvm::raw_ostream &os, const TosaOptions &options) {
  return writeToStream(block.getBody().front(), os, options);
}

} // namespace nibble::tosa_export
