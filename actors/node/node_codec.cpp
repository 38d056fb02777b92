#include "actors/node/node_codec.hpp"

#include "actors/node/letter_codec.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/entities/entity_codec.hpp"
#include "runtime/raft/quorum_codec.hpp"

namespace troupe {

namespace {

using schema::frame_reader;
using schema::read;
using schema::text_of;
using schema::write;

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
