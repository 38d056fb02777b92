#include "actors/partition/partition_actor.hpp"

#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <future>
#include <thread>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/random.hpp"
#include "runtime/observe/metrics.hpp"
#include "tests/support/scratch.hpp"
#include "tests/unit/partition/batches.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using namespace testing_batches;

constexpr auto patience = 20s;

std::int64_t now_ms() {
  return wall_now().time_since_epoch().count();
}

/// A real actor over a real store in a directory of its own.
struct PartitionActor : testing::Test {
  test::scratch_directory scratch;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<store::log_store> disk;
  log_id log{};
  caf::actor partition;
  observe::metrics metrics;
  std::shared_ptr<const partition_metrics> counters = std::make_shared<partition_metrics>(metrics);
  std::shared_ptr<replica_home> home = std::make_shared<replica_home>();
  topic_settings settings;
  store::durability durability{store::durability::group};
  std::chrono::milliseconds retention_interval{10s};
  int epoch{0};
  std::uint64_t hot_bytes{0};

  PartitionActor() {
    config.set("scheduler.max-threads", 2);
    home->self = {node_id{1}, 7};
    home->lease_end = instant::max();
    system = std::make_unique<caf::actor_system>(config);
    open();
  }
  ~PartitionActor() override {
    stop();
    close();
    system.reset();
  }

  void open() {
    store::options options;
    options.lanes = 1;
    options.reserve_bytes = 1;
    options.hot_bytes = hot_bytes;
    auto opened = store::log_store::open(scratch.path() / "log", options, [](const store::notice&) {});
    ASSERT_TRUE(opened) << opened.error().text;
    disk = std::move(*opened);
    const auto ids = disk->create({{uuid{{1}}, partition_index{0}, 1}}, durability);
    ASSERT_TRUE(ids);
    log = ids->front();
  }
  void close() {
    if (!disk) return;
    disk->close();
    disk.reset();
  }
  static assignment sole_leader(int epoch) {
    assignment a;
    a.state.replicas = {{node_id{1}, 1}};
    a.state.isr = {node_id{1}};
    a.state.leader = node_id{1};
    a.state.epoch = leader_epoch{epoch};
    a.state.partition_epoch = epoch;
    a.node_epochs = {{node_id{1}, 7}};
    return a;
  }
  caf::actor& start(log_id which) {
    partition_setup setup;
    setup.topic = "orders";
    setup.seat = {uuid{{1}}, partition_index{0}, 1};
    setup.log = which;
    setup.settings = settings;
    setup.first = sole_leader(++epoch);
    setup.store = disk;
    setup.home = home;
    setup.metrics = counters;
    setup.retention_interval = retention_interval;
    setup.mark_interval = 20ms;
    return partition = spawn_partition(*system, std::move(setup));
  }
  caf::actor& start() { return start(log); }
  void wait_for_end() {
    caf::scoped_actor self{*system};
    self->wait_for(partition);
    partition = nullptr;
  }
  void stop() {
    if (!partition) return;
    auto stopped = std::make_shared<std::promise<void>>();
    auto when = stopped->get_future();
    caf::anon_send(partition, stop_partition{[stopped] { stopped->set_value(); }});
    ASSERT_EQ(when.wait_for(patience), std::future_status::ready) << "did not stop";
    wait_for_end();
  }
  /// As after kill -9: no mark, no last word.
  void kill() {
    caf::anon_send_exit(partition, caf::exit_reason::kill);
    wait_for_end();
  }
  void restart() {
    stop();
    close();
    open();
    start();
  }

  template <class Outcome, class Message>
  std::future<Outcome> send(Message m) {
    auto answer = std::make_shared<std::promise<Outcome>>();
    auto future = answer->get_future();
    m.answer = [answer](Outcome out) { answer->set_value(std::move(out)); };
    caf::anon_send(partition, std::move(m));
    return future;
  }
  template <class Outcome>
  Outcome get(std::future<Outcome> future) {
    if (future.wait_for(patience) != std::future_status::ready) throw std::runtime_error{"no answer"};
    return future.get();
  }
  std::future<produce::outcome> sent(const buffer& batch, std::int16_t acks = -1) {
    produce m;
    m.records = own(batch);
    m.acks = acks;
    m.deadline = boot_clock::now() + patience;
    return send<produce::outcome>(std::move(m));
  }
  produce::outcome append(const buffer& batch, std::int16_t acks = -1) { return get(sent(batch, acks)); }
  fetch::outcome read(std::int64_t from, std::uint64_t bytes_max = 1 << 20, bool leader_only = true) {
    fetch m;
    m.from = log_offset{from};
    m.bytes_max = bytes_max;
    m.leader_only = leader_only;
    return get(send<fetch::outcome>(std::move(m)));
  }
  list_offsets::outcome list(std::int64_t timestamp) {
    list_offsets m;
    m.timestamp = timestamp;
    return get(send<list_offsets::outcome>(std::move(m)));
  }
  static buffer bytes_of(const fetch::outcome& out) {
    buffer all;
    for (const auto& slice : out.slices) testing_batches::append(all, slice.load().value());
    return all;
  }
  static test_batch numbered(std::int32_t sequence, int count = 1) {
    return {.records = std::vector<test_record>(static_cast<std::size_t>(count), {.timestamp = now_ms()}),
            .producer = 42,
            .producer_epoch = 0,
            .sequence = sequence};
  }
};

