//===- RandomDataset.cpp - samples for a first look ------------------------===//
#include "calib/Datasets/RandomDataset.h"
#include "calib/Datasets/Layout.h"

namespace nibble::calib {
namespace {

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). The
/// distributions of <random> differ between libraries, so they are not used.
class Generator {
public:
  explicit Generator(uint64_t seed) : state(seed) {}
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// The sum of twelve uniform values less six: mean 0, variance 1, and exact on every machine.
  float normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i)
      sum += uniform();
    return static_cast<float>(sum);
  }

private:
  uint64_t state;
};

template <typename T> void fillBits(Tensor &tensor, Generator &generator) {
  for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
    tensor.mutableData<T>()[i] = static_cast<T>(generator.next() & 1);
}

class RandomDataset : public Dataset {
public:
  RandomDataset(int64_t count, uint64_t seed, std::vector<InputSpec> inputs)
      : count(count), seed(seed), inputs(std::move(inputs)) {}

  int64_t size() const override { return count; }
  std::string sampleName(int64_t index) const override { return "random sample " + std::to_string(index); }
  Dimensions otherDimensions(int64_t) const override { return {}; }
  bool isRandom() const override { return true; }
  std::vector<std::string> files() const override { return {}; }

  llvm::Expected<std::vector<Tensor>> sample(int64_t index) override {
    Generator generator(seed * 0x2545f4914f6cdd1d + static_cast<uint64_t>(index));
    std::vector<Tensor> result;
    for (const InputSpec &input : inputs) {
      if (Completion completion = completionOf(input); completion == Completion::AttentionMask ||
                                                       completion == Completion::PositionIds) {
        result.push_back(makeCompletion(completion, input.elementType, input.shape));
        continue;
      }
      Tensor tensor = Tensor::allocate(input.elementType, input.shape);
      switch (input.elementType) {
      case ElementType::F32:
        for (int64_t i = 0; i < tensor.elementCount(); ++i)
          tensor.mutableData<float>()[i] = generator.normal();
        break;
      case ElementType::I64: fillBits<int64_t>(tensor, generator); break;
      case ElementType::I32: fillBits<int32_t>(tensor, generator); break;
      case ElementType::U8: fillBits<uint8_t>(tensor, generator); break;
      case ElementType::I8: fillBits<int8_t>(tensor, generator); break;
      case ElementType::Bool: fillBits<bool>(tensor, generator); break;
      default:
        return makeError(ErrorKind::Unsupported, "input '" + input.name + "' is " + name(input.elementType) +
                                                     ", for which no random samples are made");
      }
      result.push_back(std::move(tensor));
    }
    return result;
  }

private:
  int64_t count;
  uint64_t seed;
  std::vector<InputSpec> inputs;
};

} // namespace

std::unique_ptr<Dataset> makeRandomDataset(int64_t count, uint64_t seed, std::vector<InputSpec> inputs) {
  return std::make_unique<RandomDataset>(count, seed, std::move(inputs));
}

} // namespace nibble::calib
