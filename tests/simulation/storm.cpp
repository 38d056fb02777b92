#include "tests/simulation/storm.hpp"

#include <cstdio>

#include "actors/partition/unknown_producers.hpp"
#include "tests/simulation/weather.hpp"

namespace troupe::sim {

namespace {

/// Producers that come and go while it storms: each is new to the partitions that it writes to.
class newcomers {
public:
  newcomers(cluster& c, duration length) : cluster_{c}, until_{c.ground().now() + length} { next(); }

private:
  void next() {
    cluster_.ground().after(cluster_.ground().between(500ms, 4s), [this] {
      if (cluster_.ground().now() >= until_) return;
      if (here_) here_->stop();
      const auto patience = cluster_.ground().between(1500ms, 15s);
      here_ = &cluster_.add_producer(cluster_.orders(), {.in_flight = 5, .patience = patience, .ahead = true});
      next();
    });
  }

  cluster& cluster_;
  const instant until_;
  producer* here_{nullptr};
};

}  // namespace

storm_result run_storm(const storm_options& o) {
#ifdef TROUPE_REMOVABLE_RULES
  removed_rule = o.without;
#endif
  random_source shape{o.seed * 0x9e3779b97f4a7c15 + 1};
  cluster_options co;
  co.seed = o.seed;
  weather_maker::habits how;
  how.nodes_max = 3 + static_cast<int>(shape.below(4));
  how.grows = shape.chance(0.15);
  co.nodes = how.grows ? 1 + 2 * static_cast<int>(shape.below(2))
                       : std::min(how.nodes_max, 3 + static_cast<int>(shape.below(3)));
  co.partitions = 1 + static_cast<int>(shape.below(3));
  co.replicas = 3;
  co.min_in_sync = shape.chance(0.8) ? 2 : 1;
  how.min_in_sync_least = how.min_in_sync_most = co.min_in_sync;
  if (shape.chance(0.3)) ++how.min_in_sync_most;
  how.reckless = shape.chance(0.15);
  co.unclean_election = shape.chance(0.15);
  co.segment_bytes = shape.chance(0.5) ? 256 << 10 : 48 << 10;
  co.drift = shape.chance(0.5) ? 0.09 : 0.001;
  co.trust_refused = shape.chance(0.8);
  co.entities = shape.chance(0.5);

  storm_result result;
  result.shape = std::to_string(co.nodes) + " nodes, " + std::to_string(co.partitions) + " partitions, min.insync " +
                 std::to_string(co.min_in_sync) + (how.grows ? ", grows" : "") + (how.reckless ? ", reckless" : "") +
                 (co.unclean_election ? ", unclean election" : "") + (co.entities ? ", entities" : "");
  cluster c{co};
  if (o.tell) c.ground().on_line = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
  weather_maker faults{c, how};
  if (!c.form()) c.judge().broken("I33: the cluster did not form: " + c.unrest());
  if (c.judge().violations().empty()) {
    c.add_producer(c.orders(), {.in_flight = 5});
    c.add_producer(c.orders(), {.in_flight = 1});
    c.add_consumer(c.orders(), false);
    c.add_consumer(c.orders(), true);
    c.begin_calls();
    c.run(1s);
    faults.begin(o.length);
    const newcomers come{c, o.length};
    c.run(o.length);
    faults.end();
    c.heal();
    c.run(1s);
    for (const auto& p : c.producers()) p->stop();
    c.stop_calls();
    const auto settle_in = [&](duration recovery, bool of_lost) {
      const auto calm = [&] { return c.unrest(of_lost).empty() || !c.judge().violations().empty(); };
      if (!c.run_until(calm, recovery))
        c.judge().broken("I33: after " + std::to_string(recovery / 1s) + " s of peace " + c.unrest());
    };
    const auto settle = [&] {
      settle_in(o.recovery, false);
      settle_in(o.recovery + 3 * unknown_producers::wait, true);
    };
    settle();
    c.run(1s);
    settle();  // somebody may have found damage at last, and started again
    if (co.entities) c.judge().look_at_entities();
  }
  if (c.ground().exhausted()) c.judge().broken("I33: messages without end");
  result.violations = c.judge().violations();
  if (!result.violations.empty()) result.story.assign(c.ground().story().begin(), c.ground().story().end());
  result.happened = faults.happened();
  result.happened["unclean elections"] += c.judge().seen().unclean_elections;
  result.happened["records lost by them"] += c.judge().seen().lost_records;
  result.happened["replicas found damaged"] += c.judge().seen().damaged_replicas;
  result.happened["nodes fenced"] += c.judge().fences().fenced();
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
