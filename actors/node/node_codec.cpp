#include "actors/node/node_codec.hpp"

#include <algorithm>
#include <type_traits>

#include "actors/controller/record_fields.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/entities/entity_codec.hpp"
#include "runtime/raft/quorum_codec.hpp"
#include "schemas/peer.capnp.h"

/// Each message has a `write` and a `read` here, in the order of node_letter.hpp, first all that write.
namespace troupe {

namespace {

using schema::count_of;
using schema::frame_reader;
using schema::read;
using schema::text_of;
using schema::write;
using controls = cluster_controller;

// -- how large a frame gets ---------------------------------------------------------------------------------------

/// Of what may be large; the rest goes into what every frame gets.
std::size_t large_bytes(const node_letter& letter) {
  constexpr std::size_t others = 1024;
  const auto of_raft = overloaded{
      [](const raft_append& a) {
        std::size_t all = 0;
        for (const auto& entry : a.entries) all += schema::frame_bytes(entry);
        return all;
      },
      [](const raft_install& i) {
        return i.piece.size() + schema::frame_bytes(i.members) + schema::frame_bytes(i.sessions);
      },
      [](const auto&) { return std::size_t{0}; },
  };
  const auto of_answer = overloaded{
      [](const replica_answer::records& r) {
        std::size_t all = 0;
        for (const auto& run : r.runs) all += run.size() + 2 * sizeof(capnp::word);
        return all;
      },
      [](const auto&) { return std::size_t{0}; },
  };
  const auto of_body = overloaded{
      [&](const raft_message& m) { return std::visit(of_raft, m.body); },
      [&](const replica_answer& a) { return std::visit(of_answer, a.what); },
      [](const entities::message& m) { return schema::frame_bytes(m); },
      [](const auto&) { return std::size_t{0}; },
  };
  return others + letter.cluster_id.size() + std::visit(of_body, letter.body);
}

// -- writing: parts -------------------------------------------------------------------------------------------------

void write(schema::Life::Builder to, const life& l) {
  to.setNode(l.node.value());
  to.setEpoch(l.epoch);
}
void write(schema::Endpoint::Builder to, const endpoint& e) {
  to.setHost(text_of(e.host));
  to.setPort(e.port);
}
void write(schema::PartitionRef::Builder to, const partition_ref& p) {
  write(to.initTopic(), p.topic);
  to.setIndex(p.index.value());
}
void write(schema::Seat::Builder to, const store::log_identity& seat) {
  write(to.initPartition(), partition_ref{seat.topic, seat.partition});
  to.setAddedAt(seat.added_at);
}
void write(schema::Error::Builder to, const error& e) {
  to.setCode(static_cast<std::uint16_t>(e.code));
  to.setText(text_of(std::string_view{e.text}.substr(0, error_text_bytes_max)));
}

// Of what stands in lists.
void write(schema::Suspicion::Builder to, const suspicion_report&);
void write(schema::NodeList::Builder to, const std::vector<node_id>&);
void write(schema::NewTopic::Builder to, const new_topic&);
void write(schema::Growth::Builder to, const controller::growth&);
void write(schema::Reconfiguration::Builder to, const controller::reconfiguration&);
void write(schema::Decision::Builder to, const decision&);

template <class List, class T, class WriteOne>
void write_list(List to, const std::vector<T>& all, WriteOne write_one) {
  for (unsigned i = 0; i < to.size(); ++i) write_one(to[i], all[i]);
}
template <class List, class T>
void write_list(List to, const std::vector<T>& all) {
  write_list(to, all, [](auto out, const T& one) { write(out, one); });
}

// -- writing: the quorum ----------------------------------------------------------------------------------------------

void write(schema::RaftMessage::Builder to, const raft_message& m) {
  write(to.initFrom(), m.from);
  write(to.initTo(), m.to);
  to.setTerm(m.term.value());
  auto body = to.initBody();
  std::visit(overloaded{
                 [&](const raft_pre_vote& r) {
                   auto out = body.initPreVote();
                   out.setLastIndex(r.last_index.value());
                   out.setLastTerm(r.last_term.value());
                 },
                 [&](const raft_pre_vote_reply& r) { body.setPreVoteReply(r.granted); },
                 [&](const raft_vote& r) {
                   auto out = body.initVote();
                   out.setLastIndex(r.last_index.value());
                   out.setLastTerm(r.last_term.value());
                   out.setHandedOver(r.handed_over);
                 },
                 [&](const raft_vote_reply& r) { body.setVoteReply(r.granted); },
                 [&](const raft_append& r) {
                   auto out = body.initAppend();
                   out.setPrevious(r.previous.value());
                   out.setPreviousTerm(r.previous_term.value());
                   out.setCommit(r.commit.value());
                   out.setRound(r.round);
                   write_list(out.initEntries(count_of(r.entries.size())), r.entries);
                 },
                 [&](const raft_append_reply& r) {
                   auto out = body.initAppendReply();
                   out.setAccepted(r.accepted);
                   out.setRound(r.round);
                   out.setMatch(r.match.value());
                   out.setPrevious(r.previous.value());
                   out.setHint(r.hint.value());
                   out.setHintTerm(r.hint_term.value());
                 },
                 [&](const raft_install& r) {
                   auto out = body.initInstall();
                   out.setIndex(r.index.value());
                   out.setSnapshotTerm(r.snapshot_term.value());
                   out.setRound(r.round);
                   out.setOffset(r.offset);
                   out.setSize(r.size);
                   if (!r.piece.empty()) out.setPiece(schema::data_of(r.piece));
                   if (!r.members.empty()) write(out.initMembers(count_of(r.members.size())), r.members);
                   if (r.sessions != raft_sessions{}) write(out.initSessions(), r.sessions);
                 },
                 [&](const raft_install_reply& r) {
                   auto out = body.initInstallReply();
                   out.setIndex(r.index.value());
                   out.setRound(r.round);
                   out.setReceived(r.received);
                 },
                 [&](const raft_hand_over&) { body.setHandOver(); },
             },
             m.body);
}

// -- writing: a node and the controller -------------------------------------------------------------------------------

void write(schema::Registration::Builder to, const registration& r) {
  to.setClusterId(text_of(r.cluster_id));
  to.setNode(r.node.value());
  write(to.initDisk(), r.disk);
  to.setStart(r.start);
  to.setClean(r.clean);
  write_list(to.initDamaged(count_of(r.damaged.size())), r.damaged);
  write(to.initKafka(), r.kafka);
  write(to.initPeer(), r.peer);
  to.setRack(text_of(r.rack));
  to.setWeight(r.weight);
}

void write(schema::RegistrationAnswer::Builder to, const registration_answer& r) {
  to.setVerdict(static_cast<std::uint8_t>(r.what));
  to.setStart(r.start);
  to.setNodeEpoch(r.node_epoch);
  to.setClusterId(text_of(r.cluster_id));
  to.setController(r.controller.value());
  if (!r.disk.is_nil()) write(to.initDisk(), r.disk);
}

void write(schema::Suspicion::Builder to, const suspicion_report& s) {
  write(to.initSubject(), s.subject);
  to.setCause(static_cast<std::uint8_t>(s.why));
  to.setAgeMs(s.age.count());
}

void write(schema::Heartbeat::Builder to, const heartbeat& h) {
  write(to.initFrom(), h.from);
  to.setApplied(h.applied.value());
  to.setSentNs(h.sent.time_since_epoch().count());
  to.setReady(h.ready);
  to.setWantsToStop(h.wants_to_stop);
  write_list(to.initSuspicions(count_of(h.suspicions.size())), h.suspicions);
  write_list(to.initUnreachable(count_of(h.unreachable.size())), h.unreachable);
  to.setDiskFull(h.disk_full);
  if (h.wall) to.setWallMs(h.wall->time_since_epoch().count());
}

void write(schema::HeartbeatAnswer::Builder to, const heartbeat_answer& h) {
  write(to.initTo(), h.to);
  to.setSentNs(h.sent.time_since_epoch().count());
  to.setGranted(h.granted);
  to.setState(static_cast<std::uint8_t>(h.state));
  to.setMayStop(h.may_stop);
  to.setFromController(h.from_controller);
  to.setClocks(static_cast<std::uint8_t>(h.clocks.what));
  to.setWallMs(h.clocks.time.time_since_epoch().count());
}

void write(schema::AlterIsr::Builder to, const alter_isr& a) {
  write(to.initPartition(), a.where);
  write(to.initLeader(), a.leader);
  to.setLeaderEpoch(a.epoch.value());
  to.setPartitionEpoch(a.partition_epoch);
  write_list(to.initIsr(count_of(a.isr.size())), a.isr);
}

void write(schema::AlterIsrAnswer::Builder to, const alter_isr_answer& a) {
  write(to.initPartition(), a.where);
  to.setLeaderEpoch(a.epoch.value());
  to.setPartitionEpoch(a.partition_epoch);
  to.setOutcome(static_cast<std::uint8_t>(a.what));
  if (a.state != partition_state{}) write(to.initState(), a.state);
}

void write(schema::LogEnds::Builder to, const log_ends& l) {
  write(to.initFrom(), l.from);
  write_list(to.initEnds(count_of(l.ends.size())), l.ends,
             [](schema::LogEnd::Builder out, const log_ends::log_end& end) {
               write(out.initPartition(), end.where);
               out.setLastEpoch(end.last_epoch.value());
               out.setEnd(end.end.value());
             });
}

void write(schema::ShardReleased::Builder to, const shard_released& s) {
  write(to.initFrom(), s.from);
  to.setKind(text_of(s.kind));
  to.setShard(s.shard);
  to.setEpoch(s.epoch);
}

void write(schema::ReleaseOrder::Builder to, const release_order& r) {
  to.setKind(text_of(r.kind));
  to.setShard(r.shard);
  to.setEpoch(r.epoch);
}

// -- writing: what is asked of the controller -------------------------------------------------------------------------

void write(schema::NodeList::Builder to, const std::vector<node_id>& nodes) {
  write(to.initNodes(count_of(nodes.size())), nodes);
}

void write(schema::NewTopic::Builder to, const new_topic& t) {
  to.setName(text_of(t.name));
  to.setPartitions(t.partitions);
  to.setReplication(t.replication);
  write_list(to.initAssignments(count_of(t.assignments.size())), t.assignments);
  auto overrides = to.initOverrides(count_of(t.overrides.size()));
  unsigned i = 0;
  for (const auto& [name, value] : t.overrides) {
    overrides[i].setName(text_of(name));
    overrides[i++].setValue(text_of(value));
  }
}

void write(schema::Growth::Builder to, const controller::growth& g) {
  to.setName(text_of(g.name));
  to.setCount(g.count);
  if (g.assignments) write_list(to.initAssignments(count_of(g.assignments->size())), *g.assignments);
}

void write(schema::Reconfiguration::Builder to, const controller::reconfiguration& r) {
  to.setName(text_of(r.name));
  write_list(to.initChanges(count_of(r.changes.size())), r.changes,
             [](schema::SettingChange::Builder out, const setting_change& c) {
               out.setName(text_of(c.name));
               out.setOperation(static_cast<std::uint8_t>(c.op));
               if (c.value) out.setValue(text_of(*c.value));
             });
  to.setReplaceAll(r.replace_all);
}

void write(schema::ControllerRequest::Builder to, const controller_request& r) {
  to.setId(r.id);
  auto what = to.initWhat();
  std::visit(overloaded{
                 [&](const controls::create_topics& c) {
                   auto out = what.initCreateTopics();
                   write_list(out.initTopics(count_of(c.topics.size())), c.topics);
                   out.setValidateOnly(c.validate_only);
                 },
                 [&](const controls::delete_topics& d) {
                   auto out = what.initDeleteTopics(count_of(d.topics.size()));
                   for (unsigned i = 0; i < out.size(); ++i) {
                     out[i].setName(text_of(d.topics[i].name));
                     write(out[i].initId(), d.topics[i].id);
                   }
                 },
                 [&](const controls::create_partitions& c) {
                   auto out = what.initCreatePartitions();
                   write_list(out.initTopics(count_of(c.topics.size())), c.topics);
                   out.setValidateOnly(c.validate_only);
                 },
                 [&](const controls::alter_configs& a) {
                   auto out = what.initAlterConfigs();
                   write_list(out.initTopics(count_of(a.topics.size())), a.topics);
                   out.setValidateOnly(a.validate_only);
                 },
                 [&](const controls::reserve_producer_ids& p) { what.setReserveProducerIds(p.count); },
                 [&](const controls::reassign& a) {
                   auto out = what.initReassign(count_of(a.items.size()));
                   for (unsigned i = 0; i < out.size(); ++i) {
                     const auto& [where, target] = a.items[i];
                     write(out[i].initPartition(), where);
                     if (target) write(out[i].initTarget(count_of(target->size())), *target);
                   }
                 },
                 [&](const controls::elect_preferred& e) {
                   write_list(what.initElectPreferred(count_of(e.items.size())), e.items);
                 },
                 [&](const controls::remove_node& n) {
                   auto out = what.initRemoveNode();
                   out.setNode(n.node.value());
                   out.setUndo(n.undo);
                 },
                 [&](const controls::want_voter_count& w) { what.setWantVoterCount(w.count); },
                 [&](const controls::drain_node& n) { what.setDrainNode(n.node.value()); },
                 [&](const controls::set_voting& v) {
                   auto out = what.initSetVoting();
                   out.setNode(v.node.value());
                   out.setHow(static_cast<std::uint8_t>(v.how));
                 },
             },
             r.what);
}

void write(schema::Decision::Builder to, const decision& d) {
  to.setName(text_of(d.name));
  if (d.refused) write(to.initRefused(), *d.refused);
  if (!d.now) return;
  const auto& t = *d.now;
  to.setNow(
      schema::data_of(encode(metadata_record{topic_created{t.id, t.name, t.internal, t.partitions, t.overrides}})));
}

void write(schema::ControllerReply::Builder to, const controller_reply& r) {
  to.setId(r.id);
  to.setApplied(r.applied.value());
  write_list(to.initDecisions(count_of(r.what.decisions.size())), r.what.decisions);
  to.setHasFirst(r.what.first.has_value());
  if (r.what.first) to.setFirst(r.what.first->value());
  write_list(to.initItems(count_of(r.what.items.size())), r.what.items,
             [](schema::ItemOutcome::Builder out, const result<void>& item) {
               if (!item) write(out.initRefused(), item.error());
             });
  if (r.what.failed) write(to.initFailed(), *r.what.failed);
}

// -- writing: who is alive, replicas ----------------------------------------------------------------------------------

void write(schema::Membership::Builder to, const membership::message& m) {
  auto kind = to.initKind();
  std::visit(
      [&](const auto& what) {
        using message = std::remove_cvref_t<decltype(what)>;
        write(to.initFrom(), what.from);
        write_list(to.initRumours(count_of(what.rumours.size())), what.rumours,
                   [](schema::Rumour::Builder out, const membership::rumour& r) {
                     write(out.initSubject(), r.subject);
                     out.setIncarnation(r.incarnation);
                     out.setSuspected(r.suspected);
                   });
        if constexpr (requires { what.sequence; }) to.setSequence(what.sequence);
        if constexpr (requires { what.subject; }) write(to.initSubject(), what.subject);
        if constexpr (std::is_same_v<message, membership::probe>) {
          write(to.initSubject(), what.to);
          kind.setProbe();
        } else if constexpr (std::is_same_v<message, membership::ack>) {
          auto out = kind.initAck();
          out.setIncarnation(what.incarnation);
          out.setWithoutLeaseMs(what.without_lease.count());
        } else if constexpr (std::is_same_v<message, membership::probe_request>) {
          kind.setProbeRequest();
        } else if constexpr (std::is_same_v<message, membership::nack>) {
          kind.setNack();
        } else {
          static_assert(std::is_same_v<message, membership::gossip>);
          kind.setGossip();
        }
      },
      m);
}

void write(schema::ReplicaFetch::Builder to, const replica_fetch& f) {
  write(to.initSeat(), f.seat);
  to.setEpoch(f.epoch.value());
  to.setId(f.id);
  to.setOffset(f.offset.value());
  to.setLastEpoch(f.last_epoch.value());
  to.setWatermark(f.watermark.value());
  to.setBytesMax(f.bytes_max);
}

void write(schema::ReplicaAnswer::Builder to, const replica_answer& a) {
  write(to.initSeat(), a.seat);
  to.setEpoch(a.epoch.value());
  to.setId(a.id);
  to.setOffset(a.offset.value());
  auto what = to.initWhat();
  std::visit(overloaded{
                 [&](const replica_answer::records& r) {
                   auto out = what.initRecords();
                   out.setWatermark(r.watermark.value());
                   out.setStart(r.start.value());
                   auto runs = out.initRuns(count_of(r.runs.size()));
                   for (unsigned i = 0; i < runs.size(); ++i) runs.set(i, schema::data_of(r.runs[i]));
                 },
                 [&](const replica_answer::divergence& d) {
                   auto out = what.initDivergence();
                   out.setEpoch(d.epoch.value());
                   out.setEnd(d.end.value());
                 },
                 [&](const replica_answer::restart& r) { what.setRestart(r.start.value()); },
                 [&](const replica_answer::refusal& r) { what.setRefusal(static_cast<std::uint16_t>(r.why)); },
             },
             a.what);
}

struct body_writer {
  schema::NodeLetter::Body::Builder to;

