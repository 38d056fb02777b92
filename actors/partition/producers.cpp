#include "actors/partition/producers.hpp"

#include <algorithm>
#include <limits>

namespace troupe {

namespace {

/// Little-endian, as all of our own formats:
///     u8 version = 1, u32 producers, each: i64 id, i64 last_at ms, u8 batches,
///     each: i16 epoch, i32 first, i32 last, i64 base, i64 end, i64 timestamp_max
constexpr std::uint8_t version = 1;
constexpr std::size_t head_bytes = 1 + 4, producer_bytes = 8 + 8 + 1, batch_bytes = 2 + 4 + 4 + 8 + 8 + 8;

template <class T>
void put(std::vector<std::byte>& out, T value) {
  const auto at = out.size();
  out.resize(at + sizeof value);
  store_le(out.data() + at, value);
}

template <class T>
T take(byte_view& in) {  // the caller has checked the length
  const auto value = load_le<T>(in.data());
  in = in.subspan(sizeof value);
  return value;
}

std::int32_t following(std::int32_t sequence) noexcept {
  return sequence == std::numeric_limits<std::int32_t>::max() ? 0 : sequence + 1;
}

}  // namespace

std::optional<sequence_range> sequence_range::of(const batch_header& header) noexcept {
  if (header.producer().value() < 0) return {};
  const auto last = (std::int64_t{header.sequence_base()} + header.last_offset_delta()) & 0x7fffffff;
  return sequence_range{header.producer(), header.producer_epoch(), header.sequence_base(),
                        static_cast<std::int32_t>(last)};
}

/// Of the first `count` batches, where those begin that belong to the newest epoch and are among its last five.
std::size_t producers::first_recalled(const std::vector<batch>& batches, std::size_t count) noexcept {
  auto first = count;
  while (first > 0 && count - first < batches_kept && batches[first - 1].epoch == batches[count - 1].epoch) --first;
  return first;
}

result<std::optional<producers::place>> producers::check(const sequence_range& range) const {
  const auto known = known_.find(range.producer);
  if (known == known_.end()) return std::optional<place>{};
  const auto& batches = known->second->batches;
  const auto& last = batches.back();
  auto who = [&] {
    return "producer " + std::to_string(range.producer.value()) + " epoch " + std::to_string(range.epoch.value());
  };
  if (range.epoch == last.epoch) {
    for (auto i = first_recalled(batches, batches.size()); i < batches.size(); ++i)
      if (batches[i].first == range.first && batches[i].last == range.last) return std::optional{batches[i].where};
  }
  if (range.epoch < last.epoch)
    return {errc::invalid_producer_epoch, who() + " is fenced off by epoch " + std::to_string(last.epoch.value())};
  const auto expected = range.epoch > last.epoch ? 0 : following(last.last);
  if (range.first != expected)
    return {errc::out_of_order_sequence,
            who() + " sent sequence " + std::to_string(range.first) + ", expected " + std::to_string(expected)};
  return std::optional<place>{};
}

void producers::appended(const sequence_range& range, const place& where, log_offset committed, wall_time now) {
  auto known = known_.find(range.producer);
  if (known == known_.end()) {
    if (known_.size() >= producers_max) {
      known_.erase(by_age_.front().id);
      by_age_.pop_front();
    }
    by_age_.push_back({range.producer, now, {}});
    known = known_.emplace(range.producer, std::prev(by_age_.end())).first;
  } else {
    by_age_.splice(by_age_.end(), by_age_, known->second);
  }
  auto& it = *known->second;
  it.last_at = now;
  it.batches.push_back({range.epoch, range.first, range.last, where});
  // A roll back may take every batch that is not committed; the five before those are what it must leave.
  auto& batches = it.batches;
  std::size_t certain = batches.size();
  while (certain > 0 && batches[certain - 1].where.end > committed) --certain;
  if (batches.size() - certain > uncommitted_kept) certain = batches.size() - uncommitted_kept;
  if (certain > 0)
    batches.erase(batches.begin(), batches.begin() + static_cast<std::ptrdiff_t>(first_recalled(batches, certain)));
}

void producers::rolled_back(log_offset end) {
  for (auto it = by_age_.begin(); it != by_age_.end();) {
    auto& batches = it->batches;
    while (!batches.empty() && batches.back().where.end > end) batches.pop_back();
    if (batches.empty()) {
      known_.erase(it->id);
      it = by_age_.erase(it);
    } else {
      ++it;
    }
  }
}

void producers::expire(wall_time now) {
  while (!by_age_.empty() && now - by_age_.front().last_at > idle_max) {
    known_.erase(by_age_.front().id);
    by_age_.pop_front();
  }
}

void producers::encode(log_offset end, std::vector<std::byte>& out) const {
  out.reserve(out.size() + head_bytes + by_age_.size() * (producer_bytes + batches_kept * batch_bytes));
  put(out, version);
  const auto count_at = out.size();
  put(out, std::uint32_t{0});
  std::uint32_t count = 0;
  for (const auto& it : by_age_) {
    std::size_t below = it.batches.size();
    while (below > 0 && it.batches[below - 1].where.end > end) --below;
    if (below == 0) continue;
    ++count;
    const auto first = first_recalled(it.batches, below);
    put(out, it.id.value());
    put(out, static_cast<std::int64_t>(it.last_at.time_since_epoch().count()));
    put(out, static_cast<std::uint8_t>(below - first));
    for (auto i = first; i < below; ++i) {
      const auto& b = it.batches[i];
      put(out, b.epoch.value());
      put(out, b.first);
      put(out, b.last);
      put(out, b.where.base.value());
      put(out, b.where.end.value());
      put(out, b.where.timestamp_max);
    }
  }
  store_le(out.data() + count_at, count);
}

result<producers> producers::decode(byte_view in) {
  if (in.size() < head_bytes) return {errc::malformed, "producer states: too short"};
  if (const auto v = take<std::uint8_t>(in); v != version)
    return {errc::malformed, "producer states of version " + std::to_string(v)};
  const auto count = take<std::uint32_t>(in);
  if (count > producers_max || count > in.size() / (producer_bytes + batch_bytes))
    return {errc::malformed, "producer states: impossible count " + std::to_string(count)};
  producers all;
  for (std::uint32_t n = 0; n < count; ++n) {
    if (in.size() < producer_bytes) return {errc::malformed, "producer states: cut off"};
    producer one;
    one.id = producer_id{take<std::int64_t>(in)};
    one.last_at = wall_time{std::chrono::milliseconds{take<std::int64_t>(in)}};
    const std::size_t batches = take<std::uint8_t>(in);
    if (batches == 0 || batches > batches_kept || in.size() < batches * batch_bytes)
      return {errc::malformed, "producer states: impossible number of batches"};
    for (std::size_t i = 0; i < batches; ++i) {
      batch b;
      b.epoch = producer_epoch{take<std::int16_t>(in)};
      b.first = take<std::int32_t>(in);
      b.last = take<std::int32_t>(in);
      b.where.base = log_offset{take<std::int64_t>(in)};
      b.where.end = log_offset{take<std::int64_t>(in)};
      b.where.timestamp_max = take<std::int64_t>(in);
      if (b.first < 0 || b.last < 0 || b.where.end <= b.where.base ||
          (i > 0 && (b.epoch != one.batches.back().epoch || b.where.base < one.batches.back().where.end)))
        return {errc::malformed, "producer states: impossible batch"};
      one.batches.push_back(b);
    }
    const auto id = one.id;
    all.by_age_.push_back(std::move(one));
    if (!all.known_.emplace(id, std::prev(all.by_age_.end())).second)
      return {errc::malformed, "producer states: a producer twice"};
  }
  if (!in.empty()) return {errc::malformed, "producer states: bytes left over"};
  return all;
}

std::vector<producers::remembered> producers::recall(producer_id id) const {
  const auto known = known_.find(id);
  if (known == known_.end()) return {};
  const auto& batches = known->second->batches;
  return {batches.begin() + static_cast<std::ptrdiff_t>(first_recalled(batches, batches.size())), batches.end()};
}

}  // namespace troupe
