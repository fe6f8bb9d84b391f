#include "lib/Export/ONNX/GraphBuilder.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/Operators.h"
#include "lib/Support/Error.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace nibble::onnx_export {

static llvm::Error makeNodeError(ErrorKind kind, Operation *op, const llvm::Twine &reason) {
  return makeError(kind, "cannot export node '" + nn::nodeName(op) + "' (" + op->getName().getStringRef() +
                             "): " + reason);
}

static void setType(onnx::ValueInfoProto &info, const std::string &name, Type elementType, Type shapedType) {
  info.set_name(name);
  onnx::TypeProto_Tensor *tensor = info.mutable_type()->mutable_tensor_type();
  if (std::optional<ElementType> storage = nn::toElementType(elementType))
    tensor->set_elem_type(toDataType(*storage));
  auto ranked = dyn_cast<RankedTensorType>(shapedType);
  if (!ranked)
    return;
  onnx::TensorShapeProto *shape = tensor->mutable_shape();
  for (int64_t dimension : ranked.getShape()) {
    onnx::TensorShapeProto_Dimension *out = shape->add_dim();
    if (!ShapedType::isDynamic(dimension))
      out->set_dim_value(dimension);
  }
}

/// Names the dimensions that are not numbers; `symbols` may be absent.
static void setSymbols(onnx::ValueInfoProto &info, ArrayAttr symbols) {
  onnx::TensorShapeProto *shape = info.mutable_type()->mutable_tensor_type()->mutable_shape();
  for (int i = 0; symbols && i < shape->dim_size() && i < static_cast<int>(symbols.size()); ++i) {
    auto name = dyn_cast<StringAttr>(symbols[i]);
    if (name && !name.getValue().empty() && !shape->dim(i).has_dim_value())
      shape->mutable_dim(i)->set_dim_param(name.str());
  }
}

/// The shape of the scales of a tensor of `shape`.
static Shape scaleShape(const quant::Encoding &encoding, llvm::ArrayRef<int64_t> shape) {
  if (!encoding.axis)
    return {};
  if (!encoding.blockSize)
    return {shape[*encoding.axis]};
  Shape blocks(shape);
  blocks[*encoding.axis] = llvm::divideCeil(shape[*encoding.axis], *encoding.blockSize);
  return blocks;
}

Tensor makeZeroPoints(ElementType storage, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int32_t> zeroPoints) {
  Tensor tensor = Tensor::allocate(storage, shape);
  auto *out = static_cast<uint8_t *>(tensor.mutableRaw());
  std::fill_n(out, tensor.byteSize(), 0);
  unsigned bits = bitWidth(storage);
  // Two's complement, little-endian: the low bits of the value are the element.
  for (auto [index, value] : llvm::enumerate(zeroPoints)) {
    if (bits == 4)
      out[index / 2] |= static_cast<uint8_t>((value & 15) << (index % 2 * 4));
    else
      std::memcpy(out + index * (bits / 8), &value, bits / 8);
  }
  return tensor;
}

GraphBuilder::GraphBuilder(ModuleOp flat, ModelWriter &writer, const GraphOptions &options)
    : module(flat), function(mainFunction(flat)), writer(writer), options(options),
      names(function, options.form == GraphOptions::Form::Float ? TensorNames::Form::Float
                                                                : TensorNames::Form::Quantized) {}

onnx::NodeProto &GraphBuilder::addNode(llvm::StringRef name, llvm::StringRef type, llvm::ArrayRef<std::string> inputs,
                                       const std::string &output) {
  onnx::NodeProto *node = writer.graph().add_node();
  std::string unique = name.str();
  for (unsigned number = 1; !nodeNames.insert(unique).second; ++number)
    unique = (name + "_" + llvm::Twine(number)).str();
  node->set_name(unique);
  node->set_op_type(type.str());
  for (const std::string &input : inputs)
    node->add_input(input);
  if (!output.empty())
    node->add_output(output);
  return *node;
}

