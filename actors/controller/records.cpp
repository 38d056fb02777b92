#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>

#include "actors/controller/image.hpp"
#include "schemas/metadata.capnp.h"

/// The bytes of metadata records: schemas/metadata.capnp in the standard stream framing.
///
/// Reading trusts nothing: Cap'n Proto checks every pointer while it is followed and throws; the limits below keep a
/// small message from unfolding into a large one (many pointers to one list).
namespace troupe {

namespace {

// A record of the largest topic allowed (100,000 partitions) has about 10 MB.
constexpr std::size_t record_bytes_max = 256u << 20;
// We follow each pointer once, or twice where a list is sized first.
constexpr std::uint64_t traversals_per_word = 4;
constexpr int nesting_max = 8;

void write(schema::Uuid::Builder to, const uuid& id) {
  const auto* bytes = reinterpret_cast<const std::byte*>(id.bytes.data());
  to.setHigh(load_be<std::uint64_t>(bytes));
  to.setLow(load_be<std::uint64_t>(bytes + 8));
}

uuid read(schema::Uuid::Reader from) {
  uuid id;
  auto* bytes = reinterpret_cast<std::byte*>(id.bytes.data());
  store_be<std::uint64_t>(bytes, from.getHigh());
  store_be<std::uint64_t>(bytes + 8, from.getLow());
  return id;
}

// Text may hold any bytes for us; Cap'n Proto only wants to know where it ends.
capnp::Text::Reader text(const std::string& s) {
  return {s.data(), s.size()};
}
std::string read(capnp::Text::Reader t) {
  return {t.begin(), t.size()};
}

void write(capnp::List<schema::Partition>::Builder to, const std::vector<partition_state>& partitions) {
  for (unsigned i = 0; i < partitions.size(); ++i) {
    const auto& p = partitions[i];
    auto out = to[i];
    auto replicas = out.initReplicas(static_cast<unsigned>(p.replicas.size()));
    for (unsigned r = 0; r < p.replicas.size(); ++r) {
      replicas[r].setNode(p.replicas[r].node.value());
      replicas[r].setAddedAt(p.replicas[r].added_at);
    }
    auto isr = out.initIsr(static_cast<unsigned>(p.isr.size()));
    for (unsigned r = 0; r < p.isr.size(); ++r) isr.set(r, p.isr[r].value());
    out.setLeader(p.leader.value());
    out.setLeaderEpoch(p.epoch.value());
    out.setPartitionEpoch(p.partition_epoch);
  }
}

std::vector<partition_state> read(capnp::List<schema::Partition>::Reader from) {
  std::vector<partition_state> partitions;
  for (auto in : from) {
    auto& p = partitions.emplace_back();
    for (auto r : in.getReplicas()) p.replicas.push_back({node_id{r.getNode()}, r.getAddedAt()});
    for (auto n : in.getIsr()) p.isr.push_back(node_id{n});
    p.leader = node_id{in.getLeader()};
    p.epoch = leader_epoch{in.getLeaderEpoch()};
    p.partition_epoch = in.getPartitionEpoch();
  }
  return partitions;
}

void write(capnp::List<schema::Setting>::Builder to, const setting_map& settings) {
  unsigned i = 0;
  for (const auto& [name, value] : settings) {
    to[i].setName(text(name));
    to[i++].setValue(text(value));
  }
}

setting_map read(capnp::List<schema::Setting>::Reader from) {
  setting_map settings;
  for (auto s : from) settings[read(s.getName())] = read(s.getValue());
  return settings;
}

struct writer {
  schema::MetadataRecord::Builder to;

