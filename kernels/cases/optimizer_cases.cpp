#include <algorithm>
#include <cmath>
#include <variant>

#include "kernels/cases/op_case.h"
#include "kernels/cases/optimizer_numbers.h"
#include "kernels/cases/optimizer_reference.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

// ---- optimizer_update -------------------------------------------------------------------------------------------------

struct NamedRule {
  const char* name;
  UpdateRule rule;
};

// Large epsilons, so that they count.
const Adam adam = {0.95f, 0.1f};
const std::vector<NamedRule> rules = {{"PlainGradient", PlainGradient{}},
                                      {"Momentum", Momentum{}},
                                      {"Momentum nesterov", Momentum{true}},
                                      {"SignMomentum", SignMomentum{}},
                                      {"SignMomentum nesterov", SignMomentum{true, 0.23f}},
                                      {"Lion", Lion{}},
                                      {"Adam", adam},
                                      {"Adam epsilon inside", Adam{0.95f, 0.1f, true}},
                                      {"Adam without first correction", Adam{0.95f, 0.1f, false, false}},
                                      {"AdEMAMix", AdEMAMix{0.95f, 0.1f}},
                                      {"ScheduleFree", ScheduleFree{0.95f, 0.1f}}};

struct UpdateOptions {
  std::string name;
  UpdateSettings settings{};
  bool scales = false;      ///< each tensor has a clip factor and a rate of its own
  bool first_step = false;  ///< nothing is known of the rows yet
  double gain_rate = 0.02;
  bool is_finite = true;
};

// What the rule keeps. Directions must not be so close to 0 that rounding decides their sign: gradients are small integers and
// first moments -1, 0 or 1, which no rule's weights cancel to less than 0.01, but for 0 itself; AdEMAMix's slow moment is too small
// to change that.
std::vector<TensorSpec> states_of(const UpdateRule& rule, Shape flat) {
  const TensorSpec first = in_out("state0", Content::f32, flat, integers(-1, 2));
  const TensorSpec second = in_out("state1", Content::f32, flat, normal(1, 0.1));  // never negative
  if (std::holds_alternative<AdEMAMix>(rule)) return {first, second, in_out("state2", Content::f32, flat, normal(0, 1e-4))};
  if (std::holds_alternative<ScheduleFree>(rule))  // z and x lie near the weights
    return {in_out("state0", Content::f32, flat, normal(0, 0.5)), second, in_out("state2", Content::f32, flat, normal(0, 0.5))};
  if (std::holds_alternative<Adam>(rule)) return {first, second};
  if (std::holds_alternative<PlainGradient>(rule)) return {};
  return {first};
}

