// The JSON header of a safetensors file, read and written.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "io/error.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/text.h"

namespace temper {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian and are used in place");

// Room for 100,000 tensors; the format's own limit, 100 MB, would let a file of a stranger take gigabytes of memory.
constexpr std::uint64_t max_header_bytes = 16 << 20;
constexpr std::size_t max_rank = 8;
constexpr std::size_t max_name_bytes = 512;
constexpr std::string_view reserved_name = "__metadata__";

// Text of a file that may be hostile.
std::string in_quotes(std::string_view text) { return '"' + shown(text, 80) + '"'; }

std::string number(std::uint64_t value) { return std::to_string(value); }

[[noreturn]] void refuse(const std::string& label, const std::string& what) {
  throw Error(ExitCode::checkpoint,
              "{} is not a usable safetensors file: {}; it is damaged or incomplete, use another copy or checkpoint", label, what);
}

bool multiply(std::uint64_t& product, std::uint64_t factor) { return !__builtin_mul_overflow(product, factor, &product); }

// Empty when the dtype is unknown, a dimension is negative or the product does not fit.
std::optional<std::uint64_t> byte_size(const TensorEntry& entry) {
  std::uint64_t size = 1;
  for (const std::int64_t dimension : entry.shape)
    if (dimension < 0 || !multiply(size, static_cast<std::uint64_t>(dimension))) return std::nullopt;
  const int element = safetensors_dtype_size(entry.dtype);
  if (element == 0 || size > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) return std::nullopt;
  if (!multiply(size, static_cast<std::uint64_t>(element))) return std::nullopt;
  return size;
}

// What is wrong with a name, or null. Control characters (U+0000-001F, 007F-009F) would reach terminals and logs.
const char* name_fault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > max_name_bytes) return "is longer than 512 bytes";
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto byte = static_cast<unsigned char>(name[i]);
    const bool c1 = byte == 0xc2 && i + 1 < name.size() && static_cast<unsigned char>(name[i + 1]) < 0xa0;
    if (byte < 0x20 || byte == 0x7f || c1) return "holds a control character";
  }
  return nullptr;
}

using Header = nlohmann::json;  // sorted, so that a key is found at once among any number

[[noreturn]] void refuse_tensor(const std::string& label, const std::string& name, const std::string& what) {
  refuse(label, "tensor " + in_quotes(name) + " " + what);
}

std::vector<std::int64_t> sizes_of(const Header& list, const std::string& what, const std::string& name, const std::string& label) {
  std::vector<std::int64_t> sizes;
  bool whole = list.is_array() && list.size() <= max_rank;
  for (std::size_t i = 0; whole && i < list.size(); ++i) {
    whole = list[i].is_number_unsigned() && list[i].get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    if (whole) sizes.push_back(list[i].get<std::int64_t>());
  }
  if (!whole)
    refuse_tensor(label, name,
                  "has the " + what + " " + in_quotes(list.dump()) + ", expected at most 8 whole numbers from 0 to 2^63 - 1");
  return sizes;
}

TensorEntry entry_of(const std::string& name, const Header& json, const std::string& label) {
  if (const char* fault = name_fault(name)) refuse(label, "the tensor name " + in_quotes(name) + " " + fault);
  if (!json.is_object()) refuse_tensor(label, name, "is no object");
  for (const auto& [key, value] : json.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      refuse_tensor(label, name, "has the unknown key " + in_quotes(key));
  if (json.size() != 3) refuse_tensor(label, name, "lacks dtype, shape or data_offsets");

  const std::string dtype = json["dtype"].is_string() ? json["dtype"].get<std::string>() : json["dtype"].dump();
  if (safetensors_dtype_size(dtype) == 0) refuse_tensor(label, name, "has the unknown dtype " + in_quotes(dtype));
  const std::vector<std::int64_t> offsets = sizes_of(json["data_offsets"], "data_offsets", name, label);
  if (offsets.size() != 2) refuse_tensor(label, name, "has " + number(offsets.size()) + " data_offsets, expected two");
  return {name, dtype, sizes_of(json["shape"], "shape", name, label), static_cast<std::uint64_t>(offsets[0]),
          static_cast<std::uint64_t>(offsets[1])};
}

std::map<std::string, std::string> metadata_of(const Header& json, const std::string& label) {
  if (!json.is_object()) refuse(label, "__metadata__ is no object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (const char* fault = name_fault(key)) refuse(label, "the __metadata__ key " + in_quotes(key) + " " + fault);
    if (!value.is_string()) refuse(label, "__metadata__ has " + in_quotes(key) + ", which is no text");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

Header parse_header(std::string_view text, const std::string& label) {
  // The JSON library would skip a byte order mark.
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') refuse(label, "its header is not a JSON object");
  try {
    return parse_json<Header>(text, "its header", ExitCode::checkpoint);
  } catch (const Error& error) {
    refuse(label, error.what());
  }
}

// `entries` in the order of the data must tile the data section exactly.
void check_layout(const std::vector<TensorEntry>& entries, std::uint64_t data_bytes, const std::string& label) {
  std::uint64_t position = 0;
  for (const TensorEntry& entry : entries) {
    const std::string tensor = "tensor " + in_quotes(entry.name);
    const std::string range = number(entry.begin) + " to " + number(entry.end);
    if (entry.begin > entry.end) refuse(label, tensor + " ends before it begins: " + range);
    if (entry.begin != position) {
      refuse(label,
             tensor + " is at " + range + " where byte " + number(position) + " comes next: the tensors overlap or leave a hole");
    }
    const std::optional<std::uint64_t> size = byte_size(entry);
    if (!size) refuse(label, "the size of " + tensor + " overflows");
    if (*size != entry.end - entry.begin)
      refuse(label, tensor + " needs " + number(*size) + " bytes by its shape and dtype, but its data_offsets are " + range);
    position = entry.end;
  }
  if (position != data_bytes)
    refuse(label, "its tensors take " + number(position) + " bytes, but " + number(data_bytes) + " bytes follow the header");
}

}  // namespace

std::int64_t TensorEntry::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t dimension : shape) product *= dimension;
  return product;
}

