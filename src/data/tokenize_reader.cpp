#include "data/tokenize_reader.h"

#include <cmath>
#include <utility>

#include "io/file.h"

namespace temper {
namespace {

// Large against the cost of handing a job over, small against the work of a corpus that is worth several threads.
constexpr std::size_t job_bytes = std::size_t{256} << 10;

bool has_documents(const std::vector<CorpusFile>& files, const std::string& separator, std::int64_t wanted) {
  std::int64_t count = 0;
  for (const CorpusFile& input : files) {
    TextFile file(input.path, separator);
    for (RawDocument document; count < wanted && file.next(document);) ++count;
    if (count >= wanted) return true;
  }
  return false;
}

}  // namespace

CorpusReader::CorpusReader(std::vector<CorpusFile> files, std::string separator, double validation_fraction)
    : files_(std::move(files)), separator_(std::move(separator)), validation_fraction_(validation_fraction) {
  for (const CorpusFile& file : files_) total_bytes_ += static_cast<std::int64_t>(std::filesystem::file_size(file.path));
  if (validation_fraction_ > 0.0) {
    every_ = std::llround(1.0 / validation_fraction_);
    cut_documents_ = !has_documents(files_, separator_, every_);
  }
}

bool CorpusReader::next(TextJob& job) {
  job.pieces.clear();
  for (std::size_t bytes = 0; bytes < job_bytes;) {
    if (pending_.empty() && !next_document()) break;
    TextPiece& rest = pending_.back();
    TextPiece& piece = job.pieces.emplace_back(rest);
    const std::string_view text = rest.document.bytes;
    const std::size_t length = rest.file->json_lines() ? text.size() : token_border(text, job_bytes - bytes);
    piece.document.bytes = text.substr(0, length);
    bytes += length;
    rest.document.bytes.remove_prefix(length);
    rest.starts_document = false;
    job.input_bytes = finished_bytes_ + (piece.document.bytes.data() + length - piece.file->contents().data());
    if (rest.document.bytes.empty()) pending_.pop_back();
  }
  return !job.pieces.empty();
}

bool CorpusReader::next_document() {
  while (true) {
    if (!file_) {
      if (next_file_ == files_.size()) return false;
      file_ = std::make_shared<TextFile>(files_[next_file_].path, separator_);
    }
    TextPiece piece;
    if (!file_->next(piece.document)) {
      finish_file();
      continue;
    }
    piece.file = file_;
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
  if (every_ == 0) return files_[next_file_].split;
  if (cut_documents_) return std::nullopt;
  return documents_ % every_ == every_ - 1 ? Split::validation : Split::train;
}

void CorpusReader::finish_file() {
  const auto size = static_cast<std::int64_t>(file_->contents().size());
  sources_.push_back({file_->path().filename().string(), size, hash_bytes(file_->contents()), file_->invalid_bytes()});
  finished_bytes_ += size;
  file_.reset();
  ++next_file_;
}

}  // namespace temper
