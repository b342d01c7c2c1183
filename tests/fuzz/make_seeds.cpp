// make_seeds FOLDER: the inputs that fuzzing starts from, in a folder for each target.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "distributed/peer_messages.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace {

std::string safetensors(std::vector<temper::TensorEntry> entries, const std::map<std::string, std::string>& metadata) {
  std::string image = temper::format_safetensors_head(entries, metadata);
  if (!entries.empty()) image.append(entries.back().end, '\1');
  return image;
}

// A file that says anything.
std::string safetensors(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(data_bytes, '\1');
}

// llm.c's layout: 256 words of header, then tokens.
std::string shard(std::int32_t magic, std::int32_t version, std::int32_t count, std::size_t tokens) {
  std::array<std::int32_t, 256> header = {magic, version, count};
  return std::string(reinterpret_cast<const char*>(header.data()), sizeof header) + std::string(2 * tokens, '\1');
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  const auto put = [&](const char* kind, const char* name, const std::string& image) {
    std::filesystem::create_directories(folder / kind);
    temper::write_file_atomically(folder / kind / name, image);
  };
  put("safetensors", "none", safetensors({}, {}));
  put("safetensors", "one", safetensors({{"w", "F32", {2, 2}, 0, 0}}, {{"format", "pt"}}));
  put("safetensors", "three",
      safetensors({{"a", "BF16", {3}, 0, 0}, {"b", "I64", {}, 0, 0}, {"c", "U8", {0, 5}, 0, 0}}, {{"k", "v"}}));
  put("safetensors", "rank", safetensors({{"r", "BOOL", {1, 1, 1, 1, 1, 1, 1, 2}, 0, 0}}, {}));
  // One step beside what is allowed: mutations find such headers rarely.
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  put("safetensors", "twice", safetensors("{" + a + R"(,"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", 3));
  put("safetensors", "hole", safetensors("{" + a + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})", 4));
  put("safetensors", "overlap", safetensors("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3));
  put("safetensors", "trailing", safetensors("{" + a + "}", 3));
  put("safetensors", "overflow", safetensors(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0));
  put("safetensors", "nul", safetensors(std::string("{}\0{}", 5), 0));
  put("shard", "llmc", shard(20240520, 1, 16, 16));
  put("shard", "empty", shard(20240520, 1, 0, 0));
  put("shard", "short", shard(20240520, 1, 16, 3));
  put("shard", "negative", shard(20240520, 1, -1, 4));
  put("shard", "version", shard(20240520, 2, 4, 4));
  put("shard", "raw", std::string("\1\0\2\0\3\0", 6));
  put("json", "sidecar",
      R"({"format": "temper shards", "version": 1, "tokenizer": {"hash": "a", "vocab_size": 9, "end_of_text": 8}, "sources": []})");
  put("json", "model",
      R"({"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 8, "n_ctx": 16, "vocab_size": 99, "n_inner": null})");
  put("json", "run", "{\"a\": [1, -2.5e3, true, null, \"\\ud83d\\ude00\"], // said\n \"b\": {\"c\": {}}}");
  put("json", "deep", std::string(99, '[') + std::string(99, ']'));
  put("peer_messages", "greeting", *temper::frame_of(temper::Greeting{std::string(32, 'n')}));
  put("peer_messages", "challenge", *temper::frame_of(temper::Challenge{std::string(32, 'n'), std::string(32, 'p')}));
  put("peer_messages", "hello", *temper::frame_of(temper::Hello{1, 3, "key", "host", std::string(32, 'p')}));
  put("peer_messages", "welcome", *temper::frame_of(temper::Welcome{{"a", "b", "c"}}));
  put("peer_messages", "offer", *temper::frame_of(temper::Offer{1, "what", "value"}));
  put("peer_messages", "result", *temper::frame_of(temper::Result{1, {"a", "", "c"}}));
  put("peer_messages", "absent", *temper::frame_of(temper::Absent{1, {0, 2}}));
  put("peer_messages", "lost", *temper::frame_of(temper::Lost{{1, "host", "why"}}));
  put("peer_messages", "beats", *temper::frame_of(temper::PeerMessage::beat) + *temper::frame_of(temper::PeerMessage::farewell));
  // Two bytes choose name and policy; gzip and zstd of "one\ntwo\n".
  const std::string lines =
      "{\"text\": \"a \\ud83d\\ude00<|endoftext|>\", \"x\": NaN}\n{\"text\": null}\n{\"text\": \"\\ud83d\"}\n";
  put("text", "lines", std::string("\0\2", 2) + lines);
  put("text", "json", "\3\3" + lines);
  put("text", "text", "\1\7one\n<|endoftext|>tw\xff o\n");
  put("text", "marked", "\1\1\xef\xbb\xbfone");
  put("text", "utf16le",
      std::string("\1\3\xff\xfe"
                  "o\0n\0\x3d\xd8\x00\xde\x3d\xd8",
                  14));
  put("text", "utf16be", std::string("\1\3\xfe\xff\0o\0n\xd8\x3d\xde\x00\xde\x00", 14));
  put("text", "gzip",
      std::string("\1\1\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\xcf\x4b\xe5\x2a\x29\xcf\xe7\x02\0\xe6\x0b\xba\x12\x08\0\0\0", 30));
  put("text", "zstd", std::string("\1\1\x28\xb5\x2f\xfd\x00\x58\x41\0\0one\ntwo\n", 19));
  return 0;
}
