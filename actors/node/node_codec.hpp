#pragma once

#include "actors/node/node_letter.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

/// The bytes of what nodes say to each other: one frame of schemas/peer.capnp each.
namespace troupe {

/// Copies large payloads (entries of the quorum, pieces of its snapshots, runs of records) once, into the frame. The
/// text of an error is cut to `error_text_bytes_max`; nothing else is lost.
shared_bytes encode(const node_letter&);
inline constexpr std::size_t error_text_bytes_max = 4096;

/// Trusts nothing. Large payloads are slices that keep `frame` alive (a copy of it, if it is not aligned to 8 bytes).
/// A number of an error that this version does not know becomes `internal`.
/// Error malformed: names message and field; also for what only a newer version says.
result<node_letter> decode(shared_bytes frame);

}  // namespace troupe
