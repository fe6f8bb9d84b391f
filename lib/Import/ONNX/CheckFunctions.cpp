// Model-local functions: acyclic, of bounded expansion, then inlined by onnx.
#include "lib/Import/ONNX/Checker.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/StringSet.h"
#include <onnx/inliner/inliner.h>

namespace nibble::onnx_import {
namespace {

using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

std::string key(llvm::StringRef domain, llvm::StringRef name, llvm::StringRef overload) {
  return (domain + "\n" + name + "\n" + overload).str();
}

/// Calls `visit` with every node, those of subgraphs included, and with how many graphs it is inside of
/// within `nodes`; nesting is bounded by the Reader.
template <typename Visitor> void forEachNode(const Nodes &nodes, Visitor visit, unsigned depth = 0) {
  for (const onnx::NodeProto &node : nodes) {
    visit(node, depth);
    for (const onnx::AttributeProto &attribute : node.attribute()) {
      forEachNode(attribute.g().node(), visit, depth + 1);
      for (const onnx::GraphProto &graph : attribute.graphs())
        forEachNode(graph.node(), visit, depth + 1);
    }
  }
}

/// One function with the functions that it calls; entry 0 is the main graph.
struct Callable {
  std::string name;
  const onnx::FunctionProto *function = nullptr;
  struct Call {
    unsigned callee, depth;
  };
  std::vector<Call> calls;
  /// Of the body alone at first, after inlining when `state` is Done: nodes, and graphs inside graphs.
  uint64_t nodes = 0;
  unsigned depth = 0;
  enum { Unseen, Open, Done } state = Unseen;
};

} // namespace

llvm::Error inlineFunctions(onnx::ModelProto &model, llvm::StringRef path) {
  if (model.functions_size() == 0)
    return llvm::Error::success();
  auto fail = [&](const llvm::Twine &what, ErrorKind kind = ErrorKind::BadInput) {
    return makeError(kind, "'" + path + "': " + what);
  };
  std::vector<Callable> callables(1);
  llvm::StringMap<unsigned> byKey;
  for (const onnx::FunctionProto &function : model.functions()) {
    std::string name = function.domain() + "::" + function.name();
    if (function.name().empty() || function.domain().empty())
      return fail("a function has no name or no domain");
    if (!byKey.try_emplace(key(function.domain(), function.name(), function.overload()), callables.size()).second)
      return fail("function '" + name + "' is defined twice");
    for (const auto *parameters : {&function.input(), &function.output()}) {
      llvm::StringSet<> names;
      for (const std::string &parameter : *parameters)
        if (parameter.empty() || !names.insert(parameter).second)
          return fail("function '" + name + "': parameter name '" + parameter + "' is empty or used twice");
    }
    callables.emplace_back();
    callables.back().name = std::move(name);
    callables.back().function = &function;
  }
  llvm::Error error = llvm::Error::success();
  for (unsigned index = 0; index < callables.size(); ++index) {
    Callable &caller = callables[index];
    const Nodes &body = caller.function ? caller.function->node() : model.graph().node();
    forEachNode(body, [&](const onnx::NodeProto &node, unsigned depth) {
      ++caller.nodes;
      caller.depth = std::max(caller.depth, depth);
      auto callee = byKey.find(key(node.domain(), node.op_type(), node.overload()));
      if (callee == byKey.end() || error)
        return;
      const onnx::FunctionProto *function = callables[callee->second].function;
      if (node.input_size() > function->input_size() || node.output_size() > function->output_size())
        error = fail(describe(node) + " has " + llvm::Twine(node.input_size()) + " inputs and " +
                     llvm::Twine(node.output_size()) + " outputs, but the function takes " +
                     llvm::Twine(function->input_size()) + " and gives " + llvm::Twine(function->output_size()));
      caller.calls.push_back({callee->second, depth});
    });
  }
  if (error)
    return error;

  // An explicit stack, since the depth of calls is the file's choice.
  std::vector<std::pair<unsigned, size_t>> stack;
  for (unsigned root = 0; root < callables.size(); ++root) {
    if (callables[root].state == Callable::Unseen)
      stack.push_back({root, 0});
    while (!stack.empty()) {
      auto &[index, next] = stack.back();
      Callable &current = callables[index];
      current.state = Callable::Open;
      if (next < current.calls.size()) {
        unsigned callee = current.calls[next++].callee;
        if (callables[callee].state == Callable::Open)
          return fail("function '" + callables[callee].name + "' calls itself, directly or through others");
        if (callables[callee].state == Callable::Unseen)
          stack.push_back({callee, 0});
        if (stack.size() > limits::callDepth)
          return fail("calls of functions nest deeper than " + llvm::Twine(limits::callDepth), ErrorKind::Limit);
        continue;
      }
      for (const Callable::Call &call : current.calls) {
        current.depth = std::max(current.depth, call.depth + callables[call.callee].depth);
        current.nodes += callables[call.callee].nodes;
        if (current.nodes > limits::nodes)
          return fail("the model has more than " + llvm::Twine(limits::nodes) + " nodes once its functions are inlined",
                      ErrorKind::Limit);
        if (current.depth > limits::subgraphDepth)
          return fail("graphs nest deeper than " + llvm::Twine(limits::subgraphDepth) +
                          " once functions are inlined", ErrorKind::Limit);
      }
      current.state = Callable::Done;
      stack.pop_back();
    }
  }
  try {
    onnx::inliner::InlineLocalFunctions(model);
  } catch (const std::exception &exception) {
    return fail(llvm::Twine("functions cannot be inlined: ") + exception.what());
  }
  return llvm::Error::success();
}

} // namespace nibble::onnx_import
