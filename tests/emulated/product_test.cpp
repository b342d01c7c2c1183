// Products through the host code of the CUDA backend and the emulated cuBLASLt.
#include <device/product.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <vector>

#include "kernels/bfloat16.h"
#include "launching.h"

namespace temper::emulated {
namespace {

struct ProductTest : testing::Test {
  ~ProductTest() override {
    for (void* each : taken) device.release(each);
  }

  /// In device memory, which the host can read here.
  TensorView tensor(DType dtype, std::int64_t rows, std::int64_t columns, float scale) {
    const TensorView made{device.allocate(static_cast<std::size_t>(rows * columns) * size_of(dtype)), dtype, {rows, columns}};
    taken.push_back(made.data);
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      const float value = scale * std::sin(static_cast<float>(i * 7 % 1000));
      if (dtype == DType::bf16)
        made.as<bfloat16>()[i] = to_bfloat16(value);
      else
        made.as<float>()[i] = value;
    }
    return made;
  }

  /// d[16,24] = x[16,64] w[24,64]^T.
  ProductCall forward(DType dtype) {
    ProductCall call;
    call.m = 16, call.n = 24, call.k = 64;
    call.a = tensor(dtype, 16, 64, 1.0f);
    call.b = tensor(dtype, 24, 64, 0.5f);
    call.b_transposed = true;
    call.d = tensor(dtype, 16, 24, 0.0f);
    return call;
  }

  CudaOptions options = fresh_gpu();
  Device device{options};
  Stream stream{device};
  Choices choices{device, stream, "cuBLASLt"};
  std::vector<void*> taken;
};

float value_of(const TensorView& view, std::int64_t index) {
  return view.dtype == DType::bf16 ? to_float(view.as<bfloat16>()[index]) : view.as<float>()[index];
}

float gelu_of(float z) {
  return static_cast<float>(0.5 * z * (1.0 + std::tanh(0.7978845608028654 * (z + 0.044715 * std::pow(static_cast<double>(z), 3)))));
}

TEST_F(ProductTest, FusedGeluIsOfTheSumAndItsAuxiliaryOutputRounded) {
  Product product(device, stream, choices);
  ProductCall plain = forward(DType::bf16);
  ProductCall fused = plain;
  plain.d = tensor(DType::f32, 16, 24, 0.0f);
  product.run(plain);  // the sums
  fused.epilogue = ProductEpilogue::bias_gelu;
  fused.aux = tensor(DType::bf16, 16, 24, 0.0f);
  ASSERT_TRUE(product.supports(fused));
  product.run(fused);
  stream.synchronize();
  int from_rounded = 0;
  for (std::int64_t i = 0; i < 16 * 24; ++i) {
    const float sum = value_of(plain.d, i), aux = value_of(fused.aux, i), y = value_of(fused.d, i);
    EXPECT_EQ(aux, to_float(to_bfloat16(sum)));
    EXPECT_NEAR(y, gelu_of(sum), std::abs(gelu_of(sum)) / 256 + 1e-6f);
    if (y != to_float(to_bfloat16(gelu_of(aux)))) ++from_rounded;
  }
  EXPECT_GT(from_rounded, 10) << "GELU of the rounded sum would be another one";
}

TEST_F(ProductTest, WhatTheLibraryCannotFuseIsSaid) {
  Product product(device, stream, choices);
  ProductCall call = forward(DType::f32);
  call.n = 20;  // not a multiple of 8
  call.b = tensor(DType::f32, 20, 64, 1.0f);
  call.d = tensor(DType::f32, 16, 20, 0.0f);
  call.aux = tensor(DType::f32, 16, 20, 0.0f);
  call.epilogue = ProductEpilogue::bias_gelu;
  EXPECT_FALSE(product.supports(call));
  EXPECT_FALSE(product.fuses(call, [] { return true; }));
  EXPECT_THROW(product.run(call), Unsupported);
  const std::vector<std::string> notes = product.take_notes();
  ASSERT_EQ(notes.size(), 1u) << "once";
  EXPECT_TRUE(contains(notes[0], "refuses the product m=16 n=20 k=64")) << notes[0];
  EXPECT_TRUE(contains(notes[0], "bias_gelu") && contains(notes[0], "a kernel of its own")) << notes[0];
  EXPECT_TRUE(product.take_notes().empty());
  call.epilogue = ProductEpilogue::none;
  EXPECT_TRUE(product.supports(call));
}

TEST_F(ProductTest, OperandsAreInDeviceMemory) {
  Product product(device, stream, choices);
  ProductCall call = forward(DType::f32);
  std::vector<float> host(16 * 64);
  call.a = {host.data(), DType::f32, {16, 64}};
  try {
    product.run(call);
    FAIL() << "a product of host memory";
  } catch (const DeviceError& error) {
    EXPECT_TRUE(contains(error.what(), "outside of the device's memory"));
  }
}

// Timing runs the product many times; what it adds to is put back, and the choice is in the file.
TEST_F(ProductTest, AnAlgorithmIsTimedOnceAndKept) {
  const auto file = std::filesystem::temp_directory_path() / ("emulated_algorithms." + std::to_string(::getpid()));
  std::filesystem::remove(file);
  CudaOptions with_file = fresh_gpu();
  with_file.choices_file = file;
  ProductCall call = forward(DType::f32);
  call.accumulate = true;
  std::vector<float> results;
  for (int process = 0; process < 2; ++process) {
    Device timed(with_file);
    Stream on(timed);
    Choices choices(timed, on, "cuBLASLt");
    Product product(timed, on, choices);
    on.zero(call.d.data, call.d.bytes());
    product.run(call);
    on.synchronize();
    results.push_back(value_of(call.d, 5));
    const auto lines = [&] {
      std::ifstream text(file);
      return std::count(std::istreambuf_iterator<char>(text), {}, '\n');
    }();
    EXPECT_EQ(lines, 2) << "the file's first line and one product";
  }
  EXPECT_EQ(results[0], results[1]);
  Product plain(device, stream, choices);
  stream.zero(call.d.data, call.d.bytes());
  plain.run(call);
  stream.synchronize();
  EXPECT_NEAR(results[0], value_of(call.d, 5), 1e-5);
  std::filesystem::remove(file);
}

TEST_F(ProductTest, Tf32RoundsF32Operands) {
  CudaOptions with_tf32 = fresh_gpu();
  with_tf32.tf32 = true;
  Device rounding(with_tf32);
  Stream on(rounding);
  Choices none_of_these(rounding, on, "cuBLASLt");
  Product exact(device, stream, choices), rounded(rounding, on, none_of_these);
  ProductCall call = forward(DType::f32);
  exact.run(call);
  stream.synchronize();
  const float expected = value_of(call.d, 3);
  rounded.run(call);
  on.synchronize();
  EXPECT_NE(value_of(call.d, 3), expected);
  EXPECT_NEAR(value_of(call.d, 3), expected, 1e-2);
}

}  // namespace
}  // namespace temper::emulated
