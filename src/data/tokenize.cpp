#include "data/tokenize.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "data/shard_sidecar.h"
#include "io/error.h"
#include "io/file.h"
#include "io/staging.h"
#include "kernels/machine.h"

namespace temper {

namespace {

// Large against the cost of handing a job over, small against the work of a corpus that is worth several threads.
constexpr std::size_t job_bytes = std::size_t{256} << 10;

// How many of the first `documents` are validation. The few bits more make up for 0.1 and the like being rounded, down to or up
// from the number that was written.
std::int64_t validation_share(std::int64_t documents, double fraction) {
  return static_cast<std::int64_t>(static_cast<double>(documents) * fraction * (1.0 + 0x1p-50));
}

}  // namespace

CorpusReader::CorpusReader(std::vector<CorpusFile> files, TextOptions options, double validation_fraction,
                           std::filesystem::path scratch)
    : files_(std::move(files)),
      options_(std::move(options)),
      validation_fraction_(validation_fraction),
      scratch_(std::move(scratch)) {
  for (const CorpusFile& file : files_) {
    std::error_code is_pipe;
    const std::uintmax_t bytes = std::filesystem::file_size(file.path, is_pipe);
    if (!is_pipe) total_bytes_ += static_cast<std::int64_t>(bytes);
  }
  if (validation_fraction_ > 0.0) {
    constexpr double most = 1e15;  // documents, which no corpus has
    std::int64_t wanted = std::llround(std::min(1.0 / validation_fraction_, most));
    while (static_cast<double>(wanted) < most && validation_share(wanted, validation_fraction_) == 0) ++wanted;
    cut_documents_ = !has_documents(wanted);
  }
}

std::shared_ptr<TextFile> CorpusReader::open(std::size_t index) {
  if (const auto kept = pipes_.extract(index)) {
    kept.mapped()->rewind();
    return kept.mapped();
  }
  auto file = std::make_shared<TextFile>(files_[index].path, options_, scratch_);
  if (file->piped()) total_bytes_ += file->input_bytes();
  return file;
}

bool CorpusReader::has_documents(std::int64_t wanted) {
  std::int64_t count = 0;
  for (std::size_t index = 0; index < files_.size() && count < wanted; ++index) {
    const std::shared_ptr<TextFile> file = open(index);
    for (RawDocument document; count < wanted && file->next(document);) ++count;
    if (file->piped()) pipes_.emplace(index, file);
  }
  return count >= wanted;
}

bool CorpusReader::next(TextJob& job) {
  job.pieces.clear();
  for (std::size_t bytes = 0; bytes < job_bytes;) {
    if (pending_.empty() && !next_document()) break;
    TextPiece& rest = pending_.back();
    TextPiece& piece = job.pieces.emplace_back(rest);
    const std::string_view text = rest.document.bytes;
    const std::size_t length =
        rest.file->json_lines() ? text.size() : piece_length(text, job_bytes - bytes, files_[rest.source].path);
    piece.document.bytes = text.substr(0, length);
    bytes += length;
    rest.document.bytes.remove_prefix(length);
    rest.starts_document = false;
    // Of what is packed, in proportion.
    const std::string_view contents = piece.file->contents();
    const auto done = static_cast<double>(piece.document.bytes.data() + length - contents.data());
    job.input_bytes = finished_bytes_ + static_cast<std::int64_t>(done / static_cast<double>(contents.size()) *
                                                                  static_cast<double>(piece.file->input_bytes()));
    if (rest.document.bytes.empty()) pending_.pop_back();
  }
  return !job.pieces.empty();
}

bool CorpusReader::next_document() {
  while (true) {
    if (!file_) {
      if (next_file_ == files_.size()) return false;
      file_ = open(next_file_);
    }
    TextPiece piece;
    if (!file_->next(piece.document)) {
      finish_file();
      continue;
    }
    piece.file = file_;
    piece.source = next_file_;
    piece.split = split_of_next();
    ++documents_;
    if (piece.split || file_->json_lines()) {
      pending_ = {piece};
      return true;
    }
    const std::string_view text = piece.document.bytes;
    const std::size_t cut = validation_cut(text, validation_fraction_);
    TextPiece last = piece;
    piece.split = Split::train;
    piece.document.bytes = text.substr(0, cut);
    last.split = Split::validation;
    last.document.bytes = text.substr(cut);
    pending_.clear();
    if (!last.document.bytes.empty()) pending_.push_back(last);
    if (!piece.document.bytes.empty()) pending_.push_back(piece);
    return true;
  }
}

std::optional<Split> CorpusReader::split_of_next() {
  if (validation_fraction_ == 0.0) return files_[next_file_].split;
  if (cut_documents_) return std::nullopt;
  const bool one_more = validation_share(documents_ + 1, validation_fraction_) > validation_share(documents_, validation_fraction_);
  return one_more ? Split::validation : Split::train;
}

void CorpusReader::finish_file() {
  sources_.push_back(file_->record());
  finished_bytes_ += file_->input_bytes();
  file_.reset();
  ++next_file_;
}

// --- Shards of it ---

namespace {

struct EncodedSplit {
  std::vector<std::uint16_t> tokens;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
};

// One job on its way from the reader through an encoder to the shards.
struct Work {
  TextJob job;
  std::array<EncodedSplit, 2> encoded;  // by Split
  std::vector<TextFindings> found;      // of each piece
  std::exception_ptr error;
  bool done = false;
};

class Encoder {
 public:
  Encoder(const TokenizeSettings& settings, const Tokenizer& tokenizer) : settings_(settings), tokenizer_(tokenizer) {}

