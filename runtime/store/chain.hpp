#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <list>
#include <mutex>
#include <set>

#include "runtime/base/instant.hpp"
#include "runtime/store/catalogue.hpp"
#include "runtime/store/index.hpp"
#include "runtime/store/recovery.hpp"

/// One journal on a device: writes blocks, rolls and seals segments, answers reads, gives space back. It has no thread
/// of its own; who may call what is said below, so that a test or the simulator can step it in one thread.
///
/// A block is *written*, then *synced*, then *settled*: only that brings it into the journal, where readers, the
/// cleaner and the next checkpoint see it, and only then anybody is told. So `group` never shows what a power cut could
/// take. For `interval`, written is enough to be settled.
namespace troupe::store {

/// What all chains of a store share. The numbers are written with relaxed order: they are looked at, not relied on.
struct shared_counters {
  std::atomic<std::uint64_t> blocks{0}, block_bytes{0}, batches{0}, batch_bytes{0}, syncs{0};
  std::atomic<std::uint64_t> hot_reads{0}, cold_reads{0}, cold_read_bytes{0};
  std::atomic<std::uint64_t> segments_dropped{0}, batches_moved{0}, refused_batches{0}, damaged_blocks{0};
  /// A write or sync failed somewhere: nothing is written any more (R10).
  std::atomic<bool> failed{false};
};

/// Rows of sealed segments that were asked for, up to a bound; the least recently used go first. Thread-safe.
class row_cache {
public:
  explicit row_cache(std::uint64_t bytes_max) : bytes_max_{bytes_max} {}
  struct key {
    const void* chain;
    segment_no segment;
    log_id log;
    friend auto operator<=>(const key&, const key&) = default;
  };
  std::shared_ptr<const row_list> get(const key&);
  void put(const key&, std::shared_ptr<const row_list>);
  void drop(const void* chain, segment_no);

private:
  struct held {
    key name;
    std::shared_ptr<const row_list> rows;
  };
  std::uint64_t bytes_max_, bytes_{0};
  std::mutex mutex_;
  std::list<held> by_use_;  // most recent first
  std::map<key, std::list<held>::iterator> by_key_;
};

/// Something for a chain's journal.
struct work {
  enum class kind { append, truncate, trim, restart, mark, copy } what{kind::append};
  log_id log;
  std::vector<batch> batches;  ///< append, copy
  log_offset at;               ///< truncate: end; trim, restart: start; mark: its offset
  shared_bytes state;          ///< mark
  segment_no source{0};        ///< copy: where the batches lie now
  log_store::done done;
  std::size_t taken{0};    ///< batches that earlier blocks took
  std::uint64_t bytes{0};  ///< of all batches, for the queue's bound
};

/// What blocks brought about, to be told after the journal's lock is free.
struct outcome {
  struct ended {
    log_id log;
    log_offset end;
    std::optional<error> refused;  ///< nothing: durable up to `end`
  };
  std::vector<ended> logs;
  std::vector<std::pair<log_store::done, result<void>>> answers;

  void answer(work& w, const result<void>& r) {
    if (w.done) answers.emplace_back(std::move(w.done), r);
  }
  /// Once for each log: what is behind the first refusal does not follow any more.
  void refuse(log_id id, log_offset end, const error& why) {
    const bool told = std::any_of(logs.begin(), logs.end(), [&](const auto& l) { return l.log == id && l.refused; });
    if (!told) logs.push_back({id, end, why});
  }
};

class chain final : private row_source {
public:
  struct settings {
    unsigned lane{0};
    durability level{durability::group};
    std::uint64_t segment_bytes{512ull << 20};
    std::chrono::milliseconds segment_age{std::chrono::hours{1}};
    std::uint64_t block_bytes{2ull << 20};
    std::uint64_t hot_bytes{1ull << 30};
    double live_share{0.25};  ///< the live rest of a segment is copied forward when it is less than this
  };
  struct surroundings {
    segment_device& device;
    catalogue& rows;
    row_cache& cache;
    shared_counters& counters;
    const notice_sink& notice;
  };
  chain(settings, surroundings);

  /// Before anything else: reads what is on disk. `logs`: those of this chain.
  result<void> recover(const std::vector<log_id>& logs);

  /// Most blocks that are written and not settled. Two: one is synced while the next is written. More would only take
  /// from the one after it what could have been gathered.
  static constexpr std::size_t unsettled_max = 2;

  // -- the writer, one thread at a time -----------------------------------------------------------------
  /// May `write_block` be called? If not, what was written must be synced and settled before: there is too much of it,
  /// or the segment is full.
  bool ready() const;
  /// Writes at most one block from the front of `queue`, of which so many bytes are gone then. With `full`, batches are
  /// refused; the rest goes on. Writes nothing if the front has to wait until what was written is settled.
  std::uint64_t write_block(std::deque<work>& queue, bool full, wall_time now);
  /// Ends the active segment if it holds anything and is older than `age`. Everything must be settled.
  void roll(wall_time now, std::chrono::milliseconds age);

  // -- any thread, but one at a time --------------------------------------------------------------------
  /// Takes over the blocks that are durable enough, in order, and adds to `outcome` what is to be told of them. After a
  /// failure the others are given up.
  void settle(outcome&);

