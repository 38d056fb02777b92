#pragma once

#include <map>
#include <mutex>

#include "runtime/base/random.hpp"
#include "runtime/store/segment_device.hpp"
#include "runtime/store/table.hpp"

/// Twins of the disk for tests and simulation: same seams, memory underneath, faults on demand. Segments look like
/// LMDB's files: a block starts 16 bytes into a page, pages of other content lie between. What was not synced may be
/// lost, page by page and within a page sector by sector. Thread-safe, and deterministic for one thread.
namespace troupe::store {

class memory_disk final : public segment_device {
public:
  // -- faults -------------------------------------------------------------------------------------------
  /// The power fails: each page written since its last sync survives with probability `survives`; of some of the others
  /// a few sectors do. Files that are open belong to the former life: use them no more.
  void cut_power(random_source&, double survives);
  /// The next write fails with this when so much of it (0 to 1) is in the file. After storage_full the same place is
  /// written again, as by LMDB.
  void fail_next_append(errc code, double written = 1) { fail_append_ = {code, written}; }
  void fail_next_sync() { fail_sync_ = true; }
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  /// Flips one bit of the segment's blocks (or index).
  bool flip_bit(const segment_name&, std::uint64_t byte, unsigned bit);
  bool flip_index_bit(const segment_name&, std::uint64_t byte, unsigned bit);
  /// The file ends at `bytes` now.
  bool cut(const segment_name&, std::uint64_t bytes);
  bool lose(const segment_name& name) { return files_.erase(name) > 0; }
  std::uint64_t bytes_of(const segment_name&) const;
  std::uint64_t index_bytes_of(const segment_name&) const;
  std::uint64_t used_bytes() const;

  // -- segment_device -----------------------------------------------------------------------------------
  result<std::unique_ptr<segment_file>> create(const segment_name&, std::uint64_t segment_bytes) override;
  result<std::unique_ptr<segment_file>> open(const segment_name&) override;
  result<void> remove(const segment_name&) override;
  result<std::vector<segment_name>> list() override;
  space free_space() override;

  /// A segment only grows, so what a cut can take are pages behind the last sync.
  struct file {
    std::vector<std::byte> bytes;
    std::size_t end{0};                ///< where the next block goes; behind it lies what a full disk left of one
    std::size_t synced{0};             ///< so many of them
    std::vector<std::uint64_t> dirty;  ///< pages behind, rising
    std::vector<std::byte> index;
    void mark_dirty(std::uint64_t from);
  };

private:
  friend class memory_segment;
  struct failure {
    errc code{};
    double written{1};
  };
  std::uint64_t used() const;

  mutable std::mutex mutex_;
  std::map<segment_name, std::shared_ptr<file>> files_;
  std::uint64_t capacity_{UINT64_MAX};
  failure fail_append_;
  bool fail_sync_{false};
};

/// Rows that outlive the store objects, but not the test: commits are durable at once.
class memory_table final : public table {
public:
  struct contents {
    std::mutex mutex;
    std::map<std::vector<std::byte>, std::vector<std::byte>> rows;
  };
  explicit memory_table(std::shared_ptr<contents> c) : contents_{std::move(c)} {}

  result<std::optional<std::vector<std::byte>>> get(byte_view key) const override;
  result<void> scan(byte_view from, byte_view to,
                    const std::function<bool(byte_view key, byte_view value)>& visit) const override;
  result<void> commit(const std::vector<change>& changes) override;

private:
  std::shared_ptr<contents> contents_;
};

}  // namespace troupe::store
