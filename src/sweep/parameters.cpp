// The "parameters" of a sweep file: what varies, and over which values.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "config/fields.h"
#include "config/suggest.h"
#include "sweep/file_reader.h"

namespace temper {
namespace {

using Json = nlohmann::ordered_json;
using Shape = Distribution::Shape;
using Problems = std::vector<std::string>;

const std::vector<std::pair<std::string_view, Shape>> shapes = {
    {"uniform", Shape::uniform},     {"log_uniform_values", Shape::log_uniform_values},     {"int_uniform", Shape::int_uniform},
    {"q_uniform", Shape::q_uniform}, {"q_log_uniform_values", Shape::q_log_uniform_values},
};

/// A plain value or a list of them; false: it holds an object.
bool to_value(const JsonNode& node, Value& value) {
  if (node.is_object()) return false;
  value = node.value;
  if (!node.is_list()) return true;
  std::vector<Value> elements;
  for (const JsonNode& element : node.children) {
    if (element.kind != JsonNode::Kind::value) return false;
    elements.push_back(element.value);
  }
  value = {elements};
  return true;
}

/// `key` set to `node`, the value as the field holds it (5e2 becomes 500); what is wrong goes to `problems`.
Entry read_setting(const std::string& key, const JsonNode& node, Problems& problems) {
  Entry setting{node.where, key, {}, false};
  const Field* field = find_field(key);
  if (field == nullptr) {
    problems.push_back(node.where + ": unknown key " + to_text({key}) + "; " + suggestion_for(key));
    return setting;
  }
  RunConfig scratch;
  if (!to_value(node, setting.value)) {
    problems.push_back(node.where + ": " + key + " is " + to_json_text(node) + "; allowed: " + allowed_values(*field));
  } else if (const std::string problem = set_field(*field, scratch, setting.value); !problem.empty()) {
    problems.push_back(node.where + ": " + problem);
  } else {
    setting.value = get_field(*field, scratch);
  }
  return setting;
}

/// {"label": "adamw", "optimizer.name": "adamw", "optimizer.beta2": 0.95}
Choice read_moving_together(const JsonNode& node, Problems& problems) {
  Choice choice;
  const JsonNode* label = node.find("label");
  if (label == nullptr || label->kind != JsonNode::Kind::value || label->value.is_null()) {
    problems.push_back(node.where + ": " + to_json_text(node) + " needs a \"label\" for the tables, a text or a number");
  } else {
    choice.label = label->value;
  }
  for (const JsonNode& member : node.children) {
    if (member.key != "label") choice.settings.push_back(read_setting(member.key, member, problems));
  }
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

/// What W&B would take: integer ends mean integers.
Shape default_shape(const JsonNode* min, const JsonNode* max) {
  const auto whole = [](const JsonNode* node) { return node != nullptr && std::holds_alternative<std::int64_t>(node->value.data); };
  return whole(min) && whole(max) ? Shape::int_uniform : Shape::uniform;
}

void read_shape(ObjectReader& reader, Distribution& distribution) {
  distribution.shape = default_shape(reader.find("min"), reader.find("max"));
  const JsonNode* node = reader.find("distribution");
  if (node == nullptr) return;
  if (node->value == Value{std::string("log_uniform")} || node->value == Value{std::string("q_log_uniform")}) {
    return reader.refuse(*node,
                         "the distribution log_uniform takes exponents as min and max; write log_uniform_values with the "
                         "values themselves, such as min 1e-4 and max 1e-2");
  }
  std::vector<std::string_view> names;
  names.reserve(shapes.size());
  for (const auto& shape : shapes) names.push_back(shape.first);
  std::string name;
  reader.text("distribution", names, name);
  for (const auto& shape : shapes) {
    if (shape.first == name) distribution.shape = shape.second;
  }
}

void read_distribution(ObjectReader& reader, const JsonNode& node, SweptParameter& parameter, Problems& problems) {
  Distribution distribution;
  read_shape(reader, distribution);
  constexpr double any = -std::numeric_limits<double>::infinity();
  const std::size_t before = problems.size();
  reader.number("min", any, distribution.min);
  reader.number("max", any, distribution.max);
  if (problems.size() > before) return;
  const Shape shape = distribution.shape;
  const bool rounded = shape == Shape::q_uniform || shape == Shape::q_log_uniform_values;
  const bool logarithmic = shape == Shape::log_uniform_values || shape == Shape::q_log_uniform_values;
  if (rounded) {
    distribution.q = 1.0;
    reader.number("q", 0.0, distribution.q);
  } else if (const JsonNode* q = reader.find("q")) {
    reader.refuse(*q, reader.path("q") + " belongs to q_uniform and q_log_uniform_values; choose one of them or leave q out");
  }
  const auto refuse = [&](const std::string& why) { reader.refuse(node, parameter.name + ": " + why); };
  if (reader.find("min") == nullptr || reader.find("max") == nullptr) return refuse("give values, a value, or min and max");
  if (!(distribution.min < distribution.max)) return refuse("min must be below max");
  if (logarithmic && !(distribution.min > 0)) return refuse("the logarithm wants a min above 0");
  if (shape == Shape::int_uniform &&
      (std::trunc(distribution.min) != distribution.min || std::trunc(distribution.max) != distribution.max)) {
    return refuse("int_uniform wants whole numbers as min and max");
  }
  const Field* field = find_field(parameter.name);
  if (field == nullptr) return refuse("unknown key; " + suggestion_for(parameter.name));
  RunConfig scratch;
  for (const double end : {distribution.min, distribution.max}) {
    const std::string problem = set_field(*field, scratch, {end});
    const bool only_wholes = shape != Shape::int_uniform && type_name(*field) == "integer" && !(rounded && distribution.q >= 1.0);
    if (!problem.empty()) return refuse(problem);
    if (only_wholes) return refuse("takes whole numbers; use int_uniform, or q_uniform with a whole q");
  }
  parameter.distribution = distribution;
}

SweptParameter read_parameter(const JsonNode& node, Problems& problems) {
  SweptParameter parameter{node.key, node.where, {}, std::nullopt};
  ObjectReader reader(node, node.key, problems);
  if (!node.is_object()) {
    reader.refuse(node, node.key + " is " + to_json_text(node) + "; a parameter is an object such as {\"values\": [0, 0.1]}");
    return parameter;
  }
  reader.check_keys({"value", "values", "distribution", "min", "max", "q"});
  const JsonNode* values = reader.find("values");
  const JsonNode* value = reader.find("value");
  const bool ranged = reader.find("min") != nullptr || reader.find("max") != nullptr || reader.find("distribution") != nullptr;
  if ((values != nullptr) + (value != nullptr) + ranged != 1) {
    reader.refuse(node, node.key + ": give exactly one of values, value, and min with max");
  } else if (values != nullptr) {
    read_choices(*values, parameter, problems);
  } else if (value != nullptr) {
    JsonNode list{value->where, "values", JsonNode::Kind::list, {}, {*value}};
    read_choices(list, parameter, problems);
  } else {
    read_distribution(reader, node, parameter, problems);
  }
  return parameter;
}

std::vector<std::string> keys_of(const SweptParameter& parameter) {
  if (parameter.distribution) return {parameter.name};
  std::vector<std::string> keys;
  for (const Choice& choice : parameter.choices) {
    for (const Entry& setting : choice.settings) {
      if (std::find(keys.begin(), keys.end(), setting.path) == keys.end()) keys.push_back(setting.path);
    }
  }
  return keys;
}

}  // namespace

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
  for (const SweptParameter& parameter : sweep.parameters) {
    for (const std::string& key : keys_of(parameter)) keys.push_back(key);
  }
  for (const Tie& tie : sweep.ties) keys.push_back(tie.key);
  return keys;
}

std::string parameter_to_json(const SweptParameter& parameter) {
  Json json = Json::object();
  if (parameter.distribution) {
    const auto shape =
        std::find_if(shapes.begin(), shapes.end(), [&](const auto& each) { return each.second == parameter.distribution->shape; });
    json["distribution"] = shape->first;
    json["min"] = parameter.distribution->min;
    json["max"] = parameter.distribution->max;
    if (parameter.distribution->q > 0) json["q"] = parameter.distribution->q;
    return json.dump();
  }
  json["values"] = Json::array();
  for (const Choice& choice : parameter.choices) {
    Json value = Json::parse(to_text(choice.label));
    const bool plain =
        choice.settings.size() == 1 && choice.settings[0].path == parameter.name && choice.settings[0].value == choice.label;
    if (!plain) {
      value = {{"label", value}};
      for (const Entry& setting : choice.settings) value[setting.path] = Json::parse(to_text(setting.value));
    }
    json["values"].push_back(value);
  }
  return json.dump();
}

}  // namespace temper
