// What clients notice of planned work and of short pauses: three nodes, three replicas, acks=all, every write synced.
//
// Restarts: SIGTERM, one node after the other, each started again at once and waited for until it is in sync. Drains:
// an operator moves everything that a node leads away, and takes that back. Between them every partition gets its
// preferred leader again, as operators do it, so that each node has something to hand over. Pauses: SIGSTOP of a leader
// or of the controller for at most 300 ms, which must make nobody take over.
//
// Two kinds of clients look at it. Probes, one a partition: a batch every few ms to the leader, and when that refuses
// to every node without back-off until one takes it; the longest time between two acknowledgements is how long the
// partition had no leader, plus the probe's own pace and latency. And an idempotent librdkafka producer with its
// default settings: no record may fail. At the end the log is read: what was acknowledged is in it once, in order.

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "runtime/base/random.hpp"
#include "tests/bench/common/cluster.hpp"
#include "tests/bench/common/kafka.hpp"
#include "tests/integration/raw.hpp"

using namespace std::chrono_literals;
using namespace troupe::bench;
using namespace troupe::test;

namespace {

constexpr int nodes = 3;
constexpr const char* topic = "restart";

struct settings {
  int rounds{1}, drains{1}, pauses{30}, partitions{6};
  std::chrono::milliseconds pause{300}, pace{5};
  /// After a restart, before anything else: librdkafka may wait for 10 s before it connects to that node again.
  std::chrono::milliseconds settle{12'000};
  std::string log_level{"warn"}, debug;
};

settings read(int argc, char** argv) {
  options words{argc, argv,
                "[--rounds=1, of restarts] [--drains=1, rounds of them] [--pauses=30] [--pause-ms=300] "
                "[--partitions=6] [--settle-ms=12000, after a restart] [--pace-ms=5] [--log-level=warn] "
                "[--client-debug=broker,topic,msg]"};
  const auto time = [&](const char* name, std::chrono::milliseconds fallback) {
    return std::chrono::milliseconds{words.count(name, static_cast<int>(fallback.count()))};
  };
  settings s;
  s.rounds = words.count("rounds", s.rounds);
  s.drains = words.count("drains", s.drains);
  s.pauses = words.count("pauses", s.pauses);
  s.partitions = words.count("partitions", s.partitions);
  s.pause = time("pause-ms", s.pause);
  s.settle = time("settle-ms", s.settle);
  s.pace = time("pace-ms", s.pace);
  s.log_level = words.text("log-level", s.log_level);
  s.debug = words.text("client-debug", {});
  words.done();
  if (s.partitions < 1) die("partitions are counted from 1");
  return s;
}

/// A client of one partition without any back-off.
class probe {
public:
  probe(const cluster& c, int partition, std::chrono::milliseconds pace)
      : cluster_{c}, pace_{pace}, partition_{partition}, thread_{[this] { run(); }} {}
  ~probe() {
    ending_ = true;
    thread_.join();
  }
  /// The longest time between two acknowledgements, of those that ended in [from, until).
  double longest_gap_ms(clock_type::time_point from, clock_type::time_point until) const {
    std::lock_guard lock{mutex_};
    double longest = 0;
    for (std::size_t i = 1; i < taken_.size(); ++i)
      if (taken_[i] >= from && taken_[i] < until) longest = std::max(longest, ms(taken_[i] - taken_[i - 1]));
    return longest;
  }

private:
  void run() {
    const auto body = produce_body(topic, partition_, record_batch({"probe"}));
    std::map<int, std::optional<connection>> to;
    for (int n = 1; !ending_;) {
      if (take(to[n], n, body)) {
        std::lock_guard lock{mutex_};
        taken_.push_back(clock_type::now());
      } else {
        n = n % nodes + 1;
        // Once around all nodes; then not hotter than a link's round trip.
        if (n == 1) std::this_thread::sleep_for(1ms);
        continue;
      }
      std::this_thread::sleep_for(pace_);
    }
  }
  bool take(std::optional<connection>& link, int n, const std::string& body) const {
    try {
      if (!link) link.emplace(cluster_.kafka_port(n));
      if (auto answer = link->ask(0, 3, body)) {
        answer->i32(), answer->str(), answer->i32(), answer->i32();
        return answer->i16() == 0;
      }
    } catch (const std::exception&) {
    }
    link.reset();
    return false;
  }

