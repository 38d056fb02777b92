#include "actors/controller/image.hpp"

#include <algorithm>
#include <type_traits>

#include "runtime/base/overloaded.hpp"
#include "runtime/base/rules.hpp"

/// Records become an image. Whatever a record says was decided by the controller against this very image, so a record
/// that does not fit means that two nodes disagree about the past: nobody may go on from there.
namespace troupe {

namespace {

std::shared_ptr<topic> copy_of(const metadata_image& image, const topic_id& id) {
  const auto found = image.find(id);
  TROUPE_CHECK(found != nullptr);
  return std::make_shared<topic>(*found);
}

/// Order matters, so do sizes: what a list ends with and the next begins with are told apart.
class digest {
public:
  void add(std::uint64_t x) {
    state_ = (state_ ^ x) * 0x9e3779b97f4a7c15;
    state_ ^= state_ >> 29;
  }
  template <class T>
  requires std::is_enum_v<T> ||(std::is_integral_v<T> && !std::is_same_v<T, std::uint64_t>)void add(T x) {
    add(static_cast<std::uint64_t>(x));
  }
  template <class Tag, class Rep>
  void add(strong<Tag, Rep> id) {
    add(id.value());
  }
  void add(std::string_view text) {
    add(text.size());
    for (; text.size() >= 8; text.remove_prefix(8))
      add(load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data())));
    for (const char c : text) add(static_cast<unsigned char>(c));
  }
  void add(const uuid& id) { add(std::string_view{reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()}); }
  void add(const endpoint& e) {
    add(e.host);
    add(e.port);
  }
  void add(const life& l) {
    add(l.node);
    add(l.epoch);
  }
  void add(const replica& r) {
    add(r.node);
    add(r.added_at);
  }
  template <class T>
  void add(const std::vector<T>& list) {
    add(list.size());
    for (const auto& x : list) add(x);
  }
  void add(const partition_state& p) {
    add(p.replicas);
    for (const auto* nodes : {&p.isr, &p.adding, &p.removing, &p.elr, &p.last_known_elr}) add(*nodes);
    add(p.leader);
    add(p.epoch);
    add(p.partition_epoch);
    add(p.unclean_epoch);
    add(p.former);
  }
  void add(const shard_state& s) {
    add(s.owner);
    add(s.epoch);
    add(s.active);
    add(s.former);
    add(s.since);
  }
  void add(const node_info& n) {
    add(n.id);
    add(n.node_epoch);
    add(n.kafka);
    add(n.rack);
    add(n.state);
    add(n.leaving);
    add(n.peer);
    add(n.disk);
    add(n.start);
    add(n.weight);
    add(n.clean);
    add(n.disk_full);
    add(n.since);
    add(n.last_taken);
    add(n.orders.drained);
    add(n.orders.votes);
  }
  std::uint64_t value() const { return state_; }

private:
  std::uint64_t state_{0xcbf29ce484222325};
};

}  // namespace

bool partition_state::has_replica(node_id node) const {
  return std::ranges::find(replicas, node, &replica::node) != replicas.end();
}

bool partition_state::in_sync(node_id node) const {
  return std::ranges::find(isr, node) != isr.end();
}

result<std::shared_ptr<const topic>> topic_of(const topic_created& r) {
  auto settings = parse_topic_settings(r.overrides);
  if (!settings) return settings.error();
  return std::make_shared<const topic>(topic{r.id, r.name, r.internal, r.partitions, r.overrides, *settings});
}

std::shared_ptr<const topic> metadata_image::find(std::string_view name) const {
  const auto at = topics.find(name);
  return at == topics.end() ? nullptr : at->second;
}

std::shared_ptr<const topic> metadata_image::find(topic_id id) const {
  const auto at = names.find(id);
  return at == names.end() ? nullptr : find(at->second);
}

const partition_state* metadata_image::find(const partition_ref& where) const {
  const auto found = find(where.topic);
  const auto index = static_cast<std::size_t>(where.index.value());  // a negative one is beyond any end
  return found && index < found->partitions.size() ? &found->partitions[index] : nullptr;
}

const node_info* metadata_image::node(node_id id) const {
  const auto at = nodes.find(id);
  return at == nodes.end() ? nullptr : &at->second;
}

leader_epoch metadata_image::first_epoch(std::string_view name) const {
  const auto at = retired_epochs.find(name);
  return leader_epoch{1 + (at == retired_epochs.end() ? retired_floor : std::max(at->second, retired_floor))};
}

