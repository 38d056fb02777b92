// A node under the load of librdkafka: throughput, and above all what a gigabyte costs the node in CPU seconds.
//
// Generator and node share the machine's cores, so MB/s says little about the node; CPU seconds of the node per GB of
// payload (1e9 bytes, user + system, from /proc) is the figure to compare. Beside it, in the same run and interleaved
// with it: the floor that no server can go below, namely receiving the same bytes from a loopback socket and writing
// them to a file with one fdatasync per MiB; and for consuming, sendfile of the same bytes from a file in the page
// cache.
//
// usage: bench_kafka [--node PATH] [--gb N] [--rounds N] [--size BYTES] [--keep DIR]
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/common/kafka.hpp"

using namespace troupe::bench;

namespace {

namespace fs = std::filesystem;

struct settings {
  std::string node;
  double gb{0.5};
  int rounds{5};
  std::size_t size{1024};
  fs::path directory;
};

class node_process {
public:
  node_process(const settings& s, const fs::path& data) : port_{free_port()} {
    const auto kafka = "--kafka=127.0.0.1:" + std::to_string(port_);
    const auto http = "--http=127.0.0.1:" + std::to_string(free_port());
    const auto dir = "--data-dir=" + data.string();
    pid_ = fork();
    if (pid_ == 0) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 1);
      execl(s.node.c_str(), s.node.c_str(), kafka.c_str(), http.c_str(), dir.c_str(), "--log-level=warn", nullptr);
      _exit(127);
    }
    for (int i = 0; i < 500; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in a{};
      a.sin_family = AF_INET;
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      a.sin_port = htons(static_cast<std::uint16_t>(port_));
      const bool up = connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
      close(fd);
      if (up) return;
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) die("the node did not start: " + s.node);
      usleep(10'000);
    }
    die("the node does not listen");
  }
  ~node_process() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  node_process(const node_process&) = delete;
  pid_t pid() const { return pid_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

private:
  int port_;
  pid_t pid_{-1};
};

struct tally {
  std::uint64_t delivered{0}, failed{0};
  std::vector<float> latencies_ms;
};

void count_delivery(rd_kafka_t*, const rd_kafka_message_t* m, void* opaque) {
  auto& t = *static_cast<tally*>(opaque);
  if (m->err)
    ++t.failed;
  else
    ++t.delivered;
  if (m->_private) {
    auto* sent = static_cast<clock_type::time_point*>(m->_private);
    t.latencies_ms.push_back(static_cast<float>(seconds_since(*sent) * 1e3));
    delete sent;
  }
}

struct cost {
  double mb_per_s{0}, node_cpu_per_gb{0}, client_cpu_per_gb{0};
};

void print(const char* what, const std::vector<cost>& runs) {
  std::vector<double> rate, node, client;
  for (auto& r : runs) {
    rate.push_back(r.mb_per_s);
    node.push_back(r.node_cpu_per_gb);
    client.push_back(r.client_cpu_per_gb);
  }
  std::printf("%-44s %8.0f %14.2f %16.2f\n", what, median(rate), median(node), median(client));
  std::fflush(stdout);
}

/// Produces `count` records as fast as the client takes them; rate 0 is unlimited, else records a second with latencies
/// kept.
cost produce(const settings& s, const node_process& node, const char* topic, const std::string& acks,
             std::uint64_t count, double rate, tally& t) {
  auto* client = make_client(RD_KAFKA_PRODUCER, node.address(),
                             {{"acks", acks},
                              {"queue.buffering.max.messages", "500000"},
                              {"queue.buffering.max.kbytes", "524288"},
                              {"linger.ms", rate > 0 ? "0" : "5"}},
                             &t, count_delivery);
  auto* rkt = rd_kafka_topic_new(client, topic, nullptr);
  if (!rkt) die(rd_kafka_err2str(rd_kafka_last_error()));
  wait_for_topic(client, rkt);  // it exists before the clock starts
  const auto payload = payload_of(s.size);

  const auto cpu_before = cpu_of(node.pid());
  const auto own_before = own_cpu();
  const auto start = clock_type::now();
  for (std::uint64_t i = 0; i < count; ++i) {
    void* opaque = nullptr;
    if (rate > 0) {
      const auto due = start + std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(i) / rate * 1e9));
      while (clock_type::now() < due)
        rd_kafka_poll(client, 0), std::this_thread::sleep_for(std::chrono::microseconds(20));
      opaque = new clock_type::time_point{due};
    }
    while (rd_kafka_produce(rkt, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, const_cast<char*>(payload.data()),
                            payload.size(), nullptr, 0, opaque) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die(rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(client, 5);
    }
    if (i % 1024 == 0) rd_kafka_poll(client, 0);
  }
  while (rd_kafka_outq_len(client) > 0) rd_kafka_poll(client, 10);
  const auto took = seconds_since(start);
  const auto gb = static_cast<double>(count * s.size) / 1e9;
  const cost c{gb * 1e3 / took, (cpu_of(node.pid()) - cpu_before) / gb, (own_cpu() - own_before) / gb};
  if (t.failed) die(std::to_string(t.failed) + " records were not delivered");
  rd_kafka_topic_destroy(rkt);
  rd_kafka_destroy(client);
  return c;
}

