#include "model/hf_config.h"

#include "io/error.h"
#include "io/json.h"
#include "model/parameters.h"

namespace temper {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double layernorm_epsilon = 1e-5;  // kernels/ops.h

/// A parsed config.json, and how to complain about it.
class Fields {
 public:
  Fields(const json& object, const std::string& label) : object_(object), label_(label) {}

  /// Null where the key is missing, or null itself.
  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  [[noreturn]] void refuse(const char* key, const std::string& allowed) const {
    const json* value = find(key);
    throw Error(ExitCode::checkpoint, "{}: \"{}\" is {}; temper's GPT-2 needs {}", label_, key,
                value == nullptr ? "missing" : value->dump(), allowed);
  }

  std::int64_t size(const char* key) const {
    const json* value = find(key);
    if (value == nullptr || !is_size(*value)) refuse(key, "a positive whole number");
    return value->get<std::int64_t>();
  }

  /// A size that may be missing, but is `expected` where it is there.
  void expect_size(const char* key, std::int64_t expected) const {
    const json* value = find(key);
    if (value != nullptr && (!is_size(*value) || value->get<std::int64_t>() != expected)) refuse(key, std::to_string(expected));
  }

  bool boolean(const char* key, bool missing) const {
    const json* value = find(key);
    if (value == nullptr) return missing;
    if (!value->is_boolean()) refuse(key, "true or false");
    return value->get<bool>();
  }

  void expect_boolean(const char* key, bool expected) const {
    if (boolean(key, expected) != expected) refuse(key, expected ? "true" : "false");
  }

  void expect_number(const char* key, double expected) const {
    const json* value = find(key);
    if (value != nullptr && (!value->is_number() || value->get<double>() != expected)) refuse(key, json(expected).dump());
  }

 private:
  /// Numbers beyond an int64 come out negative, and so are refused too.
  static bool is_size(const json& value) { return value.is_number_integer() && value.get<std::int64_t>() > 0; }

  const json& object_;
  const std::string& label_;
};

json parse_object(std::string_view text, const std::string& label) {
  json object = parse_json<json>(text, label, ExitCode::checkpoint);
  if (!object.is_object()) throw Error(ExitCode::checkpoint, label + ": must be a JSON object, is " + object.type_name());
  return object;
}

}  // namespace

HfConfig parse_hf_config(std::string_view text, const std::string& label) {
  const json object = parse_object(text, label);
  const Fields fields(object, label);

  if (const json* type = fields.find("model_type"); type == nullptr || *type != "gpt2") fields.refuse("model_type", "\"gpt2\"");

  HfConfig config;
  ModelConfig& model = config.model;
  model.n_layer = fields.size("n_layer");
  model.n_head = fields.size("n_head");
  model.n_embd = fields.size("n_embd");
  model.n_ctx = fields.size("n_positions");
  model.vocab_size = fields.size("vocab_size");
  model.bias = fields.boolean("bias", true);
  check_model_sizes(model, label);
  fields.expect_size("n_ctx", model.n_ctx);  // the legacy name
  fields.expect_size("n_inner", 4 * model.n_embd);

  // Both names are the tanh form of GELU.
  if (const json* activation = fields.find("activation_function");
      activation != nullptr && *activation != "gelu_new" && *activation != "gelu_pytorch_tanh")
    fields.refuse("activation_function", "\"gelu_new\"");
  fields.expect_number("layer_norm_epsilon", layernorm_epsilon);
  fields.expect_boolean("scale_attn_weights", true);
  fields.expect_boolean("scale_attn_by_inverse_layer_idx", false);
  fields.expect_boolean("add_cross_attention", false);
  if (const json* pruned = fields.find("pruned_heads"); pruned != nullptr && !pruned->empty())
    fields.refuse("pruned_heads", "all heads");
  if (fields.find("quantization_config") != nullptr) fields.refuse("quantization_config", "weights that are not quantised");
  config.tied = fields.boolean("tie_word_embeddings", true);

  if (const json* range = fields.find("initializer_range"); range != nullptr) {
    if (!range->is_number() || !(range->get<double>() > 0.0) || range->get<double>() > 10.0)
      fields.refuse("initializer_range", "a number above 0, at most 10");
    model.init_std = range->get<double>();
  }
  return config;
}

std::string hf_config_json(const ModelConfig& model, std::uint32_t end_of_text) {
  ordered_json config = {
      {"model_type", "gpt2"},
      {"architectures", ordered_json::array({"GPT2LMHeadModel"})},
      {"vocab_size", model.vocab_size},
      {"n_positions", model.n_ctx},
      {"n_ctx", model.n_ctx},
      {"n_embd", model.n_embd},
      {"n_layer", model.n_layer},
      {"n_head", model.n_head},
      {"n_inner", nullptr},
      {"activation_function", "gelu_new"},
      {"layer_norm_epsilon", layernorm_epsilon},
      {"initializer_range", model.init_std},
      {"attn_pdrop", 0.0},
      {"embd_pdrop", 0.0},
      {"resid_pdrop", 0.0},
      {"scale_attn_weights", true},
      {"tie_word_embeddings", true},
      {"bos_token_id", end_of_text},
      {"eos_token_id", end_of_text},
      {"torch_dtype", "float32"},
  };
  if (!model.bias) config["bias"] = false;
  return json_text(config, 2) + "\n";
}

std::string hf_generation_config_json(std::uint32_t end_of_text) {
  const ordered_json config = {{"bos_token_id", end_of_text}, {"eos_token_id", end_of_text}};
  return json_text(config, 2) + "\n";
}

}  // namespace temper
