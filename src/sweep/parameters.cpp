// The "parameters" of a sweep file: what varies, and over which values.
#include <algorithm>
#include <cmath>
#include <map>

#include "config/parse.h"
#include "config/resolved.h"
#include "config/suggest.h"
#include "io/json.h"
#include "sweep/sweep_file.h"

namespace temper {
namespace {

using Shape = Distribution::Shape;
using Problems = std::vector<std::string>;

/// What a parameter's object says besides lists and values.
struct Range {
  std::optional<Shape> distribution;
  std::optional<double> min, max, q;

  static void declare(auto& rows) {
    using Self = Range;
    using namespace row;
    constexpr std::string_view exponents =
        "log_uniform takes exponents as min and max; write log_uniform_values with the values themselves, such as min 1e-4 and "
        "max 1e-2";
    rows("value", StructureKind{"any", "a value of the key", "{}"}, "that value");
    rows("values",
         StructureKind{"list", "values of the key, or objects of keys that move together, each with a \"label\"",
                       R"({"type": "array", "minItems": 1, "items": {"if": {"type": "object"}, "then": {"required": ["label"]}}})"},
         "each of these");
    rows("distribution", &Self::distribution,
         one_of({"uniform", "log_uniform_values", "int_uniform", "q_uniform", "q_log_uniform_values"}),
         instead("log_uniform", exponents), instead("q_log_uniform", exponents),
         "how numbers lie between min and max: evenly, by their logarithm, whole ones, or (q_) rounded to multiples of q; not "
         "given: int_uniform where both ends are integers, otherwise uniform");
    rows("min", &Self::min, "the lower end, included");
    rows("max", &Self::max, "the upper end, included");
    rows("q", &Self::q, above(0), "of what the q_ distributions round to multiples; not given: 1");
  }
};

/// `key` set to `node`, the value as the field holds it (5e2 becomes 500); what is wrong goes to `problems`.
Entry read_setting(const std::string& key, const JsonNode& node, Problems& problems) {
  Entry setting{node.where, key, plain_value(node), false};
  const Field* field = find_field(key);
  RunConfig scratch;
  const std::string problem = field == nullptr   ? unknown_key(key)
                              : node.is_object() ? key + " is an object; allowed: " + allowed_values(*field)
                                                 : set_field(*field, scratch, setting.value);
  if (problem.empty())
    setting.value = get_field(*field, scratch);
  else
    problems.push_back(node.where + ": " + problem);
  return setting;
}

/// {"label": "adamw", "optimizer.name": "adamw", "optimizer.beta2": 0.95}
Choice read_moving_together(const JsonNode& node, Problems& problems) {
  Choice choice;
  const JsonNode* label = node.find("label");
  if (label == nullptr || label->kind != JsonNode::Kind::value || label->value.is_null())
    problems.push_back(node.where + ": " + to_json_text(node) + " needs a \"label\" for the tables, a text or a number");
  else
    choice.label = label->value;
  for (const JsonNode& member : node.children)
    if (member.key != "label") choice.settings.push_back(read_setting(member.key, member, problems));
  return choice;
}

void read_choices(const JsonNode& list, SweptParameter& parameter, Problems& problems) {
  if (!list.is_list() || list.children.empty()) {
    problems.push_back(list.where + ": the values of " + parameter.name + " are " + to_json_text(list) +
                       "; give a list with at least one value, or leave the parameter out");
    return;
  }
  for (const JsonNode& element : list.children) {
    Choice choice;
    if (element.is_object()) {
      choice = read_moving_together(element, problems);
    } else {
      choice.settings = {read_setting(parameter.name, element, problems)};
      choice.settings[0].where = list.where;
      choice.label = choice.settings[0].value;
    }
    const auto same = [&](const Choice& other) { return other.label == choice.label; };
    if (std::any_of(parameter.choices.begin(), parameter.choices.end(), same)) {
      problems.push_back(list.where + ": " + to_text(choice.label) + " stands twice among the values of " + parameter.name +
                         "; keep one (to repeat a trial, give more seeds)");
    }
    parameter.choices.push_back(std::move(choice));
  }
}

/// `range` as numbers to draw; what is wrong with that for the parameter, empty: nothing.
std::string distribution_of(const Range& range, bool are_whole, SweptParameter& parameter) {
  if (!range.min || !range.max) return "give values, a value, or min and max";
  const Shape shape = range.distribution.value_or(are_whole ? Shape::int_uniform : Shape::uniform);
  const bool rounded = shape == Shape::q_uniform || shape == Shape::q_log_uniform_values;
  const bool logarithmic = shape == Shape::log_uniform_values || shape == Shape::q_log_uniform_values;
  if (range.q && !rounded) return "q belongs to q_uniform and q_log_uniform_values; choose one of them or leave q out";
  const Distribution distribution{shape, *range.min, *range.max, rounded ? range.q.value_or(1.0) : 0.0};
  const auto& [_, min, max, q] = distribution;
  if (!(min < max)) return "min must be below max";
  if (logarithmic && !(min > 0)) return "the logarithm wants a min above 0";
  if (shape == Shape::int_uniform && (std::trunc(min) != min || std::trunc(max) != max))
    return "int_uniform wants whole numbers as min and max";
  const Field* field = find_field(parameter.name);
  if (field == nullptr) return unknown_key(parameter.name);
  RunConfig scratch;
  for (const double end : {min, max}) {
    if (std::string problem = set_field(*field, scratch, {end}); !problem.empty()) return problem;
    const bool only_wholes = shape != Shape::int_uniform && type_name(*field) == "integer" && !(rounded && q >= 1.0);
    if (only_wholes) return "takes whole numbers; use int_uniform, or q_uniform with a whole q";
  }
  parameter.distribution = distribution;
  return "";
}

SweptParameter read_parameter(const JsonNode& node, Problems& problems) {
  SweptParameter parameter{node.key, node.where, {}, std::nullopt};
  const auto refuse = [&](const std::string& why) { problems.push_back(node.where + ": " + node.key + why); };
  if (!node.is_object()) {
    refuse(" is " + to_json_text(node) + "; a parameter is an object such as {\"values\": [0, 0.1]}");
    return parameter;
  }
  Range range;
  const std::size_t before = problems.size();
  read_object(parameter_table(), node, &range, problems, node.key);
  const JsonNode* values = node.find("values");
  const JsonNode* value = node.find("value");
  if ((values != nullptr) + (value != nullptr) + (range.min || range.max || range.distribution) != 1) {
    refuse(": give exactly one of values, value, and min with max");
  } else if (values != nullptr) {
    read_choices(*values, parameter, problems);
  } else if (value != nullptr) {
    read_choices({value->where, "values", JsonNode::Kind::list, {}, {*value}}, parameter, problems);
  } else if (problems.size() == before) {
    const auto whole = [&](const char* end) {
      return node.find(end) != nullptr && std::holds_alternative<std::int64_t>(node.find(end)->value.data);
    };
    const std::string problem = distribution_of(range, whole("min") && whole("max"), parameter);
    if (!problem.empty()) refuse(": " + problem);
  }
  return parameter;
}

std::vector<std::string> keys_of(const SweptParameter& parameter) {
  if (parameter.distribution) return {parameter.name};
  std::vector<std::string> keys;
  for (const Choice& choice : parameter.choices) {
    for (const Entry& setting : choice.settings)
      if (std::find(keys.begin(), keys.end(), setting.path) == keys.end()) keys.push_back(setting.path);
  }
  return keys;
}

}  // namespace

const FieldTable& parameter_table() {
  static const FieldTable table = FieldTable().add<Range>();
  return table;
}

std::vector<SweptParameter> read_parameters(const JsonNode& node, Problems& problems) {
  std::vector<SweptParameter> parameters;
  if (!node.is_object()) {
    problems.push_back(node.where + ": parameters is " + to_json_text(node) + "; expected an object of parameters");
    return parameters;
  }
  std::map<std::string, const JsonNode*> set_by;
  for (const JsonNode& member : node.children) {
    parameters.push_back(read_parameter(member, problems));
    for (const std::string& key : keys_of(parameters.back())) {
      const auto [first, is_new] = set_by.emplace(key, &member);
      if (!is_new) {
        problems.push_back(member.where + ": " + member.key + " sets " + key + ", which " + first->second->key + " at " +
                           first->second->where + " sets too; keep one");
      }
    }
  }
  return parameters;
}

std::vector<std::string> swept_keys(const SweepFile& sweep) {
  std::vector<std::string> keys;
  for (const SweptParameter& parameter : sweep.parameters)
    for (const std::string& key : keys_of(parameter)) keys.push_back(key);
  for (const Tie& tie : sweep.ties) keys.push_back(tie.key);
  return keys;
}

std::string parameter_to_json(const SweptParameter& parameter) {
  Json json = Json::object();
  if (parameter.distribution) {
    const auto& [shape, min, max, q] = *parameter.distribution;
    const Range range{shape, min, max, q > 0 ? std::optional(q) : std::nullopt};
    return table_to_json(parameter_table(), &range, &range);
  }
  json["values"] = Json::array();
  for (const Choice& choice : parameter.choices) {
    Json value = to_json(choice.label);
    const bool plain =
        choice.settings.size() == 1 && choice.settings[0].path == parameter.name && choice.settings[0].value == choice.label;
    if (!plain) {
      value = {{"label", value}};
      for (const Entry& setting : choice.settings) value[setting.path] = to_json(setting.value);
    }
    json["values"].push_back(value);
  }
  return json_text(json);
}

}  // namespace temper