cost consume(const settings& s, const node_process& node, const char* topic, std::uint64_t count) {
  auto* client = make_client(RD_KAFKA_CONSUMER, node.address(),
                             {{"queued.min.messages", "1000000"},
                              {"queued.max.messages.kbytes", "2097151"},
                              {"fetch.message.max.bytes", "4194304"},
                              {"check.crcs", "false"}},
                             nullptr, nullptr);
  auto* rkt = rd_kafka_topic_new(client, topic, nullptr);
  const auto cpu_before = cpu_of(node.pid());
  const auto own_before = own_cpu();
  const auto start = clock_type::now();
  if (rd_kafka_consume_start(rkt, 0, RD_KAFKA_OFFSET_BEGINNING) != 0) die(rd_kafka_err2str(rd_kafka_last_error()));
  std::uint64_t seen = 0;
  std::vector<rd_kafka_message_t*> batch(10'000);
  while (seen < count) {
    const auto n = rd_kafka_consume_batch(rkt, 0, 20, batch.data(), batch.size());
    for (ssize_t i = 0; i < n; ++i) {
      if (batch[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) ++seen;
      rd_kafka_message_destroy(batch[i]);
    }
    if (seconds_since(start) > 120) die("consumed only " + std::to_string(seen) + " of " + std::to_string(count));
  }
  const auto took = seconds_since(start);
  const auto gb = static_cast<double>(count * s.size) / 1e9;
  const cost c{gb * 1e3 / took, (cpu_of(node.pid()) - cpu_before) / gb, (own_cpu() - own_before) / gb};
  rd_kafka_consume_stop(rkt, 0);
  rd_kafka_topic_destroy(rkt);
  rd_kafka_destroy(client);
  return c;
}

/// What no server can avoid, in a process of its own so that its CPU is apart: `serve` runs there with a connected
/// socket, `drive` here.
cost floor_of(double gb, const std::function<void(int)>& serve, const std::function<void(int)>& drive) {
  const int port = free_port();
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || listen(listener, 1) != 0) die("bind");
  const pid_t child = fork();
  if (child == 0) {
    const int c = accept(listener, nullptr, nullptr);
    setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    serve(c);
    _exit(0);
  }
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) die("connect");
  const auto before = children_cpu();
  const auto own_before = own_cpu();
  const auto start = clock_type::now();
  drive(fd);
  close(fd);
  waitpid(child, nullptr, 0);
  const auto took = seconds_since(start);
  close(listener);
  return {gb * 1e3 / took, (children_cpu() - before) / gb, (own_cpu() - own_before) / gb};
}

