#include "kernels/cases/optimizer_numbers.h"

namespace temper {

Layout::Layout(const std::vector<Segment>& segments) {
  for (const Segment& each : segments) {
    const bool stepping = each.makes_controlled_step();
    table.insert(table.end(), {static_cast<double>(elements), static_cast<double>(each.rows), static_cast<double>(each.columns),
                               static_cast<double>(stepping ? rows : 0), each.learning_rate_scale, each.gain_rate_scale,
                               each.weight_decay, static_cast<double>(each.control), each.per_row ? 1.0 : 0.0});
    offsets.push_back(elements);
    elements += (each.elements() + 3) / 4 * 4;
    updated += each.elements();
    if (stepping) rows += each.rows;
  }
}

TensorSpec Layout::spec() const {
  return input("segments", Content::segments, {count(), static_cast<std::int64_t>(segment_members.size())}, values(table));
}

std::vector<SegmentNumbers> segments_of(Numbers& numbers) {
  const std::vector<double>& table = numbers["segments"];
  std::vector<SegmentNumbers> segments;
  for (std::size_t at = 0; at < table.size(); at += segment_members.size()) {
    const auto whole = [&](std::size_t member) { return static_cast<std::size_t>(table[at + member]); };
    segments.push_back({whole(0), whole(1), whole(2), whole(3), table[at + 4], table[at + 5], table[at + 6],
                        static_cast<NormControl>(whole(7)), table[at + 8] != 0});
  }
  return segments;
}

std::vector<Segment> gpt2_segments(const Dimensions& d, NormControl control, bool per_row) {
  const std::int64_t C = d.n_embd;
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) { return Segment{rows, columns, 1, 0.1, control, per_row}; };
  std::vector<Segment> segments = {matrix(d.padded_vocab_size(), C), matrix(d.n_ctx, C)};
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    for (const std::int64_t length : {C, C, 3 * C, C, C, C, 4 * C, C}) segments.push_back({1, length, 1, 0});
    for (const std::int64_t outputs : {3 * C, C, 4 * C}) segments.push_back(matrix(outputs, C));
    segments.push_back(matrix(C, 4 * C));
  }
  segments.push_back({1, C, 1, 0});
  segments.push_back({1, C, 1, 0});
  return segments;
}

}  // namespace temper
