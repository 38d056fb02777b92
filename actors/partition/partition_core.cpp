#include "actors/partition/partition_core.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/rules.hpp"

namespace troupe {

namespace {

/// A mark is put off this often for its size: about a minute.
constexpr unsigned put_off_max = 12;
/// What a producer sent before it could hear of a refusal comes within this.
constexpr std::chrono::seconds refusal_remembered{5};

std::int64_t milliseconds(wall_time at) noexcept {
  return at.time_since_epoch().count();
}

/// Settings may say "any age" with the greatest number there is.
std::int64_t saturated(std::int64_t at, std::int64_t by) noexcept {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(at, by, &sum)) return sum;
  return by > 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
}

}  // namespace

partition_core::partition_core(topic_settings settings, partition_restored restored)
    : settings_{std::move(settings)},
      start_{restored.start},
      end_{restored.end},
      durable_{restored.end},
      epochs_{std::move(restored.epochs)},
      producers_{std::move(restored.producers)},
      marked_{restored.marked.value_or(restored.start)} {
  TROUPE_CHECK(start_ <= end_);
  auto readable = end_;
  if (restored.damaged_from) {
    readable = durable_ = std::clamp(*restored.damaged_from, start_, end_);
    broken_ = error{errc::storage_damaged,
                    "the log is damaged from offset " + std::to_string(readable.value()) + " on; see the node's log"};
  }
  watermark_ = led_from_ = std::clamp(marked_, start_, readable);
}

partition_core::partition_core(leader_epoch epoch, topic_settings settings, partition_restored restored,
                               replica_set replicas)
    : partition_core{std::move(settings), std::move(restored)} {
  led(epoch, replicas);
}

// -- roles ------------------------------------------------------------------------------------------------

partition_core::effects partition_core::led(leader_epoch epoch, replica_set replicas) {
  TROUPE_CHECK(epoch >= epoch_);
  epoch_ = epoch;
  leads_ = true;
  // What lies below damage is whole and stays readable, but nothing above it is ever committed here.
  led_from_ = damaged() ? durable_ : end_;
  return replicas_changed(replicas);
}

partition_core::effects partition_core::followed(leader_epoch epoch, const error& why) {
  epoch_ = epoch;
  leads_ = false;
  return fail_everyone(why);
}

partition_core::effects partition_core::fail_everyone(const error& why) {
  effects todo;
  for (auto* queue : {&for_durable_, &for_watermark_}) fail_all(*queue, why, todo);
  for (auto& it : std::exchange(watchers_, {})) {
    fetch_answer answer{std::move(it.answer), {}};
    answer.outcome.refused = why;
    todo.fetched.push_back(std::move(answer));
  }
  return todo;
}

partition_core::effects partition_core::replicas_changed(replica_set replicas) {
  TROUPE_CHECK(leads_);
  replicas_ = replicas;
  effects todo;
  if (!enough_in_sync())
    fail_all(for_watermark_,
             {errc::not_enough_replicas_after_append, "too few replicas in sync by now; it may be stored"}, todo);
  if (!commits_alone()) return todo;
  auto more = committed(durable_);
  for (auto& answer : more.produced) todo.produced.push_back(std::move(answer));
  todo.woken = std::move(more.woken);
  return todo;
}

void partition_core::fail_all(wait_queue& queue, const error& why, effects& todo) {
  for (auto& it : queue) {
    it.answer.outcome = outcome();
    it.answer.outcome.refused = why;
    todo.produced.push_back(std::move(it.answer));
  }
  queue.clear();
}

bool partition_core::damaged() const noexcept {
  return broken_ && broken_->code == errc::storage_damaged;
}

/// Whoever leads without followers needs nobody who counts.
bool partition_core::commits_alone() const noexcept {
  return leads_ && replicas_.replicas <= 1;
}

// -- a follower's log -------------------------------------------------------------------------------------

void partition_core::replicated(std::span<const store::batch> batches, wall_time now) {
  TROUPE_CHECK(!leads_);
  for (const auto& it : batches) {
    TROUPE_CHECK(it.base == end_ || (start_ == end_ && it.base < end_ && it.base + it.offsets > end_));
    epochs_.appended(it.epoch, it.base);
    end_ = it.base + it.offsets;
    if (const auto sequences = sequence_range::of(batch_header{it.bytes}))
      producers_.appended(*sequences, {it.base, end_, it.timestamp_max}, watermark_, now);
    appended_since_mark_ += it.bytes.size();
  }
}

