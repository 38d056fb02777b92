#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>

#include "actors/controller/record_fields.hpp"

/// The bytes of metadata records: schemas/metadata.capnp in the standard stream framing.
///
/// Reading trusts nothing: Cap'n Proto checks every pointer while it is followed and throws; the limits below keep a
/// small message from unfolding into a large one (many pointers to one list).
namespace troupe {

namespace schema {

void write(capnp::List<std::int32_t>::Builder to, const std::vector<node_id>& nodes) {
  for (unsigned i = 0; i < nodes.size(); ++i) to.set(i, nodes[i].value());
}

std::vector<node_id> read(capnp::List<std::int32_t>::Reader from) {
  std::vector<node_id> nodes;
  for (auto n : from) nodes.push_back(node_id{n});
  return nodes;
}

void write(Partition::Builder to, const partition_state& p) {
  auto replicas = to.initReplicas(static_cast<unsigned>(p.replicas.size()));
  for (unsigned r = 0; r < p.replicas.size(); ++r) {
    replicas[r].setNode(p.replicas[r].node.value());
    replicas[r].setAddedAt(p.replicas[r].added_at);
  }
  write(to.initIsr(static_cast<unsigned>(p.isr.size())), p.isr);
  to.setLeader(p.leader.value());
  to.setLeaderEpoch(p.epoch.value());
  to.setPartitionEpoch(p.partition_epoch);
  // What most partitions have none of takes no space.
  if (!p.adding.empty()) write(to.initAdding(static_cast<unsigned>(p.adding.size())), p.adding);
  if (!p.removing.empty()) write(to.initRemoving(static_cast<unsigned>(p.removing.size())), p.removing);
  if (!p.elr.empty()) write(to.initElr(static_cast<unsigned>(p.elr.size())), p.elr);
  if (!p.last_known_elr.empty())
    write(to.initLastKnownElr(static_cast<unsigned>(p.last_known_elr.size())), p.last_known_elr);
  to.setUncleanEpoch(p.unclean_epoch.value());
  to.setFormerNode(p.former.node.value());
  to.setFormerEpoch(p.former.epoch);
}

partition_state read(Partition::Reader from) {
  partition_state p;
  for (auto r : from.getReplicas()) p.replicas.push_back({node_id{r.getNode()}, r.getAddedAt()});
  p.isr = read(from.getIsr());
  p.leader = node_id{from.getLeader()};
  p.epoch = leader_epoch{from.getLeaderEpoch()};
  p.partition_epoch = from.getPartitionEpoch();
  p.adding = read(from.getAdding());
  p.removing = read(from.getRemoving());
  p.elr = read(from.getElr());
  p.last_known_elr = read(from.getLastKnownElr());
  p.unclean_epoch = leader_epoch{from.getUncleanEpoch()};
  p.former = {node_id{from.getFormerNode()}, from.getFormerEpoch()};
  return p;
}

}  // namespace schema

namespace {

// A record of the largest topic allowed (100,000 partitions) has about 10 MB.
constexpr std::size_t record_bytes_max = 256u << 20;
constexpr std::size_t all_bytes_max = 1u << 30;  // a snapshot of the largest image
// We follow each pointer once, or twice where a list is sized first.
constexpr std::uint64_t traversals_per_word = 4;
constexpr int nesting_max = 8;

using schema::read;
using schema::text_of;
using schema::write;

std::string read(capnp::Text::Reader t) {
  return {t.begin(), t.size()};
}

void write(capnp::List<schema::Partition>::Builder to, const std::vector<partition_state>& partitions) {
  for (unsigned i = 0; i < partitions.size(); ++i) write(to[i], partitions[i]);
}

std::vector<partition_state> read(capnp::List<schema::Partition>::Reader from) {
  std::vector<partition_state> partitions;
  for (auto in : from) partitions.push_back(read(in));
  return partitions;
}

result<node_state> read_state(std::uint8_t number) {
  if (number > static_cast<std::uint8_t>(node_state::removed))
    return {errc::malformed, "metadata record with node state " + std::to_string(number)};
  return static_cast<node_state>(number);
}

void write(schema::Shard::Builder to, const shard_state& s) {
  to.setOwner(s.owner.value());
  to.setEpoch(s.epoch);
  to.setActive(s.active);
  to.setFormerNode(s.former.node.value());
  to.setFormerEpoch(s.former.epoch);
  to.setSince(s.since.value());
}

shard_state read(schema::Shard::Reader from) {
  return {node_id{from.getOwner()},
          from.getEpoch(),
          from.getActive(),
          {node_id{from.getFormerNode()}, from.getFormerEpoch()},
          meta_offset{from.getSince()}};
}

void write(capnp::List<schema::Setting>::Builder to, const setting_map& settings) {
  unsigned i = 0;
  for (const auto& [name, value] : settings) {
    to[i].setName(text_of(name));
    to[i++].setValue(text_of(value));
  }
}

setting_map read(capnp::List<schema::Setting>::Reader from) {
  setting_map settings;
  for (auto s : from) settings[read(s.getName())] = read(s.getValue());
  return settings;
}

struct writer {
  schema::MetadataRecord::Builder to;

