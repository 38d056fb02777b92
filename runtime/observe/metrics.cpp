#include "runtime/observe/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <mutex>
#include <sstream>

namespace troupe::observe {
namespace {

// The library's instruments are thread-safe and live as long as the registry; these only hide its headers, which cost
// a second of compile time each, from the rooms that count.
struct counter_of final : counter {
  explicit counter_of(prometheus::Counter& c) : inner{c} {}
  void add(double amount) override { inner.Increment(amount); }
  prometheus::Counter& inner;
};
struct gauge_of final : gauge {
  explicit gauge_of(prometheus::Gauge& g) : inner{g} {}
  void set(double value) override { inner.Set(value); }
  void add(double amount) override { inner.Increment(amount); }
  prometheus::Gauge& inner;
};
struct histogram_of final : histogram {
  explicit histogram_of(prometheus::Histogram& h) : inner{h} {}
  void observe(double value) override { inner.Observe(value); }
  prometheus::Histogram& inner;
};

}  // namespace

struct metrics::state {
  prometheus::Registry registry;
  std::mutex mutex;  // guards the maps and the list below
  // Asking twice for the same name and labels gives the same instrument.
  std::map<void*, counter_of> counters;
  std::map<void*, gauge_of> gauges;
  std::map<void*, histogram_of> histograms;
  std::vector<std::shared_ptr<std::function<void()>>> refreshers;
  std::mutex collecting;  // one collection at a time: refreshers need not be thread-safe

  template <class Adapter, class Inner>
  Adapter& adapter(std::map<void*, Adapter>& known, Inner& inner) {
    const std::lock_guard lock{mutex};
    return known.try_emplace(&inner, inner).first->second;
  }
};

metrics::metrics() : state_{std::make_unique<state>()} {}
metrics::~metrics() = default;

observe::counter& metrics::counter(const std::string& name, const std::string& help, const labels& with) {
  auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(state_->registry);
  return state_->adapter(state_->counters, family.Add(with));
}

observe::gauge& metrics::gauge(const std::string& name, const std::string& help, const labels& with) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(state_->registry);
  return state_->adapter(state_->gauges, family.Add(with));
}

observe::histogram& metrics::histogram(const std::string& name, const std::string& help,
                                       const std::vector<double>& bounds, const labels& with) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(state_->registry);
  return state_->adapter(state_->histograms, family.Add(with, bounds));
}

void metrics::on_collect(std::function<void()> refresh) {
  const std::lock_guard lock{state_->mutex};
  state_->refreshers.push_back(std::make_shared<std::function<void()>>(std::move(refresh)));
}

std::string metrics::text() const {
  const std::lock_guard one_at_a_time{state_->collecting};
  decltype(state_->refreshers) refreshers;
  {
    // Without the lock from here on: a refresher may ask for an instrument it has not had before.
    const std::lock_guard lock{state_->mutex};
    refreshers = state_->refreshers;
  }
  for (const auto& refresh : refreshers) (*refresh)();

  auto families = state_->registry.Collect();
  std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, families);
  return std::move(out).str();
}

const std::vector<double>& latency_bounds() {
  static const std::vector<double> bounds{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3,
                                          50e-3, 0.1,    0.2,    0.5,    1,    2,    5,    10};
  return bounds;
}

}  // namespace troupe::observe
