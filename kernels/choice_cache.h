// What was chosen by time on a GPU, kept in a file so that nothing is timed twice, and told to the run that depends on it. Knows
// nothing of what is chosen: a choice is a text under a name.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace temper {

class ChoiceCache {
 public:
  /// `path` empty: no file, and nothing is found. `machine` names all that a choice holds for: GPU and library version.
  /// A file that is not there or cannot be read counts as empty, damaged lines as not there. A file that is no cache stays as it
  /// is.
  ChoiceCache(std::string path, std::string machine);

  const std::string& path() const { return path_; }
  /// Whether what is not found is to be timed and kept.
  bool wants_more() const { return !path_.empty() && !fixed_; }

  std::optional<std::string> find(const std::string& name);

  /// Keeps `value` under `name` unless the file has a value by now, from another process; returns the one that stands. The file is
  /// replaced as a whole, with what it holds of other machines. Where it cannot be written, the choice stands for this process.
  std::string keep(const std::string& name, const std::string& value);

  /// Keeps `value` whatever the file has, but never in the place of a file that is no cache.
  void put(const std::string& name, const std::string& value);

  /// The lines of all choices that find() and keep() returned, and of those that fix() was given.
  std::string text() const;
  /// From now on these are the choices, and there are no others. Where none of them is of this machine it returns false and
  /// the file goes on to hold; text() has them all the same.
  bool fix(const std::string& text);

 private:
  /// By "machine<tab>name".
  using Choices = std::map<std::string, std::string>;

  std::string key(const std::string& name) const;

  std::string path_;
  std::string machine_;
  Choices choices_;  // to look in
  Choices taken_;
  bool fixed_ = false;
};

}  // namespace temper
