#include "kernels/emulated/audit/places.h"

#include <link.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>

#include "kernels/emulated/audit/audit.h"

namespace temper::emulated::audit {

namespace {

std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<std::uintptr_t*>(to) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &address);
  return address;
}
const std::uintptr_t loaded_at = load_address();

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string all;
  char part[4096];
  while (pipe != nullptr && std::fgets(part, sizeof part, pipe.get()) != nullptr) all += part;
  return all;
}

// One address in addr2line's answer: a line with the address, then function and line, function and line ... from the inside out.
std::string read_line(std::istream& answer) {
  std::string found, function, place, last;
  std::getline(answer, place);
  while (answer.peek() != '0' && std::getline(answer, function) && std::getline(answer, place)) {
    if (place.find("/emulated/") != std::string::npos || place.find("/include/c++/") != std::string::npos) continue;
    place = place.substr(place.rfind('/') + 1);
    place = place.substr(0, place.find(' '));  // without remarks
    if (place == last) continue;
    found += (found.empty() ? "" : " in ") + place;
    last = place;
  }
  return found.empty() ? "an unknown line" : found;
}

}  // namespace

std::uint32_t program_counter(const void* address) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address) - loaded_at - 1);
}

std::vector<std::string> lines_of(const std::vector<std::uint32_t>& program_counters) {
  std::vector<std::string> lines;
  if (program_counters.empty()) return lines;
  std::ostringstream command;
  command << "addr2line -a -f -i -e '" << std::filesystem::read_symlink("/proc/self/exe").string() << "'" << std::hex;
  for (const std::uint32_t counter : program_counters) command << " 0x" << counter;
  std::istringstream answer(output_of(command.str()));
  while (lines.size() < program_counters.size()) lines.push_back(read_line(answer));
  return lines;
}

std::vector<std::string> names_of(const std::vector<const void*>& functions) {
  std::istringstream symbols(output_of("nm -C '" + std::filesystem::read_symlink("/proc/self/exe").string() + "'"));
  std::map<std::uintptr_t, std::string> names;
  for (std::string line; std::getline(symbols, line);) {
    std::istringstream parts(line);
    std::uintptr_t address = 0;
    std::string kind, name;
    if (parts >> std::hex >> address >> kind && std::getline(parts >> std::ws, name)) names[address + loaded_at] = name;
  }
  std::vector<std::string> found;
  for (const void* const function : functions) found.push_back(names[reinterpret_cast<std::uintptr_t>(function)]);
  return found;
}

}  // namespace temper::emulated::audit
