#include "apps/gateways/kafka/codec/placement_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(describe_log_dirs_request);
TROUPE_KAFKA_RESPONSE(describe_log_dirs_response);
TROUPE_KAFKA_REQUEST(elect_leaders_request);
TROUPE_KAFKA_RESPONSE(elect_leaders_response);
TROUPE_KAFKA_REQUEST(alter_partition_reassignments_request);
TROUPE_KAFKA_RESPONSE(alter_partition_reassignments_response);
TROUPE_KAFKA_REQUEST(list_partition_reassignments_request);
TROUPE_KAFKA_RESPONSE(list_partition_reassignments_response);

}  // namespace troupe::kafka
