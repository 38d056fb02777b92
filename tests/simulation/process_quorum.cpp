#include <algorithm>

#include "runtime/base/overloaded.hpp"
#include "tests/simulation/process.hpp"

/// The process as a member of the metadata quorum, and as the controller where raft leads.
namespace troupe::sim {

// -- raft -----------------------------------------------------------------------------------------------------

void process::perform(raft::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](raft::write& e) { take(e); },
                   [&](raft::send& e) {
                     show_vote(e.message);
                     send(e.message.to.node, std::move(e.message));
                   },
                   [&](raft::commit& e) { take(e); },
                   [&](raft::install& e) {
                     take(e);
                     metadata_changed();
                   },
                   [&](raft::proposed& e) {
                     const auto at = batches_.find(e.sequence);
                     if (e.client != proposer_ || at == batches_.end()) return;
                     const auto batch = at->second;
                     batches_.erase(at);
                     using outcome = cluster_controller::proposal_outcome;
                     const auto how = e.outcome == raft_outcome::done || e.outcome == raft_outcome::repeated
                                          ? outcome::done
                                      : e.outcome == raft_outcome::lost || e.outcome == raft_outcome::not_leader
                                          ? outcome::lost
                                          : outcome::not_taken;
                     perform(controller_.proposal_ended(now(), batch, how));
                   },
                   [&](raft::read_ready&) {},
                   [&](raft::changed&) { changing_members_ = false; },
                   [&](raft::leading& e) {
                     tell("leads the quorum in term " + std::to_string(e.term.value()));
                     world_.watcher.leads_quorum(machine_.id, e.term);
                     proposer_ = {world_.ground.random()() | 1, raft_->committed()};
                     proposals_ = 0;
                     batches_.clear();
                     no_op_ = meta_offset{e.index.value()};
                     world_.watcher.controls(*this);
                     if (image_->cluster_id.empty())
                       form_cluster();
                     else
                       perform(controller_.elected(now(), image_, *no_op_));
                   },
                   [&](raft::stepped_down&) {
                     tell("leads the quorum no more");
                     no_op_.reset();
                     perform(controller_.deposed());
                   },
                   [&](raft::stop& e) {
                     world_.watcher.broken("n" + std::to_string(machine_.id.value()) + " raft stops: " + e.why);
                     end(e.why);
                   },
               },
               effect);
  }
}

void process::show_vote(const raft_message& m) {
  if (std::holds_alternative<raft_vote>(m.body)) return world_.watcher.voted(m.from, m.term, m.from);
  const auto* reply = std::get_if<raft_vote_reply>(&m.body);
  if (reply && reply->granted) world_.watcher.voted(m.from, m.term, m.to);
}

void node_disk::take_one() {
  const auto w = std::move(writing.front());
  writing.pop_front();
  if (w.snapshot) stored.snapshot = w.snapshot;
  if (w.hard) stored.hard = w.hard;
  if (w.cut_from) std::erase_if(stored.entries, [&](const raft_entry& e) { return e.index >= *w.cut_from; });
  if (w.drop_before) std::erase_if(stored.entries, [&](const raft_entry& e) { return e.index < *w.drop_before; });
  stored.entries.insert(stored.entries.end(), w.entries.begin(), w.entries.end());
}

void process::take(raft::write& w) {
  disk_.writing.push_back(std::move(w));
  if (!std::exchange(writing_, true)) write_all();
}

/// What waits is written together, in the time that a sync takes; what comes meanwhile waits for the next.
void process::write_all() {
  const auto took = world_.ground.between(machine_.pace.sync_min, machine_.pace.sync_max);
  machine_.in(took, [this, count = disk_.writing.size(), last = disk_.writing.back().number] {
    for (auto i = count; i > 0; --i) disk_.take_one();
    writing_ = !disk_.writing.empty();
    if (writing_) write_all();
    if (!ended_) perform(raft_->written(now(), last));
  });
}

void process::take(raft::commit& c) {
  auto next = std::make_shared<metadata_image>(*image_);
  for (const auto& [entry, outcome] : c.entries) {
    const meta_offset at{entry.index.value()};
    if (entry.kind == raft_entry::kind_t::command && outcome == raft_outcome::done) {
      const auto records = decode_all_metadata_records(entry.payload);
      TROUPE_CHECK(records.ok());
      next->apply(at, *records);
    } else {
      next->pass(at);
    }
    world_.watcher.applied(machine_.id, entry, *next);
  }
  const bool formed = image_->cluster_id.empty() && !next->cluster_id.empty();
  image_ = std::move(next);
  if (formed && no_op_) perform(controller_.elected(now(), image_, *no_op_));
  metadata_changed();
  take_snapshot();
}

