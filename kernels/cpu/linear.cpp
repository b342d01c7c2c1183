#include "kernels/cpu/linear.h"
#include "kernels/host_device.h"

#include <omp.h>

#include <algorithm>
#include <limits>
#include <string>

namespace temper::cpu {

namespace {

constexpr std::int64_t block_rows = 256;                      // a block's panels of A stay in the second-level cache ...
constexpr std::int64_t block_columns = 384;                   // ... while those of B pass through the first
constexpr std::size_t most_packed_a = std::size_t{64} << 20;  // bytes of A packed at a time: bounds scratch, not speed
constexpr std::int64_t blocks_per_thread = 4;                 // at least, where there are as many panels
constexpr std::size_t longest_row_in_place = 2048;            // bytes; see in_place ...
constexpr std::int64_t most_reads_in_place = 4;               // ... of longer ones
constexpr int panels_per_task = 4;                            // packed by one thread at a stretch

// Packs panels [first, end) of an operand; called by every thread of a team. before(vector, count) comes ahead of each stretch.
template <typename Before>
void pack(const Operand& operand, int width, std::size_t panel_bytes, void (*pack_one)(const Strip&, void*), std::int64_t first,
          std::int64_t end, char* panels, const Before& before) {
  const std::int64_t vectors = operand.vectors();
#pragma omp for schedule(dynamic)
  for (std::int64_t start = first; start < end; start += panels_per_task) {
    const std::int64_t stop = std::min(end, start + panels_per_task);
    before(start * width, std::min(stop * width, vectors) - start * width);
    for (std::int64_t p = start; p < stop; ++p) {
      const int count = static_cast<int>(std::min<std::int64_t>(width, vectors - p * width));
      pack_one(operand.strip(p * width, count), panels + static_cast<std::size_t>(p - first) * panel_bytes);
    }
  }
}

constexpr auto nothing_before = [](std::int64_t, std::int64_t) {};

// How large the packed panels of A [rows, depth] and B [columns, depth] are, and how much of A is packed at a time.
struct PackedSizes {
  PackedSizes(const GemmKernels& kernels, std::int64_t rows, std::int64_t columns, std::int64_t depth)
      : a_panel(kernels.panel_a_bytes(depth)),
        b_panel(kernels.panel_b_bytes(depth)),
        a_panels(ceil_div(rows, kernels.tile_rows)),
        b_panels(ceil_div(columns, kernels.tile_columns)),
        a_per_block(ceil_div(block_rows, kernels.tile_rows)) {
    const std::size_t block = std::max<std::size_t>(1, a_panel * static_cast<std::size_t>(a_per_block));
    const std::int64_t blocks_at_once = std::max<std::int64_t>(1, static_cast<std::int64_t>(most_packed_a / block));
    a_at_once = std::min(a_panels, blocks_at_once * a_per_block);
    a_bytes = static_cast<std::size_t>(a_at_once) * a_panel;
    b_bytes = static_cast<std::size_t>(b_panels) * b_panel;
  }

  std::size_t a_panel, b_panel;     // bytes of one panel
  std::int64_t a_panels, b_panels;  // in all
  std::int64_t a_per_block;         // panels of a block of C
  std::int64_t a_at_once = 0;       // panels packed before their blocks are computed
  std::size_t a_bytes = 0, b_bytes = 0;
};

// An operand as tiles find it: in packed panels, or where it lies.
struct Source {
  Panel first;               // panel `origin`
  std::int64_t panel_bytes;  // from one panel to the next
  std::int64_t origin = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();  // bytes to the last panel that is whole

