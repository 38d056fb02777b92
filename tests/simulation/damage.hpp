#pragma once

#include <string>

#include "tests/simulation/process.hpp"

/// What disks do to what was written: bits flip, files end too early or are gone (F19).
namespace troupe::sim {

/// Damages one place of the node's logs; whether the process runs does not matter. Says what; empty: there was nothing
/// yet. What may be taken for a torn write is left alone: of the last blocks before an unclean end nobody can tell
/// whether they were ever durable (the store's README).
std::string damage_logs(machine&, random_source&);

/// Damages vote, log or snapshot of the metadata; the process must not run. Says what; empty: nothing that would be
/// missed.
std::string damage_metadata(node_disk&, random_source&);

}  // namespace troupe::sim
