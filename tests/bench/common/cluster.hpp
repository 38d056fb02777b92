#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/bench/common/measure.hpp"

/// Several nodes on this machine: started, stopped, killed; what they say about topics and about themselves.
namespace troupe::bench {

struct http_answer {
  int status{0};  ///< 0: no answer
  std::string body;
};
http_answer http(std::uint16_t port, std::string_view path, std::optional<std::string_view> json = std::nullopt);

struct partition_view {
  int leader{-1};
  std::int64_t epoch{-1};
  std::vector<int> isr;
  bool operator==(const partition_view&) const = default;
};
struct cluster_facts {
  int controller{-1};
  std::uint64_t term{0};
  bool operator==(const cluster_facts&) const = default;
};

class cluster {
public:
  struct setup {
    int nodes{3};
    std::filesystem::path directory{std::filesystem::temp_directory_path()};
    std::string log_level{"warn"};
    std::vector<std::string> more;  ///< further options of each node
  };
  /// Starts all of them and waits until they are ready. Their folder goes with the object, unless something died.
  explicit cluster(setup);
  ~cluster();
  cluster(const cluster&) = delete;

  int size() const { return setup_.nodes; }
  const std::filesystem::path& home() const { return home_; }
  std::filesystem::path data(int n) const { return home_ / std::to_string(n) / "data"; }
  double cpu(int n) const { return pids_.contains(n) ? cpu_of(pids_.at(n)) : 0; }  ///< of its present life
  std::uint16_t kafka_port(int n) const { return ports_.at(n).kafka; }
  std::uint16_t http_port(int n) const { return ports_.at(n).http; }
  std::string address(int n) const { return "127.0.0.1:" + std::to_string(kafka_port(n)); }
  std::string bootstrap() const;

  void start(int n);  ///< does not wait
  void wait_ready(int n) const;
  void signal(int n, int number) const;
  void kill(int n);  ///< kill -9
  /// SIGTERM; the exit code, or nothing when it had to be killed after `limit`.
  std::optional<int> stop(int n, std::chrono::seconds limit = std::chrono::seconds{60});

  /// Each item of `replicas` is a partition, its preferred leader first.
  void create_topic(const std::string& name, const std::vector<std::vector<int>>& replicas,
                    const std::vector<std::pair<std::string, std::string>>& configs = {}) const;
  void delete_topic(const std::string& name) const;
  /// Makes `n`, which has a replica of each, the preferred leader of all partitions, and waits until it leads them.
  void let_lead(int n, const std::string& topic) const;

  /// What node `n` says; nothing when it does not answer or does not know the topic.
  std::optional<std::vector<partition_view>> partitions(int n, const std::string& topic) const;
  std::optional<cluster_facts> facts(int n) const;
  /// All nodes say that all partitions have a leader and this many replicas in sync.
  bool in_sync(const std::string& topic, std::size_t replicas) const;
  void wait_in_sync(const std::string& topic, std::size_t replicas) const;
  void wait_for(const std::string& what, auto holds,
                std::chrono::milliseconds every = std::chrono::milliseconds{20}) const {
    for (const auto limit = clock_type::now() + std::chrono::seconds{120}; !holds(); pause(every))
      if (clock_type::now() > limit) give_up(what);
  }

private:
  struct addresses {
    std::uint16_t kafka, http, link;
  };
  static void pause(std::chrono::milliseconds);
  [[noreturn]] void give_up(const std::string& what) const;

  const setup setup_;
  std::filesystem::path home_;
  std::map<int, addresses> ports_;
  std::map<int, pid_t> pids_;
};

}  // namespace troupe::bench
