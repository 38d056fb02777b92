#include "actors/partition/producers.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "runtime/base/random.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr std::int32_t sequence_max = std::numeric_limits<std::int32_t>::max();

sequence_range range(std::int64_t id, std::int16_t epoch, std::int32_t first, std::int32_t count = 1) {
  const auto last = static_cast<std::int32_t>((std::int64_t{first} + count - 1) & 0x7fffffff);
  return {producer_id{id}, producer_epoch{epoch}, first, last};
}
std::int32_t count_of(const sequence_range& r) {
  return static_cast<std::int32_t>(((std::int64_t{r.last} - r.first) & 0x7fffffff) + 1);
}

/// A log of nothing but batches with sequences.
struct Producers : testing::Test {
  producers known;
  log_offset end{0}, committed{0};
  wall_time now{1'700'000'000'000ms};

  producers::place append(const sequence_range& r) {
    const producers::place where{end, end + count_of(r), 5};
    known.appended(r, where, committed, now);
    end = where.end;
    return where;
  }
  errc refusal(const sequence_range& r) {
    const auto checked = known.check(r);
    return checked ? errc{} : checked.code();
  }
  bool fresh(const sequence_range& r) {
    const auto checked = known.check(r);
    return checked && !*checked;
  }
};

TEST_F(Producers, StartWithAnySequence) {
  EXPECT_TRUE(fresh(range(1, 0, 0)));
  EXPECT_TRUE(fresh(range(1, 3, 4711)));
  append(range(1, 3, 4711, 10));
  EXPECT_TRUE(fresh(range(1, 3, 4721)));
  EXPECT_TRUE(fresh(range(2, 0, 9)));  // another producer is unknown still
}

TEST_F(Producers, AreToldWhereEachOfTheirLastFiveBatchesLies) {
  std::vector<producers::place> places;
  for (int i = 0; i < 7; ++i) places.push_back(append(range(1, 0, i * 10, 10)));
  committed = end;
  for (int i = 2; i < 7; ++i) EXPECT_EQ(known.check(range(1, 0, i * 10, 10)).value(), places[i]) << i;
  // Older ones fell out, and a batch of other bounds is not the same batch.
  EXPECT_EQ(refusal(range(1, 0, 10, 10)), errc::out_of_order_sequence);
  EXPECT_EQ(refusal(range(1, 0, 60, 9)), errc::out_of_order_sequence);
  EXPECT_EQ(refusal(range(1, 0, 61, 9)), errc::out_of_order_sequence);
}

TEST_F(Producers, MustNotLeaveGaps) {
  append(range(1, 0, 0, 5));
  EXPECT_EQ(refusal(range(1, 0, 6)), errc::out_of_order_sequence);
  EXPECT_EQ(refusal(range(1, 0, 4)), errc::out_of_order_sequence);
  EXPECT_TRUE(fresh(range(1, 0, 5)));
}

TEST_F(Producers, WrapAroundAfterTheGreatestSequence) {
  append(range(1, 0, sequence_max - 1, 2));
  EXPECT_TRUE(fresh(range(1, 0, 0)));
  append(range(1, 0, 0, 1));
  const auto over = append(range(1, 0, 1, 1));
  EXPECT_EQ(known.check(range(1, 0, 1)).value(), over);

  const auto across = append(range(2, 0, sequence_max, 3));  // max, 0, 1
  EXPECT_EQ(range(2, 0, sequence_max, 3).last, 1);
  EXPECT_EQ(known.check(range(2, 0, sequence_max, 3)).value(), across);
  EXPECT_TRUE(fresh(range(2, 0, 2)));
}

TEST_F(Producers, OfANewEpochStartAtZeroAndFenceTheOldOne) {
  append(range(1, 3, 0, 5));
  EXPECT_EQ(refusal(range(1, 4, 5)), errc::out_of_order_sequence);
  EXPECT_EQ(refusal(range(1, 2, 5)), errc::invalid_producer_epoch);
  EXPECT_TRUE(fresh(range(1, 4, 0, 5)));  // the same sequences, but not a duplicate
  append(range(1, 4, 0, 5));
  EXPECT_EQ(refusal(range(1, 3, 0, 5)), errc::invalid_producer_epoch);
  EXPECT_EQ(known.recall(producer_id{1}).size(), 1u);
}

