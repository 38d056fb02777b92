#pragma once

#include "actors/controller/image.hpp"

namespace troupe {

/// Tells the log what an operator wants to read about a record. `before`: the image that it changes. Thread-safe.
void log_record(const metadata_record&, const metadata_image& before);

}  // namespace troupe