void metadata_image::apply(meta_offset at, const metadata_record& record) {
  TROUPE_CHECK(at.value() == applied.value() + 1);
  take(at, record);
  applied = at;
}

void metadata_image::apply(meta_offset at, std::span<const metadata_record> records) {
  TROUPE_CHECK(at > applied);
  for (const auto& record : records) take(at, record);
  applied = at;
}

void metadata_image::pass(meta_offset at) {
  TROUPE_CHECK(at > applied);
  applied = at;
}

/// `at` -1: the record comes from a snapshot, and says also what the image keeps by itself.
void metadata_image::take(meta_offset at, const metadata_record& record) {
  const bool from_snapshot = at.value() < 0;
  const auto taken_from = [&](node_id loser) {
    if (const auto known = nodes.find(loser); known != nodes.end()) known->second.last_taken = at;
  };
  std::visit(overloaded{
                 [&](const cluster_formed& r) {
                   TROUPE_CHECK(cluster_id.empty() && !r.cluster_id.empty());
                   cluster_id = r.cluster_id;
                 },
                 [&](const node_registered& r) {
                   auto info = r.node;
                   if (!from_snapshot) {
                     if (info.node_epoch < 0) info.node_epoch = at.value();
                     info.since = at;
                     const auto* former = node(info.id);
                     info.last_taken = former ? former->last_taken : meta_offset{-1};
                     info.orders = former ? former->orders : node_orders{};
                   }
                   nodes[info.id] = std::move(info);
                 },
                 [&](const topic_created& r) {
                   auto made = topic_of(r);
                   TROUPE_CHECK(made.ok() && !r.id.is_nil() && !r.partitions.empty());
                   const bool fresh_id = names.emplace(r.id, r.name).second;
                   const bool fresh_name = topics.emplace(r.name, std::move(*made)).second;
                   TROUPE_CHECK(fresh_id && fresh_name);
                   partition_count += r.partitions.size();
                 },
                 [&](const topic_deleted& r) {
                   const auto gone = find(r.id);
                   TROUPE_CHECK(gone != nullptr);
                   auto& retired = retired_epochs.try_emplace(gone->name, -1).first->second;
                   for (const auto& p : gone->partitions) retired = std::max(retired, p.epoch.value());
                   if (retired_epochs.size() > retired_names_max) {
                     for (const auto& [name, epoch] : retired_epochs) retired_floor = std::max(retired_floor, epoch);
                     retired_epochs.clear();
                   }
                   partition_count -= gone->partitions.size();
                   topics.erase(gone->name);
                   names.erase(r.id);
                 },
                 [&](const partitions_added& r) {
                   auto grown = copy_of(*this, r.id);
                   grown->partitions.insert(grown->partitions.end(), r.partitions.begin(), r.partitions.end());
                   partition_count += r.partitions.size();
                   topics[grown->name] = std::move(grown);
                 },
                 [&](const topic_configured& r) {
                   auto changed = copy_of(*this, r.id);
                   auto settings = parse_topic_settings(r.overrides);
                   TROUPE_CHECK(settings.ok());
                   changed->overrides = r.overrides;
                   changed->settings = *settings;
                   // With a lower bound the leader goes on alone, and those in the ELR no longer hold everything.
                   for (auto& p : changed->partitions)
                     if (holds(rule::elr_cleared) && !(p.elr.empty() && p.last_known_elr.empty()) &&
                         static_cast<std::int32_t>(p.isr.size()) >= min_in_sync(settings->min_insync_replicas, p)) {
                       p.elr.clear();
                       p.last_known_elr.clear();
                       ++p.partition_epoch;
                     }
                   topics[changed->name] = std::move(changed);
                 },
                 [&](const producer_ids_reserved& r) {
                   TROUPE_CHECK(r.next > next_producer_id);
                   next_producer_id = r.next;
                 },
                 [&](const epoch_retired& r) {
                   auto& retired =
                       r.name.empty() ? retired_floor : retired_epochs.try_emplace(r.name, -1).first->second;
                   retired = std::max(retired, r.epoch);
                 },
                 [&](const partitions_changed& r) {
                   std::shared_ptr<topic> open;  // a topic is copied once for all changes of it that stand together
                   for (const auto& change : r.changes) {
                     if (!open || open->id != change.where.topic) {
                       open = copy_of(*this, change.where.topic);
                       topics[open->name] = open;
                     }
                     const auto index = static_cast<std::size_t>(change.where.index.value());
                     TROUPE_CHECK(index < open->partitions.size());
                     auto& p = open->partitions[index];
                     TROUPE_CHECK(!holds(rule::controller_waits_for_no_op) ||
                                  (change.state.partition_epoch > p.partition_epoch && change.state.epoch >= p.epoch));
                     if (p.leader != change.state.leader) taken_from(p.leader);
                     p = change.state;
                   }
                 },
                 [&](const node_changed& r) {
                   const auto known = nodes.find(r.id);
                   TROUPE_CHECK(known != nodes.end());
                   auto& node = known->second;
                   if (node.state != r.state || node.leaving != r.leaving || !r.disk_full) node.since = at;
                   node.state = r.state;
                   node.leaving = r.leaving;
                   node.disk_full = r.disk_full.value_or(node.disk_full);
                   if (r.state == node_state::removed) node.orders = {};
                 },
                 [&](const node_ordered& r) {
                   const auto known = nodes.find(r.id);
                   TROUPE_CHECK(known != nodes.end() && known->second.state != node_state::removed);
                   known->second.orders = r.orders;
                 },
                 [&](const shards_changed& r) {
                   auto& of_kind = shards[r.kind];
                   if (of_kind.empty()) of_kind.resize(r.count);
                   TROUPE_CHECK(!of_kind.empty() && of_kind.size() == r.count);
                   for (const auto& change : r.changes) {
                     TROUPE_CHECK(change.shard < r.count);
                     auto& shard = of_kind[change.shard];
                     TROUPE_CHECK(!holds(rule::controller_waits_for_no_op) || change.state.epoch > shard.epoch ||
                                  (change.state.epoch == shard.epoch && change.state.owner == shard.owner));
                     if (shard.owner != change.state.owner) taken_from(shard.owner);
                     shard = change.state;
                     if (!from_snapshot) shard.since = at;
                   }
                 },
                 [&](const voters_wanted& r) {
                   TROUPE_CHECK(r.count > 0);
                   voter_count = r.count;
                 },
             },
             record);
}

