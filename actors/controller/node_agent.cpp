#include "actors/controller/node_agent.hpp"

#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe {

node_agent::node_agent(options how, random_source random, instant now)
    : options_{std::move(how)},
      random_{random},
      registration_{options_.self},
      later_wait_{options_.register_again},
      began_{now},
      lease_end_{now} {
  self_.node = registration_.node;
}

// -- registering ------------------------------------------------------------------------------------------

node_agent::effects node_agent::recovered(instant now, bool clean, std::vector<partition_ref> damaged) {
  effects out;
  if (stage_ != stage::recovering) return out;
  registration_.clean = clean;
  registration_.damaged = std::move(damaged);
  stage_ = stage::registering;
  ask_to_register(now, out);
  return out;
}

void node_agent::ask_to_register(instant now, effects& out) {
  next_send_ = now + options_.register_every;
  referred_ = false;
  out.push_back(send_registration{controller_, registration_});
}

node_agent::effects node_agent::received(instant now, const registration_answer& a) {
  effects out;
  if (stage_ != stage::registering || a.start != registration_.start) return out;
  if (!a.disk.is_nil() && a.disk != registration_.disk) return out;
  using verdict = registration_answer::verdict;
  switch (a.what) {
    case verdict::later:
      // Once a try: two nodes that are wrong could send us to and fro.
      if (a.controller.value() >= 0 && !std::exchange(referred_, true))
        out.push_back(send_registration{a.controller, registration_});
      // A controller that begins says so for a moment; other reasons last longer.
      next_send_ = std::min(next_send_, now + later_wait_);
      later_wait_ = std::min(later_wait_ * 2, options_.register_every);
      break;
    case verdict::accepted:
      become(now, a.node_epoch, a.cluster_id, out);
      break;
    case verdict::wrong_cluster:
      give_up({errc::wrong_format, "this disk belongs to cluster " + registration_.cluster_id + ", not to this one"},
              now, out);
      break;
    case verdict::superseded:
      give_up({errc::fenced_epoch, "a later process on this disk is part of the cluster"}, now, out);
      break;
    case verdict::invalid:
      give_up({errc::invalid_request, "the cluster refuses what this node says about itself"}, now, out);
      break;
  }
  return out;
}

void node_agent::become(instant now, std::int64_t epoch, const std::string& cluster_id, effects& out) {
  self_.epoch = epoch;
  stage_ = stage::catching_up;
  answered_at_ = now;
  registration_.cluster_id = cluster_id;
  out.push_back(accepted{self_, cluster_id});
  beat(now, out);
}

node_agent::effects node_agent::applied(instant now, const metadata_image& image) {
  effects out;
  applied_ = image.applied;
  know();
  peers_.clear();
  for (const auto& [id, node] : image.nodes)
    if (id != self_.node && node.serves()) peers_.push_back(id);
  const auto* me = image.node(self_.node);
  if (me == nullptr || ended()) return out;

  const bool this_life = me->disk == registration_.disk && me->start == registration_.start;
  if (stage_ == stage::registering && this_life) become(now, me->node_epoch, image.cluster_id, out);
  const bool caught_up = stage_ == stage::catching_up && this_life;
  if (caught_up) stage_ = stage::serving;
  // Clients are told of a node from the moment that it serves: it asks for its lease at once.
  const bool served = std::exchange(listed_, this_life && me->serves());
  if (caught_up || (listed_ && !served && stage_ == stage::serving && !has_lease(now))) beat(now, out);
  if (self_.epoch >= 0 && me->node_epoch > self_.epoch && holds(rule::epoch_fences_former_life))
    give_up({errc::fenced_epoch, "a later process of this node is part of the cluster"}, now, out);
  return out;
}

// -- heartbeats and the lease -----------------------------------------------------------------------------

node_agent::effects node_agent::tick(instant now) {
  effects out;
  // Without a lease it serves nothing any more, so there is nothing to hand over either.
  if (stage_ == stage::draining && (now >= drain_until_ || !has_lease(now))) {
    finish(now, out);
    return out;
  }
  if (now < next_send_) return out;
  if (stage_ == stage::registering) ask_to_register(now, out);
  if (beats()) beat(now, out);
  return out;
}

