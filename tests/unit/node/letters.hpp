#pragma once

#include <string>
#include <utility>
#include <vector>

#include "actors/node/node_letter.hpp"
#include "runtime/base/random.hpp"

/// Letters of every kind with all fields set, at random from a seed.
namespace troupe::test {

class letter_writer {
public:
  explicit letter_writer(std::uint64_t seed) : random_{seed} {}

  static constexpr std::size_t kinds = std::variant_size_v<node_message>;

  node_letter any() { return of_kind(random_.below(kinds)); }
  node_letter of_kind(std::size_t kind) { return {text(), a_life(), body(kind)}; }

  std::string text() {
    std::string s;
    for (auto n = random_.below(12); n > 0; --n) s += static_cast<char>(random_.below(256));
    return s;
  }
  shared_bytes payload() {
    std::vector<std::byte> bytes(random_.below(40));
    for (auto& b : bytes) b = static_cast<std::byte>(random_.below(256));
    return shared_bytes::own(std::move(bytes));
  }
  raft_entry entry() {
    return {raft_term{big()},
            raft_index{big()},
            pick(raft_entry::kind_t::command, raft_entry::kind_t::no_op, raft_entry::kind_t::members),
            client(),
            random_(),
            members(),
            payload()};
  }
  raft_members members() {
    return some([&] { return raft_member{peer(), flag()}; });
  }
  raft_sessions sessions() {
    return {some([&] { return raft_session{client(), random_(), raft_index{big()}}; }), raft_index{big()}};
  }

private:
  std::int64_t big() { return static_cast<std::int64_t>(random_()); }
  std::int32_t small() { return static_cast<std::int32_t>(random_()); }
  std::uint32_t count() { return static_cast<std::uint32_t>(random_()); }
  bool flag() { return random_.chance(0.5); }
  template <class T, class... More>
  T pick(T first, More... more) {
    const T all[] = {first, more...};
    return all[random_.below(1 + sizeof...(more))];
  }
  template <class Make>
  std::vector<std::invoke_result_t<Make>> some(Make make) {
    std::vector<std::invoke_result_t<Make>> all;
    for (auto n = random_.below(4); n > 0; --n) all.push_back(make());
    return all;
  }
  template <class Make>
  std::optional<std::invoke_result_t<Make>> maybe(Make make) {
    if (flag()) return {};
    return make();
  }

  uuid id() {
    uuid u;
    for (auto& b : u.bytes) b = static_cast<std::uint8_t>(random_());
    return u;
  }
  node_id node() { return node_id{small()}; }
  life a_life() { return {node(), big()}; }
  endpoint an_endpoint() { return {text(), static_cast<std::uint16_t>(random_())}; }
  partition_ref where() { return {id(), partition_index{small()}}; }
  leader_epoch epoch() { return leader_epoch{small()}; }
  std::chrono::milliseconds ms() { return std::chrono::milliseconds{big()}; }
  instant moment() { return instant{instant::duration{big()}}; }
  std::vector<node_id> nodes() {
    return some([&] { return node(); });
  }
  error trouble() { return {pick(errc::not_leader, errc::busy, errc::internal, errc::invalid_config), text()}; }
  node_state state() { return pick(node_state::active, node_state::fenced, node_state::draining, node_state::removed); }
  raft_peer peer() { return {node(), id()}; }
  raft_client client() { return {random_(), raft_index{big()}}; }
  setting_map settings() {
    setting_map all;
    for (auto n = random_.below(4); n > 0; --n) all[text()] = text();
    return all;
  }
  partition_state partition() {
    partition_state p;
    p.replicas = some([&] { return replica{node(), big()}; });
    p.isr = nodes();
    p.leader = node();
    p.epoch = epoch();
    p.partition_epoch = big();
    p.adding = nodes();
    p.removing = nodes();
    p.elr = nodes();
    p.last_known_elr = nodes();
    p.unclean_epoch = epoch();
    p.former = a_life();
    return p;
  }
  heartbeat beat() {
    heartbeat h{a_life(), meta_offset{big()}, moment(), flag(), flag(), {}, {}};
    h.suspicions = some([&] {
      return suspicion_report{a_life(), pick(suspicion_cause::no_lease, suspicion_cause::silent, suspicion_cause::gone),
                              ms()};
    });
    h.unreachable = some([&] { return a_life(); });
    h.disk_full = flag();
    if (flag()) h.wall = wall_time{ms()};
    return h;
  }
  heartbeat_answer beat_answer() {
    using kind = clock_verdict::kind;
    const clock_verdict clocks{pick(kind::unknown, kind::alone, kind::agreed, kind::disputed), wall_time{ms()}};
    return {a_life(), moment(), flag(), state(), flag(), flag(), clocks, meta_offset{big()}};
  }

