#pragma once

#include <string>
#include <vector>

#include "runtime/base/rules.hpp"
#include "tests/simulation/cluster.hpp"

/// Random workload, random faults, and at the end peace: whatever happened, the invariants hold, and once the faults
/// stop service returns by itself.
namespace troupe::sim {

struct storm_options {
  std::uint64_t seed{1};
  duration length{30s};    ///< of the faults
  duration recovery{30s};  ///< P5: so long service may take to return
  rule without{rule::count};
  bool tell{false};  ///< print the story as it happens
};

struct storm_result {
  std::vector<std::string> violations;
  std::vector<std::string> story;  ///< the last lines, if there are violations
  std::string shape;               ///< what the seed made of the cluster
  std::uint64_t fingerprint{0};
  std::uint64_t events{0}, messages{0}, committed{0}, acknowledged{0}, read{0}, calls{0};
  double simulated_seconds{0};
};

storm_result run_storm(const storm_options&);

}  // namespace troupe::sim