void GraphBuilder::addValueInfo(const std::string &name, Type elementType, Type shapedType) {
  if (!llvm::is_contained(names.outputs(), name))
    setType(*writer.graph().add_value_info(), name, elementType, shapedType);
}

llvm::Expected<quant::Encoding> GraphBuilder::encodingOf(Operation *op, FlatSymbolRefAttr symbol,
                                                         nn::QuantizerOp &quantizer) {
  quantizer = module.lookupSymbol<nn::QuantizerOp>(symbol.getAttr());
  if (!quantizer)
    return makeNodeError(ErrorKind::BadInput, op, "there is no quantizer @" + symbol.getValue());
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding)
    return encoding.takeError();
  if (!encoding->isCalibrated())
    return makeNodeError(ErrorKind::BadInput, op, "quantizer @" + symbol.getValue() + " has no range");
  if (encoding->kind == quant::EncodingKind::Palette)
    return makeNodeError(ErrorKind::Unsupported, op,
                         "quantizer @" + symbol.getValue() + " is a palette, which ONNX has no form for");
  if (!getElementTypeOrSelf(op->getResult(0)).isF32())
    return makeNodeError(ErrorKind::Unsupported, op, "quantized values must be float32");
  auto type = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  if (!encoding->axis)
    return encoding;
  int64_t axis = *encoding->axis, channelAxis = encoding->channelAxis.value_or(0);
  if (!type || !type.hasStaticShape())
    return makeNodeError(ErrorKind::Unsupported, op, "a tensor with several scales must have a static shape");
  if (axis < 0 || axis >= type.getRank() || channelAxis < 0 || channelAxis >= type.getRank())
    return makeNodeError(ErrorKind::BadInput, op, "quantizer @" + symbol.getValue() + " has an axis outside rank " +
                                                      llvm::Twine(type.getRank()));
  bool isLPBQ = encoding->kind == quant::EncodingKind::LPBQ;
  int64_t wanted = elementCount(scaleShape(*encoding, type.getShape()));
  int64_t found = static_cast<int64_t>(isLPBQ ? encoding->blockMultipliers.size() : encoding->scales.size());
  if (wanted != found || (isLPBQ && static_cast<int64_t>(encoding->scales.size()) != type.getDimSize(channelAxis)))
    return makeNodeError(ErrorKind::BadInput, op,
                         "quantizer @" + symbol.getValue() + " has " + llvm::Twine(found) +
                             " scales, but its tensor needs " + llvm::Twine(wanted));
  return encoding;
}

void GraphBuilder::addFromEncoding(std::string name, ElementType type, Shape shape, nn::QuantizerOp quantizer,
                                   std::function<llvm::Expected<Tensor>(const quant::Encoding &)> make) {
  writer.addInitializer({std::move(name), type, std::move(shape),
                         [quantizer, make = std::move(make)]() -> llvm::Expected<Tensor> {
                           llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
                           if (!encoding)
                             return encoding.takeError();
                           return make(*encoding);
                         }});
}

