// Rows of the top level and of model, data, batch and train.
#include "config/field_rows.h"

namespace temper {

void add_run_fields(std::vector<Field>& fields) {
  using enum ResumeClass;
  const std::vector<Field> rows = {
      {"name", TextKind{TextMember([](auto& c) -> auto& { return c.name; }), {}, true}, free,
       "what the run is called in logs and folder names"},
      {"seed", SeedKind{Member<std::uint64_t>([](auto& c) -> auto& { return c.seed; })}, must_match,
       "starts every random number: initial weights, data order"},
      {"device", choice([](auto& c) -> auto& { return c.device; }, {"auto", "cpu", "cuda"}), topology,
       "where to compute; auto takes a GPU where this build and machine have one"},
      {"precision", choice([](auto& c) -> auto& { return c.precision; }, {"fp32", "bf16", "tf32"}), trajectory,
       "type of weights and activations in the matmuls; tf32 is fp32 whose matmuls a GPU computes from inputs rounded to 10 bits "
       "of "
       "mantissa; master weights, moments and accumulated gradients are fp32 always"},

      {"model.n_layer", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.model.n_layer; }), 1, 1024}, must_match,
       "transformer blocks"},
      {"model.n_head", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.model.n_head; }), 1, 1024}, must_match,
       "attention heads of a block; n_embd / n_head is the head size, even and at most 256"},
      {"model.n_embd", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.model.n_embd; }), 2, 65536}, must_match,
       "width of the residual stream"},
      {"model.n_ctx", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.model.n_ctx; }), 1, 1 << 20}, must_match,
       "context length in tokens"},
      {"model.vocab_size", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.model.vocab_size; }), 2, 65536}, must_match,
       "tokens the tokenizer knows (shards hold 16-bit tokens, so at most 65536)"},
      {"model.bias", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.model.bias; })}, must_match,
       "biases in linear layers and layernorms, as GPT-2 has them"},
      {"model.init_std", NumberKind{NumberMember([](auto& c) -> auto& { return c.model.init_std; }), 0, 10, true}, must_match,
       "standard deviation of initial weights (with init xavier and he: of the embeddings)"},
      {"model.init", choice([](auto& c) -> auto& { return c.model.init; }, {"gpt2", "xavier", "he"}), must_match,
       "how large initial weights of linear layers are: gpt2 init_std, xavier sqrt(2 / (inputs + outputs)), he sqrt(2 / inputs)"},
      {"model.residual_scaling", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.model.residual_scaling; })}, must_match,
       "initial projections into the residual stream are divided by sqrt(2 n_layer)"},

      {"data.train", TextListKind{TextsMember([](auto& c) -> auto& { return c.data.train; })}, free,
       "token shards to train on: files or globs, in this order"},
      {"data.val", TextListKind{TextsMember([](auto& c) -> auto& { return c.data.val; })}, free,
       "token shards to validate on; empty: no validation"},
      {"data.tokenizer", TextKind{TextMember([](auto& c) -> auto& { return c.data.tokenizer; })}, free,
       "folder or file of the tokenizer that made the shards, copied into checkpoints; empty: none, and `sample` needs one"},
      {"data.shuffle", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.data.shuffle; })}, trajectory,
       "true: windows in an order drawn anew each epoch; false: in file order"},
      {"data.format", TextKind{TextMember([](auto& c) -> auto& { return c.data.format; }), {"auto", "raw_u16"}}, must_match,
       "shard format; auto reads the header, raw_u16 is nanoGPT's headerless file of 16-bit tokens"},

      {"batch.tokens_per_step",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.batch.tokens_per_step; }), 1, most_tokens_per_step}, trajectory,
       "tokens of one optimizer step, a multiple of micro_batch x n_ctx; the gradient is their mean"},
      {"batch.micro_batch", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.batch.micro_batch; }), 1, 1 << 20}, topology,
       "sequences of n_ctx tokens in one forward and backward pass; decides the memory, not the result"},

      {"train.steps", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.train.steps; }), 1, most_steps, 0}, trajectory,
       "length of the run in optimizer steps", "length"},
      {"train.tokens", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.train.tokens; }), 1, most_tokens, 0}, trajectory,
       "length of the run in tokens, rounded up to whole steps", "length"},
      {"train.recompute", choice([](auto& c) -> auto& { return c.train.recompute; }, {"none", "gelu_layernorm", "block"}), topology,
       "activations computed again in the backward pass instead of kept, so that larger micro-batches fit: none, those of GELU and "
       "layer norms (cheap), or a whole block (its forward pass runs twice)"},
      {"train.init_from", TextKind{TextMember([](auto& c) -> auto& { return c.train.init_from; }), {}, false, ""}, trajectory,
       "folder with a model of these sizes to start from (Hugging Face's layout; see `temper import`); not given: fresh weights",
       "start"},
      {"train.branch_from", TextKind{TextMember([](auto& c) -> auto& { return c.train.branch_from; }), {}, false, ""}, trajectory,
       "checkpoint whose weights, moments and place in the data this run goes on from, with a schedule of its own from step 0",
       "start"},
  };
  fields.insert(fields.end(), rows.begin(), rows.end());
}

}  // namespace temper
