#pragma once

#include <optional>
#include <string_view>

#include "runtime/base/rules.hpp"

namespace troupe::sim {

std::string_view to_string(rule);
std::optional<rule> rule_named(std::string_view);

}  // namespace troupe::sim
