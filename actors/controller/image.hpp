#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "actors/controller/topic_settings.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"

/// The cluster's metadata: records, and the image that they add up to. Deterministic: the same records give the same
/// image on every node. A snapshot of an image is simply the shortest list of records that produces it.
namespace troupe {

struct endpoint {
  std::string host;
  std::uint16_t port{0};
  friend bool operator==(const endpoint&, const endpoint&) = default;
};

using life = node_life;

struct partition_ref {
  topic_id topic;
  partition_index index;
  friend auto operator<=>(const partition_ref&, const partition_ref&) = default;
};

/// A replica's seat: `added_at` is the partition epoch of its assignment and tells two stays on one node apart.
struct replica {
  node_id node;
  std::int64_t added_at{0};
  friend bool operator==(const replica&, const replica&) = default;
};

struct partition_state {
  std::vector<replica> replicas;
  std::vector<node_id> isr;
  node_id leader{-1};  ///< -1: none
  troupe::leader_epoch epoch{0};
  std::int64_t partition_epoch{0};
  std::vector<node_id> adding;    ///< of `replicas`: not yet part of the plan, must first get into the ISR
  std::vector<node_id> removing;  ///< of `replicas`: they go when all of `adding` are in the ISR
  /// Outside the ISR and still known to hold everything committed. Empty once the ISR is large enough.
  std::vector<node_id> elr;
  /// Left the ELR because they may have lost records. When ISR and ELR are both empty, the longest of their logs is
  /// the best there is.
  std::vector<node_id> last_known_elr;
  /// The newest leader epoch that began with an election in which committed records may have been lost; only a replica
  /// whose last record is of an epoch below may cut its log below its watermark.
  leader_epoch unclean_epoch{no_epoch};
  /// Internal topics, whose partitions are shards of durable entities: who led before and may still hold a lease. The
  /// leader replays, but handles nothing, until there is nobody (node -1).
  life former;

  bool has_replica(node_id) const;
  bool in_sync(node_id) const;
  bool reassigning() const { return !adding.empty() || !removing.empty(); }
  friend bool operator==(const partition_state&, const partition_state&) = default;
};

/// The min.insync.replicas that counts: what is configured, but no more than there are replicas. Those being added do
/// not count yet, or growing a topic would stop its producers until the new replicas have caught up.
inline std::int32_t min_in_sync(std::int32_t configured, const partition_state& p) {
  return std::max(1, std::min(configured, static_cast<std::int32_t>(p.replicas.size() - p.adding.size())));
}

struct topic {
  topic_id id;
  std::string name;
  bool internal{false};
  std::vector<partition_state> partitions;
  setting_map overrides;
  topic_settings settings;  ///< what `overrides` mean
  friend bool operator==(const topic&, const topic&) = default;
};

/// fenced --ready--> active --wants to go--> draining --nothing left--> removed
///    ^--- silent ------+------------------------+
/// The numbers stand in records.
enum class node_state : std::uint8_t { active = 0, fenced = 1, draining = 2, removed = 3 };

/// Whether a node votes in the metadata quorum: the controller chooses, or its operator has. The numbers stand in
/// records.
enum class voting : std::uint8_t { automatic = 0, always = 1, never = 2 };

/// What its operator wants of a node that stays in the cluster. Outlives fencing and restarts, but not removal.
struct node_orders {
  /// It is to lead and own nothing and gets no further replicas. Those that it has stay and follow, so that it can be
  /// taken down at any time and nothing has to be copied for it.
  bool drained{false};
  voting votes{voting::automatic};
  friend bool operator==(const node_orders&, const node_orders&) = default;
};

struct node_info {
  node_id id;
  std::int64_t node_epoch{0};  ///< in a record, -1 stands for the record's own offset
  endpoint kafka;              ///< what clients are told
  std::string rack;
  node_state state{node_state::active};
  /// The operator takes it out of the cluster: when it has nothing left it is removed. Outlives fencing and restarts.
  bool leaving{false};
  endpoint peer;            ///< where other nodes reach it
  uuid disk;                ///< nil: not told (a node that never was in a cluster of several)
  std::uint64_t start{0};   ///< which start of that disk this life is
  std::uint16_t weight{1};  ///< its share of shards and replicas
  bool clean{true};         ///< this life found everything it had acknowledged
  bool disk_full{false};    ///< it appends nothing for want of space, so others lead if they can
  // What the image itself keeps, whatever a record says (but for a snapshot's):
  meta_offset since{-1};       ///< of the record that gave it this life or state
  meta_offset last_taken{-1};  ///< of the newest record that took a leadership or shard from it
  node_orders orders;

