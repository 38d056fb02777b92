#pragma once

#include <cstdint>
#include <map>
#include <memory>
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
  friend bool operator==(const partition_state&, const partition_state&) = default;
};

struct topic {
  topic_id id;
  std::string name;
  bool internal{false};
  std::vector<partition_state> partitions;
  setting_map overrides;
  topic_settings settings;  ///< what `overrides` mean
  friend bool operator==(const topic&, const topic&) = default;
};

struct node_info {
  node_id id;
  std::int64_t node_epoch{0};
  endpoint kafka;  ///< what clients are told
  std::string rack;
  friend bool operator==(const node_info&, const node_info&) = default;
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

using metadata_record = std::variant<cluster_formed, node_registered, topic_created, topic_deleted, partitions_added,
                                     topic_configured, producer_ids_reserved, epoch_retired>;

std::vector<std::byte> encode(const metadata_record&);
/// Error malformed, for bytes that are no record of ours (also: of a newer version).
result<metadata_record> decode_metadata_record(byte_view);

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

  std::shared_ptr<const topic> find(std::string_view name) const;
  std::shared_ptr<const topic> find(topic_id id) const;
  /// The leader epoch that a new partition of a topic of this name starts with.
  leader_epoch first_epoch(std::string_view name) const;

  /// Takes the record at `at`, which must be `applied` + 1. A record that does not fit is a broken invariant: the
  /// controller never writes one.
  void apply(meta_offset at, const metadata_record&);

  std::vector<metadata_record> snapshot() const;
  /// The image that `snapshot` was made of when it had applied `at`.
  static metadata_image restore(meta_offset at, const std::vector<metadata_record>& snapshot);

private:
  void take(const metadata_record&);
};

}  // namespace troupe