std::uint64_t metadata_image::hash() const {
  digest d;
  d.add(applied);
  d.add(cluster_id);
  d.add(nodes.size());
  for (const auto& [id, node] : nodes) d.add(node);
  d.add(topics.size());
  for (const auto& [name, t] : topics) {
    d.add(t->id);
    d.add(name);
    d.add(t->internal);
    d.add(t->partitions);
    d.add(t->overrides.size());
    for (const auto& [setting, value] : t->overrides) {
      d.add(setting);
      d.add(value);
    }
  }
  d.add(next_producer_id);
  d.add(retired_epochs.size());
  for (const auto& [name, epoch] : retired_epochs) {
    d.add(name);
    d.add(epoch);
  }
  d.add(retired_floor);
  d.add(shards.size());
  for (const auto& [kind, of_kind] : shards) {
    d.add(kind);
    d.add(of_kind);
  }
  d.add(voter_count);
  return d.value();
}

std::vector<metadata_record> metadata_image::snapshot() const {
  std::vector<metadata_record> records;
  records.reserve(2 + nodes.size() + topics.size() + retired_epochs.size());
  if (!cluster_id.empty()) records.emplace_back(cluster_formed{cluster_id});
  for (const auto& [id, node] : nodes) {
    records.emplace_back(node_registered{node});
    if (node.orders != node_orders{}) records.emplace_back(node_ordered{id, node.orders});
  }
  for (const auto& [name, t] : topics)
    records.emplace_back(topic_created{t->id, t->name, t->internal, t->partitions, t->overrides});
  if (next_producer_id > 0) records.emplace_back(producer_ids_reserved{next_producer_id});
  if (retired_floor >= 0) records.emplace_back(epoch_retired{{}, retired_floor});
  for (const auto& [name, epoch] : retired_epochs) records.emplace_back(epoch_retired{name, epoch});
  for (const auto& [kind, of_kind] : shards) {
    shards_changed all{kind, static_cast<std::uint32_t>(of_kind.size()), {}};
    for (std::uint32_t i = 0; i < all.count; ++i) all.changes.push_back({i, of_kind[i]});
    records.emplace_back(std::move(all));
  }
  if (voter_count != metadata_image{}.voter_count) records.emplace_back(voters_wanted{voter_count});
  return records;
}

metadata_image metadata_image::restore(meta_offset at, const std::vector<metadata_record>& snapshot) {
  metadata_image image;
  for (const auto& record : snapshot) image.take(meta_offset{-1}, record);
  image.applied = at;
  return image;
}

}  // namespace troupe
