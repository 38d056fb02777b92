#include "actors/node/node_codec.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "schemas/frame.hpp"
#include "schemas/peer.capnp.h"
#include "tests/unit/node/letters.hpp"

namespace troupe {
namespace {

std::vector<std::byte> bytes_of(byte_view bytes) {
  return {bytes.begin(), bytes.end()};
}
node_letter back(const node_letter& letter) {
  auto read = decode(encode(letter));
  EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().text);
  return read.ok() ? std::move(*read) : node_letter{{}, {}, farewell{}};
}
template <class Message>
Message back_as(Message message) {
  return std::get<Message>(back({"c", {node_id{1}, 2}, std::move(message)}).body);
}
template <class Body>
Body raft_back(Body body) {
  return std::get<Body>(back_as(raft_message{{node_id{1}, {}}, {node_id{2}, {}}, raft_term{3}, std::move(body)}).body);
}
bool within(const shared_bytes& part, const shared_bytes& whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

TEST(NodeCodec, LettersOfEveryKindComeBackAsTheyWentIn) {
  for (std::size_t kind = 0; kind < test::letter_writer::kinds; ++kind)
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const auto letter = test::letter_writer{seed * 100 + kind}.of_kind(kind);
      const auto bytes = encode(letter);
      const auto read = decode(bytes);
      ASSERT_TRUE(read.ok()) << read.error().text;
      ASSERT_EQ(read->body.index(), kind);
      EXPECT_EQ(read->cluster_id, letter.cluster_id);
      EXPECT_EQ(read->from, letter.from);
      ASSERT_EQ(bytes_of(encode(*read)), bytes_of(bytes)) << "kind " << kind << ", seed " << seed;
    }
}

TEST(NodeCodec, TheQuorumsMessagesKeepEachField) {
  const raft_peer peer{node_id{7}, {{1, 2, 3}}};
  const raft_client client{9, raft_index{8}};
  auto sent = raft_append{raft_index{1}, raft_term{2}, raft_index{3}, 4, {}};
  sent.entries = {{raft_term{5},
                   raft_index{6},
                   raft_entry::kind_t::command,
                   client,
                   7,
                   {},
                   shared_bytes::copy_of(as_bytes("payload"))},
                  {raft_term{5}, raft_index{7}, raft_entry::kind_t::members, {}, 0, {{peer, true}, {{}, false}}, {}}};
  const auto append = raft_back(sent);
  EXPECT_EQ(append.previous, raft_index{1});
  EXPECT_EQ(append.previous_term, raft_term{2});
  EXPECT_EQ(append.commit, raft_index{3});
  EXPECT_EQ(append.round, 4u);
  ASSERT_EQ(append.entries.size(), 2u);
  EXPECT_EQ(append.entries[0].term, raft_term{5});
  EXPECT_EQ(append.entries[0].index, raft_index{6});
  EXPECT_EQ(append.entries[0].client, client);
  EXPECT_EQ(append.entries[0].sequence, 7u);
  EXPECT_EQ(as_text(append.entries[0].payload), "payload");
  EXPECT_EQ(append.entries[1].kind, raft_entry::kind_t::members);
  EXPECT_EQ(append.entries[1].members, sent.entries[1].members);

  const raft_sessions sessions{{{client, 5, raft_index{6}}}, raft_index{4}};
  const auto install = raft_back(raft_install{
      raft_index{1}, raft_term{2}, 3, 4, 5, shared_bytes::copy_of(as_bytes("piece")), {{peer, true}}, sessions});
  EXPECT_EQ(install.index, raft_index{1});
  EXPECT_EQ(install.snapshot_term, raft_term{2});
  EXPECT_EQ(install.round, 3u);
  EXPECT_EQ(install.offset, 4u);
  EXPECT_EQ(install.size, 5u);
  EXPECT_EQ(as_text(install.piece), "piece");
  EXPECT_EQ(install.members, (raft_members{{peer, true}}));
  EXPECT_EQ(install.sessions, sessions);

  const auto reply = raft_back(raft_append_reply{true, 1, raft_index{2}, raft_index{3}, raft_index{4}, raft_term{5}});
  EXPECT_TRUE(reply.accepted);
  EXPECT_EQ(reply.round, 1u);
  EXPECT_EQ(reply.match, raft_index{2});
  EXPECT_EQ(reply.previous, raft_index{3});
  EXPECT_EQ(reply.hint, raft_index{4});
  EXPECT_EQ(reply.hint_term, raft_term{5});
  const auto vote = raft_back(raft_vote{raft_index{1}, raft_term{2}, true});
  EXPECT_EQ(vote.last_index, raft_index{1});
  EXPECT_EQ(vote.last_term, raft_term{2});
  EXPECT_TRUE(vote.handed_over);
  EXPECT_TRUE(raft_back(raft_vote_reply{true}).granted);
  EXPECT_TRUE(raft_back(raft_pre_vote_reply{true}).granted);
  EXPECT_EQ(raft_back(raft_pre_vote{raft_index{1}, raft_term{2}}).last_term, raft_term{2});
  EXPECT_EQ(raft_back(raft_install_reply{raft_index{1}, 2, 3}).received, 3u);
}

TEST(NodeCodec, WhatANodeAndTheControllerSayKeepsEachField) {
  const auto r = back_as(
      registration{"c", node_id{1}, {{5}}, 6, true, {{{{7}}, partition_index{8}}}, {"k", 9}, {"p", 10}, "rack", 11});
  EXPECT_EQ(r.cluster_id, "c");
  EXPECT_EQ(r.node, node_id{1});
  EXPECT_EQ(r.disk, (uuid{{5}}));
  EXPECT_EQ(r.start, 6u);
  EXPECT_TRUE(r.clean);
  EXPECT_EQ(r.damaged, (std::vector<partition_ref>{{{{7}}, partition_index{8}}}));
  EXPECT_EQ(r.kafka, (endpoint{"k", 9}));
  EXPECT_EQ(r.peer, (endpoint{"p", 10}));
  EXPECT_EQ(r.rack, "rack");
  EXPECT_EQ(r.weight, 11);

  const life someone{node_id{3}, 4};
  heartbeat sent{someone, meta_offset{5}, instant{std::chrono::nanoseconds{6}}, true, false, {}, {someone}};
  sent.suspicions = {{someone, suspicion_cause::gone, std::chrono::milliseconds{7}}};
  const auto h = back_as(relayed{sent}).message;
  EXPECT_EQ(h.from, someone);
  EXPECT_EQ(h.applied, meta_offset{5});
  EXPECT_EQ(h.sent, sent.sent);
  EXPECT_TRUE(h.ready);
  EXPECT_FALSE(h.wants_to_stop);
  ASSERT_EQ(h.suspicions.size(), 1u);
  EXPECT_EQ(h.suspicions[0].subject, someone);
  EXPECT_EQ(h.suspicions[0].why, suspicion_cause::gone);
  EXPECT_EQ(h.suspicions[0].age, std::chrono::milliseconds{7});
  EXPECT_EQ(h.unreachable, sent.unreachable);
  EXPECT_FALSE(h.disk_full);
  EXPECT_EQ(h.wall, std::nullopt);
  sent.disk_full = true;
  sent.wall = wall_time{std::chrono::milliseconds{-8}};
  const auto full = back_as(sent);
  EXPECT_TRUE(full.disk_full);
  EXPECT_EQ(full.wall, sent.wall);
  heartbeat_answer answer{someone};
  EXPECT_EQ(back_as(answer).clocks, clock_verdict{});
  answer.applied = meta_offset{10};
  EXPECT_EQ(back_as(answer).applied, answer.applied);
  answer.clocks = {clock_verdict::kind::agreed, wall_time{std::chrono::milliseconds{9}}};
  EXPECT_EQ(back_as(answer).clocks, answer.clocks);

  partition_state state{{{node_id{1}, 2}}, {node_id{1}}, node_id{1}, leader_epoch{3}, 4};
  state.elr = {node_id{9}};
  const auto a = back_as(
      alter_isr_answer{{{{7}}, partition_index{8}}, leader_epoch{2}, 3, alter_isr_answer::outcome::accepted, state});
  EXPECT_EQ(a.state, state);
  EXPECT_EQ(a.what, alter_isr_answer::outcome::accepted);
}

TEST(NodeCodec, ADecisionBringsTheTopicWithItsSettings) {
  const auto made = topic_of(
      {{{1}}, "orders", true, {{{{node_id{1}, 0}}, {node_id{1}}, node_id{1}}}, {{"min.insync.replicas", "2"}}});
  controller_reply sent{7, meta_offset{8}, {}};
  sent.what.decisions = {{"orders", {}, made.value()}, {"x", error{errc::invalid_topic, "why"}, nullptr}};
  sent.what.first = producer_id{-5};
  sent.what.items = {{}, {errc::busy, "later"}};
  sent.what.failed = error{errc::closed, ""};
  const auto reply = back_as(sent);
  ASSERT_EQ(reply.what.decisions.size(), 2u);
  ASSERT_TRUE(reply.what.decisions[0].now);
  EXPECT_EQ(*reply.what.decisions[0].now, *made.value());
  EXPECT_EQ(reply.what.decisions[0].now->settings.min_insync_replicas, 2);
  EXPECT_EQ(reply.what.decisions[1].refused, sent.what.decisions[1].refused);
  EXPECT_FALSE(reply.what.decisions[1].now);
  EXPECT_EQ(reply.what.first, producer_id{-5});
  ASSERT_EQ(reply.what.items.size(), 2u);
  EXPECT_TRUE(reply.what.items[0].ok());
  EXPECT_EQ(reply.what.items[1].error(), (error{errc::busy, "later"}));
  EXPECT_EQ(reply.what.failed, sent.what.failed);
}

TEST(NodeCodec, NothingAndAnEmptyListOrTextAreToldApart) {
  using c = cluster_controller;
  const auto request = [](c::request what) { return back_as(controller_request{1, std::move(what)}).what; };
  const auto grown = std::get<c::create_partitions>(
      request(c::create_partitions{{{"a", 1, {}}, {"b", 2, {{}}}, {"c", 3, {{{}, {node_id{1}}}}}}, true}));
  EXPECT_FALSE(grown.topics[0].assignments);
  EXPECT_EQ(grown.topics[1].assignments, (std::vector<std::vector<node_id>>{}));
  EXPECT_EQ(grown.topics[2].assignments, (std::vector<std::vector<node_id>>{{}, {node_id{1}}}));
  const auto moved = std::get<c::reassign>(request(c::reassign{{{{}, {}}, {{}, {{}}}}}));
  EXPECT_FALSE(moved.items[0].target);
  EXPECT_EQ(moved.items[1].target, std::vector<node_id>{});
  const auto set = std::get<c::alter_configs>(request(c::alter_configs{{{"t", {{"a", {}, {}}, {"b", {}, ""}}}}}));
  EXPECT_FALSE(set.topics[0].changes[0].value);
  EXPECT_EQ(set.topics[0].changes[1].value, "");
}

TEST(NodeCodec, LargePayloadsShareTheFramesMemory) {
  const auto large = shared_bytes::own(std::vector<std::byte>(100'000, std::byte{7}));
  const auto read_as = [&](node_message body, auto check) {
    const auto frame = encode({"c", {}, std::move(body)});
    EXPECT_LT(frame.size(), 2 * large.size() + 2000);
    auto letter = decode(frame);
    ASSERT_TRUE(letter.ok()) << letter.error().text;
    check(*letter, frame);
  };
  replica_answer answer;
  answer.what = replica_answer::records{{}, {}, {large, large}};
  read_as(answer, [&](const node_letter& l, const shared_bytes& frame) {
    for (const auto& run : std::get<replica_answer::records>(std::get<replica_answer>(l.body).what).runs) {
      EXPECT_TRUE(within(run, frame));
      EXPECT_TRUE(std::ranges::equal(run.view(), large.view()));
    }
  });
  raft_message m;
  m.body = raft_append{.entries = {{.payload = large}}};
  read_as(m, [&](const node_letter& l, const shared_bytes& frame) {
    EXPECT_TRUE(within(std::get<raft_append>(std::get<raft_message>(l.body).body).entries[0].payload, frame));
  });
  m.body = raft_install{.piece = large};
  shared_bytes outlives;
  read_as(m, [&](const node_letter& l, const shared_bytes& frame) {
    outlives = std::get<raft_install>(std::get<raft_message>(l.body).body).piece;
    EXPECT_TRUE(within(outlives, frame));
  });
  EXPECT_TRUE(std::ranges::equal(outlives.view(), large.view()));
}

TEST(NodeCodec, AFrameIsReadFromAnyAddress) {
  const auto letter = test::letter_writer{5}.of_kind(17);
  const auto frame = encode(letter);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    std::vector<std::byte> moved(shift);
    moved.insert(moved.end(), frame.view().begin(), frame.view().end());
    auto read = decode(shared_bytes::own(std::move(moved)).slice(shift, frame.size()));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(bytes_of(encode(*read)), bytes_of(frame));
  }
}

/// More than was expected to be: the frame is still one segment.
TEST(NodeCodec, LettersOfManySmallThingsAreOneSegmentToo) {
  cluster_controller::create_topics all;
  for (int i = 0; i < 5000; ++i)
    all.topics.push_back({"topic-" + std::to_string(i), 3, 2, {}, {{"retention.ms", "1"}}});
  const node_letter letter{"c", {}, controller_request{1, all}};
  const auto frame = encode(letter);
  EXPECT_EQ(load_le<std::uint32_t>(frame.data()), 0u);
  const auto read = back(letter);
  EXPECT_EQ(bytes_of(encode(read)), bytes_of(frame));
  EXPECT_EQ(std::get<cluster_controller::create_topics>(std::get<controller_request>(read.body).what).topics[4999].name,
            "topic-4999");
}

TEST(NodeCodec, LettersCutAnywhereOrWithMoreBehindAreRefused) {
  test::letter_writer writer{3};
  for (std::size_t kind = 0; kind < test::letter_writer::kinds; ++kind) {
    const auto frame = encode(writer.of_kind(kind));
    for (std::size_t size = 0; size < frame.size(); ++size) {
      auto cut = decode(frame.slice(0, size));
      ASSERT_FALSE(cut.ok());
      EXPECT_EQ(cut.code(), errc::malformed);
      // Also when the head says that this is all.
      if (size % 8 != 0 || size < 16) continue;
      auto shorter = bytes_of(frame.slice(0, size));
      store_le(shorter.data() + 4, static_cast<std::uint32_t>(size / 8 - 1));
      auto read = decode(shared_bytes::own(std::move(shorter)));
      if (!read) {
        EXPECT_EQ(read.code(), errc::malformed);
      }
    }
    auto longer = bytes_of(frame);
    longer.resize(frame.size() + 8);
    EXPECT_FALSE(decode(shared_bytes::own(std::move(longer))).ok());
  }
}

TEST(NodeCodec, DamagedBytesNeverDoHarm) {
  test::letter_writer writer{4};
  random_source random{20};
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = bytes_of(encode(writer.any()));
    for (auto n = 1 + random.below(3); n > 0; --n)
      bytes[8 + random.below(bytes.size() - 8)] ^= static_cast<std::byte>(1u << random.below(8));
    auto read = decode(shared_bytes::own(std::move(bytes)));
    if (!read) {
      ASSERT_EQ(read.code(), errc::malformed);
      continue;
    }
    const auto again = encode(*read);
    auto reread = decode(again);
    ASSERT_TRUE(reread.ok()) << reread.error().text;
    EXPECT_EQ(bytes_of(encode(*reread)), bytes_of(again));
  }
}

template <class Fill>
error trouble(Fill fill) {
  schema::frame_writer<schema::NodeLetter> frame{1024};
  fill(frame.root().initBody());
  auto read = decode(frame.finish());
  EXPECT_FALSE(read.ok());
  return read.ok() ? error{} : read.error();
}

TEST(NodeCodec, AnErrorNamesMessageAndField) {
  using body = schema::NodeLetter::Body::Builder;
  auto e = trouble([](body b) { b.initHeartbeatAnswer().setState(4); });
  EXPECT_EQ(e, (error{errc::malformed, "heartbeat answer: state is 4, which this version does not know"}));
  e = trouble([](body b) { b.initRegistrationAnswer().setVerdict(5); });
  EXPECT_EQ(e.text, "registration answer: verdict is 5, which this version does not know");
  e = trouble([](body b) { b.initHeartbeat().initSuspicions(1)[0].setCause(3); });
  EXPECT_EQ(e.text, "heartbeat: cause of a suspicion is 3, which this version does not know");
  e = trouble([](body b) { b.initAlterIsrAnswer().setOutcome(200); });
  EXPECT_EQ(e.text, "alter isr answer: outcome is 200, which this version does not know");
  e = trouble([](body b) { b.initRaft().initBody().initAppend().initEntries(1)[0].setKind(3); });
  EXPECT_EQ(e.text, "raft append: kind of an entry is 3, which this version does not know");
  e = trouble([](body b) {
    auto change = b.initControllerRequest().initWhat().initAlterConfigs().initTopics(1)[0].initChanges(1)[0];
    change.setOperation(4);
  });
  EXPECT_EQ(e.text, "alter configs: operation is 4, which this version does not know");
  e = trouble([](body b) { b.initRegistration().setRack(std::string((1 << 20) + 1, 'r')); });
  EXPECT_EQ(e.text, "registration: rack has 1048577 bytes");
  e = trouble([](body b) { b.initControllerReply().initFailed(); });
  EXPECT_EQ(e.text, "controller reply: error has number 0, which is none");
  e = trouble([](body b) {
    const auto other = encode(metadata_record{cluster_formed{"c"}});
    b.initControllerReply().initDecisions(1)[0].setNow(schema::data_of(other));
  });
  EXPECT_EQ(e.text, "controller reply: topic is another record");
  e = trouble([](body b) {
    const auto newer = encode(metadata_record{topic_created{{{1}}, "t", false, {{}}, {{"setting.of.tomorrow", "1"}}}});
    b.initControllerReply().initDecisions(1)[0].setNow(schema::data_of(newer));
  });
  EXPECT_NE(e.text.find("setting.of.tomorrow"), std::string::npos) << e.text;
}

TEST(NodeCodec, AnErrorOfANewerVersionIsInternal) {
  schema::frame_writer<schema::NodeLetter> frame{1024};
  auto failed = frame.root().initBody().initControllerReply().initFailed();
  failed.setCode(1000);
  failed.setText("of tomorrow");
  auto read = decode(frame.finish());
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(std::get<controller_reply>(read->body).what.failed, (error{errc::internal, "of tomorrow"}));
}

TEST(NodeCodec, ALongTextOfAnErrorIsCut) {
  controller_reply reply;
  reply.what.failed = error{errc::busy, std::string(10'000, 'x')};
  EXPECT_EQ(back_as(reply).what.failed->text.size(), error_text_bytes_max);
}

/// Each union's member of a newer version is named, wherever the number of the union lies.
TEST(NodeCodec, AKindOfANewerVersionIsNamed) {
  std::set<std::string> named;
  test::letter_writer writer{6};
  for (std::size_t kind = 0; kind < test::letter_writer::kinds; ++kind) {
    const auto bytes = bytes_of(encode(writer.of_kind(kind)));
    for (std::size_t at = 16; at + 2 <= bytes.size(); at += 2) {
      auto changed = bytes;
      store_le<std::uint16_t>(changed.data() + at, 99);
      auto read = decode(shared_bytes::own(std::move(changed)));
      if (!read.ok() && read.error().text.find("is 99, which") != std::string::npos) named.insert(read.error().text);
    }
  }
  for (const auto* message : {"letter: kind of its body", "raft message: kind", "controller request: kind",
                              "membership: kind", "replica answer: kind"})
    EXPECT_TRUE(named.contains(std::string{message} + " is 99, which this version does not know")) << message;
}

/// A few words that claim to be very many elements must not become as many objects.
TEST(NodeCodec, AListOfNothingsDoesNotUnfold) {
  test::letter_writer writer{7};
  for (int round = 0; round < 100; ++round) {
    const auto bytes = bytes_of(encode(writer.of_kind(round % 2 == 0 ? 0 : 10)));
    for (std::size_t at = 16; at + 8 <= bytes.size(); at += 8) {
      auto changed = bytes;
      store_le<std::uint64_t>(changed.data() + at, std::uint64_t{1} << 30);  // the head of 2^28 elements of no words
      auto read = decode(shared_bytes::own(std::move(changed)));
      if (!read) continue;
      if (const auto* ends = std::get_if<log_ends>(&read->body)) {
        EXPECT_LE(ends->ends.size(), bytes.size() / 8);
      }
    }
  }
}

/// A list with a byte for each element, which Cap'n Proto would take for structs, counts as if each were a word.
TEST(NodeCodec, AListOfBytesDoesNotUnfold) {
  schema::frame_writer<schema::NodeLetter> frame{1024};
  auto ends = frame.root().initBody().initLogEnds().initEnds(40);
  auto bytes = bytes_of(frame.finish());
  (void)ends;
  bool refused = false;
  for (std::size_t at = 16; at + 8 <= bytes.size(); at += 8) {
    const auto pointer = load_le<std::uint64_t>(bytes.data() + at);
    if ((pointer & 3) != 1 || (pointer >> 32 & 7) != 7) continue;  // not a list of structs
    const auto words = pointer >> 35;
    auto changed = bytes;
    store_le(changed.data() + at, (pointer & 0xffffffff) | std::uint64_t{2} << 32 | (words * 8) << 35);
    auto read = decode(shared_bytes::own(std::move(changed)));
    ASSERT_FALSE(read.ok());
    refused = read.error().text == "log ends: ends has more than there are bytes";
    EXPECT_TRUE(refused) << read.error().text;
  }
  EXPECT_TRUE(refused);
}

std::string hex_of(byte_view bytes) {
  std::string text;
  for (const auto b : bytes) {
    constexpr char digits[] = "0123456789abcdef";
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}
std::vector<std::byte> bytes_of_hex(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16)));
  return bytes;
}

/// Bytes as the first version wrote them: they must be understood for as long as nodes of that version may be there.
TEST(NodeCodec, LettersOfTheFirstVersionAreUnderstood) {
  raft_message append;
  append.from = {node_id{1}, {{1}}};
  append.to = {node_id{2}, {{2}}};
  append.term = raft_term{3};
  append.body = raft_append{raft_index{4},
                            raft_term{3},
                            raft_index{4},
                            5,
                            {{raft_term{3},
                              raft_index{5},
                              raft_entry::kind_t::command,
                              {6, raft_index{7}},
                              8,
                              {},
                              shared_bytes::copy_of(as_bytes("abc"))}}};
  controller_reply reply{9, meta_offset{10}, {}};
  reply.what.failed = error{errc::busy, "full"};
  replica_answer answer{{{{3}}, partition_index{4}, 5}, leader_epoch{6}, 7, log_offset{8}, {}};
  answer.what = replica_answer::records{log_offset{9}, log_offset{0}, {shared_bytes::copy_of(as_bytes("batch"))}};
  const life from{node_id{1}, 11};
  const std::pair<node_letter, std::string_view> samples[] = {
      {{"cluster", from, append},
       "000000002500000000000000010003000000000000000000090000004200000008000000020000000c00000002000300"
       "636c757374657200feffffff00000000f4ffffffffffffff030000000000000004000000000000000800000001000100"
       "140000000100010020000000040001000100000000000000000000000200000000000000000000010000000000000000"
       "020000000000000000000000020000000000000000000002000000000000000004000000000000000300000000000000"
       "04000000000000000500000000000000010000003f000000040000000400030003000000000000000500000000000000"
       "0000000000000000080000000000000008000000020000000000000000000000090000001a0000000600000000000000"
       "07000000000000006162630000000000"},
      {{"cluster", from,
        heartbeat{from,
                  meta_offset{12},
                  instant{std::chrono::nanoseconds{13}},
                  true,
                  false,
                  {{{node_id{2}, 14}, suspicion_cause::silent, std::chrono::milliseconds{15}}},
                  {}}},
       "000000001700000000000000010003000300000000000000090000004200000008000000020000000c00000003000300"
       "636c757374657200feffffff00000000f4ffffffffffffff0c000000000000000d000000000000000100000000000000"
       "08000000020000000d0000001f0000002100000007000000feffffff00000000f4ffffffffffffff0400000002000100"
       "01000000000000000f000000000000000000000002000000fdffffff00000000f1ffffffffffffff0000000002000000"},
      {{"cluster", from, reply},
       "000000001400000000000000010003000e00000000000000090000004200000008000000020000000c00000004000300"
       "636c757374657200feffffff00000000f4ffffffffffffff0900000000000000f5ffffffffffffff0000000000000000"
       "000000000000000009000000070000000900000007000000080000000100010000000000000003000000000000000100"
       "2400000000000000010000002a00000066756c6c00000000"},
      {{"", {}, membership::gossip{from, {{from, 16, true}}}},
       "000000001500000000000000010003000f00000000000000090000000a00000008000000020000000c00000002000400"
       "000000000000000000000000000000000000000000000000000000000000000004000000000000000c00000002000000"
       "00000000000000000d000000170000000000000000000000feffffff00000000f4ffffffffffffff0400000001000100"
       "10000000010000000000000002000000feffffff00000000f4ffffffffffffff"},
      {{"cluster", from, answer},
       "000000001900000000000000010003001100000000000000090000004200000008000000020000000c00000004000200"
       "636c757374657200feffffff00000000f4ffffffffffffff060000000000000007000000000000000800000000000000"
       "000000000000000004000000010001001800000002000100050000000000000000000000010001000400000000000000"
       "00000000020000000000000000000003000000000000000009000000000000000000000000000000010000000e000000"
       "010000002a0000006261746368000000"},
  };
  for (const auto& [letter, hex] : samples) {
    // Heartbeats say more by now; the test below has them.
    if (!std::holds_alternative<heartbeat>(letter.body)) {
      EXPECT_EQ(hex_of(encode(letter)), hex);
    }
    auto read = decode(shared_bytes::own(bytes_of_hex(hex)));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(hex_of(encode(*read)), hex_of(encode(letter)));
  }
  // What travels as a number.
  EXPECT_EQ(static_cast<int>(errc_last), 38);
  EXPECT_EQ(to_string(errc_last), "internal");
}

/// Bytes as they were written when heartbeats began to say what disks and clocks say.
TEST(NodeCodec, HeartbeatsOfTheSecondVersionAreUnderstood) {
  const life from{node_id{1}, 11};
  heartbeat said{from, meta_offset{12}, instant{std::chrono::nanoseconds{13}}, true};
  said.disk_full = true;
  said.wall = wall_time{std::chrono::milliseconds{14}};
  heartbeat_answer answer{from, instant{std::chrono::nanoseconds{13}}, true, node_state::active, false, true};
  answer.clocks = {clock_verdict::kind::agreed, wall_time{std::chrono::milliseconds{15}}};
  const std::pair<node_letter, std::string_view> samples[] = {
      {{"cluster", from, said},
       "000000001300000000000000010003000300000000000000090000004200000008000000020000000c00000004000300"
       "636c757374657200feffffff00000000f4ffffffffffffff0c000000000000000d000000000000000500000000000000"
       "0e0000000000008008000000020000000d000000070000000d00000007000000feffffff00000000f4ffffffffffffff"
       "00000000020001000000000002000000"},
      {{"cluster", from, answer},
       "000000000e00000000000000010003000400000000000000090000004200000008000000020000000c00000003000100"
       "636c757374657200feffffff00000000f4ffffffffffffff0d0000000000000005000200000000000f00000000000000"
       "0000000002000000feffffff00000000f4ffffffffffffff"},
  };
  for (const auto& [letter, hex] : samples) {
    auto read = decode(shared_bytes::own(bytes_of_hex(hex)));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(hex_of(encode(*read)), hex_of(encode(letter)));
  }
}

/// Bytes as they were written when nodes began to have entities.
TEST(NodeCodec, EntitiesOfTheFirstVersionAreUnderstood) {
  const life from{node_id{1}, 11};
  const entities::shard_id shard{"limit", 3};
  const entities::sender_id asker{from.node, from.epoch};
  const auto bytes = [](std::string_view text) { return shared_bytes::copy_of(as_bytes(text)); };
  const entities::handover::contents had{{{"alice", bytes("state")}},
                                         {{{asker, 4}}, {{"alice", {asker, 5, bytes("reply"), false}}}}};
  const std::pair<entities::message, std::string_view> samples[] = {
      {entities::deliver{shard, 6, asker, 7, 5, "alice", bytes("ask")},
       "000000001700000000000000010003001200000000000000090000004200000008000000020000000c00000002000200"
       "636c757374657200feffffff00000000f4ffffffffffffff030000000000000000000000000000000500000032000000"
       "04000000030003006c696d6974000000f9ffffff00000000070000000000000004000000000000000800000002000000"
       "0d000000320000000d0000001a000000feffffff00000000f4ffffffffffffff616c69636500000061736b0000000000"},
      {entities::answer{entities::moved{shard, asker, 7, {node_id{2}, 8}}},
       "000000001200000000000000010003001200000000000000090000004200000008000000020000000c00000002000200"
       "636c757374657200feffffff00000000f4ffffffffffffff030000000200000000000000000000000500000032000000"
       "04000000020001006c696d69740000000700000000000000fdfffffff7ffffff0000000002000000feffffff00000000"
       "f4ffffffffffffff"},
      {entities::handover{shard, 6, std::make_shared<const entities::handover::contents>(had)},
       "000000002600000000000000010003001200000000000000090000004200000008000000020000000c00000002000200"
       "636c757374657200feffffff00000000f4ffffffffffffff030000000500000000000000000000000500000032000000"
       "04000000010001006c696d6974000000f9ffffff00000000000000000000030009000000170000001900000017000000"
       "290000002f00000004000000000002000500000032000000050000002a000000616c6963650000007374617465000000"
       "040000000100010004000000000000000000000002000000feffffff00000000f4ffffffffffffff0400000002000300"
       "05000000000000000000000000000000090000003200000008000000020000000d0000002a000000616c696365000000"
       "feffffff00000000f4ffffffffffffff7265706c79000000"},
  };
  for (const auto& [message, hex] : samples) {
    EXPECT_EQ(hex_of(encode({"cluster", from, message})), hex);
    auto read = decode(shared_bytes::own(bytes_of_hex(hex)));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(hex_of(encode(*read)), hex);
  }
}

TEST(NodeCodec, KeysOfEntitiesAreAsLongAsNamesMayBe) {
  entities::deliver d{{"limit", 0}, 1, {}, 1, 1, std::string(entities::entity_name::size_max, 'x'), {}};
  EXPECT_TRUE(decode(encode({"c", {}, entities::message{d}})).ok());
  d.key += 'x';
  EXPECT_EQ(decode(encode({"c", {}, entities::message{d}})).code(), errc::malformed);
}

}  // namespace
}  // namespace troupe
