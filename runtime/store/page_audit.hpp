#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

/// Is this file safe for LMDB to walk?
///
/// LMDB trusts its file: a flipped bit in a page number, a size or an offset makes it crash, or return wrong rows
/// without a word. So whatever this process did not write itself is read here first, with pread and without LMDB, and
/// every number that LMDB would follow is checked.
///
///   page 0, 1    meta pages; the one with the higher transaction counts, transaction n lies in page n % 2
///     free tree  transaction -> pages free since then
///     main tree  key -> value, or -> first page of a run of overflow pages
///
/// Checked: both meta pages; page numbers, kinds, depth; places and sizes of nodes, which fill their page's end without
/// gap or overlap; keys strictly rising over the whole tree and within the bounds of the branches above; runs of
/// overflow pages; counts of pages and rows against the meta page; no page reached twice, none both free and in use,
/// none in use beyond the end of the file. Not checked: what the values say (give them a checksum).
namespace troupe::store {

struct audit_options {
  /// The most the file may claim to hold; bounds what is allocated here.
  std::uint64_t map_bytes{0};
  /// The main tree is ordered by keys of 8 bytes in the machine's order (MDB_INTEGERKEY).
  bool integer_keys{false};
  /// Audit the snapshot before the newest instead: LMDB keeps it whole until the next commit.
  bool previous{false};
  /// If set, sees every row of the main tree in order; overflow pages are read for it. An error ends the audit.
  std::function<result<void>(byte_view key, byte_view value)> row{};
};

struct page_audit {
  std::uint64_t meta_page{0};    ///< which of the two the snapshot hangs on
  std::uint64_t transaction{0};  ///< its number, as the meta page says
  std::uint64_t last_page{0};
  std::uint64_t rows{0};  ///< of the main tree
  std::uint64_t pages_used{0}, pages_free{0};
};

/// Audits the file open at `fd`; `name` stands in error texts. Errors: storage_damaged (names file, page and what is
/// wrong), storage_failed (it cannot be read).
result<page_audit> audit_pages(int fd, const std::string& name, const audit_options&);

}  // namespace troupe::store
