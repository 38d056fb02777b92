#include "runtime/store/chain.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/base/random.hpp"

/// Writing and rolling; chain_reading.cpp answers reads, chain_upkeep.cpp recovers, seals and cleans.
namespace troupe::store {

// -- row_cache ------------------------------------------------------------------------------------------

std::shared_ptr<const row_list> row_cache::get(const key& k) {
  std::scoped_lock lock{mutex_};
  auto it = by_key_.find(k);
  if (it == by_key_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, it->second);
  return it->second->rows;
}

void row_cache::put(const key& k, std::shared_ptr<const row_list> rows) {
  std::scoped_lock lock{mutex_};
  if (auto it = by_key_.find(k); it != by_key_.end()) {
    bytes_ -= it->second->rows->size() * sizeof(row);
    by_use_.erase(it->second);
    by_key_.erase(it);
  }
  bytes_ += rows->size() * sizeof(row);
  by_use_.push_front({k, std::move(rows)});
  by_key_[k] = by_use_.begin();
  while (bytes_ > bytes_max_ && by_use_.size() > 1) {
    bytes_ -= by_use_.back().rows->size() * sizeof(row);
    by_key_.erase(by_use_.back().name);
    by_use_.pop_back();
  }
}

void row_cache::drop(const void* chain, segment_no no) {
  std::scoped_lock lock{mutex_};
  for (auto it = by_key_.lower_bound({chain, no, log_id{}});
       it != by_key_.end() && it->first.chain == chain && it->first.segment == no;) {
    bytes_ -= it->second->rows->size() * sizeof(row);
    by_use_.erase(it->second);
    it = by_key_.erase(it);
  }
}

// -- chain ----------------------------------------------------------------------------------------------

namespace {
error failed_before() {
  return {errc::storage_failed, "a write to this data directory failed before"};
}
}  // namespace

chain::chain(settings s, surroundings to) : settings_{s}, to_{to}, journal_{*this} {}

void chain::add_log(log_id id) {
  std::scoped_lock lock{mutex_};
  journal_.add_log(id);
}

void chain::drop_log(log_id id) {
  std::scoped_lock lock{mutex_};
  journal_.drop_log(id);
}

void chain::tell(notice::level severity, std::string event, std::string fields) const {
  if (to_.notice) to_.notice({severity, std::move(event), std::move(fields)});
}

void chain::fail(const error& why) {
  if (to_.counters.failed.exchange(true)) return;
  tell(notice::level::error, "storage_failed",
       "error=\"" + why.text + "\" next=\"the node stops; check the disk, then start it again\"");
}

// -- gathering ------------------------------------------------------------------------------------------

/// Where the log will end, if the block in the making or one that is not settled speaks of it.
std::optional<log_offset> chain::end_unsettled(log_id id, const gathered& g) const {
  if (auto it = g.ends.find(id); it != g.ends.end()) return it->second;
  for (auto block = unsettled_.rbegin(); block != unsettled_.rend(); ++block)
    if (auto it = block->what.ends.find(id); it != block->what.ends.end()) return it->second;
  return {};
}

/// Takes batches as long as they follow each other and the block has room. True: all taken or refused.
bool chain::take_batches(work& w, gathered& g, bool full) {
  if (!journal_.knows(w.log)) return true;
  const auto known = end_unsettled(w.log, g);
  auto end = known ? *known : journal_.end(w.log);
  while (w.taken < w.batches.size()) {
    auto& b = w.batches[w.taken];
    const bool follows = b.base == end && b.offsets > 0 && b.checked_from <= b.bytes.size() &&
                         b.base.value() <= INT64_MAX - b.offsets && b.bytes.size() <= (1u << 30);
    if (!follows || full) {
      // Not following is what is left of an append that was refused: its owner has been told where the log ends.
      to_.counters.refused_batches += w.batches.size() - w.taken;
      if (follows) {
        const error why{errc::storage_full, "less space is free than the reserve of this data directory"};
        g.refused.refuse(w.log, end, why);
      }
      return true;
    }
    if (!g.block.empty() && g.block.payload_bytes() + b.bytes.size() > settings_.block_bytes) return false;
    g.block.add_batch(w.log, b);
    end = b.base + b.offsets;
    g.ends[w.log] = g.appended[w.log] = end;
    b.bytes = {};
    ++g.batches;
    ++w.taken;
  }
  return true;
}

/// Copies only what is still read from where it was copied from. False: the log changes in a block that is not settled,
/// wait.
bool chain::take_copies(work& w, gathered& g) {
  const bool changes = g.fixed.contains(w.log) ||
                       std::any_of(unsettled_.begin(), unsettled_.end(),
                                   [&](const unsettled_block& block) { return block.what.fixed.contains(w.log); });
  if (changes) return false;
  if (!g.block.empty() && g.block.payload_bytes() + w.bytes > 2 * settings_.block_bytes) return false;
  const auto known = end_unsettled(w.log, g);
  for (const auto& b : w.batches) {
    if (!journal_.current(w.log, b.base, w.source)) continue;
    g.block.add_batch(w.log, b, entry_kind::moved);
    g.ends.try_emplace(w.log, known ? *known : journal_.end(w.log));
    g.fixed.insert(w.log);
    ++to_.counters.batches_moved;
  }
  return true;
}

/// False: this must wait for the next block.
bool chain::take(work& w, gathered& g, bool full) {
  if (w.what == work::kind::append) return take_batches(w, g, full);
  if (!journal_.knows(w.log)) {
    g.refused.answer(w, unknown(w.log));
    return true;
  }
  const auto known = end_unsettled(w.log, g);
  const auto end = known ? *known : journal_.end(w.log);
  switch (w.what) {
    case work::kind::append:
      break;
    case work::kind::copy:
      if (!take_copies(w, g)) return false;
      break;
    case work::kind::truncate: {
      if (known) return false;  // boundaries are known of what is settled only
      auto cut = journal_.boundary(w.log, w.at);
      if (!cut) {
        g.refused.answer(
            w, error{errc::storage_damaged, "log " + std::to_string(w.log.value()) + " cannot be truncated at " +
                                                std::to_string(w.at.value()) + ": the index there is unreadable"});
        return true;
      }
      g.block.add(entry_kind::truncate, w.log, *cut);
      g.ends[w.log] = *cut;
      g.fixed.insert(w.log);
      break;
    }
    case work::kind::trim:
      g.block.add(entry_kind::trim, w.log, std::clamp(w.at, log_offset{0}, end));
      g.ends[w.log] = end;
      g.fixed.insert(w.log);
      break;
    case work::kind::restart:
      if (w.at.value() < 0) {
        g.refused.answer(w, error{errc::invalid_request, "a log cannot start below 0"});
        return true;
      }
      g.block.add(entry_kind::restart, w.log, w.at);
      g.ends[w.log] = w.at;
      g.appended.erase(w.log);
      g.fixed.insert(w.log);
      break;
    case work::kind::mark:
      if (w.at > end || w.at.value() < 0) {
        g.refused.answer(w, error{errc::invalid_request, "a mark at " + std::to_string(w.at.value()) +
                                                             " is beyond the end " + std::to_string(end.value()) +
                                                             " of log " + std::to_string(w.log.value())});
        return true;
      }
      g.block.add(entry_kind::mark, w.log, w.at, 0, w.state);
      g.ends[w.log] = end;
      break;
  }
  if (w.done) g.waiting.push_back(std::move(w));
  return true;
}

// -- writing --------------------------------------------------------------------------------------------

bool chain::ready() const {
  std::scoped_lock lock{mutex_};
  return unsettled_.empty() || (unsettled_.size() < unsettled_max && active_bytes_ < settings_.segment_bytes);
}

std::uint64_t chain::write_block(std::deque<work>& queue, bool full, wall_time now) {
  TROUPE_CHECK(ready());
  if (to_.counters.failed) return refuse_all(queue, failed_before());
  unsettled_block b;
  auto& g = b.what;
  std::uint64_t bytes = 0;
  {
    std::scoped_lock lock{mutex_};
    while (!queue.empty() && g.block.payload_bytes() < settings_.block_bytes) {
      auto& w = queue.front();
      const auto size = w.bytes;
      if (!take(w, g, full)) break;
      bytes += size;
      queue.pop_front();
    }
  }
  if (!g.block.empty()) {
    auto stored = begin_segment(now);
    if (stored) {
      if (auto at = put(*active_, g.block, now))
        b.position = *at;
      else
        stored = at.error();
    }
    if (!stored) {
      if (stored.code() != errc::storage_full) fail(stored.error());
      std::scoped_lock lock{mutex_};
      refuse_block(g, stored.error());
    }
  }
  b.segment = active_no_;
  b.sequence = next_ - 1;
  b.segment_bytes = active_bytes_;
  later(std::move(b));
  return bytes;
}

/// `b` is settled when everything before it is durable.
void chain::later(unsettled_block b) {
  auto& g = b.what;
  if (g.block.empty() && g.waiting.empty() && g.refused.logs.empty() && g.refused.answers.empty()) return;
  b.next = next_;
  std::scoped_lock lock{mutex_};
  unsettled_.push_back(std::move(b));
}

std::uint64_t chain::refuse_all(std::deque<work>& queue, const error& why) {
  unsettled_block b;
  std::uint64_t bytes = 0;
  {
    std::scoped_lock lock{mutex_};
    for (auto& w : queue) {
      if (w.what == work::kind::append) {
        to_.counters.refused_batches += w.batches.size() - w.taken;
        if (journal_.knows(w.log)) b.what.refused.refuse(w.log, journal_.end(w.log), why);
      }
      b.what.refused.answer(w, why);
      bytes += w.bytes;
    }
  }
  queue.clear();
  later(std::move(b));
  return bytes;
}

/// The block was not written: its logs end where they would without it.
void chain::refuse_block(gathered& g, const error& why) const {
  to_.counters.refused_batches += g.batches;
  const auto appended = std::exchange(g.appended, {});
  g.ends.clear();
  g.fixed.clear();
  for (const auto& [id, end] : appended) {
    if (!journal_.knows(id)) continue;
    const auto known = end_unsettled(id, g);
    g.refused.refuse(id, known ? *known : journal_.end(id), why);
  }
  for (auto& w : g.waiting) g.refused.answer(w, why);
  g.waiting.clear();
  g.block = {};
}

// -- settling -------------------------------------------------------------------------------------------

void chain::settle(outcome& out) {
  std::scoped_lock lock{mutex_};
  for (; !unsettled_.empty(); unsettled_.pop_front()) {
    auto& b = unsettled_.front();
    if (settings_.level == durability::interval || b.next <= durable_below_)
      settle_block(b, out);
    else if (to_.counters.failed)
      give_up(b.what, out);
    else
      return;
  }
}

void chain::settle_block(unsettled_block& b, outcome& out) {
  auto& g = b.what;
  if (!g.block.empty()) {
    block_header header;
    header.sequence = b.sequence;
    apply_block(journal_, header, b.segment, b.position, g.block.entries(), g.block.payloads());
    segments_.at(b.segment).bytes = b.segment_bytes;
    to_.counters.batches += g.batches;
    to_.counters.batch_bytes += g.block.payload_bytes();
  }
  for (const auto& [id, end] : g.appended) out.logs.push_back({id, end, std::nullopt});
  for (auto& w : g.waiting) out.answer(w, {});
  // Refusals of what came behind these batches, or of an answer that had to wait for its turn.
  std::move(g.refused.logs.begin(), g.refused.logs.end(), std::back_inserter(out.logs));
  std::move(g.refused.answers.begin(), g.refused.answers.end(), std::back_inserter(out.answers));
}

/// The block was written, but a sync failed: nobody knows what is there of it. What is settled is the end.
void chain::give_up(gathered& g, outcome& out) const {
  const auto why = failed_before();
  to_.counters.refused_batches += g.batches;
  for (const auto& [id, end] : g.appended)
    if (journal_.knows(id)) out.logs.push_back({id, journal_.end(id), why});
  for (const auto& l : g.refused.logs)
    if (journal_.knows(l.log)) out.logs.push_back({l.log, journal_.end(l.log), l.refused});
  for (auto& w : g.waiting) out.answer(w, why);
  std::move(g.refused.answers.begin(), g.refused.answers.end(), std::back_inserter(out.answers));
}

/// Stores one block at the end of the active segment.
result<std::uint64_t> chain::put(segment_file& file, block_builder& block, wall_time now) {
  for (const auto& c : cancelled_) block.repeat(c.what, c.sequence);
  block.arrange();
  block_header header;
  header.segment_id = active_id_;
  header.sequence = next_;
  header.durable_below = durable_below_;
  header.previous_crc = previous_crc_;
  header.written_at_ms = now.time_since_epoch().count();
  header.cuts = cuts_;
  std::uint32_t crc = 0;
  auto position = file.append(next_, block.size(), [&](byte_span into) { crc = block.write(header, into); });
  if (!position) return position;
  previous_crc_ = crc;
  remember_cancelled(block);
  handed_over_ = ++next_;
  const auto stored = stored_bytes(block.size());
  active_bytes_ = std::max(active_bytes_, *position + stored);
  written_ += stored;
  ++to_.counters.blocks;
  to_.counters.block_bytes += stored;
  return position;
}

/// The next two blocks repeat it.
void chain::remember_cancelled(const block_builder& block) {
  std::erase_if(cancelled_, [this](const cancelled& c) { return c.sequence + 1 < next_; });
  for (const auto& e : block.entries()) {
    if (is_cut(e.kind)) ++cuts_;
    if (is_cut(e.kind) || e.kind == entry_kind::trim) cancelled_.push_back({next_, e});
  }
}

std::vector<std::pair<log_id, standing>> chain::standings() const {
  std::vector<std::pair<log_id, standing>> out;
  for (auto id : journal_.logs())
    if (journal_.touched(id)) out.emplace_back(id, journal_.stands(id));
  return out;
}

/// Makes sure that there is an active segment with room. A new one starts with a checkpoint of all logs.
result<void> chain::begin_segment(wall_time now) {
  if (active_ && active_bytes_ < settings_.segment_bytes) return {};
  if (active_)
    if (auto ended = end_segment(); !ended) return ended;

  segment s;
  s.id = random_seed();
  s.written_here = true;
  s.written_before = written_;
  auto no = next_;
  {
    std::scoped_lock lock{mutex_};
    if (!segments_.empty()) no = std::max(no, segments_.rbegin()->first + 1);
  }
  auto file = to_.device.create(name_of(no), settings_.segment_bytes);
  if (!file) return file.error();
  s.file = std::move(*file);
  if (auto known = to_.rows.put({name_of(no), s.id}); !known) return known;

  next_ = no;
  durable_below_ = no;
  active_id_ = s.id;
  active_bytes_ = 0;
  previous_crc_ = cuts_ = 0;
  cancelled_.clear();
  std::vector<std::pair<log_id, standing>> all;
  {
    std::scoped_lock lock{mutex_};
    all = standings();
  }
  for (std::size_t i = 0; i < all.size();) {
    block_builder checkpoint;
    for (; i < all.size() && checkpoint.payload_bytes() < settings_.block_bytes; ++i) {
      const auto& [id, stands] = all[i];
      checkpoint.add(entry_kind::checkpoint, id, stands.start, stands.end.value(), shared_bytes::own(encode(stands)));
    }
    if (auto stored = put(*s.file, checkpoint, now); !stored) {
      durable_below_ = next_;  // nothing is relied on of what was written
      // Full: what was begun must not count as the newest segment.
      if (stored.code() == errc::storage_full) {
        if (auto gone = to_.rows.remove({name_of(no)}); !gone) return gone;
        s.file.reset();
        (void)to_.device.remove(name_of(no));  // else the next start does it
      }
      return stored.error();
    }
  }
  // From here on older segments may go: this one alone says what the logs are.
  if (auto synced = s.file->sync(); !synced) return synced;
  durable_below_ = next_;
  active_ = s.file;
  active_no_ = no;
  active_since_ = now;
  std::scoped_lock lock{mutex_};
  journal_.begin_segment(no);
  segments_.emplace(no, std::move(s));
  return {};
}

/// No block any more for the active segment; its index is written by the helper thread.
result<void> chain::end_segment() {
  // The next segment's checkpoint says where the logs end: what it builds on must not be lost before it.
  if (durable_below_ < next_)
    if (auto synced = active_->sync(); !synced) return synced;
  durable_below_ = next_;
  // What is missing of it from now on is damage, not an end that was never finished.
  const catalogue::segment_row row{name_of(active_no_), active_id_, next_, false, false, cuts_};
  if (auto known = to_.rows.put(row); !known) return known;
  std::scoped_lock lock{mutex_};
  auto& s = segments_.at(active_no_);
  s.standings = standings();
  s.next = next_;
  s.cuts = cuts_;
  s.stage = segment::phase::ended;
  active_.reset();
  return {};
}

void chain::roll(wall_time now, std::chrono::milliseconds age) {
  // A clock that was set back makes the age negative: then the size decides.
  if (!active_ || to_.counters.failed || now - active_since_ < age) return;
  TROUPE_CHECK(unsettled() == 0);
  // On a full disk it goes on as it is.
  if (auto ended = end_segment(); !ended && ended.code() != errc::storage_full) fail(ended.error());
}

error chain::unknown(log_id id) const {
  return {errc::closed, "there is no log " + std::to_string(id.value()) + " (any more)"};
}

}  // namespace troupe::store
