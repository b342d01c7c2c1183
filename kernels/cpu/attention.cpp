// One thread works on one (sequence, head) at a time. It packs what a head's products read again and again, then goes through strips of
// scores as high as a register tile, which stay in cache; of a strip's tiles those wholly above the diagonal are left out. Every sum
// over positions runs in one order, in one thread.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa_kernels.h"
#include "kernels/host_device.h"

namespace temper::cpu {

namespace {

// Lays arrays side by side in one thread's scratch; with a null base it only counts.
class Layout {
 public:
  explicit Layout(char* base) : base_(base) {}

  template <typename T>
  T* take(std::int64_t count) {
    T* here = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return here;
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

// The matrices [T, D] of one head inside [B, T, ...] tensors, and products of strips of them.
struct Head {
  const GemmKernels& kernels;
  DType dtype;
  std::int64_t positions;  // T
  std::int64_t width;      // D
  std::int64_t padded_width() const { return round_up(width, kernels.tile_columns); }

  static std::int64_t round_up(std::int64_t count, std::int64_t unit) { return ceil_div(count, unit) * unit; }

  // A panel of tile_rows positions; panels of all positions; panels of tile_columns of D over all positions.
  std::int64_t a_bytes() const { return static_cast<std::int64_t>(kernels.panel_a_bytes(width)); }
  std::int64_t b_bytes() const {
    return ceil_div(positions, kernels.tile_columns) * static_cast<std::int64_t>(kernels.panel_b_bytes(width));
  }
  std::int64_t along_positions_bytes() const {
    return ceil_div(width, kernels.tile_columns) * static_cast<std::int64_t>(kernels.panel_b_bytes(positions));
  }
  // A panel of tile_rows rows of scores over one pass of the depth.
  std::int64_t scores_bytes() const { return static_cast<std::int64_t>(kernels.panel_a_bytes(kernels.depth_block)); }

  Strip strip(const char* matrix, std::int64_t stride, std::int64_t first, int tile) const {
    return {.data = matrix + static_cast<std::size_t>(first * stride) * size_of(dtype),
            .dtype = dtype,
            .stride = stride,
            .depth_contiguous = true,
            .count = static_cast<int>(std::min<std::int64_t>(tile, positions - first)),
            .depth = width};
  }

  void pack_a(const char* matrix, std::int64_t stride, std::int64_t first, char* panel) const {
    kernels.pack_a(strip(matrix, stride, first, kernels.tile_rows), panel);
  }
  void pack_b(const char* matrix, std::int64_t stride, char* panels) const {
    for (std::int64_t t = 0; t < positions; t += kernels.tile_columns, panels += kernels.panel_b_bytes(width))
      kernels.pack_b(strip(matrix, stride, t, kernels.tile_columns), panels);
  }
  void pack_along_positions(const char* matrix, std::int64_t stride, char* panels) const {
    for (std::int64_t d = 0; d < width; d += kernels.tile_columns, panels += kernels.panel_b_bytes(positions)) {
      const Strip columns = {.data = matrix + static_cast<std::size_t>(d) * size_of(dtype),
                             .dtype = dtype,
                             .stride = stride,
                             .depth_contiguous = false,
                             .count = static_cast<int>(std::min<std::int64_t>(kernels.tile_columns, width - d)),
                             .depth = positions};
      kernels.pack_b(columns, panels);
    }
  }

  // to[tile_rows][from `first` to `end`] = a panel of a times those positions of b; `first` is a multiple of tile_columns.
  void scores(const char* a, const char* b, std::int64_t first, std::int64_t end, float* to, std::int64_t stride) const {
    const std::size_t b_panel = kernels.panel_b_bytes(width);
    b += static_cast<std::size_t>(first / kernels.tile_columns) * b_panel;
    for (std::int64_t t = first; t < end; t += kernels.tile_columns, to += kernels.tile_columns, b += b_panel)
      kernels.multiply(kernels.padded(width), a, b, to, stride, false);
  }

  // Scores are f32: products of f32 read them where they lie, others from `panel`. There is memory for tile_rows of them.
  Panel strip_of_scores(const Strip& s, char* panel) const {
    if (kernels.rows_in_place && kernels.columns_in_place && !kernels.packs_bf16) {
      const std::int64_t element = sizeof(float), row = s.stride * element;
      return {static_cast<const char*>(s.data), s.depth_contiguous ? row : element, s.depth_contiguous ? element : row};
    }
    kernels.pack_a(s, panel);
    return kernels.packed_a(panel);
  }

  // to[tile_rows][padded_width] = or += a strip of scores times the positions of b from `first` on, a multiple of depth_unit.
  void product(Strip s, std::int64_t first, const char* b, char* panel, float* to, bool accumulate) const {
    b += static_cast<std::size_t>(first * kernels.tile_columns) * kernels.packed_size;
    const std::int64_t depth = s.depth;
    for (std::int64_t k = 0; k < depth; k += kernels.depth_block, accumulate = true) {
      s.depth = std::min(depth - k, kernels.depth_block);
      const Panel left = strip_of_scores(s, panel);
      const char* right = b + static_cast<std::size_t>(k * kernels.tile_columns) * kernels.packed_size;
      for (std::int64_t j = 0; j < padded_width(); j += kernels.tile_columns, right += kernels.panel_b_bytes(positions))
        kernels.tile(kernels.padded(s.depth), left, kernels.packed_b(right), kernels.tile_rows, to + j, padded_width(), accumulate,
                     nullptr);
      s.data = static_cast<const float*>(s.data) + kernels.depth_block * (s.depth_contiguous ? 1 : s.stride);
    }
  }
};

// Runs body(scratch of this thread, sequence, head) for all of them.
template <typename Body>
void for_heads(std::int64_t batch, std::int64_t heads, std::size_t scratch_bytes, const GemmKernels& kernels, const Body& body) {
  // Kept by the calling thread from call to call, and taken here so that a failure is thrown outside of the parallel region.
  static thread_local Buffer buffer;
  char* const scratch = buffer.reserve(scratch_bytes * static_cast<std::size_t>(omp_get_max_threads()));
#pragma omp parallel
  {
    kernels.enter();
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < batch * heads; ++task)
      body(scratch + scratch_bytes * static_cast<std::size_t>(omp_get_thread_num()), task / heads, task % heads);
    kernels.leave();
  }
}

struct ForwardScratch {
  char *keys, *values;
  char *queries, *panel;
  float *scores, *out, *maximum, *total;
  std::int64_t stride;  // of scores

