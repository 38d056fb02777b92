#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/bench/common/measure.hpp"

/// librdkafka as measurements use it.
namespace troupe::bench {

using kafka_options = std::vector<std::pair<const char*, std::string>>;
using on_delivery = void (*)(rd_kafka_t*, const rd_kafka_message_t*, void*);

rd_kafka_t* make_client(rd_kafka_type_t, const std::string& address, const kafka_options&, void* opaque,
                        on_delivery delivered = nullptr);
/// The client knows all partitions of the topic and their leaders.
void wait_for_topic(rd_kafka_t*, rd_kafka_topic_t*);
/// So many bytes that differ a little, so that nothing on the way can be clever.
std::string payload_of(std::size_t size);

/// Sends numbers under their decimal names, one about every `every`, in turn to each partition, and knows when which
/// was acknowledged. Idempotent; everything else is librdkafka's default.
class paced_producer {
public:
  /// `debug`: what librdkafka shall tell on standard error, as in its setting of that name.
  paced_producer(const std::string& bootstrap, const std::string& topic, int partitions,
                 std::chrono::milliseconds every, const std::string& debug = {});
  /// What cannot be sent by the end is a failure of the run.
  void finish();

  struct acknowledged_record {
    std::uint64_t number;
    clock_type::time_point sent, answered;
  };
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t failed() const { return failed_; }
  std::vector<acknowledged_record> records() const;
  /// From sending to acknowledgement, of the records sent in [from, until).
  std::vector<double> latencies_ms(clock_type::time_point from, clock_type::time_point until) const;
  /// The first acknowledgement after `from`, if there is one.
  std::optional<clock_type::time_point> acknowledged_after(clock_type::time_point from) const;

private:
  void delivered(const rd_kafka_message_t&);
  void run();

  const int partitions_;
  const std::chrono::milliseconds every_;
  rd_kafka_t* client_;
  rd_kafka_topic_t* topic_;
  std::thread thread_;
  std::atomic<bool> ending_{false};
  std::atomic<std::uint64_t> acknowledged_{0}, failed_{0};
  mutable std::mutex mutex_;
  std::vector<acknowledged_record> records_;
};

/// The log against what a paced producer was told.
struct verdict {
  std::uint64_t lost{0}, twice{0}, disordered{0};
  std::uint64_t sum() const { return lost + twice + disordered; }
};
/// Reads all partitions with kcat; records that are no numbers are not looked at.
verdict judge(const paced_producer&, const std::string& bootstrap, const std::string& topic, int partitions);

}  // namespace troupe::bench
