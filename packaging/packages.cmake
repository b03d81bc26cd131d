# SPDX-License-Identifier: GPL-2.0-or-later
# What cpack makes of an installation: a .deb, a .rpm where rpmbuild is, and a static tarball for other distributions.
# The same sources and compiler give the same octets: every date is the release's, or SOURCE_DATE_EPOCH of the environment.

if(DEFINED ENV{SOURCE_DATE_EPOCH})
    set(CPACK_CTFLOW9_DATE $ENV{SOURCE_DATE_EPOCH})
else()
    set(CPACK_CTFLOW9_DATE ${CTFLOW9_RELEASED_S})
    set(ENV{SOURCE_DATE_EPOCH} ${CTFLOW9_RELEASED_S})
endif()
string(TIMESTAMP changelog_date "%a, %d %b %Y %H:%M:%S +0000" UTC)

# The processor's names.
set(debian_architecture ${CMAKE_SYSTEM_PROCESSOR})
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    set(debian_architecture amd64)
elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    set(debian_architecture arm64)
endif()

# What cmake --install leaves alone: it is the administrator's, or Debian's.
install(FILES packaging/ctflow9.default DESTINATION /etc/default RENAME ctflow9 COMPONENT settings EXCLUDE_FROM_ALL)
configure_file(packaging/changelog.in packaging/changelog @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/packaging/changelog DESTINATION ${CMAKE_INSTALL_DOCDIR}
    COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES packaging/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME ctflow9
    COMPONENT debian EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB TGZ)
find_program(CTFLOW9_RPMBUILD rpmbuild)
mark_as_advanced(CTFLOW9_RPMBUILD)
if(CTFLOW9_RPMBUILD)
    list(APPEND CPACK_GENERATOR RPM)
endif()
set(CPACK_PACKAGE_NAME ctflow9)
set(CPACK_PACKAGE_CONTACT "${CTFLOW9_CONTACT}")
set(CPACK_PACKAGE_VENDOR ctflow9)
set(CPACK_PACKAGE_FILE_NAME ctflow9-${PROJECT_VERSION}-linux-${debian_architecture})
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/generator.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/layout.cmake)
set(CPACK_POST_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/sort.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${debian_architecture})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
file(READ packaging/description CPACK_DEBIAN_PACKAGE_DESCRIPTION)
if(NOT CTFLOW9_LINK_STATIC)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "")
foreach(name conffiles postinst prerm postrm)
    list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/${name})
endforeach()

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_ARCHITECTURE ${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_RPM_PACKAGE_LICENSE GPL-2.0-or-later)
set(CPACK_RPM_PACKAGE_GROUP Unspecified)
set(CPACK_RPM_PACKAGE_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_RPM_PACKAGE_DESCRIPTION ${CPACK_DEBIAN_PACKAGE_DESCRIPTION})
set(CPACK_RPM_COMPRESSION_TYPE xz)
set(CPACK_RPM_USER_FILELIST "%config(noreplace) /etc/default/ctflow9")
# They are the distribution's.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION /etc/default /usr/lib/systemd /usr/lib/systemd/system
    /usr/lib/sysctl.d /usr/share/man/man5 /usr/share/man/man7 /usr/share/man/man8)
# When and where it was built is not in it.
set(CPACK_RPM_SPEC_MORE_DEFINE "%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define build_mtime_policy clamp_to_source_date_epoch
%define _buildhost ctflow9.example")
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/postun)

include(CPack)
