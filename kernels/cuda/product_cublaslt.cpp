// Products through cuBLASLt. Its matrices are column-major: the memory of a row-major [R,C] is its [C,R], so d = op(a) op(b) is
// asked for as d^T = op(b)^T op(a)^T. Its A is our b, its B our a; its rows of D are our columns (output features), its columns our
// rows.
#include <device/product.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <compare>
#include <cstring>
#include <initializer_list>
#include <iomanip>
#include <map>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "kernels/cuda/cublaslt_library.h"
#include "kernels/gpu_scratch.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int most_candidates = 16;

void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError(std::string(what) + ": " + cublaslt().status_string(status));
}

// Owns one of the library's opaque objects.
template <auto destroy>
struct Destroy {
  template <typename Object>
  void operator()(Object* object) const {
    (cublaslt().*destroy)(object);
  }
};
template <typename Pointer, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<destroy>>;

using Handle = Owned<cublasLtHandle_t, &CublasLt::destroy>;
using Operation = Owned<cublasLtMatmulDesc_t, &CublasLt::destroy_operation>;
using Layout = Owned<cublasLtMatrixLayout_t, &CublasLt::destroy_layout>;
using Preference = Owned<cublasLtMatmulPreference_t, &CublasLt::destroy_preference>;

Handle make_handle() {
  cublasLtHandle_t handle = nullptr;
  check_cublas(cublaslt().create(&handle), "cublasLtCreate");
  return Handle(handle);
}

cudaDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

Layout make_layout(ConstTensorView row_major) {
  cublasLtMatrixLayout_t layout = nullptr;
  const auto rows = static_cast<std::uint64_t>(row_major.shape[0]), columns = static_cast<std::uint64_t>(row_major.shape[1]);
  check_cublas(cublaslt().create_layout(&layout, type_of(row_major.dtype), columns, rows, row_major.shape[1]),
               "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

template <typename Value>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, Value value) {
  check_cublas(cublaslt().set_operation(operation.get(), attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
}

template <typename Value>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  check_cublas(cublaslt().set_preference(preference.get(), attribute, &value, sizeof(value)),
               "cublasLtMatmulPreferenceSetAttribute");
}

// What is added to the product, C in the library's terms; with nothing to add it has to be there all the same.
ConstTensorView added_by(const ProductCall& call) { return call.residual.present() ? call.residual : call.d; }

bool has_bias(const ProductCall& call) {
  return call.bias.present() && call.epilogue != ProductEpilogue::none && call.epilogue != ProductEpilogue::gelu_backward;
}
bool has_aux(const ProductCall& call) {
  return call.epilogue == ProductEpilogue::bias_gelu || call.epilogue == ProductEpilogue::gelu_backward;
}

cublasLtEpilogue_t epilogue_of(const ProductCall& call) {
  switch (call.epilogue) {
    case ProductEpilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case ProductEpilogue::bias_gelu:
      return has_bias(call) ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case ProductEpilogue::gelu_backward:
      return CUBLASLT_EPILOGUE_DGELU;
    case ProductEpilogue::bias_gradient:
      return CUBLASLT_EPILOGUE_BGRADB;  // sums of its B, our a; as long as its columns of D
    case ProductEpilogue::none:
      break;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

const char* name_of(ProductEpilogue epilogue) {
  constexpr std::array names = {"none", "bias", "bias_gelu", "gelu_backward", "bias_gradient"};
  return names[static_cast<std::size_t>(epilogue)];
}

// The largest power of two up to 256, the library's own maximum, on which an address lies; 0 for nothing.
std::uint32_t alignment_of(const void* address) {
  const auto bits = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address) | 256);
  return address == nullptr ? 0 : bits & (~bits + 1);
}

// All of a call that the choice of an algorithm may depend on.
struct Key {
  std::int64_t m, n, k;
  DType a, d;
  bool a_transposed, b_transposed, accumulate;
  ProductEpilogue epilogue;
  bool bias, residual;
  std::array<std::uint32_t, 6> alignment;  // of a, b, d, residual, bias, aux; 0 for what is not there

  explicit Key(const ProductCall& call)
      : m(call.m),
        n(call.n),
        k(call.k),
        a(call.a.dtype),
        d(call.d.dtype),
        a_transposed(call.a_transposed),
        b_transposed(call.b_transposed),
        accumulate(call.accumulate),
        epilogue(call.epilogue),
        bias(has_bias(call)),
        residual(call.residual.present()),
        alignment{alignment_of(call.a.data),
                  alignment_of(call.b.data),
                  alignment_of(call.d.data),
                  alignment_of(call.residual.data),
                  alignment_of(has_bias(call) ? call.bias.data : nullptr),
                  alignment_of(has_aux(call) ? call.aux.data : nullptr)} {}

  auto operator<=>(const Key&) const = default;

  std::string text() const {
    std::ostringstream all;
    all << "m=" << m << " n=" << n << " k=" << k << ' ' << temper::name_of(a) << (a_transposed ? " a^T" : " a")
        << (b_transposed ? " b^T" : " b") << (accumulate ? " += " : " = ") << temper::name_of(d) << ' ' << name_of(epilogue)
        << (bias ? " with bias" : "") << (residual ? " with residual" : "") << " aligned";
    for (const std::uint32_t one : alignment) all << ' ' << one;
    return all.str();
  }
};

// How a call is carried out; made once for each Key.
struct Plan {
  Operation operation;
  Layout a, b, d;
  std::vector<cublasLtMatmulAlgo_t> candidates;  // by the library's estimate, best first; empty: it cannot
  bool chosen = false;
  cublasLtMatmulAlgo_t algorithm{};
  std::optional<bool> fused;  // rather than apart, where there is an epilogue
};

// The pointers inside an operation. The heuristic looks at their alignment, so they are there before it is asked.
void set_pointers(const Plan& plan, const ProductCall& call) {
  if (has_bias(call)) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias.data);
  if (has_aux(call)) set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.aux.data);
}

