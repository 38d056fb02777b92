#include <caf/send.hpp>
#include <map>
#include <set>

#include "apps/gateways/kafka/decided_exchange.hpp"

/// Where replicas are, and where they are to be: DescribeLogDirs, ElectLeaders, AlterPartitionReassignments,
/// ListPartitionReassignments. The controller decides item by item; which code a refusal is depends on the state that
/// it leaves, and by the time it is answered this node's metadata shows that.
namespace troupe::kafka {
namespace {

class describe_log_dirs_exchange final : public exchange_of<describe_log_dirs_request, describe_log_dirs_response> {
public:
  using exchange_of::exchange_of;

private:
  void serve() override {
    if (!setup().look_at_logs) return answer(told);
    log_directory lost;
    lost.failed = true;
    setup().look_at_logs(reply(std::move(lost), [this](const log_directory& found) { tell(found); }));
  }

  void tell(const log_directory& found) {
    auto& dir = told.results.emplace_back();
    dir.name = found.path;
    if (found.failed) dir.error_code = counted(code::kafka_storage_error);
    if (found.total_bytes) dir.total_bytes = static_cast<std::int64_t>(*found.total_bytes);
    if (found.usable_bytes) dir.usable_bytes = static_cast<std::int64_t>(*found.usable_bytes);
    std::map<std::string_view, std::set<std::int32_t>> wanted;
    if (asked.topics)
      for (const auto& t : *asked.topics) wanted[t.topic].insert(t.partitions.begin(), t.partitions.end());

    const auto now = view();
    std::map<std::string_view, std::vector<describe_log_dirs_response::partition>> topics;
    for (const auto& log : found.logs) {
      const auto name = now->image->names.find(log.seat.topic);
      const auto* state = now->image->find({log.seat.topic, log.seat.partition});
      if (name == now->image->names.end() || state == nullptr) continue;
      // Of a stay that has ended there may be a log for a moment, until it is dropped.
      if (std::ranges::find(state->replicas, replica{setup().node, log.seat.added_at}) == state->replicas.end())
        continue;
      const auto index = log.seat.partition.value();
      if (asked.topics) {
        const auto at = wanted.find(name->second);
        if (at == wanted.end() || !at->second.contains(index)) continue;
      }
      topics[name->second].push_back({index, static_cast<std::int64_t>(log.bytes), 0, false});
    }
    for (auto& [name, partitions] : topics) {
      std::ranges::sort(partitions, {}, &describe_log_dirs_response::partition::partition_index);
      dir.topics.push_back({std::string{name}, std::move(partitions)});
    }
    answer(told);
  }
};

/// Asks the controller for what has an outcome per item.
template <class Asked>
std::function<void(decisions_reply)> items_of(caf::actor controller, Asked what) {
  return [to = std::move(controller), what = std::move(what)](decisions_reply answer) {
    caf::anon_send(to, operator_request{what, [answer = std::move(answer),
                                               count = what.items.size()](const cluster_controller::outcome& out) {
                                          std::vector<decision> made(out.failed ? count : out.items.size());
                                          for (std::size_t i = 0; i < made.size(); ++i)
                                            if (out.failed)
                                              made[i].refused = out.failed;
                                            else if (!out.items[i])
                                              made[i].refused = out.items[i].error();
                                          answer(std::move(made));
                                        }});
  };
}

/// A partition that a request names, and its entry in the answer.
struct named_partition {
  partition_ref where;
  std::size_t topic{0}, place{0};
};

const error no_such_topic{errc::unknown_topic, "there is no such topic"};
const error no_such_partition{errc::unknown_topic, "the topic has no such partition"};

class elect_leaders_exchange final : public decided_exchange<elect_leaders_request, elect_leaders_response> {
public:
  using decided_exchange::decided_exchange;

private:
  static constexpr std::int8_t preferred = 0, unclean = 1;