  /// Panel p from unit `start` of the depth on. In place, a last panel that is not whole begins inside the one before.
  Panel at(std::int64_t p, std::int64_t start) const {
    return {first.data + std::min((p - origin) * panel_bytes, most) + start * first.unit_bytes, first.vector_bytes,
            first.unit_bytes};
  }
  /// How many vectors of panel p belong to the one before.
  std::int64_t overlap(std::int64_t p) const {
    return std::max<std::int64_t>(0, ((p - origin) * panel_bytes - most) / first.vector_bytes);
  }
};

// How many vectors the last panel has.
std::int64_t last_panel(std::int64_t vectors, int width) { return vectors - (ceil_div(vectors, width) - 1) * width; }

// Whether tiles read an operand where it lies, `times` times each element. That saves small products their packing; the rows of a large
// matrix lie so far apart that a tile's would push each other out of the first-level cache.
bool in_place(const GemmKernels& kernels, const Operand& operand, bool is_a, std::int64_t times) {
  const std::int64_t vectors = operand.vectors();
  const std::size_t row = static_cast<std::size_t>(operand.matrix.shape.back()) * size_of(operand.matrix.dtype);
  const bool readable = operand.depth_contiguous ? is_a && kernels.rows_in_place && operand.depth() % kernels.depth_unit == 0
                                                 : kernels.columns_in_place;
  return readable && operand.matrix.dtype == (kernels.packs_bf16 ? DType::bf16 : DType::f32) &&
         (row <= longest_row_in_place || times <= most_reads_in_place) &&
         (is_a ? vectors >= kernels.height(last_panel(vectors, kernels.tile_rows)) : vectors % kernels.tile_columns == 0);
}

Source source_in_place(const GemmKernels& kernels, const Operand& operand, bool is_a) {
  const std::int64_t width = is_a ? kernels.tile_rows : kernels.tile_columns;
  const std::int64_t element = static_cast<std::int64_t>(size_of(operand.matrix.dtype));
  const std::int64_t row = operand.matrix.shape.back() * element;
  const std::int64_t vector = operand.depth_contiguous ? row : element;
  const std::int64_t unit_bytes = kernels.depth_unit * (operand.depth_contiguous ? element : row);
  const std::int64_t last = last_panel(operand.vectors(), static_cast<int>(width));
  return {.first = {static_cast<const char*>(operand.matrix.data), vector, unit_bytes},
          .panel_bytes = width * vector,
          .most = (operand.vectors() - (is_a ? kernels.height(last) : last)) * vector};
}

// One block of C: all of the depth, in passes; a tile is finished as soon as its last pass is done.
struct Block {
  const GemmKernels& kernels;
  const FinishKernels& finishing;
  std::int64_t depth;
  std::int64_t row_panel, row_panels, rows;  // of C in this block: panels of A, and rows in them
  std::int64_t column_panel, column_panels, columns;
  const Source& a;
  const Source& b;
  Finish finish;  // at the block's first element
  float* sums;    // one tile for each pair of panels when there are several passes, else one tile

