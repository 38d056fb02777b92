#pragma once

#include <gtest/gtest.h>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "actors/partition/partition_actor.hpp"
#include "apps/gateways/kafka/codec/codec.hpp"
#include "apps/gateways/kafka/codec/error_codes.hpp"
#include "apps/gateways/kafka/codec/messages.hpp"
#include "apps/gateways/kafka/gateway.hpp"

/// A gateway on loopback, between real sockets and actors that the test plays itself.
namespace troupe::kafka {

using namespace std::chrono_literals;

/// How long a test waits for what must happen, before it fails.
constexpr auto patience = 20s;

/// Messages that came in for an actor, for the test to take and answer.
template <class Message>
class inbox {
public:
  void put(Message m) {
    const std::lock_guard lock{mutex_};
    messages_.push_back(std::move(m));
    changed_.notify_all();
  }
  /// Waits for the next one.
  Message take() {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, patience, [&] { return !messages_.empty(); }))
      throw std::runtime_error{"no message came"};
    auto m = std::move(messages_.front());
    messages_.pop_front();
    return m;
  }
  std::size_t size() const {
    const std::lock_guard lock{mutex_};
    return messages_.size();
  }
  bool wait_for_size(std::size_t n) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience, [&] { return messages_.size() >= n; });
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> messages_;
};

/// Stands in for a partition. Where a hook is set it answers at once, on the actor's thread.
struct fake_partition {
  inbox<produce> produces;
  inbox<fetch> fetches;
  inbox<list_offsets> lists;
  inbox<epoch_end> epochs;
  inbox<delete_records> deletes;
  std::function<void(produce&)> on_produce;
  std::function<void(fetch&)> on_fetch;
  caf::actor actor;
};

struct fake_controller {
  inbox<troupe::create_topics_request> creates;
  inbox<troupe::delete_topics_request> deletes;
  inbox<troupe::create_partitions_request> growths;
  inbox<troupe::alter_configs_request> alters;
  inbox<producer_id_request> ids;
  inbox<operator_request> others;
  caf::actor actor;
};

/// A blocking socket.
class client {
public:
  explicit client(std::uint16_t port, int receive_buffer = 0);
  client(client&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  client(const client&) = delete;
  ~client() { close(); }

  void send(byte_view bytes);
  void send(const shared_bytes& bytes) { send(bytes.view()); }
  /// Sends what the socket takes at once.
  std::size_t try_send(byte_view bytes);
  template <class Request>
  void ask(const Request& request, std::int16_t version, std::int32_t correlation = 1) {
    send(encode_request(request, version, correlation, "test"));
  }
  /// The next frame without its size; empty when the other side has closed.
  std::optional<std::vector<std::byte>> frame();
  template <class Response>
  Response hear(std::int16_t version, std::int32_t correlation = 1) {
    frames_.push_back(frame().value_or(std::vector<std::byte>{}));
    auto got = decode_response<Response>(frames_.back(), version);
    if (!got.ok()) throw std::runtime_error{"no answer: " + got.error().text};
    EXPECT_EQ(got->correlation_id, correlation);
    return std::move(got->response);
  }
  template <class Response, class Request>
  Response call(const Request& request, std::int16_t version) {
    ask(request, version);
    return hear<Response>(version);
  }
  /// True once the other side has closed; what it sends before is skipped.
  bool closed();
  /// True if nothing can be read now.
  bool silent() const;
  void close();
  int fd() const { return fd_; }

private:
  int fd_{-1};
  std::deque<std::vector<std::byte>> frames_;  ///< decoded answers may refer to their bytes
};

class GatewayTest : public testing::Test {
protected:
  GatewayTest();
  ~GatewayTest() override;

  /// Tests that need other settings change `setup` before.
  void start();
  void stop();
  std::uint16_t port() const { return gateway->addresses().front().port; }
  client connect() { return client{port()}; }

  /// Adds a topic and publishes; its partitions answer as `partition(name, i)` says.
  void add_topic(const std::string& name, std::int32_t partitions = 1, bool internal = false);
  std::shared_ptr<const topic> make_topic(const std::string& name, std::int32_t partitions) const;
  void add_node(std::int32_t id, const std::string& rack, node_state state = node_state::active);
  /// Changes a partition's state and publishes.
  void change(const std::string& topic, std::int32_t index, const std::function<void(partition_state&)>&);
  fake_partition& partition(const std::string& name, std::int32_t index = 0) { return *partitions.at({name, index}); }
  void publish();
  /// The value of a metric, as in its text form; 0 if it is not there.
  double metric(const std::string& name_and_labels) const;
  /// Waits until the metric satisfies the condition.
  bool until(const std::string& name_and_labels, const std::function<bool(double)>& holds) const;

  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  observe::metrics metrics;
  std::shared_ptr<cluster_directory> directory{std::make_shared<cluster_directory>()};
  metadata_image image;
  std::map<std::string, std::shared_ptr<const cluster_view::route>, std::less<>> routes;
  std::map<std::pair<std::string, std::int32_t>, std::unique_ptr<fake_partition>> partitions;
  fake_controller controller;
  gateway_setup setup;
  std::unique_ptr<kafka_gateway> gateway;
};

/// A produce request with one partition.
produce_request produce_of(std::string_view topic, std::int32_t partition, byte_span records, std::int16_t acks = -1);
/// A fetch request with partitions [0, partitions) of a topic from offset 0.
fetch_request fetch_of(std::string_view topic, std::int32_t partitions = 1, std::int32_t max_wait_ms = 0);
std::vector<std::byte> some_bytes(std::size_t size, std::uint64_t seed = 1);
/// What a partition says that holds [0, watermark) and hands out `slices`.
fetch::outcome data(std::int64_t watermark, std::vector<store::slice> slices = {});
store::slice in_memory(std::vector<std::byte> bytes);

}  // namespace troupe::kafka