void send_all(int fd, std::uint64_t bytes) {
  std::vector<char> buffer(1 << 20, 'x');
  while (bytes > 0) {
    const auto n = send(fd, buffer.data(), std::min<std::uint64_t>(buffer.size(), bytes), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes -= static_cast<std::uint64_t>(n);
  }
  shutdown(fd, SHUT_WR);
  char c;
  while (recv(fd, &c, 1, 0) > 0) {
  }
}

cost produce_floor(const settings& s, double gb) {
  const auto bytes = static_cast<std::uint64_t>(gb * 1e9);
  const auto file = s.directory / "floor";
  auto c = floor_of(
      gb,
      [&](int fd) {
        const int out = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
        std::vector<char> buffer(1 << 20);
        for (;;) {
          std::size_t have = 0;
          while (have < buffer.size()) {
            const auto n = recv(fd, buffer.data() + have, buffer.size() - have, 0);
            if (n <= 0) break;
            have += static_cast<std::size_t>(n);
          }
          if (have == 0 || write(out, buffer.data(), have) < 0) break;
          fdatasync(out);
        }
      },
      [&](int fd) { send_all(fd, bytes); });
  return c;
}

cost consume_floor(const settings& s, double gb) {
  const auto bytes = static_cast<std::uint64_t>(gb * 1e9);
  const auto file = s.directory / "floor";
  return floor_of(
      gb,
      [&](int fd) {
        const int in = open(file.c_str(), O_RDONLY);
        std::uint64_t left = bytes;
        while (left > 0) {
          const auto n = sendfile(fd, in, nullptr, std::min<std::uint64_t>(left, 1 << 20));
          if (n <= 0) break;
          left -= static_cast<std::uint64_t>(n);
        }
      },
      [&](int fd) {
        std::vector<char> buffer(1 << 20);
        while (recv(fd, buffer.data(), buffer.size(), 0) > 0) {
        }
      });
}

settings parse(int argc, char** argv) {
  settings s;
  s.node = (fs::path(argv[0]).parent_path() / "troupe-node").string();
  s.directory = fs::temp_directory_path() / ("bench-kafka-" + std::to_string(getpid()));
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i];
    if (i + 1 >= argc) die("usage: bench_kafka [--node PATH] [--gb N] [--rounds N] [--size BYTES] [--dir DIR]");
    const std::string value = argv[i + 1];
    if (key == "--node")
      s.node = value;
    else if (key == "--gb")
      s.gb = std::stod(value);
    else if (key == "--rounds")
      s.rounds = std::stoi(value);
    else if (key == "--size")
      s.size = std::stoul(value);
    else if (key == "--dir")
      s.directory = value;
    else
      die("unknown option " + key + "; known: --node, --gb, --rounds, --size, --dir");
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto s = parse(argc, argv);
  fs::create_directories(s.directory);
  const auto count = static_cast<std::uint64_t>(s.gb * 1e9 / static_cast<double>(s.size));
  std::printf("%d rounds of %.1f GB in records of %zu bytes; %u cores shared by generator (librdkafka %s) and node\n\n",
              s.rounds, s.gb, s.size, std::thread::hardware_concurrency(), rd_kafka_version_str());
  std::printf("%-44s %8s %14s %16s\n", "medians", "MB/s", "node CPU s/GB", "client CPU s/GB");

  // Before every single measurement: what is free goes cold again within seconds.
  const auto warm = [&] { warm_page_cache(s.directory, s.gb * 1.5e9); };
  std::vector<cost> floor_in, floor_out, acks_1, acks_all, reads;
  double fastest = 0;
  for (int round = 0; round < s.rounds; ++round) {
    warm();
    floor_in.push_back(produce_floor(s, s.gb));
    floor_out.push_back(consume_floor(s, s.gb));
    fs::remove(s.directory / "floor");
    {
      node_process node{s, s.directory / "data"};
      tally t1, t2;
      warm();
      acks_1.push_back(produce(s, node, "acks-1", "1", count, 0, t1));
      warm();
      acks_all.push_back(produce(s, node, "acks-all", "all", count, 0, t2));
      reads.push_back(consume(s, node, "acks-all", count));
      fastest = std::max(fastest, acks_all.back().mb_per_s);
    }
    fs::remove_all(s.directory / "data");
  }
  print("floor: loopback receive + write + fdatasync", floor_in);
  print("produce, acks=1, durability group", acks_1);
  print("produce, acks=all, durability group", acks_all);
  print("floor: sendfile to loopback", floor_out);
  print("consume from the beginning", reads);

  {
    node_process node{s, s.directory / "data"};
    tally t;
    const double rate = 0.2 * fastest * 1e6 / static_cast<double>(s.size);
    const auto records = static_cast<std::uint64_t>(rate * 10);
    produce(s, node, "latency", "all", records, rate, t);
    auto& v = t.latencies_ms;
    std::sort(v.begin(), v.end());
    auto at = [&](double q) {
      return v.empty() ? 0.f : v[std::min(v.size() - 1, static_cast<std::size_t>(q * static_cast<double>(v.size())))];
    };
    std::printf(
        "\nproduce latency at 20 %% load (%.0f MB/s, acks=all, linger 0): p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms\n",
        rate * static_cast<double>(s.size) / 1e6, at(0.5), at(0.99), at(0.999));
  }
  fs::remove_all(s.directory);
}
