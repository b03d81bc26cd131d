# SPDX-License-Identifier: GPL-2.0-or-later
# Called by cpack when a package is made. The files of its tarballs have the directory's order, which is another on
# each file system: once more, in the order of their names.
if(NOT CPACK_GENERATOR STREQUAL "TGZ")
    return()
endif()
get_filename_component(directory ${CPACK_TEMPORARY_DIRECTORY} DIRECTORY)
execute_process(
    COMMAND tar --sort=name --owner=root:0 --group=root:0 --mtime=@${CPACK_CTFLOW9_DATE} -C ${directory} -c
        ${CPACK_PACKAGE_FILE_NAME}
    COMMAND gzip -9 -n
    OUTPUT_FILE ${CPACK_PACKAGE_FILES}
    COMMAND_ERROR_IS_FATAL ANY)
