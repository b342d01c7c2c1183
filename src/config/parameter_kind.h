// What a parameter is. optimizer.decay_on names kinds; control of norms and Muon go by them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace temper {

enum class ParameterKind : std::uint8_t { embedding, matrix, bias, layernorm };

/// As optimizer.decay_on spells them, in the enumerators' order.
inline constexpr std::array<std::string_view, 4> parameter_kind_names = {"embeddings", "matrices", "biases", "layernorms"};

}  // namespace temper
