#include "apps/gateways/kafka/redirects.hpp"
#include "tests/unit/kafka_gateway/fixture.hpp"

namespace troupe::kafka {
namespace {

std::vector<node_id> nodes(std::initializer_list<std::int32_t> ids) {
  return {ids.begin(), ids.end()};
}

/// Node 7, in rack a, is the one asked; 8 and 9 are in rack b, 10 in rack c.
class ClusterRequests : public GatewayTest {
protected:
  ClusterRequests() {
    add_node(7, "a");
    add_node(8, "b");
    add_node(9, "b");
    add_node(10, "c");
  }
  void replicate(const std::string& topic, std::int32_t index, std::vector<node_id> replicas, node_id leader) {
    change(topic, index, [&](partition_state& p) {
      p.replicas.clear();
      for (const auto id : replicas) p.replicas.push_back({id, 0});
      p.isr = replicas;
      p.leader = leader;
    });
  }
  /// The next request to the controller, as one of this kind.
  template <class What>
  std::pair<What, std::function<void(cluster_controller::outcome)>> asked() {
    auto m = controller.others.take();
    return {std::get<What>(m.what), std::move(m.answer)};
  }
  static cluster_controller::outcome of(std::vector<result<void>> items) {
    cluster_controller::outcome o;
    o.items = std::move(items);
    return o;
  }
};

// -- metadata, DescribeCluster -----------------------------------------------------------------------------

TEST_F(ClusterRequests, MetadataTellsWhoServesAndWhoIsAway) {
  add_node(9, "b", node_state::fenced);
  add_node(11, "c", node_state::removed);
  add_topic("orders", 2);
  replicate("orders", 0, nodes({8, 7, 9}), node_id{8});
  replicate("orders", 1, nodes({9, 7}), node_id{9});
  change("orders", 0, [](partition_state& p) { p.isr = nodes({8, 7}); });
  directory->controlled_by(node_id{10});
  start();
  auto c = connect();
  metadata_request all;
  all.topics.reset();
  const auto told = c.call<metadata_response>(all, 12);
  std::vector<std::pair<std::int32_t, std::optional<std::string>>> brokers;
  for (const auto& b : told.brokers) brokers.emplace_back(b.node_id, b.rack);
  EXPECT_EQ(brokers, (decltype(brokers){{7, "a"}, {8, "b"}, {10, "c"}}));
  EXPECT_EQ(told.controller_id, 10);
  const auto& p = told.topics.at(0).partitions;
  EXPECT_EQ(p.at(0).error_code, 0);
  EXPECT_EQ(p.at(0).leader_id, 8);
  EXPECT_EQ(p.at(0).replica_nodes, (std::vector{8, 7, 9}));
  EXPECT_EQ(p.at(0).isr_nodes, (std::vector{8, 7}));
  EXPECT_EQ(p.at(0).offline_replicas, std::vector{9});
  EXPECT_EQ(p.at(1).error_code, code::leader_not_available) << "its leader was fenced";
  EXPECT_EQ(p.at(1).leader_id, -1);
  EXPECT_EQ(p.at(1).leader_epoch, 3);

  // Whom nobody can reach, nobody is sent to.
  directory->controlled_by(node_id{9});
  EXPECT_EQ(c.call<metadata_response>(all, 12).controller_id, 7);
  directory->controlled_by({});
  EXPECT_EQ(c.call<metadata_response>(all, 12).controller_id, 7);
}

TEST_F(ClusterRequests, WhoMayHaveBeenReplacedIsNoLeader) {
  add_topic("orders", 3);
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  replicate("orders", 1, nodes({8, 7}), node_id{8});
  replicate("orders", 2, nodes({7}), node_id{7});
  start();
  auto c = connect();
  metadata_request all;
  all.topics.reset();
  const auto leaders = [&] {
    std::vector<std::pair<std::int32_t, std::int16_t>> found;
    const auto told = c.call<metadata_response>(all, 12);
    for (const auto& p : told.topics.at(0).partitions) found.emplace_back(p.leader_id, p.error_code);
    EXPECT_EQ(told.brokers.size(), 4u) << "there are others to ask";
    return found;
  };
  using named = decltype(leaders());
  const std::pair<std::int32_t, std::int16_t> unknown{-1, code::leader_not_available};
  EXPECT_EQ(leaders(), (named{{7, 0}, {8, 0}, {7, 0}}));
  directory->names_leaders_until(boot_clock::now(), instant::max());
  EXPECT_EQ(leaders(), (named{unknown, {8, 0}, {7, 0}})) << "others may lead in our place by now";
  directory->names_leaders_until(boot_clock::now(), boot_clock::now());
  EXPECT_EQ(leaders(), (named{unknown, unknown, unknown})) << "others may lead in anybody's place";
  directory->names_leaders_until(instant::max(), instant::max());
  EXPECT_EQ(leaders(), (named{{7, 0}, {8, 0}, {7, 0}}));
}

TEST_F(ClusterRequests, WhoIsNotTheLeaderTellsWhoIsUnlessItMayHaveChanged) {
  add_topic("orders");
  replicate("orders", 0, nodes({8, 7}), node_id{8});
  start();
  auto c = connect();
  const error moved{errc::not_leader, "it has moved"};
  partition("orders").on_produce = [&](produce& m) { m.answer({.refused = moved}); };
  partition("orders").on_fetch = [&](fetch& m) { m.answer({.refused = moved}); };
  auto records = some_bytes(10);
  const auto told_of = [&] {
    const auto made = c.call<produce_response>(produce_of("orders", 0, records), 10);
    const auto read = c.call<fetch_response>(fetch_of("orders"), 12);
    const auto leader = made.responses.at(0).partition_responses.at(0).current_leader.leader_id;
    EXPECT_EQ(made.node_endpoints.size(), leader < 0 ? 0u : 1u);
    EXPECT_EQ(read.responses.at(0).partitions.at(0).current_leader.leader_id, leader);
    return leader;
  };
  EXPECT_EQ(told_of(), 8);
  directory->names_leaders_until(boot_clock::now(), boot_clock::now());
  EXPECT_EQ(told_of(), -1);
}

TEST_F(ClusterRequests, TheClusterIsDescribed) {
  add_node(9, "", node_state::fenced);
  add_node(11, "c", node_state::removed);
  directory->controlled_by(node_id{8});
  start();
  auto c = connect();
  for (std::int16_t version = 0; version <= 2; ++version) {
    describe_cluster_request r;
    r.include_cluster_authorized_operations = version == 1;
    r.include_fenced_brokers = version == 2;
    const auto told = c.call<describe_cluster_response>(r, version);
    EXPECT_EQ(told.error_code, 0);
    EXPECT_EQ(told.endpoint_type, 1);
    EXPECT_EQ(told.cluster_id, image.cluster_id);
    EXPECT_EQ(told.controller_id, 8);
    ASSERT_EQ(told.brokers.size(), version == 2 ? 4u : 3u);
    EXPECT_EQ(told.brokers[1].broker_id, 8);
    EXPECT_EQ(told.brokers[1].host, "node-8");
    EXPECT_EQ(told.brokers[1].rack, "b");
    EXPECT_EQ(told.brokers[2].is_fenced, version == 2);
    EXPECT_EQ(told.cluster_authorized_operations == metadata_response::not_asked, version != 1);
  }
}

TEST_F(ClusterRequests, ControllersHaveNoAddressForClients) {
  start();
  auto c = connect();
  describe_cluster_request r;
  r.endpoint_type = 2;
  EXPECT_EQ(c.call<describe_cluster_response>(r, 1).error_code, code::mismatched_endpoint_type);
  r.endpoint_type = 3;
  EXPECT_EQ(c.call<describe_cluster_response>(r, 1).error_code, code::unsupported_endpoint_type);
}

// -- DescribeLogDirs ---------------------------------------------------------------------------------------

TEST_F(ClusterRequests, TheLogsOfPresentReplicasAreDescribed) {
  add_topic("orders", 3);
  change("orders", 1, [](partition_state& p) { p.replicas.front().added_at = 5; });
  change("orders", 2, [](partition_state& p) { p.replicas.front().node = node_id{8}; });
  const auto seat = [&](std::int32_t index, std::int64_t added_at) {
    return store::log_identity{image.topics.at("orders")->id, partition_index{index}, added_at};
  };
  uuid deleted;
  deleted.bytes.fill(1);
  bool failed = false;
  setup.look_at_logs = [&](const std::function<void(log_directory)>& tell) {
    tell({"/data/log",
          {{seat(1, 5), 22},
           {seat(1, 4), 33},
           {seat(0, 0), 11},
           {seat(2, 0), 44},
           {{deleted, partition_index{0}, 0}, 55}},
          1000,
          600,
          failed});
  };
  start();
  auto c = connect();
  describe_log_dirs_request r;
  r.topics.reset();
  for (std::int16_t version = 0; version <= 4; ++version) {
    const auto told = c.call<describe_log_dirs_response>(r, version);
    EXPECT_EQ(told.error_code, 0);
    ASSERT_EQ(told.results.size(), 1u);
    const auto& dir = told.results[0];
    EXPECT_EQ(dir.error_code, 0);
    EXPECT_EQ(dir.name, "/data/log");
    EXPECT_EQ(dir.total_bytes, version < 4 ? -1 : 1000);
    EXPECT_EQ(dir.usable_bytes, version < 4 ? -1 : 600);
    ASSERT_EQ(dir.topics.size(), 1u);
    EXPECT_EQ(dir.topics[0].name, "orders");
    ASSERT_EQ(dir.topics[0].partitions.size(), 2u) << "not of former stays, nor of other nodes, nor of deleted topics";
    EXPECT_EQ(dir.topics[0].partitions[0].partition_index, 0);
    EXPECT_EQ(dir.topics[0].partitions[0].partition_size, 11);
    EXPECT_EQ(dir.topics[0].partitions[1].partition_size, 22);
    EXPECT_EQ(dir.topics[0].partitions[1].offset_lag, 0);
    EXPECT_FALSE(dir.topics[0].partitions[1].is_future_key);
  }
  failed = true;
  r.topics = std::vector<describe_log_dirs_request::describable_log_dir_topic>{{"orders", {1, 1, 7}}, {"nothing", {0}}};
  const auto told = c.call<describe_log_dirs_response>(r, 4);
  EXPECT_EQ(told.results.at(0).error_code, code::kafka_storage_error);
  ASSERT_EQ(told.results[0].topics.size(), 1u);
  ASSERT_EQ(told.results[0].topics[0].partitions.size(), 1u);
  EXPECT_EQ(told.results[0].topics[0].partitions[0].partition_size, 22);
}

// -- ElectLeaders ------------------------------------------------------------------------------------------

TEST_F(ClusterRequests, PreferredLeadersAreElectedWhereTheyDoNotLead) {
  add_topic("orders", 4);
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  for (int i : {1, 2, 3}) replicate("orders", i, nodes({8, 7}), node_id{7});
  start();
  auto c = connect();
  elect_leaders_request r;
  r.topic_partitions = std::vector<elect_leaders_request::topic>{{"orders", {0, 1, 2, 3, 9}}, {"nothing", {0}}};
  c.ask(r, 2);
  auto [what, answer] = asked<cluster_controller::elect_preferred>();
  ASSERT_EQ(what.items.size(), 3u);
  EXPECT_EQ(what.items[0].index, partition_index{1});
  // One leads now, one is not in sync, and for the third there is nobody.
  change("orders", 1, [](partition_state& p) { p.leader = node_id{8}; });
  answer(of({{}, {}, error{errc::not_enough_replicas, "nobody"}}));
  const auto told = c.hear<elect_leaders_response>(2);
  EXPECT_EQ(told.error_code, 0);
  ASSERT_EQ(told.replica_election_results.size(), 2u);
  const auto& p = told.replica_election_results[0].partition_results;
  ASSERT_EQ(p.size(), 5u);
  EXPECT_EQ(p[0].error_code, code::election_not_needed);
  EXPECT_EQ(p[1].error_code, 0);
  EXPECT_EQ(p[2].error_code, code::preferred_leader_not_available);
  EXPECT_TRUE(p[2].error_message);
  EXPECT_EQ(p[3].error_code, code::preferred_leader_not_available);
  EXPECT_EQ(p[4].partition_id, 9);
  EXPECT_EQ(p[4].error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.replica_election_results[1].partition_results.at(0).error_code, code::unknown_topic_or_partition);
}

TEST_F(ClusterRequests, AskedForAllElectionsOnlyThoseAreToldThatWereNeeded) {
  add_topic("orders", 2);
  add_topic("users", 1);
  replicate("orders", 1, nodes({8, 7}), node_id{7});
  start();
  auto c = connect();
  elect_leaders_request r;
  r.topic_partitions.reset();
  c.ask(r, 0);
  auto [what, answer] = asked<cluster_controller::elect_preferred>();
  ASSERT_EQ(what.items.size(), 1u);
  change("orders", 1, [](partition_state& p) { p.leader = node_id{8}; });
  answer(of({result<void>{}}));
  const auto told = c.hear<elect_leaders_response>(0);
  ASSERT_EQ(told.replica_election_results.size(), 1u);
  EXPECT_EQ(told.replica_election_results[0].topic, "orders");
  ASSERT_EQ(told.replica_election_results[0].partition_results.size(), 1u);
  EXPECT_EQ(told.replica_election_results[0].partition_results[0].partition_id, 1);
  EXPECT_TRUE(c.call<elect_leaders_response>(r, 2).replica_election_results.empty()) << "all lead that should";
}

TEST_F(ClusterRequests, AnUncleanElectionIsForPartitionsWithoutALeader) {
  add_topic("orders", 3);
  for (int i : {1, 2}) replicate("orders", i, nodes({8, 9}), node_id{-1});
  start();
  auto c = connect();
  elect_leaders_request r;
  r.election_type = 1;
  r.topic_partitions = std::vector<elect_leaders_request::topic>{{"orders", {0, 1, 2}}};
  c.ask(r, 2);
  auto [what, answer] = asked<cluster_controller::elect_uncleanly>();
  ASSERT_EQ(what.items.size(), 2u);
  change("orders", 1, [](partition_state& p) { p.leader = node_id{9}; });
  answer(of({{}, error{errc::not_enough_replicas, "nobody"}}));
  const auto told = c.hear<elect_leaders_response>(2);
  const auto& p = told.replica_election_results.at(0).partition_results;
  EXPECT_EQ(p.at(0).error_code, code::election_not_needed);
  EXPECT_EQ(p.at(1).error_code, 0);
  EXPECT_EQ(p.at(2).error_code, code::eligible_leaders_not_available);

  r.election_type = 2;
  EXPECT_EQ(c.call<elect_leaders_response>(r, 2).error_code, code::invalid_request);
}

// -- reassignments -----------------------------------------------------------------------------------------

TEST_F(ClusterRequests, ReassignmentsGoToTheControllerAndComeBackItemByItem) {
  add_topic("orders", 5);
  for (int i = 0; i < 5; ++i) replicate("orders", i, nodes({7, 8}), node_id{7});
  change("orders", 3, [](partition_state& p) { p.adding = nodes({8}); });
  start();
  auto c = connect();
  alter_partition_reassignments_request r;
  r.topics.resize(2);
  r.topics[0].name = "orders";
  r.topics[0].partitions = {{0, std::vector{8, 9}}, {1, std::vector{8, 99}}, {2, {}}, {3, {}}, {5, std::vector{7}}};
  r.topics[1].name = "nothing";
  r.topics[1].partitions = {{0, {}}};
  c.ask(r, 1);
  auto [what, answer] = asked<cluster_controller::reassign>();
  ASSERT_EQ(what.items.size(), 4u);
  EXPECT_EQ(what.items[0].target, nodes({8, 9}));
  EXPECT_FALSE(what.items[2].target);
  answer(of({{},
             error{errc::invalid_assignment, "node 99 cannot take a replica now"},
             error{errc::invalid_request, "the partition is not being reassigned"},
             error{errc::invalid_request, "too few would be in sync"}}));
  const auto told = c.hear<alter_partition_reassignments_response>(1);
  EXPECT_EQ(told.error_code, 0);
  EXPECT_TRUE(told.allow_replication_factor_change);
  const auto& p = told.responses.at(0).partitions;
  ASSERT_EQ(p.size(), 5u);
  EXPECT_EQ(p[0].error_code, 0);
  EXPECT_FALSE(p[0].error_message);
  EXPECT_EQ(p[1].error_code, code::invalid_replica_assignment);
  EXPECT_EQ(p[1].error_message, "node 99 cannot take a replica now");
  EXPECT_EQ(p[2].error_code, code::no_reassignment_in_progress);
  EXPECT_EQ(p[3].error_code, code::invalid_replica_assignment) << "there is one, which cannot be cancelled now";
  EXPECT_EQ(p[4].error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.responses.at(1).partitions.at(0).error_code, code::unknown_topic_or_partition);
}

TEST_F(ClusterRequests, TheNumberOfReplicasChangesOnlyWhereThatIsAllowed) {
  add_topic("orders", 1);
  replicate("orders", 0, nodes({9, 7, 8}), node_id{7});
  change("orders", 0, [](partition_state& p) { p.adding = nodes({9}), p.removing = nodes({8}); });
  start();
  auto c = connect();
  alter_partition_reassignments_request r;
  r.allow_replication_factor_change = false;
  r.topics.resize(1);
  r.topics[0].name = "orders";
  r.topics[0].partitions = {{0, std::vector{7, 8, 9}}};
  const auto told = c.call<alter_partition_reassignments_response>(r, 1);
  EXPECT_FALSE(told.allow_replication_factor_change);
  EXPECT_EQ(told.responses.at(0).partitions.at(0).error_code, code::invalid_replication_factor);
  r.topics[0].partitions = {{0, std::vector{10, 7}}};
  c.ask(r, 1);
  asked<cluster_controller::reassign>().second(of({result<void>{}}));
  EXPECT_EQ(c.hear<alter_partition_reassignments_response>(1).responses.at(0).partitions.at(0).error_code, 0);
}

TEST_F(ClusterRequests, WithoutAControllerTheWholeRequestSaysSo) {
  add_topic("orders", 1);
  replicate("orders", 0, nodes({8, 7}), node_id{7});
  start();
  auto c = connect();
  cluster_controller::outcome lost;
  lost.failed = error{errc::closed, "it may have happened"};
  alter_partition_reassignments_request r;
  r.topics.resize(1);
  r.topics[0].name = "orders";
  r.topics[0].partitions = {{0, std::vector{8, 9}}};
  c.ask(r, 0);
  asked<cluster_controller::reassign>().second(lost);
  const auto altered = c.hear<alter_partition_reassignments_response>(0);
  EXPECT_EQ(altered.error_code, code::not_controller);
  EXPECT_EQ(altered.responses.at(0).partitions.at(0).error_code, code::not_controller);

  elect_leaders_request e;
  e.topic_partitions = std::vector<elect_leaders_request::topic>{{"orders", {0}}};
  c.ask(e, 1);
  asked<cluster_controller::elect_preferred>().second(lost);
  const auto elected = c.hear<elect_leaders_response>(1);
  EXPECT_EQ(elected.error_code, code::not_controller);
  EXPECT_EQ(elected.replica_election_results.at(0).partition_results.at(0).error_code, code::not_controller);
}

TEST_F(ClusterRequests, ReassignmentsUnderWayAreListed) {
  add_topic("orders", 3);
  add_topic("users", 1);
  replicate("orders", 1, nodes({9, 7, 8}), node_id{7});
  change("orders", 1, [](partition_state& p) { p.adding = nodes({9}), p.removing = nodes({8}); });
  start();
  auto c = connect();
  list_partition_reassignments_request r;
  auto told = c.call<list_partition_reassignments_response>(r, 0);
  EXPECT_EQ(told.error_code, 0);
  ASSERT_EQ(told.topics.size(), 1u);
  EXPECT_EQ(told.topics[0].name, "orders");
  ASSERT_EQ(told.topics[0].partitions.size(), 1u);
  const auto& p = told.topics[0].partitions[0];
  EXPECT_EQ(p.partition_index, 1);
  EXPECT_EQ(p.replicas, (std::vector{9, 7, 8}));
  EXPECT_EQ(p.adding_replicas, std::vector{9});
  EXPECT_EQ(p.removing_replicas, std::vector{8});
  r.topics.emplace();
  EXPECT_TRUE(c.call<list_partition_reassignments_response>(r, 0).topics.empty());
  r.topics = std::vector<list_partition_reassignments_request::topic>{
      {"orders", {0, 1, 1, 44}}, {"nothing", {1}}, {"users", {0}}, {"orders", {1}}};
  told = c.call<list_partition_reassignments_response>(r, 0);
  ASSERT_EQ(told.topics.size(), 1u);
  EXPECT_EQ(told.topics[0].partitions.size(), 1u);
}

// -- reading from a replica nearby -------------------------------------------------------------------------

class NearbyFetch : public ClusterRequests {
protected:
  static fetch_request from_rack(std::string_view rack, std::int64_t offset = 0, std::int32_t max_wait_ms = 60'000) {
    auto r = fetch_of("orders", 1, max_wait_ms);
    r.rack_id = rack;
    r.topics[0].partitions[0].fetch_offset = offset;
    return r;
  }
  static const fetch_response::partition_data& only(const fetch_response& r) {
    return r.responses.at(0).partitions.at(0);
  }
};

TEST_F(NearbyFetch, TheLeaderNamesAReplicaInSyncInTheClientsRack) {
  add_topic("orders");
  replicate("orders", 0, nodes({7, 8, 9}), node_id{7});
  change("orders", 0, [](partition_state& p) { p.isr = nodes({7, 9}); });
  start();
  for (std::int16_t version : {11, 12}) {
    auto c = connect();
    c.ask(from_rack("b", 20), version);
    auto m = partition("orders").fetches.take();
    EXPECT_TRUE(m.leader_only) << "a former leader must not send anybody anywhere";
    EXPECT_EQ(m.bytes_max, 0u);
    EXPECT_FALSE(m.at_least_one);
    m.answer(data(20));
    const auto told = c.hear<fetch_response>(version);  // at once, though the client would wait
    EXPECT_EQ(only(told).error_code, 0);
    EXPECT_EQ(only(told).preferred_read_replica, 9);
    EXPECT_EQ(only(told).high_watermark, 20);
    EXPECT_EQ(only(told).records.here.size(), 0u);
  }
}

TEST_F(NearbyFetch, TheLeaderServesItselfWhereNoReplicaIsNearer) {
  add_topic("orders");
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  start();
  partition("orders").on_fetch = [](fetch& m) { m.answer(data(9, {in_memory(some_bytes(100))})); };
  const auto served_here = [&](std::string_view rack, std::int16_t version) {
    auto c = connect();
    const auto told = c.call<fetch_response>(from_rack(rack), version);
    return only(told).preferred_read_replica == -1 && only(told).records.here.size() == 100u;
  };
  EXPECT_TRUE(served_here("", 11));
  EXPECT_TRUE(served_here("a", 11)) << "its own rack";
  EXPECT_TRUE(served_here("c", 11)) << "no replica there";
  EXPECT_TRUE(served_here("nowhere", 12));
  EXPECT_TRUE(served_here("b", 10)) << "a version without racks";
  EXPECT_FALSE(served_here("b", 11));
  add_node(8, "b", node_state::draining);
  EXPECT_TRUE(served_here("b", 11)) << "about to go";
  add_node(8, "b");
  change("orders", 0, [](partition_state& p) { p.isr = nodes({7}); });
  EXPECT_TRUE(served_here("b", 11)) << "not in sync";
}

TEST_F(NearbyFetch, WhatIsNotCommittedYetIsAwaitedAtTheLeader) {
  add_topic("orders");
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  start();
  auto c = connect();
  c.ask(from_rack("b", 21), 11);
  partition("orders").fetches.take().answer(data(20));
  auto again = partition("orders").fetches.take();
  EXPECT_TRUE(again.watch_until);
  again.answer(data(20));
  again.answer(data(22, {in_memory(some_bytes(50))}));
  EXPECT_EQ(only(c.hear<fetch_response>(11)).records.here.size(), 50u);
}

TEST_F(NearbyFetch, AnErrorOfTheLeaderIsToldAsItIs) {
  add_topic("orders");
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  start();
  auto c = connect();
  c.ask(from_rack("b", 99), 11);
  fetch::outcome refused;
  refused.refused = error{errc::offset_out_of_range, "gone"};
  partition("orders").fetches.take().answer(refused);
  const auto told = c.hear<fetch_response>(11);
  EXPECT_EQ(only(told).error_code, code::offset_out_of_range);
  EXPECT_EQ(only(told).preferred_read_replica, -1);
}

TEST_F(NearbyFetch, WhoIsBackSoonIsServedByTheLeader) {
  add_topic("orders");
  replicate("orders", 0, nodes({7, 8}), node_id{7});
  start();
  partition("orders").on_fetch = [](fetch& m) { m.answer(data(9, {in_memory(some_bytes(100))})); };
  auto c = connect();
  EXPECT_EQ(only(c.call<fetch_response>(from_rack("b"), 11)).preferred_read_replica, 8);
  for (int i = 0; i < 3; ++i) {
    const auto told = c.call<fetch_response>(from_rack("b", i), 11);
    EXPECT_EQ(only(told).preferred_read_replica, -1);
    EXPECT_EQ(only(told).records.here.size(), 100u);
  }
  auto another = connect();
  EXPECT_EQ(only(another.call<fetch_response>(from_rack("b"), 11)).preferred_read_replica, 8);
}

TEST_F(NearbyFetch, AFollowerServesThoseWhoKnowThatItMay) {
  add_topic("orders");
  replicate("orders", 0, nodes({8, 7}), node_id{8});
  start();
  auto c = connect();
  for (std::int16_t version : {11, 12, 10, 4}) {
    c.ask(from_rack("a", 3), version);
    auto m = partition("orders").fetches.take();
    EXPECT_EQ(m.leader_only, version < 11);
    m.answer(data(9, {in_memory(some_bytes(100))}));
    EXPECT_EQ(only(c.hear<fetch_response>(version)).records.here.size(), 100u);
  }
}

TEST(Redirects, AreRepeatedAfterAWhileAndBounded) {
  redirects sent;
  const instant start{};
  const auto at = [](std::int32_t index) { return partition_ref{{}, partition_index{index}}; };
  EXPECT_TRUE(sent.allowed(at(0), start));
  sent.sent(at(0), start);
  EXPECT_FALSE(sent.allowed(at(0), start + redirects::served_here_for - 1ms));
  EXPECT_TRUE(sent.allowed(at(1), start));
  EXPECT_TRUE(sent.allowed(at(0), start + redirects::served_here_for));

  const auto all = static_cast<std::int32_t>(redirects::remembered_max);
  for (std::int32_t i = 0; i < all; ++i) sent.sent(at(i), start);
  EXPECT_FALSE(sent.allowed(at(all), start)) << "more than are remembered";
  sent.sent(at(0), start + redirects::served_here_for);
  EXPECT_TRUE(sent.allowed(at(all), start + redirects::served_here_for)) << "the old ones are forgotten";
}

}  // namespace
}  // namespace troupe::kafka
