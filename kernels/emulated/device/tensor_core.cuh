// The counterpart of kernels/cuda/device/tensor_core.cuh: the last lane to come computes for the whole warp, in f32 and in
// ascending k. A GPU rounds a little differently, within the tolerances of the operations' tests.
#pragma once

#include <device/primitives.cuh>

namespace temper::emulated {

inline float half_of(std::uint32_t pair, int index) { return to_float(bfloat16{static_cast<std::uint16_t>(pair >> (16 * index))}); }

inline void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site = Site::current()) {
  struct In {
    std::uint32_t a[4], b[2];
    float c[4];
  };
  struct Out {
    float d[4];
  };
  const In mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
  const Out result = warp_operation<Out>("mma_16x8x16", ~0u, mine, site, [](const In(&in)[32], Out(&out)[32]) {
    float left[16][16], right[8][16];  // [m][k], [n][k]
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int h = 0; h < 2; ++h) {
        left[g][2 * t + h] = half_of(in[lane].a[0], h);
        left[g + 8][2 * t + h] = half_of(in[lane].a[1], h);
        left[g][2 * t + 8 + h] = half_of(in[lane].a[2], h);
        left[g + 8][2 * t + 8 + h] = half_of(in[lane].a[3], h);
        right[g][2 * t + h] = half_of(in[lane].b[0], h);
        right[g][2 * t + 8 + h] = half_of(in[lane].b[1], h);
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const int m = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;
        float sum = 0.0f;
        for (int k = 0; k < 16; ++k) sum += left[m][k] * right[n][k];
        out[lane].d[i] = in[lane].c[i] + sum;
      }
    }
  });
  for (int i = 0; i < 4; ++i) d[i] = result.d[i];
}

struct MatrixRows {
  std::uint32_t part[4];
};

inline MatrixRows load_matrices(const char* name, const void* shared_row, bool transposed, Site site) {
  Block& block = *current_thread().block;
  if (reinterpret_cast<std::uintptr_t>(shared_row) % 16 != 0)
    block.fault(std::string(name) + ": a row is not on a 16-byte boundary", site);
  if (!block.arena().contains(shared_row)) block.fault(std::string(name) + ": a row is not in shared memory", site);
  struct Row {
    std::uint16_t element[8];
  };
  Row row;
  std::memcpy(&row, shared_row, sizeof(row));
  return warp_operation<MatrixRows>(name, ~0u, row, site, [=](const Row(&in)[32], MatrixRows(&out)[32]) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const int g = lane / 4, t = lane % 4;
        const std::uint32_t low = transposed ? in[8 * i + 2 * t].element[g] : in[8 * i + g].element[2 * t];
        const std::uint32_t high = transposed ? in[8 * i + 2 * t + 1].element[g] : in[8 * i + g].element[2 * t + 1];
        out[lane].part[i] = low | high << 16;
      }
    }
  });
}

inline void load_matrix_x4(std::uint32_t (&out)[4], const void* shared_row, Site site = Site::current()) {
  const MatrixRows rows = load_matrices("load_matrix_x4", shared_row, false, site);
  for (int i = 0; i < 4; ++i) out[i] = rows.part[i];
}

inline void load_matrix_x4_transposed(std::uint32_t (&out)[4], const void* shared_row, Site site = Site::current()) {
  const MatrixRows rows = load_matrices("load_matrix_x4_transposed", shared_row, true, site);
  for (int i = 0; i < 4; ++i) out[i] = rows.part[i];
}

}  // namespace temper::emulated
