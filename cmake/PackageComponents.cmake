# Read by cpack for each generator: only the archive carries shared libraries of others.
if(CPACK_GENERATOR STREQUAL "DEB")
  set(CPACK_COMPONENTS_ALL programs)
else()
  set(CPACK_COMPONENTS_ALL programs libraries)
endif()