  void encode(Work& work) {
    for (const TextPiece& piece : work.job.pieces) {
      TextFindings& found = work.found.emplace_back();
      if (!piece.file->json_lines()) {
        found.marks = count_marks(piece.document.bytes);
        add(piece.document.bytes, piece.starts_document, work.encoded[static_cast<std::size_t>(*piece.split)]);
        continue;
      }
      const std::optional<std::string> text = piece.file->json_text(piece.document, found);
      if (!text) continue;
      found.marks = count_marks(*text);
      const std::string_view whole = *text;
      if (piece.split) {
        add(whole, true, work.encoded[static_cast<std::size_t>(*piece.split)]);
      } else {
        const std::size_t cut = validation_cut(whole, settings_.validation_fraction);
        add(whole.substr(0, cut), true, work.encoded[static_cast<std::size_t>(Split::train)]);
        add(whole.substr(cut), true, work.encoded[static_cast<std::size_t>(Split::validation)]);
      }
    }
  }

 private:
  void add(std::string_view text, bool starts_document, EncodedSplit& split) {
    if (text.empty()) return;
    if (starts_document) {
      split.tokens.push_back(static_cast<std::uint16_t>(tokenizer_.end_of_text()));
      ++split.documents;
    }
    split.bytes += static_cast<std::int64_t>(text.size());
    scratch_.clear();
    tokenizer_.encode(text, scratch_);
    const std::size_t before = split.tokens.size();
    split.tokens.resize(before + scratch_.size());
    std::transform(scratch_.begin(), scratch_.end(), split.tokens.begin() + static_cast<std::ptrdiff_t>(before),
                   [](std::uint32_t token) { return static_cast<std::uint16_t>(token); });
  }

  const TokenizeSettings& settings_;
  const Tokenizer& tokenizer_;
  std::vector<std::uint32_t> scratch_;
};

// Threads that encode in any order what is awaited in order.
class EncoderPool {
 public:
  EncoderPool(int threads, const TokenizeSettings& settings, const Tokenizer& tokenizer) {
    for (int index = 0; index < threads; ++index)
      threads_.emplace_back(
          [this, encoder = Encoder(settings, tokenizer)](const std::stop_token& stop) mutable { run(encoder, stop); });
  }
  void submit(Work& work) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(&work);
    }
    submitted_.notify_one();
  }

  void await(Work& work) {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [&] { return work.done; });
    if (work.error) std::rethrow_exception(work.error);
  }

 private:
  void run(Encoder& encoder, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      submitted_.wait(lock, stop, [this] { return !waiting_.empty(); });
      if (stop.stop_requested()) return;
      Work& work = *waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      std::exception_ptr error;
      try {
        encoder.encode(work);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      work.error = error;
      work.done = true;
      finished_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any submitted_;
  std::condition_variable finished_;
  std::deque<Work*> waiting_;
  std::vector<std::jthread> threads_;  // last, so that they end before what they use
};

void check_settings(const TokenizeSettings& settings, const Tokenizer& tokenizer) {
  constexpr std::int64_t most = 65536;
  if (tokenizer.vocab_size() > most) {
    throw Error(
        ExitCode::data,
        "the tokenizer has {} tokens; shards hold uint16 tokens, so at most {} are possible; choose or train a smaller vocabulary",
        tokenizer.vocab_size(), most);
  }
  if (settings.inputs.empty()) throw Error(ExitCode::usage, "no input is named; give text or JSONL files");
  if (settings.name.empty() || settings.name.find('/') != std::string::npos || settings.name.starts_with('.')) {
    throw Error(ExitCode::usage, "the name of the shards is \"" + settings.name +
                                     "\"; it must be part of a file name: not empty, no slash, no dot at its start");
  }
  if (!(settings.validation_fraction >= 0.0 && settings.validation_fraction <= 0.5))
    throw Error(ExitCode::usage, "the validation fraction is {:f}; allowed is 0 to 0.5", settings.validation_fraction);
  if (settings.validation_fraction > 0.0 && !settings.validation_inputs.empty())
    throw Error(ExitCode::usage, "both a validation fraction and validation files are given; give one of them");
}

std::vector<CorpusFile> corpus_files(const TokenizeSettings& settings) {
  std::vector<CorpusFile> files;
  std::vector<std::string> names;
  const auto add = [&](const std::vector<std::string>& patterns, Split split) {
    for (const std::filesystem::path& path : text_inputs(patterns)) {
      files.push_back({path, split});
      names.push_back(path.string());
    }
  };
  add(settings.inputs, Split::train);
  add(settings.validation_inputs, Split::validation);
  // Once more with all of them: a file in both splits would make the validation loss meaningless.
  expand_globs(names);
  return files;
}

bool is_shard_of(const std::string& file, const std::string& name) {
  for (const Split split : {Split::train, Split::validation}) {
    const std::string prefix = name + "_" + split_name(split) + "_";
    if (!file.starts_with(prefix)) continue;
    const std::size_t end = file.find_first_not_of("0123456789", prefix.size());
    if (end != std::string::npos && end != prefix.size() && file.substr(end) == ".bin") return true;
  }
  return false;
}

// What is to be read must not be replaced.
void check_inputs(const TokenizeSettings& settings, const std::vector<CorpusFile>& inputs,
                  const std::function<bool(const std::string&)>& belongs) {
  if (!std::filesystem::is_directory(settings.output)) return;
  for (const auto& entry : std::filesystem::directory_iterator(settings.output)) {
    if (!belongs(entry.path().filename().string())) continue;
    for (const CorpusFile& input : inputs) {
      if (std::filesystem::equivalent(entry.path(), input.path)) {
        throw Error(ExitCode::usage,
                    entry.path().string() + ": is both an input and a file to overwrite; choose another name or folder");
      }
    }
  }
}

void check_split(const Sidecar& sidecar, Split split, const char* remedy) {
  if (sidecar.split(split).documents == 0) {
    throw Error(ExitCode::data, "the {} split is empty: there is no text for it in the input; {}",
                split == Split::train ? "training" : "validation", remedy);
  }
}

}  // namespace

