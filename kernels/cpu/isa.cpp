#include "kernels/cpu/isa.h"

#include <atomic>

#include "kernels/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace temper::cpu {

namespace {

#if defined(__x86_64__)

// Linux keeps AMX state off until a process asks for it: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
bool request_amx_permission() {
  constexpr long arch_req_xcomp_perm = 0x1023;
  constexpr long xfeature_xtiledata = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_xtiledata) == 0;
}

Isa detect() {
  __builtin_cpu_init();  // its answers include what the operating system saves on a task switch
  // Everything that the avx512 set is compiled with (kernels/CMakeLists.txt): a compiler may use any of it anywhere.
  if (!__builtin_cpu_supports("x86-64-v4") || !__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512bf16"))
    return __builtin_cpu_supports("x86-64-v3") ? Isa::avx2 : Isa::baseline;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool leaf7 = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0;
  const bool amx_bf16 = (edx >> 22 & 1u) != 0, amx_tile = (edx >> 24 & 1u) != 0;
  return leaf7 && amx_bf16 && amx_tile && request_amx_permission() ? Isa::amx : Isa::avx512;
}

#else

Isa detect() { return Isa::baseline; }

#endif

std::atomic<Isa>& selected_isa() {
  static std::atomic<Isa> isa{best_isa()};
  return isa;
}

}  // namespace

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

Isa current_isa() { return selected_isa().load(std::memory_order_relaxed); }

void set_isa(Isa isa) {
  require(isa <= best_isa(), "set_isa: this processor cannot run that instruction set");
  selected_isa().store(isa, std::memory_order_relaxed);
}

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::amx:
      return "amx";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

}  // namespace temper::cpu
