#include "actors/node/letter_codec.hpp"

#include "runtime/base/overloaded.hpp"

namespace troupe::schema {

// -- writing

void write(ReplicaFetch::Builder to, const replica_fetch& f) {
  write(to.initSeat(), f.seat);
  to.setEpoch(f.epoch.value());
  to.setId(f.id);
  to.setOffset(f.offset.value());
  to.setLastEpoch(f.last_epoch.value());
  to.setWatermark(f.watermark.value());
  to.setBytesMax(f.bytes_max);
}

void write(ReplicaAnswer::Builder to, const replica_answer& a) {
  write(to.initSeat(), a.seat);
  to.setEpoch(a.epoch.value());
  to.setId(a.id);
  to.setOffset(a.offset.value());
  auto what = to.initWhat();
  std::visit(overloaded{
                 [&](const replica_answer::records& r) {
                   auto out = what.initRecords();
                   out.setWatermark(r.watermark.value());
                   out.setStart(r.start.value());
                   auto runs = out.initRuns(count_of(r.runs.size()));
                   for (unsigned i = 0; i < runs.size(); ++i) runs.set(i, data_of(r.runs[i]));
                 },
                 [&](const replica_answer::divergence& d) {
                   auto out = what.initDivergence();
                   out.setEpoch(d.epoch.value());
                   out.setEnd(d.end.value());
                 },
                 [&](const replica_answer::restart& r) { what.setRestart(r.start.value()); },
                 [&](const replica_answer::refusal& r) { what.setRefusal(static_cast<std::uint16_t>(r.why)); },
             },
             a.what);
}

// -- reading

replica_fetch read(frame_reader& in, ReplicaFetch::Reader from) {
  in.entered("replica fetch");
  return {read(from.getSeat()),
          leader_epoch{from.getEpoch()},
          from.getId(),
          log_offset{from.getOffset()},
          leader_epoch{from.getLastEpoch()},
          log_offset{from.getWatermark()},
          from.getBytesMax()};
}

namespace {

decltype(replica_answer::what) read(frame_reader& in, ReplicaAnswer::What::Reader from) {
  using what = ReplicaAnswer::What;
  switch (from.which()) {
    case what::RECORDS: {
      const auto r = from.getRecords();
      return replica_answer::records{
          log_offset{r.getWatermark()}, log_offset{r.getStart()},
          in.list("runs", r.getRuns(), [&](capnp::Data::Reader d) { return in.slice("run", d); })};
    }
    case what::DIVERGENCE: {
      const auto d = from.getDivergence();
      return replica_answer::divergence{leader_epoch{d.getEpoch()}, log_offset{d.getEnd()}};
    }
    case what::RESTART:
      return replica_answer::restart{log_offset{from.getRestart()}};
    case what::REFUSAL:
      return replica_answer::refusal{in.error_code(from.getRefusal())};
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return {};
}

}  // namespace

replica_answer read(frame_reader& in, ReplicaAnswer::Reader from) {
  in.entered("replica answer");
  return {read(from.getSeat()), leader_epoch{from.getEpoch()}, from.getId(), log_offset{from.getOffset()},
          read(in, from.getWhat())};
}

}  // namespace troupe::schema
