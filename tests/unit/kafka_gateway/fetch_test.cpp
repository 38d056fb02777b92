#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tests/unit/kafka_gateway/fixture.hpp"

namespace troupe::kafka {
namespace {

class Fetch : public GatewayTest {
protected:
  /// A file that the store might have.
  std::shared_ptr<const int> file_of(const std::vector<std::byte>& bytes) {
    char name[] = "/tmp/kafka_gateway_XXXXXX";
    const int fd = ::mkstemp(name);
    ::unlink(name);
    EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    return {new int{fd}, [](const int* p) {
              ::close(*p);
              delete p;
            }};
  }
  static const fetch_response::partition_data& only(const fetch_response& r) {
    return r.responses.at(0).partitions.at(0);
  }
};

TEST_F(Fetch, TellsThePartitionWhatIsAskedAndTheClientWhatIsThere) {
  add_topic("orders");
  start();
  auto c = connect();
  auto r = fetch_of("orders");
  r.isolation_level = 1;
  r.topics[0].partitions[0].fetch_offset = 17;
  r.topics[0].partitions[0].current_leader_epoch = 3;
  r.topics[0].partitions[0].last_fetched_epoch = 2;
  c.ask(r, 12);
  auto m = partition("orders").fetches.take();
  EXPECT_EQ(m.from, log_offset{17});
  EXPECT_EQ(m.bytes_max, 1u << 20);
  EXPECT_TRUE(m.at_least_one);
  EXPECT_EQ(m.current, leader_epoch{3});
  EXPECT_EQ(m.last_fetched, leader_epoch{2});
  EXPECT_TRUE(m.read_committed);
  EXPECT_FALSE(m.watch_until);
  const auto records = some_bytes(1000);
  m.answer(data(20, {in_memory(records)}));
  const auto told = c.hear<fetch_response>(12);
  EXPECT_EQ(told.error_code, 0);
  EXPECT_EQ(told.session_id, 0);
  EXPECT_EQ(told.responses.at(0).topic, "orders");
  const auto& p = only(told);
  EXPECT_EQ(p.high_watermark, 20);
  EXPECT_EQ(p.last_stable_offset, 20);
  EXPECT_EQ(p.log_start_offset, 0);
  EXPECT_EQ(p.preferred_read_replica, -1);
  ASSERT_TRUE(p.aborted_transactions);
  EXPECT_TRUE(p.aborted_transactions->empty());
  EXPECT_TRUE(std::ranges::equal(p.records.here, records));
}

TEST_F(Fetch, RecordsOfAllSizesComeFromMemoryAndFilesUnchanged) {
  add_topic("orders", 4);
  start();
  const auto bytes = some_bytes(3'000'000);
  const auto file = file_of(bytes);
  const auto stretch = [&](std::size_t from, std::size_t size) { return store::slice{file, from, size, {}}; };
  partition("orders", 0).on_fetch = [&](fetch& m) {
    m.answer(data(9, {stretch(0, 100), stretch(100, 2'500'000), stretch(2'500'100, 20'000)}));
  };
  partition("orders", 1).on_fetch = [&](fetch& m) { m.answer(data(0)); };
  partition("orders", 2).on_fetch = [&](fetch& m) {
    m.answer(data(9, {in_memory({bytes.begin(), bytes.begin() + 70'000}), stretch(70'000, 17'000)}));
  };
  partition("orders", 3).on_fetch = [&](fetch& m) { m.answer(data(9, {stretch(5, 1)})); };
  auto c = connect();
  for (int round = 0; round < 5; ++round) {
    const auto told = c.call<fetch_response>(fetch_of("orders", 4), 11);
    const auto& p = told.responses.at(0).partitions;
    const auto same = [&](byte_view got, std::size_t from, std::size_t size) {
      return std::ranges::equal(got, byte_view{bytes}.subspan(from, size));
    };
    EXPECT_TRUE(same(p.at(0).records.here, 0, 2'520'100));
    EXPECT_EQ(p.at(1).records.here.size(), 0u);
    EXPECT_TRUE(same(p.at(2).records.here, 0, 87'000));
    EXPECT_TRUE(same(p.at(3).records.here, 5, 1));
  }
}

TEST_F(Fetch, AnErrorIsToldAtOnceWithoutOffsets) {
  add_topic("orders", 2);
  start();
  auto c = connect();
  auto r = fetch_of("orders", 3, 60'000);
  r.topics[0].partitions[1].fetch_offset = 5;
  c.ask(r, 11);
  fetch::outcome refused;
  refused.refused = error{errc::offset_out_of_range, "gone"};
  partition("orders", 0).fetches.take().answer(refused);
  partition("orders", 1).fetches.take().answer(data(5));
  const auto told = c.hear<fetch_response>(11);
  const auto& p = told.responses.at(0).partitions;
  EXPECT_EQ(p.at(0).error_code, code::offset_out_of_range);
  EXPECT_EQ(p.at(0).high_watermark, -1);
  EXPECT_EQ(p.at(0).last_stable_offset, -1);
  EXPECT_EQ(p.at(0).log_start_offset, -1);
  EXPECT_EQ(p.at(0).records.here.size(), 0u);
  EXPECT_EQ(p.at(1).error_code, 0);
  EXPECT_EQ(p.at(1).high_watermark, 5);
  EXPECT_EQ(p.at(2).error_code, code::unknown_topic_or_partition);
}

TEST_F(Fetch, ADivergedReaderIsToldWhere) {
  add_topic("orders");
  start();
  auto c = connect();
  c.ask(fetch_of("orders", 1, 60'000), 12);
  auto diverged = data(5);
  diverged.diverging = {leader_epoch{1}, log_offset{3}};
  partition("orders").fetches.take().answer(diverged);
  const auto told = c.hear<fetch_response>(12);
  EXPECT_EQ(only(told).diverging_epoch.epoch, 1);
  EXPECT_EQ(only(told).diverging_epoch.end_offset, 3);
}

TEST_F(Fetch, WaitsForDataAndWakesUp) {
  add_topic("orders", 2);
  start();
  auto c = connect();
  c.ask(fetch_of("orders", 2, 60'000), 11);
  for (int i = 0; i < 2; ++i) partition("orders", i).fetches.take().answer(data(0));
  // Nothing there: both are asked again, and to say when there is more.
  auto first = partition("orders", 0).fetches.take();
  auto second = partition("orders", 1).fetches.take();
  ASSERT_TRUE(first.watch_until);
  EXPECT_GT(*first.watch_until - boot_clock::now(), 30s);
  first.answer(data(0));
  second.answer(data(0));
  EXPECT_FALSE(second.over->load());
  second.answer(data(1, {in_memory(some_bytes(50))}));
  const auto told = c.hear<fetch_response>(11);
  EXPECT_EQ(told.responses.at(0).partitions.at(0).records.here.size(), 0u);
  EXPECT_EQ(told.responses.at(0).partitions.at(1).records.here.size(), 50u);
  EXPECT_EQ(told.responses.at(0).partitions.at(1).high_watermark, 1);
  EXPECT_TRUE(first.over->load()) << "the other watch is of no use any more";
}

TEST_F(Fetch, WaitsUntilThereAreEnoughBytes) {
  add_topic("orders");
  start();
  auto c = connect();
  auto r = fetch_of("orders", 1, 60'000);
  r.min_bytes = 100;
  c.ask(r, 11);
  partition("orders").fetches.take().answer(data(1, {in_memory(some_bytes(40))}));
  auto m = partition("orders").fetches.take();
  m.answer(data(1, {in_memory(some_bytes(40))}));
  m.answer(data(2, {in_memory(some_bytes(80))}));
  m = partition("orders").fetches.take();  // still not enough: watched again
  m.answer(data(3, {in_memory(some_bytes(120))}));
  EXPECT_EQ(only(c.hear<fetch_response>(11)).records.here.size(), 120u);
}

TEST_F(Fetch, AnswersWithWhatIsThereWhenTimeIsUp) {
  add_topic("orders");
  start();
  auto c = connect();
  auto r = fetch_of("orders", 1, 30);
  r.min_bytes = 1000;
  c.ask(r, 11);
  partition("orders").fetches.take().answer(data(1, {in_memory(some_bytes(40))}));
  auto m = partition("orders").fetches.take();
  m.answer(data(1, {in_memory(some_bytes(40))}));
  EXPECT_EQ(only(c.hear<fetch_response>(11)).records.here.size(), 40u);
  EXPECT_TRUE(m.over->load());
  m.answer(data(2, {in_memory(some_bytes(80))}));  // too late, and no harm
  EXPECT_EQ(c.call<api_versions_response>(api_versions_request{}, 0).error_code, 0);
}

TEST_F(Fetch, ATopicThatGoesAwayWakesItsReaders) {
  add_topic("orders");
  start();
  auto c = connect();
  c.ask(fetch_of("orders", 1, 60'000), 11);
  partition("orders").fetches.take().answer(data(0));
  auto m = partition("orders").fetches.take();
  m.answer(data(0));
  fetch::outcome gone;
  gone.refused = error{errc::unknown_topic, "deleted"};
  m.answer(gone);
  EXPECT_EQ(only(c.hear<fetch_response>(11)).error_code, code::unknown_topic_or_partition);
}

TEST_F(Fetch, ABatchLargerThanAllLimitsGetsThrough) {
  add_topic("orders", 3);
  start();
  auto c = connect();
  auto r = fetch_of("orders", 3, 60'000);
  r.max_bytes = 1000;
  for (auto& p : r.topics[0].partitions) p.partition_max_bytes = 500;
  const auto big = some_bytes(5000);
  for (int i = 0; i < 3; ++i)
    partition("orders", i).on_fetch = [&, i](fetch& m) {
      if (i == 0) return m.answer(data(0));
      // A batch of 5000 bytes in the second, one of 400 in the third.
      if (i == 2) return m.answer(data(1, {in_memory({big.begin(), big.begin() + 400})}));
      m.answer(m.at_least_one ? data(1, {in_memory(big)}) : data(1));
    };
  c.ask(r, 11);
  const auto told = c.hear<fetch_response>(11);
  const auto& p = told.responses.at(0).partitions;
  EXPECT_EQ(p.at(1).records.here.size(), 5000u);
  EXPECT_EQ(p.at(2).records.here.size(), 0u) << "that is for the next request";
  EXPECT_EQ(p.at(2).high_watermark, 1);
}

TEST_F(Fetch, ReadsNoMorePartitionsThanFit) {
  add_topic("orders", 20);
  start();
  auto c = connect();
  auto r = fetch_of("orders", 20);
  r.max_bytes = 3 << 20;
  std::atomic<std::uint64_t> promised{0};
  for (int i = 0; i < 20; ++i)
    partition("orders", i).on_fetch = [&](fetch& m) {
      promised += m.bytes_max;
      m.answer(m.bytes_max == 0 ? data(1) : data(1, {in_memory(std::vector<std::byte>(m.bytes_max))}));
    };
  const auto told = c.call<fetch_response>(r, 11);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(told.responses[0].partitions.at(i).records.here.size(), i < 3 ? 1u << 20 : 0u);
    EXPECT_EQ(told.responses[0].partitions.at(i).high_watermark, 1);
  }
  EXPECT_EQ(promised.load(), 3u << 20);
}

TEST_F(Fetch, ManyEmptyPartitionsAreAskedInFewWaves) {
  add_topic("orders", 100);
  start();
  auto c = connect();
  auto r = fetch_of("orders", 100, 60'000);
  r.max_bytes = 1 << 20;
  c.ask(r, 11);
  // Each reaches four times as far as the one before, as long as nothing is found. They come without an answer to any
  // of the same wave.
  int next = 0;
  for (const int wave : {1, 4, 16, 64, 15}) {
    std::vector<fetch> came;
    for (; came.size() < static_cast<std::size_t>(wave); ++next)
      came.push_back(partition("orders", next).fetches.take());
    if (next < 100) {
      EXPECT_EQ(partition("orders", next).fetches.size(), 0u);
    }
    for (auto& m : came) m.answer(&m == &came.back() && next == 100 ? data(1, {in_memory(some_bytes(10))}) : data(0));
  }
  EXPECT_EQ(c.hear<fetch_response>(11).responses.at(0).partitions.at(99).records.here.size(), 10u);
}

TEST_F(Fetch, NothingAskedIsAnsweredAtOnce) {
  start();
  auto c = connect();
  auto r = fetch_of("orders", 0, 60'000);
  r.topics.clear();
  EXPECT_TRUE(c.call<fetch_response>(r, 11).responses.empty());
}

TEST_F(Fetch, ThereAreNoSessions) {
  add_topic("orders");
  start();
  partition("orders").on_fetch = [](fetch& m) { m.answer(data(0)); };
  auto c = connect();
  auto r = fetch_of("orders");
  r.session_id = 0;
  r.session_epoch = 0;  // wants one
  auto told = c.call<fetch_response>(r, 11);
  EXPECT_EQ(told.session_id, 0);
  EXPECT_EQ(told.responses.size(), 1u);
  r.session_id = 77;
  r.session_epoch = 1;  // goes on with one that we never gave
  told = c.call<fetch_response>(r, 11);
  EXPECT_EQ(told.error_code, code::fetch_session_id_not_found);
  EXPECT_TRUE(told.responses.empty());
}

TEST_F(Fetch, WhoDisconnectsWaitsNoLonger) {
  add_topic("orders");
  start();
  auto c = connect();
  c.ask(fetch_of("orders", 1, 60'000), 11);
  partition("orders").fetches.take().answer(data(0));
  auto m = partition("orders").fetches.take();
  m.answer(data(0));
  c.close();
  EXPECT_TRUE(until("troupe_kafka_connections", [](double n) { return n == 0; }));
  EXPECT_TRUE(m.over->load());
  m.answer(data(1, {in_memory(some_bytes(10))}));
}

TEST_F(Fetch, AnswersWaitingReadersWhenTheNodeStops) {
  add_topic("orders");
  start();
  auto c = connect();
  c.ask(fetch_of("orders", 1, 60'000), 11);
  partition("orders").fetches.take().answer(data(0));
  partition("orders").fetches.take().answer(data(0));
  const auto before = std::chrono::steady_clock::now();
  gateway->stop(20s);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
  EXPECT_EQ(only(c.hear<fetch_response>(11)).high_watermark, 0);
  EXPECT_TRUE(c.closed());
}

}  // namespace
}  // namespace troupe::kafka
