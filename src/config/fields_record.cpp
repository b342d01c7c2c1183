// Rows of eval, checkpoint, log and diagnostics: what a run writes down.
#include "config/field_rows.h"

namespace temper {

void add_record_fields(std::vector<Field>& fields) {
  using enum ResumeClass;
  const std::vector<Field> rows = {
      {"eval.every", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.eval.every; }), 0, most_steps}, free,
       "steps between validations; 0: only at the end"},
      {"eval.batches", IntegerKind{IntegerMember([](auto& c) -> auto& { return c.eval.batches; }), 0, most_steps}, free,
       "micro-batches of the validation set to score, always its first ones; 0: all of it"},
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
  };
  fields.insert(fields.end(), rows.begin(), rows.end());
}

}  // namespace temper
