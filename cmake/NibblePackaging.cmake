# `cmake --install` and cpack. The .tar.gz and a plain install carry the shared libraries that the programs need beyond
# the C++ runtime, and can be moved; the .deb depends on Debian's packages instead.

set(NIBBLE_PROGRAMS nibble)
if(TARGET nibble-opt)
  list(APPEND NIBBLE_PROGRAMS nibble-opt)
endif()

# The old kind of run path is also searched for what the libraries themselves need.
foreach(program IN LISTS NIBBLE_PROGRAMS)
  set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/nibble")
  target_link_options(${program} PRIVATE "-Wl,--disable-new-dtags")
endforeach()

install(TARGETS ${NIBBLE_PROGRAMS} RUNTIME_DEPENDENCY_SET nibble_dependencies
  RUNTIME DESTINATION bin COMPONENT programs)
install(RUNTIME_DEPENDENCY_SET nibble_dependencies
  PRE_EXCLUDE_REGEXES "^lib(c|m|dl|rt|pthread|stdc\\+\\+|gcc_s)\\.so" "^ld-linux"
  LIBRARY DESTINATION lib/nibble COMPONENT libraries)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/configs/" DESTINATION share/nibble/configs COMPONENT programs)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES"
  "${PROJECT_SOURCE_DIR}/README.md" DESTINATION share/doc/nibble COMPONENT programs)
install(FILES "${PROJECT_SOURCE_DIR}/scripts/completion/nibble"
  DESTINATION share/bash-completion/completions COMPONENT programs)

set(CPACK_PACKAGE_NAME nibble)
set(CPACK_PACKAGE_VENDOR "Nibble project")
set(CPACK_PACKAGE_CONTACT "Nibble project <nibble@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_PACKAGE_FILE_NAME "nibble-${PROJECT_VERSION}-linux-x86_64")
set(CPACK_GENERATOR "TGZ;DEB")
set(CPACK_STRIP_FILES ON)
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_SOURCE_DIR}/cmake/PackageComponents.cmake")
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
