#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "io/error.h"

namespace temper {
namespace {

float from_bits(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float from_bfloat16(std::uint16_t bits) { return from_bits(std::uint32_t{bits} << 16); }

float from_float16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // zero and subnormals, exact in f32
    return sign != 0 ? -magnitude : magnitude;
  }
  // The exponent's bias goes from 15 to 127; all ones (infinity, NaN) stay all ones.
  const std::uint32_t wide_exponent = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return from_bits(sign | (wide_exponent << 23) | (fraction << 13));
}

// Element by element through memcpy: the data section need not be aligned.
template <typename Element, typename Convert>
std::vector<float> convert(std::span<const std::byte> bytes, Convert to_f32) {
  std::vector<float> values(bytes.size() / sizeof(Element));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, bytes.data() + i * sizeof(Element), sizeof(Element));
    values[i] = to_f32(element);
  }
  return values;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  tensors_ = parse_safetensors(file_.bytes(), path.string(), &metadata_);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file_.bytes().data(), sizeof(header_bytes));
  data_begin_ = sizeof(header_bytes) + header_bytes;
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::sort(by_name_.begin(), by_name_.end(), [this](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto place = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                      [this](std::size_t index, std::string_view wanted) { return tensors_[index].name < wanted; });
  if (place == by_name_.end() || tensors_[*place].name != name) return nullptr;
  return &tensors_[*place];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
  const std::span<const std::byte> data = file_.bytes().subspan(data_begin_);
  if (entry.begin > entry.end || entry.end > data.size())
    throw std::logic_error(entry.name + " is not an entry of " + path_.string());
  return data.subspan(entry.begin, entry.end - entry.begin);
}

std::vector<float> SafetensorsFile::read_f32(std::string_view name) const {
  const TensorEntry* const entry = find(name);
  if (entry == nullptr) {
    throw Error(ExitCode::checkpoint, "{} has no tensor {} among its {}; it belongs to another model", path_.string(), name,
                tensors_.size());
  }
  const std::span<const std::byte> data = bytes(*entry);
  if (entry->dtype == "F32") return convert<float>(data, [](float value) { return value; });
  if (entry->dtype == "BF16") return convert<std::uint16_t>(data, from_bfloat16);
  if (entry->dtype == "F16") return convert<std::uint16_t>(data, from_float16);
  if (entry->dtype == "F64") return convert<double>(data, [](double value) { return static_cast<float>(value); });
  throw Error(ExitCode::checkpoint, "{}: tensor {} has dtype {}; allowed are F32, BF16, F16 and F64; convert the file first",
              path_.string(), entry->name, entry->dtype);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorEntry> entries,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  file_.write(format_safetensors_head(entries, metadata));
  if (!entries.empty()) declared_ = entries.back().end;
}

void SafetensorsWriter::write(const void* data, std::size_t bytes) {
  if (bytes > declared_ - written_) {
    throw std::logic_error("safetensors: " + std::to_string(bytes) + " bytes more, but only " +
                           std::to_string(declared_ - written_) + " are still to come by the header");
  }
  file_.write(data, bytes);
  written_ += bytes;
}

std::string SafetensorsWriter::close() {
  if (written_ != declared_)
    throw std::logic_error("safetensors: " + std::to_string(written_) + " bytes written of " + std::to_string(declared_));
  return file_.close();
}

}  // namespace temper
