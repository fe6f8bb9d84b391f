#include "lib/Quant/Rotation.h"
#include "lib/Support/Parallel.h"

#include <cmath>
#include <random>

namespace nibble::quant {
namespace {

constexpr int64_t smallestBlock = 16;

/// Uniform in (0, 1]; the library's distributions differ between implementations.
double uniform(std::mt19937_64 &generator) { return static_cast<double>((generator() >> 11) + 1) * 0x1p-53; }

/// Box-Muller.
double normal(std::mt19937_64 &generator) {
  double radius = std::sqrt(-2 * std::log(uniform(generator)));
  return radius * std::cos(2 * 3.14159265358979323846 * uniform(generator));
}

double dot(const double *a, const double *b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Gram-Schmidt on rows of normal numbers; twice, as once leaves an error in proportion to the condition number.
std::vector<double> makeOrthogonal(int64_t size, std::mt19937_64 &generator) {
  std::vector<double> matrix(static_cast<size_t>(size * size));
  for (double &value : matrix)
    value = normal(generator);
  for (int64_t row = 0; row < size; ++row) {
    double *current = matrix.data() + row * size;
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t other = 0; other < row; ++other) {
        const double *earlier = matrix.data() + other * size;
        double projection = dot(current, earlier, size);
        for (int64_t i = 0; i < size; ++i)
          current[i] -= projection * earlier[i];
      }
    double length = std::sqrt(dot(current, current, size));
    for (int64_t i = 0; i < size; ++i)
      current[i] /= length;
  }
  return matrix;
}

/// The unnormalized Walsh-Hadamard transform, in place; `count` is a power of two.
void transform(double *values, int64_t count) {
  for (int64_t width = 1; width < count; width *= 2)
    for (int64_t begin = 0; begin < count; begin += 2 * width)
      for (int64_t i = begin; i < begin + width; ++i) {
        double a = values[i], b = values[i + width];
        values[i] = a + b;
        values[i + width] = a - b;
      }
}

} // namespace

Rotation::Rotation(int64_t size, RotationKind kind, uint64_t seed) : rows(size), block(size & -size) {
  std::mt19937_64 generator(seed);
  if (kind == RotationKind::Orthogonal || (block < smallestBlock && block != size)) {
    block = size;
    matrix = makeOrthogonal(size, generator);
    return;
  }
  for (int64_t i = 0; i < size; ++i)
    signs.push_back(generator() >> 63 ? -1.0 : 1.0);
}

void Rotation::apply(double *vector) const {
  if (matrix.empty()) {
    double factor = 1 / std::sqrt(static_cast<double>(block));
    for (int64_t i = 0; i < rows; ++i)
      vector[i] *= signs[static_cast<size_t>(i)] * factor;
    for (int64_t begin = 0; begin < rows; begin += block)
      transform(vector + begin, block);
    return;
  }
  std::vector<double> product(static_cast<size_t>(rows), 0.0);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < rows; ++column)
      product[static_cast<size_t>(column)] += vector[row] * matrix[static_cast<size_t>(row * rows + column)];
  std::copy(product.begin(), product.end(), vector);
}

void rotateRuns(Tensor &tensor, int64_t axis, llvm::ArrayRef<int64_t> starts, const Rotation &rotation) {
  llvm::ArrayRef<int64_t> shape = tensor.shape();
  int64_t outer = elementCount(shape.take_front(static_cast<size_t>(axis))),
          inner = elementCount(shape.drop_front(static_cast<size_t>(axis) + 1)), extent = shape[static_cast<size_t>(axis)];
  float *data = tensor.mutableData<float>();
  // Neighbouring lines share cache lines.
  constexpr int64_t linesPerTile = 16;
  int64_t tilesPerRow = (inner + linesPerTile - 1) / linesPerTile;
  parallelFor(outer * tilesPerRow, [&](int64_t tile) {
    std::vector<double> run(static_cast<size_t>(rotation.size()));
    int64_t first = tile % tilesPerRow * linesPerTile, last = std::min(inner, first + linesPerTile);
    for (int64_t line = first; line < last; ++line)
      for (int64_t start : starts) {
        float *begin = data + (tile / tilesPerRow * extent + start) * inner + line;
        for (int64_t i = 0; i < rotation.size(); ++i)
          run[static_cast<size_t>(i)] = begin[i * inner];
        rotation.apply(run.data());
        for (int64_t i = 0; i < rotation.size(); ++i)
          begin[i * inner] = static_cast<float>(run[static_cast<size_t>(i)]);
      }
  });
}

} // namespace nibble::quant
