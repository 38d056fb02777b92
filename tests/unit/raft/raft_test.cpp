#include "runtime/raft/raft.hpp"

#include <gtest/gtest.h>

#include "tests/unit/raft/desk.hpp"

namespace troupe::raft_test {
namespace {

using namespace std::chrono_literals;
using role = raft::role_t;
using part = raft::part;

TEST(Raft, AnEntryOfAnOldTermOnAMajorityIsNotDecidedAndMayBeOverwritten) {
  EXPECT_TRUE(old_entries_are_not_counted());
}

TEST(Raft, TwoLeadersDoNotChangeTheMembersSideBySide) {
  EXPECT_TRUE(changes_wait_for_the_no_op());
}

TEST(Raft, ASoleVoterLeadsAtOnceAndDecidesWhatIsOnItsDisk) {
  desk d{1};
  d.tick(1);
  EXPECT_TRUE(d[1].leads());
  EXPECT_EQ(d[1].majority_contact(d.now), d.now);
  d.slow = {1};
  d.propose(1, 1);
  EXPECT_EQ(d[1].committed(), raft_index{1});
  d.finish_writes(1);
  EXPECT_EQ(d[1].committed(), raft_index{2});
  EXPECT_EQ(d.proposed.back().outcome, raft_outcome::done);

  d.crash(1);
  d.start(1);
  d.slow.clear();
  EXPECT_EQ(d[1].committed(), raft_index{0});  // nothing past the known commit is applied
  d.tick(1);
  EXPECT_EQ(d[1].committed(), raft_index{3});
}

TEST(Raft, ThreeVotersElectOneAndDecideInOrder) {
  desk d{3};
  d.elect(2);
  EXPECT_TRUE(d[2].leads());
  EXPECT_EQ(d.leading, 1);
  EXPECT_EQ(d.propose(2, 1, "a").index, raft_index{2});
  EXPECT_EQ(d.propose(2, 2, "b").index, raft_index{3});
  for (int n : {1, 2, 3}) {
    EXPECT_EQ(d.text_at(n, 2) + d.text_at(n, 3), "ab") << n;
    EXPECT_EQ(d[n].leader(), node_id{2});
  }
  EXPECT_EQ(d.propose(1, 3).outcome, raft_outcome::not_leader);
  EXPECT_EQ(d.proposed.back().leader, node_id{2});
}

TEST(Raft, AVoteLeavesOnlyWhenItIsOnTheDisk) {
  desk d{3};
  d.slow = {2};
  d.pass(3s);
  d.perform(2, d[2].step(d.now, {peer(1), peer(2), raft_term{1}, raft_vote{}}));
  EXPECT_TRUE(d.net.empty());
  d.crash(2);  // the vote is forgotten, and nobody has heard of it
  d.start(2);
  d.pass(3s);
  d.perform(2, d[2].step(d.now, {peer(3), peer(2), raft_term{1}, raft_vote{}}));
  d.finish_writes(2);
  ASSERT_EQ(d.net.size(), 1u);
  EXPECT_EQ(d.net[0].to, peer(3));
  EXPECT_TRUE(std::get<raft_vote_reply>(d.net[0].body).granted);
  d.crash(2);
  d.start(2);
  d.pass(3s);
  d.perform(2, d[2].step(d.now, {peer(1), peer(2), raft_term{1}, raft_vote{}}));
  EXPECT_FALSE(std::get<raft_vote_reply>(d.net[1].body).granted);
}

TEST(Raft, ACandidateCountsItselfOnlyWhenItsVoteIsOnTheDisk) {
  desk d{1};
  d.slow = {1};
  d.tick(1);
  EXPECT_EQ(d[1].role(), role::candidate);
  d.finish_writes(1);
  EXPECT_EQ(d[1].role(), role::leader);
}

TEST(Raft, EntriesThatAreNotOnTheDiskCountInNoElection) {
  desk d{3};
  d.elect(1);
  d.only({1, 2});
  d.slow = {2};
  d.propose(1, 1, "a");
  EXPECT_EQ(d[2].last(), raft_index{2});
  EXPECT_EQ(d[1].committed(), raft_index{1});  // 2 has it, but not on its disk
  d.crash(1);
  d.pass(3s);
  d.tick(2);
  for (auto& m : d.net) {
    if (const auto* asked = std::get_if<raft_pre_vote>(&m.body)) {
      EXPECT_EQ(asked->last_index, raft_index{1});
    }
  }
  EXPECT_FALSE(d.net.empty());
}

TEST(Raft, ALeaderCountsItselfOnlyForWhatIsOnItsDisk) {
  desk d{3};
  d.elect(1);
  d.slow = {1};
  d.only({1, 2});
  d.propose(1, 1, "a");  // sent along with its own write
  EXPECT_EQ(d.disk_of(2).last(), raft_index{2});
  EXPECT_EQ(d[1].committed(), raft_index{1});
  d.finish_writes(1);
  EXPECT_EQ(d[1].committed(), raft_index{2});
}

TEST(Raft, ASlowDiskDoesNotSilenceAFollower) {
  desk d{3};
  d.elect(1);
  d.only({1, 2});
  d.slow = {2};
  d.propose(1, 1);
  for (int i = 0; i < 40; ++i) d.beat(1);
  EXPECT_EQ(d[1].role(), role::leader);
  EXPECT_EQ(d[1].majority_contact(d.now), d.now);
}

TEST(Raft, WhoIsAskedToCutADecidedEntryStops) {
  desk d{3};
  d.elect(1);
  d.propose(1, 1, "a");
  d.beat(1);
  const auto term = raft_term{d[2].term().value() + 1};
  raft_append wrong{.previous = raft_index{1}, .previous_term = d[2].term(), .commit = raft_index{2}, .round = 1};
  wrong.entries.push_back({.term = term, .index = raft_index{2}});
  d.perform(2, d[2].step(d.now, {peer(3), peer(2), term, wrong}));
  ASSERT_EQ(d.stopped.size(), 1u);
  EXPECT_TRUE(d[2].stopped());
  EXPECT_TRUE(d[2].tick(d.now + 10s).empty());
}

TEST(Raft, AnUndecidedChangeIsUndoneWithItsEntry) {
  desk d{3};
  d.add(4);
  d.elect(1);
  EXPECT_EQ(d.change(1, peer(4), part::learner), raft_outcome::done);
  d.beat(1);
  d.only({1});
  d.change(1, peer(4), part::voter);
  EXPECT_TRUE(d[1].members()[3].voter);
  d.only({2, 3, 4});
  d.elect(2);
  d.lets = [](const raft_message&) { return true; };
  d.beat(2);
  d.beat(2);
  EXPECT_EQ(d[1].role(), role::follower);
  EXPECT_FALSE(d[1].members()[3].voter);
  EXPECT_EQ(d.changed.back().outcome, raft_outcome::lost);
  EXPECT_FALSE(d.contradiction);
}

TEST(Raft, ANewcomerVotesOnlyOnceItHasCaughtUp) {
  desk d{3, {.learner_lag_max = 0}};
  d.elect(1);
  d.propose(1, 1);
  EXPECT_EQ(d.change(1, peer(4), part::voter), raft_outcome::invalid);
  EXPECT_EQ(d.change(1, peer(4), part::learner), raft_outcome::done);
  EXPECT_EQ(d.change(1, peer(4), part::voter), raft_outcome::not_caught_up);
  d.add(4);
  d.beat(1);
  EXPECT_EQ(d.change(1, peer(4), part::voter), raft_outcome::done);
  EXPECT_TRUE(d[4].members()[3].voter);
  EXPECT_EQ(d.text_at(4, 2), "x");
}

TEST(Raft, OneChangeAtATimeAndNoneWithoutAMajorityOfWhatWouldBe) {
  desk d{3};
  d.elect(1);
  d.only({1});
  EXPECT_EQ(d.change(1, peer(4), part::learner), raft_outcome::lost);  // still under way
  EXPECT_EQ(d.change(1, peer(5), part::learner), raft_outcome::busy);
  d.lets = [](const raft_message&) { return true; };
  d.beat(1);
  EXPECT_EQ(d.changed.back().outcome, raft_outcome::done);
  d.crash(2);
  for (int i = 0; i < 11; ++i) d.beat(1);
  EXPECT_EQ(d.change(1, peer(3), part::none), raft_outcome::busy);  // {1, 2} could never be left again
  EXPECT_EQ(d.change(1, peer(2), part::none), raft_outcome::done);
}

TEST(Raft, ALeaderThatRemovesItselfLeadsUntilThatIsDecided) {
  desk d{3};
  d.elect(1);
  EXPECT_EQ(d.change(1, peer(1), part::none), raft_outcome::done);
  EXPECT_EQ(d[1].role(), role::follower);
  EXPECT_EQ(d.stepped_down, 1);
  EXPECT_EQ(d[2].members().size(), 2u);
  d.elect(2);
  EXPECT_EQ(d.propose(2, 1).outcome, raft_outcome::done);
  d.pass(10s);
  d.tick(1);
  EXPECT_TRUE(d.net.empty());  // no voter, no campaign
}

TEST(Raft, ARemovedVoterThatDoesNotKnowDisturbsNobody) {
  desk d{3};
  d.elect(1);
  d.only({1, 2});
  EXPECT_EQ(d.change(1, peer(3), part::none), raft_outcome::done);
  d.lets = [](const raft_message&) { return true; };
  const auto term = d[1].term();
  for (int i = 0; i < 100; ++i) {
    d.beat(1);
    d.tick(3);
    d.deliver();
  }
  EXPECT_EQ(d[1].role(), role::leader);
  EXPECT_EQ(d[1].term(), term);
}

// Found by a storm: it asked its former leader, which led no more, for ever.
TEST(Raft, WhoIsTaughtNoMoreForgetsWhoLed) {
  desk d{3};
  d.elect(1);
  EXPECT_EQ(d.change(1, peer(3), part::learner), raft_outcome::done);
  d.beat(1);
  EXPECT_EQ(d[3].leader(), node_id{1});
  d.pass(900ms);
  d.tick(3);
  EXPECT_EQ(d[3].leader(), node_id{1});
  d.pass(1100ms);
  d.tick(3);
  EXPECT_EQ(d[3].leader(), std::nullopt);
  EXPECT_TRUE(d.net.empty());  // it campaigns for nothing
  d.tick(1);
  d.elect(1);
  EXPECT_EQ(d[3].leader(), node_id{1});
}

/// The leader dies with its change on no, one, two or all disks; a set that was decided stays, another may go.
TEST(Raft, ALeaderMayDieAtEachStepOfAChange) {
  for (int step = 0; step < 7; ++step) {
    for (const auto wanted : {part::voter, part::none}) {
      desk d{3};
      d.add(4);
      d.elect(1);
      d.change(1, peer(4), part::learner);
      d.beat(1);
      int left = step;
      d.lets = [&](const raft_message&) { return left-- > 0; };
      const auto outcome = d.change(1, wanted == part::voter ? peer(4) : peer(3), wanted);
      d.crash(1);
      d.net.clear();
      d.lets = [](const raft_message&) { return true; };
      // Of those who stay, the one with the newest log must be able to lead.
      d.start(1);
      const int next = d[2].last() < d[1].last() ? 1 : 2;
      d.elect(next);
      d.beat(next);
      d.beat(next);
      EXPECT_EQ(d.propose(next, 1).outcome, raft_outcome::done) << step;
      if (outcome == raft_outcome::done) {
        EXPECT_EQ(d[next].members().size(), wanted == part::voter ? 4u : 3u) << step;
      }
      d.beat(next);
      EXPECT_EQ(d[3 - next].members(), d[next].members()) << step;
      EXPECT_FALSE(d.contradiction) << step;
      EXPECT_TRUE(d.stopped.empty()) << step;
    }
  }
}

TEST(Raft, SplitVotesEndByChance) {
  desk d{4};
  int rounds = 0;
  const auto leads = [&](int n) { return d[n].role() == role::leader; };
  d.pass(3s);
  while (!leads(1) && !leads(2) && ++rounds < 100) {
    for (int n : {1, 2}) d.tick(n);  // both campaign in the same instant
    d.deliver();
    d.pass(50ms);
  }
  EXPECT_LT(rounds, 100);
  EXPECT_FALSE(leads(1) && leads(2) && d[1].term() == d[2].term());
}

/// Two clocks that tick together, the worst case: who campaigns in the same tick as the other splits the votes.
TEST(Raft, ASplitVoteCostsLittleMoreThanTheSilence) {
  desk d{3};
  d.elect(1);
  int leader = 1, split = 0;
  auto longest = 0ms;
  for (int round = 0; round < 400; ++round) {
    d.beat(leader);
    std::set<int> others{1, 2, 3};
    others.erase(leader);
    d.only(others);
    const auto first_term = d[*others.begin()].term();
    int next = 0;
    auto silence = 0ms;
    for (; !next && silence < 10s; silence += 50ms) {
      d.pass(50ms);
      for (const int n : others) d.tick(n);
      d.deliver();
      for (const int n : others)
        if (d[n].role() == role::leader) next = n;
    }
    ASSERT_NE(next, 0);
    longest = std::max(longest, silence);
    split += d[next].term().value() > first_term.value() + 1;
    d.only({1, 2, 3});
    leader = next;
  }
  EXPECT_GT(split, 5);
  EXPECT_LE(longest, 1650ms + 150ms + 300ms + 600ms);  // and a few campaigns that fail
}

/// Its vote takes longer than it would wait for the others; then they have their time.
TEST(Raft, ACandidateWithASlowDiskBeginsNoSecondCampaign) {
  desk d{3};
  d.pass(2s);
  d.tick(1);
  d.slow = {1};
  d.deliver();
  ASSERT_EQ(d[1].role(), role::candidate);
  const auto term = d[1].term();
  for (int i = 0; i < 20; ++i) {
    d.pass(50ms);
    d.tick(1);
  }
  EXPECT_EQ(d[1].term(), term);
  d.slow = {2, 3};
  d.finish_writes(1);
  for (int i = 0; i < 2; ++i) {  // less than `again_min`
    d.pass(20ms);
    d.tick(1);
    EXPECT_EQ(d[1].role(), role::candidate);
  }
}

TEST(Raft, AnswersThatTakeLongComeInTimeInTheEnd) {
  desk d{3};
  std::vector<std::pair<instant, raft_message>> under_way;
  for (int ticks = 0; ticks < 200 && d[1].role() != role::leader; ++ticks) {
    d.pass(50ms);
    d.tick(1);
    for (auto& m : std::exchange(d.net, {})) under_way.emplace_back(d.now + 400ms, m);
    for (const auto& [due, m] : std::exchange(under_way, {}))
      if (due <= d.now)
        d.deliver_one(m);
      else
        under_way.emplace_back(due, m);
    for (auto& m : std::exchange(d.net, {})) under_way.emplace_back(d.now + 400ms, m);
  }
  EXPECT_EQ(d[1].role(), role::leader);
}

/// The others would not vote again for a second: they have just heard the leader.
TEST(Raft, ASuccessorWaitsForSlowVotes) {
  desk d{5};
  d.elect(1);
  d.beat(1);
  d.perform(1, d[1].hand_over(d.now, node_id{2}));
  d.slow = {3, 4, 5};
  d.deliver();
  for (int i = 0; i < 6; ++i) {
    d.pass(50ms);
    for (int n : {2, 3, 4, 5}) d.tick(n);
    d.deliver();
  }
  for (int n : {3, 4, 5}) d.finish_writes(n);
  d.deliver();
  EXPECT_EQ(d[2].role(), role::leader);
}

TEST(Raft, ALeaderWhoseDiskFailsLeadsNoMore) {
  desk d{3};
  d.elect(1);
  d.slow = {1};
  d.only({1});
  d.propose(1, 1);
  d.perform(1, d[1].disk_failed());
  EXPECT_EQ(d.proposed.back().outcome, raft_outcome::lost);
  EXPECT_EQ(d.stepped_down, 1);
  EXPECT_FALSE(d[1].majority_contact(d.now));
  d.net.clear();
  d.pass(10s);
  d.tick(1);
  EXPECT_TRUE(d.net.empty());
  EXPECT_EQ(d.propose(1, 2).outcome, raft_outcome::not_leader);
}

TEST(Raft, ALeaderAloneStepsDownAndAnswersWhatWaits) {
  desk d{3};
  d.elect(1);
  d.only({1});
  d.perform(1, d[1].propose(d.now, {7, {}}, 1, {}));
  for (int i = 0; i < 11; ++i) d.beat(1);
  EXPECT_EQ(d[1].role(), role::follower);
  EXPECT_EQ(d.proposed.back().outcome, raft_outcome::lost);
}

TEST(Raft, ADeposedLeaderServesNoLinearRead) {
  desk d{3};
  d.elect(1);
  d.perform(1, d[1].read(d.now, 1));
  d.deliver();
  ASSERT_EQ(d.reads.size(), 1u);
  EXPECT_EQ(d.reads[0].outcome, raft_outcome::done);

  d.only({2, 3});
  d.elect(2);
  d.propose(2, 1, "new");
  d.perform(1, d[1].read(d.now, 2));
  d.deliver();
  EXPECT_EQ(d.reads.size(), 1u);
  d.lets = [](const raft_message&) { return true; };
  d.beat(1);
  ASSERT_EQ(d.reads.size(), 2u);
  EXPECT_EQ(d.reads[1].outcome, raft_outcome::lost);
}

TEST(Raft, AClientsRepeatAppliesOnceAlsoAtTheNextLeader) {
  desk d{3};
  d.elect(1);
  d.propose(1, 1, "a");
  EXPECT_EQ(d.propose(1, 1, "a").outcome, raft_outcome::repeated);
  EXPECT_EQ(d.propose(1, 3, "c").outcome, raft_outcome::out_of_order);
  EXPECT_EQ(d.propose(1, 2, "b").outcome, raft_outcome::done);
  d.crash(1);
  d.elect(2);
  EXPECT_EQ(d.propose(2, 2, "b").outcome, raft_outcome::repeated);
  EXPECT_EQ(d.propose(2, 3, "c").outcome, raft_outcome::done);
  EXPECT_EQ(d.image_of(2).applied.begin()->second, 3u);
  EXPECT_FALSE(d.contradiction);
}

TEST(Raft, ForgottenClientsAreToldFromNewOnes) {
  desk d{1, {.clients_max = 2}};
  d.tick(1);
  for (std::uint64_t id : {1, 2, 3}) EXPECT_EQ(d.propose(1, 1, "x", {id, {}}).outcome, raft_outcome::done);
  EXPECT_EQ(d.propose(1, 1, "x", {1, {}}).outcome, raft_outcome::expired);
  EXPECT_EQ(d.propose(1, 1, "x", {4, d[1].committed()}).outcome, raft_outcome::done);
}

TEST(Raft, TheLogGoesOnlyWhenTheSnapshotIsOnTheDisk) {
  desk d{1, {.keep_behind = 2}};
  d.tick(1);
  for (std::uint64_t s = 1; s <= 9; ++s) d.propose(1, s);
  d.slow = {1};
  d.compact(1);
  ASSERT_EQ(d.writing(1).size(), 1u);
  EXPECT_FALSE(d.writing(1)[0].drop_before);
  d.finish_writes(1);
  ASSERT_EQ(d.writing(1).size(), 1u);
  EXPECT_EQ(d.writing(1)[0].drop_before, raft_index{9});
  d.finish_writes(1);
  d.crash(1);
  d.start(1);
  d.slow.clear();
  d.tick(1);
  EXPECT_EQ(d.propose(1, 9).outcome, raft_outcome::repeated);  // the snapshot remembers clients
  EXPECT_EQ(d.propose(1, 10).outcome, raft_outcome::done);
}

TEST(Raft, ASnapshotComesInPiecesAlsoWhenSomeAreLostAndTheTransferIsCut) {
  desk d{3, {.piece_bytes = 5, .keep_behind = 0}};
  d.elect(1);
  d.only({1, 2});
  for (std::uint64_t s = 1; s <= 9; ++s) d.propose(1, s);
  d.compact(1);
  int count = 0;
  d.lets = [&](const raft_message&) { return ++count % 5 != 0; };
  for (int i = 0; i < 3; ++i) d.beat(1);
  EXPECT_EQ(d.installed, 0);
  d.crash(3);  // what has arrived is forgotten
  d.start(3);
  for (int i = 0; i < 60 && d.installed == 0; ++i) d.beat(1);
  d.lets = [](const raft_message&) { return true; };
  d.beat(1);
  EXPECT_EQ(d.installed, 1);
  EXPECT_EQ(d[3].committed(), d[1].committed());
  EXPECT_EQ(d.image_of(3).hash, d.image_of(1).hash);
  EXPECT_EQ(d.disk_of(3).snapshot->index, raft_index{10});
}

TEST(Raft, ASnapshotOlderThanTheLogChangesNothing) {
  desk d{3};
  d.elect(1);
  d.propose(1, 1);
  d.beat(1);
  raft_install old{.index = raft_index{1}, .snapshot_term = raft_term{1}, .round = 99};
  d.perform(2, d[2].step(d.now, {peer(1), peer(2), d[1].term(), old}));
  EXPECT_EQ(d.installed, 0);
  ASSERT_EQ(d.net.size(), 1u);
  EXPECT_EQ(std::get<raft_append_reply>(d.net[0].body).match, raft_index{2});
  EXPECT_EQ(d[2].last(), raft_index{2});
}

TEST(Raft, ALogThatDoesNotReachItsSnapshotIsLeftBehind) {
  raft_stored stored{raft_hard_state{raft_term{3}, {}, peer(1).disk}, {}, {}};
  stored.snapshot =
      std::make_shared<const raft_snapshot>(raft_snapshot{raft_index{5}, raft_term{3}, {{peer(1), true}}});
  for (int i = 1; i <= 3; ++i) stored.entries.push_back({.term = raft_term{1}, .index = raft_index{i}});
  ASSERT_TRUE(raft::sound(peer(1), stored).ok());
  raft r{peer(1), {}, stored, random_source{1}, instant{}};
  EXPECT_EQ(r.last(), raft_index{5});
  auto todo = r.tick(instant{} + 3s);
  EXPECT_EQ(std::get<raft::write>(todo.at(0)).cut_from, raft_index{1});
}

TEST(Raft, DoesNotStartFromADamagedOrForeignDisk) {
  raft_stored gap{raft_hard_state{raft_term{1}, {}, peer(1).disk}, {}, {}};
  gap.entries = {{.term = raft_term{1}, .index = raft_index{2}}};
  EXPECT_EQ(raft::sound(peer(1), gap).code(), errc::storage_damaged);
  gap.entries = {{.term = raft_term{2}, .index = raft_index{1}}};
  EXPECT_EQ(raft::sound(peer(1), gap).code(), errc::storage_damaged);
  gap.entries.clear();
  EXPECT_EQ(raft::sound(peer(1, 2), gap).code(), errc::wrong_format);
}

TEST(Raft, RepeatedReorderedAndStaleMessagesDoNoHarm) {
  desk d{3};
  d.elect(1);
  std::vector<raft_message> seen;
  d.lets = [&](const raft_message& m) {
    seen.push_back(m);
    return true;
  };
  for (std::uint64_t s = 1; s <= 5; ++s) d.propose(1, s);
  d.crash(1);
  d.elect(2);
  d.propose(2, 6);
  d.lets = [](const raft_message&) { return true; };
  d.start(1);
  for (int round = 0; round < 2; ++round) {
    for (auto m = seen.rbegin(); m != seen.rend(); ++m) {
      d.deliver_one(*m);
      d.deliver();
    }
  }
  if (d[2].role() != role::leader) d.elect(2);
  EXPECT_EQ(d.propose(2, 7).outcome, raft_outcome::done);
  EXPECT_FALSE(d.contradiction);
  EXPECT_TRUE(d.stopped.empty());
}

TEST(Raft, AVoterWithANewDiskIsNobodyUntilItIsTakenIn) {
  desk d{3};
  d.elect(1);
  d.propose(1, 1);
  d.crash(2);
  d.add(2, 2);  // the same node, another disk
  d.crash(3);
  for (int i = 0; i < 11; ++i) d.beat(1);
  EXPECT_EQ(d[1].role(), role::follower);  // its answers, if any, count for nothing
  EXPECT_EQ(d[2].last(), raft_index{0});
  d.start(3);
  d.elect(1);
  EXPECT_EQ(d.change(1, peer(2, 2), part::learner), raft_outcome::invalid);
  EXPECT_EQ(d.change(1, peer(2), part::none), raft_outcome::done);
  EXPECT_EQ(d.change(1, peer(2, 2), part::learner), raft_outcome::done);
  d.beat(1);
  EXPECT_EQ(d.change(1, peer(2, 2), part::voter), raft_outcome::done);
  EXPECT_EQ(d[2].committed(), d[1].committed());
}

TEST(Raft, NobodyVotesSoonAfterALeaderOrItsOwnStart) {
  desk d{3};
  const raft_message ask{peer(3), peer(2), raft_term{9}, raft_vote{raft_index{9}, raft_term{8}}};
  d.pass(999ms);
  d.perform(2, d[2].step(d.now, ask));
  EXPECT_EQ(d[2].term(), raft_term{0});
  d.elect(1);
  d.beat(1);
  d.pass(999ms);
  d.perform(2, d[2].step(d.now, ask));
  EXPECT_EQ(d[2].term(), d[1].term());
  d.pass(1ms);
  d.perform(2, d[2].step(d.now, ask));
  EXPECT_EQ(d[2].term(), raft_term{9});
}

TEST(Raft, ALeaderProvedGoneIsReplacedAtOnce) {
  desk d{3};
  d.elect(1);
  d.beat(1);
  d.crash(1);
  for (int n : {2, 3}) d.perform(n, d[n].peer_gone(d.now, node_id{1}));
  for (int i = 0; i < 7 && d[2].role() != role::leader && d[3].role() != role::leader; ++i) {
    d.pass(50ms);
    for (int n : {2, 3}) {
      d.tick(n);
      d.deliver();
    }
  }
  EXPECT_TRUE(d[2].leads() || d[3].leads());
}

TEST(Raft, ALeaderThatHandsOverGrantsNoMoreAndItsSuccessorNeedsNoSilence) {
  desk d{3};
  d.elect(1);
  d.beat(1);
  EXPECT_EQ(d[1].majority_contact(d.now), d.now);
  d.perform(1, d[1].hand_over(d.now, node_id{3}));
  EXPECT_FALSE(d[1].majority_contact(d.now));
  EXPECT_EQ(d.propose(1, 1).outcome, raft_outcome::busy);
  d.deliver();
  EXPECT_TRUE(d[3].leads());
  EXPECT_EQ(d[1].role(), role::follower);
}

TEST(Raft, AHandOverThatFailsEndsTheTermOnceTheSuccessorWasTold) {
  desk d{3};
  d.elect(1);
  d.beat(1);
  d.only({1, 2});
  d.perform(1, d[1].hand_over(d.now, node_id{3}));
  for (int i = 0; i < 11; ++i) {
    d.beat(1);
    EXPECT_FALSE(d[1].majority_contact(d.now));
  }
  EXPECT_EQ(d[1].role(), role::follower);
}

TEST(Raft, AFollowerFarBehindIsFoundInFewRoundTrips) {
  desk d{3};
  d.elect(1);
  d.only({1});
  for (std::uint64_t s = 1; s <= 500; ++s) d.perform(1, d[1].propose(d.now, {7, {}}, s, {}));
  d.net.clear();
  d.only({2, 3});
  d.elect(2);
  for (std::uint64_t s = 1; s <= 500; ++s) d.perform(2, d[2].propose(d.now, {8, {}}, s, {}));
  d.deliver();
  int refused = 0;
  d.lets = [&](const raft_message& m) {
    const auto* reply = std::get_if<raft_append_reply>(&m.body);
    refused += reply && !reply->accepted && m.term == d[2].term() && m.from == peer(1);
    return true;
  };
  d.beat(2);
  d.beat(2);
  EXPECT_EQ(d[1].committed(), d[2].committed());
  EXPECT_LE(refused, 2);
}

TEST(Raft, ProposalsBeyondTheBoundAreBusy) {
  desk d{3, {.command_bytes_max = 100, .uncommitted_max = 2}};
  d.elect(1);
  d.only({1});
  EXPECT_EQ(d.propose(1, 1, std::string(101, 'x')).outcome, raft_outcome::invalid);
  d.propose(1, 1);
  d.propose(1, 2);
  EXPECT_EQ(d.propose(1, 3).outcome, raft_outcome::busy);
}

}  // namespace
}  // namespace troupe::raft_test
