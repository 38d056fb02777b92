#include "actors/node/letter_codec.hpp"

#include "actors/controller/record_fields.hpp"
#include "runtime/base/overloaded.hpp"

namespace troupe::schema {

using controls = cluster_controller;

// -- writing

void write(NodeList::Builder to, const std::vector<node_id>& nodes) {
  write(to.initNodes(count_of(nodes.size())), nodes);
}

void write(NewTopic::Builder to, const new_topic& t) {
  to.setName(text_of(t.name));
  to.setPartitions(t.partitions);
  to.setReplication(t.replication);
  write_list(to.initAssignments(count_of(t.assignments.size())), t.assignments);
  auto overrides = to.initOverrides(count_of(t.overrides.size()));
  unsigned i = 0;
  for (const auto& [name, value] : t.overrides) {
    overrides[i].setName(text_of(name));
    overrides[i++].setValue(text_of(value));
  }
}

void write(Growth::Builder to, const controller::growth& g) {
  to.setName(text_of(g.name));
  to.setCount(g.count);
  if (g.assignments) write_list(to.initAssignments(count_of(g.assignments->size())), *g.assignments);
}

void write(Reconfiguration::Builder to, const controller::reconfiguration& r) {
  to.setName(text_of(r.name));
  write_list(to.initChanges(count_of(r.changes.size())), r.changes,
             [](SettingChange::Builder out, const setting_change& c) {
               out.setName(text_of(c.name));
               out.setOperation(static_cast<std::uint8_t>(c.op));
               if (c.value) out.setValue(text_of(*c.value));
             });
  to.setReplaceAll(r.replace_all);
}

void write(ControllerRequest::Builder to, const controller_request& r) {
  to.setId(r.id);
  auto what = to.initWhat();
  std::visit(overloaded{
                 [&](const controls::create_topics& c) {
                   auto out = what.initCreateTopics();
                   write_list(out.initTopics(count_of(c.topics.size())), c.topics);
                   out.setValidateOnly(c.validate_only);
                 },
                 [&](const controls::delete_topics& d) {
                   auto out = what.initDeleteTopics(count_of(d.topics.size()));
                   for (unsigned i = 0; i < out.size(); ++i) {
                     out[i].setName(text_of(d.topics[i].name));
                     write(out[i].initId(), d.topics[i].id);
                   }
                 },
                 [&](const controls::create_partitions& c) {
                   auto out = what.initCreatePartitions();
                   write_list(out.initTopics(count_of(c.topics.size())), c.topics);
                   out.setValidateOnly(c.validate_only);
                 },
                 [&](const controls::alter_configs& a) {
                   auto out = what.initAlterConfigs();
                   write_list(out.initTopics(count_of(a.topics.size())), a.topics);
                   out.setValidateOnly(a.validate_only);
                 },
                 [&](const controls::reserve_producer_ids& p) { what.setReserveProducerIds(p.count); },
                 [&](const controls::reassign& a) {
                   auto out = what.initReassign(count_of(a.items.size()));
                   for (unsigned i = 0; i < out.size(); ++i) {
                     const auto& [where, target] = a.items[i];
                     write(out[i].initPartition(), where);
                     if (target) write(out[i].initTarget(count_of(target->size())), *target);
                   }
                 },
                 [&](const controls::elect_preferred& e) {
                   write_list(what.initElectPreferred(count_of(e.items.size())), e.items);
                 },
                 [&](const controls::elect_uncleanly& e) {
                   write_list(what.initElectUncleanly(count_of(e.items.size())), e.items);
                 },
                 [&](const controls::remove_node& n) {
                   auto out = what.initRemoveNode();
                   out.setNode(n.node.value());
                   out.setUndo(n.undo);
                 },
                 [&](const controls::want_voter_count& w) { what.setWantVoterCount(w.count); },
                 [&](const controls::drain_node& n) { what.setDrainNode(n.node.value()); },
                 [&](const controls::set_voting& v) {
                   auto out = what.initSetVoting();
                   out.setNode(v.node.value());
                   out.setHow(static_cast<std::uint8_t>(v.how));
                 },
             },
             r.what);
}

void write(Decision::Builder to, const decision& d) {
  to.setName(text_of(d.name));
  if (d.refused) write(to.initRefused(), *d.refused);
  if (!d.now) return;
  const auto& t = *d.now;
  to.setNow(data_of(encode(metadata_record{topic_created{t.id, t.name, t.internal, t.partitions, t.overrides}})));
}

void write(ControllerReply::Builder to, const controller_reply& r) {
  to.setId(r.id);
  to.setApplied(r.applied.value());
  write_list(to.initDecisions(count_of(r.what.decisions.size())), r.what.decisions);
  to.setHasFirst(r.what.first.has_value());
  if (r.what.first) to.setFirst(r.what.first->value());
  write_list(to.initItems(count_of(r.what.items.size())), r.what.items,
             [](ItemOutcome::Builder out, const result<void>& item) {
               if (!item) write(out.initRefused(), item.error());
             });
  if (r.what.failed) write(to.initFailed(), *r.what.failed);
}

// -- reading

namespace {

new_topic read(frame_reader& in, NewTopic::Reader from) {
  new_topic t{in.text("name of a topic", from.getName()), from.getPartitions(), from.getReplication(),
              read(in, from.getAssignments())};
  const auto overrides = in.list("settings", from.getOverrides(), [&](Setting::Reader s) {
    return std::pair{in.text("name of a setting", s.getName()), in.text("value of a setting", s.getValue())};
  });
  t.overrides.insert(overrides.begin(), overrides.end());
  return t;
}

controller::growth read(frame_reader& in, Growth::Reader from) {
  controller::growth g{in.text("name of a topic", from.getName()), from.getCount(), {}};
  if (from.hasAssignments()) g.assignments = read(in, from.getAssignments());
  return g;
}

setting_change read(frame_reader& in, SettingChange::Reader from) {
  setting_change c{in.text("name of a setting", from.getName()),
                   in.number("operation", from.getOperation(), setting_change::operation::subtract),
                   {}};
  if (from.hasValue()) c.value = in.text("value of a setting", from.getValue());
  return c;
}

controls::reassign::item read(frame_reader& in, Reassignment::Reader from) {
  controls::reassign::item item{read(from.getPartition()), {}};
  if (from.hasTarget()) item.target = read(in, "target", from.getTarget());
  return item;
}

controls::request read(frame_reader& in, ControllerRequest::What::Reader from) {
  using what = ControllerRequest::What;
  switch (from.which()) {
    case what::CREATE_TOPICS: {
      in.entered("create topics");
      const auto r = from.getCreateTopics();
      return controls::create_topics{in.list("topics", r.getTopics(), [&](NewTopic::Reader t) { return read(in, t); }),
                                     r.getValidateOnly()};
    }
    case what::DELETE_TOPICS:
      in.entered("delete topics");
      return controls::delete_topics{in.list("topics", from.getDeleteTopics(), [&](DeletedTopic::Reader t) {
        return controller::doomed{in.text("name of a topic", t.getName()), read(t.getId())};
      })};
    case what::CREATE_PARTITIONS: {
      in.entered("create partitions");
      const auto r = from.getCreatePartitions();
      return controls::create_partitions{
          in.list("topics", r.getTopics(), [&](Growth::Reader g) { return read(in, g); }), r.getValidateOnly()};
    }
    case what::ALTER_CONFIGS: {
      in.entered("alter configs");
      const auto r = from.getAlterConfigs();
      return controls::alter_configs{
          in.list("topics", r.getTopics(),
                  [&](Reconfiguration::Reader t) {
                    return controller::reconfiguration{
                        in.text("name of a topic", t.getName()),
                        in.list("changes", t.getChanges(), [&](SettingChange::Reader c) { return read(in, c); }),
                        t.getReplaceAll()};
                  }),
          r.getValidateOnly()};
    }
    case what::RESERVE_PRODUCER_IDS:
      return controls::reserve_producer_ids{from.getReserveProducerIds()};
    case what::REASSIGN:
      in.entered("reassign");
      return controls::reassign{
          in.list("items", from.getReassign(), [&](Reassignment::Reader r) { return read(in, r); })};
    case what::ELECT_PREFERRED:
      in.entered("elect preferred");
      return controls::elect_preferred{read(in, "items", from.getElectPreferred())};
    case what::ELECT_UNCLEANLY:
      in.entered("elect uncleanly");
      return controls::elect_uncleanly{read(in, "items", from.getElectUncleanly())};
    case what::REMOVE_NODE: {
      in.entered("remove node");
      const auto r = from.getRemoveNode();
      return controls::remove_node{node_id{r.getNode()}, r.getUndo()};
    }
    case what::WANT_VOTER_COUNT:
      return controls::want_voter_count{from.getWantVoterCount()};
    case what::DRAIN_NODE:
      return controls::drain_node{node_id{from.getDrainNode()}};
    case what::SET_VOTING: {
      in.entered("set voting");
      const auto r = from.getSetVoting();
      return controls::set_voting{node_id{r.getNode()}, in.number("voting", r.getHow(), voting::never)};
    }
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return controls::want_voter_count{};
}

decision read(frame_reader& in, Decision::Reader from) {
  decision d{in.text("name of a decision", from.getName()), {}, {}};
  if (from.hasRefused()) d.refused = read(in, from.getRefused());
  if (!from.hasNow()) return d;
  const auto bytes = in.slice("topic", from.getNow());
  if (in.trouble()) return d;
  const auto record = decode_metadata_record(bytes);
  if (!record) {
    in.wrong("topic", "does not decode: " + record.error().text);
  } else if (const auto* created = std::get_if<topic_created>(&*record)) {
    auto made = topic_of(*created);
    if (made.ok())
      d.now = std::move(*made);
    else
      in.wrong("topic", "has settings that this version does not know: " + made.error().text);
  } else {
    in.wrong("topic", "is another record");
  }
  return d;
}

controls::outcome read_outcome(frame_reader& in, ControllerReply::Reader from) {
  controls::outcome o;
  o.decisions = in.list("decisions", from.getDecisions(), [&](Decision::Reader d) { return read(in, d); });
  if (from.getHasFirst()) o.first = producer_id{from.getFirst()};
  o.items = in.list("items", from.getItems(), [&](ItemOutcome::Reader i) {
    return i.hasRefused() ? result<void>{read(in, i.getRefused())} : result<void>{};
  });
  if (from.hasFailed()) o.failed = read(in, from.getFailed());
  return o;
}

}  // namespace

controller_request read(frame_reader& in, ControllerRequest::Reader from) {
  in.entered("controller request");
  return {from.getId(), read(in, from.getWhat())};
}

controller_reply read(frame_reader& in, ControllerReply::Reader from) {
  in.entered("controller reply");
  return {from.getId(), meta_offset{from.getApplied()}, read_outcome(in, from)};
}

}  // namespace troupe::schema
