#include "kernels/cases/optimizer_reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <variant>

#include "kernels/cases/optimizer_numbers.h"

namespace temper::reference {

namespace {

using Values = std::vector<double>;

double sign(double x) { return static_cast<double>((x > 0) - (x < 0)); }

// ---- directions; a, b, c are what the rule keeps of the element, t the numbers of StepScalars -------------------------

double momentum(bool nesterov, double g, double& a, const Values& t) {
  a = t[beta1] * a + t[gradient_weight] * g;
  return nesterov ? t[gradient_weight] * g + t[beta1] * a : a;
}

double second_moment(float beta2, double g, double& v, const Values& t) {
  const double b2 = static_cast<double>(beta2);
  v = b2 * v + (1 - b2) * g * g;
  return v / t[bias_correction2];
}

double direction(const PlainGradient&, double g, double&, double&, double&, const Values&) { return g; }

double direction(const Momentum& rule, double g, double& a, double&, double&, const Values& t) {
  return momentum(rule.nesterov, g, a, t);
}

double direction(const SignMomentum& rule, double g, double& a, double&, double&, const Values& t) {
  return static_cast<double>(rule.scale) * sign(momentum(rule.nesterov, g, a, t));
}

double direction(const Lion& rule, double g, double& a, double&, double&, const Values& t) {
  const double b2 = static_cast<double>(rule.beta2);
  const double u = sign(t[beta1] * a + t[gradient_weight] * g);
  a = b2 * a + (1 - b2) * g;
  return u;
}

double direction(const Adam& rule, double g, double& a, double& b, double&, const Values& t) {
  const double m = momentum(false, g, a, t);
  const double corrected = second_moment(rule.beta2, g, b, t);
  const double epsilon = static_cast<double>(rule.epsilon);
  const double root = rule.epsilon_inside ? (std::sqrt(b) + epsilon) / std::sqrt(t[bias_correction2])  // "hat"
                                          : std::sqrt(corrected) + epsilon;                            // "outside"
  return (rule.correct_first ? m / t[bias_correction1] : m) / root;
}

double direction(const AdEMAMix& rule, double g, double& a, double& b, double& c, const Values& t) {
  const double fast = momentum(false, g, a, t) / t[bias_correction1];
  c = t[slow_beta] * c + (1 - t[slow_beta]) * g;
  return (fast + t[slow_weight] * c) / (std::sqrt(second_moment(rule.beta2, g, b, t)) + static_cast<double>(rule.epsilon));
}

double direction(const ScheduleFree& rule, double g, double&, double& b, double&, const Values& t) {
  return g / (std::sqrt(second_moment(rule.beta2, g, b, t)) + static_cast<double>(rule.epsilon));
}

// ---- steps ------------------------------------------------------------------------------------------------------------

template <typename Rule>
double stepped(const Rule&, double w, double u, double rate, double shrink, double&, double&, const Values&) {
  return (1 - shrink) * w - rate * u;
}

// The weight is y; z and x move, and the new y lies between them.
double stepped(const ScheduleFree&, double y, double u, double rate, double shrink, double& z, double& x, const Values& t) {
  z = z - shrink * y - rate * u;
  x = (1 - t[average_weight]) * x + t[average_weight] * z;
  return (1 - t[beta1]) * z + t[beta1] * x;
}

double inner(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Values centred(Values a) {
  double sum = 0;
  for (const double each : a) sum += each;
  for (double& each : a) each -= sum / static_cast<double>(a.size());
  return a;
}

// What is left by rounding where there should be nothing.
bool vanishes(double squares, double of_squares) { return squares <= 1e-12 * of_squares; }

// A row (or matrix) p of that norm turns by `angle` towards -u. Rows that have nothing to turn, or nowhere, stay as they are.
void turn(Values& p, Values u, double angle, double norm, const UpdateSettings& settings, const Values& t, double& mean_square) {
  Values row = settings.zero_mean ? centred(p) : p;
  const double all = inner(u, u);
  if (settings.zero_mean) u = centred(u);
  if (vanishes(inner(row, row), inner(p, p))) return;
  const double to_norm = norm / std::sqrt(inner(row, row));
  for (double& each : row) each *= to_norm;
  const double along = inner(row, u) / (norm * norm);
  for (std::size_t i = 0; i < u.size(); ++i) u[i] -= row[i] * along;
  if (vanishes(inner(u, u), all)) return;
  const double averaging = static_cast<double>(settings.averaging);
  mean_square = averaging * mean_square + (1 - averaging) * inner(u, u);
  const double rms = std::sqrt(mean_square / t[rotation_correction]);
  for (std::size_t i = 0; i < u.size(); ++i) row[i] -= angle * norm * u[i] / (rms + 1e-8);
  const double back = norm / std::sqrt(inner(row, row));
  for (std::size_t i = 0; i < u.size(); ++i) p[i] = row[i] * back;
}

// Adam's step of a norm whose gradient is `slope`. Below 0 the row is turned over and all is told of the norm that is then above 0.
double train_norm(double& norm, double* moments, double slope, double rate, const GainSettings& gains, const Values& t) {
  const auto average = [](double& moment, float beta, double value) {
    moment = static_cast<double>(beta) * moment + (1 - static_cast<double>(beta)) * value;
  };
  average(moments[0], gains.beta1, slope);
  average(moments[1], gains.beta2, slope * slope);
  const double size = std::sqrt(moments[1] / t[gain_correction2]) + static_cast<double>(gains.epsilon);
  const double trained = norm - rate * (moments[0] / t[gain_correction1]) / size;
  norm = std::abs(trained);
  if (trained < 0) moments[0] = -moments[0];
  return trained;
}

struct Gain {
  double rate, gradient_product;
  double* moments;
};

// Turns and, where gains are trained, makes as long as they are.
void rotate(Values& p, const Values& u, double angle, const Gain& gain, const UpdateSettings& settings, const Values& t,
            double& norm, double& mean_square) {
  if (inner(u, u) == 0) return;
  if (norm == 0) norm = std::sqrt(inner(p, p));
  if (norm == 0) return;
  const double before = norm;
  const double after = settings.gains.trained ? train_norm(norm, gain.moments, gain.gradient_product / std::sqrt(inner(p, p)),
                                                           gain.rate, settings.gains, t)
                                              : norm;
  turn(p, u, angle, before, settings, t, mean_square);
  for (double& each : p) each *= after / before;
}

// "Hyperball": a step of `rate` times the norm, then back to the norm.
void step_relatively(Values& p, const Values& u, double rate, double& norm) {
  if (inner(u, u) == 0) return;
  if (norm == 0) norm = std::sqrt(inner(p, p));
  const double size = std::max(std::sqrt(inner(u, u)), 1e-10);
  for (std::size_t i = 0; i < u.size(); ++i) p[i] -= rate * norm * u[i] / size;
  const double length = std::sqrt(inner(p, p));
  if (length == 0) return;
  for (double& each : p) each *= norm / length;
}

class Update {
 public:
  Update(Numbers& numbers, const UpdateSettings& settings)
      : settings_(settings),
        t_(numbers["scalars"]),
        weight_(numbers["master"]),
        gradient_(numbers["gradient"]),
        low_precision_(numbers["low_precision"]),
        scales_(numbers["scales"]),
        row_norm_(numbers["row_norm"]),
        row_mean_square_(numbers["row_mean_square"]),
        row_gain_moments_(numbers["row_gain_moments"]),
        clipped_(gradient_.size()),
        state_{&numbers["state0"], &numbers["state1"], &numbers["state2"]} {}

  template <typename Rule>
  void segment(const Rule& rule, const SegmentNumbers& segment, std::size_t index) {
    const double scaled = segment.learning_rate_scale * (scales_.empty() ? 1 : scales_[2 * index + 1]);
    const double clip = (settings_.clip_norm ? t_[clip_factor] : 1) * (scales_.empty() ? 1 : scales_[2 * index]);
    const double d = t_[decay] * segment.weight_decay;
    for (std::size_t i = segment.offset; i < segment.offset + segment.elements(); ++i)
      element(rule, segment.control, i, clip, t_[learning_rate] * scaled, d);
    if (segment.control == NormControl::direction) return;
    if (segment.control != NormControl::none) {
      const std::size_t parts = segment.per_row ? segment.rows : 1;
      for (std::size_t part = 0; part < parts; ++part)
        controlled(segment, segment.offset + part * segment.columns, segment.elements() / parts, segment.first_row + part, scaled);
    }
    for (std::size_t i = segment.offset; i < segment.offset + segment.elements() && !low_precision_.empty(); ++i)
      low_precision_[i] = weight_[i];
  }

 private:
  double& kept(int state, std::size_t i) {
    static double none;
    return state_[state]->empty() ? none : (*state_[state])[i];
  }

  template <typename Rule>
  void element(const Rule& rule, NormControl control, std::size_t i, double clip, double rate, double d) {
    const DecayForm form = settings_.decay_form;
    double g = clip * gradient_[i];
    if (const auto most = static_cast<double>(settings_.clip_value); most > 0) g = std::clamp(g, -most, most);
    clipped_[i] = g;
    if (form == DecayForm::gradient) g += d * weight_[i];
    if constexpr (std::is_same_v<Rule, Adam>) {
      const double scale = std::sqrt(kept(1, i) / t_[previous_correction2]) + static_cast<double>(rule.epsilon);
      if (form == DecayForm::scaled_gradient) g += d * scale * weight_[i];
    }
    const double u = direction(rule, g, kept(0, i), kept(1, i), kept(2, i), t_);
    if (control != NormControl::none) {
      gradient_[i] = u;
      return;
    }
    const bool shrinks = form == DecayForm::multiplicative || (form == DecayForm::cautious && u * weight_[i] >= 0);
    weight_[i] = stepped(rule, weight_[i], u, rate, shrinks ? d : 0, kept(0, i), kept(2, i), t_);
  }

  void controlled(const SegmentNumbers& segment, std::size_t first, std::size_t count, std::size_t row, double scaled) {
    const auto begin = weight_.begin() + static_cast<std::ptrdiff_t>(first);
    const auto direction_begin = gradient_.begin() + static_cast<std::ptrdiff_t>(first);
    Values p(begin, begin + static_cast<std::ptrdiff_t>(count));
    const Values u(direction_begin, direction_begin + static_cast<std::ptrdiff_t>(count));
    const auto clipped_begin = clipped_.begin() + static_cast<std::ptrdiff_t>(first);
    if (segment.control == NormControl::rotational)
      rotate(p, u, t_[rotation] * scaled,
             {t_[gain_rate] * segment.gain_rate_scale * scaled / segment.learning_rate_scale,
              std::inner_product(p.begin(), p.end(), clipped_begin, 0.0),
              row_gain_moments_.empty() ? nullptr : &row_gain_moments_[2 * row]},
             settings_, t_, row_norm_[row], row_mean_square_[row]);
    else
      step_relatively(p, u, t_[learning_rate] * scaled, row_norm_[row]);
    std::copy(p.begin(), p.end(), begin);
  }

  const UpdateSettings& settings_;
  const Values& t_;
  Values &weight_, &gradient_, &low_precision_;
  const Values& scales_;
  Values &row_norm_, &row_mean_square_, &row_gain_moments_;
  Values clipped_;  // gradients, where directions take their place
  Values* state_[3];
};

}  // namespace

void optimizer_update(Numbers& numbers, const UpdateRule& rule, const UpdateSettings& settings) {
  if (numbers["scalars"][finite] == 0) return;
  Update update(numbers, settings);
  const std::vector<SegmentNumbers> segments = segments_of(numbers);
  for (std::size_t index = 0; index < segments.size(); ++index)
    std::visit([&](const auto& named) { update.segment(named, segments[index], index); }, rule);
}

}  // namespace temper::reference
