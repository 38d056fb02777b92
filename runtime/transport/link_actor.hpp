#pragma once

#include <caf/all.hpp>
#include <caf/io/middleman_actor.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>

#include "runtime/transport/introduction.hpp"
#include "runtime/transport/link.hpp"
#include "runtime/transport/transport.hpp"

/// What the transport's actors share and tell each other. Nothing of this crosses nodes.
///
///     a link that dials:    greeting --welcome, judged by the supervisor--> open --lost, cease--> ended
///     a link that accepts:  waiting  --the supervisor says go, welcome----> open --lost, cease--> ended
namespace troupe::transport_parts {

struct instruments {
  explicit instruments(observe::metrics&);
  struct direction;
  std::shared_ptr<direction> sent, received;
  void count(const direction&, urgency, std::uint64_t frames, std::uint64_t bytes) const;
  void dropped(urgency, std::uint64_t frames) const;
  void reconnected() const;
  void queued(double more) const;

private:
  struct state;
  std::shared_ptr<state> state_;
};

/// Where frames to one peer wait; senders from any thread meet the link here.
struct outbox {
  explicit outbox(const link_limits& limits) : sender{limits} {}
  std::mutex lock;
  link_sender sender;
  caf::actor link;    ///< while there is one
  bool awake{false};  ///< it was told that there is something to send
  bool removed{false};
  std::size_t queued_shown{0};
  per_urgency<link_sender::counts> shown{};
};

/// One for all threads of a transport.
struct hub {
  transport_options options;
  transport_callbacks callbacks;
  std::optional<instruments> metrics;
  caf::io::middleman_actor middleman;  ///< listens and connects, with TLS where it is set up

  std::shared_ptr<outbox> box(node_id) const;
  std::shared_ptr<outbox> add_box(node_id);
  void remove_box(node_id);
  void send(node_id, urgency, shared_bytes);
  /// What is sent to the peer from now on goes to this link.
  void attach(const introduction& theirs, const caf::actor& link);
  /// The box has no link any more.
  void detach(outbox&) const;
  /// Brings the metrics up to date. Under the box's lock.
  void show(outbox&) const;

private:
  mutable std::shared_mutex lock_;
  std::map<node_id, std::shared_ptr<outbox>> boxes_;
};

struct wake {};
struct go {
  introduction ours;
};
struct cease {
  link_farewell why;
};
/// The peer has introduced itself.
struct greeted {
  introduction theirs;
};
struct ended {
  bool reset;
  std::optional<link_farewell> theirs;  ///< what the peer said
  std::string why;
};

struct link_start {
  std::shared_ptr<hub> shared;
  caf::actor supervisor;             ///< ours
  caf::actor remote;                 ///< their supervisor if we dial, else their link
  std::optional<introduction> ours;  ///< what to say first, if we dial
  introduction theirs;               ///< known already, if we accept
};
caf::actor spawn_link(caf::actor_system&, link_start);

/// Closes the connection to a node, whatever still uses it, once what was sent before is out.
void drop_connection(caf::actor_system&, const caf::node_id&);

}  // namespace troupe::transport_parts

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::wake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::go)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::cease)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::greeted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::ended)