  void operator()(const cluster_formed& r) { to.initClusterFormed().setClusterId(text_of(r.cluster_id)); }
  void operator()(const node_registered& r) {
    auto out = to.initNodeRegistered();
    out.setId(r.node.id.value());
    out.setEpoch(r.node.node_epoch);
    out.setKafkaHost(text_of(r.node.kafka.host));
    out.setKafkaPort(r.node.kafka.port);
    out.setRack(text_of(r.node.rack));
    out.setPeerHost(text_of(r.node.peer.host));
    out.setPeerPort(r.node.peer.port);
    write(out.initDisk(), r.node.disk);
    out.setStart(r.node.start);
    out.setWeight(r.node.weight);
    out.setState(static_cast<std::uint8_t>(r.node.state));
    out.setLeaving(r.node.leaving);
    out.setUnclean(!r.node.clean);
    out.setDiskFull(r.node.disk_full);
    out.setSince(r.node.since.value());
    out.setLastTaken(r.node.last_taken.value());
  }
  void operator()(const topic_created& r) {
    auto out = to.initTopicCreated();
    write(out.initId(), r.id);
    out.setName(text_of(r.name));
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
    out.setName(text_of(r.name));
    out.setEpoch(r.epoch);
  }
  void operator()(const partitions_changed& r) {
    auto out = to.initPartitionsChanged(static_cast<unsigned>(r.changes.size()));
    for (unsigned i = 0; i < r.changes.size(); ++i) {
      write(out[i].initTopic(), r.changes[i].where.topic);
      out[i].setIndex(r.changes[i].where.index.value());
      write(out[i].initState(), r.changes[i].state);
    }
  }
  void operator()(const node_changed& r) {
    auto out = to.initNodeChanged();
    out.setId(r.id.value());
    out.setState(static_cast<std::uint8_t>(r.state));
    out.setLeaving(r.leaving);
    if (r.disk_full) out.setDiskFull(*r.disk_full ? 2 : 1);
  }
  void operator()(const node_ordered& r) {
    auto out = to.initNodeOrdered();
    out.setId(r.id.value());
    out.setDrained(r.orders.drained);
    out.setVotes(static_cast<std::uint8_t>(r.orders.votes));
  }
  void operator()(const shards_changed& r) {
    auto out = to.initShardsChanged();
    out.setKind(text_of(r.kind));
    out.setCount(r.count);
    auto changes = out.initChanges(static_cast<unsigned>(r.changes.size()));
    for (unsigned i = 0; i < r.changes.size(); ++i) {
      changes[i].setShard(r.changes[i].shard);
      write(changes[i].initState(), r.changes[i].state);
    }
  }
  void operator()(const voters_wanted& r) { to.setVotersWanted(r.count); }
};

result<metadata_record> read(schema::MetadataRecord::Reader from) {
  switch (from.which()) {
    case schema::MetadataRecord::CLUSTER_FORMED:
      return metadata_record{cluster_formed{read(from.getClusterFormed().getClusterId())}};
    case schema::MetadataRecord::NODE_REGISTERED: {
      auto in = from.getNodeRegistered();
      auto state = read_state(in.getState());
      if (!state) return state.error();
      node_info node{node_id{in.getId()}, in.getEpoch(), {read(in.getKafkaHost()), in.getKafkaPort()},
                     read(in.getRack()),  *state,        in.getLeaving()};
      node.peer = {read(in.getPeerHost()), in.getPeerPort()};
      node.disk = read(in.getDisk());
      node.start = in.getStart();
      node.weight = in.getWeight();
      node.clean = !in.getUnclean();
      node.disk_full = in.getDiskFull();
      node.since = meta_offset{in.getSince()};
      node.last_taken = meta_offset{in.getLastTaken()};
      return metadata_record{node_registered{std::move(node)}};
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
    case schema::MetadataRecord::PARTITIONS_CHANGED: {
      partitions_changed r;
      for (auto c : from.getPartitionsChanged())
        r.changes.push_back({{read(c.getTopic()), partition_index{c.getIndex()}}, read(c.getState())});
      return metadata_record{std::move(r)};
    }
    case schema::MetadataRecord::NODE_CHANGED: {
      auto in = from.getNodeChanged();
      auto state = read_state(in.getState());
      if (!state) return state.error();
      node_changed r{node_id{in.getId()}, *state, in.getLeaving(), {}};
      if (in.getDiskFull() > 2) return {errc::malformed, "metadata record with a disk that is neither full nor not"};
      if (in.getDiskFull() != 0) r.disk_full = in.getDiskFull() == 2;
      return metadata_record{r};
    }
    case schema::MetadataRecord::SHARDS_CHANGED: {
      auto in = from.getShardsChanged();
      // The image makes room for all of them, also for those that this record does not have.
      if (in.getCount() == 0 || in.getCount() > shards_changed::count_max)
        return {errc::malformed, "metadata record with " + std::to_string(in.getCount()) + " shards of a kind"};
      shards_changed r{read(in.getKind()), in.getCount(), {}};
      for (auto c : in.getChanges()) {
        if (c.getShard() >= r.count) return {errc::malformed, "metadata record with a shard beyond the last"};
        r.changes.push_back({c.getShard(), read(c.getState())});
      }
      return metadata_record{std::move(r)};
    }
    case schema::MetadataRecord::VOTERS_WANTED:
      return metadata_record{voters_wanted{from.getVotersWanted()}};
    case schema::MetadataRecord::NODE_ORDERED: {
      auto in = from.getNodeOrdered();
      if (in.getVotes() > static_cast<std::uint8_t>(voting::never))
        return {errc::malformed, "metadata record with voting " + std::to_string(in.getVotes())};
      return metadata_record{node_ordered{node_id{in.getId()}, {in.getDrained(), static_cast<voting>(in.getVotes())}}};
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

std::vector<std::byte> encode_all(std::span<const metadata_record> records) {
  TROUPE_CHECK(!records.empty());
  std::vector<std::byte> all;
  for (const auto& record : records) {
    const auto bytes = encode(record);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

namespace {

/// Rows lie anywhere in a file; Cap'n Proto wants whole aligned words.
result<kj::Array<capnp::word>> words_of(byte_view bytes, std::size_t bytes_max) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0 || bytes.size() > bytes_max)
    return {errc::malformed, "metadata record of " + std::to_string(bytes.size()) + " bytes"};
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  std::memcpy(words.begin(), bytes.data(), bytes.size());
  return words;
}

/// The record at the beginning of `words`, which then begins behind it.
result<metadata_record> read_one(kj::ArrayPtr<const capnp::word>& words) {
  try {
    // Limits by the record's own size: many small records must not have the allowance of all of them each.
    const auto size = std::min(capnp::expectedSizeInWordsFromPrefix(words), words.size());
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = size * traversals_per_word;
    limits.nestingLimit = nesting_max;
    capnp::FlatArrayMessageReader message{words.slice(0, size), limits};
    auto record = read(message.getRoot<schema::MetadataRecord>());
    words = kj::arrayPtr(message.getEnd(), words.end());
    return record;
  } catch (const kj::Exception& e) {
    return {errc::malformed, std::string{"metadata record: "} + e.getDescription().cStr()};
  }
}

}  // namespace

result<metadata_record> decode_metadata_record(byte_view bytes) {
  auto words = words_of(bytes, record_bytes_max);
  if (!words) return words.error();
  kj::ArrayPtr<const capnp::word> rest = *words;
  auto record = read_one(rest);
  if (record.ok() && rest.size() > 0) return {errc::malformed, "metadata record with bytes behind its end"};
  return record;
}

result<std::vector<metadata_record>> decode_all_metadata_records(byte_view bytes) {
  auto words = words_of(bytes, all_bytes_max);
  if (!words) return words.error();
  std::vector<metadata_record> records;
  for (kj::ArrayPtr<const capnp::word> rest = *words; rest.size() > 0;) {
    auto record = read_one(rest);
    if (!record) return record.error();
    records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace troupe
