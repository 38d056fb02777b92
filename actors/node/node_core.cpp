#include "actors/node/node_core.hpp"

#include <algorithm>

#include "runtime/base/overloaded.hpp"

/// The node's own life, its view of its peers, and who hears what. The quorum: node_quorum.cpp.
namespace troupe {

namespace {

cluster_controller::options for_node(cluster_controller::options o, node_id self) {
  o.self = self;
  return o;
}

}  // namespace

node_core::node_core(options o, raft_stored stored, witness& w, random_source random, instant now)
    : self_{o.agent.self.node, o.agent.self.disk},
      snapshot_every_{o.snapshot_every},
      request_wait_{o.request_wait},
      requests_max_{o.requests_max},
      detector_settings_{o.detector},
      seeds_{std::move(o.seeds)},
      witness_{w},
      random_{std::move(random)},
      topics_{o.topics},
      cluster_id_{o.agent.self.cluster_id},
      raft_{self_, o.raft, stored, random_source{random_()}, now},
      controller_{for_node(std::move(o.controller), self_.node), std::move(o.topics)},
      agent_{std::move(o.agent), random_source{random_()}, now} {
  if (stored.snapshot) install(*stored.snapshot);
}

node_core::effects node_core::finish() {
  return std::exchange(out_, {});
}

void node_core::say(node_id to, node_message message) {
  out_.push_back(send{to, std::move(message)});
}

void node_core::stop_with(std::optional<error> why) {
  if (!std::exchange(ended_, true)) out_.push_back(end{std::move(why)});
}

// -- the disk ---------------------------------------------------------------------------------------------------------

node_core::effects node_core::recovered(instant now, bool clean, std::vector<partition_ref> damaged) {
  perform(now, agent_.recovered(now, clean, std::move(damaged)));
  return tick(now);
}

node_core::effects node_core::written(instant now, std::uint64_t number) {
  if (!ended_) perform(now, raft_.written(now, number));
  return finish();
}

node_core::effects node_core::marked(instant now) {
  if (!ended_) perform(now, agent_.marked(now));
  return finish();
}

// -- the node's life --------------------------------------------------------------------------------------------------

node_core::effects node_core::tick(instant now) {
  if (ended_) return {};
  perform(now, raft_.tick(now));
  perform(now, agent_.controller_is(now, raft_.leader()));
  perform(now, agent_.tick(now));
  if (ended_) return finish();
  if (raft_.leads()) {
    if (const auto heard = raft_.majority_contact(now)) {
      controller_.quorum_heard(*heard);
      controller_.leads_on();
    } else {
      controller_.handing_over();
    }
  }
  perform(now, controller_.tick(now));
  tend_members(now);
  if (detector_) {
    if (const auto since = agent_.without_lease_since(now))
      detector_->lease_missing(*since);
    else
      detector_->lease_held();
    if (detector_->wakes_at() <= now) perform(now, detector_->tick(now));
    suspect(now, false);  // evidence gets newer while it lasts
  }
  finish_requests(now);
  lease_may_have_changed();
  return finish();
}

node_core::effects node_core::stop(instant now) {
  if (!ended_) perform(now, agent_.stop(now));
  return finish();
}

node_core::effects node_core::disk_is(instant now, bool full) {
  if (!ended_) perform(now, agent_.disk_is(now, full));
  return finish();
}

node_core::effects node_core::told(instant now, const metadata_image& image) {
  if (!ended_) perform(now, agent_.applied(now, image));
  return finish();
}

/// Whom to ask when nobody is known to lead: the seeds and the voters of the newest set, each in turn. Who was away for
/// long may know voters of whom none leads any more.
std::optional<node_id> node_core::any_voter() {
  auto voters = seeds_;
  for (const auto& m : raft_.members())
    if (m.voter) voters.push_back(m.peer.node);
  if (voters.empty()) return std::nullopt;
  return voters[asked_around_++ % voters.size()];
}

void node_core::perform(instant now, node_agent::effects&& todo) {
  const auto ask = [this](std::optional<node_id> to, node_message m) {
    if (!to) to = any_voter();
    if (to) say(*to, std::move(m));
  };
  for (auto& it : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](node_agent::send_registration& e) { ask(e.to, std::move(e.message)); },
                   [&](node_agent::send_heartbeat& e) {
                     if (e.via)
                       say(*e.via, relayed{std::move(e.message)});
                     else
                       ask(e.to, std::move(e.message));
                   },
                   [&](node_agent::send_farewell& e) { ask(e.to, e.message); },
                   [&](node_agent::accepted& e) {
                     cluster_id_ = e.cluster_id;
                     detector_.emplace(e.as, detector_settings_, random_source{random_()}, now);
                     out_.push_back(registered{e.as, std::move(e.cluster_id)});
                     metadata_changed(now);
                   },
                   [&](node_agent::write_mark& e) { out_.push_back(write_mark{e.node_epoch}); },
                   [&](node_agent::end_process& e) { stop_with(std::move(e.why)); },
               },
               it);
  }
}

