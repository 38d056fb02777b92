#include "actors/partition/record_batch.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "runtime/base/random.hpp"
#include "tests/unit/partition/batches.hpp"

namespace troupe {
namespace {

using namespace testing_batches;

constexpr compression codecs[] = {compression::none, compression::gzip, compression::snappy, compression::lz4,
                                  compression::zstd};

struct RecordBatch : testing::Test {
  decompressor unpacker;
  batch_rules rules;

  checked_batch check(const buffer& bytes) { return check_batch(bytes, rules, unpacker); }
  errc refusal(const buffer& bytes) {
    auto checked = check(bytes);
    return checked.refused ? checked.refused->code : errc{};
  }
};

std::vector<test_record> some_records(int count, std::uint64_t seed, std::size_t size_max = 300) {
  random_source random{seed};
  std::vector<test_record> records;
  for (int i = 0; i < count; ++i) {
    test_record r;
    r.timestamp = 1'000'000 + static_cast<std::int64_t>(random.below(100'000));
    std::string text(random.below(size_max), 'x');
    for (auto& c : text) c = static_cast<char>('a' + random.below(4));
    if (random.chance(0.5)) r.key = text.substr(0, text.size() / 3);
    if (random.chance(0.9))
      r.value = text;
    else
      r.value.reset();
    if (random.chance(0.3)) r.headers = {{"trace", "1234"}, {"", std::nullopt}, {"empty", ""}};
    records.push_back(std::move(r));
  }
  return records;
}

TEST_F(RecordBatch, IsTakenWithEveryCodecAndItsLatestTimestampFound) {
  for (const auto codec : codecs) {
    for (const bool framed : {false, true}) {
      test_batch b{.records = some_records(500, 7), .codec = codec, .framed_snappy = framed};
      std::int64_t latest = -1;
      for (const auto& r : b.records) latest = std::max(latest, r.timestamp);
      const auto checked = check(b);
      ASSERT_FALSE(checked.refused) << to_string(codec) << ": " << checked.refused->text;
      EXPECT_EQ(checked.timestamp_max, latest);
    }
  }
}

TEST_F(RecordBatch, OfRecordsLargerThanTheWindowOfTheDecompressorIsTaken) {
  rules.bytes_max = 64 << 20;
  for (const auto codec : codecs)
    EXPECT_EQ(refusal(test_batch{.records = some_records(20, 3, 400'000), .codec = codec}), errc{}) << to_string(codec);
}

TEST_F(RecordBatch, WithFieldsOnTheSeamsOfTheWindowIsTaken) {
  // One record fills the window up to a few bytes, so that the next ones begin around its end.
  for (const auto codec : codecs) {
    for (int shift = 0; shift < 40; ++shift) {
      test_batch b{.records = some_records(10, 5), .codec = codec};
      b.records.insert(b.records.begin(), {.value = std::string((64 << 10) - 40 + shift, 'v')});
      ASSERT_EQ(refusal(b), errc{}) << to_string(codec) << " shift " << shift;
    }
  }
}

TEST_F(RecordBatch, IsRefusedUnlessItIsExactlyOneOfVersionTwo) {
  EXPECT_EQ(refusal({}), errc::invalid_record);
  const auto good = test_batch{}.build();

  auto two = good;
  append(two, good);
  EXPECT_EQ(refusal(two), errc::invalid_record);
  auto trailing = good;
  trailing.push_back(std::byte{});
  EXPECT_EQ(refusal(trailing), errc::invalid_record);
  for (std::int8_t magic : {0, 1, 3, -1}) {
    auto other = good;
    store_be(other.data() + 16, magic);
    EXPECT_EQ(refusal(other), errc::invalid_record);
  }
  for (std::size_t size = 1; size < good.size(); ++size) {
    auto cut = good;
    cut.resize(size);
    EXPECT_EQ(refusal(cut), errc::corrupt_batch) << size;
  }
  for (std::int32_t length :
       {48, 0, -1, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()}) {
    auto wrong = good;
    store_be(wrong.data() + 8, length);
    EXPECT_EQ(refusal(wrong), errc::corrupt_batch) << length;
  }
}

TEST_F(RecordBatch, AboveTheLimitIsTooLargeEvenIfItsCrcIsWrong) {
  auto b = test_batch{}.build();
  rules.bytes_max = static_cast<std::int32_t>(b.size());
  EXPECT_EQ(refusal(b), errc{});
  rules.bytes_max -= 1;
  EXPECT_EQ(refusal(b), errc::message_too_large);
  b.back() ^= std::byte{1};
  EXPECT_EQ(refusal(b), errc::message_too_large);
}

TEST_F(RecordBatch, WithAnyBitFlippedUnderTheCrcIsCorrupt) {
  const auto good = test_batch{.records = some_records(3, 1)}.build();
  for (std::size_t at = 17; at < good.size(); ++at) {
    auto bad = good;
    bad[at] ^= std::byte{0x10};
    EXPECT_EQ(refusal(bad), errc::corrupt_batch) << at;
  }
}

TEST_F(RecordBatch, MayBringAnyBaseOffsetAndLeaderEpoch) {
  auto b = test_batch{}.build();
  store_be(b.data(), std::int64_t{77});
  store_be(b.data() + 12, std::int32_t{12});
  EXPECT_EQ(refusal(b), errc{});
}

TEST_F(RecordBatch, WithWrongCountsOrFlagsIsInvalid) {
  auto with = [](auto change) {
    auto b = test_batch{.records = {{}, {}}}.build();
    change(b.data());
    sum_again(b);
    return b;
  };
  for (std::int32_t count :
       {0, -1, 1, 3, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()})
    EXPECT_EQ(refusal(with([&](std::byte* b) { store_be(b + 57, count); })), errc::invalid_record) << count;
  for (std::int32_t delta : {0, 2, -1, std::numeric_limits<std::int32_t>::max()})
    EXPECT_EQ(refusal(with([&](std::byte* b) { store_be(b + 23, delta); })), errc::invalid_record) << delta;
  // Both wrong in the same way: then the records do not follow.
  EXPECT_EQ(refusal(with([](std::byte* b) {
              store_be(b + 23, std::numeric_limits<std::int32_t>::max() - 1);
              store_be(b + 57, std::numeric_limits<std::int32_t>::max());
            })),
            errc::invalid_record);
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 5}), errc::invalid_record);  // control
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 5 | 1 << 4}), errc::invalid_record);
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 6}), errc::invalid_record);  // delete horizon
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 15}), errc::invalid_record);
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 3}), errc::invalid_timestamp);
  EXPECT_EQ(refusal(test_batch{.flags = 1 << 4}), errc::transactions_unavailable);
  EXPECT_EQ(refusal(test_batch{.producer = 5, .producer_epoch = 0}), errc::invalid_record);
  EXPECT_EQ(refusal(test_batch{.producer = 5, .sequence = 0}), errc::invalid_record);
  EXPECT_EQ(refusal(test_batch{.producer = 5, .producer_epoch = 0, .sequence = 0}), errc{});
}