  decltype(raft_message::body) raft_body() {
    switch (random_.below(9)) {
      case 0:
        return raft_pre_vote{raft_index{big()}, raft_term{big()}};
      case 1:
        return raft_pre_vote_reply{flag()};
      case 2:
        return raft_vote{raft_index{big()}, raft_term{big()}, flag()};
      case 3:
        return raft_vote_reply{flag()};
      case 4:
        return raft_append{raft_index{big()}, raft_term{big()}, raft_index{big()}, random_(),
                           some([&] { return entry(); })};
      case 5:
        return raft_append_reply{flag(),          random_(), raft_index{big()}, raft_index{big()}, raft_index{big()},
                                 raft_term{big()}};
      case 6:
        return raft_install{raft_index{big()}, raft_term{big()}, random_(), random_(),
                            random_(),         payload(),        members(), sessions()};
      case 7:
        return raft_install_reply{raft_index{big()}, random_(), random_()};
      default:
        return raft_hand_over{};
    }
  }

  cluster_controller::request request() {
    using c = cluster_controller;
    const auto assignments = [&] { return some([&] { return nodes(); }); };
    switch (random_.below(12)) {
      case 0:
        return c::create_topics{
            some([&] {
              return new_topic{text(), small(), static_cast<std::int16_t>(random_()), assignments(), settings()};
            }),
            flag()};
      case 1:
        return c::delete_topics{some([&] { return controller::doomed{text(), id()}; })};
      case 2:
        return c::create_partitions{some([&] {
                                      return controller::growth{text(), small(), maybe(assignments)};
                                    }),
                                    flag()};
      case 3:
        return c::alter_configs{some([&] {
                                  using op = setting_change::operation;
                                  return controller::reconfiguration{
                                      text(), some([&] {
                                        return setting_change{text(),
                                                              pick(op::set, op::remove, op::append, op::subtract),
                                                              maybe([&] { return text(); })};
                                      }),
                                      flag()};
                                }),
                                flag()};
      case 4:
        return c::reserve_producer_ids{big()};
      case 5:
        return c::reassign{some([&] { return c::reassign::item{where(), maybe([&] { return nodes(); })}; })};
      case 6:
        return c::elect_preferred{some([&] { return where(); })};
      case 7:
        return c::remove_node{node(), flag()};
      case 8:
        return c::drain_node{node()};
      case 10:
        return c::elect_uncleanly{some([&] { return where(); })};
      case 9:
        return c::set_voting{node(), pick(voting::automatic, voting::always, voting::never)};
      default:
        return c::want_voter_count{small()};
    }
  }

  cluster_controller::outcome outcome() {
    cluster_controller::outcome o;
    o.decisions = some([&] {
      decision d{text(), maybe([&] { return trouble(); }), {}};
      if (!d.refused)
        d.now = topic_of({id(), text(), flag(), some([&] { return partition(); }), {{"retention.ms", "5"}}}).value();
      return d;
    });
    o.first = maybe([&] { return producer_id{big()}; });
    o.items = some([&] { return flag() ? result<void>{} : result<void>{trouble()}; });
    o.failed = maybe([&] { return trouble(); });
    return o;
  }

  membership::message membership_message() {
    const auto rumours = [&] { return some([&] { return membership::rumour{a_life(), count(), flag()}; }); };
    switch (random_.below(5)) {
      case 0:
        return membership::probe{a_life(), a_life(), random_(), rumours()};
      case 1:
        return membership::ack{a_life(), a_life(), random_(), count(), ms(), rumours()};
      case 2:
        return membership::probe_request{a_life(), a_life(), random_(), rumours()};
      case 3:
        return membership::nack{a_life(), a_life(), random_(), rumours()};
      default:
        return membership::gossip{a_life(), rumours()};
    }
  }

