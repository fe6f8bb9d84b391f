//===- Einsum.cpp - sums of products over named dimensions ------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Movement.h"
#include "lib/Runtime/Float/Simd.h"

#include "llvm/ADT/StringExtras.h"
#include <map>

namespace nibble::runtime {
namespace {

/// The label of every dimension of every term. Dimensions under "..." get the labels '0', '1', ... from the right.
struct Equation {
  llvm::SmallVector<std::string> terms;
  std::string output;
  std::map<char, int64_t> sizes;
};

std::string expandEllipsis(llvm::StringRef term, size_t count) {
  std::string labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.substr(i).starts_with("...")) {
      for (size_t k = count; k-- > 0;)
        labels += static_cast<char>('0' + k);
      i += 2;
    } else if (term[i] != ' ') {
      labels += term[i];
    }
  }
  return labels;
}

llvm::Expected<Equation> parseEquation(const NodeSpec &spec, llvm::StringRef text) {
  Equation equation;
  auto [left, right] = text.split("->");
  llvm::SmallVector<llvm::StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != spec.operands.size())
    return spec.unsupported("equation '" + text + "' has " + llvm::Twine(terms.size()) + " terms for " +
                            llvm::Twine(spec.operands.size()) + " operands");
  size_t ellipsisRank = 0;
  for (auto [term, operand] : llvm::zip_equal(terms, spec.operands)) {
    size_t letters = expandEllipsis(term, 0).size();
    bool hasEllipsis = term.contains("...");
    if (hasEllipsis ? operand.shape.size() < letters : operand.shape.size() != letters)
      return spec.unsupported("term '" + term + "' does not fit an operand of rank " + llvm::Twine(operand.rank()));
    if (hasEllipsis)
      ellipsisRank = std::max(ellipsisRank, operand.shape.size() - letters);
    equation.terms.push_back(expandEllipsis(term, operand.shape.size() - letters));
  }
  if (ellipsisRank > 9)
    return spec.unsupported("'...' stands for more than 9 dimensions");
  std::map<char, int> uses;
  for (auto [labels, operand] : llvm::zip_equal(equation.terms, spec.operands))
    for (auto [label, size] : llvm::zip_equal(labels, operand.shape)) {
      ++uses[label];
      int64_t &known = equation.sizes.try_emplace(label, size).first->second;
      if (known == 1)
        known = size;
      else if (size != 1 && size != known)
        return spec.unsupported("label '" + llvm::Twine(label) + "' has sizes " + llvm::Twine(known) + " and " +
                                llvm::Twine(size));
    }
  if (text.contains("->")) {
    equation.output = expandEllipsis(right, ellipsisRank);
  } else {
    // Without an output term: the dimensions under "...", then labels that occur once, in alphabetical order.
    equation.output = expandEllipsis("...", ellipsisRank);
    for (auto [label, count] : uses)
      if (!llvm::isDigit(label) && count == 1)
        equation.output += label;
  }
  for (char label : equation.output)
    if (!equation.sizes.count(label))
      return spec.unsupported("output label '" + llvm::Twine(label) + "' is in no operand");
  return equation;
}

/// Strides of `shape`, whose dimensions have `labels`, along each of `order`; repeated labels add up
/// (a diagonal), missing and broadcast ones are 0.
Shape stridesAlong(llvm::StringRef labels, llvm::ArrayRef<int64_t> shape, llvm::StringRef order) {
  Shape own = rowMajorStrides(shape), strides(order.size(), 0);
  for (size_t i = 0; i < order.size(); ++i)
    for (size_t d = 0; d < labels.size(); ++d)
      if (labels[d] == order[i] && shape[d] != 1)
        strides[i] += own[d];
  return strides;
}

