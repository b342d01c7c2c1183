#include "config/fields.h"

#include <algorithm>

namespace temper {
namespace {

// Limits that keep every product of sizes within 64 bits: tokens_per_step * steps < 2^61, micro_batch * n_ctx <= 2^40.
constexpr std::int64_t most_steps = 1'000'000'000;
constexpr std::int64_t most_tokens = 1'000'000'000'000'000;

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

std::vector<Field> make_fields() {
  using enum ResumeClass;
  using Integer = Member<std::int64_t>;
  using Number = Member<double>;
  using Text = Member<std::string>;
  using List = Member<std::vector<std::string>>;
  return {
      {"name", TextKind{Text([](auto& c) -> auto& { return c.name; }), {}, true}, free,
       "what the run is called in logs and folder names"},
      {"seed", SeedKind{Member<std::uint64_t>([](auto& c) -> auto& { return c.seed; })}, must_match,
       "starts every random number: initial weights, data order"},
      {"device", choice([](auto& c) -> auto& { return c.device; }, {"auto", "cpu", "cuda"}), topology,
       "where to compute; auto takes a GPU where this build and machine have one"},
      {"precision", choice([](auto& c) -> auto& { return c.precision; }, {"fp32", "bf16"}), trajectory,
       "type of weights and activations in the matmuls; master weights, moments and accumulated gradients are fp32 always"},

      {"model.n_layer", IntegerKind{Integer([](auto& c) -> auto& { return c.model.n_layer; }), 1, 1024}, must_match,
       "transformer blocks"},
      {"model.n_head", IntegerKind{Integer([](auto& c) -> auto& { return c.model.n_head; }), 1, 1024}, must_match,
       "attention heads of a block; n_embd / n_head is the head size, even and at most 256"},
      {"model.n_embd", IntegerKind{Integer([](auto& c) -> auto& { return c.model.n_embd; }), 2, 65536}, must_match,
       "width of the residual stream"},
      {"model.n_ctx", IntegerKind{Integer([](auto& c) -> auto& { return c.model.n_ctx; }), 1, 1 << 20}, must_match,
       "context length in tokens"},
      {"model.vocab_size", IntegerKind{Integer([](auto& c) -> auto& { return c.model.vocab_size; }), 2, 65536}, must_match,
       "tokens the tokenizer knows (shards hold 16-bit tokens, so at most 65536)"},
      {"model.bias", BooleanKind{Member<bool>([](auto& c) -> auto& { return c.model.bias; })}, must_match,
       "biases in linear layers and layernorms, as GPT-2 has them"},
      {"model.init_std", NumberKind{Number([](auto& c) -> auto& { return c.model.init_std; }), 0, 10, true}, must_match,
       "standard deviation of initial weights; projections into the residual stream get it divided by sqrt(2 n_layer)"},

      {"data.train", TextListKind{List([](auto& c) -> auto& { return c.data.train; })}, free,
       "token shards to train on: files or globs, in this order"},
      {"data.val", TextListKind{List([](auto& c) -> auto& { return c.data.val; })}, free,
       "token shards to validate on; empty: no validation"},
      {"data.tokenizer", TextKind{Text([](auto& c) -> auto& { return c.data.tokenizer; })}, free,
       "folder or file of the tokenizer that made the shards, copied into checkpoints; empty: none, and `sample` needs one"},
      {"data.shuffle", BooleanKind{Member<bool>([](auto& c) -> auto& { return c.data.shuffle; })}, trajectory,
       "true: windows in an order drawn anew each epoch; false: in file order"},
      {"data.format", TextKind{Text([](auto& c) -> auto& { return c.data.format; }), {"auto", "raw_u16"}}, must_match,
       "shard format; auto reads the header, raw_u16 is nanoGPT's headerless file of 16-bit tokens"},

      {"batch.tokens_per_step", IntegerKind{Integer([](auto& c) -> auto& { return c.batch.tokens_per_step; }), 1, 1LL << 31},
       trajectory, "tokens of one optimizer step, a multiple of micro_batch x n_ctx; the gradient is their mean"},
      {"batch.micro_batch", IntegerKind{Integer([](auto& c) -> auto& { return c.batch.micro_batch; }), 1, 1 << 20}, topology,
       "sequences of n_ctx tokens in one forward and backward pass; decides the memory, not the result"},

      {"train.steps", IntegerKind{Integer([](auto& c) -> auto& { return c.train.steps; }), 1, most_steps, 0}, trajectory,
       "length of the run in optimizer steps", "train.tokens"},
      {"train.tokens", IntegerKind{Integer([](auto& c) -> auto& { return c.train.tokens; }), 1, most_tokens, 0}, trajectory,
       "length of the run in tokens, rounded up to whole steps", "train.steps"},
      {"train.recompute", choice([](auto& c) -> auto& { return c.train.recompute; }, {"none", "gelu_layernorm", "block"}), topology,
       "activations computed again in the backward pass instead of kept, so that larger micro-batches fit: none, those of GELU and "
       "layer norms (cheap), or a whole block (its forward pass runs twice)"},
      {"train.init_from", TextKind{Text([](auto& c) -> auto& { return c.train.init_from; })}, trajectory,
       "folder with a model of these sizes to start from (Hugging Face's layout; see `temper import`); empty: fresh weights"},

      {"optimizer.name", choice([](auto& c) -> auto& { return c.optimizer.name; }, {"adamw"}), trajectory, "update rule"},
      {"optimizer.learning_rate", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.learning_rate; }), 0, 1000, true},
       trajectory, "peak learning rate, which the schedule scales"},
      {"optimizer.beta1", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.beta1; }), 0, 1, false, true}, trajectory,
       "decay rate of the first moment, per step"},
      {"optimizer.beta2", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.beta2; }), 0, 1, false, true}, trajectory,
       "decay rate of the second moment, per step"},
      {"optimizer.eps", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.eps; }), 0, 1, true}, trajectory,
       "added to the root of the second moment"},
      {"optimizer.weight_decay", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.weight_decay; }), 0, 1000}, trajectory,
       "weight decay of matrices and embeddings; biases and layernorms have none"},
      {"optimizer.decay", choice([](auto& c) -> auto& { return c.optimizer.decay; }, {"none", "decoupled"}), trajectory,
       "how weights decay; decoupled: w -= lr x weight_decay x w beside the update (AdamW), none: not at all"},
      {"optimizer.grad_clip", NumberKind{Number([](auto& c) -> auto& { return c.optimizer.grad_clip; }), 0}, trajectory,
       "largest global gradient norm; larger gradients are scaled down to it; 0: off"},

      {"schedule.name", choice([](auto& c) -> auto& { return c.schedule.name; }, {"constant", "linear", "cosine", "wsd"}),
       trajectory, "learning rate after warmup: constant, linear or cosine decay over the rest, wsd holds and then cools down"},
      {"schedule.warmup_steps", IntegerKind{Integer([](auto& c) -> auto& { return c.schedule.warmup_steps; }), 0, most_steps, -1},
       trajectory, "linear warmup in steps; 0, or neither this nor warmup_fraction: none", "schedule.warmup_fraction"},
      {"schedule.warmup_fraction",
       NumberKind{Number([](auto& c) -> auto& { return c.schedule.warmup_fraction; }), 0, 1, false, false, -1.0}, trajectory,
       "linear warmup as a share of the run", "schedule.warmup_steps"},
      {"schedule.min_ratio", NumberKind{Number([](auto& c) -> auto& { return c.schedule.min_ratio; }), 0, 1}, trajectory,
       "learning rate at the end, as a share of the peak"},
      {"schedule.cooldown_fraction", NumberKind{Number([](auto& c) -> auto& { return c.schedule.cooldown_fraction; }), 0, 1, true},
       trajectory, "wsd only: last share of the run, in which the rate falls"},

      {"eval.every", IntegerKind{Integer([](auto& c) -> auto& { return c.eval.every; }), 0, most_steps}, free,
       "steps between validations; 0: only at the end"},
      {"eval.batches", IntegerKind{Integer([](auto& c) -> auto& { return c.eval.batches; }), 0, most_steps}, free,
       "micro-batches of the validation set to score, always its first ones; 0: all of it"},
      {"eval.hellaswag", TextKind{Text([](auto& c) -> auto& { return c.eval.hellaswag; })}, free,
       "HellaSwag file to score at each validation; empty: off"},
      {"eval.hellaswag_items", IntegerKind{Integer([](auto& c) -> auto& { return c.eval.hellaswag_items; }), 0, most_steps}, free,
       "items of that file to score, its first ones; 0: all"},

      {"checkpoint.every", IntegerKind{Integer([](auto& c) -> auto& { return c.checkpoint.every; }), 0, most_steps}, free,
       "steps between checkpoints; 0: only at the end"},
      {"checkpoint.keep", IntegerKind{Integer([](auto& c) -> auto& { return c.checkpoint.keep; }), 1, 1'000'000}, free,
       "newest checkpoints that stay on disk"},

      {"log.every", IntegerKind{Integer([](auto& c) -> auto& { return c.log.every; }), 1, most_steps}, free,
       "steps between lines on the terminal and in metrics.jsonl"},
      {"log.tensorboard", BooleanKind{Member<bool>([](auto& c) -> auto& { return c.log.tensorboard; })}, free,
       "also write TensorBoard event files"},
  };
}

}  // namespace

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = make_fields();
  return fields;
}

const std::vector<Section>& config_sections() {
  static const std::vector<Section> sections = {
      {"model", "The shape of the GPT-2 that is trained."},
      {"data", "Where the tokens are. Relative paths are relative to the working directory, not to the configuration file."},
      {"batch", "How many tokens go into a step, and how many at a time."},
      {"train", "How long to train. Exactly one of the two is given."},
      {"optimizer", "How a gradient becomes an update."},
      {"schedule", "How the learning rate changes over the run."},
      {"eval", "What is measured on the way."},
      {"checkpoint", "When the run is saved, and how many saves are kept. A run is saved at its end in any case."},
      {"log", "What is written down, and how often."},
  };
  return sections;
}

const Field* find_field(std::string_view path) {
  const auto& fields = config_fields();
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.path == path; });
  return found == fields.end() ? nullptr : &*found;
}

const Section* find_section(std::string_view name) {
  const auto& sections = config_sections();
  const auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

std::string_view Field::section() const {
  const std::size_t dot = path.find('.');
  return dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
}

std::string_view Field::key() const { return path.substr(path.find('.') + 1); }

}  // namespace temper