Sidecar tokenize_files(const TokenizeSettings& settings, const Tokenizer& tokenizer, const BytesDone& progress) {
  check_settings(settings, tokenizer);
  const std::vector<CorpusFile> files = corpus_files(settings);
  const auto belongs = [&](const std::string& file) { return file == settings.name + ".json" || is_shard_of(file, settings.name); };
  check_inputs(settings, files, belongs);
  const auto check_old = [](const std::filesystem::path& old) { parse_sidecar(read_file(old), old.string()); };
  const int threads = settings.threads > 0 ? settings.threads : usable_threads();
  require_threads(threads);  // before anything is written
  StagedFiles staged(settings.output, settings.name + ".json", belongs, settings.overwrite, check_old);
  CorpusReader reader(files, settings.text, settings.validation_fraction, staged.path());
  ShardSeries train(staged.path(), settings.name, Split::train, settings.shard_tokens);
  ShardSeries validation(staged.path(), settings.name, Split::validation, settings.shard_tokens);
  const std::array<ShardSeries*, 2> series = {&train, &validation};

  Sidecar sidecar;
  sidecar.tokenizer_hash = tokenizer.hash();
  sidecar.vocab_size = tokenizer.vocab_size();
  sidecar.end_of_text = tokenizer.end_of_text();

  // Enough that no encoder waits while the oldest job is a slow one; this bounds the memory.
  const std::size_t in_flight = 4 * static_cast<std::size_t>(threads);
  std::deque<std::unique_ptr<Work>> queue;
  std::vector<TextFindings> found(files.size());   // in lines of JSON, by file
  EncoderPool pool(threads, settings, tokenizer);  // after queue: its threads end before what they work on
  if (progress) progress(0, reader.total_bytes());
  while (true) {
    while (queue.size() < in_flight) {
      auto work = std::make_unique<Work>();
      if (!reader.next(work->job)) break;
      queue.push_back(std::move(work));
      pool.submit(*queue.back());
    }
    if (queue.empty()) break;
    Work& work = *queue.front();
    pool.await(work);
    for (std::size_t piece = 0; piece < work.found.size(); ++piece) {
      TextFindings& all = found[work.job.pieces[piece].source];
      all.add(work.found[piece]);
      work.job.pieces[piece].file->check(all);
    }
    for (std::size_t split = 0; split < series.size(); ++split) {
      const EncodedSplit& encoded = work.encoded[split];
      series[split]->append(encoded.tokens);
      sidecar.splits[split].tokens += static_cast<std::int64_t>(encoded.tokens.size());
      sidecar.splits[split].documents += encoded.documents;
      sidecar.splits[split].bytes += encoded.bytes;
    }
    if (progress) progress(work.job.input_bytes, reader.total_bytes());
    queue.pop_front();
  }

  check_split(sidecar, Split::train, "name other files, or a smaller validation fraction");
  if (settings.validation_fraction > 0.0 || !settings.validation_inputs.empty())
    check_split(sidecar, Split::validation, "name more text, or a larger validation fraction");
  sidecar.sources = reader.sources();
  for (std::size_t source = 0; source < found.size(); ++source) sidecar.sources[source].found.add(found[source]);
  for (std::size_t split = 0; split < series.size(); ++split) {
    series[split]->close();
    sidecar.splits[split].shards = series[split]->shards();
  }
  write_sidecar(sidecar_path(staged.path(), settings.name), sidecar);
  staged.commit();
  if (progress) progress(reader.total_bytes(), reader.total_bytes());
  return sidecar;
}

}  // namespace temper