  void serve() override {
    if (asked.election_type != preferred && asked.election_type != unclean) {
      told.error_code = counted(code::invalid_request);
      return answer(told);
    }
    const auto now = view();
    const auto& image = *now->image;
    if (asked.topic_partitions) {
      for (const auto& t : *asked.topic_partitions) {
        auto& out = told.replica_election_results.emplace_back();
        out.topic = t.name;
        const auto found = image.find(t.name);
        for (const auto index : t.partitions) consider(found.get(), index, image);
      }
    } else {
      // Only those are told that are elected, or should be and cannot.
      for (const auto& [name, t] : image.topics) {
        told.replica_election_results.emplace_back().topic = name;
        for (std::size_t i = 0; i < t->partitions.size(); ++i)
          if (needed(t->partitions[i])) consider(t.get(), static_cast<std::int32_t>(i), image);
        if (told.replica_election_results.back().partition_results.empty()) told.replica_election_results.pop_back();
      }
    }
    if (!anything_sent()) return answer(told);
    std::vector<partition_ref> items;
    for (const auto& p : asked_for_) items.push_back(p.where);
    if (asked.election_type == unclean)
      decide(asked.timeout_ms, items_of(setup().controller, cluster_controller::elect_uncleanly{std::move(items)}));
    else
      decide(asked.timeout_ms, items_of(setup().controller, cluster_controller::elect_preferred{std::move(items)}));
  }

  bool needed(const partition_state& p) const {
    return asked.election_type == unclean ? p.leader.value() < 0 : p.leader != p.replicas.front().node;
  }

  void consider(const topic* t, std::int32_t index, const metadata_image& image) {
    auto& list = told.replica_election_results.back().partition_results;
    auto& out = list.emplace_back();
    out.partition_id = index;
    if (t == nullptr) return put_error(out, no_such_topic);
    const auto* p = image.find({t->id, partition_index{index}});
    if (p == nullptr) return put_error(out, no_such_partition);
    if (!needed(*p)) {
      out.error_code = counted(code::election_not_needed);
      return;
    }
    sent(asked_for_.size());
    asked_for_.push_back({{t->id, partition_index{index}}, told.replica_election_results.size() - 1, list.size() - 1});
  }

  auto& entry_of(std::size_t place) {
    const auto& p = asked_for_[place];
    return told.replica_election_results[p.topic].partition_results[p.place];
  }
  void done(std::size_t place, const decision&) override {
    // The controller elects the best there is: that need not be the one asked for.
    const auto now = view();
    const auto* p = now->image->find(asked_for_[place].where);
    if (p != nullptr && needed(*p))
      nobody(entry_of(place), "the node that should lead does not serve now, or is not in sync");
  }
  void refuse(std::size_t place, const error& why) override {
    auto& out = entry_of(place);
    if (why.code == errc::not_enough_replicas)
      return nobody(out, asked.election_type == unclean
                             ? why.text
                             : why.text + "; an unclean election lets any other replica lead, with loss");
    // Somebody leads by now.
    if (why.code == errc::invalid_request && asked.election_type == unclean) {
      out.error_code = counted(code::election_not_needed);
      return;
    }
    put_error(out, why);
    if (out.error_code == code::not_controller) told.error_code = out.error_code;
  }
  void nobody(elect_leaders_response::partition_result& out, std::string why) {
    out.error_code = counted(asked.election_type == unclean ? code::eligible_leaders_not_available
                                                            : code::preferred_leader_not_available);
    out.error_message = std::move(why);
  }

