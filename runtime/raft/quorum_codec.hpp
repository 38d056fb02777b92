#pragma once

#include "runtime/raft/messages.hpp"
#include "schemas/frame.hpp"
#include "schemas/quorum.capnp.h"

/// The quorum's values as schemas/quorum.capnp has them, for disk and wire alike.
namespace troupe::schema {

void write(RaftPeer::Builder to, const raft_peer&);
void write(RaftEntry::Builder to, const raft_entry&);
void write(RaftHardState::Builder to, const raft_hard_state&);
void write(RaftSessions::Builder to, const raft_sessions&);
void write(capnp::List<RaftMember>::Builder to, const raft_members&);

raft_peer read(RaftPeer::Reader);
/// The payload is a slice of the frame.
raft_entry read(frame_reader&, RaftEntry::Reader);
raft_hard_state read(RaftHardState::Reader);
raft_sessions read(frame_reader&, RaftSessions::Reader);
raft_members read(frame_reader&, capnp::List<RaftMember>::Reader);

/// What a frame takes for it, generously: for `frame_writer`.
std::size_t frame_bytes(const raft_entry&);
std::size_t frame_bytes(const raft_sessions&);
std::size_t frame_bytes(const raft_members&);

}  // namespace troupe::schema
