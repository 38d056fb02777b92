#include "runtime/entities/router.hpp"

#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe::entities {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

router::router(sender_id self, router_settings settings, random_source random)
    : self_{self}, settings_{settings}, random_{random} {}

void router::kind_known(const std::string& kind, std::uint32_t shards) {
  TROUPE_CHECK(shards > 0);
  const auto known = kinds_.emplace(kind, shards).first;
  TROUPE_CHECK(known->second == shards);  // names would be elsewhere
}

router::effects router::owner_changed(const shard_id& shard, shard_owner_id owner, instant now) {
  effects out;
  auto& s = streams_[shard];
  if (owner.epoch < s.owner.epoch || owner == s.owner) return out;
  s.owner = owner;
  transmit_all(s, now, out);
  return out;
}

// -- callers ----------------------------------------------------------------------------------------------------------

result<router::effects> router::send(ticket of, const entity_name& name, shared_bytes payload, instant now) {
  if (name.kind.empty() || name.key.empty() || name.text().size() > entity_name::size_max)
    return {errc::invalid_request, "an entity's name is kind/key, of at most 512 bytes"};
  const auto kind = kinds_.find(name.kind);
  if (kind == kinds_.end()) return {errc::invalid_request, "no kind of entities is called " + name.kind};
  if (payload.size() > settings_.payload_max)
    return {errc::message_too_large, std::to_string(payload.size()) + " bytes for " + name.text() + ", at most " +
                                         std::to_string(settings_.payload_max)};
  const auto bytes = name.key.size() + payload.size();
  if (messages_ == settings_.messages_max || bytes_ + bytes > settings_.bytes_max)
    return {errc::busy, "too many messages to entities are without an answer"};

  const auto id = ++last_id_;
  const auto shard = shard_of(name, kind->second);
  auto& m = open_.emplace(id, open_message{of, shard, name.key, std::move(payload), now + settings_.give_up, {}})
                .first->second;
  ++messages_;
  bytes_ += bytes;
  set_due(m, id, m.deadline);
  auto& s = streams_[shard];
  s.waiting.push_back(id);
  effects out;
  fill_window(s, now, out);
  return out;
}

router::effects router::stopped(const error& why) {
  effects out;
  for (const auto& [_, m] : open_) out.push_back(ended{m.of, why});
  open_.clear();
  due_.clear();
  messages_ = bytes_ = 0;
  for (auto& [_, s] : streams_) {
    s.open.clear();
    s.waiting.clear();
  }
  return out;
}

// -- owners -----------------------------------------------------------------------------------------------------------

router::effects router::answered(const answer& a, instant now) {
  effects out;
  const auto [id, s] = std::visit([&](const auto& x) { return find(x.shard, x.sender, x.sequence); }, a);
  if (!s) return out;
  auto& m = open_.at(id);
  if (const auto* got = std::get_if<reply>(&a)) {
    end(id, got->payload, now, out);
  } else if (const auto* hint = std::get_if<moved>(&a); hint && hint->owner.epoch > s->owner.epoch) {
    // The other node's metadata is ahead of ours. An owner that is not one would only answer `moved` itself.
    s->owner = hint->owner;
    transmit_all(*s, now, out);
  } else {
    if (m.tries > 0) back_off(m, id, {}, now);
  }
  return out;
}

router::effects router::node_lost(node_id node, instant now) {
  for (auto& [id, m] : open_)
    if (m.tries > 0 && m.sent_to == node) back_off(m, id, {}, now);
  return {};
}

router::effects router::tick(instant now) {
  effects out;
  while (!due_.empty() && due_.begin()->first <= now) {
    const auto id = due_.begin()->second;
    auto& m = open_.at(id);
    if (now >= m.deadline) {
      auto& s = streams_.at(m.shard);
      const auto where = s.owner.node == node_id{-1} ? std::string{"the shard has no owner"}
                                                     : "no answer from node " + std::to_string(s.owner.node.value());
      end(id, error{errc::timed_out, m.shard.kind + '/' + m.key + ": " + where}, now, out);
    } else {
      transmit_again(streams_.at(m.shard), m, id, now, out);
    }
  }
  return out;
}

std::optional<instant> router::wakes_at() const {
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

// -- messages without an end ----------------------------------------------------------------------------------------

std::pair<router::message_id, router::stream*> router::find(const shard_id& shard, sender_id sender,
                                                            std::uint64_t sequence) {
  const auto s = streams_.find(shard);
  if (sender != self_ || s == streams_.end()) return {0, nullptr};
  const auto found = s->second.open.find(sequence);
  if (found == s->second.open.end()) return {0, nullptr};
  return {found->second, &s->second};
}

void router::fill_window(stream& s, instant now, effects& out) {
  while (!s.waiting.empty() && s.next - s.settled() < settings_.window) {
    const auto id = s.waiting.front();
    s.waiting.pop_front();
    auto& m = open_.at(id);
    m.sequence = s.next++;
    s.open.emplace(m.sequence, id);
    transmit_again(s, m, id, now, out);
  }
}

/// Without an owner it waits for metadata.
void router::transmit_again(stream& s, open_message& m, message_id id, instant now, effects& out) {
  m.sent_to = s.owner.node;
  if (m.sent_to == node_id{-1}) return set_due(m, id, m.deadline);
  out.push_back(transmit{m.sent_to, {m.shard, s.owner.epoch, self_, m.sequence, s.settled(), m.key, m.payload}});
  ++m.tries;
  back_off(m, id, settings_.answer_wait, now);
}

void router::transmit_all(stream& s, instant now, effects& out) {
  for (auto [_, id] : s.open) {
    auto& m = open_.at(id);
    m.tries = 0;
    transmit_again(s, m, id, now, out);
  }
}

/// Doubled with each try, half of it by chance, so that those who wait for the same thing do not come at once.
void router::back_off(open_message& m, message_id id, milliseconds at_least, instant now) {
  const auto whole = std::min(settings_.retry_min * (1u << std::min(m.tries - 1, 16u)), settings_.retry_max);
  const auto half = nanoseconds{whole} / 2;
  const auto wait = half + nanoseconds{random_.below(static_cast<std::uint64_t>(half.count()) + 1)};
  set_due(m, id, now + std::max<nanoseconds>(wait, at_least));
}

void router::set_due(open_message& m, message_id id, instant at) {
  due_.erase({m.due, id});
  m.due = std::min(at, m.deadline);
  due_.emplace(m.due, id);
}

void router::end(message_id id, result<shared_bytes> outcome, instant now, effects& out) {
  const auto found = open_.find(id);
  const auto m = std::move(found->second);
  open_.erase(found);
  due_.erase({m.due, id});
  --messages_;
  bytes_ -= m.bytes();
  auto& s = streams_.at(m.shard);
  if (m.sequence != 0) {
    s.open.erase(m.sequence);
  } else {
    std::erase(s.waiting, id);
  }
  if (outcome.ok() || holds(rule::nothing_dropped_silently)) out.push_back(ended{m.of, std::move(outcome)});
  fill_window(s, now, out);
}

}  // namespace troupe::entities
