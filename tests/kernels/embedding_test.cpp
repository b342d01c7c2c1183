// Gradients of the embedding over token lists that the small cases do not reach: a token at most positions, and a large vocabulary.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

constexpr std::int64_t batch = 2, length = 2500, columns = 8, vocab_size = 70001;

// Most positions hold one token; the others differ from it and from each other in each of their digits, sixteen bits and more.
std::int32_t token_at(std::int64_t position) {
  constexpr std::int32_t rare[] = {0, 1, 255, 256, 300, 4711, 65535, 65536, 65537, 70000};
  return position % 7 == 3 ? rare[position / 7 % 10] : 12345;
}

// Integers, whose sums are exact in any order: each is seen once and in the right row.
float gradient_at(std::int64_t position, std::int64_t column) {
  return static_cast<float>((position * 31 + column * 17) % 101 - 50);
}

class EmbeddingBackward : public testing::TestWithParam<BackendChoice> {};

TEST_P(EmbeddingBackward, SumsEachPositionOnce) {
  std::vector<std::int32_t> tokens;
  std::vector<float> dout, dwte(vocab_size * columns, 3.0f), expected = dwte;
  for (std::int64_t position = 0; position < batch * length; ++position) {
    tokens.push_back(token_at(position));
    for (std::int64_t column = 0; column < columns; ++column) {
      dout.push_back(gradient_at(position, column));
      expected[static_cast<std::size_t>(tokens.back() * columns + column)] += dout.back();
    }
  }
  Backend backend(GetParam());
  Ops& ops = backend.ops();
  OnDevice<std::int32_t> device_tokens(ops, tokens);
  OnDevice<float> device_dout(ops, dout), device_dwte(ops, dwte), dwpe(ops, std::vector<float>(length * columns));
  ops.embedding_backward({.dout = {device_dout.data(), DType::f32, {batch, length, columns}},
                          .tokens = {device_tokens.data(), DType::i32, {batch, length}},
                          .dwte = {device_dwte.data(), DType::f32, {vocab_size, columns}},
                          .dwpe = {dwpe.data(), DType::f32, {length, columns}},
                          .write_wpe = Write::overwrite});
  const std::vector<float> result = device_dwte.read();
  std::size_t different = 0;
  for (std::size_t i = 0; i < result.size(); ++i)
    if (result[i] != expected[i]) ++different;
  EXPECT_EQ(different, 0u);
}

INSTANTIATE_TEST_SUITE_P(Backends, EmbeddingBackward, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
