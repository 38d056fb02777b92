#pragma once

#include <caf/all.hpp>
#include <functional>
#include <memory>

#include "runtime/transport/dialer.hpp"
#include "runtime/transport/link_actor.hpp"

namespace troupe::transport_parts {

struct know {
  node_id node;
  net::address at;
};
struct forget {
  node_id node;
};
struct seek {
  net::address at;
};
struct joined {
  std::string cluster_id;
};
/// We listen, and are reached there: from now on peers are dialled.
struct listening {
  net::address reach;
};
struct stop {
  std::function<void()> done;
};

/// Keeps the links to all peers: dials, judges who comes, replaces, reports. The one actor that is published.
///
///     a place to dial:  due ──> dialling ──connected──> greeting ──> linked ──link lost──> due
///                        ^         │ refused, unreachable   │ farewell, no answer
///                        └─────────┴── back-off ────────────┘
///
/// Of two nodes that dial each other at once, the link that the lower id has dialled stays.
caf::actor spawn_supervisor(caf::actor_system&, std::shared_ptr<hub>, std::shared_ptr<dialer>);

}  // namespace troupe::transport_parts

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::know)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::forget)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::seek)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::joined)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::listening)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::stop)
