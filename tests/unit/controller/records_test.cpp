#include <gtest/gtest.h>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include "actors/controller/image.hpp"
#include "schemas/metadata.capnp.h"
#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

const std::vector<partition_state> two_partitions{
    {{{node_id{1}, 0}, {node_id{2}, 5}}, {node_id{1}}, node_id{1}, leader_epoch{3}, 7},
    {{{node_id{2}, 1}}, {}, node_id{-1}, leader_epoch{0}, 0},
};

partition_state whole_partition() {
  auto p = two_partitions[0];
  p.adding = {node_id{2}};
  p.removing = {node_id{1}};
  p.elr = {node_id{2}};
  p.last_known_elr = {node_id{9}};
  p.unclean_epoch = leader_epoch{2};
  p.former = {node_id{9}, 33};
  return p;
}

node_info whole_node() {
  node_info n{node_id{8}, -1, {"a", 1}, "r", node_state::draining, true};
  n.peer = {"b", 2};
  n.disk = test::id_of(9);
  n.start = 77;
  n.weight = 300;
  n.clean = false;
  n.since = meta_offset{5};
  n.last_taken = meta_offset{6};
  n.disk_full = true;
  return n;
}

std::vector<metadata_record> one_of_each() {
  return {cluster_formed{"abc"},
          node_registered{{node_id{7}, 12, {"broker.example", 65535}, "rack-1"}},
          topic_created{test::id_of(1), "orders", true, two_partitions, {{"retention.ms", "5"}, {"a", ""}}},
          topic_deleted{test::id_of(2)},
          partitions_added{test::id_of(3), two_partitions},
          topic_configured{test::id_of(4), {{"retention.ms", "-1"}}},
          producer_ids_reserved{1'000'000'000'000},
          epoch_retired{"orders", 41},
          partitions_changed{{{{test::id_of(5), partition_index{3}}, whole_partition()}}},
          node_changed{node_id{4}, node_state::removed, true},
          shards_changed{"session", 64, {{63, {node_id{2}, 7, true, {node_id{3}, 44}, meta_offset{9}}}}},
          voters_wanted{5},
          node_registered{whole_node()},
          node_changed{node_id{4}, node_state::active, false, true},
          node_ordered{node_id{6}, {true, voting::never}}};
}

/// Two records are the same when their bytes are: encoding is deterministic.
void expect_same(const metadata_record& a, const metadata_record& b) {
  EXPECT_EQ(encode(a), encode(b));
}

TEST(MetadataRecords, ComeBackAsTheyWentIn) {
  for (const auto& record : one_of_each()) {
    auto back = decode_metadata_record(encode(record));
    ASSERT_TRUE(back.ok()) << back.error().text;
    ASSERT_EQ(back->index(), record.index());
    expect_same(*back, record);
  }
  auto back = decode_metadata_record(encode(one_of_each()[2]));
  const auto& topic = std::get<topic_created>(*back);
  EXPECT_EQ(topic.id, test::id_of(1));
  EXPECT_EQ(topic.name, "orders");
  EXPECT_TRUE(topic.internal);
  EXPECT_EQ(topic.partitions, two_partitions);
  EXPECT_EQ(topic.overrides, (setting_map{{"retention.ms", "5"}, {"a", ""}}));
}

