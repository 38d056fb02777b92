#include "actors/entity/entity_host.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

#include "runtime/base/overloaded.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using entities::keeping;
using shard_id = entities::shard_id;

constexpr instant t0{1000s};
const shard_id only{"bin", 0};

shared_bytes bytes(std::string_view text) {
  return shared_bytes::copy_of(as_bytes(text));
}

/// Some nodes with one shard of a kind whose entities append what they are told to what they know.
class world {
public:
  explicit world(int nodes, keeping how = keeping::ephemeral, entity_host::settings s = {}) {
    for (int n = 1; n <= nodes; ++n) {
      node_info info;
      info.id = node_id{n};
      info.node_epoch = 10 + n;
      image_.nodes.emplace(info.id, info);
      hosts_.emplace(n, entity_host{{info.id, info.node_epoch},
                                    {entity_kind{"bin", how, 1}},
                                    s,
                                    random_source{static_cast<std::uint64_t>(n)}});
    }
    image_.shards["bin"].resize(1);
  }

  void owner(int node, std::int32_t epoch, bool active = true) {
    image_.shards["bin"][0] = {node_id{node}, epoch, active, {}, {}};
  }
  void fenced(int node) { image_.nodes.at(node_id{node}).state = node_state::fenced; }
  void tell(int node) { perform(node, at(node).follow(image_, now)); }
  void tell_all() {
    for (auto& [n, host] : hosts_) tell(n);
  }
  void lease_all() {
    for (auto& [n, host] : hosts_) perform(n, host.leased(now + 1h, now));
  }
  void ask(int node, std::uint64_t ticket, std::string_view what) {
    auto todo = at(node).ask(ticket, {"bin", "x"}, bytes(what), now);
    ASSERT_TRUE(todo.ok());
    perform(node, std::move(*todo));
  }
  /// Letters arrive and ticks come until nothing happens any more.
  void settle() {
    for (bool more = true; more;) {
      more = false;
      for (auto& [n, host] : hosts_)
        if (const auto due = host.wakes_at(); due && *due <= now) perform(n, host.tick(now));
      while (!mail_.empty()) {
        more = true;
        auto [from, to, what] = std::move(mail_.front());
        mail_.pop_front();
        if (gone.contains(to) || (lost && lost(what))) continue;
        perform(to, at(to).received(node_id{from}, what, now));
      }
    }
  }
  void pass(std::chrono::milliseconds time) {
    for (const auto until = now + time; now < until;) {
      now = std::min(until, now + 10ms);
      settle();
    }
  }
  void perform(int n, entity_host::effects&& todo) {
    for (auto& effect : todo)
      std::visit(overloaded{
                     [&](entity_host::send& e) {
                       mail_.push_back({n, e.to.value(), std::move(e.what)});
                     },
                     [&](entity_host::ended& e) {
                       EXPECT_FALSE(ended.contains(e.of)) << "twice";
                       ended[e.of] = e.outcome.ok() ? std::string{as_text(*e.outcome)} : e.outcome.error().text;
                     },
                     [&](entity_host::handle& e) {
                       auto& state = states[n][e.key];
                       state += as_text(e.payload);
                       perform(n, at(n).handled(e.shard, e.id, bytes(state), std::nullopt, now));
                     },
                     [&](entity_host::begin& e) {
                       missed += e.missed;
                       EXPECT_TRUE(states[n].empty());
                       for (const auto& it : e.entities) states[n][it.key] = as_text(it.bytes);
                     },
                     [&](entity_host::collect& e) {
                       std::vector<entities::entity_state> all;
                       for (const auto& [key, state] : states[n]) all.push_back({key, bytes(state)});
                       perform(n, at(n).collected(e.shard, e.epoch, std::move(all), now));
                     },
                     [&](entity_host::drop&) { states[n].clear(); },
                     [&](entity_host::released& e) { released.emplace_back(n, e.epoch); },
                     [&](const auto&) { FAIL() << "of durable kinds"; },
                 },
                 effect);
  }
  /// As the controller does it: the owner stops, then the metadata says who is next.
  void move(int from, int to, std::int32_t epoch) {
    perform(from, at(from).hand_over(only, epoch - 1, now));
    settle();
    EXPECT_EQ(released.back(), (std::pair{from, epoch - 1}));
    owner(to, epoch);
  }
  entity_host& at(int n) { return hosts_.at(n); }

