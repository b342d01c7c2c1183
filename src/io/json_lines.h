// JSON lines (jsonlines.org): a log of one JSON object a line, as metrics.jsonl is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "io/append_log.h"

namespace temper {

class JsonLinesFile {
 public:
  /// Opens or creates `path` and cuts it to its first `keep_bytes` bytes: 0 for a new run, for a resumed one the size() that its
  /// checkpoint recorded, so that no step stands in the file twice. A file that is shorter keeps its whole lines, with a
  /// warning on stderr.
  JsonLinesFile(const std::filesystem::path& path, std::uint64_t keep_bytes);

  /// Appends `json`, one line without its newline, in a single write(2). Never throws for the disk's sake, see AppendLog.
  void append(std::string_view json);
  /// Makes the lines durable, before a checkpoint records size().
  void sync() { log_.sync(); }
  /// Bytes of the lines written so far.
  std::uint64_t size() const { return log_.size(); }

 private:
  AppendLog log_;
};

}  // namespace temper