TEST_F(PartitionActor, StoresAndServesTheBytesThatCame) {
  start();
  buffer expected;
  std::int64_t next = 0;
  for (const auto codec :
       {compression::none, compression::gzip, compression::snappy, compression::lz4, compression::zstd}) {
    for (const std::int16_t acks : {0, 1, -1}) {
      test_batch b{.records = {{.timestamp = now_ms(), .value = "a"}, {.timestamp = now_ms(), .value = "b"}},
                   .codec = codec};
      auto bytes = b.build();
      const auto out = append(bytes, acks);
      ASSERT_FALSE(out.refused) << out.refused->text;
      EXPECT_EQ(out.base, log_offset{next});
      stamp_batch(bytes, log_offset{next}, leader_epoch{1});
      testing_batches::append(expected, bytes);
      next += 2;
    }
  }
  const auto out = read(0);
  ASSERT_FALSE(out.refused);
  EXPECT_EQ(out.high_watermark, log_offset{next});
  EXPECT_EQ(out.log_start, log_offset{0});
  EXPECT_EQ(out.bytes, expected.size());
  EXPECT_EQ(bytes_of(out), expected);
  // In the middle of a batch: that batch whole; at the end: nothing; beyond: an error.
  EXPECT_EQ(batch_header{bytes_of(read(3))}.base(), log_offset{2});
  EXPECT_EQ(read(next).bytes, 0u);
  EXPECT_FALSE(read(next).refused);
  EXPECT_EQ(read(next + 1).refused->code, errc::offset_out_of_range);
  // The first batch comes whatever the limit.
  EXPECT_GT(read(0, 1).bytes, 1u);
}

TEST_F(PartitionActor, GoesOnAfterAnOrderlyStopAndKnowsItsProducers) {
  start();
  for (int i = 0; i < 7; ++i) ASSERT_FALSE(append(numbered(i)).refused);
  restart();
  const auto duplicate = append(numbered(6));
  ASSERT_FALSE(duplicate.refused) << duplicate.refused->text;
  EXPECT_EQ(duplicate.base, log_offset{6});
  EXPECT_EQ(append(numbered(9)).refused->code, errc::out_of_order_sequence);
  const auto next = append(numbered(7));
  EXPECT_EQ(next.base, log_offset{7});
  EXPECT_EQ(next.epoch, leader_epoch{2});
  EXPECT_EQ(list(list_offsets::latest).offset, log_offset{8});
  EXPECT_EQ(batch_header{bytes_of(read(7))}.epoch(), leader_epoch{2});
}

TEST_F(PartitionActor, RebuildsItsProducersFromTheLogWhenThereIsNoMark) {
  start();
  for (int i = 0; i < 30; ++i) ASSERT_FALSE(append(numbered(3 * i, 3)).refused);
  kill();
  close();
  open();
  start();
  EXPECT_EQ(append(numbered(87, 3)).base, log_offset{87});
  EXPECT_EQ(append(numbered(75, 3)).base, log_offset{75});
  EXPECT_EQ(append(numbered(90, 3)).base, log_offset{90});
}

TEST_F(PartitionActor, AnswersWatchersASecondTimeWithWhatIsNew) {
  start();
  append(numbered(0));
  struct answers {
    std::promise<fetch::outcome> first, second;
    int count{0};
  };
  auto got = std::make_shared<answers>();
  fetch m;
  m.from = log_offset{1};
  m.watch_until = boot_clock::now() + patience;
  m.answer = [got](fetch::outcome out) { (got->count++ == 0 ? got->first : got->second).set_value(std::move(out)); };
  caf::anon_send(partition, std::move(m));
  const auto first = get(got->first.get_future());
  EXPECT_EQ(first.bytes, 0u);
  EXPECT_EQ(first.high_watermark, log_offset{1});
  append(numbered(1));
  const auto second = get(got->second.get_future());
  EXPECT_EQ(second.high_watermark, log_offset{2});
  EXPECT_EQ(batch_header{bytes_of(second)}.base(), log_offset{1});
}