void partition_core::truncated(log_offset end) {
  TROUPE_CHECK(start_ <= end && end <= end_);
  end_ = end;
  durable_ = std::min(durable_, end);
  watermark_ = std::min(watermark_, end);
  epochs_.truncated(end);
  producers_.rolled_back(end);
  if (marked_ > end) marked_ = start_;  // the log forgets that mark
  if (damaged()) broken_.reset();
}

void partition_core::restarted(log_offset start) {
  start_ = end_ = durable_ = watermark_ = marked_ = start;
  epochs_.clear();
  producers_ = {};
  if (damaged()) broken_.reset();
}

void partition_core::trimmed(log_offset start) {
  TROUPE_CHECK(start <= watermark_);
  if (start > start_) move_start(start);
}

// -- produce ----------------------------------------------------------------------------------------------

partition_core::effects partition_core::produced(produce&& m, moment at, bool crowded, decompressor& unpacker) {
  effects todo;
  produce_answer answer{std::move(m.answer), outcome()};
  auto refuse = [&](error why) {
    answer.outcome.refused = std::move(why);
    todo.produced.push_back(std::move(answer));
    return std::move(todo);
  };
  produced_at_ = at.now;
  if (auto why = refuse_early(m, crowded)) {
    if (why->code == errc::busy || why->code == errc::not_leader) refused_before(*why, at.now);
    return refuse(std::move(*why));
  }

  const auto now_ms = milliseconds(at.wall);
  const bool append_time = settings_.timestamps == topic_settings::timestamp_type::log_append_time;
  batch_rules rules{settings_.message_bytes_max, m.zstd_allowed, {}};
  if (!append_time && at.sure)
    rules.timestamps = {settings_.timestamp_before_max ? saturated(now_ms, -settings_.timestamp_before_max->count())
                                                       : std::numeric_limits<std::int64_t>::min(),
                        saturated(now_ms, settings_.timestamp_after_max.count())};
  auto checked = check_batch(m.records.bytes, rules, unpacker);
  if (checked.refused) {
    answer.outcome.records = std::move(checked.records);
    return refuse(std::move(*checked.refused));
  }
  if (m.acks == -1 && !enough_in_sync()) {
    refused_before({errc::not_enough_replicas, std::to_string(replicas_.in_sync) + " replicas in sync, " +
                                                   std::to_string(in_sync_needed()) + " needed"},
                   at.now);
    return refuse(refused_lately_->why);
  }

  const batch_header header{m.records.bytes};
  const auto deadline = m.acks == -1 ? m.deadline : instant::max();
  const auto sequences = sequence_range::of(header);
  if (sequences) {
    const bool refused = refused_lately_ && at.now - refused_lately_->at < refusal_remembered;
    const bool unknown = sequences->first != 0 && !producers_.knows(sequences->producer);
    if (unknown && unknown_.waits(sequences->producer, sequences->first, refused, at.now) &&
        holds(rule::first_batches_awaited))
      return refuse(refused ? refused_lately_->why : error{errc::not_leader, "its first batches may still come"});
    auto duplicate = producers_.check(*sequences);
    if (!duplicate) {
      // Producers send ahead. What follows a batch that we refused for a while would be told of a gap, which they take
      // for a loss: librdkafka begins a new epoch for all its partitions then, and repeats what may be stored
      // elsewhere.
      const bool gap = duplicate.error().code == errc::out_of_order_sequence;
      return refuse(gap && refused ? refused_lately_->why : duplicate.error());
    }
    if (*duplicate) {
      const auto& original = **duplicate;
      answer.outcome.base = original.base;
      if (append_time) answer.outcome.append_time_ms = original.timestamp_max;
      // Confirmed no earlier than the original: until then the disk may still refuse it.
      if (m.acks == 0 || original.end <= watermark_)
        todo.produced.push_back(std::move(answer));
      else
        enqueue(for_watermark_, {original.end, deadline, std::move(answer)});
      return todo;
    }
  }

  const auto base = end_;
  end_ = base + header.offsets();
  stamp_batch(m.records.bytes, base, epoch_);
  if (append_time) {
    stamp_append_time(m.records.bytes, now_ms);
    checked.timestamp_max = answer.outcome.append_time_ms = now_ms;
  }
  epochs_.appended(epoch_, base);
  if (sequences) producers_.appended(*sequences, {base, end_, checked.timestamp_max}, watermark_, at.wall);
  appended_since_mark_ += m.records.bytes.size();
  todo.append.push_back({base, static_cast<std::int32_t>(header.offsets()), epoch_, checked.timestamp_max,
                         m.records.share(), batch_header::crc_from, header.crc()});

  answer.outcome.base = base;
  if (m.acks == 0 || (m.acks == 1 && !holds(rule::ack_after_sync)))
    todo.produced.push_back(std::move(answer));
  else
    enqueue(m.acks == 1 ? for_durable_ : for_watermark_, {end_, deadline, std::move(answer)});
  return todo;
}

