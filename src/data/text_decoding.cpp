#include "data/text_decoding.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "data/shard.h"
#include "data/utf8.h"
#include "io/error.h"

namespace temper {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t piece_bytes = std::size_t{256} << 10;

std::string_view as_text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

[[noreturn]] void cut_short(const std::string& label, TextForm form) {
  throw Error(ExitCode::data, "{}: is {} that is cut short; copy or make the file again", label, form_name(form));
}

[[noreturn]] void damaged(const std::string& label, TextForm form, const char* why) {
  throw Error(ExitCode::data, "{}: is {} that cannot be decoded ({}); copy or make the file again", label, form_name(form), why);
}

// One stream of gzip after another, as `cat a.gz b.gz` makes them.
void decode_gzip(std::string_view bytes, const std::string& label, const DecodedSink& sink) {
  const std::size_t all = bytes.size();
  constexpr int gzip_only = 15 + 16;
  z_stream stream = {};
  if (::inflateInit2(&stream, gzip_only) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, ::inflateEnd);
  std::vector<char> piece(piece_bytes);
  while (true) {
    const std::size_t given = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);  // counts are of 32 bits
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(given);
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    const int status = ::inflate(&stream, Z_NO_FLUSH);
    bytes.remove_prefix(given - stream.avail_in);
    if (stream.avail_out < piece.size()) sink({piece.data(), piece.size() - stream.avail_out}, all - bytes.size());
    if (status == Z_STREAM_END) {
      if (bytes.find_first_not_of('\0') == std::string_view::npos) return;  // tapes are filled up with zeros
      ::inflateReset(&stream);
    } else if (status == Z_BUF_ERROR) {  // nothing is left to read, nor to come out
      break;
    } else if (status != Z_OK) {
      damaged(label, TextForm::gzip, stream.msg != nullptr ? stream.msg : "of another method");
    }
  }
  cut_short(label, TextForm::gzip);
}

void decode_zstd(std::string_view bytes, const std::string& label, const DecodedSink& sink) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(::ZSTD_createDStream(), ::ZSTD_freeDStream);
  if (!stream) throw std::bad_alloc();
  std::vector<char> piece(piece_bytes);
  ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
  std::size_t open = 0;  // 0 between frames
  while (true) {
    ZSTD_outBuffer out = {piece.data(), piece.size(), 0};
    open = ::ZSTD_decompressStream(stream.get(), &out, &in);
    if (::ZSTD_isError(open) != 0) damaged(label, TextForm::zstd, ::ZSTD_getErrorName(open));
    if (out.pos > 0) sink({piece.data(), out.pos}, in.pos);
    if (in.pos == in.size && out.pos < out.size) break;
  }
  if (open != 0) cut_short(label, TextForm::zstd);
}

void decode_utf16(std::string_view bytes, bool big_endian, const DecodedSink& sink) {
  const auto unit = [&](std::size_t at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return static_cast<char32_t>(big_endian ? first << 8 | second : second << 8 | first);
  };
  constexpr char broken = '\xff';
  std::string piece;
  for (std::size_t at = 2; at < bytes.size(); at += 2) {  // behind the mark
    const char32_t high = at + 1 < bytes.size() ? unit(at) : 0xDC00;
    if (high < 0xD800 || high > 0xDFFF) {
      append_utf8(high, piece);
    } else if (const char32_t low = high < 0xDC00 && at + 3 < bytes.size() ? unit(at + 2) : 0; low >= 0xDC00 && low <= 0xDFFF) {
      append_utf8(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), piece);
      at += 2;
    } else {
      piece += broken;
    }
    if (piece.size() >= piece_bytes) {
      sink(piece, at);
      piece.clear();
    }
  }
  sink(piece, bytes.size());
}

// Refuses what is no text as soon as it is seen: the rest of a file of any size need not be decoded for it.
class TextCheck {
 public:
  explicit TextCheck(const std::filesystem::path& path) : label_(path.string()) {}

  void look(std::string_view piece, bool may_be_packed) {
    if (std::exchange(at_start_, false)) {
      const TextForm form = text_form(piece);
      packed_ = form == TextForm::utf16_le || form == TextForm::utf16_be || (may_be_packed && form != TextForm::plain);
      if (!packed_) refuse_known(piece);
    }
    if (packed_) return;
    if (const std::size_t nul = piece.find('\0'); nul != std::string_view::npos) {
      throw Error(
          ExitCode::data,
          "{}: is no text: it has a NUL byte at offset {}; name text files (UTF-16 without a mark at its start looks so too: "
          "iconv -f UTF-16LE -t UTF-8)",
          label_, offset_ + nul);
    }
    offset_ += piece.size();
    const std::size_t border = piece.find_last_of(" \n");
    undivided_ = border == std::string_view::npos ? undivided_ + piece.size() : piece.size() - border;
    check_undivided(undivided_, label_);
  }

 private:
  void refuse_known(std::string_view start) const {
    constexpr std::size_t tar_mark = 257;
    if (const auto known = known_format(std::as_bytes(std::span(start)))) throw Error(ExitCode::data, "{}: {}", label_, *known);
    if (start.starts_with("\x88\xd8\x34\x01"sv))  // shard_magic as it lies in the file
      throw Error(ExitCode::data, "{}: is a token shard already, not a text", label_);
    if (start.size() > tar_mark && start.substr(tar_mark).starts_with("ustar"))
      throw Error(ExitCode::data, "{}: is a tar archive; unpack it and name its files", label_);
  }

