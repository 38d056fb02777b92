#include "apps/gateways/kafka/codec/topic_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(create_topics_request);
TROUPE_KAFKA_RESPONSE(create_topics_response);
TROUPE_KAFKA_REQUEST(delete_topics_request);
TROUPE_KAFKA_RESPONSE(delete_topics_response);
TROUPE_KAFKA_REQUEST(create_partitions_request);
TROUPE_KAFKA_RESPONSE(create_partitions_response);
TROUPE_KAFKA_REQUEST(delete_records_request);
TROUPE_KAFKA_RESPONSE(delete_records_response);

}  // namespace troupe::kafka
