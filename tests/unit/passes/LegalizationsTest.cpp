// Targets name legalizations in their files; the passes know every name.
#include "lib/Target/Target.h"
#include "passes/Legalize/Legalizations.h"

#include "llvm/ADT/STLExtras.h"
#include <gtest/gtest.h>
#include <set>

using namespace nibble;

TEST(Legalizations, AreKnownByTheNamesThatTargetsUse) {
  std::set<std::string> known;
  for (const Legalization &legalization : getLegalizations())
    EXPECT_TRUE(known.insert(legalization.name.str()).second) << legalization.name.str();
  size_t uses = 0;
  for (const std::string &name : Target::listNames()) {
    llvm::Expected<std::unique_ptr<Target>> target = Target::load(name);
    ASSERT_TRUE(static_cast<bool>(target)) << llvm::toString(target.takeError());
    for (const std::string &legalization : (*target)->legalizations) {
      EXPECT_TRUE(known.count(legalization)) << name << ": " << legalization;
      ++uses;
    }
  }
  EXPECT_GT(uses, 0u);
}

TEST(Legalizations, StateWhatTheyDo) {
  for (const Legalization &legalization : getLegalizations()) {
    EXPECT_FALSE(legalization.conditions.empty()) << legalization.name.str();
    bool hasClass = llvm::any_of(llvm::ArrayRef<llvm::StringRef>{"exact", "bounded", "lossy"},
                                 [&](llvm::StringRef kind) { return legalization.numerics.starts_with(kind); });
    EXPECT_TRUE(hasClass) << legalization.name.str();
    EXPECT_FALSE(legalization.range.empty()) << legalization.name.str();
  }
}