  std::string label_;
  std::size_t offset_ = 0;
  std::size_t undivided_ = 0;  // bytes at the end so far
  bool at_start_ = true;
  bool packed_ = false;
};

// Of a pipe, as much as there is room for unless it ends.
std::size_t read_full(const Descriptor& file, std::span<char> to, const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t count = ::read(file.get(), to.data() + done, to.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_failure("read", path, errno);
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

MappedFile take_from_pipe(const std::filesystem::path& path, const std::filesystem::path& scratch) {
  // A socket as standard input can be read, but not opened under a name.
  const Descriptor pipe =
      path == "/dev/stdin" ? Descriptor(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) : open_descriptor(path, O_RDONLY);
  if (!pipe) throw_failure("open", path, errno);
  UnnamedFile taken(scratch);
  TextCheck check(path);
  std::vector<char> piece(piece_bytes);
  while (const std::size_t count = read_full(pipe, piece, path)) {
    check.look({piece.data(), count}, true);
    taken.write({piece.data(), count});
  }
  return taken.map();
}

}  // namespace

void check_undivided(std::size_t bytes, const std::string& label) {
  constexpr std::size_t most = std::size_t{16} << 20;
  if (bytes > most)
    throw Error(ExitCode::data, "{}: has more than {} bytes in a row without a space or a line end in them, which no text has",
                label, most);
}

TextForm text_form(std::string_view bytes) {
  if (bytes.starts_with("\x1f\x8b"sv)) return TextForm::gzip;
  // Frames that hold no data, which some programs write first, have 16 marks of their own.
  if (bytes.starts_with("\x28\xb5\x2f\xfd"sv) || (bytes.substr(0, 4).ends_with("\x2a\x4d\x18"sv) && (bytes[0] & 0xf0) == 0x50))
    return TextForm::zstd;
  if (bytes.starts_with("\xff\xfe\0\0"sv)) return TextForm::plain;  // UTF-32, which is refused
  if (bytes.starts_with("\xff\xfe"sv)) return TextForm::utf16_le;
  if (bytes.starts_with("\xfe\xff"sv)) return TextForm::utf16_be;
  return TextForm::plain;
}

const char* form_name(TextForm form) {
  return form == TextForm::plain ? "text" : form == TextForm::gzip ? "gzip" : form == TextForm::zstd ? "zstd" : "UTF-16";
}

void decode_text(TextForm form, std::string_view bytes, const std::string& label, const DecodedSink& sink) {
  if (form == TextForm::plain) sink(bytes, bytes.size());
  if (form == TextForm::gzip) decode_gzip(bytes, label, sink);
  if (form == TextForm::zstd) decode_zstd(bytes, label, sink);
  if (form == TextForm::utf16_le || form == TextForm::utf16_be) decode_utf16(bytes, form == TextForm::utf16_be, sink);
}

UnnamedFile::UnnamedFile(const std::filesystem::path& folder) {
  std::string name = (folder / "text.XXXXXX").string();
  file_ = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  path_ = name;
  if (!file_) throw_failure("create", path_, errno);
  ::unlink(name.c_str());
}

void UnnamedFile::write(std::string_view bytes) {
  waiting_ += bytes;
  if (waiting_.size() >= piece_bytes) flush();
}

void UnnamedFile::flush() {
  if (const int error_number = write_all(file_.get(), waiting_.data(), waiting_.size()))
    throw_failure("write", path_, error_number);
  waiting_.clear();
}

MappedFile UnnamedFile::map() {
  flush();
  return {file_, path_};
}

TextBytes::TextBytes(const std::filesystem::path& path, const std::filesystem::path& scratch, const BytesDone& decoding) {
  std::error_code absent;
  const std::filesystem::file_type type = std::filesystem::status(path, absent).type();
  piped_ = type == std::filesystem::file_type::fifo || (path == "/dev/stdin" && type != std::filesystem::file_type::regular);
  raw_ = piped_ ? take_from_pipe(path, scratch) : MappedFile(path);
  text_ = raw();
  TextCheck(path).look(text_, true);
  for (TextForm form = text_form(text_); form != TextForm::plain; form = text_form(text_)) {
    UnnamedFile decoded(scratch);
    TextCheck check(path);
    decode_text(form, text_, path.string(), [&](std::string_view piece, std::size_t read) {
      check.look(piece, false);
      decoded.write(piece);
      if (decoding) decoding(static_cast<std::int64_t>(read), static_cast<std::int64_t>(text_.size()));
    });
    decoded_ = decoded.map();
    text_ = as_text(decoded_.bytes());
    forms_ = fmt::format(" in {}{}", form_name(form), forms_);
    if (form == TextForm::utf16_le || form == TextForm::utf16_be) break;
  }
  if (text_.starts_with("\xef\xbb\xbf"sv)) text_.remove_prefix(3);
}

std::string_view TextBytes::raw() const { return as_text(raw_.bytes()); }

}  // namespace temper
