#include "runtime/observe/metrics.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace troupe::observe {
namespace {

TEST(Metrics, AreWrittenAsPrometheusReadsThem) {
  metrics m;
  m.counter("b_total", "Things.", {{"door", "kafka"}}).add(3);
  m.gauge("a", "Level.").set(2.5);
  m.histogram("c_seconds", "Time.", {0.1, 1}).observe(0.5);
  EXPECT_EQ(m.text(),
            "# HELP a Level.\n# TYPE a gauge\na 2.5\n"
            "# HELP b_total Things.\n# TYPE b_total counter\nb_total{door=\"kafka\"} 3\n"
            "# HELP c_seconds Time.\n# TYPE c_seconds histogram\n"
            "c_seconds_count 1\nc_seconds_sum 0.5\n"
            "c_seconds_bucket{le=\"0.1\"} 0\nc_seconds_bucket{le=\"1\"} 1\nc_seconds_bucket{le=\"+Inf\"} 1\n");
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameInstrument) {
  metrics m;
  auto& first = m.counter("n_total", "N.", {{"x", "1"}});
  EXPECT_EQ(&first, &m.counter("n_total", "N.", {{"x", "1"}}));
  EXPECT_NE(&first, &m.counter("n_total", "N.", {{"x", "2"}}));
}

TEST(Metrics, LabelValuesAreEscaped) {
  metrics m;
  m.gauge("g", "G.", {{"topic", "a\"b\nc"}}).set(1);
  EXPECT_NE(m.text().find("g{topic=\"a\\\"b\\nc\"} 1\n"), std::string::npos);
}

TEST(Metrics, AKindIsFixedByTheName) {
  metrics m;
  m.gauge("g", "G.");
  EXPECT_ANY_THROW(m.counter("g", "G."));
  EXPECT_ANY_THROW(m.counter("no spaces", "N."));
}

TEST(Metrics, RefreshersRunAtEachCollectionAndKeepTheirState) {
  metrics m;
  auto& g = m.gauge("g", "G.");
  m.on_collect([&g, n = 0]() mutable { g.set(++n); });
  // May also ask for instruments that were not there before.
  m.on_collect([&m] { m.gauge("late", "L.").set(7); });
  EXPECT_NE(m.text().find("g 1\n"), std::string::npos);
  EXPECT_NE(m.text().find("g 2\n"), std::string::npos);
  EXPECT_NE(m.text().find("late 7\n"), std::string::npos);
}

TEST(Metrics, TheProcessIsWatched) {
  metrics m;
  watch_process(m);
  const auto text = m.text();
  for (auto name :
       {"process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ", "process_max_fds "}) {
    const auto at = text.find("\n" + std::string{name});
    ASSERT_NE(at, std::string::npos) << name;
    EXPECT_GT(std::stod(text.substr(at + 1 + std::string{name}.size())), 0) << name;
  }
}

TEST(Metrics, LatencyBucketsRise) {
  const auto& bounds = latency_bounds();
  EXPECT_TRUE(std::is_sorted(bounds.begin(), bounds.end()));
  EXPECT_DOUBLE_EQ(bounds.front(), 50e-6);
  EXPECT_DOUBLE_EQ(bounds.back(), 10);
}

}  // namespace
}  // namespace troupe::observe
