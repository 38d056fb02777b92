#include "runtime/entities/shard_owner.hpp"

#include <gtest/gtest.h>

#include <string>

namespace troupe::entities {
namespace {

using namespace std::chrono_literals;
using effects = shard_owner::effects;
using state = shard_owner::state;

const instant t0{};
const node_id here{1}, there{2};
const sender_id caller{node_id{7}, 70}, another{node_id{8}, 80};
const shard_id shard{"user", 3};

shared_bytes bytes(std::string_view text) {
  return shared_bytes::copy_of(as_bytes(text));
}
template <class T>
std::vector<T> of(const effects& all) {
  std::vector<T> out;
  for (const auto& e : all) {
    if constexpr (std::is_constructible_v<answer, T>) {
      if (const auto* s = std::get_if<shard_owner::send>(&e))
        if (const auto* a = std::get_if<T>(&s->answer)) out.push_back(*a);
    } else {
      if (const auto* x = std::get_if<T>(&e)) out.push_back(*x);
    }
  }
  return out;
}
errc refusal(const effects& all) {
  const auto r = of<refused>(all);
  return r.size() == 1 ? r[0].why : errc::internal;
}
deliver message(std::uint64_t sequence, std::int32_t epoch = 5, std::string key = "alice", std::uint64_t settled = 1,
                sender_id sender = caller) {
  return {shard, epoch, sender, sequence, settled, std::move(key), bytes("hello")};
}

/// A shard of epoch 5 on this node, with a lease of three seconds.
struct test_owner : shard_owner {
  explicit test_owner(keeping k = keeping::ephemeral, shard_settings s = {}) : shard_owner{here, shard, k, s} {
    life_began(caller, t0);
    life_began(another, t0);
    lease(t0 + 3s, t0);
  }
  static test_owner active(keeping k = keeping::ephemeral, shard_settings s = {}) {
    test_owner o{k, s};
    o.owner_changed({here, 5}, true, t0);
    o.loaded(5, {}, t0);
    return o;
  }
  effects deliver_at(deliver d, instant now = t0) { return delivered(std::move(d), now); }
  /// Handles the only message that is due.
  effects handle_one(const effects& todo, std::optional<std::string> record = {}, instant now = t0) {
    const auto h = of<handle>(todo);
    EXPECT_EQ(h.size(), 1u);
    if (h.size() != 1) return {};
    return handled(h[0].id, bytes("done"), record ? std::optional{bytes(*record)} : std::nullopt, now);
  }
};

TEST(ShardOwner, OwnedElsewhereAnswersMoved) {
  test_owner o;
  o.owner_changed({there, 5}, true, t0);
  const auto m = of<moved>(o.deliver_at(message(1)));
  ASSERT_EQ(m.size(), 1u);
  EXPECT_EQ(m[0].owner, (shard_owner_id{there, 5}));
  EXPECT_EQ(m[0].sender, caller);
  EXPECT_EQ(m[0].sequence, 1u);
}

TEST(ShardOwner, ActiveWithALeaseItHandlesAndReplies) {
  auto o = test_owner::active();
  const auto todo = o.deliver_at(message(1));
  EXPECT_EQ(of<shard_owner::handle>(todo).at(0).key, "alice");
  EXPECT_EQ(of<shard_owner::handle>(todo).at(0).sender, caller);
  const auto out = o.handle_one(todo);
  ASSERT_EQ(of<reply>(out).size(), 1u);
  EXPECT_EQ(as_text(of<reply>(out)[0].payload), "done");
  EXPECT_EQ(of<reply>(out)[0].sequence, 1u);
}

TEST(ShardOwner, AssignedItQueuesUntilItIsActiveAndLoaded) {
  test_owner o;
  EXPECT_EQ(of<shard_owner::load>(o.owner_changed({here, 5}, false, t0)).at(0).epoch, 5);
  EXPECT_TRUE(o.deliver_at(message(1)).empty());
  EXPECT_TRUE(o.loaded(5, {}, t0).empty());
  EXPECT_TRUE(o.deliver_at(message(2, 5, "bob")).empty());
  EXPECT_EQ(o.queued(), 2u);
  const auto todo = of<shard_owner::handle>(o.owner_changed({here, 5}, true, t0));
  ASSERT_EQ(todo.size(), 2u);
  EXPECT_EQ(todo[0].key, "alice");
  EXPECT_EQ(todo[1].key, "bob");
  EXPECT_EQ(o.queued(), 0u);
}

TEST(ShardOwner, ActiveButNotLoadedItQueuesToo) {
  test_owner o;
  o.owner_changed({here, 5}, true, t0);
  EXPECT_TRUE(o.deliver_at(message(1)).empty());
  EXPECT_TRUE(o.loaded(4, {}, t0).empty());  // of an earlier epoch
  EXPECT_EQ(of<shard_owner::handle>(o.loaded(5, {}, t0)).size(), 1u);
}

TEST(ShardOwner, SoftKindsServeFromAssigned) {
  test_owner o{keeping::soft};
  o.owner_changed({here, 5}, false, t0);
  o.loaded(5, {}, t0);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(1))).size(), 1u);
}

