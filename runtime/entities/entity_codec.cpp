#include "runtime/entities/entity_codec.hpp"

#include "runtime/base/overloaded.hpp"

namespace troupe::schema {

namespace {

using entities::sender_id;
using entities::shard_id;

// -- writing --------------------------------------------------------------------------------------------------------

void write(EntitySender::Builder to, const sender_id& s) {
  to.setNode(s.node.value());
  to.setEpoch(s.node_epoch);
}

/// Null and empty are the same to who reads.
template <class Set>
void write_data(const shared_bytes& bytes, Set set) {
  if (!bytes.empty()) set(data_of(bytes));
}

void write(EntityDeliver::Builder to, const entities::deliver& d) {
  to.setEpoch(d.epoch);
  write(to.initSender(), d.sender);
  to.setSequence(d.sequence);
  to.setSettled(d.settled);
  to.setKey(text_of(d.key));
  write_data(d.payload, [&](auto data) { to.setPayload(data); });
}

void write(ShardContents::Builder to, const entities::handover::contents& had) {
  auto states = to.initEntities(count_of(had.entities.size()));
  for (unsigned i = 0; i < states.size(); ++i) {
    states[i].setKey(text_of(had.entities[i].key));
    write_data(had.entities[i].bytes, [&](auto data) { states[i].setState(data); });
  }
  auto settled = to.initSettled(count_of(had.memory.settled.size()));
  for (unsigned i = 0; i < settled.size(); ++i) {
    write(settled[i].initSender(), had.memory.settled[i].first);
    settled[i].setBelow(had.memory.settled[i].second);
  }
  auto handled = to.initHandled(count_of(had.memory.handled.size()));
  for (unsigned i = 0; i < handled.size(); ++i) {
    const auto& [key, m] = had.memory.handled[i];
    handled[i].setKey(text_of(key));
    write(handled[i].initSender(), m.sender);
    handled[i].setSequence(m.sequence);
    write_data(m.reply, [&](auto data) { handled[i].setReply(data); });
    handled[i].setSettled(m.settled);
  }
}

struct message_writer {
  EntityMessage::Builder to;

  void of(const shard_id& shard) {
    to.setKind(text_of(shard.kind));
    to.setShard(shard.index);
  }
  void operator()(const entities::deliver& d) {
    of(d.shard);
    write(to.initDeliver(), d);
  }
  void operator()(const entities::reply& r) {
    of(r.shard);
    auto out = to.initReply();
    write(out.initSender(), r.sender);
    out.setSequence(r.sequence);
    write_data(r.payload, [&](auto data) { out.setPayload(data); });
  }
  void operator()(const entities::moved& m) {
    of(m.shard);
    auto out = to.initMoved();
    write(out.initSender(), m.sender);
    out.setSequence(m.sequence);
    out.setOwner(m.owner.node.value());
    out.setEpoch(m.owner.epoch);
  }
  void operator()(const entities::refused& r) {
    of(r.shard);
    auto out = to.initRefused();
    write(out.initSender(), r.sender);
    out.setSequence(r.sequence);
    out.setWhy(static_cast<std::uint16_t>(r.why));
  }
  void operator()(const entities::answer& a) { std::visit(*this, a); }
  void operator()(const entities::handover_request& r) {
    of(r.shard);
    to.setHandoverRequest(r.epoch);
  }
  void operator()(const entities::handover& h) {
    of(h.shard);
    auto out = to.initHandover();
    out.setEpoch(h.epoch);
    if (h.had) write(out.initHad(), *h.had);
  }
};

// -- reading --------------------------------------------------------------------------------------------------------

sender_id read(EntitySender::Reader from) {
  return {node_id{from.getNode()}, from.getEpoch()};
}

std::string read_key(frame_reader& in, capnp::Text::Reader from) {
  return in.text("key", from, entities::entity_name::size_max);
}

entities::handover::contents read(frame_reader& in, ShardContents::Reader from) {
  entities::handover::contents had;
  had.entities = in.list("entities", from.getEntities(), [&](EntityState::Reader e) {
    return entities::entity_state{read_key(in, e.getKey()), in.slice("state", e.getState())};
  });
  had.memory.settled = in.list("settled", from.getSettled(), [&](SettledSender::Reader s) {
    return std::pair{read(s.getSender()), s.getBelow()};
  });
  had.memory.handled = in.list("handled", from.getHandled(), [&](HandledMessage::Reader h) {
    // Some are kept for long, and would hold the whole frame.
    return std::pair{read_key(in, h.getKey()),
                     entities::remembered{read(h.getSender()), h.getSequence(),
                                          shared_bytes::copy_of(in.slice("reply", h.getReply())), h.getSettled()}};
  });
  return had;
}

}  // namespace

void write(EntityMessage::Builder to, const entities::message& m) {
  std::visit(message_writer{to}, m);
}

entities::message read(frame_reader& in, EntityMessage::Reader from) {
  in.entered("entity message");
  shard_id shard{in.text("kind", from.getKind(), entities::entity_name::size_max), from.getShard()};
  switch (from.which()) {
    case EntityMessage::DELIVER: {
      const auto d = from.getDeliver();
      return entities::deliver{std::move(shard),
                               d.getEpoch(),
                               read(d.getSender()),
                               d.getSequence(),
                               d.getSettled(),
                               read_key(in, d.getKey()),
                               in.slice("payload", d.getPayload())};
    }
    case EntityMessage::REPLY: {
      const auto r = from.getReply();
      return entities::answer{
          entities::reply{std::move(shard), read(r.getSender()), r.getSequence(), in.slice("payload", r.getPayload())}};
    }
    case EntityMessage::MOVED: {
      const auto m = from.getMoved();
      return entities::answer{entities::moved{
          std::move(shard), read(m.getSender()), m.getSequence(), {node_id{m.getOwner()}, m.getEpoch()}}};
    }
    case EntityMessage::REFUSED: {
      const auto r = from.getRefused();
      return entities::answer{
          entities::refused{std::move(shard), read(r.getSender()), r.getSequence(), in.error_code(r.getWhy())}};
    }
    case EntityMessage::HANDOVER_REQUEST:
      return entities::handover_request{std::move(shard), from.getHandoverRequest()};
    case EntityMessage::HANDOVER: {
      const auto h = from.getHandover();
      entities::handover out{std::move(shard), h.getEpoch(), nullptr};
      if (h.hasHad()) out.had = std::make_shared<const entities::handover::contents>(read(in, h.getHad()));
      return out;
    }
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return {};
}

std::size_t frame_bytes(const entities::message& m) {
  constexpr std::size_t others = 256, each = 128;
  auto all = others + entities::shard_in(m).kind.size() + entities::payload_bytes(m);
  if (const auto* d = std::get_if<entities::deliver>(&m)) all += d->key.size();
  if (const auto* h = std::get_if<entities::handover>(&m); h != nullptr && h->had)
    all += each * (h->had->entities.size() + h->had->memory.settled.size() + h->had->memory.handled.size());
  return all;
}

}  // namespace troupe::schema
