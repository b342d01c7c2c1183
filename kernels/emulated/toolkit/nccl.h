// The part of NCCL that temper calls, as cuda_runtime.h beside it. kernels/emulated/nccl_api.cpp implements it.
#pragma once

#include "kernels/emulated/toolkit/cuda_runtime.h"

namespace temper::emulated {
struct NcclRank;
}

enum ncclResult_t : unsigned {};
enum ncclRedOp_t : unsigned {};
enum ncclDataType_t : unsigned {};
using ncclComm_t = temper::emulated::NcclRank*;

struct ncclUniqueId {
  char internal[128];
};

struct ncclConfig_t {
  int blocking;
};
#define NCCL_CONFIG_INITIALIZER \
  { 1 }

#define TEMPER_VALUE(type, name, value) \
  inline constexpr type name { value }
#define TEMPER_FIELD(record, type, name) static_assert(std::is_same_v<decltype(record::name), type>)
#define TEMPER_FUNCTION(result, name, parameters) extern "C" result name parameters __asm__("emulated_" #name)
#include "kernels/emulated/toolkit/nccl_declarations.h"
#undef TEMPER_VALUE
#undef TEMPER_FIELD
#undef TEMPER_FUNCTION