Operation make_operation(const ProductCall& call, bool tf32) {
  cublasLtMatmulDesc_t made = nullptr;
  const cublasComputeType_t compute = tf32 && call.a.dtype == DType::f32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check_cublas(cublaslt().create_operation(&made, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Operation operation(made);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, call.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, call.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(call));
  if (has_bias(call)) set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(call.bias.dtype));
  if (has_aux(call)) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type_of(call.aux.dtype));
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, call.n);
  }
  return operation;
}

Preference make_preference(const ProductCall& call) {
  cublasLtMatmulPreference_t made = nullptr;
  check_cublas(cublaslt().create_preference(&made), "cublasLtMatmulPreferenceCreate");
  Preference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{cublaslt_workspace_bytes});
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(call.b.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(call.a.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(added_by(call).data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(call.d.data));
  // The parts of a split sum stay f32: in the workspace or, where d is f32, in d itself.
  std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (call.d.dtype == DType::f32) schemes |= CUBLASLT_REDUCTION_SCHEME_INPLACE;
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  return preference;
}

// A copy of d that timing adds to, put back at the end.
class Saved {
 public:
  Saved(Device& device, Stream& stream, TensorView tensor) : device_(device), stream_(stream), tensor_(tensor) {
    copy_ = device_.allocate(tensor.bytes());
    stream_.copy(copy_, tensor_.data, tensor_.bytes());
  }
  ~Saved() { device_.release(copy_); }
  Saved(const Saved&) = delete;
  Saved& operator=(const Saved&) = delete;

  void put_back() {
    stream_.copy(tensor_.data, copy_, tensor_.bytes());
    stream_.synchronize();
  }

 private:
  Device& device_;
  Stream& stream_;
  TensorView tensor_;
  void* copy_;
};

// An algorithm is 64 bytes of the library's own; kept as hexadecimal digits.
std::string text_of(const cublasLtMatmulAlgo_t& algorithm) {
  std::array<unsigned char, sizeof(algorithm)> bytes;
  std::memcpy(bytes.data(), &algorithm, bytes.size());
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (const unsigned char byte : bytes) text << std::setw(2) << int{byte};
  return text.str();
}

std::optional<cublasLtMatmulAlgo_t> algorithm_of(const std::string& text) {
  std::array<unsigned char, sizeof(cublasLtMatmulAlgo_t)> bytes;
  if (text.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* const digits = text.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, bytes[i], 16).ptr != digits + 2) return std::nullopt;
  }
  cublasLtMatmulAlgo_t algorithm;
  std::memcpy(&algorithm, bytes.data(), bytes.size());
  return algorithm;
}

}  // namespace

