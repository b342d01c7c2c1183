#include "io/staging.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/descriptor.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

constexpr const char* list_name = ".files";  // of the staged set, those that were put in place too
constexpr const char* note_name = ".note";
constexpr char list_end = '/';  // which no file's name has

constexpr std::string_view incomplete_note =
    "{\"format\": \"temper-incomplete\", \"note\": \"These files are being put in place, or the command that did so was killed. "
    "Run it again.\"}\n";

void move_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_failure("replace", to, errno);
}

}  // namespace

StagedFiles::StagedFiles(fs::path folder, std::string key, std::function<bool(const std::string&)> belongs, bool overwrite,
                         const std::function<void(const fs::path&)>& check_old)
    : folder_(std::move(folder)),
      key_(std::move(key)),
      belongs_(std::move(belongs)),
      staging_(folder_ / ("." + key_ + ".partial")) {
  made_folder_ = make_folder(folder_);
  make_inner_folder(staging_);
  lock_.emplace(staging_);
  const bool interrupted = is_incomplete(folder_ / key_);
  if (interrupted && fs::exists(staging_ / key_)) put_in_place();
  for (const fs::directory_entry& left : fs::directory_iterator(staging_))
    if (left.path().filename() != "run.lock") fs::remove_all(left.path());
  try {
    check_replaceable(overwrite || interrupted, interrupted ? nullptr : check_old);
  } catch (const Error&) {
    remove_staging();
    throw;
  }
}

void StagedFiles::check_replaceable(bool overwrite, const std::function<void(const fs::path&)>& check_old) const {
  if (fs::exists(folder_ / "trainer.json"))
    throw Error(ExitCode::usage, "{}: is a checkpoint, which stays as it was saved; name another folder", folder_.string());
  for (const std::string& name : names(folder_)) {
    const fs::path old = folder_ / name;
    if (!fs::is_regular_file(old))
      throw Error(ExitCode::usage, "{}: is {} where a file is to be; choose another name or folder", old.string(),
                  fs::is_directory(old) ? "a folder" : "no regular file");
    if (!overwrite)
      throw Error(ExitCode::usage, "{}: exists already; --overwrite replaces it, another name or folder keeps it", old.string());
    if (name != key_ || !check_old) continue;
    try {
      check_old(old);
    } catch (const Error& error) {
      throw Error(ExitCode::usage, "{}; --overwrite replaces only what this command writes: choose another name or folder",
                  error.what());
    }
  }
}

StagedFiles::~StagedFiles() {
  if (marked_ || !lock_) return;
  remove_staging();
  std::error_code not_empty;
  if (made_folder_) fs::remove(folder_, not_empty);
}

void StagedFiles::remove_staging() {
  std::error_code ignored;  // the next one does it
  fs::remove_all(staging_, ignored);
  lock_.reset();
}

std::vector<std::string> StagedFiles::names(const fs::path& folder) const {
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (belongs_(name)) found.push_back(std::move(name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

void StagedFiles::commit() {
  const std::vector<std::string> made = names(staging_), old = names(folder_);
  const std::vector<std::string> key_alone = {key_};
  if (made != key_alone || (!old.empty() && old != key_alone)) {
    std::string list;
    for (const std::string& name : made) list += name + list_end;
    write_file_atomically(staging_ / list_name, list);
    write_file_atomically(staging_ / note_name, incomplete_note);
    move_file(staging_ / note_name, folder_ / key_);
    marked_ = true;
  }
  try {
    sync_folder(folder_);
    put_in_place();
  } catch (const Error& error) {
    if (!marked_) throw;
    throw Error(error.code(), std::string(error.what()) + "; the new files are whole in " + staging_.string() +
                                  ", and the same command, run again, begins with putting them in place");
  }
  remove_staging();
  marked_ = made_folder_ = false;
}

void StagedFiles::put_in_place() const {
  if (fs::exists(staging_ / list_name)) {
    // Not by what is staged: after a kill, some of that is in its place.
    const std::string list = list_end + read_file(staging_ / list_name);
    for (const std::string& name : names(folder_)) {
      if (name == key_ || list.find(list_end + name + list_end) != list.npos) continue;
      if (::unlink((folder_ / name).c_str()) != 0) throw_failure("remove", folder_ / name, errno);
    }
  }
  for (const std::string& name : names(staging_))
    if (name != key_) move_file(staging_ / name, folder_ / name);
  sync_folder(folder_);
  move_file(staging_ / key_, folder_ / key_);
  sync_folder(folder_);
}

bool is_incomplete(const fs::path& path) {
  std::error_code absent;
  return fs::file_size(path, absent) == incomplete_note.size() && read_file(path) == incomplete_note;
}

void refuse_incomplete(const std::string& key, const std::string& label, ExitCode code) {
  if (key != incomplete_note) return;
  throw Error(code, label +
                        ": the files that it belongs to are not all in their places, since the command that wrote them is at it "
                        "or was killed; run that command again");
}

}  // namespace temper
