#include "io/json_lines.h"

#include <fmt/format.h>

#include <fstream>
#include <stdexcept>
#include <string>

#include "io/file.h"
#include "io/text.h"

namespace temper {

JsonLinesFile::JsonLinesFile(const std::filesystem::path& path, std::uint64_t keep_bytes) : log_(path, 0) {
  const std::uint64_t found = log_.size();
  log_.truncate(keep_bytes);
  if (keep_bytes == 0) return;
  std::ifstream file(path, std::ios::binary);
  if (found >= keep_bytes && file.seekg(static_cast<std::streamoff>(keep_bytes) - 1).get() == '\n') return;
  // Shorter after a power cut, or edited: the last line may be torn, and the next must not be glued to it.
  tell(fmt::format("warning: {} has {} bytes where the checkpoint recorded {}, or other lines; some are missing or changed",
                   path.string(), found, keep_bytes));
  const std::string contents = read_file(path, keep_bytes);
  log_.truncate(contents.rfind('\n') + 1);  // npos + 1 is 0: not one whole line
}

void JsonLinesFile::append(std::string_view json) {
  if (json.find('\n') != std::string_view::npos) throw std::logic_error("a JSON line with a newline in it");
  log_.append(std::string(json) + '\n');
}

}  // namespace temper
