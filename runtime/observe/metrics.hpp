#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

/// The node's metrics, in Prometheus' terms. A room asks for its instruments once, at its start, and keeps the
/// references.
namespace troupe::observe {

using labels = std::map<std::string, std::string>;

/// All instruments are thread-safe and live as long as the registry.
class counter {
public:
  virtual ~counter() = default;
  virtual void add(double amount = 1) = 0;
};
class gauge {
public:
  virtual ~gauge() = default;
  virtual void set(double value) = 0;
  virtual void add(double amount) = 0;
};
class histogram {
public:
  virtual ~histogram() = default;
  virtual void observe(double value) = 0;
};

/// Names follow Prometheus' rules: snake_case, unit as suffix, `_total` for counters. Asking twice for the same name
/// and labels gives the same instrument; a name that breaks the rules or already has another kind throws, as what it
/// is: a mistake in the program, seen at its first start. Thread-safe.
class metrics {
public:
  metrics();
  ~metrics();
  observe::counter& counter(const std::string& name, const std::string& help, const labels& = {});
  observe::gauge& gauge(const std::string& name, const std::string& help, const labels& = {});
  /// `bounds`: upper bounds of the buckets, rising.
  observe::histogram& histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                                const labels& = {});
  /// `refresh` runs before each collection, never twice at a time: sets gauges that cost something to find out. What
  /// it refers to must live as long as collections may come.
  void on_collect(std::function<void()> refresh);
  /// The text form of Prometheus, version 0.0.4.
  std::string text() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// CPU time, resident memory and open descriptors of this process, under their usual names.
void watch_process(metrics&);

/// Buckets for latencies in seconds, from 50 µs to 10 s.
const std::vector<double>& latency_bounds();

}  // namespace troupe::observe