  instant now = t0;
  std::map<std::uint64_t, std::string> ended;
  std::map<int, std::map<std::string, std::string>> states;
  std::vector<std::pair<int, std::int32_t>> released;
  std::set<int> gone;
  int missed{0};
  std::function<bool(const entities::message&)> lost;

private:
  struct letter {
    int from, to;
    entities::message what;
  };
  metadata_image image_;
  std::map<int, entity_host> hosts_;
  std::deque<letter> mail_;
};

world serving(int nodes, int owner, entity_host::settings s = {}) {
  world w{nodes, keeping::ephemeral, s};
  w.owner(owner, 1);
  w.tell_all();
  w.lease_all();
  w.settle();
  return w;
}

TEST(EntityHost, AnEntityIsReachedFromEveryNode) {
  auto w = serving(3, 2);
  w.ask(1, 1, "a");
  w.settle();
  w.ask(2, 1 + 1, "b");
  w.settle();
  w.ask(3, 3, "c");
  w.settle();
  EXPECT_EQ(w.ended, (std::map<std::uint64_t, std::string>{{1, "a"}, {2, "ab"}, {3, "abc"}}));
}

TEST(EntityHost, WhatIsAskedWhileNobodyOwnsWaits) {
  world w{2};
  w.tell_all();
  w.lease_all();
  w.ask(1, 1, "a");
  w.pass(1s);
  EXPECT_TRUE(w.ended.empty());
  w.owner(2, 1);
  w.tell_all();
  w.pass(2s);
  EXPECT_EQ(w.ended.at(1), "a");
}

TEST(EntityHost, AnEntityMovesWithWhatItKnows) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  w.tell_all();
  w.settle();
  w.ask(1, 2, "b");
  w.settle();
  EXPECT_EQ(w.ended.at(2), "ab");
  EXPECT_TRUE(w.states[1].empty());
}

TEST(EntityHost, WhatComesBeforeTheMetadataIsKept) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  w.tell(1);  // it sends what it had
  w.settle();
  w.gone.insert(1);  // and ends
  w.tell(2);
  w.settle();
  EXPECT_EQ(w.states[2]["x"], "a");
}

TEST(EntityHost, TheNextOwnerAsksWhenNothingComes) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  w.lost = [](const entities::message& m) { return std::holds_alternative<entities::handover>(m); };
  w.tell(1);
  w.settle();
  w.lost = nullptr;
  w.tell(2);
  w.settle();
  EXPECT_EQ(w.states[2]["x"], "a");
}

TEST(EntityHost, ItAsksAgainUntilItHasAnAnswer) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  int lost = 0;
  w.lost = [&](const entities::message& m) { return std::holds_alternative<entities::handover>(m) && ++lost < 4; };
  w.tell_all();
  w.pass(2s);
  EXPECT_EQ(lost, 4);
  EXPECT_EQ(w.states[2]["x"], "a");
  EXPECT_EQ(w.missed, 0);
}

TEST(EntityHost, WithoutAnAnswerItBeginsWithNothing) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  w.gone.insert(1);
  w.tell(2);
  w.ask(2, 2, "b");
  w.pass(1s);
  EXPECT_FALSE(w.ended.contains(2));
  w.pass(3s);
  EXPECT_EQ(w.ended.at(2), "b");
  EXPECT_EQ(w.missed, 1);
}

TEST(EntityHost, WhoDidNotStopInOrderIsNotWaitedFor) {
  auto w = serving(2, 1);
  w.ask(2, 1, "a");
  w.settle();
  w.gone.insert(1);
  w.fenced(1);
  w.owner(2, 2);
  w.tell(2);
  w.settle();
  w.ask(2, 2, "b");
  w.settle();
  EXPECT_EQ(w.ended.at(2), "b");
}

