#pragma once

#include <optional>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/store/table.hpp"

namespace troupe {

/// The metadata of a node from before there were quorums, on its way into one.
///
/// Rows, by the first byte of their key (numbers big-endian, so that key order is their order):
///
///     "i"                       format u32 (1), node id i32 — whose directory this is
///     "r" offset i64            one metadata record
///     "s" offset i64, index u32 one record of the snapshot that stands for everything up to `offset`
///
/// They are one snapshot at most and the records that follow it without a gap.
struct former_metadata {
  metadata_image image;
  std::vector<std::vector<std::byte>> rows;  ///< keys of everything that it has there
};
/// Nothing: the table never was such a node's. Errors: wrong_format (another format or a newer setting, another node's
/// directory), storage_damaged (rows that do not decode or do not follow each other), and those of the table.
result<std::optional<former_metadata>> read_former_metadata(const store::table&, node_id);

}  // namespace troupe
