#include "lib/Runtime/Integer/Matrix.h"
#include "lib/Runtime/Float/Simd.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble::runtime {

bool isMatrixOperation(Operation *op) {
  return isa<tosa::MatMulOp, tosa::Conv2DOp, tosa::Conv3DOp, tosa::TransposeConv2DOp>(op);
}

void *MatrixSink::place(int64_t begin, int64_t elementBytes) const {
  return target && !isChecked ? static_cast<char *>(target->mutableRaw()) + begin * elementBytes : nullptr;
}

void MatrixSink::take(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t leading,
                      const void *sums) const {
  if (program) {
    llvm::SmallVector<const void *, 16> all(inputs);
    all.push_back(sums);
    if (columns == leading) {
      program->run(row * leading, rows * leading, all, outputs);
      return;
    }
    // Programs read 32-bit sums, or 64-bit ones of 16-bit operands.
    int64_t elementBytes = program->partialBytes();
    for (int64_t i = 0; i < rows; ++i) {
      all.back() = static_cast<const char *>(sums) + (i * leading + column) * elementBytes;
      program->run((row + i) * leading + column, columns, all, outputs);
    }
    return;
  }
  if (!isChecked)
    return;
  bool isNarrow = target->elementType() == ElementType::I32;
  int64_t limit = int64_t(1) << (isNarrow ? 31 : 47);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t n = column; n < column + columns; ++n) {
      int64_t sum = static_cast<const int64_t *>(sums)[i * leading + n], at = (row + i) * leading + n;
      if (sum < -limit || sum >= limit)
        overflow = true;
      if (isNarrow)
        target->mutableData<int32_t>()[at] = static_cast<int32_t>(sum);
      else
        target->mutableData<int64_t>()[at] = sum;
    }
}

void multiply(const Product &product, llvm::ArrayRef<PackedRight> right, GatherRows gather, const MatrixSink &sink) {
  const ProductShape &shape = product.shape();
  const Planes &planes = product.leftPlanes();
  int64_t rowTiles = (shape.rows + product.rowTile() - 1) / product.rowTile(), columnTiles = product.columnTileCount();
  // Few rows are shared by columns; else a thread brings its rows into planes once for all columns.
  bool splitsColumns = shape.batch * rowTiles < 4;
  int64_t tasksPerRow = splitsColumns ? columnTiles : 1;
  int64_t sumBytes = product.isWide() ? 8 : 4;
  parallelFor(shape.batch * rowTiles * tasksPerRow, [&](int64_t task) {
    int64_t entry = task / tasksPerRow / rowTiles, row = task / tasksPerRow % rowTiles * product.rowTile();
    int64_t rows = std::min(product.rowTile(), shape.rows - row), firstRow = entry * shape.rows + row;
    int64_t planeBytes = (planes.count * planes.elementBytes * rows * shape.inner + 63) / 64 * 64;
    void *sums = sink.place(firstRow * shape.columns, sumBytes);
    int64_t ownBytes = sums ? 0 : rows * shape.columns * sumBytes;
    char *scratch = static_cast<char *>(threadScratch(1, static_cast<size_t>(planeBytes + ownBytes)));
    if (!sums)
      sums = scratch + planeBytes;
    gather(entry, row, rows, scratch);
    const PackedRight &packed = right[right.size() == 1 ? 0 : static_cast<size_t>(entry)];
    int64_t firstTile = splitsColumns ? task % columnTiles : 0, lastTile = splitsColumns ? firstTile : columnTiles - 1;
    for (int64_t tile = firstTile; tile <= lastTile; ++tile)
      product.compute(rows, tile, scratch, packed, sums);
    int64_t column = firstTile * product.columnTile();
    int64_t columnEnd = std::min(shape.columns, (lastTile + 1) * product.columnTile());
    sink.take(firstRow, rows, column, columnEnd - column, shape.columns, sums);
  });
}

namespace {

int64_t scalarOf(const NodeSpec &spec, unsigned index) { return spec.operands[index].constant.valuesAsInt64()[0]; }

class Matmul : public MatrixOperation {
public:
  Matmul(std::shared_ptr<const Product> product, const Tensor &constant) : product(std::move(product)) {
    if (constant)
      packed = pack(constant);
  }

