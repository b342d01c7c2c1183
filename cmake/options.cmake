# What a build can choose, and the flags every room shares.
option(TEMPER_TESTS "Build the tests" ON)
option(TEMPER_SANITIZE "AddressSanitizer and UndefinedBehaviorSanitizer around everything" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O3")

# The files of a target are compiled together, a few at a time: most of what the compiler reads and instantiates (the standard
# library, JSON, GoogleTest) is the same for each. An unnamed namespace is therefore its room's, not its file's.
if(NOT DEFINED CMAKE_UNITY_BUILD)
  set(CMAKE_UNITY_BUILD ON)
endif()
set(CMAKE_UNITY_BUILD_BATCH_SIZE 6)

find_program(TEMPER_CCACHE ccache)
if(TEMPER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Objects that use precompiled headers are kept too: GCC writes what the header held into what is compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${TEMPER_CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

add_library(temper_flags INTERFACE)
target_compile_options(temper_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror=return-type)
if(TEMPER_SANITIZE)
  target_compile_options(temper_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(temper_flags INTERFACE -fsanitize=address,undefined)
endif()
