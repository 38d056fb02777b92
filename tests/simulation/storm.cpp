#include "tests/simulation/storm.hpp"

#include <algorithm>
#include <cstdio>

namespace troupe::sim {

namespace {

/// What may happen, and how often beside the others. A seed takes some of them and leaves the rest, so that
/// combinations are seen that an even mix would drown.
class weather_maker {
public:
  weather_maker(cluster& c) : c_{c}, random_{c.ground().random()} {
    for (auto& w : weights_) w = random_.chance(0.6) ? 1 + random_.below(4) : 0;
    if (std::all_of(std::begin(weights_), std::end(weights_), [](auto w) { return w == 0; })) weights_[0] = 1;
  }

  void begin(duration length) {
    end_ = c_.ground().now() + length;
    next();
  }

private:
  enum fault {
    kill,
    power,
    power_many,
    pause,
    cut_one_way,
    cut_pair,
    isolate,
    bad_weather,
    slow_link,
    slow_disk,
    stop,
    flap,
    io_error,
    full_disk,
    clock,
    reassign,
    elect,
    new_disk,
    count
  };

  void next() {
    c_.ground().after(c_.ground().between(100ms, 2500ms), [this] {
      if (c_.ground().now() >= end_) return;
      strike();
      next();
    });
  }

  int any() {
    const auto all = c_.node_numbers();
    return all[random_.below(all.size())];
  }
  int other_than(int n) {
    for (;;)
      if (const auto m = any(); m != n) return m;
  }
  void later(duration from, duration to, std::function<void()> what) {
    c_.ground().after(c_.ground().between(from, to), [this, what = std::move(what)] {
      if (c_.ground().now() < end_) what();
    });
  }

  void strike() {
    std::uint64_t sum = 0;
    for (const auto w : weights_) sum += w;
    auto pick = random_.below(sum);
    int what = 0;
    while (pick >= weights_[what]) pick -= weights_[what++];
    const auto n = any();
    switch (what) {
      case kill:
        c_.kill(n);
        later(0ms, 5s, [this, n] { c_.start(n); });
        break;
      case power:
        c_.cut_power(n);
        later(200ms, 6s, [this, n] { c_.start(n); });
        break;
      case power_many:
        for (const auto m : c_.node_numbers())
          if (random_.chance(0.7)) {
            c_.cut_power(m);
            later(200ms, 4s, [this, m] { c_.start(m); });
          }
        break;
      case pause:
        c_.pause(n);
        later(50ms, 6s, [this, n] { c_.resume(n); });
        break;
      case cut_one_way: {
        const auto m = other_than(n);
        c_.cut(n, m);
        later(200ms, 5s, [this, n, m] { c_.net().heal(n, m); });
        break;
      }
      case cut_pair: {
        const auto m = other_than(n);
        c_.cut(n, m);
        c_.cut(m, n);
        later(200ms, 6s, [this, n, m] {
          c_.net().heal(n, m);
          c_.net().heal(m, n);
        });
        break;
      }
      case isolate:
        c_.isolate(n);
        later(300ms, 6s, [this, n] { join_again(n); });
        break;
      case bad_weather: {
        weather w;
        w.loss = random_.chance(0.5) ? 0.05 : 0;
        w.repeat = random_.chance(0.5) ? 0.1 : 0;
        w.late = random_.chance(0.7) ? 0.2 : 0;
        w.late_max = c_.ground().between(5ms, 700ms);
        c_.ground().tell("bad weather");
        c_.net().set_weather(w);
        later(500ms, 6s, [this] { c_.net().set_weather({}); });
        break;
      }
      case slow_link: {
        const auto m = other_than(n);
        c_.ground().tell("slow link n" + std::to_string(n) + " -> n" + std::to_string(m));
        c_.net().slow(n, m, 125'000);
        break;
      }
      case slow_disk:
        c_.ground().tell("slow disk n" + std::to_string(n));
        c_.box(n).pace.sync_min = 100ms;
        c_.box(n).pace.sync_max = c_.ground().between(200ms, 4s);
        later(500ms, 6s, [this, n] { c_.box(n).pace = {}; });
        break;
      case stop:
        c_.stop(n);
        later(1s, 8s, [this, n] { c_.start(n); });
        break;
      case flap:
        for (int i = 0; i < 4; ++i) {
          later(i * 400ms, i * 400ms + 100ms, [this, n] { c_.isolate(n); });
          later(i * 400ms + 200ms, i * 400ms + 300ms, [this, n] { join_again(n); });
        }
        break;
      case io_error:
        c_.ground().tell("the next sync of n" + std::to_string(n) + " fails");
        c_.box(n).disk.fail_next_sync();
        later(1s, 6s, [this, n] { c_.start(n); });
        break;
      case full_disk:
        // Nothing more fits, until somebody makes room.
        c_.ground().tell("full disk n" + std::to_string(n));
        c_.box(n).disk.set_capacity(c_.box(n).disk.used_bytes());
        later(500ms, 6s, [this, n] { c_.box(n).disk.set_capacity(UINT64_MAX); });
        break;
      case clock:
        if (random_.chance(0.5)) {
          c_.box(n).clock.drift(1 + (static_cast<double>(random_.below(2001)) / 1000 - 1) * 0.09);
        } else {
          constexpr std::int64_t steps[] = {-3'600'000, 3'600'000, -315'360'000'000, 315'360'000'000, 1000};
          c_.box(n).clock.step_wall(std::chrono::milliseconds{steps[random_.below(5)]});
        }
        c_.ground().tell("the clock of n" + std::to_string(n) + " changes");
        break;
      case reassign:
        if (auto* controller = c_.controller()) {
          const auto all = c_.partitions();
          cluster_controller::reassign asked;
          asked.items.push_back({all[random_.below(all.size())], {}});
          if (random_.chance(0.8)) {
            auto nodes = c_.node_numbers();
            std::vector<node_id> target;
            while (target.size() < 3) {
              const auto at = random_.below(nodes.size());
              target.emplace_back(nodes[at]);
              nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(at));
            }
            asked.items[0].target = std::move(target);
          }
          c_.ground().tell(asked.items[0].target ? "reassign" : "cancel a reassignment");
          controller->ask(std::move(asked), [](const cluster_controller::outcome&) {});
        }
        break;
      case elect:
        if (auto* controller = c_.controller()) {
          c_.ground().tell("elect preferred leaders");
          controller->ask(cluster_controller::elect_preferred{c_.partitions()},
                          [](const cluster_controller::outcome&) {});
        }
        break;
      case new_disk:
        // Only one in a storm: what is promised holds while fewer than min.insync.replicas lose their disk.
        if (std::exchange(disk_lost_, true) || c_.options().min_in_sync < 2) break;
        c_.kill(n);
        c_.replace_disk(n);
        later(200ms, 5s, [this, n] { c_.start(n); });
        break;
      default:
        break;
    }
  }

