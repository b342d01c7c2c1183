// One thread works on one (sequence, head) at a time: it packs that head's queries, keys and values once, then goes through
// square blocks of scores that stay in cache. Every sum over positions runs in one order, in one thread.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa_kernels.h"
#include "kernels/host_device.h"

namespace temper::cpu {

namespace {

constexpr int block = 96;  // queries and keys in a block: a multiple of every tile size and of the depth unit

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

// The matrices [T, D] of one head inside [B, T, ...] tensors, and products over blocks of them.
struct Head {
  const GemmKernels& kernels;
  DType dtype;
  std::int64_t positions;  // T
  std::int64_t width;      // D
  std::int64_t padded_width() const { return ceil_div(width, kernels.tile_columns) * kernels.tile_columns; }

  int length(std::int64_t first) const { return static_cast<int>(std::min<std::int64_t>(block, positions - first)); }

  // Panels of a [T, D] matrix read along D (position panels), or along T (one panel per tile_columns of D).
  std::size_t a_bytes() const {
    return static_cast<std::size_t>(ceil_div(positions, kernels.tile_rows)) * kernels.panel_a_bytes(width);
  }
  std::size_t b_bytes() const {
    return static_cast<std::size_t>(ceil_div(positions, kernels.tile_columns)) * kernels.panel_b_bytes(width);
  }
  std::size_t along_positions_bytes() const {
    return static_cast<std::size_t>(ceil_div(width, kernels.tile_columns)) * kernels.panel_b_bytes(positions);
  }

  Strip strip(const char* matrix, std::int64_t stride, std::int64_t first, int tile) const {
    return {.data = matrix + static_cast<std::size_t>(first * stride) * size_of(dtype),
            .dtype = dtype,
            .stride = stride,
            .depth_contiguous = true,
            .count = static_cast<int>(std::min<std::int64_t>(tile, positions - first)),
            .depth = width};
  }

