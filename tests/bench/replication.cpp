// What three replicas cost beside one, and how fast a node that was away catches up: three nodes, acks=all.
//
// Nodes, generator (librdkafka) and kernel share the machine, and all nodes share one disk. So MB/s says little about
// the nodes; CPU seconds of each node per GB of payload (1e9 bytes, user + system, from /proc) and the ratio of three
// replicas to one are the figures to compare. One replica and three alternate, for each durability. A follower holds
// all that was acknowledged: all three are in sync throughout.
//
// Catching up: a follower is killed, so many bytes are written, it is started again; the clock runs from its start
// until the ISR has it. What it gets lies in the leader's page cache, unless --cold empties that (needs root).

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>

#include "tests/bench/common/cluster.hpp"
#include "tests/bench/common/kafka.hpp"

using namespace std::chrono_literals;
using namespace troupe::bench;

namespace {

constexpr int nodes = 3;

struct settings {
  double gb{0.3};
  int rounds{3};
  int partitions{1};
  std::size_t size{1024};
  double behind_gb{1};
  bool cold{false};
  std::filesystem::path directory{std::filesystem::temp_directory_path()};
  std::string log_level{"warn"};
};

settings read(int argc, char** argv) {
  options words{argc, argv,
                "[--gb=0.3] [--rounds=3] [--partitions=1] [--size=1024] [--behind-gb=1, 0: no catching up] [--cold] "
                "[--dir=PATH] [--log-level=warn]"};
  settings s;
  s.gb = words.number("gb", s.gb);
  s.rounds = words.count("rounds", s.rounds);
  s.partitions = words.count("partitions", s.partitions);
  s.size = static_cast<std::size_t>(words.count("size", static_cast<int>(s.size)));
  s.behind_gb = words.number("behind-gb", s.behind_gb);
  s.cold = words.flag("cold");
  s.directory = words.text("dir", s.directory.string());
  s.log_level = words.text("log-level", s.log_level);
  words.done();
  if (s.partitions < 1 || s.size < 1 || s.gb <= 0) die("sizes and counts begin at 1");
  return s;
}

/// Partition p is led by node p + 1, and so on around.
std::vector<std::vector<int>> placed(int partitions, int replicas) {
  std::vector<std::vector<int>> all;
  for (int p = 0; p < partitions; ++p) {
    auto& one = all.emplace_back();
    for (int r = 0; r < replicas; ++r) one.push_back((p + r) % nodes + 1);
  }
  return all;
}

std::vector<double> cpu_of_each(const cluster& c) {
  std::vector<double> all;
  for (int n = 1; n <= nodes; ++n) all.push_back(c.cpu(n));
  return all;
}

struct cost {
  double mb_per_s{0}, client_cpu_per_gb{0};
  std::vector<double> cpu_per_gb;  ///< of each node
  double sum() const { return std::accumulate(cpu_per_gb.begin(), cpu_per_gb.end(), 0.0); }
};

/// Writes as fast as the client takes it, until everything is acknowledged.
cost flood(const settings& s, const cluster& c, const std::string& topic, double gb) {
  std::uint64_t failed = 0;
  auto* client = make_client(RD_KAFKA_PRODUCER, c.bootstrap(),
                             {{"acks", "all"},
                              {"log_level", "0"},
                              {"queue.buffering.max.messages", "500000"},
                              {"queue.buffering.max.kbytes", "524288"},
                              {"linger.ms", "5"}},
                             &failed, [](rd_kafka_t*, const rd_kafka_message_t* m, void* count) {
                               *static_cast<std::uint64_t*>(count) += m->err != 0;
                             });
  auto* rkt = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  wait_for_topic(client, rkt);
  const auto payload = payload_of(s.size);
  const auto count = static_cast<std::uint64_t>(gb * 1e9 / static_cast<double>(s.size));

  const auto before = cpu_of_each(c);
  const auto own_before = own_cpu();
  const auto start = clock_type::now();
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto partition = static_cast<std::int32_t>(i / 1000 % static_cast<std::uint64_t>(s.partitions));
    while (rd_kafka_produce(rkt, partition, RD_KAFKA_MSG_F_COPY, const_cast<char*>(payload.data()), payload.size(),
                            nullptr, 0, nullptr) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die(rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(client, 5);
    }
    if (i % 1024 == 0) rd_kafka_poll(client, 0);
  }
  while (rd_kafka_outq_len(client) > 0) rd_kafka_poll(client, 10);
  cost found{gb * 1e3 / seconds_since(start), (own_cpu() - own_before) / gb, {}};
  const auto after = cpu_of_each(c);
  for (std::size_t n = 0; n < after.size(); ++n) found.cpu_per_gb.push_back((after[n] - before[n]) / gb);
  if (failed) die(std::to_string(failed) + " records were not delivered");
  rd_kafka_topic_destroy(rkt);
  rd_kafka_destroy(client);
  return found;
}

double median_of(const std::vector<cost>& all, auto what) {
  std::vector<double> values;
  for (const auto& one : all) values.push_back(what(one));
  return median(std::move(values));
}

void print(const std::string& what, const std::vector<cost>& all) {
  std::printf("%-28s %8.0f %8.2f   ", what.c_str(), median_of(all, [](auto& x) { return x.mb_per_s; }),
              median_of(all, [](auto& x) { return x.sum(); }));
  for (std::size_t n = 0; n < nodes; ++n)
    std::printf(" %6.2f", median_of(all, [n](auto& x) { return x.cpu_per_gb[n]; }));
  std::printf(" %10.2f\n", median_of(all, [](auto& x) { return x.client_cpu_per_gb; }));
}

void compare(const settings& s, const cluster& c, const std::string& durability) {
  std::map<int, std::vector<cost>> by_replicas;
  std::vector<double> rate, cpu;
  for (int round = 0; round < s.rounds; ++round) {
    for (const int replicas : {1, 3}) {
      const auto topic = durability + "-" + std::to_string(replicas) + "-" + std::to_string(round);
      c.create_topic(topic, placed(s.partitions, replicas), {{"durability", durability}});
      warm_page_cache(s.directory, s.gb * 1.2e9 * replicas);
      by_replicas[replicas].push_back(flood(s, c, topic, s.gb));
      c.delete_topic(topic);
    }
    rate.push_back(by_replicas[3].back().mb_per_s / by_replicas[1].back().mb_per_s);
    cpu.push_back(by_replicas[3].back().sum() / by_replicas[1].back().sum());
  }
  for (const auto& [replicas, all] : by_replicas)
    print(durability + ", " + std::to_string(replicas) + (replicas == 1 ? " replica" : " replicas"), all);
  std::printf("%-28s %8.2f %8.2f\n", "  three to one", median(rate), median(cpu));
}

void catch_up(const settings& s, cluster& c, const std::string& durability) {
  const auto topic = "behind-" + durability;
  c.create_topic(topic, placed(s.partitions, 3), {{"durability", durability}});
  constexpr int away = 3;
  c.kill(away);
  c.wait_for("the dead node to leave the ISR", [&] {
    const auto all = c.partitions(1, topic);
    return all && std::all_of(all->begin(), all->end(), [](auto& p) { return p.leader > 0 && p.isr.size() == 2; });
  });
  warm_page_cache(s.directory, s.behind_gb * 3.6e9);
  flood(s, c, topic, s.behind_gb);
  if (s.cold) {
    ::sync();
    std::ofstream drop{"/proc/sys/vm/drop_caches"};
    if (!(drop << "3" << std::flush)) die("--cold needs root, to write to /proc/sys/vm/drop_caches");
  }
  const auto leader = c.cpu(1) + c.cpu(2);
  const auto start = clock_type::now();
  c.start(away);
  c.wait_ready(away);
  const auto ready = seconds_since(start);
  c.wait_for(
      "the node to be in sync again",
      [&] {
        const auto all = c.partitions(1, topic);
        return all && std::all_of(all->begin(), all->end(), [](auto& p) { return p.isr.size() == nodes; });
      },
      5ms);
  const auto took = seconds_since(start);
  std::printf("%-28s %8.0f %8.2f    %.2f leaders, %.2f follower; %.1f s, of which %.1f s until ready\n",
              ("catching up, " + durability).c_str(), s.behind_gb * 1e3 / took,
              (c.cpu(1) + c.cpu(2) - leader + c.cpu(away)) / s.behind_gb, (c.cpu(1) + c.cpu(2) - leader) / s.behind_gb,
              c.cpu(away) / s.behind_gb, took, ready);
  c.delete_topic(topic);
}

}  // namespace

int main(int argc, char** argv) {
  const auto s = read(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::filesystem::create_directories(s.directory);
  cluster c{{.nodes = nodes, .directory = s.directory, .log_level = s.log_level}};
  std::printf(
      "%d rounds of %.1f GB in records of %zu bytes, %d partitions; %u cores and a disk shared by %d nodes and the "
      "generator (librdkafka %s)\n\n",
      s.rounds, s.gb, s.size, s.partitions, std::thread::hardware_concurrency(), nodes, rd_kafka_version_str());
  std::printf("%-28s %8s %8s    %6s %6s %6s %10s\n", "medians; CPU s/GB", "MB/s", "all", "node 1", "node 2", "node 3",
              "generator");
  for (const auto* durability : {"group", "interval"}) compare(s, c, durability);
  if (s.behind_gb <= 0) return 0;
  std::printf("\n%.1f GB behind, %s\n", s.behind_gb, s.cold ? "the page cache emptied" : "from the page cache");
  for (const auto* durability : {"group", "interval"}) catch_up(s, c, durability);
}
