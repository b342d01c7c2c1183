// Rows of eval, checkpoint, log, diagnostics and parallel: what a run writes down, and who shares its work.
#include "config/field_rows.h"

namespace temper {

void add_record_fields(std::vector<Field>& fields) {
  using enum ResumeClass;
  const std::vector<Field> rows = {
      {"eval.every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.eval.every; }), 0, most_steps}, free,
       "steps between validations; 0: only at the end"},
      {"eval.tokens", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.eval.tokens; }), 0, most_tokens}, free,
       "tokens of the validation set to score, always its first ones, rounded up to whole sequences of n_ctx; 0: all of it"},
      {"eval.hellaswag", TextKind{TextMember([](auto& c) -> auto& { return c.eval.hellaswag; })}, free,
       "HellaSwag file to score at each validation; empty: off"},
      {"eval.hellaswag_items", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.eval.hellaswag_items; }), 0, most_steps},
       free, "items of that file to score, its first ones; 0: all"},

      {"checkpoint.every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.checkpoint.every; }), 0, most_steps}, free,
       "steps between checkpoints; 0: only at the end"},
      {"checkpoint.keep", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.checkpoint.keep; }), 1, 1'000'000}, free,
       "newest checkpoints that stay on disk"},

      {"log.every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.log.every; }), 1, most_steps}, free,
       "steps between lines on the terminal and in metrics.jsonl"},
      {"log.tensorboard", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.log.tensorboard; })}, free,
       "also write TensorBoard event files"},

      {"diagnostics.every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.diagnostics.every; }), 0, most_steps}, free,
       "steps between measurements of norms, angles, alignment and noise per tensor; 0: off"},
      {"diagnostics.representation_every",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.diagnostics.representation_every; }), 0, most_steps}, free,
       "steps between measurements of how far an update moves each layer's outputs on a batch that is held fixed; 0: off"},
      {"diagnostics.representation_sequences",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.diagnostics.representation_sequences; }), 1, 1 << 20}, free,
       "sequences of n_ctx tokens in that batch"},
      {"diagnostics.histogram_every",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.diagnostics.histogram_every; }), 0, most_steps}, free,
       "steps between histograms of the weights beside the Gaussian prior that the decay implies; 0: off"},
      {"diagnostics.histogram_bins",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.diagnostics.histogram_bins; }), 8, 4096}, free,
       "bins of a histogram"},

      {"parallel.zero_stage", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.parallel.zero_stage; }), 0, 1}, topology,
       "1: each rank keeps the optimizer's states, and in bf16 the master weights, of its share of the parameters only (ZeRO-1); "
       "0: "
       "of all"},
      {"parallel.deterministic", BooleanKind{BooleanMember([](auto& c) -> auto& { return c.parallel.deterministic; })}, topology,
       "on a CPU: gradients are added micro-batch by micro-batch, in their order, so that any number of ranks gives the same bits; "
       "takes more memory and time"},
      {"parallel.bucket_mib", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.parallel.bucket_mib; }), 1, 65536},
       topology, "MiB of gradients that are sent together while the backward pass goes on"},
      {"parallel.timeout_seconds",
       IntegerKind{IntegerMember([](auto& c) -> auto& { return c.parallel.timeout_seconds; }), 1, 86400}, free,
       "seconds that a rank waits for the others in a collective before it gives up"},
      {"parallel.check_every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.parallel.check_every; }), 0, most_steps},
       free, "steps between comparisons of the ranks' weights, which must be equal to the bit; 0: never"},
  };
  fields.insert(fields.end(), rows.begin(), rows.end());
}

}  // namespace temper
