#pragma once

#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "actors/node/node_actor.hpp"
#include "actors/node/node_letter.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/transport/transport.hpp"

namespace troupe::node_events {

/// To the node's actor: a letter that is for no replica and no entity.
struct letter_came {
  life from;
  node_message body;
};

}  // namespace troupe::node_events

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::letter_came)

namespace troupe {

/// Carries letters between nodes: encodes and sends them, decodes what comes, and gives it to the replica or the node
/// that it is for. Thread-safe; other threads hold it, and it outlives the transport, which `uses(nullptr)` takes away.
class post_office {
public:
  post_office(caf::actor node, std::shared_ptr<cluster_directory>);

  /// From now on these stand on every letter, and letters of other clusters are dropped.
  void belongs_to(std::string cluster_id);
  void is(life self);
  void uses(transport*);
  /// Where entities' letters go: the shells of all parts, in order. Empty: nowhere.
  void brings_to(std::vector<caf::actor> entity_hosts);

  /// To this very node it goes without a frame. Without a transport, or a link, it is lost.
  void send(node_id to, node_message);
  /// A frame that `from` sent. Malformed ones, and those that claim another sender, are dropped.
  void received(node_id from, shared_bytes frame);

private:
  void deliver(life from, node_message);

  const caf::actor node_;
  const std::shared_ptr<cluster_directory> directory_;
  std::shared_mutex mutex_;
  std::string cluster_id_;
  life self_;
  transport* transport_{nullptr};
  std::vector<caf::actor> entity_hosts_;
  observe::seldom malformed_;
};

}  // namespace troupe
