#include "io/json_lines.h"

#include <cstdio>
#include <stdexcept>
#include <string>

#include "io/file.h"

namespace temper {

JsonLinesFile::JsonLinesFile(const std::filesystem::path& path, std::uint64_t keep_bytes) : log_(path, 0) {
  if (log_.size() >= keep_bytes) {
    log_.truncate(keep_bytes);
    return;
  }
  // Shorter after a power cut, or edited: the last line may be torn, and the next must not be glued to it.
  std::fprintf(stderr, "warning: %s has %llu bytes where the checkpoint recorded %llu; earlier lines are missing\n", path.c_str(),
               static_cast<unsigned long long>(log_.size()), static_cast<unsigned long long>(keep_bytes));
  const std::string contents = read_file(path);
  log_.truncate(contents.rfind('\n') + 1);  // npos + 1 is 0: not one whole line
}

void JsonLinesFile::append(std::string_view json) {
  if (json.find('\n') != std::string_view::npos) throw std::logic_error("a JSON line with a newline in it");
  log_.append(std::string(json) + '\n');
}

}  // namespace temper
