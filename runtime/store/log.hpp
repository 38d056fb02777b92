#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"

/// The node's logs. Many logs share a few **lanes**; a lane is one writer thread and its journal, a chain of
/// **segments** (one LMDB environment each) of **blocks** (one group commit each). docs/formats.md has the bytes,
/// runtime/store/README.md the rules of life of journal entries.
namespace troupe::store {

/// Whose log it is. `added_at` tells two lives of one replica apart.
struct log_identity {
  topic_id topic;
  partition_index partition;
  std::int64_t added_at{0};
  friend auto operator<=>(const log_identity&, const log_identity&) = default;
};

/// When an append counts as durable. Fixed when the log is created.
enum class durability : std::uint8_t {
  /// After the sync of its block (default): survives power loss.
  group,
  /// Once handed to the operating system: survives the death of the process; a power cut may take what
  /// was written since the last periodic sync.
  interval,
};

/// A run of records that is stored and read as one. The store does not look into it.
struct batch {
  log_offset base;
  /// Offsets it takes; the next batch starts at base + offsets.
  std::int32_t offsets{0};
  leader_epoch epoch;
  /// Milliseconds since 1970; the greatest timestamp inside, for retention and lookups by time. -1: none.
  std::int64_t timestamp_max{-1};
  shared_bytes bytes;
  /// The bytes before `checked_from` are protected by the block's own checksum, the rest by `crc`
  /// (CRC-32C of bytes[checked_from, end)), which a record batch brings along: nothing is summed twice.
  std::uint16_t checked_from{0};
  std::uint32_t crc{0};
};

/// What the owner of a log wants to find again after a restart: committed offset, producer states.
struct mark {
  /// Where the log ended when the mark was made; a mark above the end (after a truncation) is not returned.
  log_offset at;
  shared_bytes state;
};

/// First offset written under an epoch.
struct epoch_start {
  leader_epoch epoch;
  log_offset start;
  friend bool operator==(const epoch_start&, const epoch_start&) = default;
};

/// A log as it stands on disk (durable as `durability` says).
struct log_state {
  log_offset start;                 ///< first readable offset; everything below is gone or going
  log_offset end;                   ///< exclusive
  std::vector<epoch_start> epochs;  ///< strictly rising in both; the first may start below `start`
  std::optional<mark> last_mark;
  std::uint64_t bytes{0};  ///< stored bytes of batches in [start, end)
  /// Set when bytes of this log were found damaged: readable below, never led before it was repaired.
  std::optional<log_offset> damaged_from;
};

/// A piece of a log for retention: the batches of one log within one segment (or one block of the active one).
struct extent {
  log_offset base, end;
  std::uint64_t bytes{0};
  std::int64_t timestamp_max{-1};
};

/// Bytes of one or several whole batches, contiguous in a file of the store or in memory. Holding it keeps the file.
struct slice {
  /// When set: read `size` bytes at `position` of this descriptor (sendfile, pread); resident in the page cache when
  /// handed out.
  std::shared_ptr<const int> file;
  std::uint64_t position{0};
  std::size_t size{0};
  /// Otherwise the bytes themselves.
  shared_bytes bytes;
  /// The bytes in memory: a copy when they lie in a file. Errors: storage_failed.
  result<shared_bytes> load() const;
};

/// Whole batches in offset order. The first may begin below the offset asked for.
struct read_result {
  std::vector<slice> slices;
  std::uint64_t bytes{0};
  log_offset next;  ///< where to read on: end of the last batch returned, or the offset asked for
};

struct read_limits {
  log_offset end;  ///< only batches that lie wholly below (high watermark, last stable offset)
  std::uint64_t bytes_max{1 << 20};
  /// Return the first batch even if it is larger than `bytes_max`, so that a reader always gets on.
  bool at_least_one{true};
};

/// A place where records of some time may be: the one batch to look into.
struct time_hit {
  log_offset base;
  std::int64_t timestamp_max;
};

/// What a log tells its owner. Called on a thread of the lane, one call at a time, so it must not block: send yourself
/// a message.
class log_listener {
public:
  virtual ~log_listener() = default;
  /// Everything below `end` is durable. At most once per block and log, in order.
  virtual void durable(log_offset end) = 0;
  /// Batches from `end` on were not written and never will be, including those still queued: the log ends at `end`.
  /// `why` is storage_full (try again later) or storage_failed (the node stops). Appends go on from base == end.
  virtual void refused(log_offset end, const error& why) = 0;
};

struct log_info {
  log_id id;
  log_identity identity;
  durability level{durability::group};
};

struct options {
  /// Writer threads; fixed when the store is created. 0: one per core, at most 8.
  unsigned lanes{0};
  std::uint64_t segment_bytes{512ull << 20};  ///< a segment is rolled at this size [1 MiB, 4 GiB] …
  std::chrono::milliseconds segment_age{std::chrono::hours{1}};  ///< … or at this age, once it holds anything
  std::uint64_t block_bytes{2ull << 20};                         ///< most payload of one block; one batch may exceed it
  std::chrono::milliseconds interval{50};                        ///< time between syncs of `interval` logs
  /// Most bytes queued per lane; above, `append` still queues, but `crowded()` says so.
  std::uint64_t queue_bytes{64ull << 20};
  /// Below this much free space nothing is appended (R11); resumes at twice that. 0: the smaller of 2 GiB and 5 %.
  std::uint64_t reserve_bytes{0};
  /// How much of what was written last is read in place; older data goes through the reader threads. 0: an eighth of
  /// memory.
  std::uint64_t hot_bytes{0};
  unsigned reader_threads{2};
};

/// Counters since the start, and gauges. All monotonic unless said otherwise.
struct statistics {
  std::uint64_t blocks{0}, block_bytes{0}, batches{0}, batch_bytes{0}, syncs{0};
  std::uint64_t hot_reads{0}, cold_reads{0}, cold_read_bytes{0};
  std::uint64_t segments{0}, disk_bytes{0}, free_bytes{0};  // gauges
  std::uint64_t segments_dropped{0}, batches_moved{0};
  std::uint64_t queued_bytes{0};  // gauge
  std::uint64_t refused_batches{0}, damaged_blocks{0};
  bool full{false};    // gauge: appends are refused for lack of space
  bool failed{false};  // a write or sync failed; the node has to stop
};

/// Something the operator should read about: recovery, damage, full disk, failure.
struct notice {
  enum class level { info, warn, error } severity;
  std::string event;   ///< one word, snake_case
  std::string fields;  ///< "key=value key=value"
};
using notice_sink = std::function<void(const notice&)>;

/// All logs of one data directory. Thread-safe.
class log_store {
public:
  using done = std::function<void(result<void>)>;              ///< on a thread of its lane, in order with the listener
  using read_done = std::function<void(result<read_result>)>;  ///< on a reader thread

