#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/controller/controller.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// What a node knows of the cluster right now: an immutable picture that gateways read without asking anyone.
struct cluster_view {
  std::shared_ptr<const metadata_image> image;
  /// The partition actors that live on this node, by topic name and index (a null handle: not here).
  struct route {
    topic_id id;
    std::vector<caf::actor> partitions;
  };
  std::map<std::string, std::shared_ptr<const route>, std::less<>> routes;
  /// The handle of a partition, or null when the topic, the index or the local replica does not exist.
  caf::actor partition(std::string_view topic, partition_index) const;
};

/// Where the current view is found. Thread-safe.
class cluster_directory {
public:
  std::shared_ptr<const cluster_view> view() const { return view_.load(); }
  void publish(std::shared_ptr<const cluster_view> view) { view_.store(std::move(view)); }

private:
  std::atomic<std::shared_ptr<const cluster_view>> view_{std::make_shared<const cluster_view>()};
};

// -- messages to the controller; `answer` runs on an actor thread and must not block ---------------------------

using decisions_reply = std::function<void(std::vector<decision>)>;
struct create_topics_request {
  std::vector<new_topic> topics;
  bool validate_only{false};
  decisions_reply answer;
};
struct delete_topics_request {
  std::vector<controller::doomed> topics;
  decisions_reply answer;
};
struct create_partitions_request {
  std::vector<controller::growth> topics;
  bool validate_only{false};
  decisions_reply answer;
};
struct alter_configs_request {
  std::vector<controller::reconfiguration> topics;
  bool validate_only{false};
  decisions_reply answer;
};
/// A producer id that nobody ever had.
struct producer_id_request {
  std::function<void(result<producer_id>)> answer;
};

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_partitions_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::alter_configs_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::producer_id_request)
