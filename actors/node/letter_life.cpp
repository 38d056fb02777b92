#include "actors/node/letter_codec.hpp"

#include "actors/controller/record_fields.hpp"
#include "runtime/base/overloaded.hpp"

namespace troupe::schema {

// -- writing

void write(Registration::Builder to, const registration& r) {
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

void write(RegistrationAnswer::Builder to, const registration_answer& r) {
  to.setVerdict(static_cast<std::uint8_t>(r.what));
  to.setStart(r.start);
  to.setNodeEpoch(r.node_epoch);
  to.setClusterId(text_of(r.cluster_id));
  to.setController(r.controller.value());
  if (!r.disk.is_nil()) write(to.initDisk(), r.disk);
}

void write(Suspicion::Builder to, const suspicion_report& s) {
  write(to.initSubject(), s.subject);
  to.setCause(static_cast<std::uint8_t>(s.why));
  to.setAgeMs(s.age.count());
}

void write(Heartbeat::Builder to, const heartbeat& h) {
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

void write(HeartbeatAnswer::Builder to, const heartbeat_answer& h) {
  write(to.initTo(), h.to);
  to.setSentNs(h.sent.time_since_epoch().count());
  to.setGranted(h.granted);
  to.setState(static_cast<std::uint8_t>(h.state));
  to.setMayStop(h.may_stop);
  to.setFromController(h.from_controller);
  to.setClocks(static_cast<std::uint8_t>(h.clocks.what));
  to.setWallMs(h.clocks.time.time_since_epoch().count());
  to.setApplied(h.applied.value());
}

void write(AlterIsr::Builder to, const alter_isr& a) {
  write(to.initPartition(), a.where);
  write(to.initLeader(), a.leader);
  to.setLeaderEpoch(a.epoch.value());
  to.setPartitionEpoch(a.partition_epoch);
  write_list(to.initIsr(count_of(a.isr.size())), a.isr);
}

void write(AlterIsrAnswer::Builder to, const alter_isr_answer& a) {
  write(to.initPartition(), a.where);
  to.setLeaderEpoch(a.epoch.value());
  to.setPartitionEpoch(a.partition_epoch);
  to.setOutcome(static_cast<std::uint8_t>(a.what));
  if (a.state != partition_state{}) write(to.initState(), a.state);
}

void write(LogEnds::Builder to, const log_ends& l) {
  write(to.initFrom(), l.from);
  write_list(to.initEnds(count_of(l.ends.size())), l.ends, [](LogEnd::Builder out, const log_ends::log_end& end) {
    write(out.initPartition(), end.where);
    out.setLastEpoch(end.last_epoch.value());
    out.setEnd(end.end.value());
  });
}

void write(ShardReleased::Builder to, const shard_released& s) {
  write(to.initFrom(), s.from);
  to.setKind(text_of(s.kind));
  to.setShard(s.shard);
  to.setEpoch(s.epoch);
}

void write(ReleaseOrder::Builder to, const release_order& r) {
  to.setKind(text_of(r.kind));
  to.setShard(r.shard);
  to.setEpoch(r.epoch);
}

void write(Membership::Builder to, const membership::message& m) {
  auto kind = to.initKind();
  std::visit(
      [&](const auto& what) {
        using message = std::remove_cvref_t<decltype(what)>;
        write(to.initFrom(), what.from);
        write_list(to.initRumours(count_of(what.rumours.size())), what.rumours,
                   [](Rumour::Builder out, const membership::rumour& r) {
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

// -- reading

registration read(frame_reader& in, Registration::Reader from) {
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

registration_answer read(frame_reader& in, RegistrationAnswer::Reader from) {
  in.entered("registration answer");
  return {in.number("verdict", from.getVerdict(), registration_answer::verdict::invalid),
          from.getStart(),
          from.getNodeEpoch(),
          in.text("cluster id", from.getClusterId()),
          node_id{from.getController()},
          read(from.getDisk())};
}

heartbeat read(frame_reader& in, Heartbeat::Reader from) {
  in.entered("heartbeat");
  heartbeat h;
  h.from = read(from.getFrom());
  h.applied = meta_offset{from.getApplied()};
  h.sent = instant{instant::duration{from.getSentNs()}};
  h.ready = from.getReady();
  h.wants_to_stop = from.getWantsToStop();
  h.suspicions = in.list("suspicions", from.getSuspicions(), [&](Suspicion::Reader s) {
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

heartbeat_answer read(frame_reader& in, HeartbeatAnswer::Reader from) {
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
  h.applied = meta_offset{from.getApplied()};
  return h;
}

alter_isr read(frame_reader& in, AlterIsr::Reader from) {
  in.entered("alter isr");
  return {read(from.getPartition()), read(from.getLeader()), leader_epoch{from.getLeaderEpoch()},
          from.getPartitionEpoch(), read(in, "isr", from.getIsr())};
}

alter_isr_answer read(frame_reader& in, AlterIsrAnswer::Reader from) {
  in.entered("alter isr answer");
  alter_isr_answer a{read(from.getPartition()), leader_epoch{from.getLeaderEpoch()}, from.getPartitionEpoch(),
                     in.number("outcome", from.getOutcome(), alter_isr_answer::outcome::later)};
  if (from.hasState()) a.state = read(from.getState());
  return a;
}

log_ends read(frame_reader& in, LogEnds::Reader from) {
  in.entered("log ends");
  return {read(from.getFrom()), in.list("ends", from.getEnds(), [](LogEnd::Reader e) {
            return log_ends::log_end{read(e.getPartition()), leader_epoch{e.getLastEpoch()}, log_offset{e.getEnd()}};
          })};
}

shard_released read(frame_reader& in, ShardReleased::Reader from) {
  in.entered("shard released");
  return {read(from.getFrom()), in.text("kind", from.getKind()), from.getShard(), from.getEpoch()};
}

release_order read(frame_reader& in, ReleaseOrder::Reader from) {
  in.entered("release order");
  return {in.text("kind", from.getKind()), from.getShard(), from.getEpoch()};
}

membership::message read(frame_reader& in, Membership::Reader from) {
  in.entered("membership");
  const auto sender = read(from.getFrom()), subject = read(from.getSubject());
  const auto sequence = from.getSequence();
  auto rumours = in.list("rumours", from.getRumours(), [](Rumour::Reader r) {
    return membership::rumour{read(r.getSubject()), r.getIncarnation(), r.getSuspected()};
  });
  const auto kind = from.getKind();
  using kinds = Membership::Kind;
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

}  // namespace troupe::schema
