// What ends a run by its lines.
#include "train/stop_judge.h"

#include <gtest/gtest.h>

namespace temper {
namespace {

StopJudge above_three() {
  return {StopCondition{"loss > 3", [](const auto& latest) { return latest.contains("loss") && latest.at("loss") > 3.0; }}, 5};
}

TEST(StopJudge, EndsAtTheFirstLineItHoldsForButNotAtTheLastStep) {
  StopJudge judge = above_three();
  judge.look({{"step", 1}, {"loss", 2.0}});
  EXPECT_FALSE(judge.stopped_at());
  judge.look({{"step", 2}, {"loss", 4.0}});
  judge.look({{"step", 3}, {"loss", 5.0}});
  EXPECT_EQ(judge.stopped_at(), 2);
  StopJudge at_the_end = above_three();
  at_the_end.look({{"step", 5}, {"loss", 4.0}});
  EXPECT_FALSE(at_the_end.stopped_at());
}

TEST(StopJudge, PassesOverDamagedLines) {
  StopJudge judge = above_three();
  for (const Json& line : {Json{{"step", ""}, {"loss", 4.0}}, Json{{"step", 1.5}, {"loss", 4.0}}, Json{{"loss", 4.0}}, Json(4.0)})
    EXPECT_NO_THROW(judge.look(line)) << line;
  EXPECT_FALSE(judge.stopped_at());
}

}  // namespace
}  // namespace temper
