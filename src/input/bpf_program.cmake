# SPDX-License-Identifier: GPL-2.0-or-later
# bpf_program(NAME HEADER [OPTION...]): src/input/NAME.bpf.c, which includes HEADER, for the kernel's own machine: clang
# compiles it, and bpftool, with these options, makes a header of it, NAME.skel.h, that src/input/NAME.c includes.
function(bpf_program name header)
    set(program ${CMAKE_CURRENT_BINARY_DIR}/bpf/${name})
    set(includes -I${CMAKE_CURRENT_SOURCE_DIR}/include)
    if(CMAKE_LIBRARY_ARCHITECTURE)
        list(APPEND includes -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
    endif()
    foreach(directory ${BPF_INCLUDE_DIRS})
        list(APPEND includes -idirafter ${directory})
    endforeach()
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/bpf)
    # No folders of the build: what is loaded has line information.
    add_custom_command(OUTPUT ${program}.bpf.o
        COMMAND ${CLANG} -target $<IF:$<STREQUAL:${CMAKE_C_BYTE_ORDER},BIG_ENDIAN>,bpfeb,bpfel> -mcpu=v3 -O2 -g -Wall -Wextra
            $<$<BOOL:${CTFLOW9_WERROR}>:-Werror> ${includes}
            -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=.
            -c ${CMAKE_CURRENT_SOURCE_DIR}/src/input/${name}.bpf.c -o ${program}.bpf.o
        DEPENDS src/input/${name}.bpf.c ${header}
        VERBATIM COMMENT "Building the BPF program ${name}")
    add_custom_command(OUTPUT ${program}.skel.h
        COMMAND sh -ec "bpftool=$1; program=$2; shift 2; $bpftool gen skeleton \"$@\" >\"$program.skel.h\"" sh
            ${BPFTOOL} ${program} ${ARGN} ${program}.bpf.o name ${name}_bpf
        DEPENDS ${program}.bpf.o
        VERBATIM)
    target_sources(ctflow9_core PRIVATE ${program}.skel.h)
    set_source_files_properties(src/input/${name}.c PROPERTIES OBJECT_DEPENDS ${program}.skel.h)
    target_include_directories(ctflow9_core SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/bpf)
endfunction()
