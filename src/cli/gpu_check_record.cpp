#include "cli/gpu_check_record.h"

#include <algorithm>
#include <fstream>

#include "io/error.h"
#include "io/file.h"

namespace temper {

namespace {

constexpr std::size_t largest_file = std::size_t{1} << 20;  // thousands of checks
constexpr const char* first_line = "temper gpu checks 1\n";

// The file's lines, each with its end; only the first one where there is no such file yet.
std::string recorded(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(largest_file, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  text.resize(text.rfind('\n') + 1);  // a line that was cut off is none
  return text.rfind(first_line, 0) == 0 ? text : first_line;
}

}  // namespace

std::string gpu_check_key(const DeviceInfo& gpu, const std::string& driver, const std::string& build) {
  std::string key = gpu.name + "; " + gpu.features + "; " + driver + "; " + build;
  std::replace(key.begin(), key.end(), '\n', ' ');
  return key;
}

std::string nvidia_driver() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  return line;
}

bool gpu_check_recorded(const std::string& path, const std::string& key) {
  return recorded(path).find("\n" + key + "\n") != std::string::npos;
}

void record_gpu_check(const std::string& path, const std::string& key) {
  if (path.empty())
    throw Error(ExitCode::io,
                "there is no cache folder to remember the check in: set HOME or XDG_CACHE_HOME to a folder that can be written");
  if (!gpu_check_recorded(path, key)) write_file_atomically(path, recorded(path) + key + "\n");
}

}  // namespace temper
