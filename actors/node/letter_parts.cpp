#include "actors/node/letter_codec.hpp"

#include "actors/node/node_codec.hpp"

namespace troupe::schema {

// -- writing

void write(Life::Builder to, const life& l) {
  to.setNode(l.node.value());
  to.setEpoch(l.epoch);
}
void write(Endpoint::Builder to, const endpoint& e) {
  to.setHost(text_of(e.host));
  to.setPort(e.port);
}
void write(PartitionRef::Builder to, const partition_ref& p) {
  write(to.initTopic(), p.topic);
  to.setIndex(p.index.value());
}
void write(Seat::Builder to, const store::log_identity& seat) {
  write(to.initPartition(), partition_ref{seat.topic, seat.partition});
  to.setAddedAt(seat.added_at);
}
void write(Error::Builder to, const error& e) {
  to.setCode(static_cast<std::uint16_t>(e.code));
  to.setText(text_of(std::string_view{e.text}.substr(0, error_text_bytes_max)));
}

// -- reading

life read(Life::Reader from) {
  return {node_id{from.getNode()}, from.getEpoch()};
}
endpoint read(frame_reader& in, Endpoint::Reader from) {
  return {in.text("host", from.getHost()), from.getPort()};
}
partition_ref read(PartitionRef::Reader from) {
  return {read(from.getTopic()), partition_index{from.getIndex()}};
}
store::log_identity read(Seat::Reader from) {
  const auto where = read(from.getPartition());
  return {where.topic, where.index, from.getAddedAt()};
}
error read(frame_reader& in, Error::Reader from) {
  return {in.error_code(from.getCode()), in.text("text of an error", from.getText(), error_text_bytes_max)};
}
std::vector<node_id> read(frame_reader& in, std::string_view field, capnp::List<std::int32_t>::Reader from) {
  return in.list(field, from, [](std::int32_t n) { return node_id{n}; });
}
std::vector<life> read(frame_reader& in, std::string_view field, capnp::List<Life>::Reader from) {
  return in.list(field, from, [](Life::Reader l) { return read(l); });
}
std::vector<partition_ref> read(frame_reader& in, std::string_view field, capnp::List<PartitionRef>::Reader from) {
  return in.list(field, from, [](PartitionRef::Reader p) { return read(p); });
}
std::vector<std::vector<node_id>> read(frame_reader& in, capnp::List<NodeList>::Reader from) {
  return in.list("assignments", from,
                 [&](NodeList::Reader l) { return read(in, "nodes of an assignment", l.getNodes()); });
}

}  // namespace troupe::schema
