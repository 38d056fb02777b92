#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "tests/simulation/process.hpp"

/// I30: a controller fences a node for its silence, and on somebody else's word besides, unless fewer than two other
/// nodes could give it. Counts for itself what reached the controller.
namespace troupe::sim {

class fence_watch {
public:
  explicit fence_watch(std::function<void(const std::string&)> broken) : broken_{std::move(broken)} {}

  /// It begins to: what it knew before does not count but for links that broke lately, and everybody is taken as heard
  /// now.
  void controls(const process&);
  void heard(const process&, const heartbeat&);
  void link_broken(const process&, life, bool reset);
  void said_farewell(const process&, life);
  void decides(const process&, const std::vector<metadata_record>&);

  std::uint64_t fenced() const { return fenced_; }

private:
  struct subject {
    std::int64_t epoch{-1};
    instant heard{};
    bool reset{false}, refused{false}, farewell{false};
    std::map<node_id, instant> suspected_until;
  };
  struct broken_link {
    instant at{};
    bool reset{false}, refused{false};
  };
  struct desk {
    instant since{};
    std::map<node_id, subject> about;
  };
  subject* about(const process&, life);
  void judge(const process&, const node_info&, const std::set<node_id>& fenced);

  const std::function<void(const std::string&)> broken_;
  std::map<node_id, desk> desks_;
  std::map<node_id, std::map<life, broken_link>> links_;
  std::uint64_t fenced_{0};
};

}  // namespace troupe::sim
