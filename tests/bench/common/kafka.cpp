#include "tests/bench/common/kafka.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace troupe::bench {

rd_kafka_t* make_client(rd_kafka_type_t type, const std::string& address, const kafka_options& options, void* opaque,
                        on_delivery delivered) {
  char text[512];
  auto* conf = rd_kafka_conf_new();
  auto set = [&](const char* key, const std::string& value) {
    if (rd_kafka_conf_set(conf, key, value.c_str(), text, sizeof text) != RD_KAFKA_CONF_OK) die(text);
  };
  set("bootstrap.servers", address);
  for (auto& [key, value] : options) set(key, value);
  rd_kafka_conf_set_opaque(conf, opaque);
  if (delivered) rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  auto* client = rd_kafka_new(type, conf, text, sizeof text);
  if (!client) die(text);
  return client;
}

void wait_for_topic(rd_kafka_t* client, rd_kafka_topic_t* topic) {
  const rd_kafka_metadata_t* metadata = nullptr;
  for (int i = 0; i < 500; ++i, usleep(20'000)) {
    if (rd_kafka_metadata(client, 0, topic, &metadata, 2000) != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    const bool there =
        metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
        std::all_of(metadata->topics[0].partitions, metadata->topics[0].partitions + metadata->topics[0].partition_cnt,
                    [](const auto& p) { return p.leader >= 0; });
    rd_kafka_metadata_destroy(metadata);
    if (there) return;
  }
  die(std::string{"no leader for "} + rd_kafka_topic_name(topic));
}

std::string payload_of(std::size_t size) {
  std::string payload(size, 'x');
  for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>('a' + (i * 7 + i / 13) % 26);
  return payload;
}

// -- paced_producer ---------------------------------------------------------------------------------------

paced_producer::paced_producer(const std::string& bootstrap, const std::string& topic, int partitions,
                               std::chrono::milliseconds every, const std::string& debug)
    : partitions_{partitions},
      every_{every},
      client_{make_client(RD_KAFKA_PRODUCER, bootstrap,
                          debug.empty() ? kafka_options{{"enable.idempotence", "true"}, {"log_level", "0"}}
                                        : kafka_options{{"enable.idempotence", "true"}, {"debug", debug}},
                          this,
                          [](rd_kafka_t*, const rd_kafka_message_t* m, void* self) {
                            static_cast<paced_producer*>(self)->delivered(*m);
                          })},
      topic_{rd_kafka_topic_new(client_, topic.c_str(), nullptr)} {
  wait_for_topic(client_, topic_);
  thread_ = std::thread{[this] { run(); }};
}

void paced_producer::finish() {
  ending_ = true;
  thread_.join();
  if (rd_kafka_flush(client_, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR)
    die("the producer does not get rid of its records");
  rd_kafka_topic_destroy(topic_);
  rd_kafka_destroy(client_);
}

std::vector<paced_producer::acknowledged_record> paced_producer::records() const {
  std::lock_guard lock{mutex_};
  return records_;
}

std::vector<double> paced_producer::latencies_ms(clock_type::time_point from, clock_type::time_point until) const {
  std::lock_guard lock{mutex_};
  std::vector<double> all;
  for (const auto& r : records_)
    if (r.sent >= from && r.sent < until) all.push_back(ms(r.answered - r.sent));
  return all;
}

std::optional<clock_type::time_point> paced_producer::acknowledged_after(clock_type::time_point from) const {
  std::lock_guard lock{mutex_};
  const auto at =
      std::upper_bound(records_.begin(), records_.end(), from, [](auto t, const auto& r) { return t < r.answered; });
  return at == records_.end() ? std::nullopt : std::optional{at->answered};
}

void paced_producer::delivered(const rd_kafka_message_t& m) {
  const std::unique_ptr<clock_type::time_point> sent{static_cast<clock_type::time_point*>(m._private)};
  if (m.err) {
    std::fprintf(stderr, "a record failed: %s\n", rd_kafka_err2str(m.err));
    ++failed_;
    return;
  }
  ++acknowledged_;
  std::lock_guard lock{mutex_};
  const std::string text{static_cast<const char*>(m.payload), m.len};
  records_.push_back({std::strtoull(text.c_str(), nullptr, 10), *sent, clock_type::now()});
}

void paced_producer::run() {
  auto due = clock_type::now();
  for (std::uint64_t next = 0; !ending_; ++next, due += every_) {
    while (clock_type::now() < due)
      rd_kafka_poll(client_, static_cast<int>(std::max(1.0, std::min(5.0, ms(due - clock_type::now())))));
    const auto text = std::to_string(next);
    const auto partition = static_cast<std::int32_t>(next % static_cast<std::uint64_t>(partitions_));
    auto sent = std::make_unique<clock_type::time_point>(clock_type::now());
    while (rd_kafka_produce(topic_, partition, RD_KAFKA_MSG_F_COPY, const_cast<char*>(text.data()), text.size(),
                            nullptr, 0, sent.get()) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die(rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(client_, 5);
    }
    sent.release();
    rd_kafka_poll(client_, 0);
  }
}

// -- judge ------------------------------------------------------------------------------------------------

verdict judge(const paced_producer& producer, const std::string& bootstrap, const std::string& topic, int partitions) {
  verdict v;
  std::map<std::uint64_t, int> times;
  for (int p = 0; p < partitions; ++p) {
    FILE* in = ::popen(
        ("kcat -C -b " + bootstrap + " -t " + topic + " -p " + std::to_string(p) + " -o beginning -e -q 2>/dev/null")
            .c_str(),
        "r");
    if (!in) die("kcat does not start");
    char line[64];
    for (std::int64_t last = -1; std::fgets(line, sizeof line, in);) {
      if (*line < '0' || *line > '9') continue;
      const auto n = std::strtoull(line, nullptr, 10);
      v.twice += ++times[n] == 2;
      v.disordered += static_cast<std::int64_t>(n) <= last;
      last = static_cast<std::int64_t>(n);
    }
    ::pclose(in);
  }
  for (const auto& r : producer.records()) v.lost += !times.contains(r.number);
  return v;
}

}  // namespace troupe::bench
