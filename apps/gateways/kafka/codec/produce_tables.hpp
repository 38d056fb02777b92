#pragma once

#include "apps/gateways/kafka/codec/produce_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- Produce ---------------------------------------------------------------------------------------------------------

template <>
struct layout<produce_request> {
  using s = produce_request;
  static constexpr api_key key = api_key::produce;
  static constexpr std::tuple fields{
      field{"TransactionalId", &s::transactional_id}.nullable(),
      field{"Acks", &s::acks},
      field{"TimeoutMs", &s::timeout_ms},
      field{"TopicData", &s::topic_data},
  };
};

template <>
struct layout<produce_request::produce_topic> {
  using s = produce_request::produce_topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name}.until(12),
      field{"TopicId", &s::topic_id}.since(13),
      field{"PartitionData", &s::partition_data},
  };
};

template <>
struct layout<produce_request::produce_partition> {
  using s = produce_request::produce_partition;
  static constexpr std::tuple fields{
      field{"Index", &s::index},
      field{"Records", &s::records}.nullable(),
  };
};

template <>
struct layout<produce_response> {
  using s = produce_response;
  static constexpr api_key key = api_key::produce;
  static constexpr std::tuple fields{
      field{"Responses", &s::responses},
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"NodeEndpoints", &s::node_endpoints}.since(10).tagged(0),
  };
};

template <>
struct layout<produce_response::topic> {
  using s = produce_response::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name}.until(12),
      field{"TopicId", &s::topic_id}.since(13),
      field{"PartitionResponses", &s::partition_responses},
  };
};

template <>
struct layout<produce_response::partition> {
  using s = produce_response::partition;
  static constexpr std::tuple fields{
      field{"Index", &s::index},
      field{"ErrorCode", &s::error_code},
      field{"BaseOffset", &s::base_offset},
      field{"LogAppendTimeMs", &s::log_append_time_ms},
      field{"LogStartOffset", &s::log_start_offset}.since(5),
      field{"RecordErrors", &s::record_errors}.since(8),
      field{"ErrorMessage", &s::error_message}.since(8).nullable(),
      field{"CurrentLeader", &s::current_leader}.since(10).tagged(0),
  };
};

template <>
struct layout<produce_response::batch_index_and_error_message> {
  using s = produce_response::batch_index_and_error_message;
  static constexpr std::tuple fields{
      field{"BatchIndex", &s::batch_index},
      field{"BatchIndexErrorMessage", &s::batch_index_error_message}.nullable(),
  };
};

template <>
struct layout<produce_response::leader_id_and_epoch> {
  using s = produce_response::leader_id_and_epoch;
  static constexpr std::tuple fields{
      field{"LeaderId", &s::leader_id},
      field{"LeaderEpoch", &s::leader_epoch},
  };
};

template <>
struct layout<produce_response::node_endpoint> {
  using s = produce_response::node_endpoint;
  static constexpr std::tuple fields{
      field{"NodeId", &s::node_id},
      field{"Host", &s::host},
      field{"Port", &s::port},
      field{"Rack", &s::rack}.nullable(),
  };
};

// -- InitProducerId --------------------------------------------------------------------------------------------------

template <>
struct layout<init_producer_id_request> {
  using s = init_producer_id_request;
  static constexpr api_key key = api_key::init_producer_id;
  static constexpr std::tuple fields{
      field{"TransactionalId", &s::transactional_id}.nullable(),
      field{"TransactionTimeoutMs", &s::transaction_timeout_ms},
      field{"ProducerId", &s::producer_id}.since(3),
      field{"ProducerEpoch", &s::producer_epoch}.since(3),
      field{"Enable2Pc", &s::enable_2pc}.since(6),
      field{"KeepPreparedTxn", &s::keep_prepared_txn}.since(6),
  };
};

template <>
struct layout<init_producer_id_response> {
  using s = init_producer_id_response;
  static constexpr api_key key = api_key::init_producer_id;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code},
      field{"ProducerId", &s::producer_id},
      field{"ProducerEpoch", &s::producer_epoch},
      field{"OngoingTxnProducerId", &s::ongoing_txn_producer_id}.since(6),
      field{"OngoingTxnProducerEpoch", &s::ongoing_txn_producer_epoch}.since(6),
  };
};

}  // namespace troupe::kafka
