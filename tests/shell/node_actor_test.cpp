#include "actors/node/node_actor.hpp"

#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>

#include "actors/partition/partition_actor.hpp"
#include "tests/support/scratch.hpp"

/// A node's actor, alone in its cluster, between a store that only keeps its catalogue and partitions that only take
/// notes. What happened is one list of words, in the order in which it happened.
namespace troupe {

namespace {

struct diary {
  std::mutex lock;
  std::condition_variable written;
  std::vector<std::string> lines;
  std::vector<partition_setup> spawned;
  std::vector<caf::actor> actors;
  std::shared_future<void> may_end;  ///< where set, partitions that are told to stop wait for it

  void write(std::string line) {
    std::lock_guard guard{lock};
    lines.push_back(std::move(line));
    written.notify_all();
  }
  void wait_for_a_line() {
    std::unique_lock guard{lock};
    EXPECT_TRUE(written.wait_for(guard, std::chrono::seconds{10}, [&] { return !lines.empty(); }));
  }
  std::vector<std::string> take() {
    std::lock_guard guard{lock};
    return std::exchange(lines, {});
  }
} notes;

class catalogue final : public store::log_store {
public:
  std::map<std::uint32_t, store::log_info> known;
  std::optional<error> refuse;

  result<std::vector<log_id>> create(const std::vector<store::log_identity>& wanted, store::durability level) override {
    if (refuse) return *refuse;
    notes.write("create " + std::to_string(wanted.size()));
    std::vector<log_id> ids;
    for (const auto& identity : wanted) {
      const auto same = [&](const auto& k) { return k.second.identity == identity; };
      auto at = std::ranges::find_if(known, same);
      if (at == known.end()) {
        const auto id = next_++;
        at = known.emplace(id, store::log_info{log_id{id}, identity, level}).first;
      }
      ids.push_back(at->second.id);
    }
    return ids;
  }
  result<void> drop(const std::vector<log_id>& gone) override {
    for (auto id : gone) known.erase(id.value());
    notes.write("drop " + std::to_string(gone.size()));
    return {};
  }
  std::vector<store::log_info> logs() const override {
    std::vector<store::log_info> all;
    for (const auto& [id, info] : known) all.push_back(info);
    return all;
  }

  void listen(log_id, std::shared_ptr<store::log_listener>) override {}
  void append(log_id, std::vector<store::batch>) override {}
  bool crowded(log_id) const override { return false; }
  void truncate(log_id, log_offset, done) override {}
  void trim(log_id, log_offset, done) override {}
  void restart_at(log_id, log_offset, done) override {}
  void put_mark(log_id, store::mark, done) override {}
  std::optional<result<store::read_result>> read(log_id, log_offset, const store::read_limits&, read_done) override {
    return std::nullopt;
  }
  result<std::optional<store::time_hit>> find_time(log_id, std::int64_t, log_offset, log_offset) override {
    return std::optional<store::time_hit>{};
  }
  result<std::optional<store::time_hit>> latest_time(log_id, log_offset) override {
    return std::optional<store::time_hit>{};
  }
  void run_blocking(std::function<void()> work) override { work(); }
  result<store::log_state> state(log_id) const override { return store::log_state{}; }
  std::vector<store::extent> extents(log_id) const override { return {}; }
  void clean() override {}
  store::statistics stats() const override { return {}; }
  bool full() const override { return false; }
  void close() override {}

private:
  std::uint32_t next_{1};
};

}  // namespace

partition_metrics::partition_metrics(observe::metrics& m)
    : batches{m.counter("a", "")},
      records{m.counter("b", "")},
      bytes{m.counter("c", "")},
      duplicates{m.counter("d", "")},
      refused{m.counter("e", "")},
      fetches{m.counter("f", "")},
      fetched_bytes{m.counter("g", "")} {}

/// Stands for actors/partition: an actor that says what it was told.
caf::actor spawn_partition(caf::actor_system& system, partition_setup setup) {
  const auto name = setup.topic + "/" + std::to_string(setup.seat.partition.value());
  auto actor = system.spawn([name](caf::event_based_actor* self) -> caf::behavior {
    return {[=](const reassigned& m) {
              if (m.settings) notes.write("reconfigure " + name + " " + std::to_string(m.settings->message_bytes_max));
            },
            [=](retire) {
              notes.write("retire " + name);
              self->quit();
            },
            [=](stop_partition) {
              notes.write("stop " + name);
              if (notes.may_end.valid()) notes.may_end.wait();
              self->quit();
            }};
  });
  notes.write("spawn " + name);
  std::lock_guard guard{notes.lock};
  notes.spawned.push_back(std::move(setup));
  notes.actors.push_back(actor);
  return actor;
}

namespace {

using lines = std::vector<std::string>;

class NodeActor : public ::testing::Test {
protected:
  test::scratch_directory directory;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> actors;
  std::shared_ptr<catalogue> store = std::make_shared<catalogue>();
  std::shared_ptr<cluster_directory> cluster = std::make_shared<cluster_directory>();
  observe::metrics metrics;
  caf::actor controller;
  const uuid disk = uuid::random();
  std::uint16_t port{9092};
  setting_map topic_defaults;