  std::vector<named_partition> asked_for_;
};

class alter_partition_reassignments_exchange final
    : public decided_exchange<alter_partition_reassignments_request, alter_partition_reassignments_response> {
public:
  using decided_exchange::decided_exchange;

private:
  void serve() override {
    told.allow_replication_factor_change = asked.allow_replication_factor_change;
    const auto now = view();
    cluster_controller::reassign wanted;
    told.responses.resize(asked.topics.size());
    for (std::size_t t = 0; t < asked.topics.size(); ++t) {
      const auto& topic = asked.topics[t];
      told.responses[t].name = topic.name;
      told.responses[t].partitions.resize(topic.partitions.size());
      const auto found = now->image->find(topic.name);
      for (std::size_t p = 0; p < topic.partitions.size(); ++p) {
        const auto& partition = topic.partitions[p];
        auto& out = told.responses[t].partitions[p];
        out.partition_index = partition.partition_index;
        if (!found) {
          put_error(out, no_such_topic);
          continue;
        }
        const partition_ref where{found->id, partition_index{partition.partition_index}};
        if (auto fits = check(now->image->find(where), partition); !fits.ok()) {
          put_error(out, fits.error());
          continue;
        }
        std::optional<std::vector<node_id>> target;
        if (partition.replicas) target = nodes_of(*partition.replicas);
        wanted.items.push_back({where, std::move(target)});
        sent(asked_for_.size());
        asked_for_.push_back({where, t, p});
      }
    }
    if (!anything_sent()) return answer(told);
    decide(asked.timeout_ms, items_of(setup().controller, std::move(wanted)));
  }

  result<void> check(const partition_state* now,
                     const alter_partition_reassignments_request::reassignable_partition& wanted) const {
    if (now == nullptr) return no_such_partition;
    if (asked.allow_replication_factor_change || !wanted.replicas) return {};
    const auto have = now->replicas.size() - now->removing.size();
    if (wanted.replicas->size() == have) return {};
    return {errc::invalid_replication, "the partition has " + std::to_string(have) + " replicas, not " +
                                           std::to_string(wanted.replicas->size()) +
                                           ", and the request does not allow to change that"};
  }

  void done(std::size_t, const decision&) override {}
  void refuse(std::size_t place, const error& why) override {
    const auto& [where, topic, at] = asked_for_[place];
    auto& out = told.responses[topic].partitions[at];
    put_error(out, why);
    if (why.code == errc::invalid_request) {
      const auto now = view();
      const auto* p = now->image->find(where);
      const bool cancels = !asked.topics[topic].partitions[at].replicas;
      const bool nothing_to_cancel = cancels && (p == nullptr || !p->reassigning());
      out.error_code = nothing_to_cancel ? code::no_reassignment_in_progress : code::invalid_replica_assignment;
    }
    if (out.error_code == code::not_controller) {
      told.error_code = out.error_code;
      told.error_message = out.error_message;
    }
  }

  std::vector<named_partition> asked_for_;
};

class list_partition_reassignments_exchange final
    : public exchange_of<list_partition_reassignments_request, list_partition_reassignments_response> {
public:
  using exchange_of::exchange_of;

private:
  void serve() override {
    const auto now = view();
    if (asked.topics) {
      // Each once, whatever the request repeats.
      std::map<std::string_view, std::set<std::int32_t>> wanted;
      for (const auto& t : *asked.topics) wanted[t.name].insert(t.partition_indexes.begin(), t.partition_indexes.end());
      for (const auto& [name, indexes] : wanted)
        if (const auto t = now->image->find(name)) list(*t, &indexes);
    } else {
      for (const auto& [name, t] : now->image->topics) list(*t, nullptr);
    }
    answer(told);
  }

  void list(const topic& t, const std::set<std::int32_t>* wanted) {
    list_partition_reassignments_response::ongoing_topic_reassignment out{t.name, {}};
    for (std::int32_t index = 0; const auto& p : t.partitions) {
      const auto here = index++;
      if (!p.reassigning() || (wanted != nullptr && !wanted->contains(here))) continue;
      auto& o = out.partitions.emplace_back();
      o.partition_index = here;
      for (const auto& r : p.replicas) o.replicas.push_back(r.node.value());
      o.adding_replicas = numbers_of(p.adding);
      o.removing_replicas = numbers_of(p.removing);
    }
    if (!out.partitions.empty()) told.topics.push_back(std::move(out));
  }
};

}  // namespace

exchange_maker* const make_describe_log_dirs = &make<describe_log_dirs_exchange>;
exchange_maker* const make_elect_leaders = &make<elect_leaders_exchange>;
exchange_maker* const make_alter_partition_reassignments = &make<alter_partition_reassignments_exchange>;
exchange_maker* const make_list_partition_reassignments = &make<list_partition_reassignments_exchange>;

}  // namespace troupe::kafka
