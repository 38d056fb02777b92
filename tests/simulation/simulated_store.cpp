#include "tests/simulation/simulated_store.hpp"

namespace troupe::sim {

using namespace store;

simulated_store::simulated_store(kernel& k, machine& m, limits l, notice_sink sink)
    : kernel_{k}, machine_{m}, notice_{std::move(sink)} {
  options_.lanes = 1;
  options_.segment_bytes = l.segment_bytes;
  options_.block_bytes = l.block_bytes;
  options_.reserve_bytes = 256 << 10;
}

result<std::shared_ptr<simulated_store>> simulated_store::open(kernel& k, machine& m, limits l, notice_sink sink) {
  std::shared_ptr<simulated_store> s{new simulated_store{k, m, l, std::move(sink)}};
  auto known = catalogue::open(std::make_unique<memory_table>(m.table("catalogue")), 1);
  if (!known) return known.error();
  s->catalogue_ = std::move(*known);
  s->space_ = std::make_unique<space_watch>(m.disk, s->options_.reserve_bytes, s->notice_);

  std::set<segment_name> listed;
  for (const auto& row : s->catalogue_->segments()) listed.insert(row.name);
  auto present = m.disk.list();
  if (!present) return present.error();
  for (const auto& name : *present)
    if (!listed.contains(name))
      if (auto gone = m.disk.remove(name); !gone) return gone.error();

  s->lane_ = std::make_unique<lane>(
      0, s->options_, 0, chain::surroundings{m.disk, *s->catalogue_, s->cache_, s->counters_, s->notice_}, *s->space_);
  for (const auto level : {durability::group, durability::interval}) {
    std::vector<log_id> ids;
    for (const auto& row : s->catalogue_->logs())
      if (row.info.level == level) ids.push_back(row.info.id);
    if (auto ready = s->of(level).recover(ids); !ready) return ready.error();
  }
  for (const auto& row : s->catalogue_->logs()) s->rows_.emplace(row.info.id, row);
  m.later(1s, [self = s.get()] { self->tidy(); });
  return s;
}

const catalogue::log_row* simulated_store::find(log_id id) const {
  const auto at = rows_.find(id);
  return at == rows_.end() ? nullptr : &at->second;
}

result<std::vector<log_id>> simulated_store::create(const std::vector<log_identity>& identities, durability level) {
  auto made = catalogue_->create(identities, level);
  if (!made) return made.error();
  std::vector<log_id> ids;
  for (const auto& row : *made) {
    if (rows_.emplace(row.info.id, row).second) of(row.info.level).add_log(row.info.id);
    ids.push_back(row.info.id);
  }
  return ids;
}

result<void> simulated_store::drop(const std::vector<log_id>& ids) {
  if (auto dropped = catalogue_->drop(ids); !dropped) return dropped;
  for (const auto id : ids) {
    const auto* row = find(id);
    if (!row) continue;
    lane_->listen(id, nullptr);
    of(row->info.level).drop_log(id);
    rows_.erase(id);
  }
  return {};
}

std::vector<log_info> simulated_store::logs() const {
  std::vector<log_info> out;
  for (const auto& [id, row] : rows_) out.push_back(row.info);
  return out;
}

void simulated_store::listen(log_id id, std::shared_ptr<log_listener> listener) {
  if (find(id)) lane_->listen(id, std::move(listener));
}

// -- writing ----------------------------------------------------------------------------------------------

void simulated_store::append(log_id id, std::vector<batch> batches) {
  const auto* row = find(id);
  if (batches.empty() || !row) return;
  work w;
  w.log = id;
  w.batches = std::move(batches);
  push(row->info.level, w);
}

void simulated_store::submit(work::kind what, log_id id, log_offset at, shared_bytes state, done d) {
  work w;
  w.what = what;
  w.log = id;
  w.at = at;
  w.state = std::move(state);
  w.done = d ? std::move(d) : [](const result<void>&) {};
  const auto* row = find(id);
  if (!row) return w.done(error{errc::closed, "there is no such log"});
  push(row->info.level, w);
}

void simulated_store::truncate(log_id id, log_offset end, done d) {
  submit(work::kind::truncate, id, end, {}, std::move(d));
}
void simulated_store::trim(log_id id, log_offset start, done d) {
  submit(work::kind::trim, id, start, {}, std::move(d));
}
void simulated_store::restart_at(log_id id, log_offset start, done d) {
  submit(work::kind::restart, id, start, {}, std::move(d));
}
void simulated_store::put_mark(log_id id, mark m, done d) {
  submit(work::kind::mark, id, m.at, std::move(m.state), std::move(d));
}

void simulated_store::push(durability level, work& w) {
  TROUPE_CHECK(lane_->push(level, w));
  plan_round();
}

void simulated_store::plan_round() {
  if (std::exchange(round_planned_, true)) return;
  const auto& pace = machine_.pace;
  machine_.in(kernel_.between(pace.write_min, pace.write_max) + kernel_.between(pace.sync_min, pace.sync_max),
              [this] { round(); });
}

void simulated_store::round() {
  round_planned_ = false;
  const bool any = lane_->step(machine_.clock.now(), machine_.clock.wall());
  if (counters_.failed && !std::exchange(told_failure_, true) && on_failure) {
    on_failure();
    return;
  }
  // A round takes one block; what is left, or came meanwhile, is for the next.
  if (any) plan_round();
}

void simulated_store::tidy() {
  space_->full(machine_.clock.now());
  clean();
  machine_.later(1s, [this] { tidy(); });
}

void simulated_store::clean() {
  if (counters_.failed) return;
  for (const auto level : {durability::group, durability::interval}) {
    of(level).sync();
    of(level).drop_dead();
    of(level).seal_next();
    for (auto& w : of(level).salvage(options_.block_bytes)) push(level, w);
  }
}

// -- reading ----------------------------------------------------------------------------------------------

std::optional<result<read_result>> simulated_store::read(log_id id, log_offset from, const read_limits& l, read_done) {
  const auto* row = find(id);
  if (!row) return result<read_result>{error{errc::closed, "there is no such log"}};
  return of(row->info.level).read_cold(id, from, l);
}

result<std::optional<time_hit>> simulated_store::find_time(log_id id, std::int64_t timestamp, log_offset from,
                                                           log_offset end) {
  const auto* row = find(id);
  if (!row) return {errc::closed, "there is no such log"};
  return of(row->info.level).find_time(id, timestamp, from, end);
}

result<std::optional<time_hit>> simulated_store::latest_time(log_id id, log_offset end) {
  const auto* row = find(id);
  if (!row) return {errc::closed, "there is no such log"};
  return of(row->info.level).latest_time(id, end);
}

result<log_state> simulated_store::state(log_id id) const {
  const auto* row = find(id);
  if (!row) return {errc::closed, "there is no such log"};
  return of(row->info.level).state(id);
}

std::vector<extent> simulated_store::extents(log_id id) const {
  const auto* row = find(id);
  return row ? of(row->info.level).extents(id) : std::vector<extent>{};
}

statistics simulated_store::stats() const {
  statistics s;
  s.blocks = counters_.blocks;
  s.batches = counters_.batches;
  s.damaged_blocks = counters_.damaged_blocks;
  s.refused_batches = counters_.refused_batches;
  s.failed = counters_.failed;
  s.full = space_->is_full();
  return s;
}

}  // namespace troupe::sim
