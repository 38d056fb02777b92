#pragma once

#include "apps/gateways/kafka/codec/config_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- DescribeConfigs -------------------------------------------------------------------------------------------------

template <>
struct layout<describe_configs_request> {
  using s = describe_configs_request;
  static constexpr api_key key = api_key::describe_configs;
  static constexpr std::tuple fields{
      field{"Resources", &s::resources},
      field{"IncludeSynonyms", &s::include_synonyms},
      field{"IncludeDocumentation", &s::include_documentation}.since(3),
  };
};

template <>
struct layout<describe_configs_request::resource> {
  using s = describe_configs_request::resource;
  static constexpr std::tuple fields{
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
      field{"ConfigurationKeys", &s::configuration_keys}.nullable(),
  };
};

template <>
struct layout<describe_configs_response> {
  using s = describe_configs_response;
  static constexpr api_key key = api_key::describe_configs;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Results", &s::results},
  };
};

template <>
struct layout<describe_configs_response::describe_configs_result> {
  using s = describe_configs_response::describe_configs_result;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
      field{"Configs", &s::configs},
  };
};

template <>
struct layout<describe_configs_response::resource_result> {
  using s = describe_configs_response::resource_result;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Value", &s::value}.nullable(),
      field{"ReadOnly", &s::read_only},
      field{"ConfigSource", &s::config_source},
      field{"IsSensitive", &s::is_sensitive},
      field{"Synonyms", &s::synonyms},
      field{"ConfigType", &s::config_type}.since(3),
      field{"Documentation", &s::documentation}.since(3).nullable(),
  };
};

template <>
struct layout<describe_configs_response::synonym> {
  using s = describe_configs_response::synonym;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Value", &s::value}.nullable(),
      field{"Source", &s::source},
  };
};

// -- AlterConfigs ----------------------------------------------------------------------------------------------------

template <>
struct layout<alter_configs_request> {
  using s = alter_configs_request;
  static constexpr api_key key = api_key::alter_configs;
  static constexpr std::tuple fields{
      field{"Resources", &s::resources},
      field{"ValidateOnly", &s::validate_only},
  };
};

template <>
struct layout<alter_configs_request::resource> {
  using s = alter_configs_request::resource;
  static constexpr std::tuple fields{
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
      field{"Configs", &s::configs},
  };
};

template <>
struct layout<alter_configs_request::alterable_config> {
  using s = alter_configs_request::alterable_config;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Value", &s::value}.nullable(),
  };
};

template <>
struct layout<alter_configs_response> {
  using s = alter_configs_response;
  static constexpr api_key key = api_key::alter_configs;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Responses", &s::responses},
  };
};

template <>
struct layout<alter_configs_response::resource> {
  using s = alter_configs_response::resource;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
  };
};

// -- IncrementalAlterConfigs -----------------------------------------------------------------------------------------

template <>
struct layout<incremental_alter_configs_request> {
  using s = incremental_alter_configs_request;
  static constexpr api_key key = api_key::incremental_alter_configs;
  static constexpr std::tuple fields{
      field{"Resources", &s::resources},
      field{"ValidateOnly", &s::validate_only},
  };
};

template <>
struct layout<incremental_alter_configs_request::alter_configs_resource> {
  using s = incremental_alter_configs_request::alter_configs_resource;
  static constexpr std::tuple fields{
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
      field{"Configs", &s::configs},
  };
};

template <>
struct layout<incremental_alter_configs_request::alterable_config> {
  using s = incremental_alter_configs_request::alterable_config;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"ConfigOperation", &s::config_operation},
      field{"Value", &s::value}.nullable(),
  };
};

template <>
struct layout<incremental_alter_configs_response> {
  using s = incremental_alter_configs_response;
  static constexpr api_key key = api_key::incremental_alter_configs;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Responses", &s::responses},
  };
};

template <>
struct layout<incremental_alter_configs_response::alter_configs_resource> {
  using s = incremental_alter_configs_response::alter_configs_resource;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"ResourceType", &s::resource_type},
      field{"ResourceName", &s::resource_name},
  };
};

}  // namespace troupe::kafka
