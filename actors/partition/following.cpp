#include "actors/partition/following.hpp"

#include <algorithm>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/crc32c.hpp"
#include "runtime/base/rules.hpp"

namespace troupe {

namespace {

/// The batch that `rest` begins with, if it is whole, holds the record at `next`, and its epoch is not below `epoch`.
std::optional<store::batch> checked(const shared_bytes& rest, log_offset next, leader_epoch epoch) {
  if (rest.size() < batch_header::header_bytes) return {};
  const batch_header it{rest};
  if (it.magic() != 2 || it.length() < 0 || it.size() < batch_header::header_bytes || it.size() > rest.size())
    return {};
  if (it.offsets() < 1 || it.epoch() < epoch) return {};
  if ((it.base() > next || it.end() <= next) && holds(rule::answer_at_own_end)) return {};
  auto bytes = rest.slice(0, it.size());
  if (crc32c(bytes.view().subspan(batch_header::crc_from)) != it.crc()) return {};
  return store::batch{holds(rule::answer_at_own_end) ? it.base() : next,
                      static_cast<std::int32_t>(it.offsets()),
                      it.epoch(),
                      it.timestamp_max(),
                      std::move(bytes),
                      batch_header::crc_from,
                      it.crc()};
}

}  // namespace

void following::follows(node_id leader, leader_epoch epoch, leader_epoch unclean, instant now) {
  unclean_ = unclean;
  if (leader_ == leader && epoch_ == epoch) return;
  leader_ = leader;
  epoch_ = epoch;
  asked_.reset();
  unanswered_ = 0;
  not_before_ = now;
  backoff_ = backoff_min;
}

void following::stops() {
  leader_.reset();
  epoch_ = no_epoch;
  asked_.reset();
  unanswered_ = 0;
}

void following::back_off(instant now) {
  not_before_ = now + backoff_;
  backoff_ = std::min(2 * backoff_, backoff_max);
}

void following::refused(instant now) {
  if (leader_) back_off(now);
}

std::optional<following::ask> following::next(const log_view& log, instant now) {
  if (asked_ && now - asked_->at >= answer_max) {
    asked_.reset();
    unanswered_ = std::min(unanswered_ + 1, unanswered_max);
    back_off(now);
  }
  if (!leader_ || asked_ || log.cutting || now < not_before_) return {};
  if (log.durable < log.end && holds(rule::fetch_after_sync)) return {};
  asked_ = asked{++last_id_, now};
  const auto last = log.start == log.end ? no_epoch : log.epochs.last();
  return ask{*leader_, {seat_, epoch_, last_id_, log.end, last, log.watermark, fetch_bytes}};
}

std::optional<instant> following::wakes_at(const log_view& log) const {
  if (!leader_) return {};
  if (asked_) return asked_->at + answer_max;
  if (log.cutting || (log.durable < log.end && holds(rule::fetch_after_sync))) return {};  // the disk is waited for
  return not_before_;
}

std::optional<following::effect> following::answered(node_id from, const replica_answer& m, const log_view& log,
                                                     instant now) {
  if ((m.seat != seat_ && holds(rule::added_at_checked)) || !leader_ || log.cutting) return {};
  const bool latest = asked_ && m.id == asked_->id;
  if (latest && from == *leader_) unanswered_ = 0;
  if (std::holds_alternative<replica_answer::refusal>(m.what)) {
    if (!latest) return {};
    asked_.reset();
    back_off(now);
    return {};
  }
  if ((from != *leader_ || m.epoch != epoch_) && holds(rule::answer_same_epoch)) return {};
  if (!latest && holds(rule::answer_same_epoch) && holds(rule::answer_at_own_end)) return {};
  if (m.offset != log.end && holds(rule::answer_at_own_end)) return {};
  asked_.reset();
  if (const auto* records = std::get_if<replica_answer::records>(&m.what)) return taken(*records, log, now);
  if (const auto* parted = std::get_if<replica_answer::divergence>(&m.what)) {
    auto end = std::min(parted->end, log.end);
    if (holds(rule::end_of_greatest_epoch))
      end = std::min(end, log.epochs.end_of(parted->epoch, {log.start, log.end}).end);
    if (end == log.end) {  // a cut that changes nothing would be asked for again at once
      back_off(now);
      return {};
    }
    return cut_to(end, log);
  }
  const auto& over = std::get<replica_answer::restart>(m.what);
  if (loses(over.start, log)) return lost(over.start, log);
  return start_over{over.start};
}

/// Whether a log that ends there lacks what was committed, and nobody has said that it may.
bool following::loses(log_offset end, const log_view& log) const {
  return end < log.watermark && unclean_ <= log.epochs.last() && holds(rule::no_truncation_below_watermark);
}

following::give_up following::lost(log_offset end, const log_view& log) {
  return {{errc::storage_damaged, "the leader's log parts from ours at offset " + std::to_string(end.value()) +
                                      ", below what was committed (" + std::to_string(log.watermark.value()) + ")"}};
}

following::effect following::cut_to(log_offset end, const log_view& log) {
  if (loses(end, log)) return lost(end, log);
  if (end < log.start) return start_over{end};
  return cut{end};
}

std::optional<following::effect> following::taken(const replica_answer::records& m, const log_view& log, instant now) {
  take it{{}, m.watermark, m.start};
  auto next = log.end;
  auto epoch = log.epochs.last();
  for (const auto& run : m.runs) {
    for (std::size_t at = 0; at < run.size();) {
      const auto batch = checked(run.slice(at, run.size() - at), next, epoch);
      // A log may start within a batch: one that takes it over does, too.
      const bool fits = batch && (batch->base == next || (log.start == log.end && it.batches.empty()));
      if (!fits) {
        back_off(now);
        return {};
      }
      next = batch->base + batch->offsets;
      epoch = batch->epoch;
      at += batch->bytes.size();
      it.batches.push_back(*batch);
    }
  }
  backoff_ = backoff_min;
  return it;
}

}  // namespace troupe
