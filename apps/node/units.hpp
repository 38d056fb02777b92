#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"

/// Values as people write them in settings. Errors are sentences without a full stop that start with the value.
namespace troupe {

/// `200ms`, `10s`, `5min`, `1h`, `14d`: a whole number and a unit.
result<std::chrono::milliseconds> parse_duration(std::string_view text);
/// In the largest unit that leaves no rest.
std::string duration_text(std::chrono::milliseconds);

/// `1048588`, `64KiB`, `512MiB`, `4GiB`, `1TiB`: bytes, or a whole number and a unit.
result<std::uint64_t> parse_size(std::string_view text);
std::string size_text(std::uint64_t bytes);

/// `text` in quotes, cut and without what would disturb a terminal.
std::string in_quotes(std::string_view text);

}  // namespace troupe
