// Whatever text comes as a configuration, a model's config.json or a sidecar: refused with an Error whose code is that of its kind and
// whose message is not as long as the text, or read; and what is read as JSON comes out as JSON again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "config/json_tree.h"
#include "data/shard_sidecar.h"
#include "io/error.h"
#include "io/json.h"
#include "model/hf_config.h"

namespace {

template <typename Read>
void refused_or_read(const Read& read, temper::ExitCode code) {
  try {
    read();
  } catch (const temper::Error& error) {
    if (error.code() != code) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  refused_or_read([&] { temper::parse_sidecar(text, "sidecar"); }, temper::ExitCode::data);
  refused_or_read([&] { temper::parse_hf_config(text, "config.json"); }, temper::ExitCode::checkpoint);
  refused_or_read(
      [&] {
        std::vector<std::string> problems;
        temper::read_json_tree(text, "config", problems);
      },
      temper::ExitCode::usage);
  refused_or_read(
      [&] {
        const temper::Json json = temper::parse_json(text, "file", temper::ExitCode::checkpoint);
        if (temper::parse_json(temper::json_text(json), "again", temper::ExitCode::unexpected) != json) std::abort();
        if (temper::parse_json_if_whole(text) != json) std::abort();
      },
      temper::ExitCode::checkpoint);
  return 0;
}