llvm::Expected<GraphBuilder::ScaleNames> GraphBuilder::buildScales(nn::QuantizerOp quantizer,
                                                                   const quant::Encoding &encoding,
                                                                   llvm::ArrayRef<int64_t> shape) {
  ScaleNames &scales = scalesOfQuantizer[quantizer.getSymName()];
  if (!scales.scale.empty())
    return scales;
  Shape blockShape = scaleShape(encoding, shape);
  std::string prefix = quantizer.getSymName().str();
  scales.scale = names.makeUnique(prefix + "/scale");
  scales.zeroPoint = names.makeUnique(prefix + "/zero_point");
  addFromEncoding(scales.zeroPoint, encoding.storage, blockShape, quantizer, [blockShape](const quant::Encoding &e) {
    return makeZeroPoints(e.storage, blockShape, e.zeroPoints);
  });
  if (encoding.kind != quant::EncodingKind::LPBQ) {
    addFromEncoding(scales.scale, ElementType::F32, blockShape, quantizer, [blockShape](const quant::Encoding &e) {
      return Tensor::fromValues<float>(blockShape, e.scales);
    });
    return scales;
  }
  // Two levels: block scales are 8-bit integers, dequantized with one float scale per channel.
  Shape channelShape = {shape[*encoding.channelAxis]};
  std::string multipliers = names.makeUnique(prefix + "/block_multipliers");
  ScaleNames channel = {names.makeUnique(prefix + "/channel_scale"), names.makeUnique(prefix + "/channel_zero_point")};
  addFromEncoding(multipliers, ElementType::U8, blockShape, quantizer, [blockShape](const quant::Encoding &e) {
    return Tensor::fromValues<uint8_t>(blockShape, e.blockMultipliers);
  });
  addFromEncoding(channel.scale, ElementType::F32, channelShape, quantizer, [channelShape](const quant::Encoding &e) {
    return Tensor::fromValues<float>(channelShape, e.scales);
  });
  writer.addInitializer(channel.zeroPoint, makeZeroPoints(ElementType::U8, channelShape, {}));
  quant::Encoding perChannel;
  perChannel.axis = encoding.channelAxis;
  addScaleNode(/*quantizes=*/false, multipliers, channel, perChannel, scales.scale);
  Type f32 = Float32Type::get(module.getContext());
  addValueInfo(scales.scale, f32, RankedTensorType::get(blockShape, f32));
  return scales;
}

onnx::NodeProto &GraphBuilder::addScaleNode(bool quantizes, const std::string &input, const ScaleNames &scales,
                                            const quant::Encoding &encoding, const std::string &output) {
  llvm::StringRef type = quantizes ? "QuantizeLinear" : "DequantizeLinear";
  onnx::NodeProto &node = addNode(output + "/" + type.str(), type, {input, scales.scale, scales.zeroPoint}, output);
  if (encoding.axis)
    addAttribute(node, "axis", *encoding.axis);
  if (encoding.blockSize)
    addAttribute(node, "block_size", *encoding.blockSize);
  return node;
}

//===----------------------------------------------------------------------===//
// Inputs and outputs
//===----------------------------------------------------------------------===//

static llvm::Error appendIO(nn::QuantizerOp quantizer, const std::string &name, bool isInput, Type type,
                            std::vector<IntegerIO> *io) {
  if (!io)
    return llvm::Error::success();
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding)
    return encoding.takeError();
  IntegerIO entry;
  entry.name = name;
  entry.isInput = isInput;
  entry.storage = encoding->storage;
  entry.scale = encoding->scales.front();
  entry.zeroPoint = encoding->zeroPoints.empty() ? 0 : encoding->zeroPoints.front();
  entry.shape = Shape(cast<RankedTensorType>(type).getShape());
  io->push_back(std::move(entry));
  return llvm::Error::success();
}

/// Whether an integer of the whole storage type may stand at the graph's edge for a value of `encoding`.
static bool isEdgeEncoding(const quant::Encoding &encoding) {
  return !encoding.axis && encoding.kind == quant::EncodingKind::Uniform &&
         std::pair(encoding.quantMin, encoding.quantMax) == quant::integerRange(encoding.storage);
}