TEST_F(Producers, FallBackToWhatIsStoredWhenTheDiskRefuses) {
  const auto first = append(range(1, 0, 0, 5));
  committed = end;
  append(range(1, 1, 0, 5));
  append(range(2, 0, 7));
  known.rolled_back(committed);
  EXPECT_EQ(known.check(range(1, 0, 0, 5)).value(), first);
  EXPECT_TRUE(fresh(range(1, 0, 5)));
  EXPECT_TRUE(fresh(range(2, 0, 0)));
  EXPECT_EQ(known.size(), 1u);
}

TEST_F(Producers, StillKnowFiveBatchesAfterARollBackOfMany) {
  std::vector<producers::place> places;
  for (int i = 0; i < 6; ++i) places.push_back(append(range(1, 0, i)));
  committed = end;
  for (int i = 6; i < 26; ++i) append(range(1, 0, i));
  end = committed;
  known.rolled_back(committed);
  ASSERT_EQ(known.recall(producer_id{1}).size(), 5u);
  EXPECT_EQ(known.check(range(1, 0, 1)).value(), places[1]);
  EXPECT_EQ(refusal(range(1, 0, 0)), errc::out_of_order_sequence);
  EXPECT_TRUE(fresh(range(1, 0, 6)));
}

TEST_F(Producers, IdleForADayAreForgottenAndMayContinueAnywhere) {
  append(range(1, 0, 0));
  now += 23h;
  append(range(2, 0, 0));
  now += 2h;
  known.expire(now);
  EXPECT_EQ(known.size(), 1u);
  EXPECT_TRUE(fresh(range(1, 0, 4711)));
  EXPECT_FALSE(fresh(range(2, 0, 4711)));
}

TEST_F(Producers, AreBoundedByForgettingTheLongestIdle) {
  for (std::size_t id = 0; id < producers::producers_max; ++id) append(range(static_cast<std::int64_t>(id), 0, 0));
  append(range(0, 0, 1));  // so that 1 is now the longest idle
  append(range(1'000'000, 0, 0));
  EXPECT_EQ(known.size(), producers::producers_max);
  EXPECT_TRUE(known.recall(producer_id{1}).empty());
  EXPECT_EQ(known.recall(producer_id{0}).size(), 2u);
}

TEST_F(Producers, SurviveInAMarkAsFarAsTheLogIsCommitted) {
  for (int i = 0; i < 8; ++i) append(range(1, 0, i, 3 * i % 5 + 1));
  known = {};
  end = log_offset{0};
  append(range(1, 2, 0));
  append(range(2, 0, 100, 3));
  const auto at = end;
  append(range(1, 3, 0));
  append(range(3, 0, 0));

  std::vector<std::byte> bytes;
  known.encode(at, bytes);
  auto decoded = producers::decode(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->size(), 2u);
  known.rolled_back(at);
  EXPECT_EQ(decoded->recall(producer_id{1}), known.recall(producer_id{1}));
  EXPECT_EQ(decoded->recall(producer_id{2}), known.recall(producer_id{2}));
}

TEST_F(Producers, OfADamagedMarkAreAnErrorAndNothingElse) {
  for (int i = 0; i < 20; ++i) append(range(i % 4, 0, i / 4));
  std::vector<std::byte> good;
  known.encode(end, good);
  ASSERT_TRUE(producers::decode(good));
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(producers::decode(byte_view{good}.first(size)).code(), errc::malformed);
  auto longer = good;
  longer.push_back({});
  EXPECT_EQ(producers::decode(longer).code(), errc::malformed);
  random_source random{1};
  for (int round = 0; round < 2000; ++round) {
    auto bad = good;
    for (int n = 0; n < 3; ++n) bad[random.below(bad.size())] = static_cast<std::byte>(random());
    (void)producers::decode(bad);
  }
  auto many = good;
  store_le(many.data() + 1, std::uint32_t{0xffffffff});
  EXPECT_EQ(producers::decode(many).code(), errc::malformed);
}

/// The rules once more, straight from their text, over the whole history.
struct naive_producers {
  struct batch {
    sequence_range range;
    producers::place where;
  };
  std::vector<batch> log;

