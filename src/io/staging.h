// What happens to what is there already, for everything that temper writes where a user says:
//
//   data and models (token shards, vocabularies, imported and exported models): what exists stops the command, unless it is given
//     --overwrite. Then it is replaced, when the new files are whole, and not before: StagedFiles.
//   runs and sweeps: are gone on with (train --resume, the sweep's command again) and never replaced.
//   what can be made again from what is there (a report, a sweep's tables, the file of --json): is replaced, each file by
//     write_file_atomically or in its manner.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/file.h"

namespace temper {

/// Files that belong together, made in a folder beside their places, FOLDER/.KEY.partial, and put there when all are whole. At each
/// moment the places hold all of the old files, or all of the new ones, or are marked: the key, by which readers know the set, is
/// then a note that they refuse (refuse_incomplete). A kill between loses nothing: the next one of the same set puts in place what
/// was whole, and removes what was not.
class StagedFiles {
 public:
  /// Makes `folder` where it is missing. `belongs`: whether a file's name is one of the set, as `key` is. `check_old` throws what
  /// is wrong with a key that is to be replaced and is none of such a set. Error(ExitCode::usage): a set that is there without
  /// `overwrite`; with it, something else under its names, or in a checkpoint. One that another process is writing:
  /// Error(ExitCode::io).
  StagedFiles(std::filesystem::path folder, std::string key, std::function<bool(const std::string&)> belongs, bool overwrite,
              const std::function<void(const std::filesystem::path&)>& check_old = {});
  /// Without commit() nothing has happened.
  ~StagedFiles();
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;

  /// Where the new files are to be written, under their names; the writers make them durable.
  const std::filesystem::path& path() const { return staging_; }
  /// Puts them in place; files of the old set that the new one has not are removed.
  void commit();

 private:
  std::vector<std::string> names(const std::filesystem::path& folder) const;
  void check_replaceable(bool overwrite, const std::function<void(const std::filesystem::path&)>& check_old) const;
  void put_in_place() const;
  void remove_staging();

  std::filesystem::path folder_;
  std::string key_;
  std::function<bool(const std::string&)> belongs_;
  std::filesystem::path staging_;
  std::optional<FolderLock> lock_;
  bool made_folder_ = false;
  bool marked_ = false;  // the staged files are all there is
};

/// Whether `path` is the key of a set that is being put in place, or whose command was killed while it did so.
bool is_incomplete(const std::filesystem::path& path);
/// Error(code) where `key`, the contents of `label`, is the note that says so.
void refuse_incomplete(const std::string& key, const std::string& label, ExitCode code);

}  // namespace temper
