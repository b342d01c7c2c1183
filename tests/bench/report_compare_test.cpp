// Two reports side by side.
#include "bench/report.h"

#include <gtest/gtest.h>

#include <sstream>

#include "io/error.h"

namespace temper {
namespace {

NamedReport report(const std::string& name, std::vector<SavedReport::Benchmark> benchmarks) {
  return {name, {"a processor", std::move(benchmarks)}};
}

// The line of the table that starts with `name`.
std::string line_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.rfind(name + " ", 0) == 0) return line;
  return "no line for " + name;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TEST(CompareReports, SaysWhatChangedByMoreThanItsNoise) {
  const NamedReport before = report("a.json", {{"halved", {1e-3, 1.02e-3, 0.98e-3}},
                                               {"doubled", {1e-3, 1.02e-3, 0.98e-3}},
                                               {"wobbly", {1e-3, 2e-3, 0.5e-3}},
                                               {"wobbling", {1e-3, 2e-3, 0.5e-3}},
                                               {"touching", {1e-3, 2e-3, 3e-3}},
                                               {"once", {1e-3}}});
  const NamedReport after = report("b.json", {{"once", {5e-3}},
                                              {"touching", {3e-3, 4e-3, 5e-3}},
                                              {"wobbly", {1.2e-3, 2.2e-3, 0.7e-3}},
                                              {"wobbling", {0.8e-3, 1.8e-3, 0.4e-3}},
                                              {"doubled", {2e-3, 2.02e-3, 1.98e-3}},
                                              {"halved", {0.5e-3, 0.51e-3, 0.49e-3}}});
  const std::string text = compare_reports(before, after);
  EXPECT_EQ(line_of(text, "halved"), "halved     1.00 ms   +-2.0%   500 us   +-2.0%  0.500   faster");
  EXPECT_TRUE(ends_with(line_of(text, "doubled"), "2.000   slower")) << text;
  EXPECT_TRUE(ends_with(line_of(text, "wobbly"), "1.200    noise")) << text;
  EXPECT_TRUE(ends_with(line_of(text, "wobbling"), "0.800    noise")) << text;
  EXPECT_TRUE(ends_with(line_of(text, "touching"), "2.000    noise")) << text;
  EXPECT_TRUE(ends_with(line_of(text, "once"), "5.000        ?")) << text;
  EXPECT_NE(text.find("?: fewer than 3 repetitions"), std::string::npos);
  EXPECT_EQ(text.find("the machines differ"), std::string::npos);
  EXPECT_EQ(text.find("only in"), std::string::npos);
  EXPECT_EQ(text.find("where a ceiling changed"), std::string::npos);
}

TEST(CompareReports, NamesWhatOnlyOneHasAndOtherMachines) {
  const NamedReport before = report("a.json", {{"both", {1, 1, 1}}, {"old", {1, 1, 1}}});
  NamedReport after = report("b.json", {{"new", {1, 1, 1}}, {"both", {1, 1, 1}}});
  after.report.device = "another";
  const std::string text = compare_reports(before, after);
  EXPECT_NE(text.find("only in a.json: old\nonly in b.json: new\n"), std::string::npos) << text;
  EXPECT_NE(text.find("the machines differ: a processor | another"), std::string::npos) << text;
  EXPECT_EQ(text.find("?: "), std::string::npos) << text;
}

TEST(CompareReports, SaysWhatTheCeilingsMean) {
  const std::string text = compare_reports(report("a", {{"ceiling/copy", {1, 1, 1}}}), report("b", {{"ceiling/copy", {2, 2, 2}}}));
  EXPECT_NE(text.find("where a ceiling changed, the machine was"), std::string::npos) << text;
}

TEST(CompareReports, WithNothingInCommonIsAnError) {
  try {
    compare_reports(report("a.json", {{"one", {1}}}), report("b.json", {{"two", {1}}}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data);
    EXPECT_NE(std::string(error.what()).find("the first has one, the second two"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace temper