  const cluster& cluster_;
  const std::chrono::milliseconds pace_;
  const int partition_;
  std::atomic<bool> ending_{false};
  mutable std::mutex mutex_;
  std::vector<clock_type::time_point> taken_;
  std::thread thread_;
};

class run {
public:
  explicit run(const settings& s) : settings_{s}, cluster_{{.nodes = nodes, .log_level = s.log_level}} {
    std::vector<std::vector<int>> replicas;
    for (int p = 0; p < s.partitions; ++p)
      replicas.push_back({preferred(static_cast<std::size_t>(p)), (p + 1) % nodes + 1, (p + 2) % nodes + 1});
    cluster_.create_topic(topic, replicas);
    producer_.emplace(cluster_.bootstrap(), topic, s.partitions, s.pace, s.debug);
    for (int p = 0; p < s.partitions; ++p) probes_.push_back(std::make_unique<probe>(cluster_, p, s.pace));
    cluster_.wait_for("the first records", [&] { return producer_->acknowledged() > 200; });
    settle();
  }

  void quiet() {
    const auto from = clock_type::now();
    settle();
    report("nothing happens, all partitions", {{from, clock_type::now()}});
  }

  void restarts() {
    std::vector<span> all, elections;
    std::vector<double> stopped, back;
    for (int round = 0; round < settings_.rounds; ++round)
      for (int n = 1; n <= nodes; ++n) {
        const auto from = clock_type::now();
        if (const auto code = cluster_.stop(n); code != 0)
          die("node " + std::to_string(n) + (code ? " ended with " + std::to_string(*code) : " does not stop"));
        stopped.push_back(ms(clock_type::now() - from));
        cluster_.start(n);
        cluster_.wait_in_sync(topic, nodes);
        back.push_back(ms(clock_type::now() - from));
        std::this_thread::sleep_for(settings_.settle);
        all.push_back({from, clock_type::now(), n});
        elections.push_back(prefer(n));
      }
    report("rolling restart, a node each", all);
    show_ms("  SIGTERM until the process has ended", stopped);
    show_ms("  SIGTERM until it is in sync again", back);
    report("preferred leaders elected", elections);
  }

  void drains() {
    std::vector<span> all;
    std::vector<double> empty;
    for (int round = 0; round < settings_.drains; ++round)
      for (int n = 1; n <= nodes; ++n) {
        const auto asked = n % nodes + 1;
        const auto path = "/v1/nodes/" + std::to_string(n);
        const auto from = clock_type::now();
        const auto answer = http(cluster_.http_port(asked), path, R"({"action":"drain"})");
        if (answer.status == 400) {
          std::printf("drains: NOT RUN, this node does not offer them: %s\n", answer.body.c_str());
          return;
        }
        if (answer.status / 100 != 2) die("drain of node " + std::to_string(n) + ": " + answer.body);
        cluster_.wait_for(
            "node " + std::to_string(n) + " to lead nothing",
            [&] {
              const auto now = cluster_.partitions(asked, topic);
              return now && std::none_of(now->begin(), now->end(), [&](auto& p) { return p.leader == n; });
            },
            2ms);
        empty.push_back(ms(clock_type::now() - from));
        settle();
        all.push_back({from, clock_type::now(), n});
        const auto undone = http(cluster_.http_port(asked), path, R"({"action":"undo"})");
        if (undone.status / 100 != 2) die("undo of node " + std::to_string(n) + ": " + undone.body);
        cluster_.wait_in_sync(topic, nodes);
        settle();
        prefer(n);
      }
    report("drain, a node each", all);
    show_ms("  asked until the node leads nothing", empty);
  }

  void pauses() {
    troupe::random_source random{7};
    std::vector<span> all;
    int taken_over = 0, controllers = 0, shrunk = 0;
    for (int i = 0; i < settings_.pauses; ++i) {
      const auto before = state();
      const bool controller = i % 2 == 0;
      const int victim =
          controller ? before.facts.controller : before.partitions.at(random.below(before.partitions.size())).leader;
      controllers += victim == before.facts.controller;
      // One in three is shorter; the others stand still for as long as may be.
      const auto time = i % 3 ? settings_.pause : settings_.pause * static_cast<int>(20 + random.below(80)) / 100;
      const auto from = clock_type::now();
      cluster_.signal(victim, SIGSTOP);
      std::this_thread::sleep_for(time);
      cluster_.signal(victim, SIGCONT);
      std::this_thread::sleep_for(1500ms);  // longer than what an election takes
      all.push_back({from, clock_type::now(), victim});
      const auto after = state();
      if (after == before) continue;
      if (after.led_as(before)) {
        ++shrunk;
      } else {
        ++taken_over;
        std::printf("  pause %d of node %d%s, %lld ms: taken over; controller %d -> %d, term %llu -> %llu%s\n", i + 1,
                    victim, victim == before.facts.controller ? " (controller)" : "",
                    static_cast<long long>(time.count()), before.facts.controller, after.facts.controller,
                    static_cast<unsigned long long>(before.facts.term),
                    static_cast<unsigned long long>(after.facts.term), after.moved(before).c_str());
      }
      cluster_.wait_in_sync(topic, nodes);
    }
    if (settings_.pauses == 0) return;
    report("pauses", all);
    std::printf(
        "  %d pauses of at most %lld ms, %d of them of the controller: %d take-overs (goal 0), %d changes of an ISR "
        "alone\n",
        settings_.pauses, static_cast<long long>(settings_.pause.count()), controllers, taken_over, shrunk);
    failed_ |= taken_over > 0;
  }

