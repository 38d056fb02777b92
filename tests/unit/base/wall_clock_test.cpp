#include "runtime/base/wall_clock.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using namespace std::chrono_literals;
using kind = clock_verdict::kind;

constexpr auto ten_years = std::chrono::days{3650};

/// A node whose clock is read every 50 ms, and which hears a verdict when it is given.
struct WallClock : testing::Test {
  instant now{instant{} + 1h};
  wall_time right{1'700'000'000'000ms};  ///< what all good clocks say
  std::chrono::milliseconds wrong_by{0};
  std::optional<wall_clock> clock_;

  wall_clock& clock() {
    if (!clock_) clock_.emplace(now, right + wrong_by);
    return *clock_;
  }
  moment look() { return clock().line().at(now, right + wrong_by); }
  void pass(std::chrono::milliseconds time) {
    clock();
    now += time;
    right += time;
    clock().read(now, right + wrong_by);
  }
  void hear(kind what) { clock().judged(now, {what, what == kind::agreed ? right : wall_time{}}); }
};

TEST_F(WallClock, CountsAsItReadsWhileItRunsEvenly) {
  EXPECT_TRUE(look().sure);
  for (int i = 0; i < 100; ++i) {
    pass(10min);
    wrong_by += 7s;  // a bad quartz
    EXPECT_TRUE(look().sure);
    EXPECT_EQ(look().wall, right + wrong_by);
  }
}

TEST_F(WallClock, FollowsStepsOfUpToAnHourAtOnce) {
  clock();
  for (const auto step : {3600s, -3600s, -3600s, 3600s}) {
    wrong_by += step;
    EXPECT_EQ(look().wall, right + wrong_by);
    pass(50ms);
    EXPECT_EQ(look().wall, right + wrong_by);
    EXPECT_TRUE(look().sure);
  }
}

TEST_F(WallClock, GoesOnAsBeforeWhenItJumpsAndTheOthersDoNot) {
  for (const auto jump : {ten_years, -ten_years}) {
    pass(1s);
    wrong_by = jump;
    EXPECT_EQ(look().wall, right);  // before anybody has looked
    for (int i = 0; i < 10; ++i) {
      pass(20min);
      hear(kind::agreed);
      EXPECT_EQ(look().wall, right);
      EXPECT_TRUE(look().sure);
    }
    wrong_by = 0s;
    EXPECT_EQ(look().wall, right);
    EXPECT_TRUE(look().sure);
  }
}

TEST_F(WallClock, TakesTheTimeOfTheOthersWhenItStartsWithAWrongOne) {
  for (const auto by : {ten_years, -ten_years}) {
    wrong_by = by;
    clock_.reset();
    EXPECT_EQ(look().wall, right + wrong_by);
    hear(kind::agreed);
    EXPECT_EQ(look().wall, right);
    EXPECT_FALSE(look().sure);
    pass(59min);
    EXPECT_FALSE(look().sure);
    pass(1min);
    EXPECT_TRUE(look().sure);
    EXPECT_EQ(look().wall, right);
    wrong_by = 0s;  // and somebody sets it right
    pass(50ms);
    hear(kind::agreed);
    EXPECT_EQ(look().wall, right);
    EXPECT_TRUE(look().sure);
  }
}

TEST_F(WallClock, AloneFollowsAJumpAndDecidesNothingByItForAnHour) {
  clock();
  wrong_by = ten_years;
  pass(50ms);
  EXPECT_EQ(look().wall, right);
  hear(kind::alone);
  EXPECT_EQ(look().wall, right + ten_years);
  EXPECT_FALSE(look().sure);
  pass(30min);
  wrong_by = 0s;  // and back
  pass(50ms);
  hear(kind::alone);
  EXPECT_EQ(look().wall, right);
  pass(59min);
  EXPECT_FALSE(look().sure);
  pass(1min);
  EXPECT_TRUE(look().sure);
}

TEST_F(WallClock, DecidesNothingByItWhileTheNodesDisagree) {
  pass(1s);
  hear(kind::disputed);
  EXPECT_FALSE(look().sure);
  pass(2h);
  EXPECT_FALSE(look().sure);
  hear(kind::unknown);
  EXPECT_FALSE(look().sure);
  hear(kind::agreed);
  EXPECT_TRUE(look().sure);
}

TEST_F(WallClock, WithoutAVerdictAJumpChangesNothing) {
  clock();
  wrong_by = ten_years;
  pass(50ms);
  hear(kind::unknown);
  EXPECT_EQ(look().wall, right);
  EXPECT_TRUE(look().sure);
}

TEST_F(WallClock, StandsAnyNumber) {
  constexpr wall_time first{std::chrono::milliseconds::min()}, last{std::chrono::milliseconds::max()};
  clock();
  for (const auto told : {first, last}) {
    clock().judged(now, {kind::agreed, told});
    pass(50ms);
    look();
    clock().read(now, told);
    hear(kind::agreed);
    EXPECT_EQ(clock().line().at(now, right).wall, right);
  }
  EXPECT_EQ(judge_clocks({first, last, wall_time{}}, 3).what, kind::disputed);
}

TEST(ClocksOfACluster, AreJudgedByTheMajorityOfItsNodes) {
  const wall_time right{1'700'000'000'000ms}, wrong = right - ten_years, worse = right + ten_years;
  EXPECT_EQ(judge_clocks({wrong}, 1).what, kind::alone);
  EXPECT_EQ(judge_clocks({}, 1).what, kind::alone);
  EXPECT_EQ(judge_clocks({right, right + 1s}, 2), (clock_verdict{kind::agreed, right}));
  EXPECT_EQ(judge_clocks({right, wrong}, 2).what, kind::disputed);
  EXPECT_EQ(judge_clocks({right}, 2).what, kind::unknown);
  EXPECT_EQ(judge_clocks({wrong, right + 1s, right}, 3), (clock_verdict{kind::agreed, right}));
  EXPECT_EQ(judge_clocks({right, right}, 3), (clock_verdict{kind::agreed, right}));  // whatever the third says
  EXPECT_EQ(judge_clocks({right, wrong}, 3).what, kind::unknown);
  EXPECT_EQ(judge_clocks({worse, right, wrong}, 3).what, kind::disputed);
  EXPECT_EQ(judge_clocks({worse, worse, right, right}, 4).what, kind::disputed);
}

}  // namespace
}  // namespace troupe
