#include "actors/node/post_office.hpp"

#include <caf/all.hpp>
#include <mutex>

#include "actors/entity/entity_actor.hpp"
#include "actors/node/node_codec.hpp"
#include "actors/partition/partition_actor.hpp"

namespace troupe {

namespace {

bool is_bulk(const node_message& m) {
  if (const auto* a = std::get_if<replica_answer>(&m)) {
    const auto* records = std::get_if<replica_answer::records>(&a->what);
    return records && !records->runs.empty();
  }
  // What is large must not keep heartbeats waiting, or push them out of the queue.
  constexpr std::size_t small = 4 << 10;
  if (const auto* e = std::get_if<entities::message>(&m)) return entities::payload_bytes(*e) > small;
  const auto* r = std::get_if<raft_message>(&m);
  return r && std::holds_alternative<raft_install>(r->body);
}

}  // namespace

post_office::post_office(caf::actor node, std::shared_ptr<cluster_directory> directory)
    : node_{std::move(node)}, directory_{std::move(directory)} {}

void post_office::belongs_to(std::string cluster_id) {
  std::unique_lock lock{mutex_};
  cluster_id_ = std::move(cluster_id);
}

void post_office::is(life self) {
  std::unique_lock lock{mutex_};
  self_ = self;
}

void post_office::uses(transport* t) {
  std::unique_lock lock{mutex_};
  transport_ = t;
}

void post_office::brings_to(std::vector<caf::actor> entity_hosts) {
  std::unique_lock lock{mutex_};
  entity_hosts_ = std::move(entity_hosts);
}

void post_office::send(node_id to, node_message body) {
  std::shared_lock lock{mutex_};
  if (to == self_.node) {
    const auto from = self_;
    lock.unlock();
    return deliver(from, std::move(body));
  }
  if (!transport_) return;
  const auto how = is_bulk(body) ? urgency::bulk : urgency::control;
  transport_->send(to, how, encode(node_letter{cluster_id_, self_, std::move(body)}));
}

void post_office::received(node_id from, shared_bytes frame) {
  auto letter = decode(std::move(frame));
  if (!letter) {
    if (const auto times = malformed_.due(); times > 0)
      observe::log(observe::level::warn, "node", "letter_malformed",
                   {{"from", from}, {"why", letter.error()}, {"times", times}});
    return;
  }
  {
    std::shared_lock lock{mutex_};
    if (!letter->cluster_id.empty() && !cluster_id_.empty() && letter->cluster_id != cluster_id_) return;
  }
  if (letter->from.node != from) return;
  deliver(letter->from, std::move(letter->body));
}

/// What is for a replica or an entity goes to it, everything else to the node.
void post_office::deliver(life from, node_message body) {
  const auto to_replica = [&](const partition_ref& where, auto& what) {
    auto replica = directory_->view()->partition(where);
    if (replica) caf::anon_send(replica, replica_mail{from, std::move(what)});
    return static_cast<bool>(replica);
  };
  const auto to_entities = [&](const entities::shard_id& shard, auto mail) {
    std::shared_lock lock{mutex_};
    const auto parts = static_cast<std::uint32_t>(entity_hosts_.size());
    if (parts > 0) caf::anon_send(entity_hosts_[entity_host::part_of(shard, parts)], std::move(mail));
  };
  if (auto* fetch = std::get_if<replica_fetch>(&body)) {
    if (to_replica({fetch->seat.topic, fetch->seat.partition}, *fetch)) return;
    // It knows more than we do. Without an answer it would take the fetch for lost and wait long.
    send(from.node, replica_answer{fetch->seat, fetch->epoch, fetch->id, fetch->offset,
                                   replica_answer::refusal{errc::unknown_epoch}});
  } else if (auto* answer = std::get_if<replica_answer>(&body)) {
    to_replica({answer->seat.topic, answer->seat.partition}, *answer);
  } else if (auto* altered = std::get_if<alter_isr_answer>(&body)) {
    to_replica(altered->where, *altered);
  } else if (auto* entity = std::get_if<entities::message>(&body)) {
    const auto shard = entities::shard_in(*entity);
    to_entities(shard, entity_mail{from.node, std::move(*entity)});
  } else if (auto* order = std::get_if<release_order>(&body)) {
    const entities::shard_id shard{order->kind, order->shard};
    to_entities(shard, release_shard{shard, order->epoch});
  } else {
    caf::anon_send(node_, node_events::letter_came{from, std::move(body)});
  }
}

}  // namespace troupe