int safetensors_dtype_size(std::string_view dtype) {
  for (const std::string_view name : {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"})
    if (dtype == name) return 1;
  for (const std::string_view name : {"F16", "BF16", "I16", "U16"})
    if (dtype == name) return 2;
  for (const std::string_view name : {"F32", "I32", "U32"})
    if (dtype == name) return 4;
  for (const std::string_view name : {"F64", "I64", "U64"})
    if (dtype == name) return 8;
  return 0;
}

std::vector<TensorEntry> parse_safetensors(std::span<const std::byte> file, const std::string& label,
                                           std::map<std::string, std::string>* metadata) {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes))
    refuse(label, "it has " + number(file.size()) + " bytes, fewer than the 8 of the header's length");
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const std::uint64_t following = file.size() - sizeof(header_bytes);
  if (header_bytes > max_header_bytes)
    refuse(label, "its header claims " + number(header_bytes) + " bytes; at most " + number(max_header_bytes) + " are allowed");
  if (header_bytes > following)
    refuse(label, "its header claims " + number(header_bytes) + " bytes, but only " + number(following) + " follow");
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof(header_bytes), header_bytes);
  std::map<std::string, std::string> found_metadata;
  std::vector<TensorEntry> entries;
  const Header json = parse_header(header, label);
  for (const auto& [name, value] : json.items()) {
    if (name == reserved_name)
      found_metadata = metadata_of(value, label);
    else
      entries.push_back(entry_of(name, value, label));
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& left, const TensorEntry& right) {
    return std::tie(left.begin, left.end, left.name) < std::tie(right.begin, right.end, right.name);
  });
  check_layout(entries, following - header_bytes, label);
  if (metadata != nullptr) *metadata = std::move(found_metadata);
  return entries;
}

std::string format_safetensors_head(std::vector<TensorEntry>& entries, const std::map<std::string, std::string>& metadata) {
  const auto json = [](const std::string& text) { return nlohmann::json(text).dump(); };
  std::string header = "{";
  if (!metadata.empty()) header += json(std::string(reserved_name)) + ":" + nlohmann::json(metadata).dump();
  std::vector<std::string_view> names;
  std::uint64_t position = 0;
  for (TensorEntry& entry : entries) {
    const char* const fault = entry.name == reserved_name ? "is reserved" : name_fault(entry.name);
    if (fault != nullptr) throw std::logic_error("the tensor name " + in_quotes(entry.name) + " " + fault);
    const std::optional<std::uint64_t> size = byte_size(entry);
    if (!size || entry.shape.size() > max_rank)
      throw std::logic_error("tensor " + in_quotes(entry.name) + " has an impossible dtype or shape");
    names.push_back(entry.name);
    entry.begin = position;
    if (__builtin_add_overflow(position, *size, &position)) throw std::logic_error("the tensors' sizes overflow");
    entry.end = position;
    if (header.size() > 1) header += ',';
    header += json(entry.name) + R"(:{"dtype":")" + entry.dtype + R"(","shape":)" + nlohmann::json(entry.shape).dump() +
              R"(,"data_offsets":[)" + number(entry.begin) + "," + number(entry.end) + "]}";
  }
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(names.begin(), names.end()) != names.end()) throw std::logic_error("two tensors have the same name");
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t length = header.size();
  std::string head(sizeof(length), '\0');
  std::memcpy(head.data(), &length, sizeof(length));
  return head + header;
}

}  // namespace temper