TEST(ShardOwner, AFullQueueIsBusy) {
  test_owner o{keeping::ephemeral, {.queued_max = 2}};
  o.owner_changed({here, 5}, false, t0);
  o.deliver_at(message(1));
  o.deliver_at(message(2));
  EXPECT_EQ(refusal(o.deliver_at(message(3))), errc::busy);

  test_owner bytewise{keeping::ephemeral, {.queued_bytes_max = 25}};
  bytewise.owner_changed({here, 5}, false, t0);
  bytewise.deliver_at(message(1));
  bytewise.deliver_at(message(2));
  EXPECT_EQ(refusal(bytewise.deliver_at(message(3))), errc::busy);
}

TEST(ShardOwner, OneMessageOfAnEntityAtATimeInOrderOfArrival) {
  auto o = test_owner::active();
  const auto first = o.deliver_at(message(2));
  EXPECT_TRUE(o.deliver_at(message(1)).empty());
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(3, 5, "bob"))).size(), 1u);  // another entity
  const auto out = o.handle_one(first);
  EXPECT_EQ(of<reply>(out).at(0).sequence, 2u);
  EXPECT_EQ(of<reply>(o.handle_one(out)).at(0).sequence, 1u);
}

TEST(ShardOwner, ALowerEpochIsMoved) {
  auto o = test_owner::active();
  EXPECT_EQ(of<moved>(o.deliver_at(message(1, 4))).at(0).owner, (shard_owner_id{here, 5}));
}

TEST(ShardOwner, AHigherEpochWaitsForMetadataAtMostASecond) {
  auto o = test_owner::active();
  EXPECT_TRUE(o.deliver_at(message(1, 6)).empty());
  EXPECT_EQ(o.wakes_at(), t0 + 1s);
  EXPECT_TRUE(o.tick(t0 + 999ms).empty());
  EXPECT_EQ(refusal(o.tick(t0 + 1s)), errc::unknown_epoch);
  EXPECT_EQ(o.wakes_at(), std::nullopt);

  o.deliver_at(message(1, 6));
  EXPECT_EQ(of<moved>(o.owner_changed({there, 6}, false, t0)).at(0).owner, (shard_owner_id{there, 6}));
}

TEST(ShardOwner, WithoutALeaseNothingIsHandled) {
  auto o = test_owner::active();
  EXPECT_EQ(refusal(o.deliver_at(message(1), t0 + 3s)), errc::not_leader);
  o.lease(t0 + 6s, t0 + 4s);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(1), t0 + 4s)).size(), 1u);
}