void partition_core::refused_before(error why, instant now) {
  refused_lately_ = {std::move(why), now};
}

void partition_core::took_over(bool another_led, instant now) {
  if (another_led) refused_before({errc::not_leader, "this replica leads only now"}, now);
  unknown_.leads_now(now);
}

produce::outcome partition_core::outcome() const {
  produce::outcome it;
  it.log_start = start_;
  it.epoch = epoch_;
  return it;
}

std::optional<error> partition_core::refuse_early(const produce& m, bool crowded) const {
  if (m.acks < -1 || m.acks > 1)
    return error{errc::invalid_required_acks, "acks must be -1 (all), 0 or 1, not " + std::to_string(m.acks)};
  if (!leads_) return not_leading();
  if (m.transactional_id) return error{errc::transactions_unavailable, "transactions are not available"};
  if (broken_) return broken_;
  if (crowded) return error{errc::busy, "more waits for the disk than it can take; try again"};
  return {};
}

error partition_core::not_leading() {
  return {errc::not_leader, "another replica leads this partition"};
}

/// As the controller counts (`min_in_sync`): a topic may ask for more than it has replicas, then all of them; while it
/// grows, those that still have to catch up do not stop its producers.
std::int32_t partition_core::in_sync_needed() const noexcept {
  return std::max(1, std::min(settings_.min_insync_replicas, replicas_.replicas - replicas_.adding));
}

bool partition_core::enough_in_sync() const noexcept {
  return replicas_.in_sync >= in_sync_needed();
}

void partition_core::enqueue(wait_queue& queue, waiting_produce it) {
  // Nearly always at the back; a duplicate waits for the place of its original.
  auto at = queue.end();
  while (at != queue.begin() && std::prev(at)->end > it.end) --at;
  queue.insert(at, std::move(it));
}

void partition_core::answer_below(wait_queue& queue, log_offset reached, effects& todo) {
  while (!queue.empty() && queue.front().end <= reached) {
    todo.produced.push_back(std::move(queue.front().answer));
    queue.pop_front();
  }
}

partition_core::effects partition_core::durable(log_offset end) {
  TROUPE_CHECK(end <= end_);
  if (damaged()) return {};  // the log ends above the damage
  durable_ = std::max(durable_, end);
  effects todo;
  answer_below(for_durable_, durable_, todo);
  if (!commits_alone()) return todo;
  auto more = committed(durable_);
  for (auto& answer : more.produced) todo.produced.push_back(std::move(answer));
  todo.woken = std::move(more.woken);
  return todo;
}

partition_core::effects partition_core::committed(log_offset watermark) {
  TROUPE_CHECK(watermark <= (holds(rule::watermark_counts_durable) ? durable_ : end_));
  effects todo;
  if (watermark <= watermark_) return todo;
  watermark_ = watermark;
  answer_below(for_watermark_, watermark_, todo);
  forget_watchers_over();
  todo.woken = std::exchange(watchers_, {});
  return todo;
}

partition_core::effects partition_core::refused(log_offset end, const error& why) {
  TROUPE_CHECK(end >= durable_);
  if (why.code == errc::storage_failed) broken_ = why;
  if (why.code == errc::storage_full) refused_before(why, produced_at_);
  effects todo;
  if (end >= end_) return todo;
  end_ = end;
  led_from_ = std::min(led_from_, end);
  producers_.rolled_back(end);
  epochs_.truncated(end);
  for (auto* queue : {&for_durable_, &for_watermark_}) {
    const auto first = std::find_if(queue->begin(), queue->end(), [&](const auto& it) { return it.end > end; });
    for (auto it = first; it != queue->end(); ++it) {
      it->answer.outcome = outcome();
      it->answer.outcome.refused = why;
      todo.produced.push_back(std::move(it->answer));
    }
    queue->erase(first, queue->end());
  }
  return todo;
}