OpCase update(const NamedRule& named, const UpdateOptions& options, const std::vector<Segment>& segments,
              const std::vector<Fill::Range>& without_direction = {}) {
  const Layout layout(segments);
  const Shape flat = {layout.elements};
  const bool controlled =
      std::any_of(segments.begin(), segments.end(), [](const Segment& each) { return each.control != NormControl::none; });
  OpCase c;
  c.op = "optimizer_update";
  c.shape = text(named.name, ", ", options.name, ", ", layout.updated, " parameters in ", layout.count(), " tensors");
  c.tensors = {
      in_out("master", Content::f32, flat, normal(0, 0.5)),
      controlled ? in_out("gradient", Content::f32, flat, integers(-3, 4)) : input("gradient", Content::f32, flat, integers(-3, 4)),
      in_out("low_precision", Content::low_precision, flat, normal(0, 0.5))};
  for (const TensorSpec& state : states_of(named.rule, flat)) c.tensors.push_back(state);
  for (TensorSpec& spec : c.tensors) {
    spec.touched = spec.content == Content::low_precision ? layout.updated / 2 : layout.updated;  // written only
    if (spec.name != "master" && spec.name != "state1") spec.fill.zeros = without_direction;
  }
  if (layout.rows > 0) {
    const Fill nothing_known = values({0});
    c.tensors.push_back(in_out("row_norm", Content::f32, {layout.rows}, options.first_step ? nothing_known : normal(2, 0.1)));
    c.tensors.push_back(
        in_out("row_mean_square", Content::f32, {layout.rows}, options.first_step ? nothing_known : normal(1, 0.1)));
    if (options.settings.gains.trained)
      c.tensors.push_back(
          in_out("row_gain_moments", Content::f32, {layout.rows, 2}, options.first_step ? nothing_known : normal(1, 0.1)));
    TensorSpec work = output("row_work", Content::f32, {layout.rows, static_cast<std::int64_t>(sizeof(RowWork) / sizeof(float))});
    work.role = Role::scratch;
    work.touched = 0;
    c.tensors.push_back(work);
  }
  if (options.scales) c.tensors.push_back(input("scales", Content::f32, {layout.count(), 2}, normal(0.7, 0.05)));
  c.tensors.push_back(layout.spec());
  std::vector<double> scalars = step_seven();
  if (options.settings.averaging == 0) scalars[rotation_correction] = 1;
  scalars[gain_rate] = options.gain_rate;
  if (options.first_step) {
    scalars[rotation_correction] = 1 - static_cast<double>(options.settings.averaging);
    scalars[gain_correction1] = 1 - static_cast<double>(options.settings.gains.beta1);
    scalars[gain_correction2] = 1 - static_cast<double>(options.settings.gains.beta2);
  }
  scalars[finite] = options.is_finite ? 1 : 0;
  c.tensors.push_back(step_scalars(Role::input, scalars));

  c.flops = 15.0 * static_cast<double>(layout.updated);
  c.run = [rule = named.rule, settings = options.settings, count = layout.count()](Ops& ops, const Views& v) {
    UpdateBuffers buffers;
    buffers.master = v["master"].as<float>();
    buffers.gradient = v["gradient"].as<float>();
    buffers.state[0] = v["state0"].as<float>();
    buffers.state[1] = v["state1"].as<float>();
    buffers.state[2] = v["state2"].as<float>();
    buffers.low_precision = v["low_precision"].as<bfloat16>();
    buffers.scales = v["scales"].as<TensorScale>();
    buffers.row_norm = v["row_norm"].as<float>();
    buffers.row_mean_square = v["row_mean_square"].as<float>();
    buffers.row_gain_moments = v["row_gain_moments"].as<float>();
    buffers.row_work = v["row_work"].as<RowWork>();
    ops.optimizer_update({.rule = rule,
                          .settings = settings,
                          .buffers = buffers,
                          .segments = {v["segments"].as<ParameterSegment>(), count},
                          .scalars = v["scalars"].as<StepScalars>()});
  };
  c.reference = [rule = named.rule, settings = options.settings](Numbers& n) { reference::optimizer_update(n, rule, settings); };
  return c;
}

UpdateOptions with_form(const char* name, DecayForm form) {
  UpdateOptions options{name};
  options.settings.decay_form = form;
  return options;
}

void add_uncontrolled(std::vector<OpCase>& cases) {
  const std::vector<Segment> small = {{7, 19}, {1, 33, 0.5, 0}, {1, 1}, {5, 1, 2, 0.2}};
  std::vector<UpdateOptions> all = {with_form("multiplicative", DecayForm::multiplicative),
                                    with_form("cautious", DecayForm::cautious),
                                    with_form("L2", DecayForm::gradient),
                                    with_form("no decay", DecayForm::none),
                                    with_form("clipped by value", DecayForm::gradient),
                                    with_form("tensor scales", DecayForm::multiplicative)};
  all[4].settings.clip_norm = false;
  all[4].settings.clip_value = 1.5f;
  all[5].scales = true;
  for (const NamedRule& rule : rules) {
    for (const UpdateOptions& options : all) cases.push_back(update(rule, options, small));
    if (std::holds_alternative<Adam>(rule.rule))
      cases.push_back(update(rule, with_form("scaled L2", DecayForm::scaled_gradient), small));
  }
  UpdateOptions broken{"not finite"};
  broken.is_finite = false;
  for (const UpdateOptions& options : {all[0], broken}) {
    cases.push_back(update({"Adam", adam}, options, {{131, 257}, {1, 1023, 0.5, 0}}));
    cases.push_back(update({"AdEMAMix", AdEMAMix{}}, options, {{131, 257}, {1, 1023, 0.5, 0}}));
  }
}