TEST(ShardOwner, ALeaseThatEndsRefusesWhatWaits) {
  auto o = test_owner::active();
  const auto first = o.deliver_at(message(1));
  o.deliver_at(message(2));
  EXPECT_EQ(o.wakes_at(), t0 + 3s);
  EXPECT_EQ(refusal(o.tick(t0 + 3s)), errc::not_leader);
  EXPECT_EQ(o.queued(), 0u);

  test_owner late;
  late.owner_changed({here, 5}, false, t0);
  late.loaded(5, {}, t0);
  late.deliver_at(message(1));
  EXPECT_EQ(refusal(late.owner_changed({here, 5}, true, t0 + 3s)), errc::not_leader);
}

TEST(ShardOwner, AReplyWithoutALeaseWaitsForTheNext) {
  auto o = test_owner::active();
  const auto todo = o.deliver_at(message(1));
  EXPECT_TRUE(o.handle_one(todo, {}, t0 + 3s).empty());
  EXPECT_EQ(refusal(o.deliver_at(message(1), t0 + 4s)), errc::not_leader);
  EXPECT_EQ(of<reply>(o.lease(t0 + 8s, t0 + 5s)).size(), 1u);
  EXPECT_TRUE(o.lease(t0 + 9s, t0 + 6s).empty());
}

TEST(ShardOwner, ARepeatIsAnsweredFromMemoryAndHandledOnce) {
  auto o = test_owner::active();
  const auto todo = o.deliver_at(message(1));
  EXPECT_TRUE(o.deliver_at(message(1)).empty());  // being handled
  o.handle_one(todo);
  const auto again = o.deliver_at(message(1));
  EXPECT_TRUE(of<shard_owner::handle>(again).empty());
  EXPECT_EQ(as_text(of<reply>(again).at(0).payload), "done");
}

TEST(ShardOwner, WhatIsDeclinedIsRefusedAndMayComeAgain) {
  auto o = test_owner::active();
  const auto first = of<shard_owner::handle>(o.deliver_at(message(1))).at(0);
  EXPECT_TRUE(of<shard_owner::handle>(o.deliver_at(message(2))).empty());
  const auto out = o.declined(first.id, errc::busy, t0);
  EXPECT_EQ(of<refused>(out).at(0).why, errc::busy);
  EXPECT_EQ(of<refused>(out).at(0).sequence, 1u);
  const auto next = of<shard_owner::handle>(out);
  ASSERT_EQ(next.size(), 1u);  // the entity goes on with what waited for it
  EXPECT_TRUE(o.declined(first.id, errc::busy, t0).empty());
  EXPECT_EQ(of<reply>(o.handled(next[0].id, bytes("done"), {}, t0)).size(), 1u);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(1))).size(), 1u);
}

TEST(ShardOwner, WhatItsSenderSettledIsForgottenAndALateCopyRefused) {
  auto o = test_owner::active();
  o.handle_one(o.deliver_at(message(1)));
  o.handle_one(o.deliver_at(message(2, 5, "alice", 2)));
  EXPECT_EQ(o.memory().handled.size(), 1u);
  EXPECT_EQ(refusal(o.deliver_at(message(1))), errc::fenced_epoch);
}

TEST(ShardOwner, TheMessagesOfAFormerLifeAreRefusedAndForgotten) {
  auto o = test_owner::active();
  o.handle_one(o.deliver_at(message(1)));
  o.life_began({caller.node, 71}, t0);
  EXPECT_TRUE(o.memory().handled.empty());
  EXPECT_EQ(refusal(o.deliver_at(message(1))), errc::fenced_epoch);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(1, 5, "alice", 1, {caller.node, 71}))).size(), 1u);
}

TEST(ShardOwner, ALifeThatMetadataDoesNotKnowYetWaitsForIt) {
  auto o = test_owner::active();
  EXPECT_TRUE(o.deliver_at(message(1, 5, "alice", 1, {caller.node, 71})).empty());
  EXPECT_EQ(of<shard_owner::handle>(o.life_began({caller.node, 71}, t0)).size(), 1u);
  o.life_ended(another.node);
  o.deliver_at(message(1, 5, "bob", 1, another));
  EXPECT_EQ(refusal(o.tick(t0 + 1s)), errc::unknown_epoch);
}

