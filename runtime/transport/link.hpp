#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"
#include "runtime/transport/batch.hpp"

/// The two halves of a link to one peer. Pure: time comes in as an argument, batches go out as bytes.
///
///     push ──> queue ──next_batch──> batch ─ ─ network ─ ─> taken ──> frames
///                ^                                            │
///                └── acknowledged <─ ─ receipt in a batch ─ ─ ┘  credit: how much may be under way
namespace troupe {

using transport_wire::per_urgency;
using transport_wire::urgency;

struct link_limits {
  std::size_t frame_bytes_max{16 << 20};
  /// What may wait to be sent. A frame that alone is larger is taken when nothing else waits.
  per_urgency<std::size_t> queue_bytes_max{8 << 20, 8 << 20};
  /// What may be under way: sent, and not yet taken by the peer.
  per_urgency<std::size_t> window_bytes{8 << 20, 4 << 20};
  /// Control that waits for a connection.
  std::size_t waiting_bytes_max{1 << 20};
  std::chrono::milliseconds waiting_max{1000};
  /// By how much bulk under way may delay what comes behind it. Above, its window shrinks, down to `window_bytes_min`.
  std::chrono::milliseconds delay_target{5};
  std::size_t window_bytes_min{256 << 10};
};

/// What we send to one peer, across its connections.
///
/// Control goes before bulk, and bulk in short pieces. Order holds within an urgency. Small batches are sent at once
/// while few of them are under way; then frames gather until one is acknowledged or a batch is full.
///
/// Invariants: no more is under way than the peer granted, nor more bulk than our own window, which follows the delay
/// that it causes; never more than `queue_bytes_max` (or one frame) waits.
class link_sender {
public:
  explicit link_sender(const link_limits& limits) : limits_{limits} {}

  /// Queues a frame. False: dropped, because the queue is full, the frame too large, or, without a connection, because
  /// it is bulk.
  bool push(urgency, shared_bytes frame, instant now);
  /// A connection stands; the peer takes that much.
  void opened(const per_urgency<std::uint64_t>& granted, std::size_t frame_bytes_max, instant now);
  /// It is lost. Bulk is dropped, control that was not sent waits for the next one.
  void closed(instant now);
  bool is_open() const noexcept { return open_; }

  /// Whether `next_batch` would give one.
  bool ready() const;
  /// The next batch with frames, if there are any that may be sent now.
  std::optional<shared_bytes> next_batch(const transport_wire::receipt&, instant now);
  /// A batch that only tells the peer what we took. Needs a connection.
  shared_bytes empty_batch(const transport_wire::receipt&);
  /// What the peer says it took. Error malformed: that cannot be; the link is broken.
  result<void> acknowledged(const transport_wire::receipt&, instant now);

  std::size_t queued_bytes() const noexcept { return lanes_[0].queued_bytes + lanes_[1].queued_bytes; }
  std::uint64_t in_flight_bytes(urgency) const;
  /// Frames sent, their bytes, and frames dropped: totals.
  struct counts {
    std::uint64_t frames{0}, bytes{0}, dropped{0};
  };
  const counts& total(urgency u) const { return lanes_[index(u)].total; }

private:
  struct waiting {
    shared_bytes frame;
    instant since;
  };
  struct lane {
    std::deque<waiting> queue;
    std::size_t queued_bytes{0};
    std::size_t offset{0};     ///< how much of the first frame is sent
    std::uint64_t sent{0};     ///< on this connection, by cost
    std::uint64_t granted{0};  ///< at its start
    std::uint64_t limit{0};    ///< now
    std::uint64_t window{0};   ///< our own
    counts total;
    std::uint64_t credit() const;
    std::uint64_t taken() const { return limit - granted; }
  };
  struct probe {
    std::uint64_t sequence;
    instant sent;
  };

  static std::size_t index(urgency u) { return static_cast<std::size_t>(u); }
  static std::size_t next_piece(const lane&, std::size_t room);
  void fill(transport_wire::batch_writer&, urgency);
  void drop_front(lane&);
  void expire(instant now);
  void adapt(instant now);

  link_limits limits_;
  bool open_{false};
  std::size_t frame_bytes_max_{0};
  per_urgency<lane> lanes_;
  std::uint64_t sequence_{0};
  std::uint64_t acknowledged_{0};
  std::deque<std::uint64_t> small_;  ///< batches under way that were not full
  std::optional<probe> probe_;
  std::optional<std::chrono::nanoseconds> fastest_;
};

/// What one connection brings from the peer.
///
/// Invariant: the memory for what is not whole yet is at most one frame per urgency.
class link_receiver {
public:
  explicit link_receiver(const link_limits& limits);

  struct delivery {
    urgency kind;
    shared_bytes frame;
  };
  /// The frames that are whole with this batch, in order; they share its memory. Error malformed: a gap in the
  /// sequence, more than was granted, pieces that do not fit together; the link is broken.
  result<std::vector<delivery>> taken(const transport_wire::batch&);

  /// What may be told to the peer once the frames are delivered; gives credit for as much as was taken.
  transport_wire::receipt receipt();
  /// The peer waits for a receipt, or will before long.
  bool owes_receipt() const;
  bool has_news() const noexcept { return batches_ != 0; }

private:
  struct lane {
    std::size_t window{0};
    std::uint64_t received{0};  ///< by cost
    std::uint64_t told{0};      ///< of these
    std::shared_ptr<std::byte[]> partial;
    std::uint32_t partial_bytes{0};
    std::uint32_t partial_end{0};
  };
  result<void> take(const transport_wire::piece&, std::vector<delivery>&);

  std::size_t frame_bytes_max_;
  per_urgency<lane> lanes_;
  std::uint64_t sequence_{0};
  std::uint64_t batches_{0};  ///< with frames, since the last receipt
};

}  // namespace troupe
