#include "runtime/transport/link.hpp"

#include <algorithm>

namespace troupe {

using namespace transport_wire;

namespace {

/// A frame is not split for less than this.
constexpr std::size_t piece_bytes_min = 4 << 10;
/// So many batches that are not full may be under way.
constexpr std::size_t small_batches_max = 8;
/// The receiver answers at the latest after so many batches, so that the sender's limit of small ones never stops it.
constexpr std::uint64_t batches_per_receipt = 4;
constexpr std::uint64_t receipts_per_window = 16;

static_assert(batches_per_receipt <= small_batches_max);

}  // namespace

std::uint64_t link_sender::lane::credit() const {
  const auto allowed = std::min(limit, taken() + window);
  return allowed > sent ? allowed - sent : 0;
}

std::uint64_t link_sender::in_flight_bytes(urgency u) const {
  const auto& l = lanes_[index(u)];
  return l.sent - l.taken();
}

bool link_sender::push(urgency u, shared_bytes frame, instant now) {
  auto& l = lanes_[index(u)];
  const auto refuse = [&] {
    ++l.total.dropped;
    return false;
  };
  const auto bytes = frame.size();
  if (bytes > (open_ ? frame_bytes_max_ : limits_.frame_bytes_max)) return refuse();
  if (!open_) {
    if (u == urgency::bulk) return refuse();
    expire(now);
    if (l.queued_bytes + piece_cost(bytes) > limits_.waiting_bytes_max) return refuse();
  }
  // By cost, so that a flood of empty frames is bounded too.
  if (!l.queue.empty() && l.queued_bytes + piece_cost(bytes) > limits_.queue_bytes_max[index(u)]) return refuse();
  l.queued_bytes += piece_cost(bytes);
  l.queue.push_back({std::move(frame), now});
  return true;
}

void link_sender::opened(const per_urgency<std::uint64_t>& granted, std::size_t frame_bytes_max, instant now) {
  TROUPE_CHECK(!open_);
  expire(now);
  open_ = true;
  frame_bytes_max_ = std::min(frame_bytes_max, limits_.frame_bytes_max);
  for (std::size_t i = 0; i < urgencies; ++i) {
    auto& l = lanes_[i];
    l.sent = 0;
    l.granted = l.limit = granted[i];
    l.window = limits_.window_bytes[i];
    // What waited for this peer may be more than it takes.
    std::erase_if(l.queue, [&](const waiting& w) {
      if (w.frame.size() <= frame_bytes_max_) return false;
      l.queued_bytes -= piece_cost(w.frame.size());
      ++l.total.dropped;
      return true;
    });
  }
  sequence_ = acknowledged_ = 0;
  small_.clear();
  probe_.reset();
  fastest_.reset();
}

void link_sender::closed(instant now) {
  open_ = false;
  auto& bulk = lanes_[index(urgency::bulk)];
  while (!bulk.queue.empty()) drop_front(bulk);
  auto& control = lanes_[index(urgency::control)];
  // Its beginning went with the connection.
  if (control.offset > 0) drop_front(control);
  while (control.queued_bytes > limits_.waiting_bytes_max) drop_front(control);
  expire(now);
}

void link_sender::drop_front(lane& l) {
  l.queued_bytes -= piece_cost(l.queue.front().frame.size());
  l.queue.pop_front();
  l.offset = 0;
  ++l.total.dropped;
}

void link_sender::expire(instant now) {
  auto& control = lanes_[index(urgency::control)];
  while (!control.queue.empty() && control.queue.front().since + limits_.waiting_max < now) drop_front(control);
}

/// How many bytes of the first frame go into `room`, with its header; or npos.
std::size_t link_sender::next_piece(const lane& l, std::size_t room) {
  constexpr auto none = static_cast<std::size_t>(-1);
  if (l.queue.empty()) return none;
  const auto left = l.queue.front().frame.size() - l.offset;
  room = static_cast<std::size_t>(std::min<std::uint64_t>(room, l.credit()));
  if (piece_cost(left) <= room) return left;
  if (room < piece_header_bytes + piece_bytes_min) return none;
  return std::min(left, (room - piece_header_bytes) / 8 * 8);
}

bool link_sender::ready() const {
  if (!open_) return false;
  constexpr auto none = static_cast<std::size_t>(-1);
  constexpr auto room = batch_bytes_usual - batch_header_bytes;
  std::uint64_t sendable = 0;
  bool any = false;
  for (const auto& l : lanes_) {
    if (next_piece(l, room) == none) continue;
    any = true;
    sendable += std::min<std::uint64_t>(l.queued_bytes - l.offset, l.credit());
  }
  return any && (small_.size() < small_batches_max || sendable >= room);
}

std::optional<shared_bytes> link_sender::next_batch(const transport_wire::receipt& told, instant now) {
  if (!ready()) return std::nullopt;
  batch_writer out{std::min(batch_header_bytes + queued_bytes(), batch_bytes_usual)};
  fill(out, urgency::control);
  const auto before = out.size();
  fill(out, urgency::bulk);
  const bool has_bulk = out.size() > before;
  ++sequence_;
  if (out.size() < batch_bytes_usual / 2) small_.push_back(sequence_);
  // Measured only while more waits: then the peer answers soon, and its answer tells about the queues on the way.
  if (has_bulk && !probe_ && !lanes_[index(urgency::bulk)].queue.empty()) probe_ = probe{sequence_, now};
  return std::move(out).finish(sequence_, told);
}

shared_bytes link_sender::empty_batch(const transport_wire::receipt& told) {
  TROUPE_CHECK(open_);
  return batch_writer{batch_header_bytes}.finish(++sequence_, told);
}

void link_sender::fill(batch_writer& out, urgency u) {
  auto& l = lanes_[index(u)];
  for (;;) {
    if (out.size() >= batch_bytes_usual) return;
    const auto bytes = next_piece(l, batch_bytes_usual - out.size());
    if (bytes == static_cast<std::size_t>(-1)) return;
    const auto& frame = l.queue.front().frame;
    const auto size = frame.size();
    out.add(u, static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(l.offset),
            frame.view().subspan(l.offset, bytes));
    l.sent += piece_cost(bytes);
    l.offset += bytes;
    if (l.offset < size) continue;
    l.queued_bytes -= piece_cost(size);
    l.offset = 0;
    ++l.total.frames;
    l.total.bytes += size;
    l.queue.pop_front();
  }
}

result<void> link_sender::acknowledged(const transport_wire::receipt& told, instant now) {
  TROUPE_CHECK(open_);
  if (told.acknowledged < acknowledged_ || told.acknowledged > sequence_)
    return {errc::malformed, "a peer acknowledges batches that it cannot have"};
  for (std::size_t i = 0; i < urgencies; ++i) {
    const auto& l = lanes_[i];
    if (told.limits[i] < l.limit || told.limits[i] - l.granted > l.sent)
      return {errc::malformed, "a peer grants credit for what it cannot have taken"};
  }
  acknowledged_ = told.acknowledged;
  for (std::size_t i = 0; i < urgencies; ++i) lanes_[i].limit = told.limits[i];
  while (!small_.empty() && small_.front() <= acknowledged_) small_.pop_front();
  if (probe_ && probe_->sequence <= acknowledged_) adapt(now);
  return {};
}

/// Bulk under way stands in front of control, wherever the bottleneck is. How long shows in how much later than at best
/// a batch is acknowledged.
void link_sender::adapt(instant now) {
  const std::chrono::nanoseconds took = now - probe_->sent;
  probe_.reset();
  fastest_ = fastest_ ? std::min(*fastest_, took) : took;
  auto& bulk = lanes_[index(urgency::bulk)];
  if (bulk.queue.empty()) return;
  const auto most = limits_.window_bytes[index(urgency::bulk)];
  const auto least = std::min(limits_.window_bytes_min, most);
  if (took - *fastest_ > limits_.delay_target)
    bulk.window = std::max<std::uint64_t>(least, bulk.window / 4 * 3);
  else
    bulk.window = std::min<std::uint64_t>(most, bulk.window + 2 * batch_bytes_usual);
}

link_receiver::link_receiver(const link_limits& limits) : frame_bytes_max_{limits.frame_bytes_max} {
  for (std::size_t i = 0; i < urgencies; ++i) lanes_[i].window = limits.window_bytes[i];
}

result<std::vector<link_receiver::delivery>> link_receiver::taken(const batch& b) {
  if (b.kind != batch_kind::frames) return {errc::malformed, "a handshake in the middle of a link"};
  if (b.sequence != sequence_ + 1) return {errc::malformed, "batches of a peer are missing"};
  ++sequence_;
  std::vector<delivery> out;
  out.reserve(b.pieces.size());
  for (const auto& p : b.pieces)
    if (auto r = take(p, out); !r) return r.error();
  if (!b.pieces.empty()) ++batches_;
  return out;
}

result<void> link_receiver::take(const piece& p, std::vector<delivery>& out) {
  auto& l = lanes_[static_cast<std::size_t>(p.kind)];
  l.received += piece_cost(p.bytes.size());
  if (l.received > l.told + l.window) return {errc::malformed, "a peer sends more than it was granted"};
  if (p.frame_bytes > frame_bytes_max_) return {errc::malformed, "a peer sends a frame above the limit"};
  if (!l.partial) {
    if (p.offset != 0) return {errc::malformed, "a frame of a peer begins in its middle"};
    if (p.bytes.size() == p.frame_bytes) {
      out.push_back({p.kind, p.bytes});
      return {};
    }
    l.partial = std::shared_ptr<std::byte[]>{new std::byte[p.frame_bytes]};
    l.partial_bytes = p.frame_bytes;
    l.partial_end = 0;
  }
  if (p.frame_bytes != l.partial_bytes || p.offset != l.partial_end)
    return {errc::malformed, "the pieces of a peer's frame do not fit together"};
  std::memcpy(l.partial.get() + p.offset, p.bytes.data(), p.bytes.size());
  l.partial_end += static_cast<std::uint32_t>(p.bytes.size());
  if (l.partial_end < l.partial_bytes) return {};
  const byte_view whole{l.partial.get(), l.partial_bytes};
  out.push_back({p.kind, shared_bytes{std::move(l.partial), whole}});
  l.partial.reset();
  return {};
}

transport_wire::receipt link_receiver::receipt() {
  transport_wire::receipt told{sequence_, {}};
  for (std::size_t i = 0; i < urgencies; ++i) {
    lanes_[i].told = lanes_[i].received;
    told.limits[i] = lanes_[i].received + lanes_[i].window;
  }
  batches_ = 0;
  return told;
}

bool link_receiver::owes_receipt() const {
  if (batches_ >= batches_per_receipt) return true;
  return std::any_of(lanes_.begin(), lanes_.end(), [](const lane& l) {
    return l.received - l.told >= l.window / receipts_per_window && l.received != l.told;
  });
}

}  // namespace troupe