void node_core::lease_may_have_changed() {
  clock_may_have_changed();
  if (lease_end_ == agent_.lease_end()) return;
  lease_end_ = agent_.lease_end();
  out_.push_back(leased{lease_end_});
}

/// Before there is a lease: what is served with it may be judged by the clock.
void node_core::clock_may_have_changed() {
  if (!agent_.wall() || line_ == agent_.wall()->line()) return;
  line_ = agent_.wall()->line();
  out_.push_back(clock{*line_});
}

// -- peers --------------------------------------------------------------------------------------------------------

void node_core::perform(instant now, membership::failure_detector::effects&& todo) {
  for (auto& it : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](membership::failure_detector::send& e) { say(e.to, std::move(e.message)); },
                   [&](membership::failure_detector::raised& e) {
                     witness_.suspects(e.suspicion);
                     if (e.suspicion.why == membership::cause::gone)
                       perform(now, raft_.peer_gone(now, e.suspicion.subject.node));
                     suspect(now, true);
                   },
                   [&](membership::failure_detector::cleared& e) {
                     witness_.trusts(e.subject);
                     suspect(now, false);
                   },
               },
               it);
  }
}

void node_core::suspect(instant now, bool at_once) {
  std::vector<node_agent::suspicion> all;
  for (const auto& s : detector_->suspicions()) all.push_back({s.subject, static_cast<suspicion_cause>(s.why), s.when});
  perform(now, agent_.suspects(now, std::move(all), at_once));
}

void node_core::look_at_members() {
  if (!detector_) return;
  for (const auto& [id, node] : image_->nodes) {
    if (node.state == node_state::removed)
      detector_->removed(id);
    else
      detector_->member({id, node.node_epoch});
  }
}

void node_core::seed(node_id node) {
  if (node != self_.node && std::find(seeds_.begin(), seeds_.end(), node) == seeds_.end()) seeds_.push_back(node);
}

node_core::effects node_core::link_lost(instant now, life peer, bool reset) {
  if (ended_) return {};
  for (auto& [from, it] : passed_on_)
    if (it.to == peer.node && !it.reply) it.until = now;
  finish_requests(now);
  if (!reset) return finish();
  witness_.link_broken(peer, true);
  perform(now, controller_.link_broken(now, peer, true, false));
  if (detector_) perform(now, detector_->link_reset(peer, now));
  return finish();
}

node_core::effects node_core::refused(instant now, node_id peer) {
  if (ended_) return {};
  if (const auto* node = image_->node(peer)) {
    witness_.link_broken({peer, node->node_epoch}, false);
    perform(now, controller_.link_broken(now, {peer, node->node_epoch}, false, true));
  }
  if (detector_) perform(now, detector_->connect_refused(peer, now));
  return finish();
}

node_core::effects node_core::heard_from(instant now, life peer) {
  if (!ended_ && detector_) perform(now, detector_->heard(peer, now));
  return finish();
}

// -- letters ----------------------------------------------------------------------------------------------------------

bool node_core::takes_from(std::string_view cluster_id) const {
  return cluster_id.empty() || cluster_id_.empty() || cluster_id == cluster_id_;
}

node_core::effects node_core::received(instant now, life from, const node_message& m) {
  if (ended_) return {};
  std::visit(overloaded{
                 [](const alter_isr_answer&) {},
                 [](const release_order&) {},
                 [](const replica_fetch&) {},
                 [](const replica_answer&) {},
                 [](const entities::message&) {},
                 [&](const auto& body) { hear(now, from, body); },
             },
             m);
  return finish();
}

