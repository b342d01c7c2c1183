// TEMPER_HOST_DEVICE marks a function that both compilers may use: one text for CPU and CUDA.
#pragma once

#if defined(__CUDACC__)
#define TEMPER_HOST_DEVICE __host__ __device__
#else
#define TEMPER_HOST_DEVICE
#endif
