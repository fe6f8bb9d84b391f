#include "passes/Assign/RecipeResolver.h"
#include "lib/Dialect/NN/Diagnostics.h"
#include "lib/Dialect/NN/Names.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Regex.h"

using namespace mlir;

namespace nibble {
namespace {

/// Operators that a recipe may name by what they are for.
struct OperatorRoles {
  /// Their result leaves the model, moved or not.
  DenseSet<Operation *> outputs;
  /// Sine, cosine, and what computes their argument.
  DenseSet<Operation *> phases;
  /// The graph inputs that this begins with.
  DenseSet<Value> phaseInputs;

  explicit OperatorRoles(ModuleOp module) {
    module.walk([&](Operation *op) {
      if (isa<func::ReturnOp>(op))
        for (Value value : op->getOperands())
          if (Operation *producer = resolveMovedValue(value).getDefiningOp())
            outputs.insert(producer);
      if (isa<nn::SinOp, nn::CosOp>(op))
        addPhase(op);
    });
  }

private:
  /// An error in the argument of a sine counts as it is, however large the argument, so that everything
  /// elementwise before it belongs to it.
  void addPhase(Operation *op) {
    if (!phases.insert(op).second)
      return;
    for (Value operand : op->getOperands()) {
      Value value = resolveMovedValue(operand);
      if (isa<BlockArgument>(value))
        phaseInputs.insert(value);
      else if (isa<nn::MulOp, nn::DivOp, nn::AddOp, nn::SubOp, nn::NegOp, nn::CastOp, nn::FloorOp>(value.getDefiningOp()))
        addPhase(value.getDefiningOp());
    }
  }
};

/// An override with its patterns compiled.
struct Matcher {
  const Override *entry;
  std::optional<llvm::Regex> node, tensor;
  std::string operatorName;
  /// Anything that the patterns name, and anything that the settings could change.
  bool matchedAnything = false, changedAnything = false;

  explicit Matcher(const Override &override) : entry(&override) {
    auto whole = [](const std::string &pattern) { return llvm::Regex("^(" + pattern + ")$"); };
    if (override.nodePattern)
      node = whole(*override.nodePattern);
    if (override.tensorPattern)
      tensor = whole(*override.tensorPattern);
    if (override.operatorType)
      operatorName = comparableOperatorName(*override.operatorType);
  }

  /// Whether what a phase begins with matches, which no operator makes.
  bool namesPhasesOnly() const { return entry->role == "phase" && !node && operatorName.empty(); }

  bool matchesNode(Operation *op, const OperatorRoles &roles) const {
    if (!node && operatorName.empty() && !entry->role)
      return true;
    if (!op)
      return false;
    if (node && !node->match(nn::nodeName(op)))
      return false;
    if (!operatorName.empty() && comparableOperatorName(op->getName().stripDialect()) != operatorName)
      return false;
    if (!entry->role)
      return true;
    if (*entry->role == "output")
      return roles.outputs.contains(op);
    if (*entry->role == "phase")
      return roles.phases.contains(op);
    auto gather = dyn_cast<nn::GatherOp>(op);
    return gather && getConstant(gather.getData());
  }
};

/// Operations that an override may name to reach this quantizer.
SmallVector<Operation *> getNodes(QuantizerUse &use) {
  llvm::SmallSetVector<Operation *, 4> nodes;
  if (use.isActivation()) {
    for (Value value : use.computedValues())
      nodes.insert(value.getDefiningOp());
    return nodes.takeVector();
  }
  for (nn::FakeQuantOp fakeQuant : use.fakeQuants)
    for (Operation *user : fakeQuant->getUsers())
      nodes.insert(user);
  return nodes.takeVector();
}

class Resolver {
public:
  Resolver(ModuleOp module, const Recipe &recipe) : recipe(recipe), roles(module) {
    for (const Override &entry : recipe.overrides)
      matchers.emplace_back(entry);
  }

  LogicalResult resolve(QuantizerUse &use, QuantizerSettings &settings) {
    settings = {recipe.weights, recipe.activations, {}};
    bool isWeight = use.role() == "weight" || use.role() == "bias";
    settings.bitsPosition = isWeight ? recipe.weightsPosition : recipe.activationsPosition;
    std::map<StringRef, const Override *> setBy;
    for (Matcher &matcher : matchers) {
      if (!matches(matcher, use))
        continue;
      matcher.matchedAnything = true;
      const Override &entry = *matcher.entry;
      bool ok = isWeight ? applyWeights(entry, settings, setBy, use) : applyActivations(entry, settings, setBy, use);
      if (!ok)
        return failure();
      // A bias follows its weight, so it alone is no reason to call an override effective.
      if (use.role() == "weight" ? entry.weights != WeightSettings()
                                 : !isWeight && entry.activations != ActivationSettings())
        matcher.changedAnything = true;
    }
    return success();
  }

