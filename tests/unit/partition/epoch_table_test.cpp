#include "actors/partition/epoch_table.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using place = epoch_table::place;

const epoch_table::bounds log{log_offset{5}, log_offset{40}};

epoch_table three() {
  return epoch_table{
      {{leader_epoch{2}, log_offset{0}}, {leader_epoch{4}, log_offset{10}}, {leader_epoch{7}, log_offset{30}}}};
}

TEST(EpochTable, TellsWhereTheGreatestEpochAtOrBelowEnds) {
  const auto table = three();
  EXPECT_EQ(table.end_of(leader_epoch{2}, log), (place{leader_epoch{2}, log_offset{10}}));
  EXPECT_EQ(table.end_of(leader_epoch{3}, log), (place{leader_epoch{2}, log_offset{10}}));
  EXPECT_EQ(table.end_of(leader_epoch{6}, log), (place{leader_epoch{4}, log_offset{30}}));
  EXPECT_EQ(table.end_of(leader_epoch{7}, log), (place{leader_epoch{7}, log_offset{40}}));
  EXPECT_EQ(table.end_of(leader_epoch{9}, log), (place{leader_epoch{7}, log_offset{40}}));
}

TEST(EpochTable, EndsUnknownOldEpochsAtTheLogsStartOrWhereItsFirstBatchBegins) {
  EXPECT_EQ(epoch_table{}.end_of(leader_epoch{3}, log), (place{leader_epoch{3}, log_offset{5}}));
  EXPECT_EQ(three().end_of(leader_epoch{1}, log), (place{leader_epoch{1}, log_offset{0}}));
  const epoch_table later{{{leader_epoch{4}, log_offset{8}}}};
  EXPECT_EQ(later.end_of(leader_epoch{1}, log), (place{leader_epoch{1}, log_offset{5}}));
}

TEST(EpochTable, GrowsOnlyWithANewEpoch) {
  auto table = three();
  table.appended(leader_epoch{7}, log_offset{40});
  EXPECT_EQ(table.entries().size(), 3u);
  table.appended(leader_epoch{8}, log_offset{41});
  EXPECT_EQ(table.last(), leader_epoch{8});
  EXPECT_TRUE(table.contains(leader_epoch{4}));
  EXPECT_FALSE(table.contains(leader_epoch{5}));
}

TEST(EpochTable, ForgetsEpochsThatStartAtOrAboveACut) {
  auto table = three();
  table.truncated(log_offset{31});
  EXPECT_EQ(table.last(), leader_epoch{7});
  table.truncated(log_offset{30});
  EXPECT_EQ(table.last(), leader_epoch{4});
  table.truncated(log_offset{0});
  EXPECT_EQ(table.last(), no_epoch);
}

TEST(EpochTable, KeepsTheEpochOfTheFirstRecordWhenTrimmed) {
  auto table = three();
  table.trimmed(log_offset{9});
  EXPECT_EQ(table.entries().front().epoch, leader_epoch{2});
  table.trimmed(log_offset{10});
  EXPECT_EQ(table.entries().front().epoch, leader_epoch{4});
  table.trimmed(log_offset{40});  // an empty log still knows its last epoch
  EXPECT_EQ(table.entries().size(), 1u);
  EXPECT_EQ(table.at(log_offset{35}), leader_epoch{7});
  EXPECT_EQ(table.at(log_offset{3}), no_epoch);
}

}  // namespace
}  // namespace troupe
