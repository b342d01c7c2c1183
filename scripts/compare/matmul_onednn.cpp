// Times temper's CPU linear layers beside oneDNN's matmul on the shapes of GPT-2 124M, in turn, in one process and on the same
// threads: forward with bias, gradient of the input, gradient of the weight (temper's with the bias gradient). oneDNN gets its
// weights in the layout it asks for, packed beforehand, as temper keeps its own packed.
//
//   apt-get install libdnnl-dev
//   cmake --build --preset release --target compare_onednn && build/release/scripts/compare/compare_onednn out.json
#include <oneapi/dnnl/dnnl_version.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "kernels/philox.h"

namespace {

using namespace temper;
using dnnl::memory;

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Timing {
  double median, p10, p90;
};

Timing summarize(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.1), at(0.9)};
}

/// Random tensor in f32 or bf16.
TensorView random_tensor(DeviceMemory& device, DType dtype, Shape shape, std::uint32_t stream) {
  const TensorView view = device.add("compare", dtype, shape);
  for (std::int64_t i = 0; i < view.numel(); ++i) {
    const float value =
        2.0f * uniform_open(random_block(1, RandomPurpose::benchmark, stream, static_cast<std::uint64_t>(i)).word[0]) - 1.0f;
    if (dtype == DType::bf16) {
      view.as<bfloat16>()[i] = to_bfloat16(value);
    } else {
      view.as<float>()[i] = value;
    }
  }
  return view;
}

/// One matmul C = A B (+ bias) of oneDNN, B reordered to the layout that its primitive prefers.
class OneDnnMatmul {
 public:
  OneDnnMatmul(const dnnl::engine& engine, ConstTensorView a, bool a_transposed, ConstTensorView b, bool b_transposed, bool pack_b,
               ConstTensorView bias, TensorView c)
      : stream_(engine) {
    const auto type = [](DType dtype) { return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32; };
    const auto desc = [&](ConstTensorView view, bool transposed) {
      const std::int64_t rows = view.shape.rows(), columns = view.shape.back();
      return transposed ? memory::desc({columns, rows}, type(view.dtype), memory::dims{1, columns})
                        : memory::desc({rows, columns}, type(view.dtype), memory::dims{columns, 1});
    };
    const memory::desc a_desc = desc(a, a_transposed), b_plain = desc(b, b_transposed), c_desc = desc(c, false);
    const memory::desc b_desc = pack_b ? memory::desc(b_plain.dims(), type(b.dtype), memory::format_tag::any) : b_plain;
    const memory::desc bias_desc =
        bias.present() ? memory::desc({1, c.shape.back()}, type(bias.dtype), memory::dims{c.shape.back(), 1}) : memory::desc();
    const dnnl::matmul::primitive_desc primitive({a_desc, b_desc, bias_desc, c_desc}, engine);
    matmul_ = dnnl::matmul(primitive);
    const auto of = [&](const memory::desc& what, const void* data) { return memory(what, engine, const_cast<void*>(data)); };
    memory b_memory = of(b_plain, b.data);
    if (primitive.weights_desc() != b_plain) {
      memory packed(primitive.weights_desc(), engine);
      dnnl::reorder(b_memory, packed).execute(stream_, b_memory, packed);
      stream_.wait();
      b_memory = packed;
    }
    arguments_ = {{DNNL_ARG_SRC, of(a_desc, a.data)}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, of(c_desc, c.data)}};
    if (bias.present()) arguments_.insert({DNNL_ARG_BIAS, of(bias_desc, bias.data)});
  }

  void run() {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, memory> arguments_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto ops = make_cpu_ops();
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const std::int64_t R = 1024;
  nlohmann::ordered_json json;
  json["context"] = {{"device", ops->device().name},
                     {"features", ops->device().features},
                     {"threads", ops->device().threads},
                     {"onednn", std::to_string(DNNL_VERSION_MAJOR) + "." + std::to_string(DNNL_VERSION_MINOR) + "." +
                                    std::to_string(DNNL_VERSION_PATCH)},
                     {"rows", R}};
  std::printf("| type | K -> N | product | temper GFLOP/s | oneDNN GFLOP/s | temper / oneDNN |\n|---|---|---|---|---|---|\n");

  for (const DType type : {DType::f32, DType::bf16}) {
    if (type == DType::bf16 && !ops->device().bf16) continue;
    for (const auto& [K, N] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}, {768, 50304}}) {
      DeviceMemory device(ops.get());
      const TensorView x = random_tensor(device, type, {R, K}, 1), w = random_tensor(device, type, {N, K}, 2);
      const TensorView dy = random_tensor(device, type, {R, N}, 3), bias = random_tensor(device, type, {N}, 4);
      const TensorView y = random_tensor(device, type, {R, N}, 5), dx = random_tensor(device, type, {R, K}, 6);
      const TensorView dw = random_tensor(device, DType::f32, {N, K}, 7), dbias = random_tensor(device, DType::f32, {N}, 8);
      ops->register_weight(w);
      OneDnnMatmul forward(engine, x, false, w, true, true, bias, y);
      OneDnnMatmul backward_input(engine, dy, false, w, false, true, {}, dx);
      OneDnnMatmul backward_weight(engine, dy, true, x, false, false, {}, dw);

      struct Product {
        const char* name;
        std::function<void()> ours, theirs;
      };
      const std::vector<Product> products = {
          {"forward", [&] { ops->linear_forward(x, w, bias, Epilogue::bias, y, {}); }, [&] { forward.run(); }},
          {"input gradient", [&] { ops->linear_backward_input(dy, w, {}, dx); }, [&] { backward_input.run(); }},
          {"weight gradient", [&] { ops->linear_backward_weight(dy, x, dw, dbias, Write::overwrite); },
           [&] { backward_weight.run(); }}};
      for (const Product& product : products) {
        product.ours();
        product.theirs();
        std::vector<double> ours, theirs;
        for (int i = 0; i < 15; ++i) {
          ours.push_back(seconds(product.ours));
          theirs.push_back(seconds(product.theirs));
        }
        const double flops = 2.0 * static_cast<double>(R) * static_cast<double>(K) * static_cast<double>(N);
        const Timing a = summarize(ours), b = summarize(theirs);
        const std::string name =
            std::string(name_of(type)) + "/" + std::to_string(K) + "->" + std::to_string(N) + "/" + product.name;
        json["benchmarks"].push_back({{"name", name},
                                      {"temper_seconds", {{"median", a.median}, {"p10", a.p10}, {"p90", a.p90}}},
                                      {"onednn_seconds", {{"median", b.median}, {"p10", b.p10}, {"p90", b.p90}}},
                                      {"flops", flops}});
        std::printf("| %s | %lld -> %lld | %s | %.0f | %.0f | %.2f |\n", name_of(type), static_cast<long long>(K),
                    static_cast<long long>(N), product.name, flops / a.median / 1e9, flops / b.median / 1e9, b.median / a.median);
        std::fflush(stdout);
      }
    }
  }
  if (argc > 1) std::ofstream(argv[1]) << json.dump(2) << "\n";
  return 0;
}