  int finish() {
    probes_.clear();
    producer_->finish();
    const auto found = judge(*producer_, cluster_.bootstrap(), topic, settings_.partitions);
    std::printf("\nlibrdkafka: %llu acknowledged, %llu failed (goal 0); %llu lost, %llu twice, %llu out of order\n",
                static_cast<unsigned long long>(producer_->acknowledged()),
                static_cast<unsigned long long>(producer_->failed()), static_cast<unsigned long long>(found.lost),
                static_cast<unsigned long long>(found.twice), static_cast<unsigned long long>(found.disordered));
    return found.sum() + producer_->failed() == 0 && !failed_ ? 0 : 1;
  }

private:
  /// What happened to the partitions that prefer `node`; 0: to all of them.
  struct span {
    clock_type::time_point from, until;
    int node{0};
  };
  struct seen {
    cluster_facts facts;
    std::vector<partition_view> partitions;
    bool operator==(const seen&) const = default;
    /// Leaders and controller are what they were.
    bool led_as(const seen& former) const {
      return facts == former.facts &&
             std::equal(partitions.begin(), partitions.end(), former.partitions.begin(),
                        [](auto& a, auto& b) { return a.leader == b.leader && a.epoch == b.epoch; });
    }
    std::string moved(const seen& former) const {
      std::string all;
      for (std::size_t i = 0; i < partitions.size(); ++i)
        if (partitions[i].leader != former.partitions[i].leader || partitions[i].epoch != former.partitions[i].epoch)
          all += ", partition " + std::to_string(i) + " led by " + std::to_string(former.partitions[i].leader) +
                 " -> " + std::to_string(partitions[i].leader);
      return all;
    }
  };

  static void settle() { std::this_thread::sleep_for(2s); }

  /// As all nodes that are up to date see it.
  seen state() const {
    seen last;
    cluster_.wait_for("all nodes to agree", [&] {
      std::vector<seen> all;
      for (int n = 1; n <= nodes; ++n) {
        const auto facts = cluster_.facts(n);
        const auto partitions = cluster_.partitions(n, topic);
        if (!facts || !partitions || facts->controller < 0) return false;
        all.push_back({*facts, *partitions});
      }
      last = all.front();
      return all[0] == all[1] && all[1] == all[2];
    });
    return last;
  }

  /// Each partition is led by its first replica again.
  span prefer(int for_node) const {
    const auto from = clock_type::now();
    for (int p = 0; p < settings_.partitions; ++p)
      http(cluster_.http_port(1), std::string{"/v1/partitions/"} + topic + "/" + std::to_string(p),
           R"({"elect":"preferred"})");
    cluster_.wait_for("the preferred leaders", [&] {
      const auto now = cluster_.partitions(1, topic);
      if (!now) return false;
      for (std::size_t p = 0; p < now->size(); ++p)
        if (now->at(p).leader != preferred(p)) return false;
      return true;
    });
    settle();
    return {from, clock_type::now(), for_node};
  }

  void report(const char* what, const std::vector<span>& spans) {
    if (spans.empty()) return;
    std::vector<double> its, others, latencies;
    for (const auto& s : spans) {
      for (std::size_t p = 0; p < probes_.size(); ++p)
        (s.node == 0 || s.node == preferred(p) ? its : others).push_back(probes_[p]->longest_gap_ms(s.from, s.until));
      const auto found = producer_->latencies_ms(s.from, s.until);
      latencies.insert(latencies.end(), found.begin(), found.end());
    }
    std::printf("%s\n", what);
    show_ms("  longest gap of each partition it led", std::move(its));
    show_ms("  longest gap of each other partition", std::move(others));
    show_ms("  latency of librdkafka, a record each", std::move(latencies));
  }

  static int preferred(std::size_t partition) { return static_cast<int>(partition) % nodes + 1; }

  const settings settings_;
  cluster cluster_;
  std::optional<paced_producer> producer_;
  std::vector<std::unique_ptr<probe>> probes_;
  bool failed_{false};
};

}  // namespace

int main(int argc, char** argv) {
  const auto s = read(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::printf("%d partitions, a record each %lld ms by librdkafka %s, and by the probe of each partition\n\n",
              s.partitions, static_cast<long long>(s.pace.count()), rd_kafka_version_str());
  run r{s};
  r.quiet();
  r.restarts();
  r.drains();
  r.pauses();
  return r.finish();
}
