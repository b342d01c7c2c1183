// Named ranges for NVIDIA's profilers: declared with CUDA's functions here.
#pragma once

#include "kernels/emulated/toolkit/cuda_runtime.h"