  std::vector<batch> last_five(producer_id id) const {
    std::vector<batch> mine;
    for (const auto& b : log) {
      if (b.range.producer != id) continue;
      if (!mine.empty() && mine.back().range.epoch != b.range.epoch) mine.clear();
      mine.push_back(b);
    }
    if (mine.size() > 5) mine.erase(mine.begin(), mine.end() - 5);
    return mine;
  }
  std::pair<errc, std::optional<producers::place>> check(const sequence_range& r) const {
    const auto mine = last_five(r.producer);
    if (mine.empty()) return {};
    const auto& last = mine.back().range;
    if (r.epoch == last.epoch)
      for (const auto& b : mine)
        if (b.range.first == r.first && b.range.last == r.last) return {errc{}, b.where};
    if (r.epoch < last.epoch) return {errc::invalid_producer_epoch, {}};
    const auto next = last.last == sequence_max ? 0 : last.last + 1;
    if (r.first != (r.epoch > last.epoch ? 0 : next)) return {errc::out_of_order_sequence, {}};
    return {};
  }
};

class ProducersHistory : public testing::TestWithParam<int> {};

TEST_P(ProducersHistory, FollowsTheRulesAndIsTheSameWhenRebuiltFromTheLog) {
  random_source random{static_cast<std::uint64_t>(GetParam())};
  producers live;
  naive_producers model;
  log_offset end{0}, committed{0};
  const wall_time now{1ms};
  const std::int64_t ids = 1 + static_cast<std::int64_t>(random.below(4));

  auto expect_same = [&](const producers& other, const char* what) {
    for (std::int64_t id = 0; id < ids; ++id) {
      std::vector<producers::remembered> expected;
      for (const auto& b : model.last_five(producer_id{id}))
        expected.push_back({b.range.epoch, b.range.first, b.range.last, b.where});
      ASSERT_EQ(other.recall(producer_id{id}), expected) << what << ", producer " << id << ", seed " << GetParam();
    }
  };

  for (int step = 0; step < 400; ++step) {
    const auto id = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(ids)));
    const auto mine = model.last_five(producer_id{id});
    auto r = range(id, 0, random.chance(0.1) ? sequence_max - 3 : 0, 1 + static_cast<std::int32_t>(random.below(4)));
    if (!mine.empty()) {
      const auto& last = mine.back().range;
      const auto next = last.last == sequence_max ? 0 : last.last + 1;
      r = range(id, last.epoch.value(), next, 1 + static_cast<std::int32_t>(random.below(4)));
      if (random.chance(0.2)) r = model.log[random.below(model.log.size())].range;     // a repeat, maybe an old one
      if (random.chance(0.05)) r.first = static_cast<std::int32_t>(random.below(10));  // a gap
      if (random.chance(0.05))
        r = range(id, static_cast<std::int16_t>(last.epoch.value() + 1), random.chance(0.8) ? 0 : next,
                  2);  // a new epoch
      if (random.chance(0.05) && last.epoch.value() > 0)
        r.epoch = producer_epoch{static_cast<std::int16_t>(last.epoch.value() - 1)};  // a zombie
    }
    const auto expected = model.check(r);
    const auto checked = live.check(r);
    ASSERT_EQ(checked ? errc{} : checked.code(), expected.first) << "step " << step << ", seed " << GetParam();
    if (checked) {
      ASSERT_EQ(*checked, expected.second);
    }
    if (checked && !*checked) {
      const producers::place where{end, end + count_of(r), static_cast<std::int64_t>(random.below(100))};
      live.appended(r, where, committed, now);
      model.log.push_back({r, where});
      end = where.end;
    }
    if (random.chance(0.2)) {  // the disk is done with some of it
      for (const auto& b : model.log)
        if (b.where.end > committed && random.chance(0.7)) committed = b.where.end;
    }
    if (random.chance(0.05)) {  // the disk refuses the rest, or some of it
      auto to = committed;
      for (const auto& b : model.log)
        if (b.where.end > to && random.chance(0.3)) to = b.where.end;
      live.rolled_back(to);
      std::erase_if(model.log, [&](const auto& b) { return b.where.end > to; });
      end = to;
      expect_same(live, "after a roll back");
    }
    if (random.chance(0.05)) {  // a restart: a mark at the committed end, and the headers above it
      std::vector<std::byte> bytes;
      live.encode(committed, bytes);
      auto restored = producers::decode(bytes);
      ASSERT_TRUE(restored);
      for (const auto& b : model.log)
        if (b.where.base >= committed) restored->appended(b.range, b.where, b.where.end, now);
      expect_same(*restored, "after a restart");
      producers rebuilt;
      for (const auto& b : model.log) rebuilt.appended(b.range, b.where, b.where.end, now);
      expect_same(rebuilt, "rebuilt from headers alone");
    }
    expect_same(live, "live");
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ProducersHistory, testing::Range(1, 41));

}  // namespace
}  // namespace troupe
