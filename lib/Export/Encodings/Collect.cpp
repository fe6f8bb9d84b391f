#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Export/Encodings/Encodings.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/TensorNames.h"
#include "lib/Support/Error.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using nibble::onnx_export::TensorNames;

namespace nibble::encodings {
namespace {

/// Whether every element of the result is an element of the first operand, so that both may share a grid.
bool movesData(Operation *op) {
  return isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp, nn::SplitOp, nn::SliceOp,
             nn::ExpandOp, nn::TileOp, nn::GatherOp, nn::GatherElementsOp, nn::GatherNDOp, nn::DepthToSpaceOp,
             nn::SpaceToDepthOp, nn::IdentityOp, nn::MaxPoolOp, nn::GlobalMaxPoolOp>(op);
}

bool isFloat(Value value) { return isa<FloatType>(getElementTypeOrSelf(value.getType())); }

/// Which quantizer states the grid of a value.
class SymbolMap {
public:
  SymbolMap(func::FuncOp function, const TensorNames &names, std::vector<std::string> *notes)
      : names(names), notes(notes) {
    for (BlockArgument argument : function.getArguments())
      addOwn(argument);
    Block &body = function.getBody().front();
    for (Operation &op : body)
      for (Value result : op.getResults()) {
        addOwn(result);
        if (movesData(&op) && !symbols.contains(result))
          if (FlatSymbolRefAttr symbol = of(op.getOperand(0)))
            symbols[result] = symbol;
      }
    // Rounding and moving commute: what only movements read may be rounded before them.
    for (Operation &op : llvm::reverse(body))
      for (Value result : op.getResults())
        inheritFromReaders(result);
    for (BlockArgument argument : function.getArguments())
      inheritFromReaders(argument);
  }

  /// The quantizer of a value as its readers see it; null where it is float.
  FlatSymbolRefAttr of(Value value) const {
    if (auto quantize = value.getDefiningOp<nn::FakeQuantOp>())
      return quantize.getQuantizerAttr();
    return symbols.lookup(value);
  }

private:
  /// The first quantizer that reads `value` directly.
  void addOwn(Value value) {
    SmallVector<FlatSymbolRefAttr> found;
    SmallVector<nn::FakeQuantOp> readers;
    for (Operation *user : value.getUsers())
      if (auto quantize = dyn_cast<nn::FakeQuantOp>(user))
        readers.push_back(quantize);
    llvm::sort(readers, [](nn::FakeQuantOp a, nn::FakeQuantOp b) { return a->isBeforeInBlock(b); });
    for (nn::FakeQuantOp reader : readers)
      if (!llvm::is_contained(found, reader.getQuantizerAttr()))
        found.push_back(reader.getQuantizerAttr());
    if (found.empty())
      return;
    // A value that a quantizer made already has the grid of that quantizer.
    bool isConvert = isa_and_present<nn::FakeQuantOp>(value.getDefiningOp());
    if (!isConvert)
      symbols[value] = found.front();
    if (notes && (found.size() > 1 || isConvert))
      notes->push_back("tensor '" + names.of(value) + "' is also read through quantizer @" +
                       found.back().getValue().str() + ", which a file of encodings cannot state");
  }

  void inheritFromReaders(Value value) {
    if (symbols.contains(value) || value.use_empty() || value.getDefiningOp<nn::FakeQuantOp>())
      return;
    FlatSymbolRefAttr common;
    for (OpOperand &use : value.getUses()) {
      Operation *reader = use.getOwner();
      if (!movesData(reader) || use.getOperandNumber() != 0)
        return;
      for (Value result : reader->getResults()) {
        FlatSymbolRefAttr symbol = symbols.lookup(result);
        if (!symbol || (common && common != symbol))
          return;
        common = symbol;
      }
    }
    symbols[value] = common;
  }

  const TensorNames &names;
  std::vector<std::string> *notes;
  llvm::DenseMap<Value, FlatSymbolRefAttr> symbols;
};

} // namespace

llvm::Expected<std::vector<TensorEncoding>> collectEncodings(ModuleOp module, std::vector<std::string> *notes) {
  llvm::Expected<OwningOpRef<ModuleOp>> flat = onnx_export::flattenModule(module);
  if (!flat)
    return flat.takeError();
  func::FuncOp function = onnx_export::mainFunction(**flat);
  TensorNames names(function, TensorNames::Form::Float);
  SymbolMap symbols(function, names, notes);
  std::vector<TensorEncoding> entries;
  llvm::StringSet<> seen;
  auto add = [&](Value value, bool isParameter, FlatSymbolRefAttr symbol) -> llvm::Error {
    if (!seen.insert(names.of(value)).second)
      return llvm::Error::success();
    TensorEncoding &entry = entries.emplace_back();
    entry.tensor = names.of(value);
    entry.isParameter = isParameter;
    if (auto type = dyn_cast<RankedTensorType>(value.getType()))
      entry.shape = Shape(type.getShape());
    if (!symbol)
      return llvm::Error::success();
    auto quantizer = (*flat)->lookupSymbol<nn::QuantizerOp>(symbol.getAttr());
    if (!quantizer)
      return makeError(ErrorKind::BadInput,
                       "tensor '" + names.of(value) + "' names quantizer @" + symbol.getValue() + ", which is not there");
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding)
      return encoding.takeError();
    if (!encoding->isCalibrated())
      return makeError(ErrorKind::BadInput,
                       "quantizer @" + symbol.getValue() + " of tensor '" + names.of(value) + "' has no range");
    entry.encoding = std::move(*encoding);
    return llvm::Error::success();
  };

  for (BlockArgument argument : function.getArguments())
    if (isFloat(argument))
      if (llvm::Error error = add(argument, /*isParameter=*/false, symbols.of(argument)))
        return std::move(error);
  for (Operation &op : function.getBody().front().without_terminator()) {
    // The result of a quantizer is the tensor that it reads. A constant of integers has no encoding.
    if (isa<nn::FakeQuantOp>(op))
      continue;
    auto weight = dyn_cast<nn::DequantizeWeightOp>(op);
    for (Value result : op.getResults()) {
      FlatSymbolRefAttr symbol = weight ? weight.getQuantizerAttr() : symbols.of(result);
      if (isFloat(result) && !result.use_empty())
        if (llvm::Error error = add(result, weight || isa<nn::ConstantOp>(op), symbol))
          return std::move(error);
    }
  }
  return entries;
}

} // namespace nibble::encodings
