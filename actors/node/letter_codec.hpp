#pragma once

#include <string_view>
#include <vector>

#include "actors/node/node_letter.hpp"
#include "schemas/frame.hpp"
#include "schemas/peer.capnp.h"

/// What a letter is made of, as schemas/peer.capnp has it: each message has a `write` and a `read`, in the file that is
/// named after its room. For node_codec.cpp and its parts only.
namespace troupe::schema {

// -- letter_parts.cpp: parts of many messages

void write(Life::Builder, const life&);
void write(Endpoint::Builder, const endpoint&);
void write(PartitionRef::Builder, const partition_ref&);
void write(Seat::Builder, const store::log_identity&);
void write(Error::Builder, const error&);
life read(Life::Reader);
endpoint read(frame_reader&, Endpoint::Reader);
partition_ref read(PartitionRef::Reader);
store::log_identity read(Seat::Reader);
error read(frame_reader&, Error::Reader);
std::vector<node_id> read(frame_reader&, std::string_view field, capnp::List<std::int32_t>::Reader);
std::vector<life> read(frame_reader&, std::string_view field, capnp::List<Life>::Reader);
std::vector<partition_ref> read(frame_reader&, std::string_view field, capnp::List<PartitionRef>::Reader);
std::vector<std::vector<node_id>> read(frame_reader&, capnp::List<NodeList>::Reader);

template <class List, class T, class WriteOne>
void write_list(List to, const std::vector<T>& all, WriteOne write_one) {
  for (unsigned i = 0; i < to.size(); ++i) write_one(to[i], all[i]);
}
template <class List, class T>
void write_list(List to, const std::vector<T>& all) {
  write_list(to, all, [](auto out, const T& one) { write(out, one); });
}

// -- letter_quorum.cpp: the quorum

void write(RaftMessage::Builder, const raft_message&);
raft_message read(frame_reader&, RaftMessage::Reader);

// -- letter_life.cpp: a node and the controller, who is alive

void write(Registration::Builder, const registration&);
void write(RegistrationAnswer::Builder, const registration_answer&);
void write(Suspicion::Builder, const suspicion_report&);
void write(Heartbeat::Builder, const heartbeat&);
void write(HeartbeatAnswer::Builder, const heartbeat_answer&);
void write(AlterIsr::Builder, const alter_isr&);
void write(AlterIsrAnswer::Builder, const alter_isr_answer&);
void write(LogEnds::Builder, const log_ends&);
void write(ShardReleased::Builder, const shard_released&);
void write(ReleaseOrder::Builder, const release_order&);
void write(Membership::Builder, const membership::message&);
registration read(frame_reader&, Registration::Reader);
registration_answer read(frame_reader&, RegistrationAnswer::Reader);
heartbeat read(frame_reader&, Heartbeat::Reader);
heartbeat_answer read(frame_reader&, HeartbeatAnswer::Reader);
alter_isr read(frame_reader&, AlterIsr::Reader);
alter_isr_answer read(frame_reader&, AlterIsrAnswer::Reader);
log_ends read(frame_reader&, LogEnds::Reader);
shard_released read(frame_reader&, ShardReleased::Reader);
release_order read(frame_reader&, ReleaseOrder::Reader);
membership::message read(frame_reader&, Membership::Reader);

// -- letter_requests.cpp: what is asked of the controller

void write(NodeList::Builder, const std::vector<node_id>&);
void write(NewTopic::Builder, const new_topic&);
void write(Growth::Builder, const controller::growth&);
void write(Reconfiguration::Builder, const controller::reconfiguration&);
void write(Decision::Builder, const decision&);
void write(ControllerRequest::Builder, const controller_request&);
void write(ControllerReply::Builder, const controller_reply&);
controller_request read(frame_reader&, ControllerRequest::Reader);
controller_reply read(frame_reader&, ControllerReply::Reader);

// -- letter_replicas.cpp: the replicas of a partition

void write(ReplicaFetch::Builder, const replica_fetch&);
void write(ReplicaAnswer::Builder, const replica_answer&);
replica_fetch read(frame_reader&, ReplicaFetch::Reader);
replica_answer read(frame_reader&, ReplicaAnswer::Reader);

}  // namespace troupe::schema