/// Two operands as a batched matrix product: [batch, rows, inner] * [batch, inner, columns], operands
/// copied into that order.
llvm::Expected<Kernel> makeProduct(const NodeSpec &spec, const Equation &equation) {
  std::string batch, rows, columns, inner;
  llvm::StringRef a = equation.terms[0], b = equation.terms[1], output = equation.output;
  for (auto [label, size] : equation.sizes) {
    bool inA = a.contains(label), inB = b.contains(label), inOutput = output.contains(label);
    (!inOutput ? inner : inA && inB ? batch : inA ? rows : columns) += label;
  }
  auto sizesOf = [&](llvm::StringRef labels) {
    Shape shape;
    for (char label : labels)
      shape.push_back(equation.sizes.at(label));
    return shape;
  };
  std::string orderA = batch + rows + inner, orderB = batch + inner + columns, orderC = batch + rows + columns;
  Shape shapeA = sizesOf(orderA), shapeB = sizesOf(orderB), shapeC = sizesOf(orderC), shapeOut = sizesOf(output);
  StridedCopy copyA(shapeA, stridesAlong(a, spec.operands[0].shape, orderA), 0);
  StridedCopy copyB(shapeB, stridesAlong(b, spec.operands[1].shape, orderB), 0);
  StridedCopy copyOut(shapeOut, stridesAlong(orderC, shapeC, output), 0);
  int64_t batches = elementCount(sizesOf(batch)), m = elementCount(sizesOf(rows)), n = elementCount(sizesOf(columns));
  int64_t k = elementCount(sizesOf(inner));
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    Tensor left = Tensor::allocate(ElementType::F32, shapeA), right = Tensor::allocate(ElementType::F32, shapeB);
    Tensor product = Tensor::allocate(ElementType::F32, shapeC);
    copyA.run(operands[0], left);
    copyB.run(operands[1], right);
    const float *x = left.data<float>(), *y = right.data<float>();
    float *z = product.mutableData<float>();
    if (batches * m * n > 0 && k == 0)
      std::fill_n(z, batches * m * n, 0.0f);
    parallelFor(m * n * k > 0 ? batches : 0, [&](int64_t entry) {
      multiplyMatrices(false, false, m, n, k, 1, x + entry * m * k, k, y + entry * k * n, n, 0, z + entry * m * n, n);
    });
    copyOut.run(product, results[0]);
    return llvm::Error::success();
  };
  return kernel;
}

/// Any number of operands and numeric type, element by element.
template <class T>
Kernel makeGeneral(const NodeSpec &spec, const Equation &equation) {
  std::string order = equation.output;
  for (auto [label, size] : equation.sizes)
    if (!llvm::StringRef(order).contains(label))
      order += label;
  Shape sizes;
  for (char label : order)
    sizes.push_back(equation.sizes.at(label));
  llvm::SmallVector<Shape> strides;
  for (auto [labels, operand] : llvm::zip_equal(equation.terms, spec.operands))
    strides.push_back(stridesAlong(labels, operand.shape, order));
  int64_t kept = static_cast<int64_t>(equation.output.size());
  int64_t reduced = dimensionProduct(sizes, kept, static_cast<int64_t>(sizes.size()));
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    T *out = results[0].mutableData<T>();
    parallelRanges(results[0].elementCount(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        using W = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
        W sum = 0;
        for (int64_t r = 0; r < reduced; ++r) {
          W product = 1;
          for (size_t k = 0; k < operands.size(); ++k) {
            int64_t rest = index * reduced + r, offset = 0;
            for (size_t d = sizes.size(); d-- > 0;) {
              offset += rest % sizes[d] * strides[k][d];
              rest /= sizes[d];
            }
            product *= static_cast<W>(operands[k].data<T>()[offset]);
          }
          sum += product;
        }
        out[index] = static_cast<T>(sum);
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeEinsum(const NodeSpec &spec) {
  llvm::Expected<Equation> equation = parseEquation(spec, llvm::cast<nn::EinsumOp>(spec.op).getEquation());
  if (!equation)
    return equation.takeError();
  if (spec.operands.size() == 2 && spec.results[0].type == ElementType::F32)
    return makeProduct(spec, *equation);
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.results[0].type, [&](auto tag) {
        kernel = makeGeneral<decltype(tag)>(spec, *equation);
      }))
    return std::move(error);
  return kernel;
}

} // namespace

void registerEinsumKernels(KernelRegistry &registry) { registry["nn.einsum"] = makeEinsum; }

} // namespace nibble::runtime