TEST(MetadataRecords, WhatAClusterOfSeveralAddsComesBackToo) {
  const auto all = one_of_each();
  const auto back = [&](std::size_t i) { return decode_metadata_record(encode(all[i])).value(); };
  const auto changes = std::get<partitions_changed>(back(8)).changes;
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].where, (partition_ref{test::id_of(5), partition_index{3}}));
  EXPECT_EQ(changes[0].state, whole_partition());
  const auto node = std::get<node_changed>(back(9));
  EXPECT_EQ(node.id, node_id{4});
  EXPECT_EQ(node.state, node_state::removed);
  EXPECT_TRUE(node.leaving);
  EXPECT_EQ(node.disk_full, std::nullopt);
  const auto shards = std::get<shards_changed>(back(10));
  EXPECT_EQ(shards.kind, "session");
  EXPECT_EQ(shards.count, 64u);
  ASSERT_EQ(shards.changes.size(), 1u);
  EXPECT_EQ(shards.changes[0].shard, 63u);
  EXPECT_EQ(shards.changes[0].state, std::get<shards_changed>(all[10]).changes[0].state);
  EXPECT_EQ(std::get<voters_wanted>(back(11)).count, 5);
  EXPECT_EQ(std::get<node_registered>(back(12)).node, whole_node());
  EXPECT_EQ(std::get<node_changed>(back(13)).disk_full, true);
  const node_changed room{node_id{4}, node_state::active, false, false};
  EXPECT_EQ(std::get<node_changed>(decode_metadata_record(encode(room)).value()).disk_full, false);
  EXPECT_EQ(std::get<node_ordered>(back(14)).id, node_id{6});
  EXPECT_EQ(std::get<node_ordered>(back(14)).orders, (node_orders{true, voting::never}));
}

TEST(MetadataRecords, SeveralStandBehindEachOther) {
  const auto all = one_of_each();
  const auto bytes = encode_all(all);
  const auto back = decode_all_metadata_records(bytes);
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) expect_same((*back)[i], all[i]);
  EXPECT_FALSE(decode_all_metadata_records(byte_view{bytes}.first(bytes.size() - 8)).ok());
  EXPECT_FALSE(decode_all_metadata_records({}).ok());
  EXPECT_FALSE(decode_metadata_record(bytes).ok());  // it is more than one
}

TEST(MetadataRecords, NumbersThatMeanNothingAreMalformed) {
  auto changed = node_changed{node_id{1}, static_cast<node_state>(4), false};
  EXPECT_EQ(decode_metadata_record(encode(changed)).code(), errc::malformed);
  auto node = whole_node();
  node.state = static_cast<node_state>(255);
  EXPECT_EQ(decode_metadata_record(encode(node_registered{node})).code(), errc::malformed);
  node_ordered order{node_id{1}, {false, static_cast<voting>(3)}};
  EXPECT_EQ(decode_metadata_record(encode(order)).code(), errc::malformed);
  EXPECT_EQ(decode_metadata_record(encode(shards_changed{"k", 0, {}})).code(), errc::malformed);
  EXPECT_EQ(decode_metadata_record(encode(shards_changed{"k", 65537, {}})).code(), errc::malformed);
  EXPECT_EQ(decode_metadata_record(encode(shards_changed{"k", 4, {{4, {}}}})).code(), errc::malformed);
}

TEST(MetadataRecords, AnyByteMayBeInAText) {
  const std::string odd{"a\0b\xff", 4};
  auto back = decode_metadata_record(encode(cluster_formed{odd}));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::get<cluster_formed>(*back).cluster_id, odd);
}

TEST(MetadataRecords, ReadFromAnyAddress) {
  const auto bytes = encode(cluster_formed{"abc"});
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::ranges::copy(bytes, shifted.begin() + 1);
  EXPECT_TRUE(decode_metadata_record(byte_view{shifted}.subspan(1)).ok());
}

std::vector<std::byte> bytes_of(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16)));
  return bytes;
}