  NodeActor() {
    config.set("scheduler.max-threads", std::size_t{2});
    actors = std::make_unique<caf::actor_system>(config);
    notes.lines.clear();
    notes.spawned.clear();
    notes.actors.clear();
    notes.may_end = {};
  }
  ~NodeActor() override {
    stop();
    notes.spawned.clear();
    notes.actors.clear();
    actors.reset();
  }

  result<void> start() {
    auto ready = std::make_shared<std::promise<result<void>>>();
    node_setup setup;
    setup.self.node = node_id{1};
    setup.self.disk = disk;
    setup.self.kafka = {"localhost", port};
    setup.defaults.topic_overrides = topic_defaults;
    setup.metadata_directory = directory.path() / "metadata";
    setup.store = store;
    setup.directory = cluster;
    setup.metrics = &metrics;
    setup.ready = [ready](result<void> r) { ready->set_value(std::move(r)); };
    setup.failed = [](const error& why) { notes.write("failed " + why.text); };
    controller = spawn_node(*actors, std::move(setup));
    return ready->get_future().get();
  }
  void begin() {
    auto started = start();
    ASSERT_TRUE(started.ok()) << started.error().text;
  }
  std::future<void> begin_to_stop() {
    auto stopped = std::make_shared<std::promise<void>>();
    caf::anon_send(controller, stop_request{{}, [stopped] { stopped->set_value(); }});
    return stopped->get_future();
  }
  void stop() {
    if (!controller) return;
    begin_to_stop().get();
    controller = {};
  }