  void join_again(int n) {
    c_.ground().tell("join again n" + std::to_string(n));
    for (const auto m : c_.node_numbers()) {
      c_.net().heal(n, m);
      c_.net().heal(m, n);
    }
  }

  cluster& c_;
  random_source& random_;
  std::uint64_t weights_[fault::count];
  instant end_{};
  bool disk_lost_{false};
};

}  // namespace

storm_result run_storm(const storm_options& o) {
#ifdef TROUPE_REMOVABLE_RULES
  removed_rule = o.without;
#endif
  random_source shape{o.seed * 0x9e3779b97f4a7c15 + 1};
  cluster_options co;
  co.seed = o.seed;
  co.nodes = 3 + static_cast<int>(shape.below(3));
  co.partitions = 1 + static_cast<int>(shape.below(3));
  co.replicas = 3;
  co.min_in_sync = shape.chance(0.8) ? 2 : 1;
  co.drift = shape.chance(0.5) ? 0.09 : 0.001;
  co.trust_refused = shape.chance(0.8);
  co.entities = shape.chance(0.5);

  storm_result result;
  result.shape = std::to_string(co.nodes) + " nodes, " + std::to_string(co.partitions) + " partitions, min.insync " +
                 std::to_string(co.min_in_sync) + (co.entities ? ", entities" : "");
  cluster c{co};
  if (o.tell) c.ground().on_line = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
  if (!c.form()) c.judge().broken("I33: the cluster did not form: " + c.unrest());
  if (c.judge().violations().empty()) {
    c.add_producer({.in_flight = 5});
    c.add_producer({.in_flight = 1});
    c.add_consumer(false);
    c.add_consumer(true);
    c.begin_calls();
    c.run(1s);
    weather_maker faults{c};
    faults.begin(o.length);
    c.run(o.length);
    c.heal();
    c.run(1s);
    for (const auto& p : c.producers()) p->stop();
    c.stop_calls();
    if (!c.run_until([&] { return c.quiet() || !c.judge().violations().empty(); }, o.recovery))
      c.judge().broken("I33: after " + std::to_string(o.recovery / 1s) + " s of peace " + c.unrest());
    c.run(1s);
    if (co.entities) c.judge().look_at_entities();
  }
  result.violations = c.judge().violations();
  if (!result.violations.empty()) result.story.assign(c.ground().story().begin(), c.ground().story().end());
  result.fingerprint = c.ground().fingerprint();
  result.events = c.ground().events();
  result.messages = c.net().sent();
  result.committed = c.judge().committed_records();
  for (const auto& p : c.producers()) result.acknowledged += p->acknowledged();
  for (const auto& r : c.consumers()) result.read += r->read();
  result.calls = c.judge().answered_calls();
  result.simulated_seconds = std::chrono::duration<double>(c.ground().now().time_since_epoch()).count();
#ifdef TROUPE_REMOVABLE_RULES
  removed_rule = rule::count;
#endif
  return result;
}

}  // namespace troupe::sim
