#include "apps/gateways/kafka/codec/cluster_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(api_versions_request);
TROUPE_KAFKA_RESPONSE(api_versions_response);
TROUPE_KAFKA_REQUEST(metadata_request);
TROUPE_KAFKA_RESPONSE(metadata_response);
TROUPE_KAFKA_REQUEST(describe_cluster_request);
TROUPE_KAFKA_RESPONSE(describe_cluster_response);

}  // namespace troupe::kafka
