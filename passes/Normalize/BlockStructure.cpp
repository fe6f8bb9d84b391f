#include "passes/Normalize/BlockStructure.h"
#include "lib/Dialect/NN/NNDialect.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;

namespace nibble {

/// Whether the values of `op` are part of the structure.
static bool hasStructuralAttributes(Operation &op) {
  auto constant = dyn_cast<nn::ConstantOp>(op);
  return !constant ||
         (!isa<FloatType>(nn::elementTypeOf(constant.getResult())) && !isa<nn::BlobAttr>(constant.getValue()));
}

/// The attributes that belong to the operation: a name with a dot is a pass's note on what it did.
static DictionaryAttr withoutBookkeeping(DictionaryAttr attributes) {
  if (llvm::none_of(attributes, [](NamedAttribute attribute) { return attribute.getName().strref().contains('.'); }))
    return attributes;
  SmallVector<NamedAttribute> kept;
  llvm::copy_if(attributes, std::back_inserter(kept),
                [](NamedAttribute attribute) { return !attribute.getName().strref().contains('.'); });
  return DictionaryAttr::get(attributes.getContext(), kept);
}

std::string hashBlockStructure(Block &body) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::DenseMap<Value, size_t> numbers;
  auto number = [&](Value value) { return numbers.try_emplace(value, numbers.size()).first->second; };
  for (BlockArgument argument : body.getArguments())
    os << number(argument) << ':' << argument.getType() << '\n';
  for (Operation &op : body) {
    os << op.getName();
    for (Value operand : op.getOperands())
      os << ' ' << number(operand);
    if (hasStructuralAttributes(op))
      os << ' ' << withoutBookkeeping(op.getAttrDictionary());
    for (Value result : op.getResults())
      os << ' ' << number(result) << ':' << result.getType();
    os << '\n';
  }
  llvm::SHA256 hash;
  hash.update(text);
  return llvm::toHex(hash.final(), /*LowerCase=*/true).substr(0, 16);
}

} // namespace nibble
