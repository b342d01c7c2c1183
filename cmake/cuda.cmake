# Decides whether the CUDA backend is built. TEMPER_CUDA=AUTO builds it where a CUDA compiler is found; a machine without one gets
# kernels/no_cuda in its place.
set(TEMPER_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO (where nvcc is found), ON (fail without), OFF")
set_property(CACHE TEMPER_CUDA PROPERTY STRINGS AUTO ON OFF)

set(TEMPER_HAS_CUDA OFF)
if(TEMPER_CUDA STREQUAL "ON" OR TEMPER_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  find_package(CUDAToolkit 12.8 QUIET)
  if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND)
    set(TEMPER_HAS_CUDA ON)
  elseif(TEMPER_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TEMPER_CUDA=ON, but no CUDA toolkit of version 12.8 or newer was found: put its nvcc on the PATH or set CUDACXX")
  endif()
endif()

if(TEMPER_HAS_CUDA)
  # 80: every GPU since the A100, also by the driver's own compiler from its PTX; 90a: H100 and H200 with their own instructions.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90a-real)
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25.1 does not know that nvcc has it
  endif()
endif()
message(STATUS "temper: CUDA backend ${TEMPER_HAS_CUDA}")
