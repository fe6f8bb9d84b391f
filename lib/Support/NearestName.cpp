#include "lib/Support/NearestName.h"

#include <algorithm>

namespace nibble {

std::string nearestName(llvm::StringRef word, llvm::ArrayRef<std::string> candidates) {
  // More edits than this is another word rather than a slip.
  unsigned best = static_cast<unsigned>(std::max<size_t>(2, word.size() / 3)) + 1;
  std::string nearest;
  for (const std::string &candidate : candidates) {
    unsigned distance = word.edit_distance(candidate, /*AllowReplacements=*/true, best);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

} // namespace nibble