  LogicalResult checkAllMatched(ModuleOp module) {
    bool isSound = true;
    for (const Matcher &matcher : matchers) {
      const Override &entry = *matcher.entry;
      if (entry.isOptional || matcher.changedAnything)
        continue;
      isSound = false;
      InFlightDiagnostic diagnostic = module.emitError(toString(entry.position));
      nn::markAsBadInput(diagnostic);
      if (!matcher.matchedAnything)
        diagnostic << ": the override matches nothing in the model";
      else
        diagnostic << ": the override matches, but nothing there has "
                   << (entry.activations == ActivationSettings() ? "weights" : "activations") << " to set";
      diagnostic.attachNote() << "'optional: true' allows an override without effect; results of operators that only "
                                 "move data follow the tensor that they move";
    }
    return success(isSound);
  }

private:
  bool matches(const Matcher &matcher, QuantizerUse &use) const {
    auto isNamed = [&](Value value) { return matcher.tensor->match(nn::tensorName(value)); };
    if (matcher.tensor && llvm::none_of(use.computedValues(), isNamed))
      return false;
    auto isPhaseInput = [&](Value value) { return roles.phaseInputs.contains(value); };
    if (matcher.namesPhasesOnly() && llvm::any_of(use.computedValues(), isPhaseInput))
      return true;
    return llvm::any_of(getNodes(use), [&](Operation *op) { return matcher.matchesNode(op, roles); });
  }

  /// Copies a field that the override has; false with a diagnostic where an earlier one set another value.
  template <typename T>
  bool apply(StringRef field, const std::optional<T> &from, std::optional<T> &to, const Override &entry,
             std::map<StringRef, const Override *> &setBy, QuantizerUse &use) {
    if (!from)
      return true;
    const Override *&earlier = setBy[field];
    if (earlier && *from != *to) {
      Value value = use.fakeQuants.front().getInput();
      InFlightDiagnostic diagnostic = use.fakeQuants.front()->emitError("tensor '")
                                      << nn::tensorName(value) << "': two overrides set " << field << " differently";
      nn::markAsBadInput(diagnostic);
      diagnostic.attachNote() << "the first is at " << toString(earlier->position);
      diagnostic.attachNote() << "the second is at " << toString(entry.position);
      return false;
    }
    earlier = &entry;
    to = from;
    return true;
  }

  bool applyWeights(const Override &entry, QuantizerSettings &settings, std::map<StringRef, const Override *> &setBy,
                    QuantizerUse &use) {
    const WeightSettings &from = entry.weights;
    WeightSettings &to = settings.weights;
    if (from.bits)
      settings.bitsPosition = entry.position;
    return apply("bits", from.bits, to.bits, entry, setBy, use) &&
           apply("symmetric", from.symmetric, to.symmetric, entry, setBy, use) &&
           apply("granularity", from.granularity, to.granularity, entry, setBy, use) &&
           apply("group-size", from.groupSize, to.groupSize, entry, setBy, use) &&
           apply("scale-search", from.scaleSearch, to.scaleSearch, entry, setBy, use) &&
           apply("rounding", from.rounding, to.rounding, entry, setBy, use) &&
           apply("activation-order", from.activationOrder, to.activationOrder, entry, setBy, use) &&
           apply("first-order", from.firstOrder, to.firstOrder, entry, setBy, use) &&
           apply("iterations", from.iterations, to.iterations, entry, setBy, use) &&
           apply("coordinate-descent", from.coordinateDescent, to.coordinateDescent, entry, setBy, use) &&
           apply("refit-scales", from.refitScales, to.refitScales, entry, setBy, use) &&
           apply("drift-correction", from.driftCorrection, to.driftCorrection, entry, setBy, use) &&
           apply("bias-correction", from.biasCorrection, to.biasCorrection, entry, setBy, use);
  }

  bool applyActivations(const Override &entry, QuantizerSettings &settings,
                        std::map<StringRef, const Override *> &setBy, QuantizerUse &use) {
    const ActivationSettings &from = entry.activations;
    ActivationSettings &to = settings.activations;
    if (from.bits)
      settings.bitsPosition = entry.position;
    return apply("bits", from.bits, to.bits, entry, setBy, use) &&
           apply("symmetric", from.symmetric, to.symmetric, entry, setBy, use) &&
           apply("observer", from.observer, to.observer, entry, setBy, use) &&
           apply("percentile", from.percentile, to.percentile, entry, setBy, use) &&
           apply("headroom", from.headroom, to.headroom, entry, setBy, use) &&
           apply("sample-headroom", from.sampleHeadroom, to.sampleHeadroom, entry, setBy, use);
  }

  const Recipe &recipe;
  OperatorRoles roles;
  std::vector<Matcher> matchers;
};

} // namespace

FailureOr<ResolvedQuantizers> resolveRecipe(ModuleOp module, const Recipe &recipe, bool checkEffects) {
  FailureOr<QuantizerUses> uses = QuantizerUses::collect(module);
  if (failed(uses))
    return failure();
  ResolvedQuantizers result{std::move(*uses), {}};
  Resolver resolver(module, recipe);
  bool isSound = true;
  for (QuantizerUse &use : result.uses.list)
    isSound &= succeeded(resolver.resolve(use, result.settings.emplace_back()));
  if (checkEffects && isSound)
    isSound = succeeded(resolver.checkAllMatched(module));
  if (!isSound)
    return failure();
  return result;
}

} // namespace nibble