partition_core::effects partition_core::tick(instant now) {
  effects todo;
  std::erase_if(for_watermark_, [&](waiting_produce& it) {
    if (it.deadline > now) return false;
    it.answer.outcome = outcome();
    it.answer.outcome.refused = error{errc::timed_out, "not on every replica in time; it may be stored"};
    todo.produced.push_back(std::move(it.answer));
    return true;
  });
  // Their callers have their own clocks and expect no second answer any more.
  std::erase_if(watchers_, [&](const fetch& it) { return *it.watch_until <= now; });
  forget_watchers_over();
  return todo;
}

void partition_core::forget_watchers_over() {
  std::erase_if(watchers_, [](const fetch& it) { return it.over && it.over->load(std::memory_order_relaxed); });
}

bool partition_core::watchable() {
  if (watchers_.size() >= watchers_max) forget_watchers_over();
  return watchers_.size() < watchers_max;
}

bool partition_core::waiting() const noexcept {
  return !for_durable_.empty() || !for_watermark_.empty() || !watchers_.empty();
}

partition_core::effects partition_core::ended(const error& why) {
  broken_ = why;
  return fail_everyone(why);
}

// -- reading ----------------------------------------------------------------------------------------------

partition_core::admission partition_core::fetched(const fetch& m) const {
  admission it;
  auto& out = it.outcome;
  if (auto why = check_epoch(m.current)) {
    out.refused = std::move(why);
    return it;
  }
  out.high_watermark = out.last_stable = watermark_;
  out.log_start = start_;
  out.epoch = epoch_;
  // A follower's end says nothing of what there is: it may not have got so far.
  if (!leads_ && m.from > end_) {
    out.refused = error{errc::offset_not_available,
                        "this replica follows, and has nothing yet beyond offset " + std::to_string(end_.value())};
    return it;
  }
  if (m.last_fetched != no_epoch && start_ != end_ && (leads_ || m.from <= watermark_)) {
    const auto [epoch, end] = end_of(m.last_fetched);
    if (epoch < m.last_fetched || end < m.from) {
      out.diverging = {epoch, end};
      return it;
    }
  }
  if (m.from < start_ || m.from > end_) {
    out.refused = error{errc::offset_out_of_range, "offset " + std::to_string(m.from.value()) + " is not in [" +
                                                       std::to_string(start_.value()) + ", " +
                                                       std::to_string(end_.value()) + "]"};
    return it;
  }
  // Beyond the watermark is not an error: it is what a reader sees who was faster than the replicas.
  it.read = m.from < watermark_;
  it.end = watermark_;
  return it;
}

result<partition_core::effects> partition_core::watch(fetch m, log_offset seen) {
  TROUPE_CHECK(m.watch_until.has_value());
  effects todo;
  if (watermark_ > seen) {
    todo.woken.push_back(std::move(m));
    return todo;
  }
  if (!watchable()) return {errc::busy, "too many readers wait for this partition"};
  watchers_.push_back(std::move(m));
  return todo;
}

std::optional<list_offsets::outcome> partition_core::offsets_listed(const list_offsets& m) const {
  list_offsets::outcome out;
  auto why = check_epoch(m.current);
  if (!why && !leads_) why = not_leading();
  if (why) {
    out.refused = std::move(why);
    return out;
  }
  switch (m.timestamp) {
    case list_offsets::earliest:
    case list_offsets::earliest_local:
      out.offset = start_;
      out.epoch = epoch_at(start_);
      return out;
    default:
      break;
  }
  if (watermark_ < led_from_ && holds(rule::latest_waits_for_epoch_start)) {
    out.refused = error{errc::offset_not_available, "the new leader has not yet committed what it took over"};
  } else if (m.timestamp == list_offsets::latest) {
    out.offset = watermark_;
    out.epoch = epoch_;
  } else if (m.timestamp < list_offsets::earliest_local) {
    out.refused = error{errc::invalid_request, "timestamp " + std::to_string(m.timestamp) + " has no meaning here"};
  } else if (start_ != watermark_) {
    return {};
  }
  return out;
}

