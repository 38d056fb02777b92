// How long a partition takes no records when its leader dies: three nodes, three replicas, acks=all, every write
// synced.
//
// Two clients look at it. One has no back-off of its own: it sends a batch to every node that is left, again and again,
// until one takes it; that is what the cluster needs. The other is an idempotent librdkafka producer with its default
// settings; what it needs more is its own reconnecting and asking for metadata. At the end the log is read: what was
// acknowledged is in it once, in order.
//
// Every third leader that dies is the controller, too.

#include <signal.h>

#include <cstdio>
#include <map>
#include <optional>
#include <thread>

#include "tests/bench/common/cluster.hpp"
#include "tests/bench/common/kafka.hpp"
#include "tests/integration/raw.hpp"

using namespace std::chrono_literals;
using namespace troupe::bench;
using namespace troupe::test;

namespace {

constexpr int nodes = 3;
constexpr const char* topic = "failover";

struct settings {
  int kills{50};
  bool pause{false};  ///< SIGSTOP instead of SIGKILL: the node falls silent
  std::chrono::milliseconds stopped_for{6s};
  /// After the node is back in sync: librdkafka may wait for 10 s before it connects to it again.
  std::chrono::milliseconds settle{12s};
  std::string log_level{"warn"};
};

settings read(int argc, char** argv) {
  options words{argc, argv, "[--kills=50] [--silent] [--stopped-ms=6000] [--settle-ms=12000] [--log-level=warn]"};
  settings s;
  s.kills = words.count("kills", s.kills);
  s.pause = words.flag("silent");
  s.stopped_for = std::chrono::milliseconds{words.count("stopped-ms", 6000)};
  s.settle = std::chrono::milliseconds{words.count("settle-ms", 12'000)};
  s.log_level = words.text("log-level", s.log_level);
  words.done();
  return s;
}

/// When a batch sent from `from` on, to whoever is left, was first acknowledged.
clock_type::time_point first_taken(const cluster& c, int without, clock_type::time_point limit) {
  std::map<int, std::optional<connection>> to;
  while (clock_type::now() < limit) {
    for (int n = 1; n <= nodes; ++n) {
      if (n == without) continue;
      try {
        auto& link = to[n];
        if (!link) link.emplace(c.kafka_port(n));
        auto answer = link->ask(0, 3, produce_body(topic, 1, record_batch({"probe"})));
        if (!answer) {
          link.reset();
          continue;
        }
        answer->i32(), answer->str(), answer->i32(), answer->i32();
        if (answer->i16() == 0) return clock_type::now();
      } catch (const std::exception&) {
        to[n].reset();
      }
    }
    std::this_thread::sleep_for(2ms);
  }
  return clock_type::time_point::max();
}

}  // namespace

int main(int argc, char** argv) {
  const auto s = read(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  cluster c{{.nodes = nodes, .log_level = s.log_level}};
  // Partition 0 is for librdkafka, partition 1 for the client without back-off; both on the same replicas in the same
  // order, so that one leader leads both.
  c.create_topic(topic, {{1, 2, 3}, {1, 2, 3}});
  paced_producer p{c.bootstrap(), topic, 1, 5ms};
  c.wait_for("the first records", [&] { return p.acknowledged() > 100; });

  std::vector<double> cluster_alone, cluster_with_controller, client_alone, client_with_controller;
  for (int round = 1; round <= s.kills; ++round) {
    if (const auto now = c.facts(1); round % 3 == 1 && now && now->controller > 0) c.let_lead(now->controller, topic);
    std::this_thread::sleep_for(s.settle);
    const auto before = c.partitions(1, topic);
    if (!before) die("node 1 does not answer");
    const int victim = before->at(0).leader;
    const auto facts = c.facts(victim);
    const bool controls = facts && facts->controller == victim;
    const auto at = clock_type::now();
    c.signal(victim, s.pause ? SIGSTOP : SIGKILL);
    std::optional<std::thread> waker;
    if (s.pause)
      waker.emplace([&] {
        std::this_thread::sleep_for(s.stopped_for);
        c.signal(victim, SIGCONT);
      });
    const auto taken = first_taken(c, victim, at + 30s);
    std::optional<clock_type::time_point> acknowledged;
    c.wait_for("the producer", [&] { return (acknowledged = p.acknowledged_after(at + 1ms)).has_value(); });
    if (waker) waker->join();
    if (!s.pause) c.kill(victim), c.start(victim);
    (controls ? cluster_with_controller : cluster_alone).push_back(ms(taken - at));
    (controls ? client_with_controller : client_alone).push_back(ms(*acknowledged - at));
    std::printf("%3d  node %d%s  the cluster %6.0f ms, librdkafka %6.0f ms\n", round, victim,
                controls ? ", controller," : "             ", ms(taken - at), ms(*acknowledged - at));
    c.wait_in_sync(topic, nodes);
  }
  p.finish();

  const auto found = judge(p, c.bootstrap(), topic, 1);
  std::printf("\n%s of the leader, %d times; from then on until the next record is acknowledged:\n",
              s.pause ? "SIGSTOP" : "kill -9", s.kills);
  show_ms("the cluster (a client without back-off)", cluster_alone);
  show_ms("  where the leader was the controller, too", cluster_with_controller);
  show_ms("librdkafka, default settings", client_alone);
  show_ms("  where the leader was the controller, too", client_with_controller);
  auto all = client_alone;
  all.insert(all.end(), client_with_controller.begin(), client_with_controller.end());
  show_ms("librdkafka, all", all);
  std::printf("%llu acknowledged, %llu failed, %llu lost, %llu twice, %llu out of order\n",
              static_cast<unsigned long long>(p.acknowledged()), static_cast<unsigned long long>(p.failed()),
              static_cast<unsigned long long>(found.lost), static_cast<unsigned long long>(found.twice),
              static_cast<unsigned long long>(found.disordered));
  return found.sum() + p.failed() == 0 ? 0 : 1;
}
