#include "actors/controller/cluster_controller.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

/// The life of a controller, what waits for it, and its batches. Who is alive: cluster_nodes.cpp; partitions:
/// cluster_partitions.cpp; shards: cluster_shards.cpp; what operators ask for: cluster_requests.cpp.
namespace troupe {

cluster_controller::cluster_controller(options how, controller topics)
    : options_{std::move(how)}, topics_{std::move(topics)}, image_{std::make_shared<const metadata_image>()} {}

cluster_controller::effects cluster_controller::elected(instant now, std::shared_ptr<const metadata_image> image,
                                                        meta_offset no_op) {
  auto out = deposed();
  elected_ = true;
  now_ = elected_at_ = last_tick_ = now;
  balance_at_ = now + options_.balance_every;
  next_moves_at_ = now + options_.shard_settle;
  drain_moves_at_ = hand_over_again_at_ = now;
  no_op_ = no_op;
  image_ = std::move(image);
  watch_all(holds(rule::new_controller_heard_all) ? now : now - options_.deaf_after);
  start_if_applied();
  drive(now, out);
  return out;
}

cluster_controller::effects cluster_controller::deposed() {
  effects out;
  if (in_flight_) conclude(std::move(*std::exchange(in_flight_, {})), proposal_outcome::lost, out);
  for (const auto& w : queue_) out.push_back(answer{w.from, refusal(w, errc::not_leader)});
  const auto numbers = batches_;  // the answer to a batch of an earlier time must not be taken for a later one's
  cluster_controller fresh{std::move(options_), std::move(topics_)};
  fresh.image_ = std::move(image_);
  fresh.links_ = std::move(links_);
  *this = std::move(fresh);
  batches_ = numbers;
  return out;
}

void cluster_controller::handing_over() {
  handing_over_ = true;
}

void cluster_controller::leads_on() {
  handing_over_ = false;
}

void cluster_controller::quorum_heard(instant sent) {
  if (!quorum_heard_ || sent > *quorum_heard_) quorum_heard_ = sent;
}

void cluster_controller::start_if_applied() {
  if (elected_ && (image_->applied >= no_op_ || !holds(rule::controller_waits_for_no_op))) works_ = true;
}

cluster_controller::effects cluster_controller::applied(instant now, std::shared_ptr<const metadata_image> image) {
  effects out;
  now_ = now;
  image_ = std::move(image);
  if (!elected_) return out;
  watch_all(now);
  std::erase_if(fencing_, [&](node_id id) {
    const auto* node = image_->node(id);
    return node == nullptr || !node->serves();
  });
  start_if_applied();
  drive(now, out);
  return out;
}

cluster_controller::effects cluster_controller::proposal_ended(instant now, std::uint64_t number,
                                                               proposal_outcome how) {
  effects out;
  now_ = now;
  if (!in_flight_ || in_flight_->number != number) return out;
  conclude(std::move(*std::exchange(in_flight_, {})), how, out);
  // After a refusal the next tick tries again; at once it would be refused again.
  if (how == proposal_outcome::done) drive(now, out);
  return out;
}

cluster_controller::effects cluster_controller::tick(instant now) {
  effects out;
  now_ = now;
  if (!elected_) return out;
  excuse_silence(now);
  last_tick_ = now;
  drive(now, out);
  return out;
}

/// What arrived while we stood still lies in the mailbox: for that time nobody was silent. Any of it may be what we see
/// first when we go on.
void cluster_controller::excuse_silence(instant now) {
  const auto gap = now - last_tick_;
  if (gap <= options_.late_tick) return;
  for (auto& [id, w] : nodes_) w.heard = std::min(w.heard + gap, now);
  last_tick_ = now;
}

// -- what waits -------------------------------------------------------------------------------------------

void cluster_controller::enqueue(waiting w, effects& out) {
  if (!elected_ || queue_.size() >= options_.requests_max) {
    out.push_back(answer{w.from, refusal(w, elected_ ? errc::busy : errc::not_leader)});
    return;
  }
  queue_.push_back(std::move(w));
  drive(now_, out);
}

cluster_controller::verdict cluster_controller::refusal(const waiting& w, errc why) {
  if (const auto* r = std::get_if<registration>(&w.what))
    return registration_answer{registration_answer::verdict::later, r->start, -1, {}, node_id{-1}, r->disk};
  if (const auto* c = std::get_if<alter_isr>(&w.what))
    return alter_isr_answer{c->where, c->epoch, c->partition_epoch, alter_isr_answer::outcome::later, {}};
  outcome failed;
  failed.failed = error{why, why == errc::not_leader ? "this node is not the controller"
                             : why == errc::busy     ? "the controller has too much to do"
                                                     : "the controller was deposed; it may have happened"};
  return failed;
}

cluster_controller::effects cluster_controller::registered(instant now, ticket from, const registration& r) {
  effects out;
  now_ = now;
  // Repeated until answered: one of them is enough.
  std::erase_if(queue_, [&](const waiting& w) {
    const auto* other = std::get_if<registration>(&w.what);
    if (other == nullptr || other->node != r.node || other->disk != r.disk || other->start != r.start) return false;
    out.push_back(answer{w.from, refusal(w, errc::busy)});
    return true;
  });
  enqueue({from, r}, out);
  return out;
}

cluster_controller::effects cluster_controller::isr_asked(instant now, ticket from, const alter_isr& c) {
  effects out;
  now_ = now;
  enqueue({from, c}, out);
  return out;
}

cluster_controller::effects cluster_controller::asked(instant now, ticket from, request r) {
  effects out;
  now_ = now;
  enqueue({from, std::move(r)}, out);
  return out;
}

// -- batches ----------------------------------------------------------------------------------------------

void cluster_controller::drive(instant now, effects& out) {
  excuse_silence(now);
  if (!works_ || in_flight_ || handing_over_) return;
  draft d{image_};
  batch b;
  b.number = ++batches_;
  if (image_->cluster_id.empty()) d.add(topics_.form_cluster());
  fence_silent(d, b, now);
  serve_waiting(d, b, now);
  activate_ready(d, b, now);
  note_full_disks(d, b, now);
  drain(d, b);
  keep_partitions(d, b, now);
  keep_internal_topics(d, now);
  keep_shards(d, b, now, out);
  d.flush();
  if (auto records = d.take(); !records.empty()) {
    out.push_back(propose{b.number, std::move(records)});
    in_flight_ = std::move(b);
  } else {
    conclude(std::move(b), proposal_outcome::done, out);
  }
  say_voters(out);
  step_aside(now, out);
}

void cluster_controller::serve_waiting(draft& d, batch& b, instant now) {
  while (!queue_.empty() && !full(d)) {
    auto& w = queue_.front();
    std::optional<reply> told;
    if (const auto* r = std::get_if<registration>(&w.what))
      told = judge(d, b, *r, now);
    else if (const auto* c = std::get_if<alter_isr>(&w.what))
      told = judge(d, *c);
    else
      told = decide(d, b, std::get<request>(w.what));
    if (!told) return;  // takes more than one batch
    b.replies.emplace_back(std::move(w), std::move(*told));
    queue_.pop_front();
  }
}

void cluster_controller::conclude(batch&& b, proposal_outcome how, effects& out) {
  if (how == proposal_outcome::done)
    for (const auto& note : b.notes) out.push_back(note);
  for (const auto& [w, told] : b.replies) {
    if (how == proposal_outcome::done)
      out.push_back(answer{w.from, told(*image_)});
    else
      out.push_back(answer{w.from, refusal(w, how == proposal_outcome::lost ? errc::closed : errc::busy)});
  }
  if (how != proposal_outcome::done) look_again_ = true;
}

}  // namespace troupe
