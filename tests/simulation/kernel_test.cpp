#include "tests/simulation/kernel.hpp"

#include <gtest/gtest.h>

#include "runtime/base/crc32c.hpp"
#include "tests/simulation/machine.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/simulated_store.hpp"

namespace troupe::sim {
namespace {

TEST(Kernel, EventsOfOneMomentRunInTheOrderInWhichTheyWereMade) {
  kernel k{1};
  std::string ran;
  k.after(2ms, [&] { ran += "c"; });
  k.after(1ms, [&] {
    ran += "a";
    k.after(0ns, [&] { ran += "b"; });
  });
  k.after(2ms, [&] { ran += "d"; });
  k.run_until(instant{1ms});
  EXPECT_EQ(ran, "ab");
  k.run_until(instant{5ms});
  EXPECT_EQ(ran, "abcd");
  EXPECT_EQ(k.now(), instant{5ms});
}

TEST(Kernel, ADriftingClockShowsMoreOrLessThanTrueTimeAndNeverStepsBack) {
  kernel k{1};
  node_clock fast{k, 1.09, 10s};
  k.run_until(instant{100s});
  EXPECT_EQ(fast.now(), instant{119s});
  fast.drift(0.91);
  EXPECT_EQ(fast.now(), instant{119s});
  k.run_until(instant{200s});
  EXPECT_NEAR(static_cast<double>(fast.now().time_since_epoch().count()), 210e9, 10);
  fast.step_wall(std::chrono::milliseconds{-3'600'000});
  EXPECT_NEAR(static_cast<double>(fast.now().time_since_epoch().count()), 210e9, 10);
}

TEST(Network, ACutIsOneWayAndSwallowsWhatIsUnderWay) {
  kernel k{1};
  network n{k};
  int there = 0, back = 0;
  n.send(1, 2, 100, [&] { ++there; });
  n.cut(1, 2);
  n.send(1, 2, 100, [&] { ++there; });
  n.send(2, 1, 100, [&] { ++back; });
  k.run_until(instant{1s});
  EXPECT_EQ(there, 0);
  EXPECT_EQ(back, 1);
  n.heal(1, 2);
  n.send(1, 2, 100, [&] { ++there; });
  k.run_until(instant{2s});
  EXPECT_EQ(there, 1);
}

TEST(Network, ASlowLinkCarriesItsBytesOneAfterTheOther) {
  kernel k{1};
  network n{k};
  n.slow(1, 2, 1000);
  std::vector<instant> arrived;
  for (int i = 0; i < 3; ++i) n.send(1, 2, 1000, [&] { arrived.push_back(k.now()); });
  k.run_until(instant{10s});
  EXPECT_EQ(arrived, (std::vector<instant>{instant{1s}, instant{2s}, instant{3s}}));
}

TEST(Machine, NothingOfAnEarlierLifeHappensAndAPauseHoldsEverythingBack) {
  kernel k{1};
  machine m{k, node_id{1}, 1, 0s};
  m.born();
  std::string ran;
  m.in(1s, [&] { ran += "a"; });
  m.in(5s, [&] { ran += "never"; });
  m.pause();
  k.run_until(instant{2s});
  EXPECT_EQ(ran, "");
  m.resume();
  k.run_until(instant{3s});
  EXPECT_EQ(ran, "a");
  m.died();
  k.run_until(instant{9s});
  EXPECT_EQ(ran, "a");
}

struct ear final : store::log_listener {
  void durable(log_offset to) override { end = to; }
  void refused(log_offset to, const error&) override { refused_at = to; }
  log_offset end, refused_at{-1};
};

store::batch one_record(std::int64_t base) {
  store::batch b;
  b.base = log_offset{base};
  b.offsets = 1;
  b.epoch = leader_epoch{1};
  b.bytes = shared_bytes::copy_of(as_bytes("record " + std::to_string(base)));
  b.crc = crc32c(b.bytes);
  return b;
}

// What the log's owner was told survives a power cut; of the rest nothing is promised, and nothing is invented.
TEST(SimulatedStore, KeepsWhatItCalledDurableOverAPowerCut) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    kernel k{seed};
    machine m{k, node_id{1}, 1, 0s};
    const store::log_identity who{uuid{{1}}, partition_index{0}, 0};
    log_offset told;
    {
      m.born();
      auto s = simulated_store::open(k, m, {}, {});
      ASSERT_TRUE(s) << s.error().text;
      const auto id = (*s)->create({who}, store::durability::group)->front();
      auto heard = std::make_shared<ear>();
      (*s)->listen(id, heard);
      for (int i = 0; i < 100; ++i) k.after(i * 1ms, [&, i] { (*s)->append(id, {one_record(i)}); });
      k.run_until(instant{k.between(1ms, 120ms)});
      told = heard->end;
      m.died();
      m.disk.cut_power(k.random(), 0.5);
      k.run_until(instant{200ms});  // while `s` is still there: its events must not run
    }
    m.born();
    auto again = simulated_store::open(k, m, {}, {});
    ASSERT_TRUE(again) << again.error().text;
    const auto id = (*again)->create({who}, store::durability::group)->front();
    const auto state = (*again)->state(id);
    ASSERT_TRUE(state);
    EXPECT_GE(state->end, told) << "seed " << seed;
    EXPECT_FALSE(state->damaged_from);
    auto read = (*again)->read(id, state->start, {state->end, 1 << 20, true}, {});
    ASSERT_TRUE(read && read->ok());
    EXPECT_EQ((*read)->next, state->end);
  }
}

}  // namespace
}  // namespace troupe::sim
