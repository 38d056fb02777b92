#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/net/address.hpp"
#include "runtime/transport/link.hpp"

namespace caf {
class actor_system;
class actor_system_config;
}  // namespace caf

namespace troupe::observe {
class metrics;
}

/// Frames between the nodes of a cluster.
///
/// Everything above tolerates loss: a frame may be dropped (queue full, no connection, connection lost with it under
/// way), never changed, doubled, or, within its urgency, overtaken by a later one of the same connection.
namespace troupe {

/// Files in PEM form: what this node shows, and the cluster's own authority, which signed it and every peer's.
struct transport_tls {
  std::string certificate;
  std::string key;
  std::string authority;
};

struct transport_peer {
  node_id node{-1};
  std::uint64_t incarnation{0};  ///< another one after each start of its process
  net::address reach;            ///< where it says it is reached
  std::string cluster_id;        ///< empty: it belongs to none yet
};

struct transport_options {
  node_id node{-1};
  std::uint64_t incarnation{0};
  std::string cluster_id;
  net::address listen{"127.0.0.1", 0};
  /// Where peers reach us; without a host it is `listen` (no use for 0.0.0.0), without a port the one that is bound.
  net::address advertised;
  std::optional<transport_tls> tls;
  link_limits limits;
  observe::metrics* metrics{nullptr};  ///< outlives the transport
};

/// Called from the transport's threads, several at a time; `up` of a connection comes before its frames, `down` after.
/// All are set. They must not block: while `received` runs, its peer gets no further credit. None of them may call
/// `stop`.
struct transport_callbacks {
  /// The frame may share up to 128 KiB of memory with others that came with it: copy what is kept for long. It begins
  /// at a multiple of 8.
  std::function<void(node_id from, shared_bytes frame)> received;
  std::function<void(const transport_peer&)> up;
  /// `reset`: the peer closed the connection or its kernel did, rather than that it fell silent.
  std::function<void(const transport_peer&, bool reset)> down;
  /// Its host answers and nothing listens there: the process is gone. After a loss, and with each failed dial.
  std::function<void(node_id)> refused;
  /// Turned away: it belongs to another cluster, which takes this node for one of its own.
  std::function<void(const transport_peer&)> claimed;
};

/// Is       the links to all peers over CAF (BASP), one connection to each, TLS where it is set up.
/// Tells    who is up and down; frames from peers.
/// Fails    A lost connection is made again for as long as the peer is known. A peer of another cluster is refused, in
///          words in both logs.
/// Bounds   per peer and urgency the bytes that wait and those under way (`link_limits`); above, frames are dropped and
///          counted.
class transport {
public:
  /// Listens at once. The actor system must have been configured by `configure_transport` and outlive the transport.
  /// Error system: a sentence for the operator.
  static result<std::unique_ptr<transport>> start(caf::actor_system&, transport_options, transport_callbacks);
  virtual ~transport() = default;

  /// Thread-safe, never blocks for long; to this node itself nothing is sent. Without a connection to a known peer,
  /// control waits up to a second for one; everything else is dropped.
  virtual void send(node_id to, urgency, shared_bytes frame) = 0;
  /// Where a node is: dialled from now on whenever there is no link to it.
  virtual void know(node_id, net::address) = 0;
  /// It left: its link is closed and not made again.
  virtual void forget(node_id) = 0;
  /// Somebody of the cluster is there. Dialled until it has answered once, which shows as `up`; from then on `know`
  /// keeps the link.
  virtual void seek(net::address) = 0;
  /// The cluster this node belongs to, once it knows. Links to nodes of other clusters end.
  virtual void joined(std::string cluster_id) = 0;
  /// Where it listens.
  virtual net::address listening() const = 0;
  /// What peers are told.
  virtual net::address advertised() const = 0;
  /// Takes leave of all peers; each `down` comes before this returns, and no callback after. May be called again.
  virtual void stop() = 0;
};

/// What a transport needs of the actor system: CAF's middleman, its message type, heartbeats. Before the system is
/// made.
void configure_transport(caf::actor_system_config&);

/// Links carry everything the cluster holds, and believe what a peer says. Without TLS they stay within the machine
/// unless the operator insists. Error invalid_request: says what to do.
result<void> check_exposure(const net::address& listen, bool has_tls, bool insecure);

}  // namespace troupe