epoch_end::outcome partition_core::epoch_ended(const epoch_end& m) const {
  epoch_end::outcome out;
  auto why = check_epoch(m.current);
  if (!why && !leads_) why = not_leading();
  if (why) {
    out.refused = std::move(why);
    return out;
  }
  if (m.asked == epoch_) return {{}, epoch_, end_};
  // Unknown in either direction: newer than any, or older than what is left of the log.
  const auto& known = epochs_.entries();
  if (m.asked > epoch_ || known.empty() || m.asked < known.front().epoch) return out;
  const auto found = end_of(m.asked);
  return {{}, found.epoch, found.end};
}

std::optional<error> partition_core::check_epoch(leader_epoch callers) const {
  if (callers == no_epoch || callers == epoch_) return {};
  const auto ours = std::to_string(epoch_.value());
  if (callers < epoch_) return error{errc::fenced_epoch, "the leader's epoch is " + ours};
  return error{errc::unknown_epoch, "the leader's epoch is still " + ours};
}

epoch_table::place partition_core::end_of(leader_epoch asked) const {
  return epochs_.end_of(asked, {start_, end_});
}

leader_epoch partition_core::epoch_at(log_offset offset) const {
  const auto known = epochs_.at(offset);
  return known == no_epoch ? epoch_ : known;
}

// -- deleting ---------------------------------------------------------------------------------------------

result<std::optional<log_offset>> partition_core::records_deleted(log_offset before) {
  if (!leads_) return not_leading();
  if (before == log_offset{-1}) before = watermark_;
  if (before < log_offset{0} || before > watermark_)
    return {errc::offset_out_of_range, "records up to " + std::to_string(before.value()) +
                                           " cannot be deleted: readable are those below " +
                                           std::to_string(watermark_.value())};
  if (before <= start_) return std::optional<log_offset>{};
  move_start(before);
  return std::optional{start_};
}

std::optional<log_offset> partition_core::retained(std::span<const store::extent> extents, moment at) {
  // A clock that was set wrongly would empty every topic, and forget every producer.
  if (at.sure) producers_.expire(at.wall);
  if (!leads_) return {};  // followers delete what their leader deleted

  std::uint64_t bytes = 0;
  for (const auto& it : extents) bytes += it.bytes;
  auto too_old = [&](const store::extent& it) {
    const auto now = milliseconds(at.wall);
    // A stamp from the future says nothing about age.
    return at.sure && settings_.retention && it.timestamp_max >= 0 && it.timestamp_max <= now &&
           now - it.timestamp_max > settings_.retention->count();
  };
  auto new_start = start_;
  for (const auto& it : extents) {
    if (it.end > watermark_) break;
    bytes -= it.bytes;  // what is left if everything up to here goes
    if ((settings_.retention_bytes && bytes >= *settings_.retention_bytes) || too_old(it)) {
      new_start = it.end;
    } else if (it.timestamp_max >= 0) {
      break;
    }  // else: records without time go with what follows them
  }
  if (new_start <= start_) return {};
  move_start(new_start);
  return start_;
}

void partition_core::move_start(log_offset to) {
  start_ = to;
  epochs_.trimmed(to);
}

// -- marks ------------------------------------------------------------------------------------------------
//
// u8 version = 1, i64 watermark, then the producers' states.

namespace {
constexpr std::uint8_t mark_version = 1;
constexpr std::size_t mark_head = 1 + 8;
}  // namespace

std::optional<store::mark> partition_core::mark(bool stopping) {
  if (!mark_outdated()) return {};
  if (!stopping && appended_since_mark_ < mark_bytes_ && marks_put_off_ < put_off_max) {
    ++marks_put_off_;
    return {};
  }
  std::vector<std::byte> state(mark_head);
  store_le(state.data(), mark_version);
  store_le(state.data() + 1, watermark_.value());
  producers_.encode(watermark_, state);
  marked_ = watermark_;
  mark_bytes_ = state.size();
  appended_since_mark_ = 0;
  marks_put_off_ = 0;
  return store::mark{watermark_, shared_bytes::own(std::move(state))};
}

result<producers> partition_core::producers_of(const store::mark& mark) {
  const auto state = mark.state.view();
  if (state.size() < mark_head) return {errc::malformed, "a partition's mark: too short"};
  if (const auto version = load_le<std::uint8_t>(state.data()); version != mark_version)
    return {errc::malformed, "a partition's mark of version " + std::to_string(version)};
  if (load_le<std::int64_t>(state.data() + 1) != mark.at.value())
    return {errc::malformed, "a partition's mark that belongs elsewhere"};
  return producers::decode(state.subspan(mark_head));
}

}  // namespace troupe
