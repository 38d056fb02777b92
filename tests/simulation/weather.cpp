#include "tests/simulation/weather.hpp"

#include <algorithm>

#include "tests/simulation/damage.hpp"

namespace troupe::sim {

const std::array<weather_maker::fault, 27> weather_maker::faults{{
    {"kill", &weather_maker::kill},
    {"power", &weather_maker::power},
    {"power_many", &weather_maker::power_many},
    {"pause", &weather_maker::pause},
    {"cut_one_way", &weather_maker::cut_one_way},
    {"cut_pair", &weather_maker::cut_pair},
    {"isolate", &weather_maker::isolate},
    {"bad_weather", &weather_maker::bad_weather},
    {"slow_link", &weather_maker::slow_link},
    {"slow_disk", &weather_maker::slow_disk},
    {"stop", &weather_maker::stop},
    {"flap", &weather_maker::flap},
    {"io_error", &weather_maker::io_error},
    {"full_disk", &weather_maker::full_disk},
    {"clock", &weather_maker::clock},
    {"reassign", &weather_maker::reassign},
    {"elect", &weather_maker::elect},
    {"new_disk", &weather_maker::new_disk},
    {"flip_bits", &weather_maker::flip_bits},
    {"damage_metadata", &weather_maker::damage_metadata},
    {"set_min_in_sync", &weather_maker::set_min_in_sync},
    {"set_voters", &weather_maker::set_voters},
    {"extra_topic", &weather_maker::extra_topic},
    {"join", &weather_maker::join},
    {"leave", &weather_maker::leave},
    {"drain", &weather_maker::drain},
    {"set_voting", &weather_maker::set_voting},
}};

/// A seed takes some of the faults and leaves the rest, so that combinations are seen that an even mix would drown.
weather_maker::weather_maker(cluster& c, habits h) : c_{c}, habits_{h}, random_{c.ground().random()} {
  for (auto& w : weights_) w = random_.chance(0.5) ? 1 + random_.below(4) : 0;
  if (std::all_of(weights_.begin(), weights_.end(), [](auto w) { return w == 0; })) weights_[0] = 1;
  auto want = [&](void (weather_maker::*what)(int), bool at_all, std::uint64_t at_least = 0) {
    for (std::size_t i = 0; i < faults.size(); ++i)
      if (faults[i].strike == what) weights_[i] = at_all ? std::max(weights_[i], at_least) : 0;
  };
  want(&weather_maker::set_min_in_sync, h.min_in_sync_least < h.min_in_sync_most, 2);
  if (h.reckless) want(&weather_maker::flip_bits, true, 4);
  if (h.grows) {
    want(&weather_maker::join, true, 4);
    want(&weather_maker::reassign, true, 3);
  }
  c_.judge().may_be_damaged = [this](node_id n) { return harmed_.contains(n.value()); };
}

void weather_maker::begin(duration length) {
  end_ = c_.ground().now() + length;
  next();
}

void weather_maker::end() {
  for (const auto n : std::exchange(unreadable_, {})) {
    c_.kill(n);
    c_.replace_disk(n);
  }
  if (extra_ != topic_id{} && c_.partitions_of(extra_).empty()) retire_extra_clients();
}

void weather_maker::next() {
  c_.ground().after(c_.ground().between(100ms, 2500ms), [this] {
    if (c_.ground().now() >= end_) return;
    strike();
    next();
  });
}

int weather_maker::any() {
  const auto all = c_.node_numbers();
  return all[random_.below(all.size())];
}

int weather_maker::other_than(int n) {
  auto all = c_.node_numbers();
  std::erase(all, n);
  return all.empty() ? 0 : all[random_.below(all.size())];
}

void weather_maker::later(duration from, duration to, std::function<void()> what) {
  c_.ground().after(c_.ground().between(from, to), [this, what = std::move(what)] {
    if (c_.ground().now() < end_) what();
  });
}

void weather_maker::strike() {
  take_stock();
  std::uint64_t sum = 0;
  for (const auto w : weights_) sum += w;
  auto pick = random_.below(sum);
  std::size_t what = 0;
  while (pick >= weights_[what]) pick -= weights_[what++];
  (this->*faults[what].strike)(any());
}

void weather_maker::start(int n) {
  if (!unreadable_.contains(n) && !c_.removed(n)) c_.start(n);
}

// -- processes and machines -----------------------------------------------------------------------------------------

void weather_maker::kill(int n) {
  count("kill");
  c_.kill(n);
  later(0ms, 5s, [this, n] { start(n); });
}

void weather_maker::power(int n) {
  count("power");
  c_.cut_power(n);
  later(200ms, 6s, [this, n] { start(n); });
}

void weather_maker::power_many(int) {
  count("power_many");
  for (const auto m : c_.node_numbers())
    if (random_.chance(0.7)) {
      c_.cut_power(m);
      later(200ms, 4s, [this, m] { start(m); });
    }
}

void weather_maker::pause(int n) {
  count("pause");
  c_.pause(n);
  later(50ms, 6s, [this, n] { c_.resume(n); });
}

void weather_maker::stop(int n) {
  count("stop");
  c_.stop(n);
  later(1s, 8s, [this, n] { start(n); });
}

void weather_maker::slow_disk(int n) {
  count("slow_disk");
  c_.ground().tell("slow disk n" + std::to_string(n));
  c_.box(n).pace.sync_min = 100ms;
  c_.box(n).pace.sync_max = c_.ground().between(200ms, 4s);
  later(500ms, 6s, [this, n] { c_.box(n).pace = {}; });
}

void weather_maker::io_error(int n) {
  if (random_.chance(0.5)) {
    count("failed sync");
    c_.ground().tell("the next sync of n" + std::to_string(n) + " fails");
    c_.box(n).disk.fail_next_sync();
  } else {
    const auto percent = random_.below(101);
    count(percent == 100 ? "failed write" : "short write");
    c_.ground().tell("the next write of n" + std::to_string(n) + " fails after " + std::to_string(percent) + "%");
    c_.box(n).disk.fail_next_append(errc::storage_failed, static_cast<double>(percent) / 100);
  }
  later(1s, 6s, [this, n] { start(n); });
}

/// Nothing more fits, or only a part of the next block, until somebody makes room.
void weather_maker::full_disk(int n) {
  count("full_disk");
  c_.ground().tell("full disk n" + std::to_string(n));
  c_.box(n).disk.set_capacity(c_.box(n).disk.used_bytes() + random_.below(3) * random_.below(20'000));
  later(500ms, 6s, [this, n] { c_.box(n).disk.set_capacity(UINT64_MAX); });
}

void weather_maker::clock(int n) {
  count("clock");
  if (random_.chance(0.5)) {
    c_.box(n).clock.drift(1 + (static_cast<double>(random_.below(2001)) / 1000 - 1) * 0.09);
  } else {
    constexpr std::int64_t steps[] = {-3'600'000, 3'600'000, -315'360'000'000, 315'360'000'000, 1000};
    c_.box(n).clock.step_wall(std::chrono::milliseconds{steps[random_.below(5)]});
  }
  c_.ground().tell("the clock of n" + std::to_string(n) + " changes");
}

// -- the network --------------------------------------------------------------------------------------------------

void weather_maker::cut_one_way(int n) {
  const auto m = other_than(n);
  if (!m) return;
  count("cut_one_way");
  c_.cut(n, m);
  later(200ms, 5s, [this, n, m] { c_.net().heal(n, m); });
}

void weather_maker::cut_pair(int n) {
  const auto m = other_than(n);
  if (!m) return;
  count("cut_pair");
  c_.cut(n, m);
  c_.cut(m, n);
  later(200ms, 6s, [this, n, m] {
    c_.net().heal(n, m);
    c_.net().heal(m, n);
  });
}

void weather_maker::isolate(int n) {
  count("isolate");
  c_.isolate(n);
  later(300ms, 6s, [this, n] { join_again(n); });
}

void weather_maker::flap(int n) {
  count("flap");
  for (int i = 0; i < 4; ++i) {
    later(i * 400ms, i * 400ms + 100ms, [this, n] { c_.isolate(n); });
    later(i * 400ms + 200ms, i * 400ms + 300ms, [this, n] { join_again(n); });
  }
}

void weather_maker::join_again(int n) {
  c_.ground().tell("join again n" + std::to_string(n));
  for (const auto m : c_.node_numbers()) {
    c_.net().heal(n, m);
    c_.net().heal(m, n);
  }
}

void weather_maker::bad_weather(int) {
  count("bad_weather");
  weather w;
  w.loss = random_.chance(0.5) ? 0.05 : 0;
  w.repeat = random_.chance(0.5) ? 0.1 : 0;
  w.late = random_.chance(0.7) ? 0.2 : 0;
  w.late_max = c_.ground().between(5ms, 700ms);
  c_.ground().tell("bad weather");
  c_.net().set_weather(w);
  later(500ms, 6s, [this] { c_.net().set_weather({}); });
}

void weather_maker::slow_link(int n) {
  const auto m = other_than(n);
  if (!m) return;
  count("slow_link");
  c_.ground().tell("slow link n" + std::to_string(n) + " -> n" + std::to_string(m));
  c_.net().slow(n, m, 125'000);
}

// -- operators ------------------------------------------------------------------------------------------------------

void weather_maker::reassign(int) {
  const auto all = c_.partitions();
  if (all.empty()) return;
  cluster_controller::reassign asked;
  asked.items.push_back({all[random_.below(all.size())], {}});
  if (random_.chance(0.8)) {
    auto nodes = c_.node_numbers();
    std::vector<node_id> target;
    while (target.size() < 3 && !nodes.empty()) {
      const auto at = random_.below(nodes.size());
      target.emplace_back(nodes[at]);
      nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    asked.items[0].target = std::move(target);
  }
  const bool cancels = !asked.items[0].target;
  if (!c_.ask(std::move(asked))) return;
  count(cancels ? "cancel" : "reassign");
  c_.ground().tell(cancels ? "cancel a reassignment" : "reassign");
}

void weather_maker::elect(int) {
  if (habits_.reckless && random_.chance(0.5)) {
    if (!c_.ask(cluster_controller::elect_uncleanly{c_.partitions()})) return;
    count("elect_uncleanly");
    return c_.ground().tell("elect leaders uncleanly");
  }
  if (!c_.ask(cluster_controller::elect_preferred{c_.partitions()})) return;
  count("elect");
  c_.ground().tell("elect preferred leaders");
}

void weather_maker::set_min_in_sync(int) {
  const auto range = static_cast<std::uint64_t>(habits_.min_in_sync_most - habits_.min_in_sync_least + 1);
  const auto value = habits_.min_in_sync_least + static_cast<int>(random_.below(range));
  controller::reconfiguration change{"orders", {}, false};
  change.changes.push_back({"min.insync.replicas", setting_change::operation::set, std::to_string(value)});
  if (!c_.ask(cluster_controller::alter_configs{{change}, false})) return;
  count("set_min_in_sync");
  c_.ground().tell("min.insync.replicas = " + std::to_string(value));
}

void weather_maker::set_voters(int) {
  const auto wanted = c_.judge().newest().voter_count == 3 ? 5 : 3;
  if (!c_.ask(cluster_controller::want_voter_count{wanted})) return;
  count("set_voters");
  c_.ground().tell(std::to_string(wanted) + " voters are wanted");
}

/// Their topic is gone: nobody waits for it any more.
void weather_maker::retire_extra_clients() {
  if (extra_producer_) extra_producer_->retire();
  if (extra_consumer_) extra_consumer_->retire();
  extra_producer_ = nullptr;
  extra_consumer_ = nullptr;
  extra_ = {};
}

/// A second topic comes, grows and goes; who uses it notices.
void weather_maker::extra_topic(int) {
  if (extra_ != topic_id{} && c_.partitions_of(extra_).empty()) retire_extra_clients();
  if (extra_ == topic_id{}) {
    if (extras_ == 4) return;
    new_topic t;
    t.name = "extra";
    t.partitions = 1;
    t.replication = static_cast<std::int16_t>(std::min<std::size_t>(3, c_.node_numbers().size()));
    t.overrides = {{"min.insync.replicas", std::to_string(habits_.min_in_sync_least)}, {"retention.ms", "-1"}};
    const bool asked = c_.ask(cluster_controller::create_topics{{t}, false}, [this](const auto& out) {
      const auto now = c_.judge().newest().find("extra");
      if (out.failed || !now || extra_ == now->id) return;
      ++extras_;
      count("create topic");
      extra_ = now->id;
      if (c_.ground().now() >= end_) return;
      extra_producer_ = &c_.add_producer(c_.partitions_of(extra_), {.in_flight = 3});
      extra_consumer_ = &c_.add_consumer(c_.partitions_of(extra_), true);
    });
    if (asked) c_.ground().tell("create topic extra");
    return;
  }
  const auto count_now = static_cast<std::int32_t>(c_.partitions_of(extra_).size());
  if (random_.chance(0.5) && count_now < 4) {
    if (!c_.ask(cluster_controller::create_partitions{{{"extra", count_now + 1, {}}}, false})) return;
    count("grow topic");
    c_.ground().tell("extra grows");
  } else {
    if (!c_.ask(cluster_controller::delete_topics{{{"extra", {}}}})) return;
    count("delete topic");
    c_.ground().tell("delete topic extra");
  }
}

void weather_maker::join(int) {
  if (static_cast<int>(c_.node_numbers().size()) >= habits_.nodes_max) return;
  count("join");
  c_.add_node();
}

/// For good. Three have to stay, and one at a time leaves.
void weather_maker::leave(int n) {
  int staying = 0;
  for (const auto& [id, node] : c_.judge().newest().nodes) {
    if (node.leaving && node.state != node_state::removed) return;
    staying += node.state != node_state::removed;
  }
  if (staying < 4) return;
  if (!c_.ask(cluster_controller::remove_node{node_id{n}, false})) return;
  count("leave");
  c_.ground().tell("n" + std::to_string(n) + " is to leave");
  // Some change their mind, and some come back, on the disk that they left with.
  if (random_.chance(0.3))
    later(3s, 12s, [this, n] {
      if (!c_.removed(n) || c_.runs(n)) return;
      count("come back");
      c_.start(n);
    });
  else if (random_.chance(0.2))
    later(500ms, 5s, [this, n] {
      if (c_.ask(cluster_controller::remove_node{node_id{n}, true})) count("stay after all");
    });
}

/// Some are undone, others last into the peace, through whatever becomes of the node.
void weather_maker::drain(int n) {
  if (!c_.ask(cluster_controller::drain_node{node_id{n}})) return;
  count("drain");
  c_.ground().tell("n" + std::to_string(n) + " is drained");
  if (random_.chance(0.7))
    later(2s, 10s, [this, n] {
      if (c_.ask(cluster_controller::remove_node{node_id{n}, true})) count("drained no more");
    });
}

void weather_maker::set_voting(int n) {
  static constexpr std::array names{"automatic", "always", "never"};
  const auto how = random_.below(names.size());
  if (!c_.ask(cluster_controller::set_voting{node_id{n}, static_cast<voting>(how)})) return;
  count("set_voting");
  c_.ground().tell("n" + std::to_string(n) + " votes: " + names[how]);
}

}  // namespace troupe::sim
