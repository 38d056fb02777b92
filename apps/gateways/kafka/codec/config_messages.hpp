#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The messages about settings. How members map to the wire, and in which versions, says the table in
/// config_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

struct describe_configs_request {
  struct resource {
    std::int8_t resource_type{0};
    std::string_view resource_name;
    std::optional<std::vector<std::string_view>> configuration_keys;  ///< null: all
  };
  std::vector<resource> resources;
  bool include_synonyms{false};
  bool include_documentation{false};
};

struct describe_configs_response {
  struct synonym {
    std::string name;
    std::optional<std::string> value;
    std::int8_t source{0};
  };
  struct resource_result {
    std::string name;
    std::optional<std::string> value;
    bool read_only{false};
    std::int8_t config_source{-1};
    bool is_sensitive{false};
    std::vector<synonym> synonyms;
    std::int8_t config_type{0};
    std::optional<std::string> documentation;
  };
  struct describe_configs_result {
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
    std::int8_t resource_type{0};
    std::string resource_name;
    std::vector<resource_result> configs;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<describe_configs_result> results;
};

/// Replaces all overrides of a resource.
struct alter_configs_request {
  struct alterable_config {
    std::string_view name;
    std::optional<std::string_view> value;
  };
  struct resource {
    std::int8_t resource_type{0};
    std::string_view resource_name;
    std::vector<alterable_config> configs;
  };
  std::vector<resource> resources;
  bool validate_only{false};
};

struct alter_configs_response {
  struct resource {
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
    std::int8_t resource_type{0};
    std::string resource_name;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<resource> responses;
};

struct incremental_alter_configs_request {
  struct alterable_config {
    std::string_view name;
    std::int8_t config_operation{0};
    std::optional<std::string_view> value;
  };
  struct alter_configs_resource {
    std::int8_t resource_type{0};
    std::string_view resource_name;
    std::vector<alterable_config> configs;
  };
  std::vector<alter_configs_resource> resources;
  bool validate_only{false};
};

struct incremental_alter_configs_response {
  struct alter_configs_resource {
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
    std::int8_t resource_type{0};
    std::string resource_name;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<alter_configs_resource> responses;
};

}  // namespace troupe::kafka
