#include <algorithm>

#include "actors/node/node_core.hpp"
#include "runtime/base/check.hpp"
#include "runtime/base/overloaded.hpp"

/// The node as a member of the metadata quorum, and as the controller where it leads.
namespace troupe {

raft_snapshot node_core::founding(const raft_peer& self) {
  raft_snapshot s;
  s.members = {{self, true}};
  return s;
}

// -- the quorum -------------------------------------------------------------------------------------------------------

void node_core::perform(instant now, raft::effects&& todo) {
  for (auto& it : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](raft::write& e) { out_.push_back(write{std::move(e)}); },
                   [&](raft::send& e) {
                     witness_.sends(e.message);
                     const auto to = e.message.to.node;
                     say(to, std::move(e.message));
                   },
                   [&](raft::commit& e) { commit(now, e); },
                   [&](raft::install& e) {
                     install(*e.snapshot);
                     metadata_changed(now);
                   },
                   [&](raft::proposed& e) { proposal_ended(now, e); },
                   [&](raft::read_ready&) {},
                   [&](raft::changed&) { changing_members_ = false; },
                   [&](raft::leading& e) { quorum_led(now, e); },
                   [&](raft::stepped_down& e) {
                     witness_.leads_no_more(e.term);
                     no_op_.reset();
                     perform(now, controller_.deposed());
                   },
                   [&](raft::stop& e) {
                     witness_.quorum_stops(e.why);
                     stop_with(error{errc::storage_damaged, e.why});
                   },
               },
               it);
  }
}

void node_core::quorum_led(instant now, const raft::leading& e) {
  witness_.leads(e.term);
  proposer_ = {random_() | 1, raft_.committed()};
  proposals_ = 0;
  batches_.clear();
  no_op_ = meta_offset{e.index.value()};
  witness_.controls();
  if (!image_->cluster_id.empty()) return perform(now, controller_.elected(now, image_, *no_op_));
  // The first record of all: everybody else's log begins with it.
  ++proposals_;
  propose(now, {topics_.form_cluster()});
}

void node_core::propose(instant now, const std::vector<metadata_record>& records) {
  perform(now, raft_.propose(now, proposer_, proposals_, shared_bytes::own(encode_all(records))));
}

void node_core::proposal_ended(instant now, const raft::proposed& e) {
  const auto at = batches_.find(e.sequence);
  if (e.client != proposer_ || at == batches_.end()) return;
  const auto batch = at->second;
  batches_.erase(at);
  using outcome = cluster_controller::proposal_outcome;
  const auto how = e.outcome == raft_outcome::done || e.outcome == raft_outcome::repeated     ? outcome::done
                   : e.outcome == raft_outcome::lost || e.outcome == raft_outcome::not_leader ? outcome::lost
                                                                                              : outcome::not_taken;
  perform(now, controller_.proposal_ended(now, batch, how));
}

void node_core::commit(instant now, raft::commit& c) {
  auto next = std::make_shared<metadata_image>(*image_);
  for (const auto& [entry, outcome] : c.entries) {
    const meta_offset at{entry.index.value()};
    if (entry.kind == raft_entry::kind_t::command && outcome == raft_outcome::done) {
      const auto records = decode_all_metadata_records(entry.payload);
      TROUPE_CHECK(records.ok());
      witness_.applies(*records, *next);
      next->apply(at, *records);
    } else {
      next->pass(at);
    }
    witness_.applied(entry, *next);
  }
  const bool formed = image_->cluster_id.empty() && !next->cluster_id.empty();
  image_ = std::move(next);
  if (formed && no_op_) perform(now, controller_.elected(now, image_, *no_op_));
  metadata_changed(now);
  take_snapshot(now);
}

void node_core::install(const raft_snapshot& s) {
  if (s.image.empty()) return;  // the beginning of a cluster
  const auto records = decode_all_metadata_records(s.image);
  TROUPE_CHECK(records.ok());
  image_ = std::make_shared<const metadata_image>(metadata_image::restore(meta_offset{s.index.value()}, *records));
}

