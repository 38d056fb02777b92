#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/store/table.hpp"

namespace troupe {

/// The metadata log of this node on its disk, and the image that it adds up to.
///
/// Rows, by the first byte of their key (numbers big-endian, so that key order is their order):
///
///     "i"                       format u32, node id i32 — whose directory this is
///     "r" offset i64            one metadata record
///     "s" offset i64, index u32 one record of the snapshot that stands for everything up to `offset`
///
/// There is at most one snapshot; the commit that writes one deletes the snapshot before it and every record that it
/// covers, so the rows are always one snapshot and the records that follow it without a gap.
/// Not thread-safe; every call may block on the disk.
class metadata_store {
public:
  static constexpr std::uint64_t map_bytes = 1ull << 30;
  static constexpr std::int64_t snapshot_every = 10'000;

  struct options {
    node_id node;
    std::int64_t snapshot_every{metadata_store::snapshot_every};
  };

  /// Opens or creates. Errors: wrong_format (a newer format or setting, another node's directory), storage_damaged
  /// (rows that do not decode or do not follow each other), and those of the table.
  static result<std::unique_ptr<metadata_store>> open(const std::filesystem::path& directory, const options&);
  /// The same on a table that is open already.
  static result<std::unique_ptr<metadata_store>> open(std::unique_ptr<store::table>, const options&);

  /// Everything committed so far. The next commit makes a new one.
  std::shared_ptr<const metadata_image> image() const { return image_; }

  /// Makes `records` durable behind the last one, all or none, and then part of the image.
  /// Errors: storage_full (nothing changed), storage_failed (unknown: stop).
  result<void> commit(const std::vector<metadata_record>& records);

private:
  metadata_store(std::unique_ptr<store::table> table, const options& how) : table_{std::move(table)}, options_{how} {}
  result<void> identify();
  result<void> load();

  std::unique_ptr<store::table> table_;
  options options_;
  std::shared_ptr<const metadata_image> image_;
  std::int64_t snapshot_at_{-1};  ///< the offset that the snapshot stands for; -1: there is none
  std::uint32_t snapshot_rows_{0};
};

/// What a metadata_store left in a table that is to hold a quorum's log from now on.
struct former_metadata {
  metadata_image image;
  std::vector<std::vector<std::byte>> rows;  ///< keys of everything that it has there
};
/// Nothing: no metadata_store ever used the table. Errors as of `open`.
result<std::optional<former_metadata>> read_former_metadata(const store::table&, node_id);

}  // namespace troupe