  ForwardScratch(Layout& layout, const Head& head)
      : keys(layout.take<char>(head.b_bytes())),
        values(layout.take<char>(head.along_positions_bytes())),
        queries(layout.take<char>(head.a_bytes())),
        panel(layout.take<char>(head.scores_bytes())),
        // Rows a power of two apart would share their places in the first-level cache.
        stride(Head::round_up(head.positions, head.kernels.tile_columns) + 16) {
    const std::int64_t rows = head.kernels.tile_rows;
    scores = layout.take<float>(rows * stride);
    out = layout.take<float>(rows * head.padded_width());
    maximum = layout.take<float>(rows);
    total = layout.take<float>(rows);
  }
};

constexpr std::int64_t block = 288;  // keys, and queries, in a block of the backward pass: a multiple of every tile size

struct BackwardScratch {
  char *queries, *gradients;                           // read along D
  char *keys_along, *queries_along, *gradients_along;  // read along T
  char *left, *panel;
  float *scores, *score_gradients, *dq, *dk, *dv, *delta;

  BackwardScratch(Layout& layout, const Head& head)
      : queries(layout.take<char>(head.b_bytes())),
        gradients(layout.take<char>(head.b_bytes())),
        keys_along(layout.take<char>(head.along_positions_bytes())),
        queries_along(layout.take<char>(head.along_positions_bytes())),
        gradients_along(layout.take<char>(head.along_positions_bytes())),
        left(layout.take<char>(head.a_bytes())),
        panel(layout.take<char>(head.scores_bytes())),
        scores(layout.take<float>(head.kernels.tile_rows * block)),
        score_gradients(layout.take<float>(block * block)),
        dq(layout.take<float>(Head::round_up(head.positions, head.kernels.tile_rows) * head.padded_width())),
        dk(layout.take<float>(block * head.padded_width())),
        dv(layout.take<float>(block * head.padded_width())),
        delta(layout.take<float>(head.positions)) {}
};

template <typename Scratch>
std::size_t bytes_of(const Head& head) {
  Layout layout(nullptr);
  const Scratch counted(layout, head);
  return (layout.used() + 4095) / 4096 * 4096;
}

float scale_of(std::int64_t width) { return 1.0f / std::sqrt(static_cast<float>(width)); }

}  // namespace

void CpuOps::run(const op::AttentionForward& args) {
  const std::int64_t batch = args.out.shape[0], positions = args.out.shape[1], channels = args.out.shape[2];
  const Head head = {gemm_kernels(args.qkv.dtype), args.qkv.dtype, positions, channels / args.n_head};
  const AttentionKernels& attention = attention_kernels();
  const FinishKernels& finishing = finish_kernels();
  const std::int64_t width = head.width, padded = head.padded_width();
  const std::size_t size = size_of(args.qkv.dtype);

  for_heads(batch, args.n_head, bytes_of<ForwardScratch>(head), head.kernels, [&](char* memory, std::int64_t b, std::int64_t h) {
    Layout layout(memory);
    const ForwardScratch s(layout, head);
    const char* q =
        static_cast<const char*>(args.qkv.data) + static_cast<std::size_t>(b * positions * 3 * channels + h * width) * size;
    const char* k = q + static_cast<std::size_t>(channels) * size;
    const char* v = k + static_cast<std::size_t>(channels) * size;
    head.pack_b(k, 3 * channels, s.keys);
    head.pack_along_positions(v, 3 * channels, s.values);

    for (std::int64_t query = 0; query < positions; query += head.kernels.tile_rows) {
      const std::int64_t end = std::min(query + head.kernels.tile_rows, positions);  // of the queries, and of the keys they see
      const int rows = static_cast<int>(end - query);
      head.pack_a(q, 3 * channels, query, s.queries);
      head.scores(s.queries, s.keys, 0, end, s.scores, s.stride);
      attention.softmax({s.scores, s.stride, rows, static_cast<int>(query), scale_of(width)}, s.maximum, s.total);
      head.product({.data = s.scores, .dtype = DType::f32, .stride = s.stride, .count = rows, .depth = end}, 0, s.values, s.panel,
                   s.out, false);
      float* row_lse = args.lse.as<float>() + (b * args.n_head + h) * positions + query;
      for (int r = 0; r < rows; ++r) {
        row_lse[r] = s.maximum[r] + std::log(s.total[r]);
        s.total[r] = 1.0f / s.total[r];
      }
      attention.scale_rows(s.out, s.total, rows, static_cast<int>(padded));
      const Finish finish = {.kind = Finish::Kind::store, .dtype = args.out.dtype, .out = args.out.data, .stride = channels};
      finishing.finish(finish.at(b * positions + query, h * width), s.out, padded, rows, static_cast<int>(width));
    }
  });
}

void CpuOps::run(const op::AttentionBackward& args) {
  const std::int64_t batch = args.out.shape[0], positions = args.out.shape[1], channels = args.out.shape[2];
  const Head head = {gemm_kernels(args.qkv.dtype), args.qkv.dtype, positions, channels / args.n_head};
  const AttentionKernels& attention = attention_kernels();
  const FinishKernels& finishing = finish_kernels();
  const std::int64_t width = head.width, padded = head.padded_width();
  const std::size_t size = size_of(args.qkv.dtype);

  for_heads(batch, args.n_head, bytes_of<BackwardScratch>(head), head.kernels, [&](char* memory, std::int64_t b, std::int64_t h) {
    Layout layout(memory);
    const BackwardScratch s(layout, head);
    const std::size_t packed_offset = static_cast<std::size_t>(b * positions * 3 * channels + h * width) * size;
    const std::size_t plain_offset = static_cast<std::size_t>(b * positions * channels + h * width) * size;
    const char* q = static_cast<const char*>(args.qkv.data) + packed_offset;
    const char* k = q + static_cast<std::size_t>(channels) * size;
    const char* v = k + static_cast<std::size_t>(channels) * size;
    const char* d_out = static_cast<const char*>(args.dout.data) + plain_offset;
    const char* o = static_cast<const char*>(args.out.data) + plain_offset;
    head.pack_b(q, 3 * channels, s.queries);
    head.pack_b(d_out, channels, s.gradients);
    head.pack_along_positions(k, 3 * channels, s.keys_along);
    head.pack_along_positions(q, 3 * channels, s.queries_along);
    head.pack_along_positions(d_out, channels, s.gradients_along);
    attention.row_dots(d_out, o, args.out.dtype, channels, positions, width, s.delta);

    const float* head_lse = args.lse.as<float>() + (b * args.n_head + h) * positions;
    const Finish finish = {.kind = Finish::Kind::store, .dtype = args.dqkv.dtype, .out = args.dqkv.data, .stride = 3 * channels};
    const int tile = head.kernels.tile_rows;
    for (std::int64_t key = 0; key < positions; key += block) {
      const std::int64_t key_end = std::min(key + block, positions);
      for (std::int64_t query = key; query < positions; query += block) {
        const std::int64_t query_end = std::min(query + block, positions);
        // The transposes of p and of its gradient, a strip of keys at a time: all that dk and dv take from this block.
        for (std::int64_t row = key; row < key_end; row += tile) {
          const int rows = static_cast<int>(std::min<std::int64_t>(tile, key_end - row));
          const std::int64_t first = query > key ? query : row / head.kernels.tile_columns * head.kernels.tile_columns;
          const std::int64_t seen = std::max(first, row / head.kernels.depth_unit * head.kernels.depth_unit);
          float* const gradients = s.score_gradients + (row - key) * block + (first - query);
          head.pack_a(k, 3 * channels, row, s.left);
          head.scores(s.left, s.queries, first, query_end, s.scores, block);
          head.pack_a(v, 3 * channels, row, s.left);
          head.scores(s.left, s.gradients, first, query_end, gradients, block);
          attention.scores_gradient({s.scores, block, rows, static_cast<int>(row - first), scale_of(width)}, gradients,
                                    static_cast<int>(query_end - first), head_lse + first, s.delta + first);
          Strip strip = {
              .data = s.scores + (seen - first), .dtype = DType::f32, .stride = block, .count = rows, .depth = query_end - seen};
          float *const dv = s.dv + (row - key) * padded, *const dk = s.dk + (row - key) * padded;
          head.product(strip, seen, s.gradients_along, s.panel, dv, query > key);
          strip.data = gradients + (seen - first);
          head.product(strip, seen, s.queries_along, s.panel, dk, query > key);
          if (query_end < positions) continue;
          finishing.finish(finish.at(b * positions + row, channels + h * width), dk, padded, rows, static_cast<int>(width));
          finishing.finish(finish.at(b * positions + row, 2 * channels + h * width), dv, padded, rows, static_cast<int>(width));
        }
        for (std::int64_t row = query; row < query_end; row += tile) {
          const Strip strip = {.data = s.score_gradients + (row - query),
                               .dtype = DType::f32,
                               .stride = block,
                               .depth_contiguous = false,
                               .count = static_cast<int>(std::min<std::int64_t>(tile, query_end - row)),
                               .depth = std::min<std::int64_t>(row + tile, key_end) - key};
          float* const dq = s.dq + row * padded;
          head.product(strip, key, s.keys_along, s.panel, dq, key > 0);
          if (query == key)
            finishing.finish(finish.at(b * positions + row, h * width), dq, padded, strip.count, static_cast<int>(width));
        }
      }
    }
  });
}

void CpuOps::run(const op::AttentionCached& args) {
  const std::int64_t batch = args.out.shape[0], steps = args.out.shape[1], channels = args.out.shape[2],
                     width = channels / args.n_head;
  const std::int64_t context = args.key_cache.shape[1];
  const AttentionKernels& attention = attention_kernels();
  const std::size_t size = size_of(args.qkv.dtype), row_bytes = static_cast<std::size_t>(channels) * size;
  const char* const new_rows = static_cast<const char*>(args.qkv.data);
  char* const keys = args.key_cache.as<char>();
  char* const values = args.value_cache.as<char>();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t i = 0; i < steps; ++i) {
      const char* from = new_rows + static_cast<std::size_t>((b * steps + i) * 3) * row_bytes;
      const std::size_t to = static_cast<std::size_t>(b * context + args.start + i) * row_bytes;
      std::memcpy(keys + to, from + row_bytes, row_bytes);
      std::memcpy(values + to, from + 2 * row_bytes, row_bytes);
    }
  }

