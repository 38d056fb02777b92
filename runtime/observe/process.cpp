#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "runtime/observe/metrics.hpp"

namespace troupe::observe {
namespace {

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double resident_bytes() {
  unsigned long long all = 0, resident = 0;
  if (std::unique_ptr<std::FILE, int (*)(std::FILE*)> statm{std::fopen("/proc/self/statm", "re"), std::fclose})
    if (std::fscanf(statm.get(), "%llu %llu", &all, &resident) != 2) resident = 0;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_descriptors() {
  int count = -3;  // ".", ".." and the one that looks
  if (std::unique_ptr<DIR, int (*)(DIR*)> folder{opendir("/proc/self/fd"), closedir})
    while (readdir(folder.get())) ++count;
  return std::max(count, 0);
}

double descriptors_allowed() {
  rlimit allowed{};
  getrlimit(RLIMIT_NOFILE, &allowed);
  return static_cast<double>(allowed.rlim_cur);
}

}  // namespace

void watch_process(metrics& registry) {
  auto& cpu = registry.counter("process_cpu_seconds_total", "CPU time of this process, user and system.");
  auto& resident = registry.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.");
  auto& descriptors = registry.gauge("process_open_fds", "Open file descriptors.");
  auto& allowed = registry.gauge("process_max_fds", "Most file descriptors that this process may have open.");
  registry.on_collect([&, told = 0.0]() mutable {
    const double used = cpu_seconds();
    cpu.add(used - told);
    told = used;
    resident.set(resident_bytes());
    descriptors.set(open_descriptors());
    allowed.set(descriptors_allowed());
  });
}

}  // namespace troupe::observe