llvm::Error GraphBuilder::buildInputs(std::vector<IntegerIO> *io) {
  for (BlockArgument argument : function.getArguments()) {
    Type type = argument.getType(), elementType = getElementTypeOrSelf(type);
    if (!nn::toElementType(elementType))
      return makeError(ErrorKind::Unsupported, "input '" + names.of(argument) + "' has a type that ONNX does not have");
    // Every reader must see the quantized value; a reader of the float value would see a rounded one.
    FlatSymbolRefAttr symbol;
    bool isInteger = options.integerIO && isa<RankedTensorType>(type) && !argument.use_empty();
    for (Operation *user : argument.getUsers()) {
      auto quantize = dyn_cast<nn::FakeQuantOp>(user);
      isInteger &= quantize && (!symbol || symbol == quantize.getQuantizerAttr());
      if (quantize)
        symbol = quantize.getQuantizerAttr();
    }
    if (isInteger) {
      nn::QuantizerOp quantizer;
      llvm::Expected<quant::Encoding> encoding = encodingOf(*argument.getUsers().begin(), symbol, quantizer);
      if (!encoding)
        return encoding.takeError();
      if (isEdgeEncoding(*encoding)) {
        integerValues[argument] = {quantizer, names.of(argument)};
        elementType = quantizer.getStorage();
        if (llvm::Error error = appendIO(quantizer, names.of(argument), /*isInput=*/true, type, io))
          return error;
      }
    }
    onnx::ValueInfoProto *input = writer.graph().add_input();
    setType(*input, names.of(argument), elementType, type);
    setSymbols(*input, function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), nn::symbolsAttribute));
  }
  return llvm::Error::success();
}