  store::log_identity seat() { return {id(), partition_index{small()}, big()}; }
  replica_answer from_leader() {
    replica_answer a{seat(), epoch(), random_(), log_offset{big()}, {}};
    switch (random_.below(4)) {
      case 0:
        a.what = replica_answer::records{log_offset{big()}, log_offset{big()}, some([&] { return payload(); })};
        break;
      case 1:
        a.what = replica_answer::divergence{epoch(), log_offset{big()}};
        break;
      case 2:
        a.what = replica_answer::restart{log_offset{big()}};
        break;
      default:
        a.what = replica_answer::refusal{pick(errc::not_leader, errc::fenced_epoch, errc::unknown_epoch)};
    }
    return a;
  }

  node_message body(std::size_t kind) {
    switch (kind) {
      case 0:
        return raft_message{peer(), peer(), raft_term{big()}, raft_body()};
      case 1:
        return registration{text(),        node(),
                            id(),          random_(),
                            flag(),        some([&] { return where(); }),
                            an_endpoint(), an_endpoint(),
                            text(),        static_cast<std::uint16_t>(random_())};
      case 2: {
        using v = registration_answer::verdict;
        return registration_answer{pick(v::accepted, v::later, v::wrong_cluster, v::superseded, v::invalid),
                                   random_(),
                                   big(),
                                   text(),
                                   node(),
                                   id()};
      }
      case 3:
        return beat();
      case 4:
        return beat_answer();
      case 5:
        return relayed{beat()};
      case 6:
        return relayed_answer{node(), beat_answer()};
      case 7:
        return farewell{a_life()};
      case 8:
        return alter_isr{where(), a_life(), epoch(), big(), some([&] { return a_life(); })};
      case 9: {
        using o = alter_isr_answer::outcome;
        return alter_isr_answer{where(), epoch(), big(),
                                pick(o::accepted, o::ineligible_replica, o::stale, o::invalid, o::later), partition()};
      }
      case 10:
        return log_ends{a_life(), some([&] { return log_ends::log_end{where(), epoch(), log_offset{big()}}; })};
      case 11:
        return shard_released{a_life(), text(), count(), small()};
      case 12:
        return release_order{text(), count(), small()};
      case 13:
        return controller_request{random_(), request()};
      case 14:
        return controller_reply{random_(), meta_offset{big()}, outcome()};
      case 15:
        return membership_message();
      case 16:
        return replica_fetch{seat(), epoch(), random_(), log_offset{big()}, epoch(), log_offset{big()}, random_()};
      case 17:
        return from_leader();
      default:
        return entity_message();
    }
  }

  entities::message entity_message() {
    const entities::shard_id shard{text(), count()};
    const auto sender = [&] { return entities::sender_id{node(), big()}; };
    switch (random_.below(6)) {
      case 0:
        return entities::deliver{shard, small(), sender(), random_(), random_(), text(), payload()};
      case 1:
        return entities::answer{entities::reply{shard, sender(), random_(), payload()}};
      case 2:
        return entities::answer{entities::moved{shard, sender(), random_(), {node(), small()}}};
      case 3:
        return entities::answer{entities::refused{shard, sender(), random_(), pick(errc::busy, errc::not_leader)}};
      case 4:
        return entities::handover_request{shard, small()};
      default: {
        entities::handover h{shard, small(), nullptr};
        if (flag()) return h;
        entities::handover::contents had;
        had.entities = some([&] { return entities::entity_state{text(), payload()}; });
        had.memory.settled = some([&] { return std::pair{sender(), random_()}; });
        had.memory.handled = some([&] {
          return std::pair{text(), entities::remembered{sender(), random_(), payload(), flag()}};
        });
        h.had = std::make_shared<const entities::handover::contents>(std::move(had));
        return h;
      }
    }
  }

  random_source random_;
};

}  // namespace troupe::test
