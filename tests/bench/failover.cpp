// How long a partition takes no records when its leader dies: three nodes, three replicas, acks=all, every write
// synced.
//
// Two clients look at it. One has no back-off of its own: it sends a batch to every node that is left, again and again,
// until one takes it; that is what the cluster needs. The other is an idempotent librdkafka producer with its default
// settings; what it needs more is its own reconnecting and asking for metadata. At the end the log is read: what was
// acknowledged is in it once, in order.

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/raw.hpp"

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using namespace troupe::test;

namespace {

constexpr int nodes = 3;
constexpr const char* topic = "failover";

struct settings {
  int kills{50};
  bool pause{false};  ///< SIGSTOP instead of SIGKILL: the node falls silent
  std::chrono::milliseconds stopped_for{6s};
  std::chrono::milliseconds settle{
      12s};  ///< after the node is back in sync: librdkafka may wait for 10 s before it connects to it again
  std::string log_level{"warn"};
  std::uint16_t port{19500};
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "failover: %s\n", why.c_str());
  std::exit(1);
}

double ms(clock_type::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

class cluster {
public:
  explicit cluster(const settings& s) : settings_{s} {
    home_ = std::filesystem::temp_directory_path() / ("troupe-failover-" + std::to_string(::getpid()));
    for (int n = 1; n <= nodes; ++n) start(n);
  }
  ~cluster() {
    for (int n = 1; n <= nodes; ++n) kill(n, SIGKILL);
    std::error_code ignored;
    std::filesystem::remove_all(home_, ignored);
  }

  void start(int n) {
    const auto data = home_ / std::to_string(n);
    std::filesystem::create_directories(data);
    std::vector<std::string> words{TROUPE_NODE,
                                   "--node-id=" + std::to_string(n),
                                   "--data-dir=" + (data / "data").string(),
                                   "--kafka=127.0.0.1:" + std::to_string(kafka(n)),
                                   "--http=127.0.0.1:" + std::to_string(kafka(n) + 10),
                                   "--cluster=127.0.0.1:" + std::to_string(kafka(n) + 20),
                                   "--log-level=" + settings_.log_level};
    if (n != 1) words.push_back("--join=127.0.0.1:" + std::to_string(kafka(1) + 20));
    const auto log = (data / "log").string();
    const auto parent = ::getpid();
    const auto pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      if (!std::freopen(log.c_str(), "a", stderr) || !std::freopen("/dev/null", "w", stdout)) ::_exit(1);
      std::vector<char*> argv;
      for (auto& w : words) argv.push_back(w.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    pids_[n] = pid;
  }
  void kill(int n, int signal) {
    if (!pids_.contains(n)) return;
    ::kill(pids_[n], signal);
    if (signal != SIGKILL) return;
    ::waitpid(pids_[n], nullptr, 0);
    pids_.erase(n);
  }
  std::uint16_t kafka(int n) const { return static_cast<std::uint16_t>(settings_.port + n); }
  std::string bootstrap() const {
    std::string all;
    for (int n = 1; n <= nodes; ++n) all += (n > 1 ? "," : "") + ("127.0.0.1:" + std::to_string(kafka(n)));
    return all;
  }
  const std::filesystem::path& home() const { return home_; }

private:
  const settings settings_;
  std::filesystem::path home_;
  std::map<int, pid_t> pids_;
};

/// What a node says of partition 0.
struct seen {
  int leader{-1};
  std::size_t in_sync{0};
};
std::optional<seen> look(std::uint16_t port) {
  try {
    connection c{port};
    auto answer = c.ask(3, 1, writer{}.i32(1).str(topic).bytes());
    if (!answer) return std::nullopt;
    for (auto n = answer->i32(); n > 0; --n) answer->i32(), answer->str(), answer->i32(), answer->null_str();
    answer->i32();  // controller
    if (answer->i32() != 1) return std::nullopt;
    answer->i16(), answer->str(), answer->i8();
    if (answer->i32() < 1) return std::nullopt;
    seen s;
    answer->i16(), answer->i32();
    s.leader = static_cast<int>(answer->i32());
    for (auto n = answer->i32(); n > 0; --n) answer->i32();
    s.in_sync = static_cast<std::size_t>(answer->i32());
    return s;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

bool is_controller(std::uint16_t http) {
  const auto command = "curl -s http://127.0.0.1:" + std::to_string(http) + "/metrics | grep -qx 'troupe_controller 1'";
  return std::system(command.c_str()) == 0;
}

/// When a batch sent from `from` on, to whoever is left, was first acknowledged.
clock_type::time_point first_taken(const cluster& c, int without, clock_type::time_point limit) {
  std::map<int, std::optional<connection>> to;
  while (clock_type::now() < limit) {
    for (int n = 1; n <= nodes; ++n) {
      if (n == without) continue;
      try {
        auto& link = to[n];
        if (!link) link.emplace(c.kafka(n));
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

/// Sends numbers to partition 0, one about every 5 ms, and knows when which was acknowledged.
class producer {
public:
  explicit producer(const std::string& bootstrap) {
    auto* conf = rd_kafka_conf_new();
    char text[512];
    for (const auto& [key, value] : std::vector<std::pair<const char*, std::string>>{
             {"bootstrap.servers", bootstrap}, {"enable.idempotence", "true"}, {"log_level", "0"}})
      if (rd_kafka_conf_set(conf, key, value.c_str(), text, sizeof text) != RD_KAFKA_CONF_OK) die(text);
    rd_kafka_conf_set_opaque(conf, this);
    rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* m, void* self) {
      static_cast<producer*>(self)->delivered(*m);
    });
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!client_) die(text);
    rkt_ = rd_kafka_topic_new(client_, topic, nullptr);
    thread_ = std::thread{[this] { run(); }};
  }
  /// What could not be sent by the end is lost.
  void finish() {
    ending_ = true;
    thread_.join();
    if (rd_kafka_flush(client_, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR)
      die("the producer does not get rid of its records");
    rd_kafka_topic_destroy(rkt_);
    rd_kafka_destroy(client_);
  }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t failed() const { return failed_; }
  const std::vector<std::uint64_t>& numbers() const { return numbers_; }
  /// The first acknowledgement of a record that was sent after `from`.
  std::optional<clock_type::time_point> acknowledged_after(clock_type::time_point from) {
    std::lock_guard lock{mutex_};
    const auto at = std::upper_bound(times_.begin(), times_.end(), from);
    return at == times_.end() ? std::nullopt : std::optional{*at};
  }

private:
  void delivered(const rd_kafka_message_t& m) {
    if (m.err) {
      ++failed_;
      return;
    }
    ++acknowledged_;
    std::lock_guard lock{mutex_};
    times_.push_back(clock_type::now());
    numbers_.push_back(std::stoull(std::string{static_cast<const char*>(m.payload), m.len}));
  }
  void run() {
    for (std::uint64_t next = 0; !ending_; ++next) {
      const auto text = std::to_string(next);
      while (rd_kafka_produce(rkt_, 0, RD_KAFKA_MSG_F_COPY, const_cast<char*>(text.data()), text.size(), nullptr, 0,
                              nullptr) != 0)
        rd_kafka_poll(client_, 5);
      rd_kafka_poll(client_, 5);
    }
  }

  rd_kafka_t* client_;
  rd_kafka_topic_t* rkt_;
  std::thread thread_;
  std::atomic<bool> ending_{false};
  std::atomic<std::uint64_t> acknowledged_{0}, failed_{0};
  std::mutex mutex_;
  std::vector<clock_type::time_point> times_;
  std::vector<std::uint64_t> numbers_;
};

/// Everything in partition 0.
std::vector<std::uint64_t> read_all(const std::string& bootstrap) {
  FILE* in =
      ::popen(("kcat -C -b " + bootstrap + " -t " + topic + " -p 0 -o beginning -e -q 2>/dev/null").c_str(), "r");
  if (!in) die("kcat does not start");
  std::vector<std::uint64_t> all;
  char line[64];
  while (std::fgets(line, sizeof line, in)) all.push_back(std::strtoull(line, nullptr, 10));
  ::pclose(in);
  return all;
}

void show(const char* what, std::vector<double> of) {
  if (of.empty()) return;
  std::sort(of.begin(), of.end());
  const auto at = [&](double q) { return of[std::min(of.size() - 1, static_cast<std::size_t>(q * of.size()))]; };
  std::printf("%-44s %4zu   p50 %6.0f   p90 %6.0f   p99 %6.0f   max %6.0f ms\n", what, of.size(), at(0.5), at(0.9),
              at(0.99), of.back());
}

settings read(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = word.substr(word.find('=') + 1);
    if (word.starts_with("--kills="))
      s.kills = std::stoi(value);
    else if (word == "--silent")
      s.pause = true;
    else if (word.starts_with("--stopped-ms="))
      s.stopped_for = std::chrono::milliseconds{std::stoi(value)};
    else if (word.starts_with("--settle-ms="))
      s.settle = std::chrono::milliseconds{std::stoi(value)};
    else if (word.starts_with("--log-level="))
      s.log_level = value;
    else if (word.starts_with("--port="))
      s.port = static_cast<std::uint16_t>(std::stoi(value));
    else
      die("usage: [--kills=50] [--silent] [--stopped-ms=6000] [--settle-ms=12000] [--log-level=warn] [--port=19500]");
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  const auto s = read(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  cluster c{s};
  const auto wait_for = [&](const char* what, auto holds) {
    for (const auto limit = clock_type::now() + 60s; !holds();) {
      if (clock_type::now() > limit) die(std::string{"waited a minute for "} + what + "; logs in " + c.home().string());
      std::this_thread::sleep_for(20ms);
    }
  };
  for (int n = 1; n <= nodes; ++n)
    wait_for("the nodes", [&] {
      try {
        return connection{c.kafka(n)}.ask(3, 0, writer{}.i32(0).bytes()).has_value();
      } catch (const std::exception&) {
        return false;
      }
    });
  // Partition 0 is for librdkafka, partition 1 for the client without back-off; both on the same replicas in the same
  // order, so that one leader leads both.
  {
    writer body;
    body.i32(1).str(topic).i32(-1).i16(-1).i32(2);
    for (int p = 0; p < 2; ++p) {
      body.i32(p).i32(nodes);
      for (int n = 1; n <= nodes; ++n) body.i32(n);
    }
    body.i32(0).i32(10'000).i8(0);
    if (!connection{c.kafka(1)}.ask(19, 2, body.bytes())) die("the topic cannot be created");
  }
  const auto settled = [&] {
    for (int n = 1; n <= nodes; ++n)
      if (const auto now = look(c.kafka(n)); !now || now->leader < 0 || now->in_sync != nodes) return false;
    return true;
  };
  wait_for("all replicas in sync", settled);
  producer p{c.bootstrap()};
  wait_for("the first records", [&] { return p.acknowledged() > 100; });

  std::vector<double> cluster_alone, cluster_with_controller, client_alone, client_with_controller;
  int taken_over = 0;
  for (int round = 1; round <= s.kills; ++round) {
    std::this_thread::sleep_for(s.settle);
    const auto before = look(c.kafka(1));
    if (!before) die("node 1 does not answer");
    const int victim = before->leader;
    const bool controls = is_controller(static_cast<std::uint16_t>(c.kafka(victim) + 10));
    const auto at = clock_type::now();
    c.kill(victim, s.pause ? SIGSTOP : SIGKILL);
    std::optional<std::thread> waker;
    if (s.pause)
      waker.emplace([&] {
        std::this_thread::sleep_for(s.stopped_for);
        c.kill(victim, SIGCONT);
      });
    const auto taken = first_taken(c, victim, at + 30s);
    std::optional<clock_type::time_point> acknowledged;
    wait_for("the producer", [&] { return (acknowledged = p.acknowledged_after(at + 1ms)).has_value(); });
    if (waker) waker->join();
    if (!s.pause) c.start(victim);
    const bool moved = taken != clock_type::time_point::max();
    taken_over += moved;
    (controls ? cluster_with_controller : cluster_alone).push_back(ms(taken - at));
    (controls ? client_with_controller : client_alone).push_back(ms(*acknowledged - at));
    std::printf("%3d  node %d%s  the cluster %6.0f ms, librdkafka %6.0f ms\n", round, victim,
                controls ? ", controller," : "             ", ms(taken - at), ms(*acknowledged - at));
    wait_for("all replicas in sync", settled);
  }
  p.finish();

  const auto log = read_all(c.bootstrap());
  std::map<std::uint64_t, int> times;
  std::uint64_t twice = 0, lost = 0, disordered = 0;
  for (const auto n : log) twice += ++times[n] == 2;
  for (const auto n : p.numbers()) lost += !times.contains(n);
  for (std::size_t i = 1; i < log.size(); ++i) disordered += log[i] <= log[i - 1];
  std::printf("\n%s of the leader, %d times; from then on until the next record is acknowledged:\n",
              s.pause ? "SIGSTOP" : "kill -9", s.kills);
  show("the cluster (a client without back-off)", cluster_alone);
  show("  where the leader was the controller, too", cluster_with_controller);
  show("librdkafka, default settings", client_alone);
  show("  where the leader was the controller, too", client_with_controller);
  auto all = client_alone;
  all.insert(all.end(), client_with_controller.begin(), client_with_controller.end());
  show("librdkafka, all", all);
  std::printf("%llu acknowledged, %llu failed, %llu lost, %llu twice, %llu out of order\n",
              static_cast<unsigned long long>(p.acknowledged()), static_cast<unsigned long long>(p.failed()),
              static_cast<unsigned long long>(lost), static_cast<unsigned long long>(twice),
              static_cast<unsigned long long>(disordered));
  return lost + twice + disordered + p.failed() == 0 ? 0 : 1;
}
