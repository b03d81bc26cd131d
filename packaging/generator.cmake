# SPDX-License-Identifier: GPL-2.0-or-later
# Read by cpack for each kind of package. Of an installation each holds the components that are named here.
set(ENV{SOURCE_DATE_EPOCH} ${CPACK_CTFLOW9_DATE})

set(components Unspecified)
if(CPACK_GENERATOR STREQUAL "DEB")
    set(CPACK_SET_DESTDIR ON)
    list(APPEND components settings debian)
elseif(CPACK_GENERATOR STREQUAL "RPM")
    set(CPACK_SET_DESTDIR ON)
    list(APPEND components settings license)
else()
    list(APPEND components license)
endif()

list(GET CPACK_INSTALL_CMAKE_PROJECTS 0 build_directory)
set(CPACK_INSTALL_CMAKE_PROJECTS "")
foreach(component ${components})
    list(APPEND CPACK_INSTALL_CMAKE_PROJECTS ${build_directory} ctflow9 ${component} /)
endforeach()