void add_controlled(std::vector<OpCase>& cases) {
  constexpr auto rotational = NormControl::rotational, relative = NormControl::relative;
  const std::vector<Segment> small = {{5, 13, 1, 0, rotational, true},       // its third row has no direction
                                      {1, 33},                               // between the others
                                      {4, 9, 0.5, 0, rotational, false},     //
                                      {6, 1, 1, 0, rotational, true},        // cannot turn
                                      {3, 7, 1, 0, NormControl::direction},  //
                                      {4, 10, 1, 0, relative, false},        //
                                      {1, 41, 1, 0.1, rotational, false},    // decay is for directions alone
                                      {5, 6, 2, 0, relative, true},          // its second row has no direction
                                      {3, 8, 1, 0, rotational, false},       // no direction at all
                                      {2, 5, 1, 0, relative, false},         // nor here
                                      {1, 1}};
  const std::vector<Segment> large = {{67, 770, 1, 0, rotational, true},
                                      {33, 770, 1, 0, rotational, false},
                                      {1, 770, 1, 0},
                                      {2, 20001, 1, 0, relative, true},
                                      {40, 515, 1, 0, relative, false}};
  const std::vector<std::int64_t> at = Layout(small).offsets;
  const std::vector<Fill::Range> zeros = {
      {at[0] + 2 * 13, at[0] + 3 * 13}, {at[7] + 6, at[7] + 2 * 6}, {at[8], at[8] + 3 * 8}, {at[9], at[9] + 2 * 5}};
  for (const NamedRule& rule : rules) {
    if (std::holds_alternative<ScheduleFree>(rule.rule)) continue;  // cannot be controlled
    for (const bool first_step : {true, false}) {
      UpdateOptions options{text("controlled, ", first_step ? "first step" : "later step")};
      options.first_step = first_step;
      cases.push_back(update(rule, options, small, zeros));
    }
  }
  for (const bool zero_mean : {true, false}) {
    for (const float averaging : {0.0f, 0.9f}) {
      for (const bool first_step : {true, false}) {
        UpdateOptions options{text("controlled, zero_mean=", zero_mean, " averaging=", averaging, first_step ? " first step" : "")};
        options.settings.zero_mean = zero_mean;
        options.settings.averaging = averaging;
        options.first_step = first_step;
        cases.push_back(update({"SignMomentum nesterov", SignMomentum{true, 0.23f}}, options, small, zeros));
        options.scales = true;
        options.name += " tensor scales";
        cases.push_back(update({"Adam", adam}, options, small, zeros));
        if (!first_step) cases.push_back(update({"Adam", adam}, options, large));
      }
    }
  }
  for (const bool first_step : {true, false}) {
    UpdateOptions trained{text("controlled, gains", first_step ? ", first step" : "")};
    trained.settings.gains = {.trained = true, .beta1 = 0.8f, .beta2 = 0.85f, .epsilon = 0.1f};
    trained.first_step = first_step;
    cases.push_back(update({"SignMomentum nesterov", SignMomentum{true, 0.23f}}, trained, small, zeros));
    cases.push_back(update({"PlainGradient", PlainGradient{}}, trained, small, zeros));
    trained.name += " clipped by value, tensor scales";
    trained.settings.clip_value = 0.75f;
    trained.settings.zero_mean = false;
    trained.scales = true;
    cases.push_back(update({"Adam", adam}, trained, small, zeros));
    cases.push_back(update({"Adam", adam}, trained, large));
    trained.name += ", rows turn over";
    trained.gain_rate = 4;
    if (!first_step) cases.push_back(update({"Adam", adam}, trained, small, zeros));
  }
  UpdateOptions many_rows{"controlled, more rows than a GPU's steps take at once"};
  many_rows.first_step = true;
  cases.push_back(update({"Lion", Lion{}}, many_rows, {{600, 3, 1, 0, relative, false}, {8200, 2, 1, 0, relative, true}}));
  UpdateOptions decayed{"controlled, L2 and clipped by value"};
  decayed.settings.decay_form = DecayForm::gradient;
  decayed.settings.clip_value = 0.75f;
  cases.push_back(update({"Adam", adam}, decayed, small, zeros));
  decayed.name = "controlled, not finite";
  decayed.is_finite = false;
  cases.push_back(update({"Adam", adam}, decayed, small, zeros));
}

