#pragma once

#include <cstdint>
#include <string_view>

namespace troupe {

/// Everything that can go wrong, once for the whole product. A gateway has one table
/// from here to its protocol's codes; nobody else knows those numbers.
/// The numbers travel between nodes of different versions: a new one goes to the end (and `errc_last` with it).
enum class errc : std::uint8_t {  // from 1: to CAF, 0 is no error
  // -- routing: refresh what you know and try again ------------------------------------
  /// Another node leads this partition now. The caller refreshes its routes and tries again.
  not_leader = 1,
  /// The request was made under an older epoch. The caller must not repeat it as it is.
  fenced_epoch,
  /// The request names an epoch that this node has not heard of yet. Try again shortly.
  unknown_epoch,
  /// Too few replicas in sync for what the caller asked.
  not_enough_replicas,
  /// There were enough when it was appended, and are not now: it may be stored.
  not_enough_replicas_after_append,
  /// The offset exists, but may not be told yet (a new leader that has not committed). Try again.
  offset_not_available,

  // -- names -----------------------------------------------------------------------------
  unknown_topic,
  unknown_topic_id,
  topic_exists,
  invalid_topic,
  invalid_partitions,
  invalid_replication,
  invalid_assignment,
  invalid_config,
  /// The request contradicts itself or misses something; its text says what.
  invalid_request,
  /// What was asked is understood, but the topic's settings forbid it.
  policy_violation,
  unsupported_version,

  // -- record batches --------------------------------------------------------------------
  /// The bytes are damaged (CRC, lengths). Sending them again may help.
  corrupt_batch,
  /// The batch is whole but says something that is not allowed. Sending it again does not help.
  invalid_record,
  message_too_large,
  invalid_timestamp,
  unsupported_compression,
  invalid_required_acks,

  // -- producers -------------------------------------------------------------------------
  out_of_order_sequence,
  invalid_producer_epoch,
  transactions_unavailable,

  // -- reading ---------------------------------------------------------------------------
  offset_out_of_range,

  // -- storage ---------------------------------------------------------------------------
  /// The disk is full or about to be. Nothing was written; try again after space came back.
  storage_full,
  /// A write or sync failed; what is on disk is unknown. This log directory is given up.
  storage_failed,
  /// Stored bytes do not match their checksum. The text names file and place.
  storage_damaged,
  /// The data directory belongs to a running node, another cluster, or a newer format.
  in_use,
  wrong_format,

  // -- the rest --------------------------------------------------------------------------
  /// Bytes from outside that do not parse.
  malformed,
  timed_out,
  /// The receiver is stopping or gone.
  closed,
  /// A bound is reached; try again later.
  busy,
  /// An operating system call failed; the text has its name and errno.
  system,
  internal,
};
inline constexpr auto errc_last = errc::internal;

/// The error's name as it stands in this file.
std::string_view to_string(errc code) noexcept;

}  // namespace troupe