struct Product::State {
  State(Device& of, Stream& on, Choices& with)
      : device(of), stream(on), choices(with), handle(make_handle()), workspace(of.allocate(cublaslt_workspace_bytes)) {}
  ~State() { device.release(workspace); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Plan& plan_for(const Key& key, const ProductCall& call);
  std::vector<cublasLtMatmulAlgo_t> ask(const Plan& plan, const Key& key, const ProductCall& call);
  bool usable(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm) const;
  cublasLtMatmulAlgo_t choose(const Plan& plan, const Key& key, const ProductCall& call);
  cublasLtMatmulAlgo_t fastest(const Plan& plan, const ProductCall& call);
  cublasStatus_t multiply(const Plan& plan, const ProductCall& call, const cublasLtMatmulAlgo_t& algorithm) const;

  Device& device;
  Stream& stream;
  Choices& choices;
  Handle handle;
  void* workspace;
  std::map<Key, Plan> plans;
  std::vector<std::string> notes;
};

Plan& Product::State::plan_for(const Key& key, const ProductCall& call) {
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  Plan plan;
  plan.operation = make_operation(call, device.options().tf32);
  plan.a = make_layout(call.a);
  plan.b = make_layout(call.b);
  plan.d = make_layout(call.d);
  set_pointers(plan, call);
  plan.candidates = ask(plan, key, call);
  return plans.emplace(key, std::move(plan)).first->second;
}

std::vector<cublasLtMatmulAlgo_t> Product::State::ask(const Plan& plan, const Key& key, const ProductCall& call) {
  std::array<cublasLtMatmulHeuristicResult_t, most_candidates> results{};
  int count = 0;
  const cublasStatus_t status =
      cublaslt().heuristic(handle.get(), plan.operation.get(), plan.b.get(), plan.a.get(), plan.d.get(), plan.d.get(),
                           make_preference(call).get(), most_candidates, results.data(), &count);
  // "Not supported" and "invalid" are answers: a shape or an epilogue that the library cannot carry out.
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
    check_cublas(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<cublasLtMatmulAlgo_t> candidates;
  for (int i = 0; i < count; ++i)
    if (results[i].state == CUBLAS_STATUS_SUCCESS && results[i].workspaceSize <= cublaslt_workspace_bytes)
      candidates.push_back(results[i].algo);
  if (candidates.empty())
    notes.push_back(cublaslt_version() + " refuses the product " + key.text() + " (" +
                    (status == CUBLAS_STATUS_SUCCESS ? "no algorithm of it fits" : cublaslt().status_string(status)) + ")" +
                    (call.epilogue == ProductEpilogue::none ? "" : "; what follows it is done by a kernel of its own"));
  return candidates;
}

// Whether an algorithm out of a file suits the call.
bool Product::State::usable(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm) const {
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status = cublaslt().check_algorithm(handle.get(), plan.operation.get(), plan.b.get(), plan.a.get(),
                                                           plan.d.get(), plan.d.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= cublaslt_workspace_bytes;
}

cublasStatus_t Product::State::multiply(const Plan& plan, const ProductCall& call, const cublasLtMatmulAlgo_t& algorithm) const {
  const float alpha = 1.0f, beta = call.accumulate || call.residual.present() ? 1.0f : 0.0f;
  return cublaslt().multiply(handle.get(), plan.operation.get(), &alpha, call.b.data, plan.b.get(), call.a.data, plan.a.get(),
                             &beta, added_by(call).data, plan.d.get(), call.d.data, plan.d.get(), &algorithm, workspace,
                             cublaslt_workspace_bytes, stream.get());
}

cublasLtMatmulAlgo_t Product::State::choose(const Plan& plan, const Key& key, const ProductCall& call) {
  const std::string product = key.text();
  const auto usable_one = [&](const std::optional<std::string>& kept) {
    std::optional<cublasLtMatmulAlgo_t> algorithm = kept ? algorithm_of(*kept) : std::nullopt;
    return algorithm && usable(plan, *algorithm) ? algorithm : std::nullopt;
  };
  if (const auto kept = usable_one(choices.find(product))) return *kept;
  if (!choices.may_time()) return plan.candidates.front();
  try {
    const cublasLtMatmulAlgo_t found = fastest(plan, call);
    return usable_one(choices.keep(product, text_of(found))).value_or(found);
  } catch (const OutOfMemory&) {  // no room for the copy that timing needs
    return plan.candidates.front();
  }
}

// Times every candidate on the call itself, real operands and all: what it overwrites, the call overwrites anyway, and what it adds
// to is put back. Of candidates that are as fast the library's own order decides.
cublasLtMatmulAlgo_t Product::State::fastest(const Plan& plan, const ProductCall& call) {
  std::unique_ptr<Saved> saved;
  if (call.accumulate) saved = std::make_unique<Saved>(device, stream, call.d);
  std::vector<Way> ways;
  for (const cublasLtMatmulAlgo_t& algorithm : plan.candidates)
    ways.emplace_back([&] { return multiply(plan, call, algorithm) == CUBLAS_STATUS_SUCCESS; });
  const std::size_t place = choices.fastest(ways);
  if (saved != nullptr) saved->put_back();
  return plan.candidates[place];
}

Product::Product(Device& device, Stream& stream, Choices& choices) : state_(std::make_unique<State>(device, stream, choices)) {}
Product::~Product() = default;

bool Product::supports(const ProductCall& call) {
  state_->device.make_current();
  return !state_->plan_for(Key(call), call).candidates.empty();
}

bool Product::fuses(const ProductCall& call, const Way& apart) {
  if (!supports(call)) return false;
  const Key key(call);
  Plan& plan = state_->plan_for(key, call);
  if (!plan.fused)
    plan.fused =
        state_->choices.of(key.text() + ", fused or apart", {"fused", "apart"}, {[&] { return run(call), true; }, apart}, 0) == 0;
  return *plan.fused;
}

void Product::run(const ProductCall& call) {
  state_->device.make_current();
  const Key key(call);
  Plan& plan = state_->plan_for(key, call);
  if (plan.candidates.empty()) throw Unsupported(cublaslt_version() + " has no algorithm for the product " + key.text());
  set_pointers(plan, call);
  if (!plan.chosen) {
    plan.algorithm = state_->choose(plan, key, call);
    plan.chosen = true;
  }
  check_cublas(state_->multiply(plan, call, plan.algorithm), "cublasLtMatmul");
}

void Product::choose_again() {
  for (auto& [key, plan] : state_->plans) {
    plan.chosen = false;
    plan.fused.reset();
  }
}

std::vector<std::string> Product::take_notes() { return std::exchange(state_->notes, {}); }

std::string Product::description() const {
  const std::string& path = state_->choices.path();
  return cublaslt_version() + (path.empty() ? "" : ", algorithms timed once and kept in " + path);
}

}  // namespace temper::TEMPER_BACKEND