OpCase add_decay_gradient(const std::vector<Segment>& segments) {
  const Layout layout(segments);
  OpCase c;
  c.op = "add_decay_gradient";
  c.shape = text(layout.updated, " parameters in ", layout.count(), " tensors");
  c.tensors = {input("master", Content::f32, {layout.elements}, normal(0, 0.5)),
               in_out("gradient", Content::f32, {layout.elements}, normal(0, 1e-3)), layout.spec(),
               step_scalars(Role::input, step_seven())};
  for (int i = 0; i < 2; ++i) c.tensors[static_cast<std::size_t>(i)].touched = layout.updated;
  c.flops = 2.0 * static_cast<double>(layout.updated);
  c.run = [count = layout.count()](Ops& ops, const Views& v) {
    UpdateBuffers buffers;
    buffers.master = v["master"].as<float>();
    buffers.gradient = v["gradient"].as<float>();
    ops.add_decay_gradient(
        {.buffers = buffers, .segments = {v["segments"].as<ParameterSegment>(), count}, .scalars = v["scalars"].as<StepScalars>()});
  };
  c.reference = [](Numbers& n) {
    for (const SegmentNumbers& segment : segments_of(n))
      for (std::size_t i = segment.offset; i < segment.offset + segment.elements(); ++i)
        n["gradient"][i] += n["scalars"][decay] * segment.weight_decay * n["master"][i];
  };
  return c;
}

// ---- norms and sums ---------------------------------------------------------------------------------------------------

OpCase global_norm(std::int64_t count, double max_norm) {
  OpCase c;
  c.op = "global_norm";
  c.shape = text("N=", count, " max_norm=", max_norm);
  std::vector<double> before = step_seven();
  for (const Scalar written : {gradient_norm, clip_factor, finite}) before[written] = -1;
  c.tensors = {input("gradients", Content::f32, {count}, normal(0, 1e-2)), step_scalars(Role::in_out, before)};
  c.tensors[0].any_shape = true;
  c.flops = 2.0 * static_cast<double>(count);
  c.run = [max_norm](Ops& ops, const Views& v) {
    ops.global_norm(
        {.gradients = v["gradients"], .max_norm = static_cast<float>(max_norm), .scalars = v["scalars"].as<StepScalars>()});
  };
  c.reference = [max_norm](Numbers& n) {
    auto& scalars = n["scalars"];
    double squares = 0;
    for (const double gradient : n["gradients"]) squares += gradient * gradient;
    scalars[gradient_norm] = std::sqrt(squares);
    scalars[clip_factor] = max_norm > 0 ? std::min(1.0, max_norm / scalars[gradient_norm]) : 1.0;
    scalars[finite] = 1;
  };
  return c;
}

OpCase sum(std::int64_t count, Write write) {
  const bool accumulate = write == Write::accumulate;
  OpCase c;
  c.op = "sum";
  c.shape = text("N=", count, accumulate ? " accumulate" : "");
  c.tensors = {input("x", Content::f32, {count}, normal(3, 1)),
               accumulate ? in_out("out", Content::f32, {1}, normal(3, 1)) : output("out", Content::f32, {1})};
  c.tensors[0].any_shape = true;
  const float scale = 0.125f;
  c.flops = static_cast<double>(count);
  c.run = [scale, write](Ops& ops, const Views& v) { ops.sum({.x = v["x"], .scale = scale, .write = write, .out = v["out"]}); };
  c.reference = [scale](Numbers& n) {
    for (const double value : n["x"]) n["out"][0] += static_cast<double>(scale) * value;
  };
  return c;
}

// ---- what an orthogonalised update is made with -----------------------------------------------------------------------