  /// Sends a request whose answer is the decisions.
  template <class Request>
  std::vector<decision> ask(Request request) {
    auto answer = std::make_shared<std::promise<std::vector<decision>>>();
    request.answer = [answer](std::vector<decision> d) { answer->set_value(std::move(d)); };
    caf::anon_send(controller, std::move(request));
    return answer->get_future().get();
  }
  std::vector<decision> create(std::vector<new_topic> topics) {
    return ask(create_topics_request{std::move(topics), false, {}});
  }
  result<producer_id> new_producer() {
    auto answer = std::make_shared<std::promise<result<producer_id>>>();
    caf::anon_send(controller,
                   producer_id_request{[answer](result<producer_id> r) { answer->set_value(std::move(r)); }});
    return answer->get_future().get();
  }
  /// Waits until the diary holds all of `wanted`; returns what it holds then.
  lines until(const std::set<std::string>& wanted) {
    lines seen;
    const auto complete = [&] {
      return std::ranges::all_of(wanted, [&](const auto& w) { return std::ranges::find(seen, w) != seen.end(); });
    };
    while (!complete() && !::testing::Test::HasFailure()) {
      notes.wait_for_a_line();
      for (auto& l : notes.take()) seen.push_back(std::move(l));
    }
    EXPECT_TRUE(complete()) << "never saw all of: " << caf::deep_to_string(lines{wanted.begin(), wanted.end()});
    return seen;
  }
};

TEST_F(NodeActor, AnEmptyStoreBecomesAClusterOfOneNode) {
  begin();
  const auto image = cluster->view()->image;
  EXPECT_EQ(image->cluster_id.size(), 22u);
  ASSERT_EQ(image->nodes.size(), 1u);
  EXPECT_EQ(image->nodes.at(node_id{1}).kafka, (endpoint{"localhost", 9092}));
}

TEST_F(NodeActor, OneRequestIsOneCreateAndTheViewKnowsBeforeTheAnswer) {
  begin();
  auto decisions = create({{.name = "a", .partitions = 2}, {.name = "b", .partitions = 1}, {.name = "no good"}});
  const auto view = cluster->view();
  EXPECT_EQ(notes.take(), (lines{"create 3", "spawn a/0", "spawn a/1", "spawn b/0"}));
  ASSERT_EQ(decisions.size(), 3u);
  EXPECT_EQ(decisions[0].now, view->image->find("a"));
  EXPECT_EQ(decisions[2].refused->code, errc::invalid_topic);
  EXPECT_TRUE(view->partition("a", partition_index{1}));
  EXPECT_TRUE(view->partition("b", partition_index{0}));
  EXPECT_FALSE(view->partition("b", partition_index{1}));
  EXPECT_FALSE(view->partition("b", partition_index{-1}));
  EXPECT_FALSE(view->partition("c", partition_index{0}));
  EXPECT_EQ(view->routes.at("a")->id, view->image->find("a")->id);
}

TEST_F(NodeActor, WhatIsOnlyValidatedStartsNothing) {
  begin();
  auto decisions = ask(create_topics_request{{{.name = "a", .partitions = 2}}, true, {}});
  EXPECT_EQ(decisions[0].now->partitions.size(), 2u);
  EXPECT_TRUE(cluster->view()->image->topics.empty());
  EXPECT_EQ(notes.take(), lines{});
}

TEST_F(NodeActor, ADeletedTopicsLogsGoAfterItsActorsHaveEnded) {
  begin();
  create({{.name = "a", .partitions = 2}, {.name = "b"}});
  notes.take();
  auto decisions = ask(delete_topics_request{{{"a", {}}}, {}});
  EXPECT_FALSE(decisions[0].refused);
  EXPECT_EQ(decisions[0].now, nullptr);
  EXPECT_FALSE(cluster->view()->partition("a", partition_index{0}));
  EXPECT_TRUE(cluster->view()->partition("b", partition_index{0}));
  auto seen = until({"drop 2"});
  EXPECT_EQ(seen.back(), "drop 2");
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}),
            (std::set<std::string>{"retire a/0", "retire a/1", "drop 2"}));
  EXPECT_EQ(store->known.size(), 1u);
}

TEST_F(NodeActor, ARecreatedTopicHasNewLogsAndAHigherEpoch) {
  begin();
  create({{.name = "a"}});
  ask(delete_topics_request{{{"a", {}}}, {}});
  create({{.name = "a"}});
  ASSERT_EQ(notes.spawned.size(), 2u);
  EXPECT_NE(notes.spawned[0].log, notes.spawned[1].log);
  EXPECT_EQ(notes.spawned[1].first.state.epoch, leader_epoch{1});
}

TEST_F(NodeActor, AGrownTopicKeepsItsPartitionsAndGetsMore) {
  begin();
  create({{.name = "a"}});
  const auto first = cluster->view()->partition("a", partition_index{0});
  notes.take();
  auto decisions = ask(create_partitions_request{{{"a", 3, {}}}, false, {}});
  EXPECT_EQ(decisions[0].now->partitions.size(), 3u);
  EXPECT_EQ(notes.take(), (lines{"create 2", "spawn a/1", "spawn a/2"}));
  EXPECT_EQ(cluster->view()->partition("a", partition_index{0}), first);
  EXPECT_TRUE(cluster->view()->partition("a", partition_index{2}));
}

TEST_F(NodeActor, PartitionsHearOfNewSettingsOnlyWhenTheyChange) {
  topic_defaults = {{"max.message.bytes", "77"}};
  begin();
  create({{.name = "a", .partitions = 2}, {.name = "b"}});
  EXPECT_EQ(notes.spawned[0].settings.message_bytes_max, 77);
  notes.take();
  ask(alter_configs_request{{{"a", {{.name = "max.message.bytes", .value = "77"}}}}, false, {}});  // as it was
  ask(alter_configs_request{{{"a", {{.name = "max.message.bytes", .value = "99"}}}}, false, {}});
  auto seen = until({"reconfigure a/0 99", "reconfigure a/1 99"});
  EXPECT_EQ(seen.size(), 2u) << "nothing is said when nothing changes";
  ask(alter_configs_request{
      {{"a", {{.name = "max.message.bytes", .op = setting_change::operation::remove, .value = {}}}}}, false, {}});
  seen = until({"reconfigure a/0 77", "reconfigure a/1 77"});
  EXPECT_EQ(seen.size(), 2u);
  stop();  // what was sent to another topic would come before its end
  seen = notes.take();
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}),
            (std::set<std::string>{"stop a/0", "stop a/1", "stop b/0"}));
}