  void pack_a(const char* matrix, std::int64_t stride, char* panels) const {
    for (std::int64_t t = 0; t < positions; t += kernels.tile_rows, panels += kernels.panel_a_bytes(width))
      kernels.pack_a(strip(matrix, stride, t, kernels.tile_rows), panels);
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

  // scores[block][block] = rows of a from `row` on times rows of b from `column` on.
  void scores(const char* a, std::int64_t row, const char* b, std::int64_t column, float* to) const {
    const std::size_t a_panel = kernels.panel_a_bytes(width), b_panel = kernels.panel_b_bytes(width);
    const char* const a_first = a + static_cast<std::size_t>(row / kernels.tile_rows) * a_panel;
    const char* const b_first = b + static_cast<std::size_t>(column / kernels.tile_columns) * b_panel;
    for (int j = 0; j < length(column); j += kernels.tile_columns)
      for (int i = 0; i < length(row); i += kernels.tile_rows)
        kernels.multiply(kernels.padded(width), a_first + static_cast<std::size_t>(i / kernels.tile_rows) * a_panel,
                         b_first + static_cast<std::size_t>(j / kernels.tile_columns) * b_panel, to + i * block + j, block, false);
  }

  // to[rows][padded_width] += s b, where s is a block of scores (or its transpose) over positions `first` ... of b.
  void accumulate(const float* s, bool transposed, int rows, std::int64_t first, const char* b, char* s_panel, float* to) const {
    const int depth = length(first);
    const std::size_t b_offset =
        static_cast<std::size_t>(first) * static_cast<std::size_t>(kernels.tile_columns) * kernels.packed_size;
    for (int i = 0; i < rows; i += kernels.tile_rows) {
      kernels.pack_a({.data = transposed ? s + i : s + i * block,
                      .dtype = DType::f32,
                      .stride = block,
                      .depth_contiguous = !transposed,
                      .count = std::min(kernels.tile_rows, rows - i),
                      .depth = depth},
                     s_panel);
      for (std::int64_t j = 0; j < padded_width(); j += kernels.tile_columns)
        kernels.multiply(kernels.padded(depth), s_panel,
                         b + static_cast<std::size_t>(j / kernels.tile_columns) * kernels.panel_b_bytes(positions) + b_offset,
                         to + i * padded_width() + j, padded_width(), true);
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
  char *queries, *keys, *values;
  char* panel;
  float *scores, *out, *maximum, *total;

  ForwardScratch(Layout& layout, const Head& head)
      : queries(layout.take<char>(static_cast<std::int64_t>(head.a_bytes()))),
        keys(layout.take<char>(static_cast<std::int64_t>(head.b_bytes()))),
        values(layout.take<char>(static_cast<std::int64_t>(head.along_positions_bytes()))),
        panel(layout.take<char>(static_cast<std::int64_t>(head.kernels.panel_a_bytes(block)))),
        scores(layout.take<float>(block * block)),
        out(layout.take<float>(block * head.padded_width())),
        maximum(layout.take<float>(block)),
        total(layout.take<float>(block)) {}
};

struct BackwardScratch {
  char *queries, *gradients, *keys, *values;           // read along D
  char *keys_along, *queries_along, *gradients_along;  // read along T
  char* panel;
  float *scores, *score_gradients, *dq, *dk, *dv, *delta;

  BackwardScratch(Layout& layout, const Head& head)
      : queries(layout.take<char>(static_cast<std::int64_t>(head.a_bytes()))),
        gradients(layout.take<char>(static_cast<std::int64_t>(head.a_bytes()))),
        keys(layout.take<char>(static_cast<std::int64_t>(head.b_bytes()))),
        values(layout.take<char>(static_cast<std::int64_t>(head.b_bytes()))),
        keys_along(layout.take<char>(static_cast<std::int64_t>(head.along_positions_bytes()))),
        queries_along(layout.take<char>(static_cast<std::int64_t>(head.along_positions_bytes()))),
        gradients_along(layout.take<char>(static_cast<std::int64_t>(head.along_positions_bytes()))),
        panel(layout.take<char>(static_cast<std::int64_t>(head.kernels.panel_a_bytes(block)))),
        scores(layout.take<float>(block * block)),
        score_gradients(layout.take<float>(block * block)),
        dq(layout.take<float>(ceil_div(head.positions, block) * block * head.padded_width())),
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
    head.pack_a(q, 3 * channels, s.queries);
    head.pack_b(k, 3 * channels, s.keys);
    head.pack_along_positions(v, 3 * channels, s.values);

    for (std::int64_t query = 0; query < positions; query += block) {
      const int rows = head.length(query);
      std::fill_n(s.out, block * padded, 0.0f);
      std::fill_n(s.maximum, block, -std::numeric_limits<float>::infinity());
      std::fill_n(s.total, block, 0.0f);
      for (std::int64_t key = 0; key <= query; key += block) {
        head.scores(s.queries, query, s.keys, key, s.scores);
        attention.softmax_step({s.scores, block, rows, head.length(key), key == query, scale_of(width)}, s.maximum, s.total, s.out,
                               static_cast<int>(padded));
        head.accumulate(s.scores, false, rows, key, s.values, s.panel, s.out);
      }
      float* row_lse = args.lse.as<float>() + (b * args.n_head + h) * positions + query;
      for (int r = 0; r < rows; ++r) {
        row_lse[r] = s.maximum[r] + std::log(s.total[r]);
        s.total[r] = 1.0f / s.total[r];
      }
      attention.scale_rows(s.out, s.total, rows, static_cast<int>(padded));
      Finish finish = {.kind = Finish::Kind::store, .dtype = args.out.dtype, .out = args.out.data, .stride = channels};
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
    head.pack_a(q, 3 * channels, s.queries);
    head.pack_a(d_out, channels, s.gradients);
    head.pack_b(k, 3 * channels, s.keys);
    head.pack_b(v, 3 * channels, s.values);
    head.pack_along_positions(k, 3 * channels, s.keys_along);
    head.pack_along_positions(q, 3 * channels, s.queries_along);
    head.pack_along_positions(d_out, channels, s.gradients_along);
    for (std::int64_t t = 0; t < positions; ++t) {
      const std::size_t row = static_cast<std::size_t>(t * channels) * size;
      s.delta[t] = attention.dot(d_out + row, o + row, args.out.dtype, width);
    }
    std::fill_n(s.dq, ceil_div(positions, block) * block * padded, 0.0f);

    const float* head_lse = args.lse.as<float>() + (b * args.n_head + h) * positions;
    const Finish finish = {.kind = Finish::Kind::store, .dtype = args.dqkv.dtype, .out = args.dqkv.data, .stride = 3 * channels};
    for (std::int64_t key = 0; key < positions; key += block) {
      const int columns = head.length(key);
      std::fill_n(s.dk, block * padded, 0.0f);
      std::fill_n(s.dv, block * padded, 0.0f);
      for (std::int64_t query = key; query < positions; query += block) {
        const int rows = head.length(query);
        head.scores(s.queries, query, s.keys, key, s.scores);
        head.scores(s.gradients, query, s.values, key, s.score_gradients);
        attention.scores_gradient({s.scores, block, rows, columns, key == query, scale_of(width)}, s.score_gradients,
                                  head_lse + query, s.delta + query);
        head.accumulate(s.scores, true, columns, query, s.gradients_along, s.panel, s.dv);
        head.accumulate(s.score_gradients, true, columns, query, s.queries_along, s.panel, s.dk);
        head.accumulate(s.score_gradients, false, rows, key, s.keys_along, s.panel, s.dq + query * padded);
      }
      const std::int64_t row = b * positions + key;
      finishing.finish(finish.at(row, channels + h * width), s.dk, padded, columns, static_cast<int>(width));
      finishing.finish(finish.at(row, 2 * channels + h * width), s.dv, padded, columns, static_cast<int>(width));
    }
    finishing.finish(finish.at(b * positions, h * width), s.dq, padded, static_cast<int>(positions), static_cast<int>(width));
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

  static thread_local Buffer buffer;
  float* const weights = reinterpret_cast<float*>(
      buffer.reserve(static_cast<std::size_t>(context) * sizeof(float) * static_cast<std::size_t>(omp_get_max_threads())));
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < args.n_head; ++h) {
      const std::size_t head_offset = static_cast<std::size_t>(h * width) * size;
      const std::size_t cache = static_cast<std::size_t>(b * context) * row_bytes + head_offset;
      for (std::int64_t i = 0; i < steps; ++i) {
        const std::size_t row = static_cast<std::size_t>(b * steps + i);
        attention.attend(new_rows + row * 3 * row_bytes + head_offset, keys + cache, values + cache, args.qkv.dtype, channels,
                         args.start + i + 1, width, scale_of(width), weights + context * omp_get_thread_num(),
                         args.out.as<char>() + row * row_bytes + head_offset);
      }
    }
  }
}

}  // namespace temper::cpu
