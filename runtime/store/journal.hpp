#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "runtime/store/block.hpp"

/// What the entries of a chain mean: the logs, and where their batches lie. Pure: no disk, no threads.
///
/// A log is a range [start, end) that is covered by **runs**, each a stretch of consecutive batches in one segment; a
/// gap is damage. The latest put of an offset wins. Replay applies segments in order, a sealed one as its list of
/// runs, a recovered one entry by entry.
///
/// Every segment begins with a checkpoint of all logs, which acts as a cut to the end and a trim to the start that it
/// names. So *the newest segment alone says what each log is; older ones only say where bytes lie*. From this follows
/// which segments may go: every one but the newest in which no current batch lies. No truncation has to be kept for
/// the sake of older segments: a cancelled batch in an old segment lies outside [start, end), or is overlaid by the
/// batches that were appended over it later, which are current and therefore keep their segment.
namespace troupe::store {

/// Where one batch lies.
struct row {
  log_offset base;
  std::uint64_t position{0};  ///< in the segment's file
  std::int64_t timestamp_max{-1};
  std::int32_t offsets{0};
  std::uint32_t length{0};
  leader_epoch epoch;
  std::uint32_t crc{0}, head_crc{0};
  std::uint32_t block{0};  ///< within the segment, from 0; not kept when it is sealed
  std::uint16_t checked_from{0};
  bool doubtful{false};  ///< see run

  log_offset end() const { return base + offsets; }
};
using row_list = std::vector<row>;

/// Consecutive batches of one log in one segment.
struct run {
  log_offset base, end;
  segment_no segment{0};
  std::uint64_t bytes{0};
  std::int64_t timestamp_max{-1};
  /// Put before a truncation or restart was lost, which may have taken it away: kept, but never read.
  bool doubtful{false};
};

/// Where the rows of sealed segments come from.
class row_source {
public:
  virtual ~row_source() = default;
  /// Without touching the disk; null if it would have to.
  virtual std::shared_ptr<const row_list> cached(segment_no, log_id) = 0;
  /// May block. Null if they cannot be read.
  virtual std::shared_ptr<const row_list> load(segment_no, log_id) = 0;
};

class journal {
public:
  explicit journal(row_source& source) : source_{source} {}

  // -- what exists ------------------------------------------------------------------------------------
  /// Entries of other logs are ignored: they were dropped.
  void add_log(log_id id) { logs_.try_emplace(id); }
  void drop_log(log_id);
  bool knows(log_id id) const { return logs_.contains(id); }
  /// Did any entry speak of it? If not, it is as every log is that no checkpoint names.
  bool touched(log_id id) const { return at(id).touched; }
  /// The newest segment from now on; its rows are kept here until `seal`.
  void begin_segment(segment_no);
  /// A sealed segment that is newer than those before. `cuts_lost`: see `doubt_all`.
  void add_sealed(segment_no, const std::vector<std::pair<log_id, run>>&, bool cuts_lost);
  void seal(segment_no);
  void forget_segment(segment_no);

  // -- entries, in the order in which they were written ------------------------------------------------
  /// A batch in the newest segment. It belongs at the end; anywhere else, something before it was lost.
  void append(log_id, const row&);
  /// Copies, in offset order and consecutive, of current batches of older segments.
  void move(log_id, const std::vector<row>&);
  /// `end` must be a boundary between batches: see `boundary`.
  void cut(log_id, log_offset end);
  void trim(log_id, log_offset start);
  void restart(log_id, log_offset start);
  void set_mark(log_id, mark);
  void set_standing(log_id, standing);

  // -- damage -------------------------------------------------------------------------------------------
  /// A batch that was written but cannot be read.
  void lose(log_id, log_offset base, log_offset end, leader_epoch);
  void suspect(log_id, log_offset from);
  /// What the newest segment has in [base, end) is gone: a gap, unless a later one has it.
  void miss(log_id, log_offset base, log_offset end);
  /// A block was lost, nobody knows what it held: every log may have changed after its present end.
  void suspect_all();
  /// A truncation or restart in this segment was lost, nobody knows of which log: no batch that was put before is
  /// certain any more.
  void doubt_all(segment_no);
  /// Did that happen in this segment? Then it stays as long as there is anything older, because it says so.
  bool cuts_lost(segment_no no) const { return segments_.at(no).cuts_lost; }
  /// After replay: gaps are damage.
  void find_gaps();

