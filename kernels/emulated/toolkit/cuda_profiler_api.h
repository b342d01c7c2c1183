// The profilers' switch: declared with the rest here.
#pragma once

#include "kernels/emulated/toolkit/cuda_runtime.h"