  void compute() const {
    const std::int64_t tile_rows = kernels.tile_rows, tile_columns = kernels.tile_columns;
    const std::int64_t padded = kernels.padded(depth);
    const bool one_pass = padded <= kernels.depth_block;
    for (std::int64_t k = 0; k < padded; k += kernels.depth_block) {
      const std::int64_t steps = std::min(kernels.depth_block, padded - k), start = k / kernels.depth_unit;
      const bool last = k + steps == padded;
      float* tile = sums;
      for (std::int64_t i = 0; i < row_panels; ++i) {
        const Panel left = a.at(row_panel + i, start);
        const std::int64_t high = std::min(tile_rows, rows - i * tile_rows), height = kernels.height(high);
        const bool at_once = last && high == height && finish.kind == Finish::Kind::store;
        Finish here = finish.at(i * tile_rows, 0);
        for (std::int64_t j = 0; j < column_panels; ++j) {
          const std::int64_t wide = std::min(tile_columns, columns - j * tile_columns);
          const bool whole = at_once && wide == tile_columns;
          kernels.tile(steps, left, b.at(column_panel + j, start), static_cast<int>(height), tile, tile_columns, k > 0,
                       whole ? &here : nullptr);
          if (last && !whole) {
            float* const sum = tile + a.overlap(row_panel + i) * tile_columns;
            finishing.finish(here, sum, tile_columns, static_cast<int>(high), static_cast<int>(wide));
          }
          if (last) here = here.at(0, tile_columns);
          if (!one_pass) tile += tile_rows * tile_columns;
        }
      }
    }
  }
};

}  // namespace

Strip Operand::strip(std::int64_t first, int count) const {
  const std::int64_t stride = matrix.shape.back();
  const std::int64_t offset = depth_contiguous ? first * stride : first;
  return {.data = static_cast<const char*>(matrix.data) + static_cast<std::size_t>(offset) * size_of(matrix.dtype),
          .dtype = matrix.dtype,
          .stride = stride,
          .depth_contiguous = depth_contiguous,
          .count = count,
          .depth = depth()};
}

std::string Linear::description() const {
  return std::string("matmuls: f32 ") + gemm_kernels(DType::f32).name + ", bf16 " + gemm_kernels(DType::bf16).name;
}

std::size_t Linear::register_weight(ConstTensorView weight) {
  forward_[weight.data] = {.weight = weight};
  // f32 products take so long beside packing that a second copy of the weights would not earn its memory.
  if (gemm_kernels(weight.dtype).packs_bf16) backward_[weight.data] = {.weight = weight};
  return packed_bytes(weight.dtype, weight.shape);
}

std::size_t Linear::packed_bytes(DType dtype, Shape weight) const {
  const GemmKernels& kernels = gemm_kernels(dtype);
  const auto panels = [&](std::int64_t vectors, std::int64_t depth) {
    return Buffer::rounded(PackedSizes(kernels, 0, vectors, depth).b_bytes);
  };
  return panels(weight[0], weight[1]) + (kernels.packs_bf16 ? panels(weight[1], weight[0]) : 0);
}

Linear::Scratch Linear::scratch(DType dtype, Shape weight, std::int64_t rows) const {
  const GemmKernels& kernels = gemm_kernels(dtype);
  const std::int64_t n = weight[0], k = weight[1];
  const PackedSizes forward(kernels, rows, n, k), backward_input(kernels, rows, k, n), backward_weight(kernels, n, k, rows);
  const std::size_t a = std::max({forward.a_bytes, backward_input.a_bytes, backward_weight.a_bytes});
  const std::size_t b = std::max(kernels.packs_bf16 ? 0 : backward_input.b_bytes, backward_weight.b_bytes);
  return {Buffer::rounded(a), Buffer::rounded(b)};
}

void Linear::reserve(const Scratch& scratch) {
  a_panels_.reserve(scratch.a);
  b_panels_.reserve(scratch.b);
}

std::size_t Linear::taken_bytes() const {
  std::size_t bytes = a_panels_.capacity() + b_panels_.capacity() + sums_.capacity();
  for (const auto* packed : {&forward_, &backward_})
    for (const auto& [address, entry] : *packed) bytes += entry.panels.capacity();
  return bytes;
}

void Linear::written(const void* begin, std::size_t bytes) {
  const char* first = static_cast<const char*>(begin);
  for (auto* packed : {&forward_, &backward_}) {
    for (auto& [address, entry] : *packed) {
      const char* weight = static_cast<const char*>(address);
      if (weight < first + bytes && first < weight + entry.weight.bytes()) entry.kernels = nullptr;
    }
  }
}

Linear::PackedWeight* Linear::kept(std::map<const void*, PackedWeight>& packed, ConstTensorView weight) {
  const auto found = packed.find(weight.data);
  if (found == packed.end()) return nullptr;
  const ConstTensorView& registered = found->second.weight;
  return registered.dtype == weight.dtype && registered.shape == weight.shape ? &found->second : nullptr;
}

void Linear::product(const Operand& a, const Operand& b, PackedWeight* kept_b, const Finish& finish, const Sums& sums_of_a) {
  const GemmKernels& kernels = gemm_kernels(a.matrix.dtype);
  const FinishKernels& finishing = finish_kernels();
  const std::int64_t rows = a.vectors(), columns = b.vectors(), depth = a.depth();
  if (rows == 0 || columns == 0) return;

  const PackedSizes sizes(kernels, rows, columns, depth);
  const std::int64_t a_panels = sizes.a_panels, b_panels = sizes.b_panels;
  // Small products are cut finer, so that every thread has its share: first between rows, then between columns.
  const std::int64_t blocks = blocks_per_thread * omp_get_max_threads();
  const std::int64_t b_per_block =
      std::clamp<std::int64_t>(a_panels * b_panels / blocks, 1, ceil_div(block_columns, kernels.tile_columns));
  const std::int64_t column_blocks = ceil_div(b_panels, b_per_block);
  const std::int64_t a_per_block = std::clamp<std::int64_t>(a_panels * column_blocks / blocks, 1, sizes.a_per_block);

  const bool pack_a = !in_place(kernels, a, true, b_panels);
  const bool keep_b = kept_b != nullptr;
  const bool pack_b = keep_b ? kept_b->kernels != &kernels : !in_place(kernels, b, false, a_panels);
  char* const a_packed = pack_a ? a_panels_.reserve(sizes.a_bytes) : nullptr;
  char* const b_packed = keep_b || pack_b ? (keep_b ? kept_b->panels : b_panels_).reserve(sizes.b_bytes) : nullptr;
  const std::int64_t a_at_once = pack_a ? sizes.a_at_once : a_panels;
  const Source b_source = b_packed != nullptr ? Source{kernels.packed_b(b_packed), static_cast<std::int64_t>(sizes.b_panel)}
                                              : source_in_place(kernels, b, false);
  const std::size_t tile = static_cast<std::size_t>(kernels.tile_rows * kernels.tile_columns);
  const std::size_t block_floats =
      kernels.padded(depth) <= kernels.depth_block ? tile : tile * static_cast<std::size_t>(a_per_block * b_per_block);
  float* const sums =
      reinterpret_cast<float*>(sums_.reserve(block_floats * sizeof(float) * static_cast<std::size_t>(omp_get_max_threads())));

  // While here, the sums bring the vectors into cache for packing.
  const auto sum_vectors = [&](std::int64_t vector, std::int64_t count) {
    if (sums_of_a.to == nullptr) return;
    const Strip strip = a.strip(vector, 1);
    finishing.column_sums(strip.data, strip.dtype, strip.stride, depth, count, sums_of_a.to + vector, sums_of_a.accumulate);
  };
#pragma omp parallel
  {
    if (pack_b) pack(b, kernels.tile_columns, sizes.b_panel, kernels.pack_b, 0, b_panels, b_packed, nothing_before);
    kernels.enter();
    for (std::int64_t first = 0; first < a_panels; first += a_at_once) {
      const std::int64_t end = std::min(a_panels, first + a_at_once);
      if (pack_a) pack(a, kernels.tile_rows, sizes.a_panel, kernels.pack_a, first, end, a_packed, sum_vectors);
      const Source a_source = pack_a ? Source{kernels.packed_a(a_packed), static_cast<std::int64_t>(sizes.a_panel), first}
                                     : source_in_place(kernels, a, true);
      const std::int64_t row_blocks = ceil_div(end - first, a_per_block);
#pragma omp for schedule(dynamic)
      for (std::int64_t block = 0; block < row_blocks * column_blocks; ++block) {
        const std::int64_t i = first + block % row_blocks * a_per_block, j = block / row_blocks * b_per_block;  // panels
        const std::int64_t row = i * kernels.tile_rows, column = j * kernels.tile_columns;
        const Block task = {.kernels = kernels,
                            .finishing = finishing,
                            .depth = depth,
                            .row_panel = i,
                            .row_panels = std::min(a_per_block, end - i),
                            .rows = rows - row,
                            .column_panel = j,
                            .column_panels = std::min(b_per_block, b_panels - j),
                            .columns = columns - column,
                            .a = a_source,
                            .b = b_source,
                            .finish = finish.at(row, column),
                            .sums = sums + block_floats * static_cast<std::size_t>(omp_get_thread_num())};
        task.compute();
        if (!pack_a && j == 0) sum_vectors(row, std::min(task.row_panels * kernels.tile_rows, task.rows));
      }
    }
    kernels.leave();
  }
  if (keep_b) kept_b->kernels = &kernels;
}

void Linear::run(const op::LinearForward& args) {
  const Finish finish = {.kind = args.epilogue == Epilogue::bias_gelu ? Finish::Kind::gelu : Finish::Kind::store,
                         .dtype = args.y.dtype,
                         .bias = args.bias.data,
                         .added = args.residual.data,
                         .out = args.y.data,
                         .pre = args.epilogue == Epilogue::bias_gelu ? args.pre.data : nullptr,
                         .stride = args.weight.shape[0]};
  product({args.x, true}, {args.weight, true}, kept(forward_, args.weight), finish, {});
}

void Linear::run(const op::LinearBackwardInput& args) {
  // gelu_slope only reads `args.pre`.
  const Finish finish = {.kind = args.pre.present() ? Finish::Kind::gelu_slope : Finish::Kind::store,
                         .dtype = args.dx.dtype,
                         .bias = nullptr,
                         .added = nullptr,
                         .out = args.dx.data,
                         .pre = const_cast<void*>(args.pre.data),
                         .stride = args.weight.shape[1]};
  product({args.dy, true}, {args.weight, false}, kept(backward_, args.weight), finish, {});
}

void Linear::run(const op::LinearBackwardWeight& args) {
  const bool accumulate = args.write == Write::accumulate;
  const Finish finish = {.kind = Finish::Kind::store,
                         .dtype = DType::f32,
                         .bias = nullptr,
                         .added = accumulate ? args.dw.data : nullptr,
                         .out = args.dw.data,
                         .pre = nullptr,
                         .stride = args.dw.shape[1]};
  product({args.dy, false}, {args.x, false}, nullptr, finish, {.to = args.dbias.as<float>(), .accumulate = accumulate});
}

}  // namespace temper::cpu