  virtual ~log_store() = default;

  /// Opens or creates the store in `directory`, recovers every lane, verifies what was written last.
  /// Blocking. The caller holds the data directory's lock. Errors: wrong_format, storage_failed (with the file named),
  /// system. Damaged blocks are no error: see `log_state::damaged_from` and the notices.
  static result<std::unique_ptr<log_store>> open(const std::filesystem::path& directory, const options&, notice_sink);

  /// Makes logs, durably, in one commit. An identity that exists already gets its existing id. Blocking (a
  /// millisecond).
  virtual result<std::vector<log_id>> create(const std::vector<log_identity>&, durability) = 0;
  /// Forgets logs, durably, in one commit; their space comes back later. Unknown ids are ignored. Blocking.
  virtual result<void> drop(const std::vector<log_id>&) = 0;
  virtual std::vector<log_info> logs() const = 0;

  /// Who hears about this log. nullptr: nobody. Returns once no call to the former listener runs any more.
  virtual void listen(log_id, std::shared_ptr<log_listener>) = 0;

  /// Queues batches; they must follow the end of what was queued before without gap (else they are dropped: see
  /// `log_listener::refused`). Never blocks. The bytes are shared until they are written.
  virtual void append(log_id, std::vector<batch>) = 0;
  /// True while more than `queue_bytes` wait in this log's lane: the owner should take no more.
  virtual bool crowded(log_id) const = 0;
  /// Removes every batch that reaches beyond `end`. Rides the same commit order as appends; `done` when durable.
  virtual void truncate(log_id, log_offset end, done) = 0;
  /// Moves the start up to `start` (never down, at most to the end). A log trimmed to its end keeps its end.
  virtual void trim(log_id, log_offset start, done) = 0;
  /// Drops everything and continues at `start`, which may lie anywhere (a follower that starts anew).
  virtual void restart_at(log_id, log_offset start, done) = 0;
  virtual void put_mark(log_id, mark, done) = 0;

  /// Batches from the one that holds `from` on. Returns at once when they lie in recently written files; otherwise
  /// empty, and `later` is called from a reader thread after the bytes were read and their checksums verified. Within
  /// `run_blocking` it always returns at once, and `later` is never called.
  /// At or above the end or `limits.end`: an empty result, no error. Errors: offset_out_of_range (below the start),
  /// storage_damaged, storage_failed, closed.
  virtual std::optional<result<read_result>> read(log_id, log_offset from, const read_limits&, read_done later) = 0;
  /// The first batch at or above `from` whose greatest timestamp is at least `timestamp`; empty if none.
  /// May read an index from disk: call it from a thread that may block, or through `run_blocking`.
  virtual result<std::optional<time_hit>> find_time(log_id, std::int64_t timestamp, log_offset from,
                                                    log_offset end) = 0;
  /// The batch with the greatest timestamp in [start, end): the first of them. As `find_time` otherwise.
  virtual result<std::optional<time_hit>> latest_time(log_id, log_offset end) = 0;
  /// Runs `work` on a reader thread.
  virtual void run_blocking(std::function<void()> work) = 0;

  virtual result<log_state> state(log_id) const = 0;
  /// Oldest first; sealed segments as one extent each, the active one block by block.
  virtual std::vector<extent> extents(log_id) const = 0;

  /// Drops dead segments and copies the live rest of mostly dead ones forward. Also runs by itself every few seconds.
  virtual void clean() = 0;
  virtual statistics stats() const = 0;
  /// Appends are refused for lack of space, as far as was looked: with every write, and every few seconds.
  virtual bool full() const = 0;

  /// Writes what is queued, syncs, leaves the mark of an orderly stop and joins all threads. Also done by the
  /// destructor.
  virtual void close() = 0;
};

}  // namespace troupe::store
