#include "runtime/raft/quorum_codec.hpp"

namespace troupe::schema {

namespace {

void write(RaftClient::Builder to, const raft_client& client) {
  to.setId(client.id);
  to.setBorn(client.born.value());
}
raft_client read(RaftClient::Reader from) {
  return {from.getId(), raft_index{from.getBorn()}};
}

}  // namespace

void write(RaftPeer::Builder to, const raft_peer& peer) {
  to.setNode(peer.node.value());
  write(to.initDisk(), peer.disk);
}

void write(RaftEntry::Builder to, const raft_entry& entry) {
  to.setTerm(entry.term.value());
  to.setIndex(entry.index.value());
  to.setKind(static_cast<std::uint8_t>(entry.kind));
  write(to.initClient(), entry.client);
  to.setSequence(entry.sequence);
  if (!entry.members.empty()) write(to.initMembers(count_of(entry.members.size())), entry.members);
  if (!entry.payload.empty()) to.setPayload(data_of(entry.payload));
}

void write(RaftHardState::Builder to, const raft_hard_state& hard) {
  to.setTerm(hard.term.value());
  if (hard.voted_for) write(to.initVotedFor(), *hard.voted_for);
  write(to.initDisk(), hard.disk);
}

void write(RaftSessions::Builder to, const raft_sessions& sessions) {
  auto known = to.initKnown(count_of(sessions.known.size()));
  for (unsigned i = 0; i < known.size(); ++i) {
    write(known[i].initClient(), sessions.known[i].client);
    known[i].setSequence(sessions.known[i].sequence);
    known[i].setUsed(sessions.known[i].used.value());
  }
  to.setForgotten(sessions.forgotten.value());
}

void write(capnp::List<RaftMember>::Builder to, const raft_members& members) {
  for (unsigned i = 0; i < to.size(); ++i) {
    write(to[i].initPeer(), members[i].peer);
    to[i].setVoter(members[i].voter);
  }
}

raft_peer read(RaftPeer::Reader from) {
  return {node_id{from.getNode()}, read(from.getDisk())};
}

raft_entry read(frame_reader& in, RaftEntry::Reader from) {
  raft_entry entry;
  entry.term = raft_term{from.getTerm()};
  entry.index = raft_index{from.getIndex()};
  entry.kind = in.number("kind of an entry", from.getKind(), raft_entry::kind_t::members);
  entry.client = read(from.getClient());
  entry.sequence = from.getSequence();
  entry.members = read(in, from.getMembers());
  entry.payload = in.slice("payload of an entry", from.getPayload());
  return entry;
}

raft_hard_state read(RaftHardState::Reader from) {
  raft_hard_state hard{raft_term{from.getTerm()}, {}, read(from.getDisk())};
  if (from.hasVotedFor()) hard.voted_for = read(from.getVotedFor());
  return hard;
}

raft_sessions read(frame_reader& in, RaftSessions::Reader from) {
  return {in.list("sessions", from.getKnown(),
                  [](RaftSession::Reader s) {
                    return raft_session{read(s.getClient()), s.getSequence(), raft_index{s.getUsed()}};
                  }),
          raft_index{from.getForgotten()}};
}

raft_members read(frame_reader& in, capnp::List<RaftMember>::Reader from) {
  return in.list("members", from, [](RaftMember::Reader m) { return raft_member{read(m.getPeer()), m.getVoter()}; });
}

// In words: a struct's numbers and pointers, and behind them what these lead to.
std::size_t frame_bytes(const raft_entry& entry) {
  return 8 * 16 + frame_bytes(entry.members) + entry.payload.size() + 8;
}
std::size_t frame_bytes(const raft_sessions& sessions) {
  return 8 * (8 + 5 * sessions.known.size());
}
std::size_t frame_bytes(const raft_members& members) {
  return 8 * (1 + 6 * members.size());
}

}  // namespace troupe::schema
