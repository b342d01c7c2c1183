#include "kernels/cuda/optimizer.h"

#include <cmath>
#include <cstdint>
#include <utility>
#include <variant>

#include "kernels/cuda/vector.cuh"

namespace temper::TEMPER_BACKEND {

namespace {

// A block updates `chunk` consecutive elements at a time: per thread two 16-byte loads of each f32 buffer, 128 bytes of AdamW in
// flight, which four blocks per multiprocessor multiply to 128 KiB.
constexpr int threads = 256;
constexpr int blocks_per_multiprocessor = 4;
constexpr int width = vector_width<float>;
constexpr int vectors_per_thread = 2;
constexpr std::int64_t chunk = std::int64_t{threads} * vectors_per_thread * width;

template <typename Rule>
struct Update {
  Rule rule;
  StepScalars scalars;
  float rate, weight_decay;

  __device__ __forceinline__ float operator()(float weight, float gradient, float (&state)[Rule::states]) const {
    return call(weight, gradient * scalars.clip_factor, state, std::make_index_sequence<Rule::states>());
  }
  template <std::size_t... State>
  __device__ __forceinline__ float call(float weight, float gradient, float (&state)[Rule::states],
                                        std::index_sequence<State...>) const {
    return rule.update(weight, gradient, &state[State]..., rate, weight_decay, scalars);
  }
};

// Four neighbouring bf16 in one 8-byte store; a warp's stores fill whole sectors, as they would not with 16 bytes per thread and
// every other one.
__device__ __forceinline__ void store_low_precision(bfloat16* to, const float (&values)[width]) {
  *reinterpret_cast<uint2*>(to) = {pack_bf16(values[0], values[1]), pack_bf16(values[2], values[3])};
}

// Elements [first, first + chunk), as far as they are before `end`. `first` is a multiple of `width`.
template <typename Rule>
__device__ __forceinline__ void update_chunk(const Update<Rule>& update, const UpdateBuffers& buffers, std::int64_t first,
                                             std::int64_t end) {
  float weight[vectors_per_thread][width], gradient[vectors_per_thread][width], state[Rule::states][vectors_per_thread][width];
  const auto place = [&](int i) { return first + (std::int64_t{i} * threads + threadIdx.x) * width; };

#pragma unroll
  for (int i = 0; i < vectors_per_thread; ++i) {
    if (place(i) + width > end) continue;
    load_vector_streaming(buffers.gradient + place(i), gradient[i]);
    load_vector_streaming(buffers.master + place(i), weight[i]);
#pragma unroll
    for (int s = 0; s < Rule::states; ++s) load_vector_streaming(buffers.state[s] + place(i), state[s][i]);
  }
#pragma unroll
  for (int i = 0; i < vectors_per_thread; ++i) {
    if (place(i) + width > end) continue;
#pragma unroll
    for (int element = 0; element < width; ++element) {
      float states[Rule::states];
#pragma unroll
      for (int s = 0; s < Rule::states; ++s) states[s] = state[s][i][element];
      weight[i][element] = update(weight[i][element], gradient[i][element], states);
#pragma unroll
      for (int s = 0; s < Rule::states; ++s) state[s][i][element] = states[s];
    }
    store_vector_streaming(buffers.master + place(i), weight[i]);
#pragma unroll
    for (int s = 0; s < Rule::states; ++s) store_vector_streaming(buffers.state[s] + place(i), state[s][i]);
    if (buffers.low_precision != nullptr) store_low_precision(buffers.low_precision + place(i), weight[i]);
  }

  // Up to three elements behind the segment's last whole vector.
  const std::int64_t last = end - end % width + threadIdx.x;
  if (last >= end || last >= first + chunk) return;
  float states[Rule::states];
#pragma unroll
  for (int s = 0; s < Rule::states; ++s) states[s] = buffers.state[s][last];
  const float updated = update(buffers.master[last], buffers.gradient[last], states);
  buffers.master[last] = updated;
#pragma unroll
  for (int s = 0; s < Rule::states; ++s) buffers.state[s][last] = states[s];
  if (buffers.low_precision != nullptr) store_element(buffers.low_precision + last, updated);
}

// The chunks of all segments are numbered through; block b takes the chunks b, b + gridDim.x, ... So every block gets equally many,
// and the host need not know the table. Walking it costs each block some hundred cached loads.
template <typename Rule>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    optimizer_update_kernel(Rule rule, UpdateBuffers buffers, const ParameterSegment* segments, std::int64_t segment_count,
                            const StepScalars* scalars) {
  if (scalars->finite == 0) return;
  Update<Rule> update{rule, *scalars, 0.0f, 0.0f};
  std::int64_t next = blockIdx.x;  // this block's next chunk, counted from the segment's first
  for (std::int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment segment = segments[s];
    const std::int64_t elements = segment.rows * segment.columns;
    const std::int64_t chunks = (elements + chunk - 1) / chunk;
    update.rate = update.scalars.learning_rate * segment.learning_rate_scale;
    update.weight_decay = segment.weight_decay;
    for (; next < chunks; next += gridDim.x)
      update_chunk(update, buffers, segment.offset + next * chunk, segment.offset + elements);
    next -= chunks;
  }
}

}  // namespace

void optimizer_update(const UpdateRule& rule, const UpdateBuffers& buffers, const ParameterSegment* segments,
                      std::int64_t segment_count, const StepScalars* scalars, Stream& stream) {
  // Every element is on its own, so the grid may follow the machine.
  const LaunchShape shape = {dim3(static_cast<unsigned>(stream.device().multiprocessors() * blocks_per_multiprocessor)),
                             dim3(threads)};
  std::visit(
      [&]<typename Rule>(const Rule& named) {
        launch("optimizer_update", optimizer_update_kernel<Rule>, shape, stream, named, buffers, segments, segment_count, scalars);
      },
      rule);
}

}  // namespace temper::TEMPER_BACKEND