TEST_F(NodeActor, ARestartBringsBackEveryPartitionOnItsLogAndDropsWhatNobodyOwns) {
  begin();
  create({{.name = "a", .partitions = 2}, {.name = "b", .overrides = {{"durability", "interval"}}}});
  std::map<std::string, log_id> logs;
  for (const auto& s : notes.spawned) logs[s.topic + std::to_string(s.seat.partition.value())] = s.log;
  const auto id = cluster->view()->image->cluster_id;
  notes.take();
  stop();
  auto seen = notes.take();
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}),
            (std::set<std::string>{"stop a/0", "stop a/1", "stop b/0"}));

  store->create({{uuid::random(), partition_index{0}, 0}}, store::durability::group).value();
  notes.take();
  notes.spawned.clear();
  port = 9093;
  begin();
  until({"drop 1"});  // once the metadata is newer than this life
  for (const auto& s : notes.spawned) EXPECT_EQ(s.log, logs.at(s.topic + std::to_string(s.seat.partition.value())));
  EXPECT_EQ(notes.spawned.size(), 3u);
  EXPECT_EQ(store->known.size(), 3u);
  EXPECT_EQ(store->known.at(logs.at("b0").value()).level, store::durability::interval);
  const auto image = cluster->view()->image;
  EXPECT_EQ(image->cluster_id, id);
  EXPECT_EQ(image->nodes.at(node_id{1}).kafka.port, 9093);
}

TEST_F(NodeActor, LogsWithoutMetadataAreNotTouched) {
  store->create({{uuid::random(), partition_index{0}, 0}}, store::durability::group).value();
  auto started = start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.code(), errc::wrong_format);
  EXPECT_EQ(store->known.size(), 1u);
  // Whoever asks nevertheless hears why.
  EXPECT_EQ(create({{.name = "a"}})[0].refused->code, errc::wrong_format);
  EXPECT_EQ(new_producer().code(), errc::wrong_format);
}

TEST_F(NodeActor, ProducerIdsAreNeverGivenTwiceAlsoNotAfterARestart) {
  begin();
  std::set<std::int64_t> given;
  for (int i = 0; i < 2500; ++i) EXPECT_TRUE(given.insert(new_producer().value().value()).second);
  stop();
  begin();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(given.insert(new_producer().value().value()).second);
}

TEST_F(NodeActor, AStoppingNodeRefusesAndThenEnds) {
  std::promise<void> now;
  notes.may_end = now.get_future().share();
  begin();
  create({{.name = "a"}});
  auto stopped = begin_to_stop();
  EXPECT_EQ(create({{.name = "b"}})[0].refused->code, errc::closed);
  EXPECT_EQ(new_producer().code(), errc::closed);
  EXPECT_EQ(stopped.wait_for(std::chrono::seconds{0}), std::future_status::timeout) << "a partition has not ended";
  now.set_value();
  stopped.get();
  controller = {};
  EXPECT_EQ(notes.take(), (lines{"create 1", "spawn a/0", "stop a/0"}));
}

TEST_F(NodeActor, WhenTheStoreFailsTheNodeIsToldOnce) {
  begin();
  store->refuse = error{errc::storage_failed, "io"};
  create({{.name = "a"}});
  EXPECT_EQ(create({{.name = "b"}})[0].refused->code, errc::storage_failed);
  EXPECT_EQ(notes.take(), lines{"failed io"});
}

TEST_F(NodeActor, APartitionThatEndsByAccidentLeavesTheView) {
  begin();
  create({{.name = "a"}});
  caf::anon_send_exit(notes.actors.at(0), caf::exit_reason::kill);
  while (cluster->view()->partition("a", partition_index{0})) std::this_thread::yield();
  ask(delete_topics_request{{{"a", {}}}, {}});
  until({"drop 1"});
}

}  // namespace
}  // namespace troupe