  llvm::Error run(llvm::ArrayRef<Tensor> operands, const MatrixSink &sink) const override {
    return catchDnnl("matmul", [&] {
      std::vector<PackedRight> now;
      if (packed.empty())
        now = pack(operands[1]);
      const ProductShape &shape = product->shape();
      const Planes &planes = product->leftPlanes();
      const char *left = static_cast<const char *>(operands[0].raw());
      int64_t elementBytes = bitWidth(shape.left) / 8;
      auto gather = [&](int64_t entry, int64_t row, int64_t rows, char *out) {
        int64_t count = rows * shape.inner;
        product->splitLeft(left + (entry * shape.rows + row) * shape.inner * elementBytes, count,
                           {out, out + count * planes.elementBytes});
      };
      multiply(*product, packed.empty() ? llvm::ArrayRef(now) : llvm::ArrayRef(packed), gather, sink);
    });
  }

private:
  std::vector<PackedRight> pack(const Tensor &right) const {
    const ProductShape &shape = product->shape();
    std::vector<PackedRight> result(static_cast<size_t>(shape.batch));
    int64_t bytes = shape.inner * shape.columns * bitWidth(shape.right) / 8;
    parallelFor(shape.batch, [&](int64_t entry) {
      result[static_cast<size_t>(entry)] = product->pack(static_cast<const char *>(right.raw()) + entry * bytes, {});
    });
    return result;
  }
  std::shared_ptr<const Product> product;
  std::vector<PackedRight> packed;
};

} // namespace

llvm::Expected<std::shared_ptr<const MatrixOperation>> makeMatmul(const NodeSpec &spec, bool checked) {
  const OperandSpec &left = spec.operands[0], &right = spec.operands[1];
  bool isKnown = (left.type == ElementType::I8 || left.type == ElementType::I16) && left.type == right.type;
  if (!isKnown || spec.results[0].elementCount() == 0 || left.elementCount() == 0)
    return spec.unsupported("element types " + name(left.type) + " and " + name(right.type) +
                            " have no kernel; int8 and int16 have");
  if (!spec.operands[2].constant || !spec.operands[3].constant)
    return spec.unsupported("zero points must be constants");
  ProductShape shape;
  shape.batch = left.shape[0], shape.rows = left.shape[1], shape.inner = left.shape[2], shape.columns = right.shape[2];
  shape.left = left.type, shape.right = right.type;
  shape.leftZero = scalarOf(spec, 2), shape.rightZero = scalarOf(spec, 3);
  shape.innerStride = shape.columns, shape.columnStride = 1;
  llvm::Expected<std::shared_ptr<const Product>> product = Product::create(shape, checked);
  if (!product)
    return product.takeError();
  std::shared_ptr<const MatrixOperation> operation;
  if (llvm::Error error =
          catchDnnl("matmul", [&] { operation = std::make_shared<Matmul>(*product, right.constant); }))
    return std::move(error);
  return operation;
}

static llvm::Expected<std::shared_ptr<const MatrixOperation>> makeOperation(const NodeSpec &spec, bool checked) {
  return isa<tosa::MatMulOp>(spec.op) ? makeMatmul(spec, checked) : makeConvolution(spec, checked);
}

llvm::Expected<Kernel> makeMatrixKernel(const NodeSpec &spec, bool checked) {
  llvm::Expected<std::shared_ptr<const MatrixOperation>> operation = makeOperation(spec, checked);
  if (!operation)
    return operation.takeError();
  Kernel kernel;
  kernel.run = [operation = *operation, checked](llvm::ArrayRef<Tensor> operands,
                                                 llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    MatrixSink sink(results[0], checked);
    if (llvm::Error error = operation->run(operands, sink))
      return error;
    if (sink.hasOverflow())
      return makeError(ErrorKind::Internal, "a sum leaves the accumulator's range");
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeMatrixGroup(Operation *anchor, llvm::ArrayRef<Operation *> members,
                                       llvm::ArrayRef<Value> values, llvm::ArrayRef<Value> results,
                                       const NodeSpec &spec) {
  NodeSpec matrix;
  matrix.op = anchor;
  matrix.operands.append(spec.operands.begin(), spec.operands.begin() + anchor->getNumOperands());
  auto type = cast<RankedTensorType>(anchor->getResult(0).getType());
  ValueSpec sums{*storageType(type.getElementType()), Shape(type.getShape()), {}};
  matrix.results.push_back(sums);
  llvm::Expected<std::shared_ptr<const MatrixOperation>> operation = makeOperation(matrix, false);
  if (!operation)
    return operation.takeError();
  // The sums are one more input of the members' program.
  NodeSpec chain;
  chain.op = spec.op;
  chain.operands = spec.operands;
  OperandSpec sumsOperand;
  static_cast<ValueSpec &>(sumsOperand) = sums;
  chain.operands.push_back(sumsOperand);
  llvm::SmallVector<Value> inputs(values);
  inputs.push_back(anchor->getResult(0));
  llvm::Expected<TileProgram> program = buildTileProgram(members, inputs, results, chain);
  if (!program)
    return program.takeError();
  program->setPartialInput(static_cast<unsigned>(values.size()));
  Kernel kernel;
  kernel.run = [operation = *operation, program = std::make_shared<const TileProgram>(std::move(*program))](
                   llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> outputs) {
    llvm::SmallVector<const void *, 16> data;
    llvm::SmallVector<void *, 4> targets;
    for (const Tensor &operand : operands)
      data.push_back(operand.raw());
    for (Tensor &output : outputs)
      targets.push_back(output.mutableRaw());
    return operation->run(operands, MatrixSink(*program, data, targets));
  };
  return kernel;
}

} // namespace nibble::runtime
