#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <vector>

#include "tests/simulation/cluster.hpp"

// `./dev bench simulation`: how much faster than real time a cluster of five plays in the simulator on one thread,
// under load and without faults: two producers and two consumers of a topic with three partitions, and calls to
// entities of every kind. Medians of five rounds, each with another seed.

namespace {

using namespace troupe::sim;

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

struct round {
  double speed, events, records, messages;  ///< a CPU second, but for `speed` a simulated one
};

round play(std::uint64_t seed) {
  constexpr auto length = 120s;
  cluster c{{.seed = seed, .nodes = 5, .partitions = 3, .entities = true}};
  if (!c.form()) {
    std::fprintf(stderr, "bench simulation: the cluster did not form: %s\n", c.unrest().c_str());
    std::exit(1);
  }
  c.add_producer(c.orders(), {.in_flight = 5});
  c.add_producer(c.orders(), {.in_flight = 1});
  c.add_consumer(c.orders(), false);
  c.add_consumer(c.orders(), true);
  c.begin_calls();
  const auto events = c.ground().events(), messages = c.net().sent(), records = c.judge().committed_records();
  const auto began = cpu_seconds();
  c.run(length);
  const auto took = cpu_seconds() - began;
  constexpr auto seconds = static_cast<double>(length / 1s);
  return {seconds / took, static_cast<double>(c.ground().events() - events) / took,
          static_cast<double>(c.judge().committed_records() - records) / seconds,
          static_cast<double>(c.net().sent() - messages) / seconds};
}

}  // namespace

int main() {
  std::vector<round> rounds;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) rounds.push_back(play(seed));
  const auto median = [&](double round::*what) {
    std::ranges::sort(rounds, {}, what);
    return rounds[rounds.size() / 2].*what;
  };
  std::printf("five nodes under load (%.0f records committed and %.0f messages a simulated second), one thread:\n",
              median(&round::records), median(&round::messages));
  std::printf("%.0f x real time a CPU second, %.0f thousand events\n", median(&round::speed),
              median(&round::events) / 1000);
}
