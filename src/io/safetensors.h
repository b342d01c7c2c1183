// The safetensors format (huggingface/safetensors, README "Format"): an 8-byte little-endian header length, a JSON header,
// then the tensors' bytes. Files come from strangers: the reader checks everything before it trusts anything.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"

namespace temper {

/// One tensor as the header describes it. dtype is the format's own name: "F32", "BF16", "F64", "I64", ...
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  ///< offset into the data section
  std::uint64_t end = 0;

  std::int64_t numel() const;
};

/// Bytes per element of a dtype of the format, 0 for one that temper does not know.
int safetensors_dtype_size(std::string_view dtype);

/// Checks and parses the header of a whole file image; throws Error(ExitCode::checkpoint) with `label` and what is wrong.
/// Limits: header 16 MiB, rank 8, names of 512 bytes, no duplicates, holes, overlaps or overflowing products, sizes exactly
/// those of the file. The result is in the order of the data, also where the header is
/// not. `metadata` (may be null) receives __metadata__.
std::vector<TensorEntry> parse_safetensors(std::span<const std::byte> file, const std::string& label,
                                           std::map<std::string, std::string>* metadata);

/// The head of a file that holds `entries` in the order given: the 8-byte length and the JSON, padded so that the data starts
/// at a multiple of 8. Sets begin and end of each entry. An unknown dtype, a negative or overflowing shape, a repeated, empty or
/// unprintable name is a mistake of the caller: std::logic_error.
std::string format_safetensors_head(std::vector<TensorEntry>& entries, const std::map<std::string, std::string>& metadata);

/// A checked, memory-mapped safetensors file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Null when there is no tensor of that name.
  const TensorEntry* find(std::string_view name) const;
  std::span<const std::byte> bytes(const TensorEntry& entry) const;

  /// The tensor as f32, converted from F32, BF16, F16 or F64. Missing name or other dtype: Error(ExitCode::checkpoint).
  std::vector<float> read_f32(std::string_view name) const;

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::size_t data_begin_ = 0;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorEntry> tensors_;
  std::vector<std::size_t> by_name_;  // indices of tensors_, sorted by name
};

/// Writes tensors one after the other, so that none must be held twice. Declare all, then supply the bytes in that order.
class SafetensorsWriter {
 public:
  /// `entries`: name, dtype and shape; begin and end are computed. `metadata` should hold {"format": "pt"}.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorEntry> entries,
                    const std::map<std::string, std::string>& metadata);
  /// The next bytes of the data section; a tensor may come in several pieces.
  void write(const void* data, std::size_t bytes);
  /// fsyncs and returns the XXH3-128 of the file. Fewer bytes than were declared (or, in write, more) are a mistake of the
  /// caller: std::logic_error, and the file is removed.
  std::string close();

 private:
  FileWriter file_;
  std::uint64_t declared_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace temper