TEST_F(RecordBatch, WithACodecThatIsUnknownOrTooNewForTheRequestIsUnsupported) {
  for (std::uint16_t codec : {5, 6, 7}) {
    auto b = test_batch{}.build();
    store_be(b.data() + 21, codec);
    sum_again(b);
    EXPECT_EQ(refusal(b), errc::unsupported_compression);
  }
  rules.zstd_allowed = false;
  EXPECT_EQ(refusal(test_batch{.codec = compression::zstd}), errc::unsupported_compression);
  EXPECT_EQ(refusal(test_batch{.codec = compression::lz4}), errc{});
}

TEST_F(RecordBatch, WhoseRecordsDoNotParseIsInvalidWithEveryCodec) {
  const test_record r{.key = "key", .value = "value", .headers = {{"h", "v"}}};
  const auto one = encode_record(r, 0, 0);
  auto joined = [](std::initializer_list<buffer> parts) {
    buffer all;
    for (const auto& part : parts) append(all, part);
    return all;
  };
  auto with_varint = [](std::int64_t value, const buffer& rest) {
    buffer b;
    append_varint(b, value);
    append(b, rest);
    return b;
  };
  // The same number in more bytes than Java reads for one of 32 bits: its consumers would be stuck there for ever.
  auto long_form = [](std::byte short_form) {
    constexpr std::byte more{0x80};
    return buffer{short_form | more, more, more, more, more, std::byte{0}};
  };
  const std::pair<const char*, buffer> cases[] = {
      {"offset delta skips", encode_record(r, 0, 1)},
      {"offset delta repeats", joined({one, one})},
      {"bytes follow", joined({one, {std::byte{0}}})},
      {"length 0", with_varint(0, {})},
      {"length negative", with_varint(-1, one)},
      {"length huge", with_varint(std::numeric_limits<std::int64_t>::max(), one)},
      {"length too small", with_varint(5, buffer(one.begin() + 1, one.end()))},
      {"length too large", with_varint(static_cast<std::int64_t>(one.size()) + 5, buffer(one.begin() + 1, one.end()))},
      {"varint without end", buffer(20, std::byte{0xff})},
      {"length of six bytes", joined({long_form(one.front()), buffer(one.begin() + 1, one.end())})},
      {"offset delta of six bytes", joined({with_varint(11, {std::byte{0}, std::byte{0}}),
                                            long_form(std::byte{0}),
                                            {std::byte{1}, std::byte{1}, std::byte{0}}})},
      {"key longer than the record",
       joined({with_varint(8, {}), {std::byte{0}, std::byte{0}, std::byte{0}}, with_varint(1000, buffer(10))})},
      {"key length -2", joined({with_varint(6, {}),
                                {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{3}},
                                {std::byte{0}, std::byte{0}}})},
      {"headers beyond all bounds", joined({with_varint(11, {}),
                                            {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{1}},
                                            with_varint(std::numeric_limits<std::int32_t>::max(), buffer(1))})},
      {"headers negative",
       joined(
           {with_varint(6, {}), {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{1}, std::byte{1}}})},
      {"header key null", joined({with_varint(8, {}),
                                  {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{1}, std::byte{2},
                                   std::byte{1}, std::byte{1}}})},
      {"nothing", {}},
  };
  for (const auto codec : codecs) {
    for (const auto& [name, records] : cases) {
      test_batch b{.codec = codec};
      const auto count = std::string_view{name} == "offset delta repeats" ? 2 : 1;
      EXPECT_EQ(refusal(b.wrap(pack(codec, records), count)), errc::invalid_record) << to_string(codec) << ": " << name;
    }
    for (std::size_t size = 0; size < one.size(); ++size)
      EXPECT_EQ(refusal(test_batch{.codec = codec}.wrap(pack(codec, byte_view{one}.first(size)), 1)),
                errc::invalid_record)
          << to_string(codec) << " cut at " << size;
  }
}

