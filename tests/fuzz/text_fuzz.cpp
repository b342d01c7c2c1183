// Whatever file comes, and whatever it is called, read_text refuses it with Error(ExitCode::data) or gives pieces that are valid
// UTF-8 of bounded size, as many documents as it counts, and with `skip` and `replace` no line of JSON is an error.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "data/text_source.h"
#include "data/utf8.h"
#include "io/descriptor.h"
#include "io/error.h"

namespace {

// In memory: the disk would take most of the time.
std::filesystem::path make_folder() {
  std::string name = std::filesystem::exists("/dev/shm") ? "/dev/shm/temper-text-fuzz-XXXXXX" : "/tmp/temper-text-fuzz-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

struct Folder {
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path = make_folder();
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  if (size < 2) return 0;
  const char* names[] = {"a.jsonl", "a", "a.txt", "a.json"};
  const std::filesystem::path path = folder.path / names[data[0] % 4];
  const auto policy = static_cast<temper::BadText>(data[1] % 4);
  const temper::TextOptions options = {data[1] & 4 ? "<|endoftext|>" : "", "text", policy};
  {
    const temper::Descriptor written = temper::open_descriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (temper::write_all(written.get(), data + 2, size - 2) != 0) std::abort();
  }
  std::int64_t documents = 0;
  try {
    const temper::SourceRecord record = temper::read_text(path, options, folder.path, [&](std::string_view piece) {
      if (piece == "\n") ++documents;
      if (temper::valid_utf8_prefix(piece) != piece.size() || piece.size() > std::size_t{64} << 20) std::abort();
    });
    if (record.found.documents > documents || record.bytes != static_cast<std::int64_t>(size - 2)) std::abort();
    if (record.found.skipped + record.found.invalid_bytes > 0 &&
        (record.found.first_bad.empty() || policy == temper::BadText::refuse))
      std::abort();
  } catch (const temper::Error& error) {
    const bool forgiving = policy == temper::BadText::skip || policy == temper::BadText::replace;
    if (error.code() != temper::ExitCode::data ||
        (forgiving && std::string(error.what()).find("--on-bad-text") != std::string::npos))
      std::abort();
  }
  return 0;
}