void node_core::take_snapshot(instant now) {
  if (raft_.committed() - raft_.snapshot_index() < snapshot_every_) return;
  auto s = std::make_shared<raft_snapshot>(raft_.head());
  s->image = shared_bytes::own(encode_all(image_->snapshot()));
  perform(now, raft_.compacted(std::move(s)));
}

void node_core::metadata_changed(instant now) {
  if (ended_) return;
  // First of all: whoever is answered because of it sees it.
  out_.push_back(metadata{image_});
  perform(now, controller_.applied(now, image_));
  look_at_members();
  finish_requests(now);
}

/// Brings the quorum's members to what the controller wants: its voters, and every other node as a learner. Who comes,
/// comes first: a set that shrinks before it grows stands one failure less meanwhile.
void node_core::tend_members(instant now) {
  if (changing_members_ || !raft_.leads()) return;
  const auto& members = raft_.members();
  std::vector<cluster_controller::voter> voters;
  for (const auto& m : members)
    if (m.voter) voters.push_back({m.peer.node, m.peer.disk});
  perform(now, controller_.voters_are(now, voters));
  const auto change = [&](raft_peer peer, raft::part part) {
    changing_members_ = true;
    perform(now, raft_.change(now, ++changes_, peer, part));
  };
  const auto wanted = [&](const raft_peer& peer) {
    return std::any_of(wanted_voters_.begin(), wanted_voters_.end(),
                       [&](const auto& v) { return v.node == peer.node && v.disk == peer.disk; });
  };
  for (const auto& [id, node] : image_->nodes)
    if (node.state != node_state::removed &&
        std::none_of(members.begin(), members.end(), [&, n = id](const auto& m) { return m.peer.node == n; }))
      return change({id, node.disk}, raft::part::learner);
  for (const auto& m : members)
    if (!m.voter && wanted(m.peer)) return change(m.peer, raft::part::voter);
  for (const auto& m : members) {
    const auto* node = image_->node(m.peer.node);
    if (!node) continue;  // the founder, before it is registered
    if (node->state == node_state::removed || node->disk != m.peer.disk) return change(m.peer, raft::part::none);
    if (m.voter && !wanted(m.peer) && !wanted_voters_.empty()) return change(m.peer, raft::part::learner);
  }
}

// -- the controller ---------------------------------------------------------------------------------------------------

cluster_controller::ticket node_core::ticket_for(route r) {
  routes_.emplace(next_ticket_, r);
  return next_ticket_++;
}

void node_core::perform(instant now, cluster_controller::effects&& todo) {
  for (auto& it : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](cluster_controller::propose& e) {
                     witness_.proposes(e.records);
                     batches_[++proposals_] = e.batch;
                     propose(now, e.records);
                   },
                   [&](cluster_controller::answer& e) {
                     const auto at = routes_.find(e.to);
                     if (at == routes_.end()) return;
                     const auto to = at->second;
                     routes_.erase(at);
                     deliver(to, std::move(e.what));
                   },
                   [&](cluster_controller::want_voters& e) { wanted_voters_ = std::move(e.voters); },
                   [&](cluster_controller::hand_over& e) { perform(now, raft_.hand_over(now, e.to)); },
                   [&](cluster_controller::release_shard& e) {
                     say(e.owner.node, release_order{std::move(e.kind), e.shard, e.epoch});
                   },
                   [&](cluster_controller::noted& e) { witness_.notes(e); },
               },
               it);
  }
}

void node_core::deliver(const route& to, decltype(cluster_controller::answer::what) what) {
  std::visit(overloaded{
                 [&](registration_answer& a) {
                   if (const auto leader = raft_.leader(); leader && leader != self_.node) a.controller = *leader;
                   say(to.asker, std::move(a));
                 },
                 [&](heartbeat_answer& a) {
                   if (to.via.value() >= 0)
                     say(to.via, relayed_answer{to.asker, a});
                   else
                     say(to.asker, a);
                 },
                 [&](alter_isr_answer& a) { say(to.asker, std::move(a)); },
                 [&](cluster_controller::outcome& a) {
                   if (to.own)
                     out_.push_back(answer{to.id, std::move(a)});
                   else
                     say(to.asker, controller_reply{to.id, image_->applied, std::move(a)});
                 },
             },
             what);
}

}  // namespace troupe
