#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/host_device.h"

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int warps = 8;                  // of a block
constexpr int rows_in_flight = 8;         // loads of a thread that are under way at once
constexpr int window = embedding_window;  // positions, in order of token, that one warp sums; a multiple of 32
static_assert(window % 32 == 0 && 32 % rows_in_flight == 0);

// A warp per row.
template <typename T, int width>
__global__ void __launch_bounds__(warps * 32) forward_kernel(const std::int32_t* tokens, const T* wte, const T* wpe, T* out,
                                                             std::int64_t rows, std::int64_t length, int columns) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  if (row >= rows) return;
  const T* token_row = wte + static_cast<std::int64_t>(tokens[row]) * columns;
  const T* position_row = wpe + row % length * columns;
#pragma unroll 4
  for (int column = lane * width; column < columns; column += 32 * width) {
    float values[width], position[width];
    load_elements<width>(token_row + column, values);
    load_elements<width>(position_row + column, position);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] += position[i];
    store_elements<width>(out + row * columns + column, values);
  }
}

// The gradient of wte. Positions sorted by token form runs of one token each, and windows of equal length, whatever the runs, share
// the work. A run inside one window goes to dwte at once. Of other runs each window leaves its part in a partial row, and the
// window where the run begins adds them up afterwards. A window has at most two such parts: of a run begun before it, and of one
// that begins in it and goes on.
enum Part : int { begun_before = 0, goes_on = 1, parts = embedding_parts_per_window };

struct TokenGradient {
  SortedTokens sorted;
  int count;    ///< positions
  int columns;  ///< channels
  int slices;   ///< warps side by side for all channels
  float* dwte;
  float* partials;  ///< [windows, parts, columns]

  __host__ __device__ int windows() const { return ceil_div(count, window); }
  __device__ __forceinline__ float* partial(int of_window, Part part) const {
    return partials + (static_cast<std::int64_t>(of_window) * parts + part) * columns;
  }
  __device__ __forceinline__ float* gradient(std::int32_t token) const { return dwte + static_cast<std::int64_t>(token) * columns; }
  /// The positions of a window.
  __device__ __forceinline__ int begin(int of_window) const { return of_window * window; }
  __device__ __forceinline__ int end(int of_window) const { return min((of_window + 1) * window, count); }
  /// Whether the window's first run began before it, and whether its last run goes on behind it.
  __device__ __forceinline__ bool first_run_begun_before(int of_window) const {
    const int first = begin(of_window);
    return first > 0 && sorted.tokens[first - 1] == sorted.tokens[first];
  }
  __device__ __forceinline__ bool last_run_goes_on(int of_window) const {
    const int behind = end(of_window);
    return behind < count && sorted.tokens[behind] == sorted.tokens[behind - 1];
  }
};

template <int width>
__device__ __forceinline__ void add_to(float* to, const float (&sums)[width]) {
  float values[width];
  load_elements<width>(to, values);
#pragma unroll
  for (int i = 0; i < width; ++i) values[i] += sums[i];
  store_elements<width>(to, values);
}

// A warp per window and slice of 32 * width channels.
template <typename T, int width>
__global__ void __launch_bounds__(warps * 32) sum_windows_kernel(const T* dout, TokenGradient a) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  const int here = static_cast<int>(warp / a.slices);
  if (here >= a.windows()) return;
  const int column = (static_cast<int>(warp % a.slices) * 32 + lane) * width;
  const bool active = column < a.columns;
  const T* from = dout + (active ? column : 0);  // lanes without a column read along and write nothing

  const int end = a.end(here);
  std::int32_t current = a.sorted.tokens[a.begin(here)];
  bool run_begun_before = a.first_run_begun_before(here);
  float sums[width] = {};
  for (int first = a.begin(here); first < end; first += 32) {
    const bool there = first + lane < end;
    const std::int32_t lane_token = there ? a.sorted.tokens[first + lane] : 0;
    const std::int32_t lane_position = there ? a.sorted.positions[first + lane] : 0;
    for (int k = 0; k < 32 && first + k < end; k += rows_in_flight) {
      float gradients[rows_in_flight][width];
#pragma unroll
      for (int j = 0; j < rows_in_flight; ++j) {
        const std::int64_t position = __shfl_sync(~0u, lane_position, k + j);
        load_elements<width>(from + position * a.columns, gradients[j]);
      }
#pragma unroll
      for (int j = 0; j < rows_in_flight; ++j) {
        const std::int32_t token = __shfl_sync(~0u, lane_token, k + j);
        if (first + k + j >= end) continue;
        if (token != current) {
          if (active && run_begun_before) store_elements<width>(a.partial(here, begun_before) + column, sums);
          if (active && !run_begun_before) add_to<width>(a.gradient(current) + column, sums);
          current = token;
          run_begun_before = false;
#pragma unroll
          for (float& sum : sums) sum = 0.0f;
        }
#pragma unroll
        for (int i = 0; i < width; ++i) sums[i] += gradients[j][i];
      }
    }
  }
  if (!active) return;
  if (run_begun_before)
    store_elements<width>(a.partial(here, begun_before) + column, sums);
  else if (a.last_run_goes_on(here))
    store_elements<width>(a.partial(here, goes_on) + column, sums);
  else
    add_to<width>(a.gradient(current) + column, sums);
}

