#include "apps/gateways/kafka/codec/fetch_tables.hpp"

namespace troupe::kafka {

TROUPE_KAFKA_REQUEST(fetch_request);
TROUPE_KAFKA_RESPONSE(fetch_response);
TROUPE_KAFKA_REQUEST(list_offsets_request);
TROUPE_KAFKA_RESPONSE(list_offsets_response);
TROUPE_KAFKA_REQUEST(offset_for_leader_epoch_request);
TROUPE_KAFKA_RESPONSE(offset_for_leader_epoch_response);

}  // namespace troupe::kafka