  // -- questions ----------------------------------------------------------------------------------------
  std::vector<log_id> logs() const;
  log_offset start(log_id id) const { return at(id).start; }
  log_offset end(log_id id) const { return at(id).end; }
  standing stands(log_id) const;
  log_state state(log_id) const;
  std::vector<extent> extents(log_id) const;
  /// Greatest boundary between batches at or below `end`. May load rows. Nothing if they cannot be read.
  std::optional<log_offset> boundary(log_id, log_offset end);
  /// Is the batch at `base` read from this segment?
  bool current(log_id, log_offset base, segment_no) const;
  /// Segments that nothing needs any more.
  std::vector<segment_no> dead() const;
  /// The oldest sealed segment, apart from the newest two and `except`, whose live bytes are below `share` of all.
  std::optional<segment_no> mostly_dead(double share, const std::set<segment_no>& except) const;
  std::vector<std::pair<log_id, run>> runs_in(segment_no) const;
  /// Rows of a segment that is not sealed, log by log; shared, as they are now.
  std::vector<std::pair<log_id, std::shared_ptr<const row_list>>> resident(segment_no) const;

  struct piece {
    segment_no segment;
    row what;
  };
  struct found {
    enum class kind { rows, at_end, below_start, gap, not_loaded } what{kind::at_end};
    std::vector<piece> pieces;
    segment_no missing{0};  ///< not_loaded: load the rows of this segment and ask again
    log_offset gap_end;     ///< gap: batches go on here
  };
  /// Batches from the one that holds `from` on; stops at what is not loaded, at a gap and at the limits.
  found collect(log_id, log_offset from, const read_limits&) const;
  /// First batch at or above `from`, wholly below `end`, with a timestamp of at least `timestamp`. May load rows.
  std::optional<time_hit> find_time(log_id, std::int64_t timestamp, log_offset from, log_offset end);
  /// The first of the greatest timestamps of batches wholly below `end`. May load rows.
  std::optional<time_hit> latest_time(log_id, log_offset end);

private:
  using run_map = std::map<log_offset, run>;
  struct log {
    log_offset start, end;
    std::vector<epoch_start> epochs;
    std::optional<mark> last_mark;
    std::optional<log_offset> damaged_from;
    bool touched{false};              ///< an entry spoke of it
    std::optional<log_offset> doubt;  ///< what of it this replay found, which no checkpoint can know
    run_map runs;
  };
  struct segment {
    bool sealed{false}, cuts_lost{false};
    std::uint64_t live_bytes{0}, all_bytes{0};
    std::size_t live_runs{0};
    std::unordered_map<log_id, std::shared_ptr<row_list>> rows;
  };

  log* find(log_id);
  log* touch(log_id);
  const log& at(log_id) const;
  row_list& writable(segment&, log_id);
  std::shared_ptr<const row_list> rows_of(segment_no, log_id, bool may_load) const;
  void insert(log&, const run&);
  run_map::iterator erase(log&, run_map::iterator);
  std::optional<run> part(log_id, const run&, log_offset from, log_offset to) const;
  void clear(log_id, log&, log_offset from, log_offset to);
  void clear_below(log_id, log&, log_offset start);
  void note_epoch(log&, leader_epoch, log_offset);
  static void cut_tables(log&, log_offset end);
  static std::optional<log_offset> first_gap(const log&);
  /// A batch that begins below the end: the truncation or restart before it was in a block that is lost.
  void mend(log_id, log&, log_offset base);
  void extend(log_id, log&, const row&);
  void doubt(log_id, log&);

  row_source& source_;
  std::unordered_map<log_id, log> logs_;
  std::map<segment_no, segment> segments_;
};

}  // namespace troupe::store