/// The first record of all: everybody else's log begins with it.
void process::form_cluster() {
  const metadata_record formed = cluster_formed{world_.ground.new_id().text()};
  perform(raft_->propose(now(), proposer_, ++proposals_, shared_bytes::own(encode_all(std::span{&formed, 1}))));
}

void process::take(const raft::install& e) {
  if (e.snapshot->image.empty()) return;  // the beginning of a cluster
  const auto records = decode_all_metadata_records(e.snapshot->image);
  TROUPE_CHECK(records.ok());
  image_ =
      std::make_shared<const metadata_image>(metadata_image::restore(meta_offset{e.snapshot->index.value()}, *records));
}

void process::take_snapshot() {
  if (raft_->committed() - raft_->snapshot_index() < 200) return;
  auto s = std::make_shared<raft_snapshot>(raft_->head());
  s->image = shared_bytes::own(encode_all(image_->snapshot()));
  perform(raft_->compacted(std::move(s)));
}

void process::metadata_changed() {
  if (ended_) return;
  perform(controller_.applied(now(), image_));
  perform(agent_.applied(now(), *image_));
  if (detector_)
    for (const auto& [id, node] : image_->nodes) {
      if (node.state == node_state::removed)
        detector_->removed(id);
      else
        detector_->member({id, node.node_epoch});
    }
  assign_replicas();
  if (entities_) entities_->metadata_changed();
}

/// Brings the quorum's members to what the controller wants: its voters, and every other node as a learner. Who comes,
/// comes first: a set that shrinks before it grows stands one failure less meanwhile.
void process::tend_members() {
  if (changing_members_ || !raft_ || !raft_->leads()) return;
  const auto& members = raft_->members();
  std::vector<cluster_controller::voter> voters;
  for (const auto& m : members)
    if (m.voter) voters.push_back({m.peer.node, m.peer.disk});
  perform(controller_.voters_are(now(), voters));
  auto change = [&](raft_peer peer, raft::part part) {
    changing_members_ = true;
    perform(raft_->change(now(), ++next_ticket_, peer, part));
  };
  auto wanted = [&](const raft_peer& peer) {
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

// -- controller -----------------------------------------------------------------------------------------------

cluster_controller::ticket process::ticket_for(route r) {
  routes_.emplace(next_ticket_, r);
  return next_ticket_++;
}

bool process::ask(cluster_controller::request what, std::function<void(cluster_controller::outcome)> answer) {
  if (ended_ || !controller_.works()) return false;
  asked_.emplace(next_ticket_, std::move(answer));
  const auto ticket = next_ticket_++;
  perform(controller_.asked(now(), ticket, std::move(what)));
  return true;
}

void process::perform(cluster_controller::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](cluster_controller::propose& e) {
                     world_.watcher.decides(*this, e.records);
                     batches_[++proposals_] = e.batch;
                     perform(raft_->propose(now(), proposer_, proposals_, shared_bytes::own(encode_all(e.records))));
                   },
                   [&](cluster_controller::answer& e) {
                     if (auto* outcome = std::get_if<cluster_controller::outcome>(&e.what)) {
                       const auto at = asked_.find(e.to);
                       if (at == asked_.end()) return;
                       auto told = std::move(at->second);
                       asked_.erase(at);
                       return told(std::move(*outcome));
                     }
                     const auto at = routes_.find(e.to);
                     if (at == routes_.end()) return;
                     const auto to = at->second;
                     routes_.erase(at);
                     std::visit(overloaded{
                                    [&](registration_answer& a) {
                                      if (const auto leader = raft_->leader(); leader && leader != machine_.id)
                                        a.controller = *leader;
                                      send(to.asker, std::move(a));
                                    },
                                    [&](heartbeat_answer& a) {
                                      if (to.via.value() >= 0)
                                        send(to.via, relayed_answer{to.asker, a});
                                      else
                                        send(to.asker, a);
                                    },
                                    [&](alter_isr_answer& a) { send(to.asker, std::move(a)); },
                                    [&](cluster_controller::outcome&) {},
                                },
                                e.what);
                   },
                   [&](cluster_controller::want_voters& e) { wanted_voters_ = e.voters; },
                   [&](cluster_controller::release_shard& e) {
                     send(e.owner.node, release_order{e.kind, e.shard, e.epoch});
                   },
                   [&](cluster_controller::noted& e) {
                     static constexpr const char* names[] = {
                         "registered", "fenced",    "active",        "draining",
                         "removed",    "no_leader", "possible_loss", "shard_move_given_up"};
                     tell(std::string{"controller: "} + names[static_cast<int>(e.what)] + " node " +
                          std::to_string(e.node.value()) +
                          (e.where ? " partition " + std::to_string(e.where->index.value()) : ""));
                   },
               },
               effect);
  }
}

}  // namespace troupe::sim
