#pragma once

#include <filesystem>

#include "runtime/store/segment_device.hpp"

namespace troupe::store {

/// Segments as LMDB environments below `directory` (docs/formats.md 1).
std::unique_ptr<segment_device> make_lmdb_device(std::filesystem::path directory);

}  // namespace troupe::store