TEST_F(RecordBatch, WhoseCompressedBytesAreDamagedIsInvalid) {
  for (const auto codec : codecs) {
    if (codec == compression::none) continue;
    test_batch b{.records = some_records(200, 11), .codec = codec};
    const auto packed = pack(codec, b.encode_records());
    for (const double part : {0.0, 0.1, 0.5, 0.9, 0.999}) {
      const auto size = static_cast<std::size_t>(static_cast<double>(packed.size()) * part);
      EXPECT_EQ(refusal(b.wrap(byte_view{packed}.first(size), 200)), errc::invalid_record) << to_string(codec) << part;
    }
    random_source random{4};
    for (int round = 0; round < 200; ++round) {
      auto bad = packed;
      bad[random.below(bad.size())] ^= std::byte{0x55};
      check(b.wrap(bad, 200));  // may go unnoticed by a codec without checksum, but must not crash
    }
  }
}

TEST_F(RecordBatch, UnpacksToABoundedSize) {
  // 32 MiB of zeros from a few KiB: beyond 16 MiB and beyond a hundredfold.
  rules.bytes_max = 100 << 20;
  for (const auto codec : codecs) {
    if (codec == compression::none || codec == compression::snappy) continue;
    test_batch bomb{.codec = codec};
    bomb.records[0].value = std::string(32 << 20, '\0');
    const auto checked = check(bomb);
    ASSERT_TRUE(checked.refused) << to_string(codec);
    EXPECT_EQ(checked.refused->code, errc::invalid_record);
    // Repetition alone is no crime: 4 MiB of one value are taken.
    test_batch dull{.codec = codec};
    dull.records[0].value = std::string(4 << 20, '\0');
    EXPECT_EQ(refusal(dull), errc{}) << to_string(codec);
  }
  EXPECT_EQ(decompressor::limit(100), decompressor::output_always);
  EXPECT_EQ(decompressor::limit(400'000), 40'000'000u);
  EXPECT_EQ(decompressor::limit(10 << 20), decompressor::output_max);
}

TEST_F(RecordBatch, ThatClaimsMoreSnappyThanItHasAllocatesNothingForIt) {
  buffer claim;
  for (auto byte : {0xff, 0xff, 0xff, 0xff, 0x0f}) claim.push_back(static_cast<std::byte>(byte));  // 4 GiB
  claim.resize(100);
  EXPECT_EQ(refusal(test_batch{.codec = compression::snappy}.wrap(claim, 1)), errc::invalid_record);
}

TEST_F(RecordBatch, OfSeveralCompressedFramesIsReadAsOne) {
  for (const auto codec : {compression::gzip, compression::lz4, compression::zstd}) {
    test_batch b{.records = some_records(50, 9), .codec = codec};
    const auto plain = b.encode_records();
    buffer packed = pack(codec, byte_view{plain}.first(plain.size() / 2));
    append(packed, pack(codec, byte_view{plain}.subspan(plain.size() / 2)));
    EXPECT_EQ(refusal(b.wrap(packed, 50)), errc{}) << to_string(codec);
  }
}

TEST_F(RecordBatch, NamesTheRecordsWhoseTimeIsOutside) {
  rules.timestamps = {1000, 2000};
  test_batch b{
      .records = {
          {.timestamp = 1000}, {.timestamp = 999}, {.timestamp = -1}, {.timestamp = 2000}, {.timestamp = 2001}}};
  for (const auto codec : codecs) {
    b.codec = codec;
    const auto checked = check(b);
    ASSERT_TRUE(checked.refused);
    EXPECT_EQ(checked.refused->code, errc::invalid_timestamp);
    ASSERT_EQ(checked.records.size(), 2u);
    EXPECT_EQ(checked.records[0].index, 1);
    EXPECT_EQ(checked.records[1].index, 4);
  }
  b.records.assign(1000, {.timestamp = 5});
  EXPECT_EQ(check(b).records.size(), 100u);
  rules.timestamps.reset();
  EXPECT_EQ(refusal(b), errc{});
}

TEST_F(RecordBatch, WhoseTimestampsOverflowIsInvalid) {
  auto b = test_batch{};
  auto record = encode_record(b.records[0], std::numeric_limits<std::int64_t>::max(), 0);
  EXPECT_EQ(refusal(b.wrap(record, 1)), errc::invalid_record);
}

TEST_F(RecordBatch, TakesOffsetAndEpochWithoutTouchingTheCrc) {
  auto b = test_batch{.records = {{}, {}, {}}}.build();
  const auto crc = batch_header{b}.crc();
  stamp_batch(b, log_offset{1234567890123}, leader_epoch{9});
  const batch_header header{b};
  EXPECT_EQ(header.base(), log_offset{1234567890123});
  EXPECT_EQ(header.end(), log_offset{1234567890126});
  EXPECT_EQ(header.epoch(), leader_epoch{9});
  EXPECT_EQ(header.crc(), crc);
  EXPECT_EQ(refusal(b), errc{});
}

TEST_F(RecordBatch, StampedWithAppendTimeHasItForEveryRecordAndAValidCrc) {
  auto b = test_batch{.records = {{.timestamp = 5}, {.timestamp = 9}}, .codec = compression::gzip}.build();
  stamp_append_time(b, 777);
  const batch_header header{b};
  EXPECT_TRUE(header.log_append_time());
  EXPECT_EQ(header.timestamp_max(), 777);
  EXPECT_EQ(header.codec(), 1);
  EXPECT_EQ(header.crc(), crc32c(byte_view{b}.subspan(21)));
  std::vector<std::int64_t> seen;
  ASSERT_TRUE(visit_records(b, unpacker, [&](record_place p) { return seen.push_back(p.timestamp), true; }));
  EXPECT_EQ(seen, (std::vector<std::int64_t>{777, 777}));
}

TEST_F(RecordBatch, IsSearchedByTimeRecordByRecord) {
  for (const auto codec : codecs) {
    auto b =
        test_batch{
            .records = {{.timestamp = 50}, {.timestamp = 10}, {.timestamp = 70}, {.timestamp = 60}, {.timestamp = 70}},
            .codec = codec}
            .build();
    stamp_batch(b, log_offset{100}, leader_epoch{1});
    auto at = [&](std::int64_t t, std::int64_t from) {
      return first_at_time(b, t, log_offset{from}, unpacker).value();
    };
    EXPECT_EQ(at(0, 0), (record_place{log_offset{100}, 50}));
    EXPECT_EQ(at(51, 0), (record_place{log_offset{102}, 70}));
    EXPECT_EQ(at(20, 101), (record_place{log_offset{102}, 70}));
    EXPECT_EQ(at(70, 103), (record_place{log_offset{104}, 70}));
    EXPECT_EQ(at(71, 0), std::nullopt);
    EXPECT_EQ(at(0, 105), std::nullopt);
    EXPECT_EQ(first_at_latest_time(b, log_offset{0}, unpacker).value(), (record_place{log_offset{102}, 70}));
    EXPECT_EQ(first_at_latest_time(b, log_offset{103}, unpacker).value(), (record_place{log_offset{104}, 70}));
  }
  auto cut = test_batch{}.build();
  cut.resize(64);
  EXPECT_EQ(visit_records(cut, unpacker, [](auto) { return true; }).code(), errc::storage_damaged);
}

}  // namespace
}  // namespace troupe
