#include "sweep/formula.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/error.h"

namespace temper {
namespace {

Value value_of(const std::string& key) {
  if (key == "a") return {std::int64_t{3}};
  if (key == "b.c") return {0.5};
  if (key == "name") return {std::string("lion")};
  if (key == "flag") return {true};
  return {};
}

double number(const std::string& text) { return Formula(text, "here").number(value_of); }

std::string error(const std::string& text) {
  try {
    number(text);
  } catch (const Error& problem) {
    EXPECT_EQ(problem.code(), ExitCode::usage);
    return problem.what();
  }
  return "no error";
}

TEST(Formula, ArithmeticBindsAsInMathematics) {
  EXPECT_EQ(number("1 + 2 * 3"), 7.0);
  EXPECT_EQ(number("(1 + 2) * 3"), 9.0);
  EXPECT_EQ(number("8 / 4 / 2"), 1.0);
  EXPECT_EQ(number("8 - 4 - 2"), 2.0);
  EXPECT_EQ(number("2 ^ 3 ^ 2"), 512.0);
  EXPECT_EQ(number("-2 ^ 2"), -4.0);
  EXPECT_EQ(number("2 ^ -1"), 0.5);
  EXPECT_EQ(number("2 * -3"), -6.0);
  EXPECT_EQ(number("1e-3*1000"), 1.0);
  EXPECT_EQ(number(".5+1.5"), 2.0);
}

TEST(Formula, KeysStandForTheirValues) {
  EXPECT_EQ(number("0.06 / b.c"), 0.12);
  EXPECT_EQ(number("a*b.c + flag"), 2.5);
  EXPECT_EQ(Formula("a / b.c + min(a, d.e)", "").keys(), (std::set<std::string>{"a", "b.c", "d.e"}));
}

TEST(Formula, Functions) {
  EXPECT_EQ(number("round(2.6)"), 3.0);
  EXPECT_EQ(number("sqrt(16)"), 4.0);
  EXPECT_EQ(number("min(3, 1, 2) + max(3, 1, 2)"), 4.0);
  EXPECT_DOUBLE_EQ(number("exp(log(5))"), 5.0);  // two roundings of the library
}

TEST(Formula, Conditions) {
  EXPECT_EQ(number("a < 4 and b.c <= 0.5"), 1.0);
  EXPECT_EQ(number("a > 4 or b.c >= 0.6"), 0.0);
  EXPECT_EQ(number("a == 3 and a != 4"), 1.0);
  EXPECT_EQ(number("name == 'lion'"), 1.0);
  EXPECT_EQ(number("name != 'lion' or a == 3"), 1.0);
  EXPECT_EQ(number("a + 1 < 2 * 3 and flag"), 1.0);  // comparison binds less than sums
  EXPECT_EQ(number("a == 3 or 1 / 0 > 1"), 1.0);     // what does not count is not computed
}

TEST(Formula, AComparisonThatCannotBeMadeYetDoesNotHold) {
  const auto holds = [](const char* text) { return Formula(text, "here").holds_so_far({{"step", 600.0}, {"loss", 9.5}}); };
  EXPECT_TRUE(holds("loss > 9"));
  EXPECT_FALSE(holds("loss > 10"));
  EXPECT_FALSE(holds("val_loss > 6"));
  EXPECT_FALSE(holds("val_loss <= 6"));
  EXPECT_FALSE(holds("val_loss != 6"));
  EXPECT_FALSE(holds("step > 500 and val_loss > 6"));
  EXPECT_TRUE(holds("val_loss > 6 or loss > 9"));
  EXPECT_TRUE(holds("loss > 9 or val_loss - 1 > 6"));
  EXPECT_FALSE(holds("loss / (step - 600) > 1"));
  EXPECT_FALSE(holds("val_loss and loss > 9"));
  EXPECT_FALSE(holds("(val_loss < 6) == 0")) << "nor does its opposite";
  EXPECT_FALSE(holds("(val_loss < 6 or loss < 9) == 0"));
  EXPECT_TRUE(holds("(loss < 9) == 0"));
  EXPECT_TRUE(Formula("a > 1 and b < 2 or c == 3", "here").is_condition());
  for (const char* text : {"a", "a - 9", "min(a > 1, b)", "-(a > 1)"}) EXPECT_FALSE(Formula(text, "here").is_condition()) << text;
}

TEST(Formula, TextThatIsNoFormulaIsShownWithItsPlace) {
  EXPECT_EQ(error("1 +"), "here: \"1 +\", character 4: expected a number, a key or (");
  EXPECT_NE(error("(1 + 2").find("expected )"), std::string::npos);
  EXPECT_NE(error("1 2").find("character 3: expected an operator"), std::string::npos);
  EXPECT_NE(error("sin(1)").find("unknown function sin"), std::string::npos);
  EXPECT_NE(error("min(1)").find("two numbers"), std::string::npos);
  EXPECT_NE(error("sqrt(1, 2)").find("one number"), std::string::npos);
  EXPECT_NE(error("name == 'lion").find("no closing"), std::string::npos);
  EXPECT_NE(error("").find("expected a number"), std::string::npos);
  EXPECT_NE(error("a < b.c < 1").find("expected an operator"), std::string::npos);
  EXPECT_NE(error("1e999").find("not a number"), std::string::npos);
}

TEST(Formula, ValuesThatAreNoNumbersAreRefused) {
  EXPECT_NE(error("1 / 0").find("no finite number"), std::string::npos);
  EXPECT_NE(error("sqrt(-1)").find("no finite number"), std::string::npos);
  EXPECT_NE(error("name * 2").find("'lion' is text"), std::string::npos);
  EXPECT_NE(error("missing + 1").find("missing is not given"), std::string::npos);
}

TEST(Formula, HostileTextDoesNotRecurseForEver) {
  EXPECT_NE(error(std::string(900, '(')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error(std::string(900, '-') + "1").find("nested deeper"), std::string::npos);
  EXPECT_NE(error(std::string(100000, '1')).find("at most 1000"), std::string::npos);
}

}  // namespace
}  // namespace temper
