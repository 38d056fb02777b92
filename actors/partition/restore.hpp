#pragma once

#include "actors/partition/partition_core.hpp"
#include "runtime/store/log.hpp"

/// What a partition asks of its log that may take a while: both wait for the disk, so they run within
/// `log_store::run_blocking`.
namespace troupe {

/// What a partition's leader starts from: the log's state, the producers of its mark, and those of the batch headers
/// above it. Where the bytes turn out damaged, `damaged_from` says so. Errors: closed, storage_failed.
result<partition_restored> restore_partition(store::log_store&, log_id, wall_time now);

/// The first record in [from, end) that is not older than `timestamp`, or, for `list_offsets::max_timestamp`, the first
/// with the greatest timestamp.
struct time_search {
  std::int64_t timestamp;
  log_offset from, end;
};
list_offsets::outcome find_by_time(store::log_store&, log_id, time_search);

}  // namespace troupe