  void operator()(const raft_message& m) { write(to.initRaft(), m); }
  void operator()(const registration& m) { write(to.initRegistration(), m); }
  void operator()(const registration_answer& m) { write(to.initRegistrationAnswer(), m); }
  void operator()(const heartbeat& m) { write(to.initHeartbeat(), m); }
  void operator()(const heartbeat_answer& m) { write(to.initHeartbeatAnswer(), m); }
  void operator()(const relayed& m) { write(to.initRelayed(), m.message); }
  void operator()(const relayed_answer& m) {
    auto out = to.initRelayedAnswer();
    out.setAsker(m.asker.value());
    write(out.initAnswer(), m.message);
  }
  void operator()(const farewell& m) { write(to.initFarewell(), m.from); }
  void operator()(const alter_isr& m) { write(to.initAlterIsr(), m); }
  void operator()(const alter_isr_answer& m) { write(to.initAlterIsrAnswer(), m); }
  void operator()(const log_ends& m) { write(to.initLogEnds(), m); }
  void operator()(const shard_released& m) { write(to.initShardReleased(), m); }
  void operator()(const release_order& m) { write(to.initReleaseOrder(), m); }
  void operator()(const controller_request& m) { write(to.initControllerRequest(), m); }
  void operator()(const controller_reply& m) { write(to.initControllerReply(), m); }
  void operator()(const membership::message& m) { write(to.initMembership(), m); }
  void operator()(const replica_fetch& m) { write(to.initReplicaFetch(), m); }
  void operator()(const replica_answer& m) { write(to.initReplicaAnswer(), m); }
  void operator()(const entities::message& m) { write(to.initEntity(), m); }
};

// -- reading: parts -------------------------------------------------------------------------------------------------

life read(schema::Life::Reader from) {
  return {node_id{from.getNode()}, from.getEpoch()};
}
endpoint read(frame_reader& in, schema::Endpoint::Reader from) {
  return {in.text("host", from.getHost()), from.getPort()};
}
partition_ref read(schema::PartitionRef::Reader from) {
  return {read(from.getTopic()), partition_index{from.getIndex()}};
}
store::log_identity read(schema::Seat::Reader from) {
  const auto where = read(from.getPartition());
  return {where.topic, where.index, from.getAddedAt()};
}
errc read_errc(frame_reader& in, std::uint16_t number) {
  if (number == 0) in.wrong("error", "has number 0, which is none");
  return number <= static_cast<std::uint16_t>(errc_last) ? static_cast<errc>(number) : errc::internal;
}
error read(frame_reader& in, schema::Error::Reader from) {
  return {read_errc(in, from.getCode()), in.text("text of an error", from.getText(), error_text_bytes_max)};
}
std::vector<node_id> read(frame_reader& in, std::string_view field, capnp::List<std::int32_t>::Reader from) {
  return in.list(field, from, [](std::int32_t n) { return node_id{n}; });
}
std::vector<life> read(frame_reader& in, std::string_view field, capnp::List<schema::Life>::Reader from) {
  return in.list(field, from, [](schema::Life::Reader l) { return read(l); });
}
std::vector<partition_ref> read(frame_reader& in, std::string_view field,
                                capnp::List<schema::PartitionRef>::Reader from) {
  return in.list(field, from, [](schema::PartitionRef::Reader p) { return read(p); });
}
std::vector<std::vector<node_id>> read(frame_reader& in, capnp::List<schema::NodeList>::Reader from) {
  return in.list("assignments", from,
                 [&](schema::NodeList::Reader l) { return read(in, "nodes of an assignment", l.getNodes()); });
}

// -- reading: the quorum ----------------------------------------------------------------------------------------------

decltype(raft_message::body) read(frame_reader& in, schema::RaftMessage::Body::Reader from) {
  using body = schema::RaftMessage::Body;
  switch (from.which()) {
    case body::PRE_VOTE: {
      in.entered("raft pre-vote");
      const auto r = from.getPreVote();
      return raft_pre_vote{raft_index{r.getLastIndex()}, raft_term{r.getLastTerm()}};
    }
    case body::PRE_VOTE_REPLY:
      return raft_pre_vote_reply{from.getPreVoteReply()};
    case body::VOTE: {
      in.entered("raft vote");
      const auto r = from.getVote();
      return raft_vote{raft_index{r.getLastIndex()}, raft_term{r.getLastTerm()}, r.getHandedOver()};
    }
    case body::VOTE_REPLY:
      return raft_vote_reply{from.getVoteReply()};
    case body::APPEND: {
      in.entered("raft append");
      const auto r = from.getAppend();
      return raft_append{raft_index{r.getPrevious()}, raft_term{r.getPreviousTerm()}, raft_index{r.getCommit()},
                         r.getRound(),
                         in.list("entries", r.getEntries(), [&](schema::RaftEntry::Reader e) { return read(in, e); })};
    }
    case body::APPEND_REPLY: {
      in.entered("raft append reply");
      const auto r = from.getAppendReply();
      return raft_append_reply{r.getAccepted(),          r.getRound(),
                               raft_index{r.getMatch()}, raft_index{r.getPrevious()},
                               raft_index{r.getHint()},  raft_term{r.getHintTerm()}};
    }
    case body::INSTALL: {
      in.entered("raft install");
      const auto r = from.getInstall();
      return raft_install{raft_index{r.getIndex()},
                          raft_term{r.getSnapshotTerm()},
                          r.getRound(),
                          r.getOffset(),
                          r.getSize(),
                          in.slice("piece", r.getPiece()),
                          read(in, r.getMembers()),
                          read(in, r.getSessions())};
    }
    case body::INSTALL_REPLY: {
      in.entered("raft install reply");
      const auto r = from.getInstallReply();
      return raft_install_reply{raft_index{r.getIndex()}, r.getRound(), r.getReceived()};
    }
    case body::HAND_OVER:
      return raft_hand_over{};
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return {};
}

raft_message read(frame_reader& in, schema::RaftMessage::Reader from) {
  in.entered("raft message");
  raft_message m{read(from.getFrom()), read(from.getTo()), raft_term{from.getTerm()}, {}};
  m.body = read(in, from.getBody());
  return m;
}

// -- reading: a node and the controller -------------------------------------------------------------------------------

registration read(frame_reader& in, schema::Registration::Reader from) {
  in.entered("registration");
  registration r;
  r.cluster_id = in.text("cluster id", from.getClusterId());
  r.node = node_id{from.getNode()};
  r.disk = read(from.getDisk());
  r.start = from.getStart();
  r.clean = from.getClean();
  r.damaged = read(in, "damaged", from.getDamaged());
  r.kafka = read(in, from.getKafka());
  r.peer = read(in, from.getPeer());
  r.rack = in.text("rack", from.getRack());
  r.weight = from.getWeight();
  return r;
}

registration_answer read(frame_reader& in, schema::RegistrationAnswer::Reader from) {
  in.entered("registration answer");
  return {in.number("verdict", from.getVerdict(), registration_answer::verdict::invalid),
          from.getStart(),
          from.getNodeEpoch(),
          in.text("cluster id", from.getClusterId()),
          node_id{from.getController()},
          read(from.getDisk())};
}

heartbeat read(frame_reader& in, schema::Heartbeat::Reader from) {
  in.entered("heartbeat");
  heartbeat h;
  h.from = read(from.getFrom());
  h.applied = meta_offset{from.getApplied()};
  h.sent = instant{instant::duration{from.getSentNs()}};
  h.ready = from.getReady();
  h.wants_to_stop = from.getWantsToStop();
  h.suspicions = in.list("suspicions", from.getSuspicions(), [&](schema::Suspicion::Reader s) {
    return suspicion_report{read(s.getSubject()),
                            in.number("cause of a suspicion", s.getCause(), suspicion_cause::gone),
                            std::chrono::milliseconds{s.getAgeMs()}};
  });
  h.unreachable = read(in, "unreachable", from.getUnreachable());
  h.disk_full = from.getDiskFull();
  if (const auto ms = from.getWallMs(); ms != std::numeric_limits<std::int64_t>::min())
    h.wall = wall_time{std::chrono::milliseconds{ms}};
  return h;
}

heartbeat_answer read(frame_reader& in, schema::HeartbeatAnswer::Reader from) {
  in.entered("heartbeat answer");
  heartbeat_answer h;
  h.to = read(from.getTo());
  h.sent = instant{instant::duration{from.getSentNs()}};
  h.granted = from.getGranted();
  h.state = in.number("state", from.getState(), node_state::removed);
  h.may_stop = from.getMayStop();
  h.from_controller = from.getFromController();
  h.clocks = {in.number("verdict about clocks", from.getClocks(), clock_verdict::kind::disputed),
              wall_time{std::chrono::milliseconds{from.getWallMs()}}};
  return h;
}

alter_isr read(frame_reader& in, schema::AlterIsr::Reader from) {
  in.entered("alter isr");
  return {read(from.getPartition()), read(from.getLeader()), leader_epoch{from.getLeaderEpoch()},
          from.getPartitionEpoch(), read(in, "isr", from.getIsr())};
}

alter_isr_answer read(frame_reader& in, schema::AlterIsrAnswer::Reader from) {
  in.entered("alter isr answer");
  alter_isr_answer a{read(from.getPartition()), leader_epoch{from.getLeaderEpoch()}, from.getPartitionEpoch(),
                     in.number("outcome", from.getOutcome(), alter_isr_answer::outcome::later)};
  if (from.hasState()) a.state = read(from.getState());
  return a;
}

log_ends read(frame_reader& in, schema::LogEnds::Reader from) {
  in.entered("log ends");
  return {read(from.getFrom()), in.list("ends", from.getEnds(), [](schema::LogEnd::Reader e) {
            return log_ends::log_end{read(e.getPartition()), leader_epoch{e.getLastEpoch()}, log_offset{e.getEnd()}};
          })};
}

shard_released read(frame_reader& in, schema::ShardReleased::Reader from) {
  in.entered("shard released");
  return {read(from.getFrom()), in.text("kind", from.getKind()), from.getShard(), from.getEpoch()};
}

release_order read(frame_reader& in, schema::ReleaseOrder::Reader from) {
  in.entered("release order");
  return {in.text("kind", from.getKind()), from.getShard(), from.getEpoch()};
}

// -- reading: what is asked of the controller -------------------------------------------------------------------------

new_topic read(frame_reader& in, schema::NewTopic::Reader from) {
  new_topic t{in.text("name of a topic", from.getName()), from.getPartitions(), from.getReplication(),
              read(in, from.getAssignments())};
  const auto overrides = in.list("settings", from.getOverrides(), [&](schema::Setting::Reader s) {
    return std::pair{in.text("name of a setting", s.getName()), in.text("value of a setting", s.getValue())};
  });
  t.overrides.insert(overrides.begin(), overrides.end());
  return t;
}

controller::growth read(frame_reader& in, schema::Growth::Reader from) {
  controller::growth g{in.text("name of a topic", from.getName()), from.getCount(), {}};
  if (from.hasAssignments()) g.assignments = read(in, from.getAssignments());
  return g;
}

setting_change read(frame_reader& in, schema::SettingChange::Reader from) {
  setting_change c{in.text("name of a setting", from.getName()),
                   in.number("operation", from.getOperation(), setting_change::operation::subtract),
                   {}};
  if (from.hasValue()) c.value = in.text("value of a setting", from.getValue());
  return c;
}

controls::reassign::item read(frame_reader& in, schema::Reassignment::Reader from) {
  controls::reassign::item item{read(from.getPartition()), {}};
  if (from.hasTarget()) item.target = read(in, "target", from.getTarget());
  return item;
}

controls::request read(frame_reader& in, schema::ControllerRequest::What::Reader from) {
  using what = schema::ControllerRequest::What;
  switch (from.which()) {
    case what::CREATE_TOPICS: {
      in.entered("create topics");
      const auto r = from.getCreateTopics();
      return controls::create_topics{
          in.list("topics", r.getTopics(), [&](schema::NewTopic::Reader t) { return read(in, t); }),
          r.getValidateOnly()};
    }
    case what::DELETE_TOPICS:
      in.entered("delete topics");
      return controls::delete_topics{in.list("topics", from.getDeleteTopics(), [&](schema::DeletedTopic::Reader t) {
        return controller::doomed{in.text("name of a topic", t.getName()), read(t.getId())};
      })};
    case what::CREATE_PARTITIONS: {
      in.entered("create partitions");
      const auto r = from.getCreatePartitions();
      return controls::create_partitions{
          in.list("topics", r.getTopics(), [&](schema::Growth::Reader g) { return read(in, g); }), r.getValidateOnly()};
    }
    case what::ALTER_CONFIGS: {
      in.entered("alter configs");
      const auto r = from.getAlterConfigs();
      return controls::alter_configs{
          in.list("topics", r.getTopics(),
                  [&](schema::Reconfiguration::Reader t) {
                    return controller::reconfiguration{
                        in.text("name of a topic", t.getName()),
                        in.list("changes", t.getChanges(),
                                [&](schema::SettingChange::Reader c) { return read(in, c); }),
                        t.getReplaceAll()};
                  }),
          r.getValidateOnly()};
    }
    case what::RESERVE_PRODUCER_IDS:
      return controls::reserve_producer_ids{from.getReserveProducerIds()};
    case what::REASSIGN:
      in.entered("reassign");
      return controls::reassign{
          in.list("items", from.getReassign(), [&](schema::Reassignment::Reader r) { return read(in, r); })};
    case what::ELECT_PREFERRED:
      in.entered("elect preferred");
      return controls::elect_preferred{read(in, "items", from.getElectPreferred())};
    case what::REMOVE_NODE: {
      in.entered("remove node");
      const auto r = from.getRemoveNode();
      return controls::remove_node{node_id{r.getNode()}, r.getUndo()};
    }
    case what::WANT_VOTER_COUNT:
      return controls::want_voter_count{from.getWantVoterCount()};
    case what::DRAIN_NODE:
      return controls::drain_node{node_id{from.getDrainNode()}};
    case what::SET_VOTING: {
      in.entered("set voting");
      const auto r = from.getSetVoting();
      return controls::set_voting{node_id{r.getNode()}, in.number("voting", r.getHow(), voting::never)};
    }
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return controls::want_voter_count{};
}

decision read(frame_reader& in, schema::Decision::Reader from) {
  decision d{in.text("name of a decision", from.getName()), {}, {}};
  if (from.hasRefused()) d.refused = read(in, from.getRefused());
  if (!from.hasNow()) return d;
  const auto bytes = in.slice("topic", from.getNow());
  if (in.trouble()) return d;
  const auto record = decode_metadata_record(bytes);
  if (!record) {
    in.wrong("topic", "does not decode: " + record.error().text);
  } else if (const auto* created = std::get_if<topic_created>(&*record)) {
    auto made = topic_of(*created);
    if (made.ok())
      d.now = std::move(*made);
    else
      in.wrong("topic", "has settings that this version does not know: " + made.error().text);
  } else {
    in.wrong("topic", "is another record");
  }
  return d;
}

controls::outcome read_outcome(frame_reader& in, schema::ControllerReply::Reader from) {
  controls::outcome o;
  o.decisions = in.list("decisions", from.getDecisions(), [&](schema::Decision::Reader d) { return read(in, d); });
  if (from.getHasFirst()) o.first = producer_id{from.getFirst()};
  o.items = in.list("items", from.getItems(), [&](schema::ItemOutcome::Reader i) {
    return i.hasRefused() ? result<void>{read(in, i.getRefused())} : result<void>{};
  });
  if (from.hasFailed()) o.failed = read(in, from.getFailed());
  return o;
}

controller_request read(frame_reader& in, schema::ControllerRequest::Reader from) {
  in.entered("controller request");
  return {from.getId(), read(in, from.getWhat())};
}

controller_reply read(frame_reader& in, schema::ControllerReply::Reader from) {
  in.entered("controller reply");
  return {from.getId(), meta_offset{from.getApplied()}, read_outcome(in, from)};
}

// -- reading: who is alive, replicas ----------------------------------------------------------------------------------

membership::message read(frame_reader& in, schema::Membership::Reader from) {
  in.entered("membership");
  const auto sender = read(from.getFrom()), subject = read(from.getSubject());
  const auto sequence = from.getSequence();
  auto rumours = in.list("rumours", from.getRumours(), [](schema::Rumour::Reader r) {
    return membership::rumour{read(r.getSubject()), r.getIncarnation(), r.getSuspected()};
  });
  const auto kind = from.getKind();
  using kinds = schema::Membership::Kind;
  switch (kind.which()) {
    case kinds::PROBE:
      return membership::probe{sender, subject, sequence, std::move(rumours)};
    case kinds::ACK: {
      const auto a = kind.getAck();
      return membership::ack{sender,
                             subject,
                             sequence,
                             a.getIncarnation(),
                             std::chrono::milliseconds{a.getWithoutLeaseMs()},
                             std::move(rumours)};
    }
    case kinds::PROBE_REQUEST:
      return membership::probe_request{sender, subject, sequence, std::move(rumours)};
    case kinds::NACK:
      return membership::nack{sender, subject, sequence, std::move(rumours)};
    case kinds::GOSSIP:
      return membership::gossip{sender, std::move(rumours)};
  }
  in.unknown("kind", static_cast<unsigned>(kind.which()));
  return {};
}

replica_fetch read(frame_reader& in, schema::ReplicaFetch::Reader from) {
  in.entered("replica fetch");
  return {read(from.getSeat()),
          leader_epoch{from.getEpoch()},
          from.getId(),
          log_offset{from.getOffset()},
          leader_epoch{from.getLastEpoch()},
          log_offset{from.getWatermark()},
          from.getBytesMax()};
}

decltype(replica_answer::what) read(frame_reader& in, schema::ReplicaAnswer::What::Reader from) {
  using what = schema::ReplicaAnswer::What;
  switch (from.which()) {
    case what::RECORDS: {
      const auto r = from.getRecords();
      return replica_answer::records{
          log_offset{r.getWatermark()}, log_offset{r.getStart()},
          in.list("runs", r.getRuns(), [&](capnp::Data::Reader d) { return in.slice("run", d); })};
    }
    case what::DIVERGENCE: {
      const auto d = from.getDivergence();
      return replica_answer::divergence{leader_epoch{d.getEpoch()}, log_offset{d.getEnd()}};
    }
    case what::RESTART:
      return replica_answer::restart{log_offset{from.getRestart()}};
    case what::REFUSAL:
      return replica_answer::refusal{read_errc(in, from.getRefusal())};
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return {};
}

replica_answer read(frame_reader& in, schema::ReplicaAnswer::Reader from) {
  in.entered("replica answer");
  return {read(from.getSeat()), leader_epoch{from.getEpoch()}, from.getId(), log_offset{from.getOffset()},
          read(in, from.getWhat())};
}

node_message read(frame_reader& in, schema::NodeLetter::Body::Reader from) {
  using body = schema::NodeLetter::Body;
  switch (from.which()) {
    case body::RAFT:
      return read(in, from.getRaft());
    case body::REGISTRATION:
      return read(in, from.getRegistration());
    case body::REGISTRATION_ANSWER:
      return read(in, from.getRegistrationAnswer());
    case body::HEARTBEAT:
      return read(in, from.getHeartbeat());
    case body::HEARTBEAT_ANSWER:
      return read(in, from.getHeartbeatAnswer());
    case body::RELAYED:
      return relayed{read(in, from.getRelayed())};
    case body::RELAYED_ANSWER: {
      const auto r = from.getRelayedAnswer();
      return relayed_answer{node_id{r.getAsker()}, read(in, r.getAnswer())};
    }
    case body::FAREWELL:
      return farewell{read(from.getFarewell())};
    case body::ALTER_ISR:
      return read(in, from.getAlterIsr());
    case body::ALTER_ISR_ANSWER:
      return read(in, from.getAlterIsrAnswer());
    case body::LOG_ENDS:
      return read(in, from.getLogEnds());
    case body::SHARD_RELEASED:
      return read(in, from.getShardReleased());
    case body::RELEASE_ORDER:
      return read(in, from.getReleaseOrder());
    case body::CONTROLLER_REQUEST:
      return read(in, from.getControllerRequest());
    case body::CONTROLLER_REPLY:
      return read(in, from.getControllerReply());
    case body::MEMBERSHIP:
      return read(in, from.getMembership());
    case body::REPLICA_FETCH:
      return read(in, from.getReplicaFetch());
    case body::REPLICA_ANSWER:
      return read(in, from.getReplicaAnswer());
    case body::ENTITY:
      return read(in, from.getEntity());
  }
  in.unknown("kind of its body", static_cast<unsigned>(from.which()));
  return {};
}

}  // namespace

shared_bytes encode(const node_letter& letter) {
  schema::frame_writer<schema::NodeLetter> frame{large_bytes(letter)};
  auto& to = frame.root();
  to.setClusterId(text_of(letter.cluster_id));
  write(to.initFrom(), letter.from);
  std::visit(body_writer{to.initBody()}, letter.body);
  return frame.finish();
}

result<node_letter> decode(shared_bytes frame) {
  return schema::read_frame<schema::NodeLetter>("letter", std::move(frame),
                                                [](frame_reader& in, schema::NodeLetter::Reader from) {
                                                  node_letter letter;
                                                  letter.cluster_id = in.text("cluster id", from.getClusterId());
                                                  letter.from = read(from.getFrom());
                                                  letter.body = read(in, from.getBody());
                                                  return letter;
                                                });
}

}  // namespace troupe