/// Bytes as the first version wrote them: they must be readable for ever.
TEST(MetadataRecords, ThoseOfTheFirstVersionAreUnderstood) {
  const std::string_view hex =
      "000000002800000000000000020001000200000000000000000000000000000000000000010004000100000000000000"
      "0c00000002000000110000003a0000001100000047000000550000002700000000000000000000000200000000000000"
      "6f726465727300000800000002000200010000000300000007000000000000001500000027000000250000000c000000"
      "ffffffff0000000000000000000000001d00000017000000250000000400000008000000020000000100000000000000"
      "000000000000000002000000000000000500000000000000010000000000000004000000020000000200000000000000"
      "010000000000000008000000000002000d000000120000000d0000000a0000000d0000006a0000001100000012000000"
      "61000000000000000000000000000000726574656e74696f6e2e6d73000000003500000000000000";
  auto record = decode_metadata_record(bytes_of(hex));
  ASSERT_TRUE(record.ok()) << record.error().text;
  expect_same(*record, one_of_each()[2]);

  // A node was ACTIVE from its registration on, and told nothing of its disk.
  const std::string_view node =
      "000000000b000000000000000200010001000000000000000000000000000000000000000200020007000000ffff0000"
      "0c00000000000000050000007a000000090000003a00000062726f6b65722e6578616d706c6500007261636b2d310000";
  record = decode_metadata_record(bytes_of(node));
  ASSERT_TRUE(record.ok()) << record.error().text;
  EXPECT_EQ(std::get<node_registered>(*record).node,
            (node_info{node_id{7}, 12, {"broker.example", 65535}, "rack-1", node_state::active}));

  const std::string_view ordered =
      "000000000500000000000000020001000c00000000000000000000000000000000000000010000000600000001020000";
  record = decode_metadata_record(bytes_of(ordered));
  ASSERT_TRUE(record.ok()) << record.error().text;
  expect_same(*record, node_ordered{node_id{6}, {true, voting::never}});
}

TEST(MetadataRecords, AKindOfANewerVersionIsNamed) {
  capnp::MallocMessageBuilder message;
  message.initRoot<schema::MetadataRecord>().initClusterFormed().setClusterId("abc");
  const auto words = capnp::messageToFlatArray(message);
  std::vector<std::byte> bytes(words.asBytes().size());
  std::memcpy(bytes.data(), words.begin(), bytes.size());
  // Segment table (one word), root pointer, then the data section, whose union tag is somewhere in the first word or
  // two: exactly one place makes the kind 99.
  bool named = false;
  for (std::size_t at = 16; at + 2 <= bytes.size() && !named; at += 2) {
    auto changed = bytes;
    store_le<std::uint16_t>(changed.data() + at, 99);
    auto record = decode_metadata_record(changed);
    named =
        !record.ok() && record.code() == errc::malformed && record.error().text.find("kind 99") != std::string::npos;
  }
  EXPECT_TRUE(named);
}

TEST(MetadataRecords, CutBytesAreMalformed) {
  for (const auto& record : one_of_each()) {
    const auto bytes = encode(record);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      auto cut = decode_metadata_record(byte_view{bytes}.first(size));
      if (!cut.ok()) {
        EXPECT_EQ(cut.code(), errc::malformed);
      }
    }
    auto longer = bytes;
    longer.resize(bytes.size() + 8);
    EXPECT_FALSE(decode_metadata_record(longer).ok());
  }
}

TEST(MetadataRecords, DamagedBytesNeverDoHarm) {
  random_source random{20};
  const auto records = one_of_each();
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = encode(records[random.below(records.size())]);
    for (auto n = 1 + random.below(4); n > 0; --n)
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
    auto read = decode_metadata_record(bytes);
    if (!read.ok()) {
      EXPECT_EQ(read.code(), errc::malformed);
    }
  }
}

/// A few words that claim to be 2^29 elements must not become as many objects.
TEST(MetadataRecords, AListOfNothingsDoesNotUnfold) {
  capnp::MallocMessageBuilder message;
  auto topic = message.initRoot<schema::MetadataRecord>().initTopicCreated();
  topic.setName("x");
  topic.initPartitions(1);
  const auto words = capnp::messageToFlatArray(message);
  std::vector<std::byte> bytes(words.asBytes().size());
  std::memcpy(bytes.data(), words.begin(), bytes.size());
  // Turn the partitions' tag word (one element of n words) into 2^28 elements of zero words, wherever it lies.
  for (std::size_t at = 16; at + 8 <= bytes.size(); at += 8) {
    auto changed = bytes;
    store_le<std::uint64_t>(changed.data() + at, std::uint64_t{1} << 30);
    auto read = decode_metadata_record(changed);
    if (read.ok() && std::holds_alternative<topic_created>(*read)) {
      EXPECT_LT(std::get<topic_created>(*read).partitions.size(), 1000u);
    }
  }
}

}  // namespace
}  // namespace troupe
