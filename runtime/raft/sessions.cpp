#include "runtime/raft/sessions.hpp"

#include "runtime/base/rules.hpp"

namespace troupe {

raft_session_table::raft_session_table(const raft_sessions& from, std::size_t clients_max)
    : clients_max_{clients_max}, forgotten_{from.forgotten} {
  for (auto& s : from.known) {
    known_[s.client] = {s.sequence, s.used};
    by_use_[s.used] = s.client;
  }
}

raft_outcome raft_session_table::apply(const raft_entry& e) {
  if (e.client.id == 0 || !holds(rule::command_once)) return raft_outcome::done;
  auto found = known_.find(e.client);
  if (found == known_.end()) {
    if (e.client.born < forgotten_) return raft_outcome::expired;
    if (e.sequence != 1) return raft_outcome::out_of_order;
    found = known_.emplace(e.client, session{}).first;
  } else {
    if (e.sequence <= found->second.sequence) return raft_outcome::repeated;
    // A command that overtook another: taken now, the other would later pass for a repeat.
    if (e.sequence != found->second.sequence + 1) return raft_outcome::out_of_order;
    by_use_.erase(found->second.used);
  }
  found->second = {e.sequence, e.index};
  by_use_[e.index] = e.client;
  if (known_.size() > clients_max_) {
    const auto oldest = by_use_.begin();
    forgotten_ = oldest->first;
    known_.erase(oldest->second);
    by_use_.erase(oldest);
  }
  return raft_outcome::done;
}

const raft_index* raft_session_table::applied(const raft_client& client, std::uint64_t sequence) const {
  const auto found = known_.find(client);
  return found != known_.end() && sequence <= found->second.sequence ? &found->second.used : nullptr;
}

raft_sessions raft_session_table::snapshot() const {
  raft_sessions s{.forgotten = forgotten_};
  for (auto& [client, one] : known_) s.known.push_back({client, one.sequence, one.used});
  return s;
}

}  // namespace troupe
