#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

namespace troupe::store {

/// An ordered map from bytes to bytes in one small LMDB environment with full sync: metadata, votes, catalogues,
/// snapshots. Every row carries a CRC-32C over key and value; a row that fails it is storage_damaged, never wrong data.
/// Before LMDB walks a file that this process did not write, its page structure is audited, because LMDB trusts it.
/// Thread-safe: writers exclude each other, readers see the last commit.
class table {
public:
  struct row {
    std::vector<std::byte> key, value;
  };
  struct change {
    std::vector<std::byte> key;
    std::optional<std::vector<std::byte>> value;  ///< nothing: delete
  };

  virtual ~table() = default;

  /// `map_bytes` bounds the file. Keys have 1 to 500 bytes. Errors: storage_damaged, storage_failed, wrong_format.
  static result<std::unique_ptr<table>> open(const std::filesystem::path& directory, std::uint64_t map_bytes);

  virtual result<std::optional<std::vector<std::byte>>> get(byte_view key) const = 0;
  /// Rows with from <= key < to in key order (empty `to`: no end). `visit` returns false to stop.
  virtual result<void> scan(byte_view from, byte_view to,
                            const std::function<bool(byte_view key, byte_view value)>& visit) const = 0;
  /// All changes or none, durable when it returns. Blocking. Errors: storage_full (nothing changed), storage_failed
  /// (unknown: stop).
  virtual result<void> commit(const std::vector<change>& changes) = 0;
};

}  // namespace troupe::store