// A warp per window and slice; it has work where a run begins in the window and goes on behind it.
template <int width>
__global__ void __launch_bounds__(warps * 32) sum_long_runs_kernel(TokenGradient a) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  const int here = static_cast<int>(warp / a.slices);
  if (here >= a.windows() || !a.last_run_goes_on(here)) return;
  const std::int32_t token = a.sorted.tokens[a.end(here) - 1];
  if (a.sorted.tokens[a.begin(here)] == token && a.first_run_begun_before(here)) return;

  // The last window that the run reaches: each lane asks one window behind this whether the run goes on from it.
  int last = here + 1;
  while (true) {
    const int asked = last + lane;
    const bool on = asked < a.windows() && a.end(asked) < a.count && a.sorted.tokens[a.end(asked)] == token;
    const int going_on = __popc(__ballot_sync(~0u, on));
    last += going_on;
    if (going_on < 32) break;
  }

  const int column = (static_cast<int>(warp % a.slices) * 32 + lane) * width;
  if (column >= a.columns) return;
  float sums[width];
  load_elements<width>(a.partial(here, goes_on) + column, sums);
#pragma unroll 8
  for (int other = here + 1; other <= last; ++other) {
    float partial[width];
    load_elements<width>(a.partial(other, begun_before) + column, partial);
#pragma unroll
    for (int i = 0; i < width; ++i) sums[i] += partial[i];
  }
  add_to<width>(a.gradient(token) + column, sums);
}

// A thread per position and `width` channels.
template <typename T, int width>
__global__ void __launch_bounds__(warps * 32)
    position_gradient_kernel(const T* dout, float* dwpe, std::int64_t batch, std::int64_t row_elements, bool accumulate) {
  const std::int64_t element = (static_cast<std::int64_t>(blockIdx.x) * warps * 32 + threadIdx.x) * width;
  if (element >= row_elements) return;
  float sums[width] = {};
  if (accumulate) load_elements<width>(dwpe + element, sums);
#pragma unroll 8
  for (std::int64_t b = 0; b < batch; ++b) {
    float gradients[width];
    load_elements<width>(dout + b * row_elements + element, gradients);
#pragma unroll
    for (int i = 0; i < width; ++i) sums[i] += gradients[i];
  }
  store_elements<width>(dwpe + element, sums);
}

template <typename T, int width>
void launch_forward(const op::EmbeddingForward& args, Stream& stream) {
  const std::int64_t rows = args.tokens.numel(), columns = args.out.shape[2];
  launch("embedding_forward", forward_kernel<T, width>, {dim3(static_cast<unsigned>(ceil_div(rows, warps))), dim3(warps * 32)},
         stream, args.tokens.as<std::int32_t>(), args.wte.as<T>(), args.wpe.as<T>() + args.first_position * columns,
         args.out.as<T>(), rows, args.out.shape[1], columns);
}

template <typename T>
void forward_of(const op::EmbeddingForward& args, Stream& stream) {
  if (rows_of_vectors<T>(args.out.shape[2], {args.wte.data, args.wpe.data, args.out.data}))
    launch_forward<T, vector_width<T>>(args, stream);
  else
    launch_forward<T, 1>(args, stream);
}

template <typename T, int width>
void launch_backward(ConstTensorView dout, TensorView dwpe, Write write_wpe, TokenGradient tokens, Stream& stream) {
  tokens.slices = (tokens.columns + 32 * width - 1) / (32 * width);
  const LaunchShape shape = {
      dim3(static_cast<unsigned>(ceil_div(static_cast<std::int64_t>(tokens.windows()) * tokens.slices, warps))), dim3(warps * 32)};
  launch("embedding_windows", sum_windows_kernel<T, width>, shape, stream, dout.as<T>(), tokens);
  launch("embedding_long_runs", sum_long_runs_kernel<width>, shape, stream, tokens);

  const std::int64_t row_elements = dout.shape[1] * dout.shape[2];
  launch("position_gradient", position_gradient_kernel<T, width>,
         {dim3(static_cast<unsigned>(ceil_div(row_elements, warps * 32 * width))), dim3(warps * 32)}, stream, dout.as<T>(),
         dwpe.as<float>(), dout.shape[0], row_elements, write_wpe == Write::accumulate);
}

template <typename T>
void backward_of(ConstTensorView dout, TensorView dwpe, Write write_wpe, const TokenGradient& tokens, Stream& stream) {
  if (rows_of_vectors<T>(tokens.columns, {dout.data, tokens.dwte, dwpe.data}))
    launch_backward<T, vector_width<T>>(dout, dwpe, write_wpe, tokens, stream);
  else
    launch_backward<T, 1>(dout, dwpe, write_wpe, tokens, stream);
}

}  // namespace

void CudaOps::queue(const op::EmbeddingForward& args) {
  with_type(args.out.dtype, [&]<typename T>(T) { forward_of<T>(args, stream_); });
}

void CudaOps::queue(const op::EmbeddingBackward& args) {
  const std::int64_t count = args.tokens.numel(), C = args.dout.shape[2], T = args.dout.shape[1];
  void* scratch = workspace_.get(embedding_backward_scratch_bytes(count, C));
  const TokenGradient gradient = {
      .sorted = sort_tokens(args.tokens.as<std::int32_t>(), count, args.dwte.shape[0], scratch, stream_),
      .count = static_cast<int>(count),
      .columns = static_cast<int>(C),
      .slices = 0,
      .dwte = args.dwte.as<float>(),
      .partials = reinterpret_cast<float*>(static_cast<char*>(scratch) + token_sort_scratch_bytes(count)),
  };
  with_type(args.dout.dtype,
            [&]<typename Element>(Element) { backward_of<Element>(args.dout, args.dwpe, args.write_wpe, gradient, stream_); });
  if (args.write_wpe == Write::overwrite && T < args.dwpe.shape[0])
    stream_.zero(args.dwpe.as<float>() + T * C, static_cast<std::size_t>((args.dwpe.shape[0] - T) * C) * sizeof(float));
}

}  // namespace temper::TEMPER_BACKEND
