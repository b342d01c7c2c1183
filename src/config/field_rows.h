// What the files that hold the rows of the field table share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/fields.h"

namespace temper {

// Limits that keep every product of sizes within 64 bits: tokens_per_step * steps < 2^61, micro_batch * n_ctx <= 2^40.
inline constexpr std::int64_t most_steps = 1'000'000'000;
inline constexpr std::int64_t most_tokens = 1'000'000'000'000'000;
inline constexpr std::int64_t most_tokens_per_step = std::int64_t{1} << 31;

using IntegerMember = Member<std::int64_t>;
using NumberMember = Member<double>;
using BooleanMember = Member<bool>;
using TextMember = Member<std::string>;
using TextsMember = Member<std::vector<std::string>>;
using NumbersMember = Member<std::vector<double>>;

/// A choice among an enum's names, listed in the enumerators' order.
template <class Access>
ChoiceKind choice(Access, std::vector<std::string_view> names) {
  return {[](const RunConfig& config) { return static_cast<int>(Access{}(config)); },
          [](RunConfig& config, int index) {
            auto& member = Access{}(config);
            member = static_cast<std::remove_reference_t<decltype(member)>>(index);
          },
          std::move(names)};
}

/// Each adds the rows of its sections.
void add_run_fields(std::vector<Field>& fields);  ///< top level, model, data, batch, train
void add_optimizer_fields(std::vector<Field>& fields);
void add_schedule_fields(std::vector<Field>& fields);
void add_record_fields(std::vector<Field>& fields);  ///< eval, checkpoint, log, diagnostics, parallel

}  // namespace temper
