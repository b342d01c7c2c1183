// CUDA's functions without its language: here they are one file.
#pragma once

#include "kernels/emulated/toolkit/cuda_runtime.h"
