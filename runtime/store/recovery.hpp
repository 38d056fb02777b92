#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/store/journal.hpp"
#include "runtime/store/segment_device.hpp"

/// Finding out what a segment holds that has no index: after a crash, or when the index is damaged.
///
/// The scan looks at every page for a block of this segment (magic and random segment id), whatever LMDB's tree says:
/// after a power cut the last acknowledged block may be on disk while the page that points to it is not. Blocks are
/// then taken in sequence. Each says below which sequence everything was synced when it was written, so a bad or
/// missing block is either **damage** (it was synced once: name it, go on behind it) or the **torn tail** of what was
/// never acknowledged as durable (forget it and everything after it). No knowledge of how the process ended is needed.
namespace troupe::store {

struct scanned_block {
  block_header header;
  std::uint64_t position{0};
  std::vector<entry> entries;
  std::vector<shared_bytes> states;  ///< per entry: payloads of marks and checkpoints
  std::vector<bool> bad;             ///< per entry: the payload fails its checksum
  bool whole{true};
};

struct scan_result {
  std::vector<scanned_block> blocks;        ///< in sequence, each sequence once
  std::vector<std::uint64_t> broken_heads;  ///< positions of what carries our magic and id but fails its CRC
};
/// Errors: storage_failed (cannot be read).
result<scan_result> scan_segment(const segment_file&, std::uint64_t segment_id);

/// The meaning of a block's entries, the same when it was just written and when it is found again.
/// `skip`, if given, says which payloads are bad: their batches are lost.
void apply_block(journal&, const block_header&, segment_no, std::uint64_t position, const std::vector<entry>&,
                 const std::vector<shared_bytes>& states, const std::vector<bool>* skip = nullptr);

struct replay_report {
  struct damage {
    std::string what;  ///< "key=value …", without the file
  };
  std::vector<damage> damages;
  std::uint64_t next{0};         ///< sequence after the last block taken
  std::uint64_t torn_blocks{0};  ///< forgotten
  std::uint32_t cuts{0};         ///< truncations and restarts in the segment
};
/// What is known of a segment that has ended.
struct ended_before {
  std::uint64_t next{0};
  std::uint32_t cuts{0};
};
/// Applies the blocks to the journal, whose newest segment must be this one.
///
/// After lost blocks, the next good one repeats what they cancelled and counts what the segment cancelled before it. If
/// the sum is right, only batches were lost. If not, no batch that was put before is certain: `journal::doubt_all`.
replay_report replay(journal&, const scan_result&, segment_no, const std::optional<ended_before>&);

}  // namespace troupe::store
