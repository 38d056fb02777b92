#pragma once

#include <caf/actor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/node/node_actor.hpp"
#include "runtime/base/result.hpp"
#include "runtime/observe/metrics.hpp"

/// The door for Kafka clients.
///
/// Is       a translation: from frames to messages for partitions and the controller, and back. It decides nothing.
/// Answers  the requests of `kafka-protocol.md` that `codec/api.cpp` lists, each connection's in the order they came.
/// Keeps    nothing; a connection that breaks leaves nothing behind.
/// Fails    bad bytes end their connection; a missing actor becomes an error code that makes clients look again.
/// Bounds   everything in `gateway_limits` and, per connection, at the top of connection.hpp. Above a bound nothing
///          more is read: TCP tells the client to wait.
///
/// A few threads, each with its own io_context. A connection belongs to one thread for life, so nothing in it is
/// locked. Actors answer through a queue per thread (io_loop.hpp) that is woken once per batch of answers.
namespace troupe::kafka {

struct gateway_limits {
  std::uint32_t connections_max{4096};
  std::uint32_t connections_per_address_max{256};
  /// A connection without requests, or one that takes none of its answers, is closed after this.
  std::chrono::milliseconds idle{std::chrono::minutes{10}};
  std::chrono::milliseconds first_frame{std::chrono::seconds{10}};
  /// How long one request may take to arrive. Clients give up on a request themselves after 30 to 60 seconds.
  std::chrono::milliseconds frame{std::chrono::seconds{60}};
  std::uint32_t request_bytes_max{100u << 20};
  /// Requests that arrive or are being worked on, over all connections; at least `request_bytes_max`.
  std::uint64_t request_memory_max{256ull << 20};
  /// Answers that wait in memory (not in files of the store) for slow clients; above, no fetch is started.
  std::uint64_t response_memory_max{256ull << 20};
};

/// A setting of this node, for those who describe it.
struct node_option {
  std::string name, value, default_value, documentation;
};

/// What the disk of this node holds.
struct log_directory {
  struct log {
    store::log_identity seat;
    std::uint64_t bytes{0};
  };
  std::string path;
  std::vector<log> logs;
  std::optional<std::uint64_t> total_bytes, usable_bytes;  ///< of the file system
  bool failed{false};
};

struct gateway_setup {
  /// Host names or addresses. `localhost` means both loopback addresses. Port 0: any free one.
  std::vector<endpoint> listen;
  node_id node;            ///< ourselves; what clients are told about us is in the cluster view
  unsigned io_threads{0};  ///< 0: one per core, at most 8
  std::shared_ptr<const cluster_directory> directory;
  caf::actor controller;
  observe::metrics* metrics{nullptr};  ///< outlives the gateway
  gateway_limits limits;
  bool auto_create_topics{true};
  std::vector<node_option> options;
  /// Looks at the disk and answers, on any thread. Empty: there is no disk to describe.
  std::function<void(std::function<void(log_directory)>)> look_at_logs;
  setting_map topic_defaults;  ///< what the controller was given: settings of topics that do not override them
};

class kafka_gateway {
public:
  /// Binds the addresses. Error system: names address and reason.
  static result<std::unique_ptr<kafka_gateway>> open(gateway_setup);
  ~kafka_gateway();
  kafka_gateway(const kafka_gateway&) = delete;
  kafka_gateway& operator=(const kafka_gateway&) = delete;

  /// The addresses as bound, with real ports.
  const std::vector<endpoint>& addresses() const;
  /// From now on connections are accepted.
  void start();
  /// Accepts no more, answers what was asked (waiting fetches at once), closes. What is not done after `patience` is
  /// cut. Blocks; the destructor calls it.
  void stop(std::chrono::milliseconds patience = std::chrono::seconds{3});

private:
  struct state;
  explicit kafka_gateway(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace troupe::kafka