  void operator()(const cluster_formed& r) { to.initClusterFormed().setClusterId(text(r.cluster_id)); }
  void operator()(const node_registered& r) {
    auto out = to.initNodeRegistered();
    out.setId(r.node.id.value());
    out.setEpoch(r.node.node_epoch);
    out.setKafkaHost(text(r.node.kafka.host));
    out.setKafkaPort(r.node.kafka.port);
    out.setRack(text(r.node.rack));
  }
  void operator()(const topic_created& r) {
    auto out = to.initTopicCreated();
    write(out.initId(), r.id);
    out.setName(text(r.name));
    out.setInternal(r.internal);
    write(out.initPartitions(static_cast<unsigned>(r.partitions.size())), r.partitions);
    write(out.initOverrides(static_cast<unsigned>(r.overrides.size())), r.overrides);
  }
  void operator()(const topic_deleted& r) { write(to.initTopicDeleted(), r.id); }
  void operator()(const partitions_added& r) {
    auto out = to.initPartitionsAdded();
    write(out.initId(), r.id);
    write(out.initPartitions(static_cast<unsigned>(r.partitions.size())), r.partitions);
  }
  void operator()(const topic_configured& r) {
    auto out = to.initTopicConfigured();
    write(out.initId(), r.id);
    write(out.initOverrides(static_cast<unsigned>(r.overrides.size())), r.overrides);
  }
  void operator()(const producer_ids_reserved& r) { to.setProducerIdsReserved(r.next); }
  void operator()(const epoch_retired& r) {
    auto out = to.initEpochRetired();
    out.setName(text(r.name));
    out.setEpoch(r.epoch);
  }
};

result<metadata_record> read(schema::MetadataRecord::Reader from) {
  switch (from.which()) {
    case schema::MetadataRecord::CLUSTER_FORMED:
      return metadata_record{cluster_formed{read(from.getClusterFormed().getClusterId())}};
    case schema::MetadataRecord::NODE_REGISTERED: {
      auto in = from.getNodeRegistered();
      return metadata_record{node_registered{
          {node_id{in.getId()}, in.getEpoch(), {read(in.getKafkaHost()), in.getKafkaPort()}, read(in.getRack())}}};
    }
    case schema::MetadataRecord::TOPIC_CREATED: {
      auto in = from.getTopicCreated();
      return metadata_record{topic_created{read(in.getId()), read(in.getName()), in.getInternal(),
                                           read(in.getPartitions()), read(in.getOverrides())}};
    }
    case schema::MetadataRecord::TOPIC_DELETED:
      return metadata_record{topic_deleted{read(from.getTopicDeleted())}};
    case schema::MetadataRecord::PARTITIONS_ADDED: {
      auto in = from.getPartitionsAdded();
      return metadata_record{partitions_added{read(in.getId()), read(in.getPartitions())}};
    }
    case schema::MetadataRecord::TOPIC_CONFIGURED: {
      auto in = from.getTopicConfigured();
      return metadata_record{topic_configured{read(in.getId()), read(in.getOverrides())}};
    }
    case schema::MetadataRecord::PRODUCER_IDS_RESERVED:
      return metadata_record{producer_ids_reserved{from.getProducerIdsReserved()}};
    case schema::MetadataRecord::EPOCH_RETIRED: {
      auto in = from.getEpochRetired();
      return metadata_record{epoch_retired{read(in.getName()), in.getEpoch()}};
    }
  }
  return {errc::malformed, "metadata record of kind " + std::to_string(static_cast<unsigned>(from.which())) +
                               ", which this version does not know: a newer one wrote it"};
}

}  // namespace

std::vector<std::byte> encode(const metadata_record& record) {
  capnp::MallocMessageBuilder message;
  std::visit(writer{message.initRoot<schema::MetadataRecord>()}, record);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span{words.asBytes().begin(), words.asBytes().size()});
  return {bytes.begin(), bytes.end()};
}

result<metadata_record> decode_metadata_record(byte_view bytes) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0 || bytes.size() > record_bytes_max)
    return {errc::malformed, "metadata record of " + std::to_string(bytes.size()) + " bytes"};
  // Rows lie anywhere in a file; Cap'n Proto wants whole aligned words.
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  std::memcpy(words.begin(), bytes.data(), bytes.size());
  capnp::ReaderOptions limits;
  limits.traversalLimitInWords = words.size() * traversals_per_word;
  limits.nestingLimit = nesting_max;
  try {
    capnp::FlatArrayMessageReader message{words, limits};
    if (message.getEnd() != words.end()) return {errc::malformed, "metadata record with bytes behind its end"};
    return read(message.getRoot<schema::MetadataRecord>());
  } catch (const kj::Exception& e) {
    return {errc::malformed, std::string{"metadata record: "} + e.getDescription().cStr()};
  }
}

}  // namespace troupe
