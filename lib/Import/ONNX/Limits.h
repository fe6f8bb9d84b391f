//===- Limits.h - what a model may ask for ---------------------------------===//
//
// Every limit has a named error (exit code 5) and is far above what honest models use. They keep
// the memory and time that a hostile file can cost in proportion to its size. See docs/spec/import.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_IMPORT_ONNX_LIMITS_H
#define NIBBLE_IMPORT_ONNX_LIMITS_H

#include <cstdint>

namespace nibble::onnx_import::limits {

/// Bytes of the model file; protobuf cannot address more.
inline constexpr uint64_t fileBytes = (uint64_t(1) << 31) - 1;
/// Bytes that are not weights: what the protobuf parser is given.
inline constexpr uint64_t structureBytes = uint64_t(512) << 20;
/// Nesting of protobuf messages.
inline constexpr unsigned messageDepth = 100;
/// Messages of any kind in one file.
inline constexpr uint64_t messages = 4'000'000;
inline constexpr uint64_t nodes = 1'000'000;
inline constexpr uint64_t tensors = 1'000'000;
/// Entries of one repeated field (an attribute's list, a node's inputs).
inline constexpr uint64_t listEntries = 1'000'000;
/// Bytes of one name or string attribute.
inline constexpr uint64_t stringBytes = 64 << 10;
/// Graphs inside graphs (If, Loop, Scan). One file cannot nest them deeper, since each takes three
/// messages, but inlined functions can.
inline constexpr unsigned subgraphDepth = 32;
inline constexpr uint64_t functions = 10'000;
inline constexpr unsigned callDepth = 100;
inline constexpr int64_t rank = 32;
inline constexpr int64_t elements = int64_t(1) << 40;
inline constexpr uint64_t externalFiles = 10'000;
inline constexpr uint64_t externalBytes = uint64_t(256) << 30;

} // namespace nibble::onnx_import::limits

#endif
