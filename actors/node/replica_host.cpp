#include "actors/node/replica_host.hpp"

#include <algorithm>

#include "runtime/observe/log.hpp"

namespace troupe {

namespace {

/// Logs of seats that went are dropped together, at most so many in one go.
constexpr std::size_t dropped_at_once = 1000;

store::durability level_of(const topic& t) {
  return t.settings.durability == topic_settings::flush::interval ? store::durability::interval
                                                                  : store::durability::group;
}

}  // namespace

replica_host::replica_host(surroundings s)
    : to_{std::move(s)},
      partition_metrics_{std::make_shared<const partition_metrics>(*to_.metrics)},
      topics_{&to_.metrics->gauge("troupe_topics", "Topics of the cluster")},
      partitions_{&to_.metrics->gauge("troupe_partitions", "Partitions of the cluster")},
      replicas_{&to_.metrics->gauge("troupe_replicas", "Replicas on this node")} {}

// -- following --------------------------------------------------------------------------------------------------------

void replica_host::show(std::shared_ptr<const metadata_image> image) {
  image_ = std::move(image);
  publish();
}

void replica_host::follow(std::shared_ptr<const metadata_image> image, std::shared_ptr<const void> news) {
  if (stopping_) return;
  image_ = std::move(image);
  incomplete_ = false;
  look_at_nodes(*image_);
  openings missing;
  farewells left;
  for (auto at = hosted_.begin(); at != hosted_.end();) {
    if (image_->names.contains(at->first)) {
      ++at;
      continue;
    }
    for (auto& it : at->second.seats) unhost(at->second, it, {errc::unknown_topic, "the topic was deleted"}, left);
    at = hosted_.erase(at);
  }
  for (const auto& [name, t] : image_->topics) look_at(hosted_[t->id], t, news, missing, left);
  open(missing);
  publish();
  // Only now: whoever looks at the view no longer finds them.
  for (auto& [actor, why] : left) to_.owner->send(actor, retire{std::move(why)});
  if (leaving_.empty()) drop_logs();
}

void replica_host::look_at_nodes(const metadata_image& image) {
  std::map<node_id, std::int64_t> epochs;
  std::set<node_id> fenced, full;
  for (const auto& [id, node] : image.nodes) {
    epochs.emplace(id, node.node_epoch);
    if (node.state != node_state::active) fenced.insert(id);
    if (node.disk_full) full.insert(id);
  }
  nodes_changed_ = epochs != node_epochs_ || fenced != fenced_ || full != full_;
  node_epochs_ = std::move(epochs);
  fenced_ = std::move(fenced);
  full_ = std::move(full);
}

void replica_host::look_at(hosted_topic& hosted, const std::shared_ptr<const topic>& t,
                           const std::shared_ptr<const void>& news, openings& missing, farewells& left) {
  if (hosted.at == t && hosted.settled && !nodes_changed_) return;
  std::optional<topic_settings> settings;
  if (hosted.at)
    if (auto now = settings_of(*t); now != settings_of(*hosted.at)) settings = std::move(now);
  hosted.at = t;
  hosted.settled = true;
  hosted.seats.resize(t->partitions.size());
  for (std::size_t i = 0; i < hosted.seats.size(); ++i) {
    auto& it = hosted.seats[i];
    const auto& state = t->partitions[i];
    const auto mine = std::ranges::find(state.replicas, to_.home->self.node, &replica::node);
    const bool stays = mine != state.replicas.end() && mine->added_at == it.added_at;
    if (it.actor && !stays) unhost(hosted, it, {errc::not_leader, "the replica has moved to another node"}, left);
    if (it.actor) {
      if (!settings && !nodes_changed_ && it.told == state) continue;
      it.told = state;
      to_.owner->send(it.actor, reassigned{assignment_of(state), settings, news});
    } else if (mine != state.replicas.end()) {
      missing[level_of(*t)].push_back({&hosted, i, mine->added_at});
    }
  }
}

void replica_host::unhost(hosted_topic& hosted, seat& it, error why, farewells& left) {
  hosted.route = nullptr;
  if (it.actor) {
    places_.erase(it.actor.address());
    leaving_.emplace(it.actor.address(), it);
    left.emplace_back(it.actor, std::move(why));
  } else if (it.log) {
    unused_logs_.push_back(*it.log);
  }
  it = {};
}

/// All logs of one durability are made in one commit, however many partitions are new.
void replica_host::open(const openings& missing) {
  for (const auto& [level, wanted] : missing) {
    std::vector<store::log_identity> identities;
    for (const auto& o : wanted)
      identities.push_back({o.topic->at->id, partition_index{static_cast<std::int32_t>(o.index)}, o.added_at});
    auto logs = to_.store->create(identities, level);
    if (!logs) {
      observe::log(observe::level::error, "node", "logs_not_created",
                   {{"count", identities.size()}, {"why", logs.error()}});
      if (logs.code() == errc::storage_failed) to_.failed(logs.error());
      for (const auto& o : wanted) o.topic->settled = false;
      incomplete_ = true;
      continue;
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto& [hosted, index, added_at] = wanted[i];
      const auto& t = *hosted->at;
      partition_setup setup;
      setup.topic = t.name;
      setup.seat = identities[i];
      setup.log = (*logs)[i];
      setup.settings = settings_of(t);
      setup.first = assignment_of(t.partitions[index]);
      setup.damage_known = to_.damaged.contains({t.id, identities[i].partition});
      setup.store = to_.store;
      setup.home = to_.home;
      setup.metrics = partition_metrics_;
      setup.retention_interval = to_.retention_interval;
      auto actor = spawn_partition(to_.owner->system(), std::move(setup));
      to_.owner->monitor(actor);
      places_.emplace(actor.address(), place{t.id, index});
      hosted->seats[index] = {(*logs)[i], std::move(actor), added_at, t.partitions[index]};
      hosted->route = nullptr;
    }
  }
}

assignment replica_host::assignment_of(const partition_state& state) const {
  return {state, node_epochs_, fenced_, state.unclean_epoch, full_};
}

topic_settings replica_host::settings_of(const topic& t) const {
  return effective_settings(to_.topic_overrides, t.overrides);
}

void replica_host::publish() {
  auto view = std::make_shared<cluster_view>();
  view->image = image_;
  for (auto& [id, hosted] : hosted_) {
    if (!hosted.route) {
      auto route = std::make_shared<cluster_view::route>();
      route->id = id;
      for (const auto& it : hosted.seats) route->partitions.push_back(it.actor);
      hosted.route = std::move(route);
    }
    view->routes.emplace(hosted.at->name, hosted.route);
    view->routes_by_id.emplace(id, hosted.route);
  }
  to_.directory->publish(std::move(view));
  topics_->set(static_cast<double>(image_->topics.size()));
  partitions_->set(static_cast<double>(image_->partition_count));
  replicas_->set(static_cast<double>(places_.size()));
}

// -- going ------------------------------------------------------------------------------------------------------------

bool replica_host::ended(const caf::actor_addr& address) {
  if (const auto left = leaving_.find(address); left != leaving_.end()) {
    unused_logs_.push_back(*left->second.log);
    leaving_.erase(left);
    if (leaving_.empty() || unused_logs_.size() >= dropped_at_once) drop_logs();
    return true;
  }
  const auto at = places_.find(address);
  if (at == places_.end()) return false;
  auto& hosted = hosted_.at(at->second.topic);
  const auto index = at->second.index;
  hosted.seats[index].actor = {};
  hosted.settled = false;
  hosted.route = nullptr;
  places_.erase(at);
  if (stopping_) return true;
  observe::log(observe::level::error, "node", "partition_ended",
               {{"entity", "partition/" + hosted.at->name + "/" + std::to_string(index)}, {"action", "started again"}});
  incomplete_ = true;
  publish();
  return true;
}

void replica_host::drop_strangers() {
  for (const auto& log : to_.store->logs()) {
    const auto at = hosted_.find(log.identity.topic);
    const auto index = static_cast<std::size_t>(log.identity.partition.value());
    if (at != hosted_.end() && index < at->second.seats.size() && at->second.seats[index].log == log.id) continue;
    if (std::ranges::any_of(leaving_, [&](const auto& it) { return it.second.log == log.id; })) continue;
    if (std::ranges::find(unused_logs_, log.id) != unused_logs_.end()) continue;
    unused_logs_.push_back(log.id);
    observe::log(observe::level::info, "node", "unowned_log",
                 {{"topic_id", log.identity.topic.text()},
                  {"partition", log.identity.partition},
                  {"log", log.id},
                  {"action", "dropped"}});
  }
  if (leaving_.empty()) drop_logs();
}

void replica_host::drop_logs() {
  if (unused_logs_.empty()) return;
  if (auto dropped = to_.store->drop(unused_logs_); !dropped) {
    // The next start finds them without an owner.
    observe::log(observe::level::warn, "node", "logs_not_dropped",
                 {{"count", unused_logs_.size()}, {"why", dropped.error()}});
    if (dropped.code() == errc::storage_failed) to_.failed(dropped.error());
  }
  unused_logs_.clear();
}

void replica_host::ask_log_ends(const std::function<void(log_ends::log_end)>& answer) const {
  for (const auto& [id, hosted] : hosted_)
    for (const auto& it : hosted.seats) {
      const auto& state = it.told;
      if (!it.actor || state.leader.value() >= 0 || !state.isr.empty() || !state.elr.empty()) continue;
      if (std::ranges::find(state.last_known_elr, to_.home->self.node) != state.last_known_elr.end())
        to_.owner->send(it.actor, log_end_question{answer});
    }
}

void replica_host::stop() {
  stopping_ = true;
  for (const auto& [address, where] : places_)
    to_.owner->send(hosted_.at(where.topic).seats[where.index].actor, stop_partition{[] {}});
  for (const auto& [address, it] : leaving_) to_.owner->send(it.actor, stop_partition{[] {}});
}

}  // namespace troupe
