#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/simulation/cluster.hpp"

/// The faults of a storm, and what operators do meanwhile.
namespace troupe::sim {

class weather_maker {
public:
  struct habits {
    int nodes_max{5};
    bool grows{false};  ///< to `nodes_max`
    /// Logs are damaged beyond what is promised to survive: loss is allowed, where the metadata says so.
    bool reckless{false};
    /// min.insync.replicas is one of these.
    int min_in_sync_least{2}, min_in_sync_most{2};
  };
  weather_maker(cluster&, habits);

  void begin(duration length);
  /// Before everything heals: what only an operator can do.
  void end();
  /// How often each fault really happened, by name.
  const std::map<std::string, std::uint64_t>& happened() const { return happened_; }

private:
  void next();
  void strike();
  int any();
  /// 0: there is no other.
  int other_than(int n);
  void later(duration from, duration to, std::function<void()> what);
  void count(const std::string& what) { ++happened_[what]; }

  // processes and machines
  void kill(int n), power(int n), power_many(int n), pause(int n), stop(int n);
  void slow_disk(int n), io_error(int n), full_disk(int n), clock(int n);
  // the network
  void cut_one_way(int n), cut_pair(int n), isolate(int n), flap(int n), bad_weather(int n), slow_link(int n);
  void join_again(int n);
  // disks that lie
  void new_disk(int n), flip_bits(int n), damage_metadata(int n);
  bool may_lose_logs(int n) const;
  bool may_lose_vote();
  void take_stock();
  bool whole_again(int n);
  // operators
  void reassign(int n), elect(int n), set_min_in_sync(int n), set_voters(int n), extra_topic(int n);
  void retire_extra_clients();
  void join(int n), leave(int n), drain(int n), set_voting(int n);
  void start(int n);

  struct fault {
    const char* name;
    void (weather_maker::*strike)(int);
  };
  static const std::array<fault, 27> faults;

  cluster& c_;
  const habits habits_;
  random_source& random_;
  std::array<std::uint64_t, 27> weights_{};
  instant end_{};
  /// Lost some of its logs, at that start of its disk, and may not have it back yet.
  struct loss {
    uuid disk;
    std::uint64_t starts{0};
  };
  std::map<int, loss> harmed_;
  std::set<int> unreadable_;  ///< their metadata is no good; a new disk has to come
  topic_id extra_;            ///< nil: none at the moment
  int extras_{0};
  producer* extra_producer_{nullptr};
  consumer* extra_consumer_{nullptr};
  std::map<std::string, std::uint64_t> happened_;
};

}  // namespace troupe::sim
