// The JSON header of a safetensors file, read and written. The reader is a SAX handler that knows the only shape a header
// may have, so nothing is built from input before it is checked and nesting is bounded by the grammar.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "io/error.h"
#include "io/safetensors.h"
#include "io/text.h"

namespace temper {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian and are used in place");

constexpr std::uint64_t max_header_bytes = 100'000'000;
constexpr std::size_t max_entries = 100'000;
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

class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(const std::string& label, std::map<std::string, std::string>& metadata) : label_(label), metadata_(metadata) {}

  std::vector<TensorEntry> take_entries() { return std::move(entries_); }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fractional or too large number"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (next_ == Next::shape_item) {
      std::vector<std::int64_t>& shape = entries_.back().shape;
      if (shape.size() == max_rank) fail("has more than 8 dimensions");
      if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) fail("has the dimension " + number(value));
      shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (next_ != Next::offsets_item) return unexpected("a number");
    if (offset_count_ == 2) fail("has more than two data_offsets");
    (offset_count_++ == 0 ? entries_.back().begin : entries_.back().end) = value;
    return true;
  }

  bool string(string_t& value) override {
    if (next_ == Next::dtype) {
      if (safetensors_dtype_size(value) == 0) fail("has the unknown dtype " + in_quotes(value));
      entries_.back().dtype = value;
      next_ = Next::tensor_key;
      return true;
    }
    if (next_ != Next::metadata_value) return unexpected("a string");
    if (metadata_.size() == max_entries) refuse(label_, "__metadata__ has more than 100000 entries");
    if (!metadata_.emplace(metadata_name_, value).second)
      refuse(label_, "__metadata__ has " + in_quotes(metadata_name_) + " twice");
    next_ = Next::metadata_key;
    return true;
  }

  bool start_object(std::size_t) override {
    switch (next_) {
      case Next::root_object:
        next_ = Next::root_key;
        return true;
      case Next::metadata_object:
        next_ = Next::metadata_key;
        return true;
      case Next::tensor_object:
        next_ = Next::tensor_key;
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool key(string_t& name) override {
    switch (next_) {
      case Next::root_key:
        return root_key(name);
      case Next::metadata_key:
        if (const char* fault = name_fault(name)) refuse(label_, "the __metadata__ key " + in_quotes(name) + " " + fault);
        metadata_name_ = name;
        next_ = Next::metadata_value;
        return true;
      default:
        return tensor_key(name);  // keys occur only inside the three kinds of object
    }
  }

  bool end_object() override {
    if (next_ == Next::tensor_key && !(has_dtype_ && has_shape_ && has_offsets_)) fail("lacks dtype, shape or data_offsets");
    next_ = next_ == Next::root_key ? Next::nothing : Next::root_key;
    return true;
  }

  bool start_array(std::size_t) override {
    switch (next_) {
      case Next::shape_array:
        next_ = Next::shape_item;
        return true;
      case Next::offsets_array:
        next_ = Next::offsets_item;
        return true;
      default:
        return unexpected("an array");
    }
  }

  bool end_array() override {
    if (next_ == Next::offsets_item && offset_count_ != 2) fail("has fewer than two data_offsets");
    next_ = Next::tensor_key;
    return true;
  }

  // The library's own words are not repeated: they quote the input, at any length.
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    refuse(label_, "its header is not valid UTF-8 JSON near byte " + number(position) + " of the header");
  }

 private:
  enum class Next {
    root_object,
    root_key,
    metadata_object,
    metadata_key,
    metadata_value,
    tensor_object,
    tensor_key,
    dtype,
    shape_array,
    shape_item,
    offsets_array,
    offsets_item,
    nothing
  };

  bool root_key(const std::string& name) {
    if (name == reserved_name) {
      if (std::exchange(has_metadata_, true)) refuse(label_, "__metadata__ occurs twice");
      next_ = Next::metadata_object;
      return true;
    }
    if (entries_.size() == max_entries) refuse(label_, "it has more than 100000 tensors");
    if (const char* fault = name_fault(name)) refuse(label_, "the tensor name " + in_quotes(name) + " " + fault);
    entries_.push_back({name, {}, {}, 0, 0});
    has_dtype_ = has_shape_ = has_offsets_ = false;
    offset_count_ = 0;
    next_ = Next::tensor_object;
    return true;
  }

  bool tensor_key(const std::string& name) {
    bool* seen = nullptr;
    if (name == "dtype") {
      seen = &has_dtype_;
      next_ = Next::dtype;
    } else if (name == "shape") {
      seen = &has_shape_;
      next_ = Next::shape_array;
    } else if (name == "data_offsets") {
      seen = &has_offsets_;
      next_ = Next::offsets_array;
    } else {
      fail("has the unknown key " + in_quotes(name));
    }
    if (std::exchange(*seen, true)) fail("has " + name + " twice");
    return true;
  }

  [[noreturn]] void fail(const std::string& what) const {
    refuse(label_, "tensor " + in_quotes(entries_.back().name) + " " + what);
  }

  bool unexpected(const char* found) const {
    const std::string place = entries_.empty() ? "at the beginning" : "near tensor " + in_quotes(entries_.back().name);
    refuse(label_, std::string("its header has ") + found + " where none may be, " + place);
  }

  const std::string& label_;
  std::map<std::string, std::string>& metadata_;
  std::vector<TensorEntry> entries_;
  Next next_ = Next::root_object;
  std::string metadata_name_;
  bool has_metadata_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  int offset_count_ = 0;
};

void check_names_differ(const std::vector<TensorEntry>& entries, const std::string& label) {
  std::vector<std::string_view> names(entries.size());
  std::transform(entries.begin(), entries.end(), names.begin(),
                 [](const TensorEntry& entry) { return std::string_view(entry.name); });
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse(label, "tensor " + in_quotes(*twice) + " occurs twice");
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
  // The JSON library would skip a byte order mark and stop at a NUL as if the text ended there.
  const std::size_t first = header.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || header[first] != '{') refuse(label, "its header is not a JSON object");
  if (header.find('\0') != std::string_view::npos) refuse(label, "its header holds a NUL byte");

  std::map<std::string, std::string> found_metadata;
  HeaderHandler handler(label, found_metadata);
  nlohmann::json::sax_parse(header, &handler);
  std::vector<TensorEntry> entries = handler.take_entries();
  check_names_differ(entries, label);
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
