// What a row of the field table can say of its key, as arguments of the rows that the sections' declare() make:
//   rows("beta3", &Self::beta3, from(0), below(1), read_by(optimizers), "decay rate of the slow moment, per step");
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "config/value.h"

namespace temper {

/// What a changed field means to a run that is resumed. A row that says none has its section's.
enum class ResumeClass {
  must_match,  ///< the checkpoint does not fit any more: refused
  trajectory,  ///< the run would continue differently: refused unless the user allows this field
  topology,    ///< how the same arithmetic is laid out: allowed, rounding may differ
  free,        ///< does not touch the weights: allowed
};

namespace row {

/// An end of a range: of an integer or a number, or of the numbers of a list. An integer's range is 0 to most_steps unless said.
struct Bound {
  double at;
  bool is_upper, is_excluded;
};
inline Bound from(double at) { return {at, false, false}; }
inline Bound to(double at) { return {at, true, false}; }
inline Bound above(double at) { return {at, false, true}; }
inline Bound below(double at) { return {at, true, true}; }

/// The texts that are allowed; of an enum its names, in the enumerators' order.
struct OneOf {
  std::vector<std::string_view> names;
};
inline OneOf one_of(std::vector<std::string_view> names) { return {std::move(names)}; }

/// What the elements of a list of texts are, for people; a path or glob unless said.
struct Each {
  std::string_view what;
};
inline Each each(std::string_view what) { return {what}; }

/// What someone may write there who knows another program, and why it is refused.
struct Instead {
  std::string_view value, why;
};
inline Instead instead(std::string_view value, std::string_view why) { return {value, why}; }

/// A word that may stand for the integer 0, which is out of the range: the program finds a number itself.
struct OrWord {
  std::string_view word;
};
inline OrWord or_word(std::string_view word) { return {word}; }

/// A text that can name a folder; a list of "GLOB=FACTOR".
inline constexpr struct FolderName {
} folder_name;
inline constexpr struct GlobFactors {
} glob_factors;
/// A text that parse_timescale (config/value.h) reads.
inline constexpr struct TimescaleText {
} timescale;

/// Of the rows with this word at most one is given; a layer that sets one takes back the others.
struct Either {
  std::string_view group;
};
inline Either either(std::string_view group) { return {group}; }

/// Who reads the key; one that is set where nothing reads it is refused.
template <class Reads>
struct ReadBy {
  std::string_view where;  ///< for people: "norm_control rotational"
  Reads read;              ///< whether the whole struct, resolved, does
};
template <class Reads>
ReadBy<Reads> read_by(std::string_view where, Reads read) {
  return {where, std::move(read)};
}
/// The optimizers, or the schedules, that name the key in `reads` of their row in `table`.
template <class Traits>
struct ReadByNames {
  std::span<const Traits> table;
};
template <class Traits, std::size_t size>
ReadByNames<Traits> read_by(const Traits (&table)[size]) {
  return {table};
}
template <class Traits, std::size_t size>
std::vector<std::string_view> texts_of(const Traits (&table)[size]) {
  std::vector<std::string_view> texts;
  for (const Traits& traits : table) texts.push_back(traits.text);
  return texts;
}
/// ... or it is without effect there, since people sweep over what it goes with.
struct OrIgnored {};
inline constexpr OrIgnored or_ignored;

/// What other trainers (nanoGPT, llm.c, Hugging Face, PyTorch) call the same thing, for whoever writes that.
struct AlsoCalled {
  std::string_view names;
};
inline AlsoCalled also_called(std::string_view names) { return {names}; }

/// For a row that is added to a section: the value at which runs are as they were before there was the key.
struct AsBefore {
  Value value;
};
inline AsBefore as_before(Value value) { return {std::move(value)}; }

/// A row that says nothing of what is computed: it is no part of what tells a run from others.
struct NoIdentity {};
inline constexpr NoIdentity no_identity;

}  // namespace row

/// Whether `word` is one of the words of `text`.
bool has_word(std::string_view text, std::string_view word);

}  // namespace temper