TEST(EntityHost, AFormerOwnerThatHasNothingSaysSo) {
  auto w = serving(2, 1);
  w.owner(2, 2);  // taken from it while it stood still
  w.tell(2);
  w.ask(2, 1, "b");
  w.settle();
  EXPECT_EQ(w.ended.at(1), "b");
  EXPECT_EQ(w.missed, 0);
}

TEST(EntityHost, WhoKnowsNothingOfTheShardYetSaysSo) {
  world w{2};
  entities::deliver d{only, 1, {node_id{2}, 12}, 1, 1, "x", bytes("a")};
  auto out = w.at(1).received(node_id{2}, d, w.now);
  ASSERT_EQ(out.size(), 1u);
  const auto& refusal =
      std::get<entities::refused>(std::get<entities::answer>(std::get<entity_host::send>(out[0]).what));
  EXPECT_EQ(refusal.why, errc::unknown_epoch);
  EXPECT_EQ(refusal.sequence, 1u);
  out = w.at(1).received(node_id{2}, entities::handover_request{only, 1}, w.now);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(std::get<entities::handover>(std::get<entity_host::send>(out[0]).what).had, nullptr);
  EXPECT_EQ(w.at(1).ask(1, {"bin", "x"}, {}, w.now).code(), errc::not_leader);
}

TEST(EntityHost, WhatWasGivenUpIsKeptForAWhileOnly) {
  auto w = serving(2, 1);
  w.ask(1, 1, "a");
  w.settle();
  w.move(1, 2, 2);
  EXPECT_TRUE(w.at(1).gave_up(only, 1));
  w.pass(1min);  // nobody was named: it may be needed
  EXPECT_TRUE(w.at(1).gave_up(only, 1));
  w.tell(1);
  w.pass(29s);
  EXPECT_TRUE(w.at(1).gave_up(only, 1));
  w.pass(2s);
  EXPECT_FALSE(w.at(1).gave_up(only, 1));
}

TEST(EntityHost, NobodyAsksInAnothersName) {
  auto w = serving(3, 2);
  entities::deliver d{only, 1, {node_id{1}, 11}, 1, 1, "x", bytes("a")};
  w.perform(2, w.at(2).received(node_id{3}, d, w.now));
  EXPECT_TRUE(w.states[2].empty());
  w.perform(2, w.at(2).received(node_id{1}, d, w.now));
  EXPECT_EQ(w.states[2]["x"], "a");
}

TEST(EntityHost, WhatIsAskedOfANodeThatStopsHasAnEnd) {
  auto w = serving(2, 2);
  w.gone.insert(2);
  w.ask(1, 1, "a");
  w.perform(1, w.at(1).stopped({errc::closed, "stopping"}));
  EXPECT_EQ(w.ended.at(1), "stopping");
  EXPECT_EQ(w.at(1).asked(), 0u);
}

TEST(EntityHost, UnknownKindsAndForeignShardsAreNobodys) {
  auto w = serving(1, 1);
  EXPECT_EQ(w.at(1).ask(1, {"tub", "x"}, {}, w.now).code(), errc::invalid_request);
  EXPECT_EQ(w.at(1).owner_of({"bin", 1}), nullptr);
  EXPECT_TRUE(w.at(1).hand_over({"tub", 0}, 1, w.now).empty());
  EXPECT_TRUE(w.at(1).received(node_id{1}, entities::handover{{"tub", 0}, 1, nullptr}, w.now).empty());

  entity_host::settings other;
  other.part = 1;
  other.parts = 2;
  auto half = serving(1, 1, other);
  EXPECT_EQ(half.at(1).owner_of(only), nullptr);
  EXPECT_EQ(half.at(1).shards_of("bin"), 1u);
}

}  // namespace
}  // namespace troupe
