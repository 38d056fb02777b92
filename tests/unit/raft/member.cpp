#include "tests/unit/raft/member.hpp"

#include "runtime/base/crc32c.hpp"

namespace troupe::raft_test {
namespace {

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  a = (a ^ b) * 0x9e3779b97f4a7c15ull;
  return a ^ (a >> 29);
}

}  // namespace

void disk::perform(const raft::write& w) {
  if (w.snapshot) snapshot = w.snapshot;
  if (w.hard) hard = w.hard;
  if (w.cut_from) std::erase_if(entries, [&](const raft_entry& e) { return e.index >= *w.cut_from; });
  if (w.drop_before) std::erase_if(entries, [&](const raft_entry& e) { return e.index < *w.drop_before; });
  entries.insert(entries.end(), w.entries.begin(), w.entries.end());
}

raft_index disk::last() const {
  return !entries.empty() ? entries.back().index : snapshot ? snapshot->index : raft_index{};
}

std::optional<raft_term> disk::term_at(raft_index index) const {
  if (snapshot && snapshot->index == index) return snapshot->term;
  if (entries.empty() || index < entries.front().index || index > entries.back().index) return {};
  return entries[static_cast<std::size_t>(index - entries.front().index)].term;
}

const raft_members& disk::members() const {
  static const raft_members none;
  for (auto e = entries.rbegin(); e != entries.rend(); ++e)
    if (e->kind == raft_entry::kind_t::members && (!snapshot || e->index > snapshot->index)) return e->members;
  return snapshot ? snapshot->members : none;
}

std::uint64_t content_of(const raft_entry& e) {
  auto h = mixed(static_cast<std::uint64_t>(e.kind), crc32c(e.payload));
  h = mixed(mixed(h, e.client.id), e.sequence);
  for (auto& m : e.members)
    h = mixed(mixed(h, static_cast<std::uint64_t>(m.peer.node.value()) * 2 + m.voter), m.peer.disk.bytes[1]);
  return mixed(h, static_cast<std::uint64_t>(e.term.value()));
}

bool image::apply(const raft::commit::entry& e) {
  index = e.what.index;
  hash = mixed(mixed(hash, content_of(e.what)), static_cast<std::uint64_t>(e.outcome));
  if (e.what.kind != raft_entry::kind_t::command || e.outcome != raft_outcome::done || e.what.client.id == 0)
    return true;
  auto& last = applied[e.what.client];
  const bool next = e.what.sequence == last + 1;
  last = e.what.sequence;
  return next;
}

shared_bytes image::bytes() const {
  std::vector<std::byte> out(16 + applied.size() * 24);
  auto* at = out.data();
  const auto put = [&](std::uint64_t v) {
    store_le(at, v);
    at += 8;
  };
  put(static_cast<std::uint64_t>(index.value()));
  put(hash);
  for (auto& [client, sequence] : applied) {
    put(client.id);
    put(static_cast<std::uint64_t>(client.born.value()));
    put(sequence);
  }
  return shared_bytes::own(std::move(out));
}

image image::of(const raft_snapshot* s) {
  image i;
  if (!s || s->image.empty()) return i;
  const auto* at = s->image.data();
  const auto get = [&] {
    at += 8;
    return load_le<std::uint64_t>(at - 8);
  };
  i.index = raft_index{static_cast<std::int64_t>(get())};
  i.hash = get();
  while (at < s->image.data() + s->image.size()) {
    const auto id = get();
    const raft_client client{id, raft_index{static_cast<std::int64_t>(get())}};
    i.applied[client] = get();
  }
  return i;
}

disk formatted(const std::vector<raft_peer>& voters) {
  raft_snapshot s;
  for (auto& p : voters) s.members.push_back({p, true});
  return {{}, std::make_shared<const raft_snapshot>(std::move(s)), {}};
}

}  // namespace troupe::raft_test
