// Prints, as JSON, how the kernels of a training step are launched and what they ask of memory, for scripts/kernels_page.py.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "audited_case.h"

namespace temper {
namespace {

// Parts of a step of GPT-2 124M in which everything that decides which kernels are launched, and how, is as large as there: one layer
// on a short sequence, a few rows of logits, and few parameters, since updates look at each by itself.
struct Part {
  Dimensions dimensions;
  std::vector<std::string> operations;  // that begin so; empty: all that no other part has
};
const std::vector<Part> parts = {
    {{.batch = 1, .length = 128, .n_embd = 768, .n_head = 12, .vocab_size = 500, .n_ctx = 1024, .layers = 1},
     {"embedding", "layernorm", "linear", "gelu", "attention"}},
    {{.batch = 1, .length = 128, .n_embd = 64, .n_head = 1, .vocab_size = 500, .n_ctx = 128, .layers = 1}, {"attention_backward"}},
    {{.batch = 1, .length = 16, .n_embd = 64, .n_head = 1, .vocab_size = 50257, .n_ctx = 16, .layers = 1}, {"cross_entropy"}},
    {{.batch = 1, .length = 16, .n_embd = 128, .n_head = 2, .vocab_size = 500, .n_ctx = 128, .layers = 1}, {}},
};

bool begins_with(const std::string& operation, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const std::string& one) { return operation.starts_with(one); });
}

bool is_of(const Part& part, const std::string& operation) {
  if (!part.operations.empty()) return begins_with(operation, part.operations);
  return std::none_of(parts.begin(), parts.end(), [&](const Part& other) { return begins_with(operation, other.operations); });
}

struct Sum {
  std::uint64_t requests = 0, cost = 0, least = 0;
};

void print_memory(const char* key, const Sum& sum, const char* cost) {
  std::printf(", \"%s\": {\"requests\": %llu, \"%s\": %llu, \"least\": %llu}", key, static_cast<unsigned long long>(sum.requests),
              cost, static_cast<unsigned long long>(sum.cost), static_cast<unsigned long long>(sum.least));
}

void print_case(const OpCase& op_case, DType activation, bool first) {
  using namespace emulated::audit;
  const Report report = audited(op_case, activation, 1e9);
  std::printf("%s\n  {\"case\": \"%s\", \"activations\": \"%s\", \"bytes\": %.0f, \"kernels\": [", first ? "" : ",",
              op_case.name().c_str(), name_of(activation), op_case.bytes(activation));
  std::vector<const void*> functions;
  for (const Launches& each : report.launches) functions.push_back(each.function);
  const std::vector<std::string> names = names_of(functions);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Launches& each = report.launches[i];
    Sum global, shared;
    for (const Traffic& traffic : report.traffic) {
      if (traffic.kernel != each.kernel || traffic.function != each.function) continue;
      Sum& sum = traffic.shared ? shared : global;
      sum.requests += traffic.requests;
      sum.cost += traffic.cost;
      sum.least += traffic.least;
    }
    std::printf(
        "%s\n    {\"launched_as\": \"%s\", \"function\": \"%s\", \"threads\": %u, \"dynamic_shared_bytes\": %zu, "
        "\"launches\": %llu, \"blocks\": %llu",
        i == 0 ? "" : ",", each.kernel.c_str(), names[i].c_str(), each.threads, each.dynamic_shared_bytes,
        static_cast<unsigned long long>(each.launches), static_cast<unsigned long long>(each.blocks));
    print_memory("global", global, "sectors");
    print_memory("shared", shared, "wavefronts");
    std::printf("}");
  }
  std::printf("]}");
}

}  // namespace
}  // namespace temper

int main() {
  using namespace temper;
  std::printf("[");
  bool first = true;
  for (const Part& part : parts) {
    for (const OpCase& op_case : all_cases(Size::benchmark, part.dimensions)) {
      if (!is_of(part, op_case.op)) continue;
      for (const DType activation : {DType::f32, DType::bf16}) {
        if (activation == DType::bf16 && !op_case.has_activations()) continue;
        print_case(op_case, activation, first);
        first = false;
      }
    }
  }
  std::printf("\n]\n");
}
