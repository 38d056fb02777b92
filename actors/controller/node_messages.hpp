#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/wall_clock.hpp"

/// What a node and the controller say to each other about the node's life and its partitions. Any of it may be lost,
/// late or repeated. The envelope says and checks which cluster it is from.
namespace troupe {

/// A process that has recovered its disk wants to take part. Repeated until it is answered.
struct registration {
  std::string cluster_id;  ///< empty: the disk was never in a cluster, and takes this one's
  node_id node;
  uuid disk;
  /// Counts the starts of processes on this disk; durable before it is said. Tells a repeat from a new life, and a
  /// late copy of a former life's from both.
  std::uint64_t start{0};
  bool clean{false};                   ///< the disk has everything that was acknowledged from it
  std::vector<partition_ref> damaged;  ///< replicas that found damage
  endpoint kafka, peer;
  std::string rack;
  std::uint16_t weight{1};
};
struct registration_answer {
  enum class verdict : std::uint8_t {
    accepted,
    later,          ///< no controller here, busy, or the node's other disk is still alive: try again
    wrong_cluster,  ///< for good, like the next two: the process ends
    superseded,     ///< this disk has been started again since
    invalid,        ///< a nil disk, a negative node, a weight of 0
  };
  verdict what{verdict::later};
  std::uint64_t start{0};  ///< as asked
  std::int64_t node_epoch{-1};
  std::string cluster_id;
  /// `later`: whom the answering node takes for the controller; -1: nobody, or itself.
  node_id controller{-1};
  uuid disk{};  ///< as asked; nil from nodes that did not say so yet. Each disk counts its starts anew.
};

/// Why a node is suspected by another.
enum class suspicion_cause : std::uint8_t {
  no_lease,  ///< it answers, but says that it has had no lease for 5 s
  silent,    ///< no answer, neither directly nor through peers
  gone,      ///< its host reset the link and refused a new one: no such process any more
};
struct suspicion_report {
  life subject;
  suspicion_cause why{suspicion_cause::silent};
  std::chrono::milliseconds age{0};  ///< of the newest evidence, when this was sent
};

struct heartbeat {
  life from;
  meta_offset applied;
  instant sent;               ///< on the sender's clock; means nothing to anybody else
  bool ready{false};          ///< its metadata covers its registration
  bool wants_to_stop{false};  ///< move leaderships and shards away, then say `may_stop`
  std::vector<suspicion_report> suspicions;
  /// Leaders that this node's fetches do not reach.
  std::vector<life> unreachable;
  bool disk_full{false};          ///< it appends nothing until there is space again (R11)
  std::optional<wall_time> wall;  ///< what its wall clock says, right or wrong, when this is sent
};
struct heartbeat_answer {
  life to;              ///< as it is registered; a higher epoch than the asker's says that it is a former life
  instant sent;         ///< as asked
  bool granted{false};  ///< a lease, from `sent` on
  node_state state{node_state::fenced};
  bool may_stop{false};  ///< nothing is left that another node could take
  /// The controller says so. From anybody else it is no answer: the node goes on looking for the controller.
  bool from_controller{false};
  clock_verdict clocks;
  meta_offset applied{-1};  ///< the controller's metadata when it answered
};

/// The node has stopped serving for good and written its clean mark: nobody has to wait for its lease.
struct farewell {
  life from;
};

/// A leader wants another ISR. Taken only if leader, all epochs, every listed life and membership match; what is taken
/// raises the partition epoch, even if the ISR stays the same. Whatever else the answer is, the leader keeps the larger
/// ISR until the partition epoch has risen.
struct alter_isr {
  partition_ref where;
  life leader;
  leader_epoch epoch;
  std::int64_t partition_epoch{0};
  std::vector<life> isr;  ///< sorted by node
};
struct alter_isr_answer {
  enum class outcome : std::uint8_t {
    accepted,
    ineligible_replica,  ///< leader and epochs match, but a listed node is fenced, draining, or in another life
    stale,               ///< leader or an epoch does not match: wait for metadata
    invalid,             ///< not a set of replicas with the leader in it, or no such partition
    later,               ///< no controller here, or busy
  };
  partition_ref where;
  leader_epoch epoch;               ///< as asked
  std::int64_t partition_epoch{0};  ///< as asked
  outcome what{outcome::later};
  partition_state state{};  ///< accepted: as it is now
};

/// Where the logs of replicas end. Sent about once a second for each partition whose ISR and ELR are empty while the
/// sender is in `last_known_elr`, until there is a leader.
struct log_ends {
  struct log_end {
    partition_ref where;
    leader_epoch last_epoch{no_epoch};
    log_offset end;
  };
  life from;
  std::vector<log_end> ends;
};

/// The owner has stopped serving the shard because the controller asked it to, and written what it had to. Repeated
/// until the metadata has a higher epoch of the shard; meanwhile it serves nobody.
struct shard_released {
  life from;
  std::string kind;
  std::uint32_t shard{0};
  std::int32_t epoch{0};
};

}  // namespace troupe
