// The backends that every kernel test runs on, and the cases as test parameters.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/cases/op_case.h"
#include "kernels/cpu/isa.h"
#include "kernels/emulated/emulated_ops.h"
#include "kernels/ops.h"

namespace temper {

inline void PrintTo(const OpCase& op_case, std::ostream* out) { *out << op_case.name(); }

/// One way to execute the operations.
struct BackendChoice {
  enum class Kind : std::uint8_t { cpu, emulated, cuda } kind = Kind::cpu;
  std::string name;
  cpu::Isa isa = cpu::Isa::baseline;  ///< of the CPU backend, as a processor with that instruction set would run it
  emulated::Execution execution{};
};

inline void PrintTo(const BackendChoice& choice, std::ostream* out) { *out << choice.name; }

/// The CPU backend for every instruction set of this machine; the CUDA sources emulated, on a GPU like the H100 with copies done late,
/// and in another order of threads on one with the least shared memory, like the RTX 4090, with copies done early; and on a GPU where
/// there is one.
inline std::vector<BackendChoice> all_backends() {
  std::vector<BackendChoice> all;
  for (const cpu::Isa isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512, cpu::Isa::amx})
    if (isa <= cpu::best_isa()) all.push_back({BackendChoice::Kind::cpu, std::string("cpu_") + cpu::name_of(isa), isa, {}});
  all.push_back({BackendChoice::Kind::emulated, "emulated_descending_lazy", cpu::best_isa(), {1, true, 2}});
  all.push_back({BackendChoice::Kind::emulated, "emulated_shuffled_eager", cpu::best_isa(), {2, false, 2, 99 * 1024}});
  if (cuda_available(nullptr)) all.push_back({BackendChoice::Kind::cuda, "cuda", cpu::best_isa(), {}});
  return all;
}

/// The CPU backend on this machine's own instruction set.
inline BackendChoice best_cpu() { return {BackendChoice::Kind::cpu, "cpu", cpu::best_isa(), {}}; }

/// A backend at work; the processor's own instruction set is back afterwards.
class Backend {
 public:
  explicit Backend(const BackendChoice& choice) {
    cpu::set_isa(choice.isa);
    if (choice.kind == BackendChoice::Kind::cpu) ops_ = make_cpu_ops();
    if (choice.kind == BackendChoice::Kind::emulated) ops_ = make_emulated_ops(choice.execution);
    if (choice.kind == BackendChoice::Kind::cuda) ops_ = make_cuda_ops();
  }
  ~Backend() { cpu::set_isa(cpu::best_isa()); }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  Ops& ops() { return *ops_; }

 private:
  std::unique_ptr<Ops> ops_;
};

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

// Names end with the backend: "/cuda", or "_on_cuda" after the case. So that a filter can choose one, scripts/gpu_check.sh's does.
inline std::string backend_name(const testing::TestParamInfo<BackendChoice>& info) { return info.param.name; }

/// A case on one backend.
struct CaseOnBackend {
  OpCase op_case;
  BackendChoice backend;
};

inline void PrintTo(const CaseOnBackend& each, std::ostream* out) { *out << each.op_case.name() << " on " << each.backend.name; }

inline std::vector<CaseOnBackend> on_all_backends(const std::vector<OpCase>& cases) {
  std::vector<CaseOnBackend> all;
  for (const BackendChoice& backend : all_backends())
    for (const OpCase& op_case : cases) all.push_back({op_case, backend});
  return all;
}

/// "12_layernorm_backward_R_7_C_33_on_cuda"
inline std::string test_name_on_backend(const testing::TestParamInfo<CaseOnBackend>& info) {
  return test_name({info.param.op_case, info.index}) + "_on_" + info.param.backend.name;
}

}  // namespace temper
