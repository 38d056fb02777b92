#pragma once

#include <caf/all.hpp>
#include <caf/io/middleman_actor.hpp>
#include <memory>

#include "runtime/base/result.hpp"
#include "runtime/transport/transport.hpp"

struct ssl_ctx_st;

/// CAF's connections inside TLS 1.3, both sides with a certificate of the cluster's authority.
///
/// Takes the place of `caf::openssl`. That one leaves a failed handshake's errors in OpenSSL's queue, where the next
/// healthy connection finds them and is closed: any nonsense at the port cuts links. It also polls without pause while
/// a peer that has connected says nothing.
namespace troupe::transport_parts {

using tls_context = std::shared_ptr<ssl_ctx_st>;

/// Error system: says which file cannot be used, and why.
result<tls_context> make_tls_context(const transport_tls&);

/// Does for TLS what `caf::io::middleman::actor_handle` does without. Ends by an exit message with `kill`.
caf::io::middleman_actor spawn_tls_middleman(caf::actor_system&, tls_context);

}  // namespace troupe::transport_parts
