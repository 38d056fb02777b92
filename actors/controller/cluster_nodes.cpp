#include <algorithm>

#include "actors/controller/cluster_controller.hpp"
#include "runtime/base/rules.hpp"

/// Who is alive and who holds a lease (§5, R9). The controller's own report is always needed; a second one comes from
/// another node, unless there are too few of them.
namespace troupe {

namespace {

constexpr registration_answer::verdict accepted = registration_answer::verdict::accepted;

bool active(const metadata_image& image, node_id id) {
  const auto* node = image.node(id);
  return node != nullptr && node->state == node_state::active;
}

}  // namespace

/// Lives that are new to us begin as heard `at`.
void cluster_controller::watch_all(instant at) {
  for (const auto& [id, node] : image_->nodes) {
    auto& w = nodes_[id];
    if (w.epoch != node.node_epoch) {
      w = {};
      w.epoch = node.node_epoch;
      w.heard = at;
      w.disk_full = node.disk_full;
      if (const auto link = links_.find({id, w.epoch});
          link != links_.end() && now_ - link->second.at < options_.suspicion_for) {
        w.reset = link->second.reset;
        w.refused = link->second.refused;
      }
    }
  }
}

// -- heartbeats and leases --------------------------------------------------------------------------------

cluster_controller::effects cluster_controller::heard(instant now, ticket from, const heartbeat& h) {
  effects out;
  now_ = now;
  links_.erase(h.from);  // it lives
  heartbeat_answer said{h.from, h.sent};
  said.from_controller = elected_;
  const auto* node = elected_ ? image_->node(h.from.node) : nullptr;
  if (node == nullptr) {
    out.push_back(answer{from, said});
    return out;
  }
  said.applied = image_->applied;
  said.to.epoch = node->node_epoch;
  said.state = node->state;
  if (h.from.epoch == node->node_epoch || !holds(rule::epoch_fences_former_life)) {
    auto& w = nodes_.at(h.from.node);
    w.heard = now;
    w.applied = std::max(w.applied, h.applied);
    w.reset = w.refused = false;  // it lives, whatever its links say
    w.ready = h.ready;
    w.wants_to_stop = h.wants_to_stop;
    w.disk_full = h.disk_full;
    w.wall = h.wall;
    for (auto& [id, about] : nodes_) {
      about.suspected_by.erase(h.from.node);
      about.unreachable_for.erase(h.from.node);
    }
    for (const auto& s : h.suspicions)
      if (const auto at = nodes_.find(s.subject.node); at != nodes_.end() && at->second.epoch == s.subject.epoch)
        at->second.suspected_by[h.from.node] = {now - s.age + options_.suspicion_for, s.why};
    for (const auto& l : h.unreachable)
      if (const auto at = nodes_.find(l.node); at != nodes_.end() && at->second.epoch == l.epoch) {
        at->second.unreachable_for[h.from.node] = now + options_.suspicion_for;
        look_at_ = std::min(look_at_, now + look_every);
      }
    if (may_grant(*node, h, now)) {
      said.granted = true;
      granted_[h.from] = now;
    }
    // Who leads the quorum gives that away, too, and then asks its successor; once, if nothing comes of it.
    const bool hands_over = node->id == options_.self && successor() && (handing_over_ || now >= hand_over_again_at_);
    said.may_stop = !node->serves() || (drained_.contains(node->id) && !hands_over);
    said.clocks = clocks(now);
  }
  out.push_back(answer{from, said});
  drive(now, out);
  return out;
}

bool cluster_controller::may_grant(const node_info& node, const heartbeat& h, instant now) const {
  if (!works_ || handing_over_ || !node.serves() || fencing_.contains(node.id) || nodes_.at(node.id).farewell)
    return false;
  const bool quorum = quorum_heard_ && now - *quorum_heard_ < options_.quorum_fresh;
  if (!quorum && holds(rule::grant_needs_quorum)) return false;
  // A node that does not know yet what it lost would go on with it under the new lease.
  return h.applied >= node.last_taken || !holds(rule::grant_needs_fresh_metadata);
}

/// What the clocks of all nodes that serve say now.
clock_verdict cluster_controller::clocks(instant now) const {
  std::vector<wall_time> heard;
  std::size_t serving = 0;
  for (const auto& [id, node] : image_->nodes) {
    if (!node.serves()) continue;
    ++serving;
    const auto& w = nodes_.at(id);
    // A clock from nowhere says only that it is wrong, so it may stay as it is instead of running over.
    const auto since = std::chrono::duration_cast<ms>(now - w.heard);
    if (w.wall) heard.push_back(*w.wall > wall_time::max() - since ? *w.wall : *w.wall + since);
  }
  return judge_clocks(std::move(heard), serving);
}

std::optional<instant> cluster_controller::last_grant(node_id id) const {
  std::optional<instant> last;
  for (const auto& [l, at] : granted_)
    if (l.node == id && (!last || at > *last)) last = at;
  return last;
}

// -- fencing ----------------------------------------------------------------------------------------------

cluster_controller::effects cluster_controller::link_broken(instant now, life l, bool reset, bool refused) {
  effects out;
  now_ = now;
  std::erase_if(links_, [&](const auto& link) { return now - link.second.at >= options_.suspicion_for; });
  auto& link = links_[l];
  link.at = now;
  link.reset |= reset;
  link.refused |= refused;
  const auto at = nodes_.find(l.node);
  if (!elected_ || at == nodes_.end() || at->second.epoch != l.epoch) return out;
  at->second.reset |= reset;
  at->second.refused |= refused;
  drive(now, out);
  return out;
}

cluster_controller::effects cluster_controller::said_farewell(instant now, const farewell& f) {
  effects out;
  now_ = now;
  const auto at = nodes_.find(f.from.node);
  if (!elected_ || at == nodes_.end() || at->second.epoch != f.from.epoch) return out;
  at->second.farewell = true;
  ended_.insert(f.from);
  drive(now, out);
  return out;
}

bool cluster_controller::own_gone(const watched& w) const {
  return holds(rule::gone_needs_reset_and_refusal) ? w.reset && w.refused : w.reset || w.refused;
}

bool cluster_controller::to_be_fenced(const metadata_image& image, const node_info& node, instant now) const {
  const auto& w = nodes_.at(node.id);
  if (w.farewell) return true;  // its own word
  const bool own = own_gone(w) || now - w.heard >= options_.silent_after;
  if (!own && holds(rule::own_report_always)) return false;

  int reports = own ? 1 : 0;
  for (const auto& [reporter, report] : w.suspected_by)
    if (reporter != node.id && reporter != options_.self && report.until > now && active(image, reporter)) ++reports;
  // A node unheard for long can report nothing; waiting for it would keep two dead nodes unfenced for ever.
  int others = 0;
  for (const auto& [id, other] : image.nodes)
    if (id != node.id && other.state == node_state::active &&
        (id == options_.self || now - nodes_.at(id).heard < options_.deaf_after))
      ++others;
  return reports >= (others >= 2 && holds(rule::two_reports) ? 2 : 1);
}

/// Out of every ISR, leadership and shard. False: there is more than fits into this batch.
bool cluster_controller::fence(draft& d, batch& b, const node_info& node,
                               const std::function<bool(const partition_ref&)>& forgets, instant now) {
  fencing_.insert(node.id);
  look_again_ = true;
  d.each_partition([&](const partition_ref& where, const partition_state& p, const topic& t) {
    if (full(d)) return false;
    if (!p.has_replica(node.id)) return true;
    const auto facts = facts_of(d.image(), t);
    auto after = forgets(where) ? partition_plan::forgot(p, facts, node.id) : partition_plan::fenced(p, facts, node.id);
    if (after.unclean_epoch != p.unclean_epoch) b.notes.push_back({noted::event::possible_loss, after.leader, where});
    set(d, where, t, std::move(after), now);
    return true;
  });
  if (full(d)) return false;
  leave_shards(d, node, now);
  return true;
}

void cluster_controller::fence_silent(draft& d, batch& b, instant now) {
  for (const auto& [id, node] : image_->nodes) {
    if (!node.serves() || full(d)) continue;
    if (!fencing_.contains(id) && !to_be_fenced(d.image(), node, now)) continue;
    const auto& w = nodes_.at(id);
    const bool peer_gone = std::ranges::any_of(w.suspected_by, [&](const auto& r) {
      return r.first != options_.self && r.second.why == suspicion_cause::gone && r.second.until > now &&
             active(d.image(), r.first);
    });
    if (holds(rule::gone_needs_both) ? own_gone(w) && peer_gone : own_gone(w) || peer_gone)
      ended_.insert({id, node.node_epoch});
    if (!fence(
            d, b, node, [](const auto&) { return false; }, now))
      return;
    d.add(node_changed{id, node_state::fenced, node.leaving});
    b.notes.push_back({noted::event::fenced, id, {}});
  }
}

// -- registration -----------------------------------------------------------------------------------------

std::optional<cluster_controller::reply> cluster_controller::judge(draft& d, batch& b, const registration& r,
                                                                   instant now) {
  using verdict_t = registration_answer::verdict;
  const auto say = [&r](verdict_t what) {
    return reply{[what, start = r.start, id = r.node, disk = r.disk](const metadata_image& image) {
      const auto* node = image.node(id);
      registration_answer told{what, start};
      told.disk = disk;
      if (what == accepted && node != nullptr) {
        told.node_epoch = node->node_epoch;
        told.cluster_id = image.cluster_id;
      }
      return told;
    }};
  };
  if (r.disk.is_nil() || r.node.value() < 0 || r.weight == 0) return say(verdict_t::invalid);
  if (!r.cluster_id.empty() && r.cluster_id != d.image().cluster_id) return say(verdict_t::wrong_cluster);

  bool other_disk = false;
  const auto* known = d.image().node(r.node);
  if (known != nullptr) {
    other_disk = !known->disk.is_nil() && known->disk != r.disk;
    if (other_disk) {
      // Seen by its own controller only; what is cut off from it is fenced, and out of everything, after a while.
      const auto at = nodes_.find(r.node);
      const bool heard_lately = at != nodes_.end() && now - at->second.heard < options_.silent_after;
      if (known->serves() || (known->state == node_state::fenced && heard_lately)) return say(verdict_t::later);
    } else if (known->disk == r.disk) {
      if (r.start < known->start) return say(verdict_t::superseded);
      if (r.start == known->start) return say(accepted);
    }
    // Who registers holds the lock of the directory, so no former process on this disk runs any more.
    if (!other_disk) ended_.insert({r.node, known->node_epoch});
    if (holds(rule::register_fences)) {
      const std::set<partition_ref> damaged{r.damaged.begin(), r.damaged.end()};
      const bool forgets_all = other_disk || (!r.clean && holds(rule::unclean_leaves_elr));
      const auto forgets = [&](const partition_ref& where) {
        return forgets_all || (damaged.contains(where) && holds(rule::damaged_never_leads));
      };
      if (!fence(d, b, *known, forgets, now)) return std::nullopt;
    }
  }

  node_info node{r.node, -1, r.kafka, r.rack, node_state::fenced};
  known = d.image().node(r.node);
  if (known != nullptr && known->state != node_state::removed) {
    node.leaving = known->leaving;
    if (!holds(rule::register_fences)) node.state = known->state;
  }
  node.peer = r.peer;
  node.disk = r.disk;
  node.start = r.start;
  node.weight = r.weight;
  node.clean = r.clean && !other_disk;
  d.add(node_registered{node});
  b.notes.push_back({noted::event::registered, r.node, {}});

  const bool alone = std::ranges::all_of(
      d.image().nodes, [&](const auto& n) { return n.first == r.node || n.second.state == node_state::removed; });
  if (alone && r.node == options_.self) {
    d.add(node_changed{r.node, node_state::active, false});
    fencing_.erase(r.node);
    b.notes.push_back({noted::event::active, r.node, {}});
  }
  return say(accepted);
}

void cluster_controller::activate_ready(draft& d, batch& b, instant now) {
  for (const auto& [id, before] : image_->nodes) {
    if (before.state != node_state::fenced || full(d)) continue;
    const auto node = *d.image().node(id);
    if (node.state != node_state::fenced || node.node_epoch != before.node_epoch) continue;
    const auto& w = nodes_.at(id);
    if ((!w.ready && holds(rule::ready_before_active)) || w.farewell || w.wants_to_stop || own_gone(w) ||
        now - w.heard >= options_.silent_after)
      continue;
    look_again_ = true;
    d.add(node_changed{id, node.leaving ? node_state::draining : node_state::active, node.leaving});
    b.notes.push_back({noted::event::active, id, {}});
  }
}

/// What nodes say of their disks becomes metadata: a new controller knows it, and elects nobody who could only refuse.
void cluster_controller::note_full_disks(draft& d, batch& b, instant now) {
  for (const auto& [id, before] : image_->nodes) {
    const auto& w = nodes_.at(id);
    if (!before.serves() || w.disk_full == before.disk_full || full(d)) continue;
    const auto* node = d.image().node(id);
    if (!node->serves() || node->node_epoch != before.node_epoch) continue;
    look_again_ = true;
    if (!w.disk_full) balance_at_ = std::min(balance_at_, now + options_.shard_settle);
    d.add(node_changed{id, node->state, node->leaving, w.disk_full});
    b.notes.push_back({w.disk_full ? noted::event::disk_full : noted::event::disk_has_room, id, {}});
  }
}

// -- leaving ----------------------------------------------------------------------------------------------

/// Nodes that want to stop get `draining`; those that leave and have nothing left are removed.
void cluster_controller::drain(draft& d, batch& b) {
  for (const auto& [id, before] : image_->nodes) {
    if (full(d)) return;
    const auto* node = d.image().node(id);
    if (node->state == node_state::active && node->node_epoch == before.node_epoch &&
        (nodes_.at(id).wants_to_stop || node->leaving)) {
      look_again_ = true;
      drained_.erase(id);
      d.add(node_changed{id, node_state::draining, node->leaving});
      b.notes.push_back({noted::event::draining, id, {}});
    }
  }
  std::erase_if(drained_, [&](node_id id) {
    const auto* node = d.image().node(id);
    return node == nullptr || node->state != node_state::draining;
  });
}

void cluster_controller::remove_empty(draft& d, batch& b, const std::set<node_id>& holding) {
  if (voters_.empty()) return;  // nobody has said yet who votes
  for (const auto& [id, node] : image_->nodes) {
    if (!node.leaving || node.state == node_state::removed || holding.contains(id) || full(d)) continue;
    const auto* now = d.image().node(id);
    if (!now->leaving || now->node_epoch != node.node_epoch) continue;
    if (std::ranges::any_of(voters_, [gone = id](const voter& v) { return v.node == gone; })) continue;
    d.add(node_changed{id, node_state::removed, true});
    b.notes.push_back({noted::event::removed, id, {}});
  }
}

bool cluster_controller::unreachable(const metadata_image& image, node_id id) const {
  const auto at = nodes_.find(id);
  return at != nodes_.end() && std::ranges::count_if(at->second.unreachable_for, [&](const auto& r) {
                                 return r.second > now_ && r.first != id && active(image, r.first);
                               }) >= 2;
}

// -- the quorum's voters ----------------------------------------------------------------------------------

cluster_controller::effects cluster_controller::voters_are(instant now, std::vector<voter> voters) {
  effects out;
  now_ = now;
  std::ranges::sort(voters);
  voters_ = std::move(voters);
  voters_said_.reset();
  look_again_ = true;
  drive(now, out);
  return out;
}

/// 3 as soon as there are three nodes, 5 when asked for; never an even number for long: it stands no more failures than
/// the odd one below. Who votes by name has a place before those who are chosen, who does not by name never has one.
std::vector<cluster_controller::voter> cluster_controller::choose_voters() const {
  std::vector<voter> wanted, able;
  const auto by_name = [](const node_info* node) { return node != nullptr && node->orders.votes == voting::always; };
  const auto goes = [](const node_info& node) { return node.leaving || node.orders.votes == voting::never; };
  for (const auto& v : voters_) {
    const auto* node = image_->node(v.node);
    if (node == nullptr || (!goes(*node) && node->state != node_state::removed && node->disk == v.disk))
      wanted.push_back(v);
  }
  const auto votes = [&](node_id id) { return std::ranges::find(wanted, id, &voter::node) != wanted.end(); };
  for (const auto& [id, node] : image_->nodes) {
    if (node.state != node_state::active || goes(node) || node.disk.is_nil() || votes(id)) continue;
    (by_name(&node) ? wanted : able).push_back({id, node.disk});
  }

  const auto odd = [&](std::size_t nodes) -> std::size_t {
    const auto most = std::min(nodes, static_cast<std::size_t>(image_->voter_count));
    return most >= 5 ? 5 : most >= 3 ? 3 : 1;
  };
  const auto goal = odd(wanted.size() + able.size());
  const auto rack_of = [&](const voter& v) {
    const auto* node = image_->node(v.node);
    return node == nullptr ? std::string{} : node->rack;
  };
  while (wanted.size() < goal && !able.empty()) {
    // Who is drained is about to be taken down, likely.
    const auto less_fit = [&](const voter& v) {
      const auto in_rack = std::ranges::count_if(wanted, [&](const voter& w) { return rack_of(w) == rack_of(v); });
      return std::pair{image_->node(v.node)->orders.drained, in_rack};
    };
    const auto next = std::ranges::min_element(able, {}, less_fit);
    wanted.push_back(*next);
    able.erase(next);
  }
  // Who is down now, or has a new disk and cannot come in yet, may be a voter again soon: the set does not shrink for
  // it.
  std::size_t expected = 0;
  for (const auto& [id, node] : image_->nodes) expected += node.state != node_state::removed && !goes(node);
  // Who goes votes until somebody takes its place: with one of the others down, too few would be left.
  for (const auto& v : voters_) {
    const auto* node = image_->node(v.node);
    if (wanted.size() < odd(expected) && node != nullptr && goes(*node) && node->serves() && node->disk == v.disk)
      wanted.push_back(v);
  }
  std::ranges::sort(wanted);
  while (wanted.size() > odd(expected)) {
    // Those that are down first: a set without a majority of living ones could not be reached, or not be left again.
    const auto spare = [&](const voter& v) {
      const auto* node = image_->node(v.node);
      if (by_name(node)) return 0;
      return v.node == options_.self ? 1 : node != nullptr && node->serves() ? 2 : 3;
    };
    wanted.erase(std::next(std::ranges::max_element(wanted.rbegin(), wanted.rend(), {}, spare)).base());
  }
  return wanted;
}

void cluster_controller::say_voters(effects& out) {
  if (voters_.empty()) return;
  auto wanted = choose_voters();
  const auto ours = [this](const voter& v) { return v.node == options_.self; };
  votes_on_ = std::ranges::any_of(wanted, ours) || std::ranges::none_of(voters_, ours);
  // A quorum that loses its leader has to miss it first. We stay until somebody else leads.
  const bool stays = !votes_on_ && successor();
  if (stays) {
    wanted.push_back(*std::ranges::find_if(voters_, ours));
    std::ranges::sort(wanted);
  }
  // Also when nothing is to change: a set without us may have been asked for when nobody could follow us yet.
  if (wanted.empty() || (wanted == voters_ && !stays) || wanted == voters_said_) return;
  voters_said_ = wanted;
  out.push_back(want_voters{std::move(wanted)});
}

// -- the quorum's leadership ------------------------------------------------------------------------------

/// Another voter that could lead the quorum at once, and is not about to go itself; the one with the newest metadata.
std::optional<node_id> cluster_controller::successor() const {
  std::optional<node_id> best;
  const auto stay = choose_voters();
  for (const auto& v : voters_) {
    const auto* node = image_->node(v.node);
    if (v.node == options_.self || node == nullptr || !node->takes_on() || std::ranges::find(stay, v) == stay.end())
      continue;
    const auto& w = nodes_.at(v.node);
    if (w.wants_to_stop || w.farewell || own_gone(w) || now_ - w.heard >= options_.silent_after) continue;
    if (!best || w.applied > nodes_.at(*best).applied) best = v.node;
  }
  return best;
}

/// A controller that gives away what it has is needed for that; then it goes as well.
void cluster_controller::step_aside(instant now, effects& out) {
  if (in_flight_ || now < hand_over_again_at_) return;
  const auto* self = image_->node(options_.self);
  const bool given_away = self != nullptr && self->gives_away() && gave_away_;
  if (!given_away && votes_on_) return;
  const auto to = successor();
  if (!to) return;
  hand_over_again_at_ = now + hand_over_every;
  handing_over_ = true;
  out.push_back(hand_over{*to});
}

}  // namespace troupe
