#include "runtime/entities/router.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace troupe::entities {
namespace {

using namespace std::chrono_literals;

const instant start{};
const sender_id self{node_id{1}, 10};
const entity_name alice{"user", "alice"};
const node_id two{2}, three{3};

shared_bytes bytes(std::string_view text) {
  return shared_bytes::copy_of(as_bytes(text));
}
std::vector<router::transmit> sent(const router::effects& all) {
  std::vector<router::transmit> out;
  for (const auto& e : all)
    if (const auto* t = std::get_if<router::transmit>(&e)) out.push_back(*t);
  return out;
}
std::vector<router::ended> ends(const router::effects& all) {
  std::vector<router::ended> out;
  for (const auto& e : all)
    if (const auto* t = std::get_if<router::ended>(&e)) out.push_back(*t);
  return out;
}

/// A router that knows the kind `user` with one shard.
struct fixture {
  router it;
  shard_id shard{"user", 0};
  explicit fixture(router_settings s = {}) : it{self, s, random_source{1}} { it.kind_known("user", 1); }

  router::effects owned_by(node_id node, std::int32_t epoch, instant now = start) {
    return it.owner_changed(shard, {node, epoch}, now);
  }
  router::effects send(router::ticket t, instant now = start) {
    auto out = it.send(t, alice, bytes("hello"), now);
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : router::effects{};
  }
  router::effects reply_to(std::uint64_t sequence, instant now = start) {
    return it.answered(reply{shard, self, sequence, bytes("yes")}, now);
  }
  router::effects refuse(std::uint64_t sequence, instant now = start) {
    return it.answered(refused{shard, self, sequence, errc::busy}, now);
  }
};

TEST(EntityName, IsKindAndKeyAndAKeyMayHoldSlashes) {
  const auto name = entity_name::parse("channel/a/b");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name.value(), (entity_name{"channel", "a/b"}));
  EXPECT_EQ(name.value().text(), "channel/a/b");
  for (auto bad : {"", "channel", "channel/", "/a"}) EXPECT_EQ(entity_name::parse(bad).code(), errc::invalid_request);
  EXPECT_EQ(entity_name::parse("a/" + std::string(511, 'x')).code(), errc::invalid_request);
  EXPECT_TRUE(entity_name::parse("a/" + std::string(510, 'x')).ok());
}

TEST(EntityName, ItsShardIsAFormatAndNeverChanges) {
  EXPECT_EQ(shard_of({"user", "1"}, 64), (shard_id{"user", 2320656242917271155u % 64}));
}

TEST(Router, SendsToTheOwnerOfTheShardAndEndsWithItsReply) {
  fixture f;
  f.owned_by(two, 5);
  const auto out = sent(f.send(77));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, two);
  EXPECT_EQ(out[0].message.shard, f.shard);
  EXPECT_EQ(out[0].message.epoch, 5);
  EXPECT_EQ(out[0].message.sender, self);
  EXPECT_EQ(out[0].message.sequence, 1u);
  EXPECT_EQ(out[0].message.settled, 1u);
  EXPECT_EQ(out[0].message.key, "alice");
  EXPECT_EQ(as_text(out[0].message.payload), "hello");

  const auto end = ends(f.reply_to(1));
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(end[0].of, 77u);
  EXPECT_EQ(as_text(end[0].outcome.value()), "yes");
  EXPECT_TRUE(f.reply_to(1).empty());  // a copy of the answer
  EXPECT_EQ(f.it.messages(), 0u);
  EXPECT_EQ(f.it.bytes(), 0u);
  EXPECT_EQ(f.it.wakes_at(), std::nullopt);
}

TEST(Router, WaitsForAnOwnerInTheMetadata) {
  fixture f;
  EXPECT_TRUE(f.send(1).empty());
  EXPECT_EQ(f.it.wakes_at(), start + 30s);
  EXPECT_EQ(sent(f.owned_by(two, 1, start + 4s)).size(), 1u);
}

TEST(Router, FollowsTheMetadataAndNeverBack) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  const auto out = sent(f.owned_by(three, 6));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, three);
  EXPECT_EQ(out[0].message.epoch, 6);
  EXPECT_EQ(out[0].message.sequence, 1u);  // the same message
  EXPECT_TRUE(f.owned_by(two, 5).empty());
  EXPECT_EQ(sent(f.send(2)).at(0).to, three);
}

TEST(Router, FollowsAHintThatIsAheadOfItsMetadata) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  const auto out = sent(f.it.answered(moved{f.shard, self, 1, {three, 6}}, start));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, three);
  EXPECT_EQ(out[0].message.epoch, 6);
}

TEST(Router, BacksOffFromAHintThatIsNotAhead) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  EXPECT_TRUE(f.it.answered(moved{f.shard, self, 1, {three, 4}}, start).empty());
  EXPECT_LE(*f.it.wakes_at(), start + 40ms);
  EXPECT_EQ(sent(f.it.tick(*f.it.wakes_at())).at(0).to, two);
}

