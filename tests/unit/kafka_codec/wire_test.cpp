#include <gtest/gtest.h>

#include "apps/gateways/kafka/codec/error_codes.hpp"
#include "tests/unit/kafka_codec/random_messages.hpp"

namespace troupe::kafka {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int v : values) bytes.push_back(static_cast<std::byte>(v));
  return bytes;
}

template <class Request>
result<Request> decode(std::vector<std::byte> body, std::int16_t version) {
  static std::vector<std::byte> kept;  // what was decoded points into it
  kept = std::move(body);
  return decode_request<Request>(kept, version);
}

template <class Request>
void expect_malformed(std::vector<std::byte> body, std::int16_t version, std::string_view text) {
  const auto got = decode<Request>(std::move(body), version);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.code(), errc::malformed);
  EXPECT_NE(got.error().text.find(text), std::string::npos) << got.error().text;
}

// -- golden bytes ----------------------------------------------------------------------------------------------------

TEST(KafkaWire, AnUnknownApiVersionsVersionGetsAnAnswerThatEveryClientCanRead) {
  const auto frame = joined(encode_response(refuse_api_versions(), 0, 0x01020304));
  EXPECT_EQ(frame, bytes_of({0, 0, 0, 16, 1, 2, 3, 4, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4}));
}

TEST(KafkaWire, ApiVersionsAnswersHaveTheOldHeaderInEveryVersion) {
  api_versions_response answer;
  answer.api_keys.push_back({1, 4, 12});
  // No tag section behind the correlation id, although the body is flexible.
  EXPECT_EQ(joined(encode_response(answer, 3, 5)),
            bytes_of({0, 0, 0, 19, 0, 0, 0, 5, 0, 0, 2, 0, 1, 0, 4, 0, 12, 0, 0, 0, 0, 0, 0}));
  metadata_response metadata;
  // One tag section behind the correlation id, one behind the body.
  EXPECT_EQ(joined(encode_response(metadata, 11, 5)),
            bytes_of({0, 0, 0, 17, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 1, 0}));
}

TEST(KafkaWire, TheHeaderOfAnUnknownRequestIsStillReadForTheLog) {
  auto frame = bytes_of({0x7f, 0, 0, 9, 0, 0, 0, 1, 0, 3, 'a', 'b', 'c', 0xff, 0xff});
  auto head = decode_header(frame);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(name_of(head->header.key), "unknown");
  EXPECT_EQ(head->header.version, 9);
  EXPECT_EQ(head->header.client_id, "abc");
  EXPECT_TRUE(head->body.empty());

  // ApiVersions of a version to come: whatever follows the fixed part is not looked at.
  frame = bytes_of({0, 18, 0, 99, 0, 0, 0, 1, 0x7f, 0xff});
  head = decode_header(frame);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->header.key, api_key::api_versions);
  EXPECT_FALSE(head->header.client_id.has_value());
}

TEST(KafkaWire, OnlyWhatIsOfferedIsServed) {
  EXPECT_TRUE(served(api_key::produce, 3));
  EXPECT_FALSE(served(api_key::produce, 2));  // announced for old librdkafka's sake only
  EXPECT_FALSE(served(api_key::produce, 12));
  EXPECT_FALSE(served(api_key::fetch, 13));
  EXPECT_FALSE(served(static_cast<api_key>(10), 0));
  EXPECT_FALSE(served(api_key::api_versions, 5));
  const auto answer = announce_apis();
  ASSERT_EQ(answer.api_keys.size(), offered_apis().size());
  EXPECT_EQ(answer.api_keys.front().api_key, 0);
  EXPECT_EQ(answer.api_keys.front().min_version, 0);
  EXPECT_EQ(answer.api_keys.front().max_version, 11);
}

// -- zero copy -------------------------------------------------------------------------------------------------------