  // One query waits for memory: all heads that leave work for every thread go through a few rows at a time, so that few runs of
  // addresses are read, each as long as those heads. Several queries read a head again from the cache, one head at a time.
  const int pass = steps > 1 ? static_cast<int>(args.start + steps) : 8;
  const std::int64_t shares = steps > 1 ? args.n_head : std::min(args.n_head, ceil_div(omp_get_max_threads(), batch));
  const std::int64_t most_heads = ceil_div(args.n_head, shares);
  const std::int64_t room = Head::round_up(context, 16);  // whole registers
  const std::int64_t scratch_floats = Head::round_up(most_heads * (room + width + 1), 16);
  static thread_local Buffer buffer;
  float* const scratch = reinterpret_cast<float*>(
      buffer.reserve(static_cast<std::size_t>(scratch_floats) * sizeof(float) * static_cast<std::size_t>(omp_get_max_threads())));
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t first = 0; first < args.n_head; first += most_heads) {
      const std::int64_t heads = std::min(most_heads, args.n_head - first);
      const std::size_t head_offset = static_cast<std::size_t>(first * width) * size;
      const std::size_t cache = static_cast<std::size_t>(b * context) * row_bytes + head_offset;
      float* const weights = scratch + scratch_floats * omp_get_thread_num();
      for (std::int64_t i = 0; i < steps; ++i) {
        const std::size_t row = static_cast<std::size_t>(b * steps + i);
        attention.attend({.dtype = args.qkv.dtype,
                          .stride = channels,
                          .heads = static_cast<int>(heads),
                          .count = static_cast<int>(args.start + i + 1),
                          .pass = pass,
                          .width = width,
                          .scale = scale_of(width),
                          .query = new_rows + row * 3 * row_bytes + head_offset,
                          .keys = keys + cache,
                          .values = values + cache,
                          .out = args.out.as<char>() + row * row_bytes + head_offset,
                          .room = room,
                          .weights = weights,
                          .sums = weights + heads * room,
                          .totals = weights + heads * (room + width)});
      }
    }
  }
}

}  // namespace temper::cpu