  bool serves() const { return state == node_state::active || state == node_state::draining; }
  /// May be given leaderships, shards, replicas.
  bool takes_on() const { return state == node_state::active && !leaving && !orders.drained; }
  /// What it leads and owns is to go elsewhere.
  bool gives_away() const { return serves() && !takes_on(); }
  friend bool operator==(const node_info&, const node_info&) = default;
};

/// Who serves the entities of one shard of a kind that has no log. Assigned first, active once nobody else can serve.
struct shard_state {
  node_id owner{-1};  ///< -1: nobody
  std::int32_t epoch{0};
  bool active{false};
  /// While not active: whose lease has to end first. Node -1: nobody's.
  life former;
  meta_offset since{-1};  ///< of the record that said so; the image itself keeps it
  friend bool operator==(const shard_state&, const shard_state&) = default;
};

// -- records (schemas/metadata.capnp has their bytes) -----------------------------------------------------

struct cluster_formed {
  std::string cluster_id;
};
struct node_registered {
  node_info node;
};
struct topic_created {
  topic_id id;
  std::string name;
  bool internal{false};
  std::vector<partition_state> partitions;
  setting_map overrides;
};
struct topic_deleted {
  topic_id id;
};
/// Appended behind the partitions that the topic has.
struct partitions_added {
  topic_id id;
  std::vector<partition_state> partitions;
};
/// The complete overrides from now on.
struct topic_configured {
  topic_id id;
  setting_map overrides;
};
/// Producer ids below `next` have been given away.
struct producer_ids_reserved {
  std::int64_t next{0};
};
/// Topics of this name start above `epoch`; an empty name: of any name. Written into snapshots only.
struct epoch_retired {
  std::string name;
  std::int32_t epoch{-1};
};
/// Partitions as they are from now on. Who lost a leadership by it gets no lease until it knows.
struct partitions_changed {
  struct change {
    partition_ref where;
    partition_state state;
  };
  std::vector<change> changes;
};
struct node_changed {
  node_id id;
  node_state state{node_state::active};
  bool leaving{false};
  std::optional<bool> disk_full;  ///< nothing: as before
};
/// From now on its operator wants this of the node. In a snapshot, only of those of whom anything is wanted.
struct node_ordered {
  node_id id;
  node_orders orders;
};
/// Shards as they are from now on; the first record of a kind says how many there are.
struct shards_changed {
  struct change {
    std::uint32_t shard{0};
    shard_state state;
  };
  static constexpr std::uint32_t count_max = 65536;
  std::string kind;
  std::uint32_t count{0};
  std::vector<change> changes;
};
/// How many voters the metadata quorum is to have when there are nodes for it: 1, 3 or 5.
struct voters_wanted {
  std::int32_t count{3};
};

using metadata_record = std::variant<cluster_formed, node_registered, topic_created, topic_deleted, partitions_added,
                                     topic_configured, producer_ids_reserved, epoch_retired, partitions_changed,
                                     node_changed, shards_changed, voters_wanted, node_ordered>;

/// The topic that a record makes. Error invalid_config: it has a setting that this version does not understand.
result<std::shared_ptr<const topic>> topic_of(const topic_created&);

std::vector<std::byte> encode(const metadata_record&);
/// Error malformed, for bytes that are no record of ours (also: of a newer version).
result<metadata_record> decode_metadata_record(byte_view);
/// Several records behind each other: one entry of the quorum's log, or a snapshot. Not empty.
std::vector<std::byte> encode_all(std::span<const metadata_record>);
result<std::vector<metadata_record>> decode_all_metadata_records(byte_view);

struct metadata_image {
  /// So many deleted names are remembered each with its own epoch; beyond, they are folded into `retired_floor`.
  static constexpr std::size_t retired_names_max = 10'000;

  meta_offset applied{-1};  ///< the last record in here
  std::string cluster_id;
  std::map<node_id, node_info> nodes;
  std::map<std::string, std::shared_ptr<const topic>, std::less<>>
      topics;  ///< shared between images: one change copies one topic
  std::map<topic_id, std::string> names;
  std::size_t partition_count{0};  ///< over all topics
  std::int64_t next_producer_id{0};
  /// The highest leader epoch any deleted topic of a name had, so that a re-created one starts above it: clients
  /// ignore metadata with a lower epoch than they have seen.
  std::map<std::string, std::int32_t, std::less<>> retired_epochs;
  std::int32_t retired_floor{-1};  ///< the same for every name that is not in `retired_epochs`
  std::map<std::string, std::vector<shard_state>, std::less<>> shards;  ///< by kind
  std::int32_t voter_count{3};                                          ///< wanted

  std::shared_ptr<const topic> find(std::string_view name) const;
  std::shared_ptr<const topic> find(topic_id id) const;
  /// nullptr: there is none.
  const partition_state* find(const partition_ref&) const;
  const node_info* node(node_id) const;
  /// The leader epoch that a new partition of a topic of this name starts with.
  leader_epoch first_epoch(std::string_view name) const;

  /// Takes the record at `at`, which must be `applied` + 1. A record that does not fit is a broken invariant: the
  /// controller never writes one.
  void apply(meta_offset at, const metadata_record&);
  /// Takes all records of one entry of the quorum's log at once; they share its place. `at` > `applied`: what lies
  /// between is no metadata.
  void apply(meta_offset at, std::span<const metadata_record>);
  /// The entry at `at` > `applied` is no metadata (the no-op of a new leader, a change of voters).
  void pass(meta_offset at);

  /// Of everything in here: images at the same offset have the same. Takes time in proportion to the image.
  std::uint64_t hash() const;

  std::vector<metadata_record> snapshot() const;
  /// The image that `snapshot` was made of when it had applied `at`.
  static metadata_image restore(meta_offset at, const std::vector<metadata_record>& snapshot);

private:
  void take(meta_offset at, const metadata_record&);
};

}  // namespace troupe