TEST(ShardOwner, ASenderBeyondItsWindowOrItsBytesIsBusy) {
  auto o = test_owner::active(keeping::ephemeral, {.kept_bytes_max = 6, .window = 4});
  EXPECT_EQ(refusal(o.deliver_at(message(5))), errc::busy);
  o.handle_one(o.deliver_at(message(1)));
  o.handle_one(o.deliver_at(message(2)));  // eight bytes of replies now
  EXPECT_EQ(refusal(o.deliver_at(message(3))), errc::busy);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(3, 5, "alice", 2))).size(), 1u);
}

TEST(ShardOwner, ADurableReplyLeavesOnceTheWatermarkCoversItsRecord) {
  auto o = test_owner::active(keeping::durable);
  const auto out = o.handle_one(o.deliver_at(message(1)), "state");
  EXPECT_TRUE(of<reply>(out).empty());
  const auto store = of<shard_owner::store>(out).at(0);
  EXPECT_EQ(store.key, "alice");
  EXPECT_EQ(as_text(store.record), "state");
  ASSERT_EQ(store.with.size(), 1u);
  EXPECT_EQ(store.with[0].sender, caller);
  EXPECT_EQ(store.with[0].sequence, 1u);
  EXPECT_EQ(as_text(store.with[0].reply), "done");
  EXPECT_FALSE(store.with[0].settled);

  EXPECT_TRUE(o.committed(log_offset{100}, t0).empty());  // it has no place yet
  o.appended(store.id, log_offset{100});
  EXPECT_TRUE(o.committed(log_offset{100}, t0).empty());
  EXPECT_EQ(of<reply>(o.committed(log_offset{101}, t0)).size(), 1u);
}

TEST(ShardOwner, AReadWaitsForWhatItMayHaveSeen) {
  auto o = test_owner::active(keeping::durable);
  EXPECT_EQ(of<reply>(o.handle_one(o.deliver_at(message(1)))).size(), 1u);  // nothing is on its way
  const auto store = of<shard_owner::store>(o.handle_one(o.deliver_at(message(2)), "state")).at(0);
  EXPECT_TRUE(of<reply>(o.handle_one(o.deliver_at(message(3)))).empty());
  o.appended(store.id, log_offset{0});
  EXPECT_EQ(of<reply>(o.committed(log_offset{1}, t0)).size(), 2u);
}

TEST(ShardOwner, ARecordRemembersRepliesAndTheLastSettledOfEachSender) {
  auto o = test_owner::active(keeping::durable);
  o.handle_one(o.deliver_at(message(1)), "a");
  o.handle_one(o.deliver_at(message(2)), "b");
  o.handle_one(o.deliver_at(message(3)), "c");
  const auto out = o.handle_one(o.deliver_at(message(1, 5, "alice", 1, another)), "d");
  EXPECT_EQ(of<shard_owner::store>(out).at(0).with.size(), 4u);
  const auto with = of<shard_owner::store>(o.handle_one(o.deliver_at(message(4, 5, "alice", 3)), "e")).at(0).with;
  ASSERT_EQ(with.size(), 4u);
  EXPECT_EQ(with[0].sequence, 2u);  // stands for the first too
  EXPECT_TRUE(with[0].settled);
  EXPECT_TRUE(with[0].reply.empty());
  EXPECT_EQ(with[1].sequence, 3u);
  EXPECT_EQ(with[2].sequence, 4u);
  EXPECT_EQ(with[3].sender, another);
}