TEST(KafkaWire, ProducedRecordsStayWhereTheyWereRead) {
  produce_request request;
  std::vector<std::byte> batch(1000, std::byte{7});
  request.topic_data.push_back({"orders", {}, {{3, byte_span{batch}}}});
  auto frame = copy_of(encode_request(request, 9, 1, "c"));
  const auto head = decode_header(byte_span{frame}.subspan(4));
  auto got = decode_request<produce_request>(head->body, 9);
  ASSERT_TRUE(got.ok());
  auto& partition = got->topic_data.at(0).partition_data.at(0);
  EXPECT_GE(partition.records->data(), frame.data());
  EXPECT_LE(partition.records->data() + partition.records->size(), frame.data() + frame.size());
  partition.records->front() = std::byte{9};                               // the leader stamps it in place
  EXPECT_EQ(std::count(frame.begin(), frame.end(), std::byte{9}), 1 + 1);  // and the version
}

TEST(KafkaWire, FetchedRecordsAreCountedButNotCopied) {
  for (std::int16_t version = 4; version <= 12; ++version) {
    fetch_response sent;
    auto& topic = sent.responses.emplace_back();
    topic.topic = "orders";
    for (std::int32_t i = 0; i < 3; ++i) {
      auto& p = topic.partitions.emplace_back();
      p.partition_index = i;
      // The middle one is empty: length 0, no gap.
      if (i != 1) p.records.outside = {static_cast<std::uint32_t>(100'000 * (i + 1)), static_cast<std::uint32_t>(i)};
    }
    const auto pieces = encode_response(sent, version, 5);
    ASSERT_EQ(pieces.size(), version < 12 ? 2u : 3u);  // then tag sections follow the last records
    std::vector<std::byte> whole;
    for (auto& p : pieces) {
      whole.insert(whole.end(), p.bytes.view().begin(), p.bytes.view().end());
      whole.insert(whole.end(), p.outside.size, static_cast<std::byte>('a' + p.outside.handle));
    }
    EXPECT_EQ(load_be<std::int32_t>(whole.data()), static_cast<std::int32_t>(whole.size() - 4));
    const auto got = decode_response<fetch_response>(byte_view{whole}.subspan(4), version);
    ASSERT_TRUE(got.ok()) << got.error().text;
    auto& partitions = got->response.responses.at(0).partitions;
    EXPECT_EQ(as_text(partitions.at(0).records.here), std::string(100'000, 'a'));
    EXPECT_TRUE(partitions.at(1).records.here.empty());
    EXPECT_EQ(as_text(partitions.at(2).records.here), std::string(300'000, 'c'));
  }
}

TEST(KafkaWire, EmptyRecordsHaveLengthZeroAndAreNeverNull) {
  fetch_response sent;
  sent.responses.emplace_back().partitions.emplace_back();
  const auto old_form = joined(encode_response(sent, 4, 0));
  EXPECT_EQ(load_be<std::int32_t>(&old_form[old_form.size() - 4]), 0);
  const auto flexible = joined(encode_response(sent, 12, 0));
  EXPECT_EQ(flexible[flexible.size() - 4], std::byte{1});  // length + 1, then three empty tag sections
}

// -- nonsense --------------------------------------------------------------------------------------------------------

TEST(KafkaWire, CountsBeyondTheBytesAreRefusedBeforeAnythingIsAllocated) {
  expect_malformed<metadata_request>(bytes_of({0x7f, 0xff, 0xff, 0xff, 0, 1, 'a'}), 1,
                                     "Topics: there are fewer bytes than elements");
  expect_malformed<metadata_request>(bytes_of({0xff, 0xff, 0xff, 0xff, 0x0f, 0}), 9, "fewer bytes than elements");
  expect_malformed<produce_request>(bytes_of({0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff}), 3, "TopicData");
  expect_malformed<metadata_request>(bytes_of({0xff, 0xff, 0xff, 0xfe}), 1, "negative");
}

TEST(KafkaWire, AFrameFullOfEmptyTextsDoesNotBecomeGigabytes) {
  std::vector<std::byte> body(4 + 2 * 4'000'000);
  store_be(body.data(), std::int32_t{4'000'000});
  expect_malformed<metadata_request>(std::move(body), 0, "too many elements");
}

TEST(KafkaWire, NullIsRefusedWhereTheVersionHasNone) {
  expect_malformed<metadata_request>(bytes_of({0, 0, 0, 1, 0xff, 0xff}), 1, "Topics.Name: it must not be null");
  expect_malformed<metadata_request>(bytes_of({0xff, 0xff, 0xff, 0xff}), 0, "Topics: it must not be null");
  EXPECT_TRUE(decode<metadata_request>(bytes_of({0xff, 0xff, 0xff, 0xff}), 1).ok());
  // Names of topics may be null since version 10, in the new form since version 9.
  expect_malformed<metadata_request>(bytes_of({2, 0, 0, 1, 0, 0, 0}), 9, "Topics.Name: it must not be null");
}

TEST(KafkaWire, VarintsHaveAtMostThirtyTwoBits) {
  // Topics = null, three bools; then the count of tags.
  const auto with_tags = [](std::initializer_list<int> tags) {
    auto body = bytes_of({0, 1, 0, 0});
    for (const int t : tags) body.push_back(static_cast<std::byte>(t));
    return body;
  };
  EXPECT_TRUE(decode<metadata_request>(with_tags({0}), 9).ok());
  EXPECT_TRUE(decode<metadata_request>(with_tags({0x80, 0x80, 0x80, 0x80, 0}), 9).ok());
  expect_malformed<metadata_request>(with_tags({0x80, 0x80, 0x80, 0x80, 0x10}), 9, "32 bits");
  expect_malformed<metadata_request>(with_tags({0x80, 0x80, 0x80, 0x80, 0x80, 0}), 9, "32 bits");
  expect_malformed<metadata_request>(with_tags({0x80}), 9, "ends too early");
}

TEST(KafkaWire, TagsThatWeDoNotKnowAreSkippedAndOthersMustFit) {
  fetch_request request;
  request.cluster_id = "abc";
  const auto frame = copy_of(encode_request(request, 12, 0, std::nullopt));
  // … rack id (empty), then: one tag, number 0, 4 bytes, "abc" behind its length.
  const auto plain = copy_of(byte_view{frame}.subspan(4 + 11));
  ASSERT_EQ(copy_of(byte_view{plain}.last(7)), bytes_of({1, 0, 4, 4, 'a', 'b', 'c'}));
  const auto with_tags = [&](std::initializer_list<int> tags) {
    auto body = copy_of(byte_view{plain}.first(plain.size() - 7));
    for (const int t : tags) body.push_back(static_cast<std::byte>(t));
    return body;
  };
  auto got = decode<fetch_request>(with_tags({3, 0, 4, 4, 'a', 'b', 'c', 9, 2, 1, 1, 0x8a, 1, 0}), 12);
  ASSERT_TRUE(got.ok()) << got.error().text;
  EXPECT_EQ(got->cluster_id, "abc");
  // Tag 1 exists from version 15 on.
  EXPECT_TRUE(decode<fetch_request>(with_tags({1, 1, 1, 77}), 12).ok());

  expect_malformed<fetch_request>(with_tags({2, 0, 1, 0, 0, 1, 0}), 12, "tags do not rise");
  expect_malformed<fetch_request>(with_tags({2, 9, 0, 8, 0}), 12, "tags do not rise");
  expect_malformed<fetch_request>(with_tags({1, 0, 3, 4, 'a', 'b', 'c'}), 12, "ClusterId: a length goes beyond");
  expect_malformed<fetch_request>(with_tags({1, 0, 5, 4, 'a', 'b', 'c', 0}), 12, "shorter than its size");
  expect_malformed<fetch_request>(with_tags({1, 9, 0xff, 0xff, 0xff, 0xff, 0x0f}), 12, "goes beyond the end");
  expect_malformed<fetch_request>(with_tags({0xff, 0xff, 0xff, 0xff, 0x0f}), 12, "ends too early");
}

TEST(KafkaWire, TextsAreBoundedInEveryVersionAndCutWhenWritten) {
  const std::string too_long(wire::text_bytes_max + 1, 'x');
  auto body = bytes_of({0x81, 0x80, 2});  // 32768 + 1
  for (const char c : too_long) body.push_back(static_cast<std::byte>(c));
  body.push_back(std::byte{0});
  expect_malformed<api_versions_request>(body, 3, "a text is too long");

  create_topics_response answer;
  answer.topics.emplace_back().error_message = too_long;
  for (const std::int16_t version : {std::int16_t{2}, std::int16_t{7}}) {
    const auto frame = joined(encode_response(answer, version, 0));
    const auto got = decode_response<create_topics_response>(byte_view{frame}.subspan(4), version);
    ASSERT_TRUE(got.ok()) << got.error().text;
    EXPECT_EQ(got->response.topics.at(0).error_message->size(), wire::text_bytes_max);
  }
}

TEST(KafkaWire, ANullThatAVersionDoesNotHaveGoesOutAsEmpty) {
  metadata_response answer;
  answer.topics.emplace_back().name = std::nullopt;
  const auto frame = joined(encode_response(answer, 1, 0));
  const auto got = decode_response<metadata_response>(byte_view{frame}.subspan(4), 1);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->response.topics.at(0).name, "");
}

TEST(KafkaWire, BytesBehindTheBodyAreIgnored) {
  EXPECT_TRUE(decode<metadata_request>(bytes_of({0, 0, 0, 0, 1, 2, 3}), 0).ok());
}

// -- text for logs ---------------------------------------------------------------------------------------------------

TEST(KafkaWire, PrintedMessagesStayOnOneLineAndWithinTheirBound) {
  metadata_request request;
  request.topics->push_back({{}, "evil\n\"name\" \x7f"});
  EXPECT_EQ(print(request, 1), R"({Topics=[{Name="evil\x0a\"name\" \x7f"}]})");
  for (int i = 0; i < 100'000; ++i) request.topics->push_back({{}, "köln"});
  for (std::size_t bound = 50; bound < 80; ++bound) {
    const auto text = print(request, 1, bound);
    EXPECT_LE(text.size(), bound + std::string_view{"…"}.size());
    EXPECT_TRUE(text.ends_with("…"));
  }
}

// -- errors ----------------------------------------------------------------------------------------------------------

TEST(KafkaErrors, EveryErrorHasACodeWithAName) {
  for (int e = 1; e <= static_cast<int>(errc::internal); ++e)
    for (auto& api : known_apis)
      for (auto version = api.versions.first; version <= api.versions.last; ++version) {
        const auto number = to_code(static_cast<errc>(e), api.key, version);
        EXPECT_NE(number, code::none);
        EXPECT_FALSE(name_of_code(number).empty()) << number;
      }
}

TEST(KafkaErrors, OlderVersionsGetCodesThatTheyKnow) {
  EXPECT_EQ(to_code(errc::storage_full, api_key::fetch, 5), code::not_leader_or_follower);
  EXPECT_EQ(to_code(errc::storage_full, api_key::fetch, 6), code::kafka_storage_error);
  EXPECT_EQ(to_code(errc::offset_not_available, api_key::list_offsets, 4), code::leader_not_available);
  EXPECT_EQ(to_code(errc::offset_not_available, api_key::list_offsets, 5), code::offset_not_available);
  EXPECT_EQ(to_code(errc::fenced_epoch, api_key::produce, 11), code::not_leader_or_follower);
  EXPECT_EQ(to_code(errc::fenced_epoch, api_key::fetch, 9), code::fenced_leader_epoch);
  EXPECT_EQ(to_code(errc::unknown_topic_id, api_key::delete_topics, 6), code::unknown_topic_id);
  EXPECT_EQ(to_code(errc::unknown_topic_id, api_key::fetch, 12), code::unknown_topic_or_partition);
}

TEST(KafkaErrors, WhoLeadsThePartitionAndWhoControlsTheClusterAreTwoQuestions) {
  for (const auto key : {api_key::produce, api_key::fetch, api_key::list_offsets, api_key::offset_for_leader_epoch,
                         api_key::delete_records})
    EXPECT_EQ(to_code(errc::not_leader, key, find_api(key)->versions.last), code::not_leader_or_follower);
  for (const auto key :
       {api_key::create_topics, api_key::delete_topics, api_key::create_partitions, api_key::alter_configs,
        api_key::incremental_alter_configs, api_key::elect_leaders, api_key::alter_partition_reassignments})
    for (const auto error : {errc::not_leader, errc::closed}) EXPECT_EQ(to_code(error, key, 0), code::not_controller);
  // These know a code of their own that makes clients come again.
  EXPECT_EQ(to_code(errc::not_leader, api_key::init_producer_id, 4), code::coordinator_load_in_progress);
  EXPECT_EQ(to_code(errc::not_leader, api_key::metadata, 12), code::leader_not_available);
}

}  // namespace
}  // namespace troupe::kafka
