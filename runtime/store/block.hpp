#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/store/log.hpp"

/// The bytes of a block (docs/formats.md 1.3): one group commit of a chain, a header, a directory of typed entries and
/// their payloads. Pure; what is decoded here may come from a damaged disk, so every field is checked before use.
namespace troupe::store {

inline constexpr std::size_t page_bytes = 4096;
/// What LMDB keeps in front of a value on its first overflow page.
inline constexpr std::size_t page_head_bytes = 16;
inline constexpr std::size_t block_header_bytes = 64;
inline constexpr std::size_t directory_entry_bytes = 48;

/// Names a segment within its chain: the sequence of its first block.
using segment_no = std::uint64_t;

enum class entry_kind : std::uint8_t { batch = 1, moved, truncate, trim, restart, mark, checkpoint, again };

/// Does it take away what may be appended anew? A lost one would bring back what is no longer true.
constexpr bool is_cut(entry_kind k) {
  return k == entry_kind::truncate || k == entry_kind::restart;
}

/// One line of the directory. What `base` and `extra` mean depends on the kind.
struct entry {
  entry_kind kind{entry_kind::batch};
  /// Again: the kind of what it repeats, a truncate, trim or restart; `base` is that entry's.
  entry_kind repeats{};
  log_id log;
  /// Batch, moved: base offset. Truncate: new end. Trim, restart, checkpoint: start. Mark: its offset.
  log_offset base;
  /// Batch, moved: greatest timestamp. Checkpoint: end. Again: the sequence of the block of what it repeats.
  std::int64_t extra{0};
  std::uint32_t position{0};  ///< of the payload, from the block's start
  std::uint32_t length{0};
  std::int32_t offsets{0};
  leader_epoch epoch{0};
  std::uint32_t crc{0}, head_crc{0};
  std::uint16_t checked_from{0};
};

struct block_header {
  std::uint64_t segment_id{0};
  std::uint64_t sequence{0};
  std::uint64_t durable_below{0};
  std::uint64_t size{0};
  std::uint32_t entries{0};
  std::uint32_t previous_crc{0};
  std::int64_t written_at_ms{0};
  /// Truncations and restarts in the blocks of the segment before this one (modulo 2^32): after a lost block it shows
  /// whether one of these is lost with it.
  std::uint32_t cuts{0};
  std::uint32_t crc{0};

  std::size_t directory_end() const { return block_header_bytes + std::size_t{entries} * directory_entry_bytes; }
};

/// Size of the LMDB value for a block of `size` bytes: whole pages less the page head, so that it starts on a page.
constexpr std::size_t stored_bytes(std::size_t size) {
  return (size + page_head_bytes + page_bytes - 1) / page_bytes * page_bytes - page_head_bytes;
}

/// Collects entries and writes them as one block. The payloads are shared until then and copied once.
class block_builder {
public:
  /// Most bytes of one block: positions have 32 bits.
  static constexpr std::size_t size_max = 0xf000'0000;

  void add_batch(log_id, const batch&, entry_kind kind = entry_kind::batch);
  void add(entry_kind, log_id, log_offset base, std::int64_t extra = 0, shared_bytes payload = {});

  /// Says once more what the block `sequence` said, in case that is lost.
  void repeat(const entry&, std::uint64_t sequence);

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return block_header_bytes + entries_.size() * directory_entry_bytes + payload_bytes_; }
  std::size_t payload_bytes() const { return payload_bytes_; }
  /// Brings entries of one log together, keeping their order, behind what is repeated, and lays out the payloads.
  void arrange();
  /// After `arrange`. `into` has stored_bytes(size()) bytes. Size, entries and CRC of the header are filled in.
  /// Returns the CRC.
  std::uint32_t write(block_header, byte_span into) const;
  const std::vector<entry>& entries() const { return entries_; }
  const std::vector<shared_bytes>& payloads() const { return payloads_; }

private:
  std::vector<entry> entries_;
  std::vector<shared_bytes> payloads_;
  std::size_t payload_bytes_{0};
};

/// The header of what seems to be a block of this segment: magic and id match and the sizes are possible within
/// `available` bytes. Its CRC is not checked yet.
std::optional<block_header> peek_block(byte_view bytes, std::uint64_t segment_id, std::uint64_t available);
/// The directory; `bytes` starts with the block and has at least `directory_end()` bytes. Nothing if the CRC or
/// an entry is wrong.
std::optional<std::vector<entry>> read_directory(const block_header&, byte_view bytes);
/// Does `payload` have the checksums that its entry says?
bool intact(byte_view payload, std::uint16_t checked_from, std::uint32_t head_crc, std::uint32_t crc);

/// All of a log but its batches: what a checkpoint carries from segment to segment.
struct standing {
  log_offset start, end;
  std::vector<epoch_start> epochs;
  std::optional<mark> last_mark;
  std::optional<log_offset> damaged_from;
};
std::vector<std::byte> encode(const standing&);
/// Nothing if the bytes are not one whole standing.
std::optional<standing> decode_standing(byte_view);

}  // namespace troupe::store
