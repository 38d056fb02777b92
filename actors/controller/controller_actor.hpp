#pragma once

#include <atomic>
#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/controller/controller.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/store/log.hpp"

namespace troupe {

/// What a node knows of the cluster right now: an immutable picture that gateways read without asking anyone.
struct cluster_view {
  std::shared_ptr<const metadata_image> image = std::make_shared<const metadata_image>();
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
/// The node stops: the partitions of this node end in order (they write their marks), then `answer` runs and the
/// controller ends. Until then, requests are answered with `closed`.
struct stop_request {
  std::function<void()> answer;
};

// -- starting one --------------------------------------------------------------------------------------------

struct controller_setup {
  node_info self;  ///< as it is to be registered; the controller gives it its epoch
  controller_defaults defaults;
  std::filesystem::path metadata_directory;
  std::shared_ptr<store::log_store> store;
  std::shared_ptr<cluster_directory> directory;
  observe::metrics* metrics{nullptr};  ///< outlives the actor system
  /// How often a partition looks for what its retention lets go.
  std::chrono::milliseconds retention_interval{std::chrono::minutes{1}};
  /// Called once: the view is published and every partition of this node runs; or why not. After an error every
  /// request is refused with it; stop_request works as ever.
  std::function<void(result<void>)> ready;
  /// What is on disk is unknown (storage_failed): the node has to stop. Called at most once.
  std::function<void(const error&)> failed;
};

/// Starts the controller of a node that is a cluster of its own. It runs on a thread of its own, because it waits for
/// its commits; nobody waits for it except who asks it for a change.
caf::actor spawn_controller(caf::actor_system&, controller_setup);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_partitions_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::alter_configs_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::producer_id_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_request)
