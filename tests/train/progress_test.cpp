// What a person reads: figures, and the chart, character by character.
#include "train/progress.h"

#include <gtest/gtest.h>

#include <limits>

namespace temper {
namespace {

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(0.0), "0 s");
  EXPECT_EQ(format_duration(-3.0), "0 s");
  EXPECT_EQ(format_duration(12.4), "12 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1m 00s");
  EXPECT_EQ(format_duration(250.0), "4m 10s");
  EXPECT_EQ(format_duration(3599.0), "59m 59s");
  EXPECT_EQ(format_duration(3600.0), "1h 00m");
  EXPECT_EQ(format_duration(3 * 3600.0 + 2 * 60.0 + 59.0), "3h 02m");
  EXPECT_EQ(format_duration(100 * 3600.0), "100h 00m");
}

TEST(Progress, Counts) {
  EXPECT_EQ(format_count(0.0), "0");
  EXPECT_EQ(format_count(1500.0), "1500");
  EXPECT_EQ(format_count(9999.0), "9999");
  EXPECT_EQ(format_count(15000.0), "15.0k");
  EXPECT_EQ(format_count(12'300'000.0), "12.3M");
  EXPECT_EQ(format_count(124'439'808.0), "124.4M");
  EXPECT_EQ(format_count(2.46e9), "2.46B");
}

TEST(Progress, Bytes) {
  EXPECT_EQ(format_bytes(0), "0.0 MiB");
  EXPECT_EQ(format_bytes(std::size_t{12} << 20), "12.0 MiB");
  EXPECT_EQ(format_bytes((std::size_t{1} << 30) - 1), "1024.0 MiB");
  EXPECT_EQ(format_bytes(std::size_t{1} << 30), "1.00 GiB");
  EXPECT_EQ(format_bytes(std::size_t{1940} << 20), "1.89 GiB");
}

TEST(Progress, ChartOfTwoCurves) {
  const std::vector<ChartSeries> series = {{"training loss", '.', {{0, 4}, {1, 3.5}, {2, 3}, {3, 2.5}, {4, 2}}},
                                           {"validation loss", 'o', {{0, 4}, {4, 3}}}};
  EXPECT_EQ(draw_chart(series, 9, 5, "steps"),
            "   4.000 ┤o        \n"
            "         │  .      \n"
            "         │    .   o\n"
            "   2.500 ┤      .  \n"
            "   2.000 ┤        .\n"
            "         └─────────\n"
            "          0 4 steps\n"
            "          . training loss   o validation loss   \n");
}

TEST(Progress, ChartColumnsAreMeans) {
  const std::vector<ChartSeries> series = {{"loss", '*', {{0, 1}, {0, 3}, {10, 4}, {10, 0}, {10, 5}}}};  // means 2 and 3
  const std::string chart = draw_chart(series, 2, 6, "steps");
  EXPECT_NE(chart.find("│ *"), std::string::npos) << chart;
  EXPECT_NE(chart.find("   2.000 ┤* "), std::string::npos) << chart;  // the axis spans 5 to 0
}

TEST(Progress, ChartOfSmallOrLargeNumbersIsLabelledInPowersOfTen) {
  EXPECT_EQ(draw_chart({{"rate", '*', {{0, 6e-4}, {1, 0}}}}, 2, 2, "steps"),
            "6.00e-04 ┤* \n"
            "0.00e+00 ┤ *\n"
            "         └──\n"
            "          0 1 steps\n"
            "          * rate   \n");
  EXPECT_NE(draw_chart({{"tokens", '*', {{0, 524288}, {1, 0}}}}, 2, 2, "steps").find("5.24e+05 ┤* "), std::string::npos);
}

TEST(Progress, ChartPassesOverWhatIsNotFinite) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(draw_chart({{"loss", '.', {{0, 2}, {1, none}, {2, 1}}}}, 3, 2, "steps"),
            draw_chart({{"loss", '.', {{0, 2}, {2, 1}}}}, 3, 2, "steps"));
  EXPECT_EQ(draw_chart({{"loss", '.', {{0, none}}}}, 3, 2, "steps"), "");
  // Nor what no float is, whose sums and differences would not be finite, and steps that no run has.
  for (const auto& [x, y] : {std::pair(1.0, 1e308), std::pair(1.0, -1e308), std::pair(1e308, 1.5), std::pair(-1e20, 1.5)})
    EXPECT_EQ(draw_chart({{"loss", '.', {{0, 2}, {x, y}, {2, 1}}}}, 3, 2, "steps"),
              draw_chart({{"loss", '.', {{0, 2}, {2, 1}}}}, 3, 2, "steps"));
  EXPECT_EQ(draw_chart({{"loss", '.', {{0, 1e308}, {1, -1e308}}}}, 3, 2, "steps"), "");
  EXPECT_EQ(draw_chart({{"loss", '.', {{1e20, 1}}}}, 3, 2, "steps"), "");
  EXPECT_EQ(draw_chart({}, 3, 2, "steps"), "");
}

TEST(Progress, ChartOfOnePointAndOfAFlatLine) {
  EXPECT_EQ(draw_chart({{"loss", '.', {{7, 2}}}, {"validation loss", 'o', {}}}, 3, 2, "steps"),
            "   2.000 ┤   \n"
            "   2.000 ┤.  \n"
            "         └───\n"
            "          7 8 steps\n"
            "          . loss   \n");
  for (const double loss : {0.0, 2.0, 1e30})
    EXPECT_NE(draw_chart({{"loss", '.', {{0, loss}, {1, loss}, {2, loss}}}}, 3, 2, "steps").find("┤...\n"), std::string::npos)
        << loss;
}

TEST(Progress, PlainLinesWhereThereIsNoTerminal) {
  testing::internal::CaptureStderr();
  Progress progress(25, 10);
  for (std::int64_t step = 1; step <= 25; ++step) progress.step({step, 32 * step, 2.5, 0.125, 6e-4}, 12345.0, 75.0);
  progress.activity("validating", 0.5);
  progress.note("a note");
  const std::string figures = "  loss 2.5000  norm 0.125  lr 6.00e-04  12.3k tok/s  1m 15s left\n";
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "step 10/25" + figures + "step 20/25" + figures + "step 25/25" + figures + "a note\n");
}

}  // namespace
}  // namespace temper