TEST_F(PartitionActor, TellsEveryoneThatTheTopicIsGoneAndEnds) {
  start();
  append(numbered(0));
  struct answers {
    std::promise<void> first;
    std::promise<fetch::outcome> second;
    int count{0};
  };
  auto got = std::make_shared<answers>();
  fetch m;
  m.from = log_offset{1};
  m.watch_until = boot_clock::now() + patience;
  m.answer = [got](fetch::outcome out) {
    if (got->count++ == 0)
      got->first.set_value();
    else
      got->second.set_value(std::move(out));
  };
  caf::anon_send(partition, std::move(m));
  got->first.get_future().wait();
  caf::anon_send(partition, retire{{errc::unknown_topic, "the topic was deleted"}});
  EXPECT_EQ(get(got->second.get_future()).refused->code, errc::unknown_topic);
  EXPECT_EQ(append(numbered(1)).refused->code, errc::unknown_topic);
  EXPECT_EQ(read(0).refused->code, errc::unknown_topic);
  EXPECT_EQ(list(0).refused->code, errc::unknown_topic);
  ASSERT_TRUE(disk->drop({log}));
  wait_for_end();
}

TEST_F(PartitionActor, FindsRecordsByTimeInsideCompressedBatches) {
  start();
  const auto base = now_ms() - 100'000;
  for (int i = 0; i < 20; ++i) {
    test_batch b{.codec = i % 2 == 0 ? compression::gzip : compression::none};
    b.records.clear();
    for (int n = 0; n < 10; ++n) b.records.push_back({.timestamp = base + i * 1000 + n * 100});
    ASSERT_FALSE(append(b).refused);
  }
  EXPECT_EQ(list(base + 5000).offset, log_offset{50});
  EXPECT_EQ(list(base + 5001).offset, log_offset{51});
  EXPECT_EQ(list(base + 5001).timestamp, base + 5100);
  EXPECT_EQ(list(base + 5001).epoch, leader_epoch{1});
  EXPECT_EQ(list(0).offset, log_offset{0});
  EXPECT_EQ(list(base + 20'000).offset, log_offset{-1});
  EXPECT_EQ(list(base + 20'000).timestamp, -1);
  EXPECT_EQ(list(list_offsets::max_timestamp).offset, log_offset{199});
  restart();
  EXPECT_EQ(list(base + 5001).offset, log_offset{51});
  // What is deleted is not found any more.
  delete_records m;
  m.before = log_offset{55};
  EXPECT_EQ(get(send<delete_records::outcome>(std::move(m))).low_watermark, log_offset{55});
  EXPECT_EQ(list(0).offset, log_offset{55});
  EXPECT_EQ(list(base + 5001).offset, log_offset{55});
  EXPECT_EQ(list(list_offsets::max_timestamp).offset, log_offset{199});
}

TEST_F(PartitionActor, ServesWhatIsNoLongerInReachThroughTheReaderThreads) {
  start();
  for (int i = 0; i < 10; ++i) append(numbered(i));
  const auto expected = bytes_of(read(0));
  hot_bytes = 1;
  restart();
  EXPECT_EQ(bytes_of(read(0)), expected);
  EXPECT_EQ(bytes_of(read(9)).size(), expected.size() / 10);
  EXPECT_GE(disk->stats().cold_reads, 2u);
}

TEST_F(PartitionActor, DeletesRecordsForGood) {
  start();
  for (int i = 0; i < 5; ++i) append(numbered(2 * i, 2));
  auto remove = [&](std::int64_t before) {
    delete_records m;
    m.before = log_offset{before};
    return get(send<delete_records::outcome>(std::move(m)));
  };
  EXPECT_EQ(remove(11).refused->code, errc::offset_out_of_range);
  EXPECT_EQ(remove(5).low_watermark, log_offset{5});
  EXPECT_EQ(read(4).refused->code, errc::offset_out_of_range);
  EXPECT_EQ(batch_header{bytes_of(read(5))}.base(), log_offset{4});  // the batch is served whole
  restart();
  EXPECT_EQ(list(list_offsets::earliest).offset, log_offset{5});
  EXPECT_EQ(remove(-1).low_watermark, log_offset{10});
  EXPECT_EQ(remove(3).low_watermark, log_offset{10});
  EXPECT_EQ(read(10).bytes, 0u);
  EXPECT_FALSE(read(10).refused);
  // The producer lives on though its batches are gone.
  EXPECT_EQ(append(numbered(8, 2)).base, log_offset{8});
  EXPECT_EQ(append(numbered(10)).base, log_offset{10});
}

TEST_F(PartitionActor, DropsWhatIsTooOld) {
  settings.retention = 24h;
  retention_interval = 5ms;
  start();
  test_batch old{.records = {{.timestamp = now_ms() - 48 * 3'600'000}}};
  ASSERT_FALSE(append(old).refused);
  ASSERT_FALSE(append(old).refused);
  append(numbered(0));
  const auto until = boot_clock::now() + patience;
  while (list(list_offsets::earliest).offset != log_offset{2}) ASSERT_LT(boot_clock::now(), until);
  EXPECT_EQ(list(list_offsets::latest).offset, log_offset{3});
}

TEST_F(PartitionActor, AFollowerServesReadersWhileItsNodeHasItsLease) {
  home->send_fetch = [](node_id, const replica_fetch&) {};
  home->out_of_reach = [](const partition_ref&, std::optional<node_id>) {};
  start();
  ASSERT_FALSE(append(numbered(0)).refused);
  auto other = sole_leader(++epoch);
  other.state.replicas.push_back({node_id{2}, 1});
  other.state.isr = {node_id{1}, node_id{2}};
  other.state.leader = node_id{2};
  other.node_epochs[node_id{2}] = 9;
  caf::anon_send(partition, reassigned{other, {}, {}});

  EXPECT_EQ(read(0).refused->code, errc::not_leader);
  const auto out = read(0, 1 << 20, false);
  ASSERT_FALSE(out.refused) << out.refused->text;
  EXPECT_EQ(out.high_watermark, log_offset{1});
  EXPECT_GT(out.bytes, 0u);
  EXPECT_EQ(read(2, 1 << 20, false).refused->code, errc::offset_not_available);

  home->lease_end = boot_clock::now();
  EXPECT_EQ(read(0, 1 << 20, false).refused->code, errc::not_leader);
  home->lease_end = instant::max();
  EXPECT_FALSE(read(0, 1 << 20, false).refused);
}

TEST_F(PartitionActor, ALeaderWithoutALeaseKeepsNoReaders) {
  start();
  ASSERT_FALSE(append(numbered(0)).refused);
  home->lease_end = boot_clock::now();
  EXPECT_EQ(read(0).refused->code, errc::not_leader);
  EXPECT_EQ(read(0, 1 << 20, false).refused->code, errc::not_leader);
  EXPECT_EQ(list(list_offsets::latest).refused->code, errc::not_leader);
  home->lease_end = instant::max();
  EXPECT_EQ(read(0).high_watermark, log_offset{1});
}

TEST_F(PartitionActor, TakesNewSettings) {
  start();
  settings.message_bytes_max = 60;
  caf::anon_send(partition, reassigned{sole_leader(epoch), settings, {}});
  EXPECT_EQ(append(numbered(0)).refused->code, errc::message_too_large);
}

TEST_F(PartitionActor, WithoutALogSaysSo) {
  start(log_id{4711});
  EXPECT_TRUE(append(numbered(0)).refused);
  EXPECT_TRUE(read(0).refused);
}

TEST_F(PartitionActor, AnswersWhatWasSentBeforeItWasReadyAndBeforeItStopped) {
  start();
  std::vector<std::future<produce::outcome>> answers;
  for (int i = 0; i < 200; ++i) answers.push_back(sent(numbered(i)));
  stop();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(get(std::move(answers[static_cast<std::size_t>(i)])).base, log_offset{i});
  start();
  EXPECT_EQ(append(numbered(199)).base, log_offset{199});
}

TEST_F(PartitionActor, KeepsTheOrderOfEachCallerUnderLoad) {
  durability = store::durability::interval;
  start();
  constexpr int callers = 3, each = 1000;
  std::vector<std::vector<std::future<produce::outcome>>> answers(callers);
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; ++c)
    threads.emplace_back([&, c] {
      for (int i = 0; i < each; ++i)
        answers[static_cast<std::size_t>(c)].push_back(
            sent(test_batch{.records = {{.timestamp = now_ms(), .key = std::to_string(c), .value = std::to_string(i)}},
                            .producer = c,
                            .producer_epoch = 0,
                            .sequence = i},
                 static_cast<std::int16_t>(c - 1)));
    });
  for (auto& t : threads) t.join();
  std::vector<std::int64_t> places;
  for (auto& mine : answers) {
    std::int64_t last = -1;
    for (auto& a : mine) {
      const auto out = get(std::move(a));
      ASSERT_FALSE(out.refused) << out.refused->text;
      ASSERT_GT(out.base.value(), last);
      places.push_back(last = out.base.value());
    }
  }
  std::sort(places.begin(), places.end());
  for (int i = 0; i < callers * each; ++i) ASSERT_EQ(places[static_cast<std::size_t>(i)], i);

  std::int64_t next = 0;
  const auto until = boot_clock::now() + patience;
  while (next < callers * each) {
    ASSERT_LT(boot_clock::now(), until);
    const auto all = bytes_of(read(next, 10'000));
    for (std::size_t at = 0; at < all.size(); at += batch_header{byte_view{all}.subspan(at)}.size()) {
      ASSERT_EQ(batch_header{byte_view{all}.subspan(at)}.base(), log_offset{next});
      ++next;
    }
  }
}

}  // namespace
}  // namespace troupe
