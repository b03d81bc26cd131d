# SPDX-License-Identifier: GPL-2.0-or-later
# Called by cpack when the files of a package are laid out. Whatever the umask is, everybody may enter its directories;
# distributions compress their manuals.
file(CHMOD_RECURSE ${CPACK_TEMPORARY_INSTALL_DIRECTORY} DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
if(CPACK_GENERATOR STREQUAL "TGZ")
    return()
endif()
file(GLOB_RECURSE manuals
    ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*/share/man/*/*.[1-9]
    ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*/share/doc/ctflow9/changelog)
foreach(manual ${manuals})
    execute_process(COMMAND gzip -9 -n ${manual} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