TEST(ShardOwner, ANewOwnerKnowsTheRepeatsOfTheOldOne) {
  test_owner o{keeping::durable};
  o.owner_changed({here, 5}, true, t0);
  EXPECT_TRUE(o.deliver_at(message(3)).empty());
  EXPECT_TRUE(o.deliver_at(message(1, 5, "bob", 1, another)).empty());
  const auto out = o.loaded(
      5, {{{another, 2}}, {{"alice", {caller, 2, {}, true}}, {"alice", {caller, 3, bytes("old"), false}}}}, t0);
  EXPECT_TRUE(of<shard_owner::handle>(out).empty());
  EXPECT_EQ(as_text(of<reply>(out).at(0).payload), "old");
  EXPECT_EQ(of<refused>(out).at(0).sender, another);  // its first is settled
  EXPECT_EQ(refusal(o.deliver_at(message(1))), errc::fenced_epoch);
  EXPECT_EQ(of<shard_owner::handle>(o.deliver_at(message(4))).size(), 1u);
}

TEST(ShardOwner, WhatIsSettledIsRecordedBeforeItIsForgotten) {
  auto o = test_owner::active(keeping::durable, {.window = 4});
  std::int64_t end = 0;
  auto commit = [&](const effects& out) {
    for (const auto& s : of<shard_owner::store>(out)) o.appended(s.id, log_offset{end++});
    for (const auto& s : of<shard_owner::store_settled>(out)) o.appended(s.id, log_offset{end++});
    o.committed(log_offset{end}, t0);
  };
  commit(o.handle_one(o.deliver_at(message(1)), "a"));
  commit(o.handle_one(o.deliver_at(message(2, 5, "bob", 2)), "a"));
  EXPECT_EQ(o.memory().handled.size(), 2u);
  const auto out = o.deliver_at(message(3, 5, "carol", 3));
  const auto record = of<shard_owner::store_settled>(out);
  ASSERT_EQ(record.size(), 1u);
  EXPECT_EQ(record[0].sender, caller);
  EXPECT_EQ(record[0].settled, 3u);
  EXPECT_EQ(o.memory().handled.size(), 2u);
  commit(out);
  EXPECT_TRUE(o.memory().handled.empty());
}

TEST(ShardOwner, AFailedStoreLoadsEverythingAgainAndRefusesWhatWasOnItsWay) {
  auto o = test_owner::active(keeping::durable);
  const auto store = of<shard_owner::store>(o.handle_one(o.deliver_at(message(1)), "state")).at(0);
  const auto out = o.store_failed(t0);
  EXPECT_EQ(refusal(out), errc::not_leader);
  EXPECT_EQ(of<shard_owner::drop>(out).size(), 1u);
  EXPECT_EQ(of<shard_owner::load>(out).at(0).epoch, 5);
  o.appended(store.id, log_offset{0});
  EXPECT_TRUE(o.committed(log_offset{9}, t0).empty());
  EXPECT_TRUE(o.deliver_at(message(1)).empty());
  EXPECT_EQ(of<shard_owner::handle>(o.loaded(5, {}, t0)).size(), 1u);
}

