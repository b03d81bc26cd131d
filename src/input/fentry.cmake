# SPDX-License-Identifier: GPL-2.0-or-later
# The program for the kernel's own machine behind --rx=fentry: its header loads it by system calls alone (a light
# skeleton), so that nothing more is linked. Sets CTFLOW9_FENTRY for the sources.
set(missing_for_fentry "")
if(NOT CTFLOW9_FENTRY STREQUAL "OFF")
    find_program(CLANG clang)
    find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin)
    mark_as_advanced(CLANG BPFTOOL)
    cmake_push_check_state(RESET)
    set(CMAKE_REQUIRED_DEFINITIONS -D_GNU_SOURCE)
    check_c_source_compiles("#include <errno.h>
        #include <stddef.h>
        #include <string.h>
        #include <bpf/skel_internal.h>
        int main(void) { return 0; }" CTFLOW9_HAS_SKEL_INTERNAL)
    cmake_pop_check_state()
    if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8 OR NOT CMAKE_C_BYTE_ORDER STREQUAL "LITTLE_ENDIAN")
        set(missing_for_fentry "little-endian machine of 64 bits")
    elseif(NOT CLANG OR NOT BPFTOOL OR NOT CTFLOW9_HAS_SKEL_INTERNAL)
        set(missing_for_fentry "clang, bpftool or bpf/skel_internal.h (libbpf-dev)")
    endif()
endif()
set(with_fentry ON)
if(CTFLOW9_FENTRY STREQUAL "OFF")
    set(with_fentry OFF)
elseif(missing_for_fentry AND CTFLOW9_FENTRY STREQUAL "ON")
    message(FATAL_ERROR "CTFLOW9_FENTRY=ON, but there is no ${missing_for_fentry}.")
elseif(missing_for_fentry)
    message(STATUS "Without --rx=fentry, because there is no ${missing_for_fentry} (CTFLOW9_FENTRY=AUTO)")
    set(with_fentry OFF)
endif()

target_compile_definitions(ctflow9_core PUBLIC CTFLOW9_FENTRY=$<BOOL:${with_fentry}>)
if(with_fentry)
    target_sources(ctflow9_core PRIVATE src/input/rx_fentry.c)
    bpf_program(rx_fentry include/ctflow9/input/ct_entry.h -L)
endif()
