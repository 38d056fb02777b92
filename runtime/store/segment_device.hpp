#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/store/block.hpp"

/// The seam between the journal and the disk: what a chain needs of segments. `lmdb_device` is the real one,
/// `memory_disk` a twin with faults for tests and simulation.
namespace troupe::store {

struct segment_name {
  unsigned lane{0};
  durability level{durability::group};
  segment_no first{0};
  friend auto operator<=>(const segment_name&, const segment_name&) = default;
};
/// "lane-0/group/seg-0000000000000001"
std::string to_string(const segment_name&);

/// One segment. Reading is thread-safe; appending is for one thread.
class segment_file {
public:
  virtual ~segment_file() = default;
  /// Where it is, for messages.
  virtual const std::string& path() const = 0;

  /// Hands a block of `size` bytes that `fill` writes to the operating system. Returns its position in the file.
  /// storage_full: nothing was stored, and a trace of the attempt will not be taken for a block.
  /// storage_failed: nobody knows; never try again.
  virtual result<std::uint64_t> append(std::uint64_t sequence, std::size_t size,
                                       const std::function<void(byte_span)>& fill) = 0;
  /// Everything appended before the call is durable when it returns. From any thread, also beside an append.
  virtual result<void> sync() = 0;
  /// No append any more: gives back what only the writer needs.
  virtual void finish() = 0;

  virtual result<void> read(std::uint64_t position, byte_span into) const = 0;
  virtual std::uint64_t size() const = 0;
  /// For sendfile; null in the twin.
  virtual std::shared_ptr<const int> descriptor() const = 0;
  /// Is it in memory? A guess, cheap.
  virtual bool resident(std::uint64_t position, std::uint64_t size) const = 0;

  /// All or nothing, durable when it returns.
  virtual result<void> write_index(byte_view) = 0;
  virtual result<void> read_index(std::uint64_t position, byte_span into) const = 0;
  /// 0: none.
  virtual std::uint64_t index_size() const = 0;
};

class segment_device {
public:
  virtual ~segment_device() = default;
  /// A new, empty segment, durably there. What a failed attempt left under the name is removed.
  virtual result<std::unique_ptr<segment_file>> create(const segment_name&, std::uint64_t segment_bytes) = 0;
  /// For reading.
  virtual result<std::unique_ptr<segment_file>> open(const segment_name&) = 0;
  virtual result<void> remove(const segment_name&) = 0;
  virtual result<std::vector<segment_name>> list() = 0;
  struct space {
    std::uint64_t free{0}, total{0};
  };
  virtual space free_space() = 0;
};

}  // namespace troupe::store
