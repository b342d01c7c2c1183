# What temper is built from, at least, and what to say where it is not there. packages.txt has the versions; nothing is downloaded.
# cmake -DCMAKE_CXX_COMPILER_ID=GNU -DCMAKE_CXX_COMPILER_VERSION=11.4 -P requirements.cmake runs the first checks by themselves.
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/packages.txt temper_packages REGEX "^[A-Za-z]")
foreach(row IN LISTS temper_packages)
  string(REGEX MATCH "^([^ ]+) +([^ ]+)" row "${row}")
  string(REPLACE "-" "" TEMPER_LEAST_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
endforeach()
set(temper_install_page "scripts/setup.sh installs what Debian, Ubuntu and RHEL have; docs/install.md has other ways, among them one without root")

if(CMAKE_VERSION VERSION_LESS TEMPER_LEAST_cmake)
  message(FATAL_ERROR "CMake ${CMAKE_VERSION} is too old: temper needs ${TEMPER_LEAST_cmake} or newer. `pip install cmake ninja`, in any Python "
                      "environment, brings it without root")
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS TEMPER_LEAST_compiler)
  message(FATAL_ERROR "g++ ${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER}) is too old: temper needs ${TEMPER_LEAST_compiler} or newer. "
                      "Ubuntu 22.04: apt install g++-12, then name it with CXX=g++-12 cmake ...; RHEL 9: dnf install gcc-toolset-13-gcc-c++, then "
                      "scl enable gcc-toolset-13 bash. A build folder keeps its compiler: remove it first")
endif()

set(temper_missing "")
# Notes that `what` is missing, with the least version and those that were found.
function(temper_missing what)
  set(line "${what}")
  if(TEMPER_LEAST_${what})
    string(APPEND line " ${TEMPER_LEAST_${what}} or newer")
  endif()
  if(ARGN)
    list(JOIN ARGN ", " found)
    string(APPEND line " (found: ${found})")
  endif()
  set(temper_missing "${temper_missing}\n  ${line}" PARENT_SCOPE)
endfunction()

# A library that comes with a file for find_package, by its name in packages.txt.
macro(temper_package name)
  find_package(${name} ${TEMPER_LEAST_${name}} QUIET)
  if(NOT ${name}_FOUND)
    temper_missing(${name} ${${name}_CONSIDERED_VERSIONS})
  endif()
endmacro()

# The same of one with a file for pkg-config, which becomes PkgConfig::${target}.
macro(temper_pkg_config target name)
  if(PKG_CONFIG_FOUND)
    set(wanted ${name})
    if(TEMPER_LEAST_${name})
      set(wanted ${name}>=${TEMPER_LEAST_${name}})
    endif()
    pkg_check_modules(${target} QUIET IMPORTED_TARGET ${wanted})
    if(NOT ${target}_FOUND)
      execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --modversion ${name} OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      temper_missing(${name} ${found})
    endif()
  endif()
endmacro()
