#include "apps/gateways/kafka/codec/produce_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(produce_request);
TROUPE_KAFKA_RESPONSE(produce_response);
TROUPE_KAFKA_REQUEST(init_producer_id_request);
TROUPE_KAFKA_RESPONSE(init_producer_id_response);

}  // namespace troupe::kafka
