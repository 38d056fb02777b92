#include "apps/gateways/kafka/codec/config_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(describe_configs_request);
TROUPE_KAFKA_RESPONSE(describe_configs_response);
TROUPE_KAFKA_REQUEST(alter_configs_request);
TROUPE_KAFKA_RESPONSE(alter_configs_response);
TROUPE_KAFKA_REQUEST(incremental_alter_configs_request);
TROUPE_KAFKA_RESPONSE(incremental_alter_configs_response);

}  // namespace troupe::kafka