void node_agent::beat(instant now, effects& out) {
  next_send_ = now + (stage_ == stage::draining ? options_.heartbeat_every_waiting : options_.heartbeat_every);
  heartbeat h{self_, applied_, now};
  h.ready = stage_ != stage::catching_up;
  h.wants_to_stop = stage_ == stage::draining;
  for (const auto& s : suspicions_)
    h.suspicions.push_back(
        {s.subject, s.why, std::chrono::duration_cast<std::chrono::milliseconds>(std::max(now - s.when, {}))});
  h.unreachable = unreachable_;
  h.disk_full = disk_full_;
  if (wall_) h.wall = wall_->reading(now);
  if (now - answered_at_ >= options_.relay_after) {
    auto relays = peers_;
    std::erase_if(relays, [&](node_id id) { return id == controller_; });
    for (std::size_t i = 0; i < relays.size() && i < options_.relays; ++i) {
      std::swap(relays[i], relays[i + random_.below(relays.size() - i)]);
      out.push_back(send_heartbeat{controller_, relays[i], h});
    }
  }
  out.push_back(send_heartbeat{controller_, {}, std::move(h)});
}

node_agent::effects node_agent::received(instant now, const heartbeat_answer& a) {
  effects out;
  // Whoever is cut off from the controller alone asks others at random. That they answer must not keep it from relays.
  if (!beats() || a.to.node != self_.node || !a.from_controller) return out;
  if (a.to.epoch != self_.epoch && holds(rule::epoch_fences_former_life)) {
    if (a.to.epoch > self_.epoch)
      give_up({errc::fenced_epoch, "a later process of this node is part of the cluster"}, now, out);
    return out;
  }
  // Our own moment comes back; anything else is nonsense, and no lease comes of it.
  if (a.sent > now || a.sent < began_) return out;
  answered_at_ = std::max(answered_at_, a.sent);
  if (wall_) wall_->judged(now, a.clocks);
  // From the sending on: how long the answer took, the controller does not know.
  if (a.granted)
    lease_end_ = std::max(lease_end_, (holds(rule::lease_from_sending) ? a.sent : now) + options_.lease);
  else
    next_send_ = std::min(next_send_, now + options_.heartbeat_every_waiting);
  // The oldest first: under a stream of changes the newest might never be reached.
  if (a.granted && !lacks_) lacks_ = {a.sent, a.applied};
  know();
  if ((a.may_stop && stage_ == stage::draining) || a.state == node_state::removed) finish(now, out);
  return out;
}

void node_agent::know() {
  if (!lacks_ || applied_ < lacks_->applied) return;
  known_at_ = std::max(known_at_, lacks_->sent);
  lacks_.reset();
}

std::optional<instant> node_agent::without_lease_since(instant now) const noexcept {
  return has_lease(now) ? std::nullopt : std::optional{lease_end_};
}

node_agent::effects node_agent::controller_is(instant now, std::optional<node_id> id) {
  effects out;
  if (id == controller_) return out;
  controller_ = id;
  later_wait_ = options_.register_again;
  // A new controller has heard nobody yet: the sooner it does, the better.
  if (id && stage_ == stage::registering) ask_to_register(now, out);
  if (id && beats()) beat(now, out);
  return out;
}

node_agent::effects node_agent::suspects(instant now, std::vector<suspicion> all, bool at_once) {
  effects out;
  suspicions_ = std::move(all);
  if (at_once && beats()) beat(now, out);
  return out;
}

void node_agent::cannot_reach(std::vector<life> leaders) {
  unreachable_ = std::move(leaders);
}

node_agent::effects node_agent::disk_is(instant now, bool full) {
  effects out;
  if (std::exchange(disk_full_, full) != full && beats()) beat(now, out);
  return out;
}

void node_agent::wall_read(instant now, wall_time reading) {
  if (wall_)
    wall_->read(now, reading);
  else
    wall_.emplace(now, reading);
}

// -- the end ----------------------------------------------------------------------------------------------

node_agent::effects node_agent::stop(instant now) {
  effects out;
  if (stage_ == stage::serving) {
    stage_ = stage::draining;
    drain_until_ = now + options_.drain_wait;
    beat(now, out);
  } else if (stage_ != stage::draining && !ended()) {
    finish(now, out);
  }
  return out;
}

/// From here on nothing is served, whatever the lease said.
void node_agent::finish(instant now, effects& out) {
  stage_ = stage::marking;
  lease_end_ = std::min(lease_end_, now);
  out.push_back(write_mark{self_.epoch});
}

node_agent::effects node_agent::marked(instant) {
  effects out;
  if (stage_ != stage::marking) return out;
  stage_ = stage::stopped;
  if (self_.epoch >= 0) out.push_back(send_farewell{controller_, {self_}});
  out.push_back(end_process{});
  return out;
}

void node_agent::give_up(error why, instant now, effects& out) {
  stage_ = stage::stopped;
  lease_end_ = std::min(lease_end_, now);
  out.push_back(end_process{std::move(why)});
}

}  // namespace troupe