TEST(ShardOwner, APlannedMoveStopsFinishesWritesAndAcknowledges) {
  auto o = test_owner::active(keeping::durable);
  const auto first = o.deliver_at(message(1));
  o.deliver_at(message(2));
  EXPECT_TRUE(o.hand_over(4, t0).empty());                   // of another epoch
  EXPECT_EQ(refusal(o.hand_over(5, t0)), errc::not_leader);  // what waited
  EXPECT_EQ(o.now_in(), state::handing_over);
  EXPECT_EQ(refusal(o.deliver_at(message(3))), errc::not_leader);

  const auto out = o.handle_one(first, "state");
  EXPECT_TRUE(of<shard_owner::write_state>(out).empty());
  EXPECT_TRUE(o.state_written(t0).empty());
  o.appended(of<shard_owner::store>(out).at(0).id, log_offset{0});
  const auto done = o.committed(log_offset{1}, t0);
  EXPECT_EQ(of<reply>(done).size(), 1u);
  EXPECT_EQ(of<shard_owner::write_state>(done).size(), 1u);
  EXPECT_EQ(of<shard_owner::acknowledge>(o.state_written(t0)).at(0).epoch, 5);
  EXPECT_EQ(o.now_in(), state::handed_over);
  EXPECT_EQ(of<shard_owner::acknowledge>(o.hand_over(5, t0)).size(), 1u);  // the controller asks again
  // Another controller may know nothing of it and not ask.
  EXPECT_EQ(o.wakes_at(), t0 + 1s);
  EXPECT_TRUE(o.tick(t0 + 999ms).empty());
  EXPECT_EQ(of<shard_owner::acknowledge>(o.tick(t0 + 1s)).size(), 1u);
  EXPECT_EQ(o.wakes_at(), t0 + 2s);
  EXPECT_EQ(refusal(o.deliver_at(message(3))), errc::not_leader);
  EXPECT_EQ(of<reply>(o.deliver_at(message(1))).size(), 1u);  // a repeat of what it did answer

  EXPECT_EQ(of<shard_owner::drop>(o.owner_changed({there, 6}, true, t0)).size(), 1u);
  EXPECT_EQ(of<moved>(o.deliver_at(message(3))).at(0).owner, (shard_owner_id{there, 6}));
}

TEST(ShardOwner, AnIdleShardMovesAtOnce) {
  auto o = test_owner::active();
  EXPECT_EQ(of<shard_owner::write_state>(o.hand_over(5, t0)).size(), 1u);
}

TEST(ShardOwner, AShardThatWasJustHandedToUsIsLoadedBeforeItMovesOn) {
  test_owner o;
  o.owner_changed({here, 5}, true, t0);
  EXPECT_TRUE(o.hand_over(5, t0).empty());
  const shard_memory memory{{}, {{"alice", {caller, 3, bytes("old"), false}}}};
  EXPECT_EQ(of<shard_owner::write_state>(o.loaded(5, memory, t0)).size(), 1u);
  EXPECT_EQ(o.memory().handled.size(), 1u);

  test_owner logged{keeping::durable};
  logged.owner_changed({here, 5}, true, t0);
  EXPECT_EQ(of<shard_owner::write_state>(logged.hand_over(5, t0)).size(), 1u);
}

TEST(ShardOwner, WhatIsNotHandledWhenTheShardMovesHearsWhere) {
  auto o = test_owner::active();
  const auto first = o.deliver_at(message(1));
  o.deliver_at(message(2));
  const auto out = o.owner_changed({there, 6}, false, t0);
  ASSERT_EQ(of<moved>(out).size(), 2u);
  EXPECT_EQ(of<moved>(out)[0].owner, (shard_owner_id{there, 6}));
  EXPECT_EQ(of<shard_owner::drop>(out).size(), 1u);
  EXPECT_TRUE(o.handled(of<shard_owner::handle>(first).at(0).id, {}, {}, t0).empty());
  EXPECT_EQ(o.queued(), 0u);
}

TEST(ShardOwner, OldRecordsChangeNothing) {
  auto o = test_owner::active();
  EXPECT_TRUE(o.owner_changed({there, 4}, true, t0).empty());
  EXPECT_TRUE(o.owner_changed({here, 5}, true, t0).empty());
  EXPECT_EQ(o.owner(), (shard_owner_id{here, 5}));
  EXPECT_EQ(o.now_in(), state::active);
}

TEST(ShardOwner, ItsNextEpochOnThisNodeIsAnotherActivation) {
  auto o = test_owner::active();
  o.handle_one(o.deliver_at(message(1)));
  const auto out = o.owner_changed({here, 6}, true, t0);
  EXPECT_EQ(of<shard_owner::drop>(out).size(), 1u);
  EXPECT_EQ(of<shard_owner::load>(out).at(0).epoch, 6);
  EXPECT_TRUE(o.memory().handled.empty());
}

}  // namespace
}  // namespace troupe::entities
