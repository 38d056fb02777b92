#pragma once

#include <functional>
#include <memory>

#include "actors/node/node_actor.hpp"
#include "runtime/net/http_server.hpp"

namespace troupe::rest {

/// What an operator asks of a cluster, at any of its nodes. Whoever reaches the server may ask, as with the Kafka door.
///
///     GET  /v1/cluster               nodes, quorum, partitions in trouble
///     POST /v1/cluster               {"voters": 3}
///     GET  /v1/nodes/{id}            one node, and what one that leaves or is drained still has
///     POST /v1/nodes/{id}            {"action": "drain"}, "remove", "undo" (of both), "add_voter", "remove_voter",
///                                    "auto_voter" (the controller chooses again)
///     GET  /v1/partitions/{topic}    leaders and replicas
///     POST /v1/partitions/{topic}/{index}   {"replicas": [1,2,3]}, {"cancel": true}, {"elect": "preferred"},
///                                    {"elect": "unclean"} (a partition without a leader; records may be lost)
///
/// A POST is answered once the controller has decided: 202 with the state as it is then, which a GET follows from
/// there. Refused with 400 and 404 (what was asked), 409 (cannot be now) and 503 (nobody to decide; try again).
///
/// `node` gives the node's actor, or null while there is none. It is called on the server's threads.
void add_operations(net::http_server&, std::shared_ptr<cluster_directory>, std::function<caf::actor()> node);

/// The refusal that an outcome's error becomes.
net::http_response refusal(const error&);

}  // namespace troupe::rest
