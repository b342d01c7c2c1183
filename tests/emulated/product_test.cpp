// Products through the host code of the CUDA backend and the emulated cuBLASLt.
#include <device/product.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/emulated/cublaslt_product.h"
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

float value_of(const ConstTensorView& view, std::int64_t index) {
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

TEST_F(ProductTest, ResidualIsAddedToTheSumAndTheBias) {
  Product product(device, stream, choices);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    ProductCall call = forward(dtype);
    ProductCall plain = call;
    plain.d = tensor(DType::f32, 16, 24, 0.0f);
    product.run(plain);  // the sums
    call.bias = tensor(dtype, 1, 24, 0.3f);
    call.epilogue = ProductEpilogue::bias;
    call.residual = tensor(dtype, 16, 24, 2.0f);
    ASSERT_TRUE(product.supports(call));
    product.run(call);
    stream.synchronize();
    for (std::int64_t i = 0; i < 16 * 24; ++i) {
      const float sum = value_of(plain.d, i) + value_of(call.bias, i % 24) + value_of(call.residual, i);
      // Rounded once, to 8 bits.
      EXPECT_NEAR(value_of(call.d, i), sum, (dtype == DType::bf16 ? std::abs(sum) / 256 : 0.0f) + 1e-5f) << i;
    }
  }
}

// The library itself, without the backend: C has D's type, in other memory a leading dimension of its own.
TEST_F(ProductTest, TheLibraryReadsCInItsOwnLayout) {
  const auto in_memory = [&](std::initializer_list<float> values) {
    const TensorView made = tensor(DType::f32, 1, static_cast<std::int64_t>(values.size()), 0.0f);
    std::ranges::copy(values, made.as<float>());
    return made.as<float>();
  };
  const float *a = in_memory({1, 2}), *b = in_memory({3, 5}), *c = in_memory({10, 20, 99, 30, 40});
  float* d = in_memory({0, 0, 0, 0, 0});
  ProductOperation operation{.compute = CUBLAS_COMPUTE_32F};
  ProductLayout of_a{CUDA_R_32F, 2, 1, 2}, of_b{CUDA_R_32F, 1, 2, 1}, of_c{CUDA_R_32F, 2, 2, 3}, of_d{CUDA_R_32F, 2, 2, 2};
  ProductLayout of_another_type{CUDA_R_16BF, 2, 2, 2};
  cublasLtHandle_t library = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtCreate(&library);
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const auto ask = [&](ProductLayout& with_c) {
    return cublasLtMatmulAlgoGetHeuristic(library, &operation, &of_a, &of_b, &with_c, &of_d, preference, 1, &result, &found);
  };
  const auto multiply = [&](const float* from_c) {
    const float one = 1;
    return cublasLtMatmul(library, &operation, &one, a, &of_a, b, &of_b, &one, from_c, &of_c, d, &of_d, &result.algo, nullptr, 0,
                          stream.get());
  };
  EXPECT_EQ(ask(of_another_type), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(ask(of_c), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(d), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(c), CUBLAS_STATUS_SUCCESS);
  stream.synchronize();
  EXPECT_EQ(std::vector(d, d + 4), (std::vector<float>{13, 26, 35, 50}));
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtDestroy(library);
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
    Choices kept(timed, on, "cuBLASLt");
    Product product(timed, on, kept);
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
