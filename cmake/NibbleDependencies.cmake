# Finds everything that Nibble links. Nothing here downloads: `bootstrap` installs the packages.

# Distribution packages differ in how they spell LLVM's version, so the major is checked by hand.
# The prefix is named here: as CMAKE_PREFIX_PATH of a preset it would also decide which clang is found.
find_package(MLIR REQUIRED CONFIG HINTS "/usr/lib/llvm-22/lib/cmake/mlir")
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "nibble needs LLVM/MLIR 22, found ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}; run ./bootstrap")
endif()
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
# Debian's MLIR libraries ask for the shared libLLVM while other LLVM libraries come in as archives: two copies of
# LLVM in one process. Everything is linked from archives, which also makes the programs relocatable.
foreach(library IN LISTS MLIR_EXPORTED_TARGETS)
  if(TARGET ${library})
    get_target_property(dependencies ${library} INTERFACE_LINK_LIBRARIES)
    if(dependencies)
      list(TRANSFORM dependencies REPLACE "^LLVM$" "LLVMCore")
      list(TRANSFORM dependencies REPLACE "LINK_ONLY:LLVM>" "LINK_ONLY:LLVMCore>")
      set_target_properties(${library} PROPERTIES INTERFACE_LINK_LIBRARIES "${dependencies}")
    endif()
  endif()
endforeach()
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})

# The onnx library that `bootstrap` built is kept outside the tree, so that later clones reuse it.
if(DEFINED ENV{NIBBLE_CACHE_DIR})
  list(APPEND CMAKE_PREFIX_PATH "$ENV{NIBBLE_CACHE_DIR}/onnx-1.19.1")
else()
  list(APPEND CMAKE_PREFIX_PATH "$ENV{HOME}/.cache/nibble/onnx-1.19.1")
endif()

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED MODULE)
find_package(ONNX REQUIRED CONFIG)
# Its exported targets do not say where their headers are.
find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h REQUIRED)
set_property(TARGET ONNX::onnx_proto APPEND PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${ONNX_INCLUDE_DIR}")
# oneDNN's own package file of Debian asks for OpenCL, which its headers do not need.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(DNNL::dnnl UNKNOWN IMPORTED)
set_target_properties(DNNL::dnnl PROPERTIES
  IMPORTED_LOCATION "${DNNL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
find_package(Eigen3 REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)
find_package(yaml-cpp REQUIRED CONFIG)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
find_package(GTest REQUIRED CONFIG)
# Flatbuffers are headers alone, and a compiler of schemas.
find_program(FLATC_PROGRAM flatc REQUIRED)
find_path(FLATBUFFERS_INCLUDE_DIR flatbuffers/flatbuffers.h REQUIRED)
