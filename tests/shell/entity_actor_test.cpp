#include "actors/entity/entity_actor.hpp"

#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <future>

#include "actors/node/cluster_directory.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using shard_id = entities::shard_id;

/// Counts what it is told, and forgets it on "reset".
class counting final : public entity {
public:
  explicit counting(byte_view state) : count_{state.size()} {}
  shared_bytes handle(const shared_bytes& payload, instant) override {
    count_ = as_text(payload) == "reset" ? 0 : count_ + 1;
    return shared_bytes::copy_of(as_bytes(std::to_string(count_)));
  }
  shared_bytes state(instant) const override { return shared_bytes::copy_of(as_bytes(std::string(count_, 'x'))); }
  bool is_as_new(instant) const override { return count_ == 0; }

private:
  std::size_t count_;
};

/// Two nodes in one process, each with one part; kind `bin` with one shard.
class EntityActor : public testing::Test {
protected:
  EntityActor() { owner(1, 1); }
  ~EntityActor() override {
    for (auto& [n, host] : hosts_) caf::anon_send(host, stop_entities{});
    system_.await_all_actors_done();
  }

  void start(std::size_t bytes_max = 1 << 20) {
    for (int n : {1, 2}) {
      entity_setup s;
      s.self = {node_id{n}, 10 + n};
      s.types = {{{"bin", entities::keeping::ephemeral, 1},
                  [](std::string_view, byte_view state, instant) { return std::make_unique<counting>(state); }}};
      s.send = [this, n](node_id to, entities::message m) {
        caf::anon_send(hosts_.at(to.value()), entity_mail{node_id{n}, std::move(m)});
      };
      s.released = [this](const shard_id&, std::int32_t epoch) {
        if (!given_up_.exchange(true)) released_.set_value(epoch);
      };
      s.bytes_max = bytes_max;
      s.metrics = &metrics_;
      hosts_.emplace(n, spawn_entities(system_, std::move(s)));
    }
    for (auto& [n, host] : hosts_) caf::anon_send(host, entities_leased{boot_clock::now() + 1h});
    tell();
  }
  void owner(int node, std::int32_t epoch) {
    auto next = *image_;
    for (int n : {1, 2}) {
      next.nodes[node_id{n}].id = node_id{n};
      next.nodes[node_id{n}].node_epoch = 10 + n;
    }
    next.shards["bin"] = {shard_state{node_id{node}, epoch, true, {}, {}}};
    image_ = std::make_shared<const metadata_image>(std::move(next));
  }
  void tell() {
    for (auto& [n, host] : hosts_) caf::anon_send(host, entities_told{image_, nullptr});
  }
  std::future<std::string> ask(int n, std::string_view key, std::string_view what = "more") {
    auto said = std::make_shared<std::promise<std::string>>();
    auto later = said->get_future();
    caf::anon_send(
        hosts_.at(n),
        ask_entity{{"bin", std::string{key}}, shared_bytes::copy_of(as_bytes(what)), [said](result<shared_bytes> r) {
                     said->set_value(r ? std::string{as_text(*r)} : std::string{to_string(r.error().code)});
                   }});
    return later;
  }
  std::string get(std::future<std::string> later) {
    return later.wait_for(10s) == std::future_status::ready ? later.get() : "nothing";
  }
  bool shows(std::string_view line) const { return metrics_.text().find(line) != std::string::npos; }

  observe::metrics metrics_;
  caf::actor_system_config config_;
  caf::actor_system system_{config_};
  std::map<int, caf::actor> hosts_;
  std::shared_ptr<const metadata_image> image_ = std::make_shared<const metadata_image>();
  std::promise<std::int32_t> released_;
  std::atomic<bool> given_up_{false};
};

TEST_F(EntityActor, OneEntityAnswersAtEveryNode) {
  start();
  EXPECT_EQ(get(ask(1, "a")), "1");
  EXPECT_EQ(get(ask(2, "a")), "2");
  EXPECT_EQ(get(ask(2, "b")), "1");
  EXPECT_TRUE(shows("troupe_entities{kind=\"bin\"} 2"));
  EXPECT_TRUE(shows("troupe_entity_messages_total{kind=\"bin\"} 3"));
  EXPECT_TRUE(shows("troupe_entity_calls_total{outcome=\"answered\"} 3"));
}

TEST_F(EntityActor, AShardMovesWithItsEntities) {
  start();
  EXPECT_EQ(get(ask(1, "a")), "1");
  EXPECT_EQ(get(ask(1, "a")), "2");
  caf::anon_send(hosts_.at(1), release_shard{{"bin", 0}, 1});
  EXPECT_EQ(released_.get_future().get(), 1);
  owner(2, 2);
  tell();
  EXPECT_EQ(get(ask(1, "a")), "3");
  EXPECT_TRUE(shows("troupe_entities{kind=\"bin\"} 1"));
  EXPECT_TRUE(shows("troupe_entity_shards{kind=\"bin\"} 1"));
}

TEST_F(EntityActor, WithoutRoomNewOnesWaitAndThoseThatAreThereGoOn) {
  start(300);
  EXPECT_EQ(get(ask(1, "a")), "1");
  auto waits = ask(2, "b");
  EXPECT_EQ(waits.wait_for(200ms), std::future_status::timeout);
  EXPECT_EQ(get(ask(2, "a")), "2");
  EXPECT_EQ(get(ask(2, "a", "reset")), "0");  // as new: it goes at once
  EXPECT_EQ(get(std::move(waits)), "1");
  EXPECT_TRUE(shows("troupe_entities{kind=\"bin\"} 1"));
}

TEST_F(EntityActor, WhoeverAsksHearsOfTheEnd) {
  start();
  EXPECT_EQ(get(ask(2, "a")), "1");
  caf::anon_send(hosts_.at(1), stop_entities{});
  auto waits = ask(2, "a");
  caf::anon_send(hosts_.at(2), stop_entities{});
  EXPECT_EQ(get(std::move(waits)), "closed");

  cluster_directory directory;
  const auto told = [&] {
    std::promise<errc> why;
    auto later = why.get_future();
    directory.ask({"bin", "a"}, {}, [&](result<shared_bytes> r) { why.set_value(r.code()); });
    return later.wait_for(10s) == std::future_status::ready ? later.get() : errc::internal;
  };
  EXPECT_EQ(told(), errc::closed);
  directory.entities_at({hosts_.at(2)});
  EXPECT_EQ(told(), errc::not_leader);  // no such kind yet
  auto view = std::make_shared<cluster_view>();
  view->image = image_;
  directory.publish(view);
  EXPECT_EQ(told(), errc::closed);  // an actor that has ended takes no message
}

}  // namespace
}  // namespace troupe
