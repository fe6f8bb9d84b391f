# Targets of Nibble are made by these functions, so that flags are stated once.

add_library(nibble_flags INTERFACE)
# Programs hold no path of the checkout, so that the same sources give the same bytes in every folder.
target_compile_options(nibble_flags INTERFACE "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
# One rounding per operation: results must not depend on whether a compiler fuses a multiply and an add.
target_compile_options(nibble_flags INTERFACE -ffp-contract=off -Wall -Wextra -Wno-unused-parameter)
target_compile_definitions(nibble_flags INTERFACE NIBBLE_VERSION="${PROJECT_VERSION}")
target_link_options(nibble_flags INTERFACE -fuse-ld=lld -Wl,--gc-sections -Wl,--as-needed)
if(NIBBLE_SANITIZE)
  target_compile_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE})
endif()

# nibble_add_library(Name SOURCES a.cpp ... DEPS Lower Layers ... [TABLEGEN targets])
function(nibble_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;TABLEGEN" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC nibble_flags ${ARG_DEPS})
  if(ARG_TABLEGEN)
    add_dependencies(${name} ${ARG_TABLEGEN})
  endif()
endfunction()

# nibble_add_program(name SOURCES a.cpp ... DEPS libraries)
function(nibble_add_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE nibble_flags ${ARG_DEPS})
endfunction()

# Tests that carry the label `asan` are built by this target and run once more in the preset of that name.
add_custom_target(asan-tests)

# Python of the environment that `bootstrap` made; NIBBLE_VENV in the environment overrides.
if(DEFINED ENV{NIBBLE_VENV})
  set(NIBBLE_VENV "$ENV{NIBBLE_VENV}")
elseif(DEFINED ENV{NIBBLE_CACHE_DIR})
  set(NIBBLE_VENV "$ENV{NIBBLE_CACHE_DIR}/venv")
else()
  set(NIBBLE_VENV "$ENV{HOME}/.cache/nibble/venv")
endif()

# What tests of a sanitized build run with. LLVM, MLIR and onnx are not instrumented: containers that cross into them
# look overflowed, and memory that LLVM's headers poison in our code is never unpoisoned in theirs.
if(NIBBLE_SANITIZE)
  set(NIBBLE_TEST_ENVIRONMENT "ASAN_OPTIONS=detect_container_overflow=0:allow_user_poisoning=0:halt_on_error=1"
      "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1" "NIBBLE_HOSTILE_LIMITS=0")
endif()

# nibble_add_unit_test(name SOURCES a.cpp ... DEPS libraries [LABELS quick asan])
function(nibble_add_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE nibble_flags ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  add_test(NAME unit/${name} COMMAND ${name})
  set_tests_properties(unit/${name} PROPERTIES LABELS "unit;${ARG_LABELS}" ENVIRONMENT "${NIBBLE_TEST_ENVIRONMENT}")
  if("asan" IN_LIST ARG_LABELS)
    add_dependencies(asan-tests ${name})
  endif()
endfunction()

# nibble_add_python_test(name SCRIPT file.py [ARGS arguments] [LABELS labels] [TIMEOUT seconds])
# The script finds the built programs in NIBBLE_BIN and the checkout in NIBBLE_SOURCE.
function(nibble_add_python_test name)
  cmake_parse_arguments(ARG "" "SCRIPT;TIMEOUT" "ARGS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  add_test(NAME ${name} COMMAND "${NIBBLE_VENV}/bin/python" "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SCRIPT}" ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "NIBBLE_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};NIBBLE_SOURCE=${PROJECT_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1;${NIBBLE_TEST_ENVIRONMENT}")
endfunction()
