// The backends that every kernel test runs on, and the cases as test parameters.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/cases/op_case.h"
#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace temper {

inline void PrintTo(const OpCase& op_case, std::ostream* out) { *out << op_case.name(); }

/// The CPU backend as a processor with `isa` would run it; the processor's own instruction set is back afterwards.
class CpuBackend {
 public:
  explicit CpuBackend(cpu::Isa isa) {
    cpu::set_isa(isa);
    ops_ = make_cpu_ops();
  }
  ~CpuBackend() { cpu::set_isa(cpu::best_isa()); }
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;

  Ops& ops() { return *ops_; }

 private:
  std::unique_ptr<Ops> ops_;
};

inline std::vector<cpu::Isa> available_isas() {
  std::vector<cpu::Isa> isas;
  for (const cpu::Isa isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512})
    if (isa <= cpu::best_isa()) isas.push_back(isa);
  return isas;
}

/// The activation types that make a difference to a case.
inline std::vector<DType> activations_of(const OpCase& op_case) {
  if (!op_case.has_activations()) return {DType::f32};
  return {DType::f32, DType::bf16};
}

/// "12_layernorm_backward_R_7_C_33"
inline std::string test_name(const testing::TestParamInfo<OpCase>& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.name();
  for (char& letter : name)
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '_';
  return name;
}

}  // namespace temper
