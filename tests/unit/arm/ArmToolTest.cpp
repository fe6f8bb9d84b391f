#include "lib/Export/Arm/ArmTool.h"
#include "lib/Export/Arm/ReferenceModel.h"
#include "lib/Export/Arm/Vela.h"
#include "tests/unit/TestFiles.h"
#include <cstdlib>

using namespace nibble;
using namespace nibble::arm;
using test::expectError;

namespace {

class ArmToolTest : public testing::Test {
protected:
  ArmToolTest() {
    for (const char *name : {"NIBBLE_VELA", "NIBBLE_TOSA_REFERENCE_MODEL", "VIRTUAL_ENV"})
      unsetenv(name);
    setenv("NIBBLE_ARM_VENV", folder.file("absent").c_str(), 1);
    setenv("PATH", folder.file("absent").c_str(), 1);
  }
  /// A program that says `version` and then does `body`.
  std::string makeProgram(llvm::StringRef name, llvm::StringRef version, llvm::StringRef body = "") {
    std::string path = folder.write(name, "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '" + version.str() +
                                              "'; exit 0; fi\n" + body.str() + "\n");
    EXPECT_FALSE(llvm::sys::fs::setPermissions(path, llvm::sys::fs::perms::owner_all));
    return path;
  }

  test::TemporaryFolder folder;
};

TEST_F(ArmToolTest, AbsentProgramsAreExplained) {
  expectError(findVela().takeError(), ErrorKind::Unsupported, "vela is not installed");
  expectError(findVela().takeError(), ErrorKind::Unsupported, "pip install ethos-u-vela==5.2.0");
  expectError(findReferenceModel().takeError(), ErrorKind::Unsupported, "pip install tosa-tools==2026.8.0");
  setenv("NIBBLE_VELA", folder.file("nowhere").c_str(), 1);
  expectError(findVela().takeError(), ErrorKind::Unsupported, "NIBBLE_VELA: wanted the program vela or its folder");
}

TEST_F(ArmToolTest, OtherVersionsAreRefused) {
  std::string path = makeProgram("vela", "4.0.1");
  setenv("NIBBLE_VELA", path.c_str(), 1);
  expectError(findVela().takeError(), ErrorKind::Unsupported, "wanted vela of version 5.2.0, found version 4.0.1 in '" + path);
  makeProgram("vela", "");
  expectError(findVela().takeError(), ErrorKind::Unsupported, "wanted vela of version 5.2.0, found");
  setenv("NIBBLE_TOSA_REFERENCE_MODEL", makeProgram("model", "Model version 0.9").c_str(), 1);
  expectError(findReferenceModel().takeError(), ErrorKind::Unsupported, "found version 0.9");
}

TEST_F(ArmToolTest, EnvironmentsComeBeforeThePath) {
  makeProgram("venv/bin/vela", "5.2.0");
  makeProgram("path/vela", "5.2.0");
  setenv("PATH", folder.file("path").c_str(), 1);
  EXPECT_EQ(test::valueOrFail(findVela()).foundBy, "PATH");
  setenv("NIBBLE_ARM_VENV", folder.file("venv").c_str(), 1);
  ArmTool tool = test::valueOrFail(findVela());
  EXPECT_EQ(tool.foundBy, "set-up venv");
  EXPECT_EQ(tool.program, folder.file("venv/bin/vela"));
  // A folder that the user names holds the program.
  setenv("NIBBLE_VELA", folder.file("path").c_str(), 1);
  EXPECT_EQ(test::valueOrFail(findVela()).foundBy, "NIBBLE_VELA");
  // The program of a package comes before the script that starts it.
  makeProgram("venv/bin/tosa_reference_model", "Model version 1.1.0d");
  std::string program = makeProgram("venv/lib/python3.11/site-packages/bin/tosa_reference_model", "Model version 1.1.0d");
  EXPECT_EQ(test::valueOrFail(findReferenceModel()).program, program);
}

TEST_F(ArmToolTest, HangingProgramsAreStopped) {
  std::string path = makeProgram("slow", "1", "exec /bin/sleep 30");
  expectError(runProgram(path, {"work"}, 1).takeError(), ErrorKind::Limit, "took longer than 1 s");
}

TEST_F(ArmToolTest, OptionsOfVelaAreChecked) {
  EXPECT_FALSE(checkVelaOptions({{"optimise", "Size"}, {"arena_cache_size", "400000"}}));
  expectError(checkVelaOptions({{"optimize", "Size"}}), ErrorKind::Usage, "did you mean 'optimise'");
  expectError(checkVelaOptions({{"optimise", "Speed"}}), ErrorKind::Usage, "known: Size, Performance");
  expectError(checkVelaOptions({{"arena_cache_size", "large"}}), ErrorKind::Usage, "wants a number of bytes");
}

const std::string summary = "core_clock,inference_time,sram_memory_used,dram_memory_used,on_chip_flash_memory_used,"
                            "off_chip_flash_memory_used,total_original_weights,total_npu_encoded_weights,sram_total_bytes,"
                            "dram_total_bytes,on_chip_flash_total_bytes,off_chip_flash_total_bytes,nn_macs,cycles_npu,"
                            "cycles_sram_access,cycles_dram_access,cycles_on_chip_flash_access,"
                            "cycles_off_chip_flash_access,cycles_total\n"
                            "1e9,0.002,0.25,2.5,0.5,1.5,64,96,512,5376,1,2,5120,2885,4,702,10,20,2886\n";
const std::string layers = "Original Operator,NNG Operator,Target,Staging Usage,Op Cycles,NPU,SRAM AC,DRAM AC,MAC Count,Name\n"
                           "Clamp,Clamp,NPU,0,1688,1687,0,312,1024,TosaOutput_1\n";

TEST_F(ArmToolTest, FiguresOfVelaAreRead) {
  VelaFigures figures = test::valueOrFail(parseVelaFigures(summary, layers, "CPU operators = 1 (5.0%)\nNPU operators = 19 (95.0%)\n"));
  EXPECT_EQ(figures.operatorsOnCpu, 1);
  EXPECT_EQ(figures.operatorsOnNpu, 19);
  EXPECT_EQ(figures.cycles, 2886u);
  EXPECT_EQ(figures.flashCycles, 30u);
  EXPECT_EQ(figures.sramBytes, 256u);
  EXPECT_EQ(figures.dramBytes, 2560u);
  EXPECT_EQ(figures.flashBytes, 2048u);
  EXPECT_EQ(figures.encodedWeightBytes, 96u);
  EXPECT_DOUBLE_EQ(figures.inferenceSeconds, 0.002);
  ASSERT_EQ(figures.operators.size(), 1u);
  EXPECT_EQ(figures.operators[0].tensor, "TosaOutput_1");
  EXPECT_EQ(figures.operators[0].dramCycles, 312u);
}

TEST_F(ArmToolTest, MissingFiguresAreNamed) {
  std::string printed = "CPU operators = 0 (0.0%)\nNPU operators = 2 (100.0%)\n";
  auto message = [&](const std::string &a, const std::string &b, const std::string &c, llvm::StringRef wanted) {
    expectError(parseVelaFigures(a, b, c).takeError(), ErrorKind::Unsupported, wanted);
  };
  message("", layers, printed, "Vela's summary is empty");
  message("cycles_total\n12\n", layers, printed, "Vela's summary has no column 'cycles_npu'");
  message("cycles_total\n-3\n", layers, printed, "column 'cycles_total' of Vela's summary, found '-3'");
  message("a,b\n1\n", layers, printed, "wanted 2 cells");
  message(summary, "Name\nx\n", printed, "Vela's table of layers has no column 'Original Operator'");
  message(summary, layers, "NPU operators = 2", "'CPU operators'");
}

} // namespace
