#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// What measurements share: clocks, CPU seconds, quantiles, options.
namespace troupe::bench {

using clock_type = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why);

double seconds_since(clock_type::time_point from);
double ms(clock_type::duration);
double median(std::vector<double>);

/// Sorted once, asked often.
class spread {
public:
  explicit spread(std::vector<double> values);
  double at(double quantile) const;
  double max() const { return values_.empty() ? 0 : values_.back(); }
  std::size_t size() const { return values_.size(); }

private:
  std::vector<double> values_;
};
/// One line: how many, p50, p90, p99 and the greatest, in milliseconds. Nothing when there are no values.
void show_ms(const char* what, std::vector<double> values);

/// User and system seconds that a process has used so far.
double cpu_of(pid_t);
/// Those of this process, or of its children that were waited for.
double own_cpu();
double children_cpu();

/// A virtual machine may give free pages back to its host; the first touch afterwards costs seconds a GiB and would be
/// measured instead of us. So the page cache is filled by a file and emptied again right before a measurement.
void warm_page_cache(const std::filesystem::path& directory, double bytes);

/// A port that nobody used a moment ago, below those of outgoing connections; each call gives another one.
std::uint16_t free_port();

/// `--name=value` words; `usage` when one is unknown or its value is no number.
class options {
public:
  options(int argc, char** argv, std::string usage);
  double number(const std::string& name, double fallback);
  int count(const std::string& name, int fallback);
  std::string text(const std::string& name, std::string fallback);
  bool flag(const std::string& name);
  /// To be called last: what nobody asked for is a mistake.
  void done() const;

private:
  std::string* find(const std::string& name);
  [[noreturn]] void wrong(const std::string& what) const;
  struct word {
    std::string name, value;
    bool used{false};
  };
  std::vector<word> words_;
  std::string usage_;
};

}  // namespace troupe::bench