node_core::effects node_core::to_controller(instant now, node_message m) {
  (void)now;
  if (ended_) return {};
  if (const auto leader = raft_.leader()) say(*leader, std::move(m));
  return finish();
}

void node_core::hear(instant now, life, const raft_message& m) {
  perform(now, raft_.step(now, m));
}
void node_core::hear(instant now, life from, const registration& m) {
  perform(now, controller_.registered(now, ticket_for({.asker = from.node}), m));
}
void node_core::hear(instant now, life, const registration_answer& m) {
  perform(now, agent_.received(now, m));
}
void node_core::hear(instant now, life, const heartbeat& m) {
  witness_.hears(m);
  perform(now, controller_.heard(now, ticket_for({.asker = m.from.node}), m));
}
void node_core::hear(instant now, life, const heartbeat_answer& m) {
  perform(now, agent_.received(now, m));
  lease_may_have_changed();
}
/// From the node itself: on to the controller. Passed on already: it is for us.
void node_core::hear(instant now, life from, const relayed& m) {
  if (const auto leader = raft_.leader(); m.message.from.node == from.node && leader && *leader != self_.node)
    return say(*leader, m);
  witness_.hears(m.message);
  perform(now, controller_.heard(now, ticket_for({.asker = m.message.from.node, .via = from.node}), m.message));
}
void node_core::hear(instant now, life, const relayed_answer& m) {
  if (m.asker != self_.node) return say(m.asker, m.message);
  perform(now, agent_.received(now, m.message));
  lease_may_have_changed();
}
void node_core::hear(instant now, life, const farewell& m) {
  witness_.hears(m);
  perform(now, controller_.said_farewell(now, m));
}
void node_core::hear(instant now, life from, const alter_isr& m) {
  perform(now, controller_.isr_asked(now, ticket_for({.asker = from.node}), m));
}
void node_core::hear(instant now, life, const log_ends& m) {
  perform(now, controller_.log_ends_are(now, m));
}
void node_core::hear(instant now, life, const shard_released& m) {
  perform(now, controller_.released(now, m));
}
void node_core::hear(instant now, life, const membership::message& m) {
  if (detector_) perform(now, detector_->received(m, now));
}

// -- requests -----------------------------------------------------------------------------------------------------

node_core::effects node_core::asked(instant now, ticket from, cluster_controller::request what) {
  const auto fail = [&](errc code, const char* why) {
    cluster_controller::outcome out;
    out.failed = error{code, why};
    out_.push_back(answer{from, std::move(out)});
  };
  const auto leader = raft_.leader();
  if (ended_)
    fail(errc::closed, "the node is stopping");
  else if (controller_.works())
    perform(now, controller_.asked(now, ticket_for({.id = from, .own = true}), std::move(what)));
  else if (!leader || *leader == self_.node)
    fail(errc::not_leader, "no controller is known at the moment: try again");
  else if (passed_on_.size() >= requests_max_)
    fail(errc::busy, "too many requests wait for the controller");
  else {
    passed_on_[from] = {*leader, now + request_wait_, {}};
    say(*leader, controller_request{from, std::move(what)});
  }
  return finish();
}

void node_core::hear(instant now, life from, const controller_request& m) {
  perform(now, controller_.asked(now, ticket_for({.asker = from.node, .id = m.id}), m.what));
}

void node_core::hear(instant now, life, const controller_reply& m) {
  const auto at = passed_on_.find(m.id);
  if (at == passed_on_.end()) return;
  at->second.reply = m;
  finish_requests(now);
}

/// Those whose answer came, once our own metadata shows what was done; and those that nobody will answer.
void node_core::finish_requests(instant now) {
  for (auto at = passed_on_.begin(); at != passed_on_.end();) {
    auto& [from, it] = *at;
    const bool late = it.until <= now;
    if (!late && !(it.reply && it.reply->applied <= image_->applied)) {
      ++at;
      continue;
    }
    cluster_controller::outcome out;
    if (it.reply)
      out = std::move(it.reply->what);
    else
      out.failed = error{errc::closed, "the controller did not answer: whether it was done shows in the metadata"};
    out_.push_back(answer{from, std::move(out)});
    at = passed_on_.erase(at);
  }
}

}  // namespace troupe