OpCase normalize(Shape shape, double deviation) {
  OpCase c;
  c.op = "normalize";
  c.shape = text(shape.to_string(), deviation == 0 ? " of zeros" : "");
  c.tensors = {input("x", Content::f32, shape, normal(0, deviation)), output("out", Content::activation, shape)};
  c.tensors[1].exact_zeros = true;
  c.flops = 3.0 * static_cast<double>(shape.numel());
  c.run = [](Ops& ops, const Views& v) { ops.normalize({.x = v["x"], .out = v["out"]}); };
  c.reference = [](Numbers& n) {
    double squares = 0;
    for (const double value : n["x"]) squares += value * value;
    for (std::size_t i = 0; i < n["x"].size(); ++i) n["out"][i] = n["x"][i] / (std::sqrt(squares) + 1e-7);
  };
  return c;
}

// `in_place` is the input that is overwritten, or "".
OpCase linear_combination(Shape shape, const std::string& in_place) {
  const float a = -4.775f, b = 2.0315f;
  OpCase c;
  c.op = "linear_combination";
  c.shape = text(shape.to_string(), in_place.empty() ? "" : ", out is " + in_place);
  for (const std::string name : {"x", "y"})
    c.tensors.push_back(name == in_place ? in_out(name, Content::activation, shape, normal(0, 1))
                                         : input(name, Content::activation, shape, normal(0, 1)));
  const std::string out = in_place.empty() ? "out" : in_place;
  if (in_place.empty()) c.tensors.push_back(output("out", Content::activation, shape));
  c.flops = 3.0 * static_cast<double>(shape.numel());
  c.run = [a, b, out](Ops& ops, const Views& v) {
    ops.linear_combination({.a = a, .x = v["x"], .b = b, .y = v["y"], .out = v[out]});
  };
  c.reference = [a, b, out](Numbers& n) {
    for (std::size_t i = 0; i < n["x"].size(); ++i)
      n[out][i] = static_cast<double>(a) * n["x"][i] + static_cast<double>(b) * n["y"][i];
  };
  return c;
}

void add_benchmarks(std::vector<OpCase>& cases, const Dimensions& d) {
  const std::vector<Segment> segments = gpt2_segments(d);
  for (const NamedRule& rule : std::vector<NamedRule>{{"Adam", Adam{}},
                                                      {"Momentum", Momentum{}},
                                                      {"Lion", Lion{}},
                                                      {"AdEMAMix", AdEMAMix{}},
                                                      {"ScheduleFree", ScheduleFree{}}})
    cases.push_back(update(rule, {"multiplicative"}, segments));
  cases.push_back(update({"Adam", Adam{}}, with_form("L2", DecayForm::gradient), segments));
  cases.push_back(update({"SignMomentum", SignMomentum{}}, {"rotational rows"}, gpt2_segments(d, NormControl::rotational, true)));
  cases.push_back(update({"Adam", Adam{}}, {"relative matrices"}, gpt2_segments(d, NormControl::relative, false)));
  cases.push_back(add_decay_gradient(segments));
  cases.push_back(global_norm(Layout(segments).elements, 1));
  cases.push_back(sum(d.rows(), Write::overwrite));
  const Shape matrix = {4 * d.n_embd, d.n_embd};
  cases.push_back(normalize(matrix, 1));
  cases.push_back(linear_combination(matrix, ""));
}

}  // namespace

void add_optimizer_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) return add_benchmarks(cases, d);
  add_uncontrolled(cases);
  add_controlled(cases);
  cases.push_back(add_decay_gradient({{1, 1}}));
  cases.push_back(add_decay_gradient({{7, 19}, {1, 33, 1, 0}, {131, 257, 1, 0.3}, {5, 1}}));
  for (const double max_norm : {0.0, 0.01, 1000.0}) cases.push_back(global_norm(1, max_norm));
  for (const double max_norm : {0.0, 1.0, 1000.0}) cases.push_back(global_norm(100003, max_norm));
  for (const Write write : {Write::overwrite, Write::accumulate})
    for (const std::int64_t count : {1, 1000, 100003}) cases.push_back(sum(count, write));
  for (const Shape& shape : {Shape{1}, Shape{3, 37}, Shape{131, 257}}) {
    cases.push_back(normalize(shape, 1));
    for (const char* in_place : {"", "x", "y"}) cases.push_back(linear_combination(shape, in_place));
  }
  cases.push_back(normalize({3, 37}, 0));
  cases.push_back(normalize({3, 37}, 1e-8));  // where 1e-7 counts
}

}  // namespace temper
