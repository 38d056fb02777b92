#include <algorithm>

#include "actors/controller/cluster_controller.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/base/rules.hpp"

/// What operators and clients ask of the controller.
namespace troupe {

namespace {

std::string named(node_id id) {
  return "node " + std::to_string(id.value());
}

std::string listed(const std::vector<node_id>& ids) {
  std::string text;
  for (const auto id : ids) text += (text.empty() ? "" : ", ") + std::to_string(id.value());
  return text;
}

/// nullptr: it is none, or none any more.
const node_info* member(const metadata_image& image, node_id id) {
  const auto* node = image.node(id);
  return node == nullptr || node->state == node_state::removed ? nullptr : node;
}

error no_such_node(node_id id) {
  return {errc::invalid_request, "there is no " + named(id)};
}

bool another_takes_on(const metadata_image& image, node_id but) {
  return std::ranges::any_of(
      image.nodes, [&](const auto& n) { return n.first != but && n.second.takes_on() && n.second.weight > 0; });
}

bool another_may_vote(const metadata_image& image, node_id but) {
  return std::ranges::any_of(image.nodes, [&](const auto& n) {
    return n.first != but && member(image, n.first) != nullptr && !n.second.leaving &&
           n.second.orders.votes != voting::never;
  });
}

std::vector<node_id> voters_by_name(const metadata_image& image) {
  std::vector<node_id> ids;
  for (const auto& [id, node] : image.nodes)
    if (node.orders.votes == voting::always) ids.push_back(id);
  return ids;
}

}  // namespace

cluster_controller::reply cluster_controller::decide(draft& d, batch& b, request& asked) {
  d.flush();
  const auto topics = [&](controller::plan plan) {
    for (auto& record : plan.records) d.add(std::move(record));
    if (!plan.records.empty()) look_again_ = true;
    return reply{[decisions = std::move(plan.decisions)](const metadata_image& image) {
      outcome o;
      o.decisions = decisions;
      for (auto& decision : o.decisions)
        if (!decision.refused && !decision.now) decision.now = image.find(decision.name);
      return o;
    }};
  };
  const auto items = [](std::vector<result<void>> results) {
    return reply{[results = std::move(results)](const metadata_image&) {
      outcome o;
      o.items = results;
      return o;
    }};
  };
  const auto each = [&](const auto& list) {
    std::vector<result<void>> results;
    for (const auto& item : list) results.push_back(decide(d, item));
    look_again_ = true;
    return items(std::move(results));
  };
  return std::visit(
      overloaded{
          [&](const create_topics& r) { return topics(topics_.create_topics(d.image(), r.topics, r.validate_only)); },
          [&](const delete_topics& r) { return topics(topics_.delete_topics(d.image(), r.topics)); },
          [&](const create_partitions& r) {
            return topics(topics_.create_partitions(d.image(), r.topics, r.validate_only));
          },
          [&](const alter_configs& r) { return topics(topics_.alter_configs(d.image(), r.topics, r.validate_only)); },
          [&](const reserve_producer_ids& r) {
            if (r.count <= 0)
              return reply{[](const metadata_image&) {
                outcome o;
                o.failed = error{errc::invalid_request, "a count of producer ids is positive"};
                return o;
              }};
            auto block = topics_.reserve_producer_ids(d.image(), r.count);
            for (auto& record : block.records) d.add(std::move(record));
            return reply{[first = block.first](const metadata_image&) {
              outcome o;
              o.first = first;
              return o;
            }};
          },
          [&](const reassign& r) { return each(r.items); },
          [&](const elect_preferred& r) { return each(r.items); },
          [&](const elect_uncleanly& r) {
            std::vector<result<void>> results;
            for (const auto& item : r.items) results.push_back(decide_uncleanly(d, b, item));
            look_again_ = true;
            return items(std::move(results));
          },
          [&](const remove_node& r) { return each(std::vector{r}); },
          [&](const drain_node& r) { return each(std::vector{r}); },
          [&](const set_voting& r) { return each(std::vector{r}); },
          [&](const want_voter_count& r) {
            if (r.count != 1 && r.count != 3 && r.count != 5)
              return items({{errc::invalid_request, "a quorum has 1, 3 or 5 voters"}});
            if (const auto names = voters_by_name(d.image()); names.size() > static_cast<std::size_t>(r.count))
              return items({{errc::invalid_request, "more than that vote by name: " + listed(names) +
                                                        "; first leave the choice of some to the controller"}});
            if (r.count != d.image().voter_count) d.add(voters_wanted{r.count});
            return items({result<void>{}});
          },
      },
      asked);
}

result<void> cluster_controller::decide(draft& d, const reassign::item& item) {
  const auto t = d.image().find(item.where.topic);
  if (!t) return {errc::unknown_topic, "there is no such topic"};
  const auto* p = d.partition(item.where);
  if (p == nullptr) return {errc::invalid_partitions, "the topic has no such partition"};
  const auto f = facts_of(d.image(), *t);

  if (!item.target) {
    if (!p->reassigning()) return {errc::invalid_request, "the partition is not being reassigned"};
    auto back = partition_plan::cancelled(*p, f);
    if (back == *p)
      return {errc::invalid_request, "without the replicas that are being added too few would be in sync"};
    set(d, item.where, *t, std::move(back), now_);
    return {};
  }
  if (item.target->empty()) return {errc::invalid_assignment, "a partition is assigned to no node"};
  std::set<node_id> distinct;
  for (auto id : *item.target) {
    const auto* node = d.image().node(id);
    const bool settled = p->has_replica(id) && std::ranges::find(p->adding, id) == p->adding.end();
    if (!distinct.insert(id).second)
      return {errc::invalid_assignment, "node " + std::to_string(id.value()) + " is named twice for one partition"};
    // Those that it has may be away for a while; a new one has to be there to copy.
    if (node == nullptr || node->leaving || (!node->takes_on() && !settled))
      return {errc::invalid_assignment, "node " + std::to_string(id.value()) + " cannot take a replica now" +
                                            (node != nullptr && node->orders.drained ? ": it is drained" : "")};
  }
  auto moved = partition_plan::reassigned(*p, f, *item.target);
  moved = partition_plan::completed(moved, f);
  const bool on_its_way = moved.replicas.size() >= item.target->size() &&
                          std::equal(item.target->begin(), item.target->end(), moved.replicas.begin(),
                                     [](node_id n, const replica& r) { return r.node == n; });
  if (!on_its_way) return {errc::invalid_request, "without the replicas that are being added too few would be in sync"};
  set(d, item.where, *t, std::move(moved), now_);
  return {};
}

result<void> cluster_controller::decide(draft& d, const partition_ref& where) {
  const auto t = d.image().find(where.topic);
  if (!t) return {errc::unknown_topic, "there is no such topic"};
  const auto* p = d.partition(where);
  if (p == nullptr) return {errc::invalid_partitions, "the topic has no such partition"};
  const auto f = facts_of(d.image(), *t);
  auto led = p->leader.value() < 0 ? partition_plan::elected(*p, f) : *p;
  led = partition_plan::led_by_preferred(led, f);
  if (led.leader.value() < 0) return {errc::not_enough_replicas, "no replica that holds everything serves now"};
  set(d, where, *t, std::move(led), now_);
  return {};
}

result<void> cluster_controller::decide_uncleanly(draft& d, batch& b, const partition_ref& where) {
  const auto t = d.image().find(where.topic);
  if (!t) return {errc::unknown_topic, "there is no such topic"};
  const auto* p = d.partition(where);
  if (p == nullptr) return {errc::invalid_partitions, "the topic has no such partition"};
  if (p->leader.value() >= 0)
    return {errc::invalid_request, "the partition is led by node " + std::to_string(p->leader.value())};
  auto f = facts_of(d.image(), *t);
  f.unclean_election = true;
  const auto best = longest(d.image(), where, *p, f);
  auto led = best ? partition_plan::elected_uncleanly(*p, f, *best) : partition_plan::elected(*p, f);
  if (led.leader.value() < 0) return {errc::not_enough_replicas, "no replica serves now: start one, and ask again"};
  if (led.unclean_epoch == led.epoch) b.notes.push_back({noted::event::possible_loss, led.leader, where});
  log_ends_.erase(where);
  leaderless_.erase(where);
  set(d, where, *t, std::move(led), now_);
  return {};
}

// -- one node ---------------------------------------------------------------------------------------------

result<void> cluster_controller::decide(draft& d, const remove_node& r) {
  const auto* node = member(d.image(), r.node);
  if (node == nullptr) return no_such_node(r.node);
  if (r.undo && node->orders.drained) {
    // Its leaderships come back with the next passes, and the first of them need not be minutes away.
    balance_at_ = std::min(balance_at_, now_ + options_.shard_settle);
    auto orders = node->orders;
    orders.drained = false;
    const bool leaving = node->leaving;
    d.add(node_ordered{r.node, orders});
    if (!leaving) return {};
    node = d.image().node(r.node);
  }
  if (node->leaving != r.undo)
    return r.undo ? result<void>{errc::invalid_request, "the node is neither drained nor leaving"} : result<void>{};
  if (!r.undo && !another_takes_on(d.image(), r.node))
    return {errc::not_enough_replicas, "no other node would be left to take over"};
  if (!r.undo && !another_may_vote(d.image(), r.node))
    return {errc::not_enough_replicas, "no other node would be left that may vote in the quorum"};
  auto state = node->state;
  if (state != node_state::fenced) state = r.undo ? node_state::active : node_state::draining;
  drained_.erase(r.node);
  d.add(node_changed{r.node, state, !r.undo});
  return {};
}

result<void> cluster_controller::decide(draft& d, const drain_node& r) {
  const auto* node = member(d.image(), r.node);
  if (node == nullptr) return no_such_node(r.node);
  if (node->leaving) return {errc::invalid_request, named(r.node) + " is leaving, which takes everything from it"};
  if (node->orders.drained) return {};
  if (!another_takes_on(d.image(), r.node))
    return {errc::not_enough_replicas, "no other node would be left to take over"};
  auto orders = node->orders;
  orders.drained = true;
  d.add(node_ordered{r.node, orders});
  return {};
}

result<void> cluster_controller::decide(draft& d, const set_voting& r) {
  const auto* node = member(d.image(), r.node);
  if (node == nullptr) return no_such_node(r.node);
  const auto refuse = [&](const std::string& why) { return error{errc::invalid_request, named(r.node) + why}; };
  if (node->orders.votes == r.how)
    return refuse(r.how == voting::always  ? " votes by name already"
                  : r.how == voting::never ? " is kept out of the quorum already"
                                           : " votes or not as the controller chooses already");
  if (r.how == voting::always) {
    if (node->leaving) return refuse(" is leaving: undo that first");
    if (node->state != node_state::active)
      return refuse(" does not take part now: start it, or wait until it is active, and ask again");
    if (const auto names = voters_by_name(d.image()); names.size() >= static_cast<std::size_t>(d.image().voter_count))
      return refuse(" finds all " + std::to_string(d.image().voter_count) + " places taken by name: " + listed(names) +
                    "; ask for more voters, or let one of those go first");
  }
  if (r.how == voting::never)
    if (auto can = may_go(d.image(), r.node); !can) return can;
  auto orders = node->orders;
  orders.votes = r.how;
  d.add(node_ordered{r.node, orders});
  return {};
}

/// Without that voter the quorum is as large as before, and most of it lives.
result<void> cluster_controller::may_go(const metadata_image& image, node_id id) const {
  if (voters_.empty()) return {errc::busy, "the controller is new and does not know yet who votes"};
  if (std::ranges::find(voters_, id, &voter::node) == voters_.end()) return {};
  std::size_t stay = 0, live = 0, able = 0;
  for (const auto& [other, node] : image.nodes) {
    if (other == id || node.state == node_state::removed || node.leaving || node.orders.votes == voting::never)
      continue;
    const auto at = nodes_.find(other);
    const bool lives = node.state == node_state::active && at != nodes_.end() && !own_gone(at->second) &&
                       now_ - at->second.heard < options_.silent_after;
    if (std::ranges::find(voters_, voter{other, node.disk}) != voters_.end()) {
      ++stay;
      live += lives ? 1 : 0;
    } else if (lives) {
      ++able;
    }
  }
  const auto odd = voters_.size() - (voters_.size() % 2 == 0 ? 1 : 0);
  const auto size = std::min(odd, static_cast<std::size_t>(image.voter_count));
  const auto come = std::min(able, size - std::min(size, stay));
  if (stay + come < size)
    return {errc::not_enough_replicas, named(id) + " is one of " + std::to_string(size) +
                                           " voters, and no other node can take its place: start or add one, or ask "
                                           "for fewer voters"};
  if ((live + come) * 2 <= size)
    return {errc::not_enough_replicas, "of the " + std::to_string(size) + " voters without " + named(id) + " only " +
                                           std::to_string(live + come) + " would live: bring the others back first"};
  return {};
}

}  // namespace troupe
