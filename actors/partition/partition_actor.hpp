#pragma once

#include <atomic>
#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "actors/partition/partition.hpp"
#include "actors/partition/replication.hpp"
#include "runtime/base/wall_clock.hpp"
#include "runtime/observe/log.hpp"

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

/// What the replicas of a node have in common. Outlives their actors; everything in it may be called from any thread
/// and does not block.
struct replica_home {
  life self;
  std::function<void(node_id to, replica_fetch)> send_fetch;
  std::function<void(node_life to, replica_answer)> send_answer;
  std::function<void(alter_isr)> propose;
  /// The leader that this partition's fetches do not reach; nobody: they do again.
  std::function<void(const partition_ref&, std::optional<node_id> leader)> out_of_reach;
  /// The log is not as it was written, others have what is lost, and the node's registration did not say so: it has to
  /// start again and look at everything.
  std::function<void(const error&)> found_damage;
  /// Until when the node has its lease.
  std::atomic<instant> lease_end{instant{}};

  /// What of the wall clock counts.
  void wall_is(const wall_line& line) {
    wall_sure_from_.store(line.sure_from, std::memory_order_relaxed);
    wall_offset_.store(line.offset, std::memory_order_relaxed);
  }
  moment now() const {
    const wall_line line{wall_offset_.load(std::memory_order_relaxed), wall_sure_from_.load(std::memory_order_relaxed)};
    return line.at(boot_clock::now(), wall_now());
  }

private:
  std::atomic<std::chrono::milliseconds> wall_offset_{wall_clock{boot_clock::now(), wall_now()}.line().offset};
  std::atomic<instant> wall_sure_from_{instant{}};
};

struct partition_setup {
  std::string topic;
  store::log_identity seat;
  log_id log;
  topic_settings settings;
  assignment first;          ///< what the metadata says when the actor starts
  bool damage_known{false};  ///< the node's registration named this partition
  std::shared_ptr<store::log_store> store;
  std::shared_ptr<replica_home> home;
  std::shared_ptr<const partition_metrics> metrics;  ///< null: nothing is counted
  std::chrono::milliseconds retention_interval{std::chrono::seconds{10}};
  std::chrono::milliseconds mark_interval{std::chrono::seconds{5}};
};

/// The metadata says this now.
struct reassigned {
  assignment now;
  std::optional<topic_settings> settings;  ///< where they changed, too
  /// Let go when the replica has taken it in, or is gone.
  std::shared_ptr<const void> news;
};
/// From another replica of the partition, or from the controller.
struct replica_mail {
  life from;
  std::variant<replica_fetch, replica_answer, alter_isr_answer> what;
};
/// Where the log ends, for the controller.
struct log_end_question {
  std::function<void(log_ends::log_end)> answer;
};
/// The replica goes away: waiting callers get `why`. The actor stays for a moment to tell late callers the same, then
/// it ends.
struct retire {
  error why;
};
/// The node stops: what was appended becomes durable and is answered, a mark is written, everyone else gets `closed`;
/// then `stopped` is called and the actor ends. Callers should be gone by then: messages that come later are lost.
struct stop_partition {
  std::function<void()> stopped;
};

/// Starts the actor of a replica; it restores its log's state from the store, on the store's threads, before it takes
/// its first message. It ends by `retire` or `stop_partition`.
caf::actor spawn_partition(caf::actor_system&, partition_setup);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::produce)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::fetch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::list_offsets)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::epoch_end)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_records)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::reassigned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::replica_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::log_end_question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::retire)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_partition)