TEST(Router, RetriesFrom20MsTo2SWithJitter) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  auto now = start;
  for (auto whole : {20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1280ms, 2000ms, 2000ms}) {
    f.refuse(1, now);
    const auto wait = *f.it.wakes_at() - now;
    EXPECT_GE(wait, whole / 2);
    EXPECT_LE(wait, whole);
    now = *f.it.wakes_at();
    const auto again = sent(f.it.tick(now));
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].message.sequence, 1u);
  }
}

TEST(Router, SendsAgainAfterASecondOfSilenceAndSoonAfterALostLink) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  EXPECT_EQ(f.it.wakes_at(), start + 1s);
  f.it.node_lost(three, start);
  EXPECT_EQ(f.it.wakes_at(), start + 1s);
  f.it.node_lost(two, start);
  EXPECT_LE(*f.it.wakes_at(), start + 40ms);
}

TEST(Router, GivesUpAfter30SecondsWithAnError) {
  fixture f;
  f.owned_by(two, 5);
  f.send(9);
  std::vector<router::ended> end;
  instant now{};
  while (end.empty()) {
    now = *f.it.wakes_at();
    end = ends(f.it.tick(now));
  }
  EXPECT_EQ(now, start + 30s);
  EXPECT_EQ(end[0].of, 9u);
  EXPECT_EQ(end[0].outcome.error(), (error{errc::timed_out, "user/alice: no answer from node 2"}));
  EXPECT_TRUE(f.reply_to(1, now).empty());
  EXPECT_EQ(f.it.bytes(), 0u);
}

TEST(Router, SaysWhatIsSettled) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  f.send(2);
  f.send(3);
  f.reply_to(2);
  EXPECT_EQ(sent(f.send(4)).at(0).message.settled, 1u);
  f.reply_to(1);
  EXPECT_EQ(sent(f.send(5)).at(0).message.settled, 3u);
}

TEST(Router, KeepsWithinTheWindowOfAShard) {
  fixture f{{.window = 2}};
  f.owned_by(two, 5);
  EXPECT_EQ(sent(f.send(1)).size(), 1u);
  EXPECT_EQ(sent(f.send(2)).size(), 1u);
  EXPECT_TRUE(f.send(3).empty());
  EXPECT_TRUE(sent(f.reply_to(2)).empty());  // the window begins at the oldest
  const auto out = sent(f.reply_to(1));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].message.sequence, 3u);
  EXPECT_EQ(out[0].message.settled, 3u);
}

TEST(Router, AMessageThatWaitsForTheWindowGivesUpToo) {
  fixture f{{.window = 1}};
  f.owned_by(two, 5);
  f.send(1);
  f.send(2, start + 1s);
  std::vector<router::ended> end;
  while (f.it.messages() > 0)
    for (auto& e : ends(f.it.tick(*f.it.wakes_at()))) end.push_back(e);
  ASSERT_EQ(end.size(), 2u);
  EXPECT_EQ(end[1].of, 2u);
  EXPECT_EQ(end[1].outcome.code(), errc::timed_out);
}

TEST(Router, RefusesAboveItsBoundsAndWhatNobodyCouldAnswer) {
  fixture f{{.messages_max = 2, .bytes_max = 25, .payload_max = 10}};
  EXPECT_EQ(f.it.send(1, {"planet", "mars"}, {}, start).code(), errc::invalid_request);
  EXPECT_EQ(f.it.send(1, {"user", ""}, {}, start).code(), errc::invalid_request);
  EXPECT_EQ(f.it.send(1, alice, bytes("eleven byte"), start).code(), errc::message_too_large);
  f.send(1);
  EXPECT_EQ(f.it.bytes(), 10u);
  f.send(2);
  EXPECT_EQ(f.it.send(3, alice, {}, start).code(), errc::busy);
  f.owned_by(two, 1);
  f.reply_to(1);
  EXPECT_EQ(f.it.send(3, alice, bytes("0123456789"), start + 1s).ok(), true);
  f.reply_to(2);
  EXPECT_EQ(f.it.send(4, alice, bytes("0123456789"), start + 1s).code(), errc::busy);  // bytes
}

TEST(Router, StoppingEndsEverything) {
  fixture f;
  f.send(1);
  f.send(2);
  const auto end = ends(f.it.stopped({errc::closed, "the node stops"}));
  ASSERT_EQ(end.size(), 2u);
  EXPECT_EQ(end[0].outcome.code(), errc::closed);
  EXPECT_EQ(f.it.wakes_at(), std::nullopt);
}

TEST(Router, IgnoresAnswersToAnotherLife) {
  fixture f;
  f.owned_by(two, 5);
  f.send(1);
  EXPECT_TRUE(f.it.answered(reply{f.shard, {self.node, 9}, 1, {}}, start).empty());
  EXPECT_EQ(f.it.messages(), 1u);
}

}  // namespace
}  // namespace troupe::entities
