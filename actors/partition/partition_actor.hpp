#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "actors/partition/partition.hpp"
#include "runtime/observe/log.hpp"

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::produce)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::fetch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::list_offsets)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::epoch_end)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_records)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::reconfigure)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::retire)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_partition)

namespace troupe::observe {
class counter;
class metrics;
}  // namespace troupe::observe

namespace troupe {

/// What partitions count, and how often they complain; one set for all of a node.
struct partition_metrics {
  explicit partition_metrics(observe::metrics&);
  observe::counter &batches, &records, &bytes;  ///< appended
  observe::counter &duplicates, &refused;       ///< batches
  observe::counter &fetches, &fetched_bytes;
  /// A full disk refuses every batch of every partition.
  mutable observe::seldom refusals;
};

struct partition_setup {
  std::string topic;
  partition_index index;
  leader_epoch epoch;
  log_id log;
  topic_settings settings;
  std::shared_ptr<store::log_store> store;
  std::shared_ptr<const partition_metrics> metrics;  ///< null: nothing is counted
  std::chrono::milliseconds retention_interval{std::chrono::seconds{10}};
  std::chrono::milliseconds mark_interval{std::chrono::seconds{5}};
};

/// Starts the actor; it restores its core from the store, on the store's threads, before it takes its first message.
/// It ends by `retire` or `stop_partition`.
caf::actor spawn_partition(caf::actor_system&, partition_setup);

}  // namespace troupe
