#include <cstdio>
#include <cstdlib>

#include "tests/simulation/storm.hpp"

int main(int, char** a) {
  using namespace troupe::sim;
  const auto from = std::strtoull(a[1], nullptr, 10), n = std::strtoull(a[2], nullptr, 10);
  for (auto s = from; s < from + n; ++s) {
    auto r = run_storm({.seed = s, .tell = a[3] != nullptr});
    std::printf("seed %llu %s: %.1f s, %llu events, %llu messages, committed %llu acked %llu read %llu fp %llx\n", (unsigned long long)s, r.shape.c_str(), r.simulated_seconds, (unsigned long long)r.events, (unsigned long long)r.messages, (unsigned long long)r.committed, (unsigned long long)r.acknowledged, (unsigned long long)r.read, (unsigned long long)r.fingerprint);
    for (auto& v : r.violations) std::printf("  %s\n", v.c_str());
  }
}