llvm::Error GraphBuilder::addIntegerCopy(nn::FakeQuantOp op, const std::string &from, const std::string &to) {
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(op, op.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  llvm::Expected<ScaleNames> scales =
      buildScales(quantizer, *encoding, cast<RankedTensorType>(op.getType()).getShape());
  if (!scales)
    return scales.takeError();
  std::string real = names.makeUnique(to + "/real");
  addScaleNode(/*quantizes=*/false, from, *scales, *encoding, real);
  addValueInfo(real, getElementTypeOrSelf(op.getType()), op.getType());
  addScaleNode(/*quantizes=*/true, real, *scales, *encoding, to);
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildOutputs(std::vector<IntegerIO> *io) {
  Operation *terminator = function.getBody().front().getTerminator();
  if (llvm::Error error = buildConstantOperands(terminator))
    return error;
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    const std::string &name = names.outputs()[index];
    Value source = options.form == GraphOptions::Form::Float ? skipFakeQuants(value) : value;
    Type elementType = getElementTypeOrSelf(value.getType());
    std::string sourceName = names.of(source);
    if (auto integer = integerValues.find(source); integer != integerValues.end()) {
      elementType = integer->second.quantizer.getStorage();
      sourceName = integer->second.name;
      if (llvm::Error error = appendIO(integer->second.quantizer, name, /*isInput=*/false, value.getType(), io))
        return error;
    }
    if (!names.ownsOutput(index)) {
      auto rounded = source.getDefiningOp<nn::FakeQuantOp>();
      if (!rounded || !integerValues.contains(source))
        addNode(name + "/Identity", "Identity", {sourceName}, name);
      else if (llvm::Error error = addIntegerCopy(rounded, sourceName, name))
        return error;
    }
    setType(*writer.graph().add_output(), name, elementType, value.getType());
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

llvm::Expected<std::string> GraphBuilder::buildRangeLimit(nn::FakeQuantOp op, const quant::Encoding &encoding) {
  std::string input = names.of(op.getInput());
  if (std::pair(encoding.quantMin, encoding.quantMax) == quant::integerRange(encoding.storage))
    return input;
  if (encoding.axis)
    return makeNodeError(ErrorKind::Unsupported, op,
                         "a range narrower than the storage type needs one scale per tensor");
  int64_t zeroPoint = encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints.front();
  std::string low = names.makeUnique(input + "/minimum"), high = names.makeUnique(input + "/maximum");
  float scale = encoding.scales.front();
  writer.addInitializer(low, Tensor::fromValues<float>({}, {scale * float(encoding.quantMin - zeroPoint)}));
  writer.addInitializer(high, Tensor::fromValues<float>({}, {scale * float(encoding.quantMax - zeroPoint)}));
  std::string clipped = names.makeUnique(input + "/clipped");
  addNode(clipped, "Clip", {input, low, high}, clipped);
  addValueInfo(clipped, getElementTypeOrSelf(op.getType()), op.getType());
  return clipped;
}

llvm::Error GraphBuilder::buildFakeQuant(nn::FakeQuantOp op) {
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(op, op.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  if (encoding->kind != quant::EncodingKind::Uniform)
    return makeNodeError(ErrorKind::Unsupported, op, "an activation must have a uniform quantizer");
  auto type = dyn_cast<RankedTensorType>(op.getType());
  llvm::Expected<ScaleNames> scales =
      buildScales(quantizer, *encoding, type ? type.getShape() : llvm::ArrayRef<int64_t>());
  if (!scales)
    return scales.takeError();
  // A returned value crosses the edge as integers where outputs are integers; who else reads it, dequantizes.
  auto returns = [](Operation *user) { return isa<func::ReturnOp>(user); };
  bool isIntegerOutput = options.integerIO && isEdgeEncoding(*encoding) && llvm::any_of(op->getUsers(), returns);
  std::string real = names.of(op.getResult()), stored;
  if (isIntegerOutput) {
    stored = real;
    real = names.makeUnique(real + "/dq");
    integerValues[op.getResult()] = {quantizer, stored};
    names.set(op.getResult(), real);
  } else {
    stored = names.makeUnique(names.of(op.getInput()) + "/q");
  }
  if (auto integer = integerValues.find(op.getInput()); integer == integerValues.end() ||
                                                        integer->second.quantizer != quantizer) {
    llvm::Expected<std::string> input = buildRangeLimit(op, *encoding);
    if (!input)
      return input.takeError();
    addScaleNode(/*quantizes=*/true, *input, *scales, *encoding, stored);
    addValueInfo(stored, quantizer.getStorage(), op.getType());
  } else if (isIntegerOutput) {
    if (llvm::Error error = addIntegerCopy(op, integer->second.name, stored))
      return error;
  } else {
    stored = integer->second.name;
  }
  if (isIntegerOutput && llvm::all_of(op->getUsers(), returns))
    return llvm::Error::success();
  addScaleNode(/*quantizes=*/false, stored, *scales, *encoding, real);
  addValueInfo(real, getElementTypeOrSelf(op.getType()), op.getType());
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildDequantizeWeight(nn::DequantizeWeightOp op) {
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(op, op.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  auto type = cast<RankedTensorType>(op.getType());
  if (getElementTypeOrSelf(op.getInput().getType()) != quantizer.getStorage())
    return makeNodeError(ErrorKind::BadInput, op, "the stored integers have another type than quantizer @" +
                                                      quantizer.getSymName());
  if (llvm::Error error = buildConstantOperands(op))
    return error;
  llvm::Expected<ScaleNames> scales = buildScales(quantizer, *encoding, type.getShape());
  if (!scales)
    return scales.takeError();
  std::string stored = names.of(op.getInput());
  // Qualcomm's compiler keeps one encoding for a stored tensor and gives it to every reader, so equal
  // integers with different scales must not share one.
  auto [owner, isFirst] = quantizerOfStored.try_emplace(stored, quantizer.getSymName().str());
  if (!isFirst && owner->second != quantizer.getSymName()) {
    auto constant = op.getInput().getDefiningOp<nn::ConstantOp>();
    if (!constant)
      return makeNodeError(ErrorKind::Unsupported, op, "its input must be a constant");
    stored = names.makeUnique(names.of(op.getResult()) + "/stored");
    writer.addInitializer({stored, encoding->storage, Shape(type.getShape()),
                           [constant]() mutable { return nn::readConstant(constant.getResult()); }});
  }
  addScaleNode(/*quantizes=*/false, stored, *scales, *encoding, names.of(op.getResult()));
  addValueInfo(names.of(op.getResult()), type.getElementType(), type);
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildFloatWeight(nn::DequantizeWeightOp op) {
  nn::QuantizerOp quantizer;
  llvm::Expected<quant::Encoding> encoding = encodingOf(op, op.getQuantizerAttr(), quantizer);
  if (!encoding)
    return encoding.takeError();
  auto constant = op.getInput().getDefiningOp<nn::ConstantOp>();
  if (!constant)
    return makeNodeError(ErrorKind::Unsupported, op, "its input must be a constant");
  Shape shape(cast<RankedTensorType>(op.getType()).getShape());
  addFromEncoding(names.of(op.getResult()), ElementType::F32, shape, quantizer,
                  [constant](const quant::Encoding &e) mutable -> llvm::Expected<Tensor> {
                    llvm::Expected<Tensor> stored = nn::readConstant(constant.getResult());
                    if (!stored)
                      return stored.takeError();
                    return quant::dequantize(*stored, e);
                  });
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildConstant(Operation *reader, Value value) {
  Operation *producer = value.getDefiningOp();
  if (!isa_and_present<nn::ConstantOp, nn::DequantizeWeightOp>(producer) ||
      !emittedTensors.insert(names.of(value)).second)
    return llvm::Error::success();
  if (auto weight = dyn_cast<nn::DequantizeWeightOp>(producer))
    return options.form == GraphOptions::Form::Float ? buildFloatWeight(weight) : buildDequantizeWeight(weight);
  auto constant = cast<nn::ConstantOp>(producer);
  auto type = cast<RankedTensorType>(constant.getType());
  std::optional<ElementType> elementType = nn::toElementType(type.getElementType());
  if (!elementType)
    return makeNodeError(ErrorKind::Unsupported, reader, "its constant has a type that ONNX does not have");
  writer.addInitializer({names.of(value), *elementType, Shape(type.getShape()),
                         [constant]() mutable { return nn::readConstant(constant.getResult()); }});
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildConstantOperands(Operation *op) {
  for (Value operand : op->getOperands())
    if (llvm::Error error = buildConstant(op, operand))
      return error;
  return llvm::Error::success();
}

llvm::Error GraphBuilder::buildOperation(Operation *op, std::vector<std::string> *notes) {
  // Constants and weights are emitted before their first reader.
  if (isa<nn::ConstantOp, nn::DequantizeWeightOp>(op))
    return llvm::Error::success();
  if (auto quantize = dyn_cast<nn::FakeQuantOp>(op)) {
    if (options.form == GraphOptions::Form::Float)
      return llvm::Error::success();
    if (llvm::Error error = buildConstantOperands(op))
      return error;
    return buildFakeQuant(quantize);
  }
  if (options.form == GraphOptions::Form::MatMulNBits) {
    llvm::Expected<bool> done = buildWithPackedWeight(op, notes);
    if (!done)
      return done.takeError();
    if (*done)
      return llvm::Error::success();
  }
  if (llvm::Error error = buildConstantOperands(op))
    return error;
  onnx::NodeProto &node = addNode(nn::nodeName(op), "", {}, "");
  if (llvm::Error error = fillNode(op, [&](Value value) { return names.of(value); }, node))
    return error;
  if (node.domain() == "com.microsoft")
    writer.requireMicrosoftOperators();
  for (Value result : op->getResults()) {
    node.add_output(names.of(result));
    addValueInfo(names.of(result), getElementTypeOrSelf(result.getType()), result.getType());
  }
  return llvm::Error::success();
}

llvm::Error GraphBuilder::build(std::vector<IntegerIO> *io, std::vector<std::string> *notes) {
  writer.graph().set_name(module.getName() ? module.getName()->str() : "main");
  if (llvm::Error error = buildInputs(io))
    return error;
  for (Operation &op : function.getBody().front().without_terminator())
    if (llvm::Error error = buildOperation(&op, notes))
      return error;
  return buildOutputs(io);
}

} // namespace nibble::onnx_export
