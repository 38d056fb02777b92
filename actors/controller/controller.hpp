#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/controller/image.hpp"

/// The cluster's controller: the only place where topics, replica plans and configuration are decided.
///
/// Is       entity `controller`, active where the metadata quorum is led (a single node is a quorum of one).
/// Answers  create_topics, delete_topics, create_partitions, alter_configs, allocate_producer_ids.
/// Tells    every node, by metadata records; partitions are started and stopped by whoever applies them.
/// Keeps    nothing but the metadata log. A decision counts once its records are committed and applied.
/// Fails    a record that cannot be made durable: the node stops; nothing was answered.
namespace troupe {

/// One topic of a create_topics request. -1: the default of the node.
struct new_topic {
  std::string name;
  std::int32_t partitions{-1};
  std::int16_t replication{-1};
  /// Replica nodes per partition, when the caller chooses them; then `partitions` and `replication` are -1.
  std::vector<std::vector<node_id>> assignments;
  setting_map overrides;
};

/// A configuration change of one setting.
struct setting_change {
  enum class operation : std::int8_t { set = 0, remove = 1, append = 2, subtract = 3 };
  std::string name;
  operation op{operation::set};
  std::optional<std::string> value;
};

/// What the controller decided about one item of a request: nothing when it is done, else why not.
struct decision {
  std::string name;  ///< the topic
  std::optional<error> refused;
  std::shared_ptr<const topic> now;  ///< as it stands afterwards; empty when refused or deleted
};

struct controller_defaults {
  std::int32_t partitions{1};
  std::int16_t replication{1};          ///< 0: 3, or as many as there are nodes
  std::int32_t partitions_max{100000};  ///< over all topics of the cluster
  /// Settings of topics that do not override them (node options such as retention), by name.
  setting_map topic_overrides;
};

/// Decides; pure. Each entrance looks at the image, returns decisions and the records that make them true. The caller
/// commits the records, applies them to its image, and only then answers. Not thread-safe.
class controller {
public:
  struct plan {
    std::vector<decision> decisions;  ///< one per item asked, in order; `now` filled by the caller after applying, or
                                      ///< here when only validated
    std::vector<metadata_record> records;
  };

  using id_source = std::function<uuid()>;
  /// `new_id` names topics and the cluster; tests bring their own.
  explicit controller(controller_defaults defaults, id_source new_id = &uuid::random)
      : defaults_{std::move(defaults)}, new_id_{std::move(new_id)} {}

  /// The first record of a cluster.
  metadata_record form_cluster() const { return cluster_formed{new_id_().text()}; }

  /// A topic's settings that are fixed at creation are written down even where they come from the node's defaults.
  /// Errors per topic: topic_exists, invalid_topic (also names that differ only in '.' and '_'), invalid_partitions,
  /// invalid_replication, invalid_assignment, invalid_config, invalid_request (a name twice, counts with assignments).
  plan create_topics(const metadata_image&, const std::vector<new_topic>&, bool validate_only) const;
  /// A topic that the cluster itself needs: three replicas, or one where there are fewer nodes; kept for ever. Nothing
  /// without a node to hold it.
  std::vector<metadata_record> create_internal(const metadata_image&, const std::string& name,
                                               std::int32_t partitions) const;
  /// A topic by name, or by id where the name is empty. Errors: unknown_topic, unknown_topic_id, invalid_topic
  /// (internal), invalid_request (a topic twice, name and id, neither).
  struct doomed {
    std::string name;
    topic_id id;
  };
  plan delete_topics(const metadata_image&, const std::vector<doomed>&) const;
  struct growth {
    std::string name;
    std::int32_t count{0};                                         ///< new total
    std::optional<std::vector<std::vector<node_id>>> assignments;  ///< of the new partitions
  };
  /// Errors per topic: unknown_topic, invalid_partitions (no growth, too many), invalid_assignment, invalid_request (a
  /// topic twice).
  plan create_partitions(const metadata_image&, const std::vector<growth>&, bool validate_only) const;
  struct reconfiguration {
    std::string name;
    std::vector<setting_change> changes;
    bool replace_all{false};  ///< AlterConfigs: what is not named goes back to its default
  };
  /// Errors per topic: unknown_topic, invalid_config (also: a setting fixed at creation, append to what is no list),
  /// invalid_request (a topic or a setting twice, a missing value).
  plan alter_configs(const metadata_image&, const std::vector<reconfiguration>&, bool validate_only) const;
  /// A block of ids [first, first + count) that nobody ever gets again.
  struct id_block {
    producer_id first;
    std::vector<metadata_record> records;
  };
  id_block reserve_producer_ids(const metadata_image&, std::int64_t count) const;

  const controller_defaults& defaults() const { return defaults_; }

private:
  controller_defaults defaults_;
  id_source new_id_;
};

/// 1 to 249 of [A-Za-z0-9._-], not "." or "..". Error invalid_topic says what is wrong.
result<void> check_topic_name(std::string_view name);

}  // namespace troupe