  // -- any thread ---------------------------------------------------------------------------------------
  /// Makes durable what was written before. True if there was anything.
  bool sync();

  // -- one helper thread --------------------------------------------------------------------------------
  /// Writes the index of one ended segment. False: there is none, or not now.
  bool seal_next();
  /// Takes dead segments out of the catalogue, then deletes them.
  void drop_dead();
  /// Work that copies forward the next live batches of a mostly dead segment. Empty: none.
  std::vector<work> salvage(std::uint64_t bytes_max);

  // -- any thread ---------------------------------------------------------------------------------------
  void add_log(log_id);
  void drop_log(log_id);
  /// Nothing: the batches have to be read from disk, see `read_cold`.
  std::optional<result<read_result>> read_hot(log_id, log_offset from, const read_limits&);
  /// Reads and verifies. Blocking.
  result<read_result> read_cold(log_id, log_offset from, const read_limits&);
  result<std::optional<time_hit>> find_time(log_id, std::int64_t timestamp, log_offset from, log_offset end);
  result<std::optional<time_hit>> latest_time(log_id, log_offset end);
  result<log_state> state(log_id) const;
  std::vector<extent> extents(log_id) const;
  std::size_t unsettled() const;
  std::uint64_t segments() const;
  std::uint64_t disk_bytes() const;

private:
  struct segment {
    std::shared_ptr<segment_file> file;
    std::uint64_t id{0}, next{0};
    std::uint32_t cuts{0};  ///< ended: truncations and restarts in it
    enum class phase { active, ended, sealed } stage{phase::active};
    bool written_here{false};
    std::uint64_t written_before{0};  ///< bytes that this process had written to the chain when it began
    std::uint64_t bytes{0};
    std::uint64_t data_bytes{0};
    std::vector<index_run> runs;                         ///< sealed
    std::vector<std::pair<log_id, standing>> standings;  ///< ended: as they go into the index
  };
  struct gathered {
    block_builder block;
    std::map<log_id, log_offset> ends;  ///< of logs that this block touches
    std::map<log_id, log_offset> appended;
    std::set<log_id> fixed;  ///< logs with an entry other than a batch
    std::vector<work> waiting;
    std::uint64_t batches{0};
    outcome refused;  ///< what did not get into it
  };
  /// A block that is not settled, or refusals that must not overtake one.
  struct unsettled_block {
    gathered what;
    segment_no segment{0};
    std::uint64_t sequence{0}, position{0}, segment_bytes{0};
    std::uint64_t next{0};  ///< settled when everything below is durable
  };

  // row_source, under the lock
  std::shared_ptr<const row_list> cached(segment_no, log_id) override;
  std::shared_ptr<const row_list> load(segment_no, log_id) override;

  bool take(work&, gathered&, bool full);
  bool take_batches(work&, gathered&, bool full);
  bool take_copies(work&, gathered&);
  std::optional<log_offset> end_unsettled(log_id, const gathered&) const;
  std::uint64_t refuse_all(std::deque<work>&, const error&);
  void refuse_block(gathered&, const error&) const;
  void later(unsettled_block);
  void settle_block(unsettled_block&, outcome&);
  void give_up(gathered&, outcome&) const;
  void fail(const error&);
  void tell(notice::level, std::string event, std::string fields) const;
  result<void> begin_segment(wall_time now);
  result<void> end_segment();
  result<std::uint64_t> put(segment_file&, block_builder&, wall_time now);
  void remember_cancelled(const block_builder&);
  std::vector<std::pair<log_id, standing>> standings() const;
  segment_name name_of(segment_no no) const { return {settings_.lane, settings_.level, no}; }
  result<void> recover_segment(const catalogue::segment_row&, bool newest);
  void name_cut_rows(segment_no);
  std::optional<index_summary> read_summary(const segment_file&, const catalogue::segment_row&) const;
  std::shared_ptr<const row_list> read_rows(const segment_file&, const std::vector<index_run>&, std::uint64_t) const;
  std::shared_ptr<const row_list> rebuild_rows(segment_no, log_id, std::unique_lock<std::mutex>* lock);
  std::shared_ptr<const row_list> fetch_rows(segment_no, log_id);
  error gap_error(log_id, log_offset from, log_offset to) const;
  error unknown(log_id) const;

  const settings settings_;
  surroundings to_;
  mutable std::mutex mutex_;  ///< guards what readers see: the journal and the list of segments
  journal journal_;
  std::deque<unsettled_block> unsettled_;
  std::map<segment_no, segment> segments_;
  std::set<segment_no> stuck_;  ///< cannot be salvaged

  // the writer's own
  std::shared_ptr<segment_file> active_;
  segment_no active_no_{0};
  std::uint64_t active_id_{0}, next_{1}, active_bytes_{0};
  std::atomic<std::uint64_t> written_{0};  ///< bytes since the start; readers look at it
  std::uint32_t previous_crc_{0}, cuts_{0};
  struct cancelled {
    std::uint64_t sequence;
    entry what;
  };
  std::vector<cancelled> cancelled_;  ///< by the two blocks written last
  wall_time active_since_{};

  std::mutex sync_mutex_;
  std::atomic<std::uint64_t> handed_over_{0};    ///< blocks below were written
  std::atomic<std::uint64_t> durable_below_{0};  ///< blocks below were synced
};

}  // namespace troupe::store
