// The main of tests whose program is started again as the vendor's process.
#include "lib/Export/Vendor/VendorWorker.h"
#include <gtest/gtest.h>

int main(int argc, char **argv) {
  if (std::optional<int> code = nibble::vendor::runIfWorker(argc, argv))
    return *code;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
