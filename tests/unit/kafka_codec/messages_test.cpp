#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/kafka_codec/random_messages.hpp"

namespace troupe::kafka {
namespace {

/// The frame without its size field, in memory of exactly its size: what reads too far shows under the sanitizer.
std::vector<std::byte> unframed(byte_view frame) {
  EXPECT_EQ(load_be<std::int32_t>(frame.data()), static_cast<std::int32_t>(frame.size() - 4));
  return copy_of(frame.subspan(4));
}

TEST(KafkaMessages, EveryRequestComesBackAsItWasWritten) {
  message_maker maker{1};
  for_each_message(all_requests{}, [&]<class Request>() {
    const auto& api = info_of<Request>();
    for (auto version = api.versions.first; version <= api.versions.last; ++version)
      for (int round = 0; round < 40; ++round) {
        const auto sent = maker.make<Request>(version);
        const auto correlation = maker.number();
        const std::optional<std::string_view> client = round % 3 == 0 ? std::nullopt : std::optional{"client"};
        const auto frame = encode_request(sent, version, correlation, client);
        auto bytes = unframed(frame);

        auto head = decode_header(bytes);
        ASSERT_TRUE(head.ok()) << head.error().text;
        EXPECT_EQ(head->header.key, api.key);
        EXPECT_EQ(head->header.version, version);
        EXPECT_EQ(head->header.correlation_id, correlation);
        EXPECT_EQ(head->header.client_id, client);
        const auto got = decode_request<Request>(head->body, version);
        ASSERT_TRUE(got.ok()) << got.error().text;
        EXPECT_EQ(print(*got, version, everything), print(sent, version, everything));
        EXPECT_EQ(copy_of(encode_request(*got, version, correlation, client)), copy_of(frame));
      }
  });
}

TEST(KafkaMessages, EveryResponseComesBackAsItWasWritten) {
  message_maker maker{2};
  for_each_message(all_responses{}, [&]<class Response>() {
    const auto& api = info_of<Response>();
    for (auto version = api.versions.first; version <= api.versions.last; ++version)
      for (int round = 0; round < 40; ++round) {
        const auto sent = maker.make<Response>(version);
        const auto correlation = maker.number();
        const auto frame = joined(encode_response(sent, version, correlation));
        const auto bytes = unframed(frame);

        const auto got = decode_response<Response>(bytes, version);
        ASSERT_TRUE(got.ok()) << got.error().text;
        EXPECT_EQ(got->correlation_id, correlation);
        EXPECT_EQ(print(got->response, version, everything), print(sent, version, everything));
        EXPECT_EQ(joined(encode_response(got->response, version, correlation)), frame);
      }
  });
}

TEST(KafkaMessages, EveryTruncatedMessageIsRefused) {
  message_maker maker{3};
  for_each_message(all_requests{}, [&]<class Request>() {
    const auto& api = info_of<Request>();
    for (auto version = api.versions.first; version <= api.versions.last; ++version) {
      auto whole = unframed(encode_request(maker.make<Request>(version), version, 7, "c"));
      const auto body = decode_header(whole)->body;
      for (std::size_t size = 0; size < body.size(); ++size) {
        auto cut = copy_of(body.first(size));
        const auto got = decode_request<Request>(cut, version);
        ASSERT_FALSE(got.ok()) << api.name << " v" << version << ", " << size << " bytes of " << body.size();
        ASSERT_EQ(got.code(), errc::malformed);
      }
      for (std::size_t size = 0; size + body.size() < whole.size(); ++size) {
        auto cut = copy_of(byte_view{whole}.first(size));
        ASSERT_EQ(decode_header(cut).code(), errc::malformed);
      }
    }
  });
  for_each_message(all_responses{}, [&]<class Response>() {
    const auto& api = info_of<Response>();
    for (auto version = api.versions.first; version <= api.versions.last; ++version) {
      const auto whole = unframed(joined(encode_response(maker.make<Response>(version), version, 7)));
      for (std::size_t size = 0; size < whole.size(); ++size)
        ASSERT_EQ(decode_response<Response>(copy_of(byte_view{whole}.first(size)), version).code(), errc::malformed);
    }
  });
}

TEST(KafkaMessages, DamagedRequestsAreReadOrRefusedButNeverHarm) {
  message_maker maker{4};
  for_each_message(all_requests{}, [&]<class Request>() {
    const auto& api = info_of<Request>();
    for (auto version = api.versions.first; version <= api.versions.last; ++version)
      for (int round = 0; round < 60; ++round) {
        auto frame = unframed(encode_request(maker.make<Request>(version), version, 7, "c"));
        auto body = decode_header(frame)->body;
        for (auto flips = maker.below(4) + 1; flips > 0 && !body.empty(); --flips)
          body[maker.below(body.size())] = static_cast<std::byte>(maker.below(2) ? maker.below(256) : 0xff);
        const auto got = decode_request<Request>(body, version);
        if (!got.ok()) continue;
        // Whatever was understood can be written and understood again.
        auto again = unframed(encode_request(*got, version, 7, "c"));
        const auto reread = decode_request<Request>(decode_header(again)->body, version);
        ASSERT_TRUE(reread.ok()) << reread.error().text;
        EXPECT_EQ(print(*reread, version, everything), print(*got, version, everything));
      }
  });
}

TEST(KafkaMessages, VersionsOutsideTheTablesAreRefused) {
  for_each_message(all_requests{}, [&]<class Request>() {
    std::vector<std::byte> body(100);
    const auto versions = info_of<Request>().versions;
    for (const int version : {-1, versions.first - 1, versions.last + 1, 32767})
      EXPECT_EQ(decode_request<Request>(body, static_cast<std::int16_t>(version)).code(), errc::unsupported_version);
  });
}

// -- against an independent implementation ---------------------------------------------------------------------------

struct sample {
  std::string api, kind, client, text;
  int version{0};
  std::int32_t correlation{0};
  std::vector<std::byte> frame;
};

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<sample> samples() {
  std::vector<sample> all;
  std::ifstream file{std::filesystem::path{__FILE__}.parent_path() / "vectors.txt"};
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    sample s;
    std::string hex;
    std::istringstream in{line};
    in >> s.api >> s.version >> s.kind >> s.correlation >> s.client >> hex >> std::ws;
    std::getline(in, s.text);
    s.frame = from_hex(hex);
    all.push_back(std::move(s));
  }
  return all;
}

TEST(KafkaMessages, BytesAndMeaningAgreeWithAnIndependentImplementation) {
  const auto all = samples();
  std::size_t compared = 0;
  for_each_message(all_requests{}, [&]<class Request>() {
    for (auto& s : all) {
      if (s.kind != "request" || s.api != info_of<Request>().name) continue;
      const auto version = static_cast<std::int16_t>(s.version);
      SCOPED_TRACE(s.api + " request " + std::to_string(version));
      auto bytes = unframed(s.frame);
      const auto head = decode_header(bytes);
      ASSERT_TRUE(head.ok()) << head.error().text;
      EXPECT_EQ(head->header.key, info_of<Request>().key);
      EXPECT_EQ(head->header.version, version);
      EXPECT_EQ(head->header.correlation_id, s.correlation);
      const auto client = head->header.client_id;
      EXPECT_EQ(client ? '"' + std::string{*client} + '"' : "null", s.client);
      const auto got = decode_request<Request>(head->body, version);
      ASSERT_TRUE(got.ok()) << got.error().text;
      EXPECT_EQ(print(*got, version, everything), s.text);
      EXPECT_EQ(copy_of(encode_request(*got, version, s.correlation, client)), s.frame);
      ++compared;
    }
  });
  for_each_message(all_responses{}, [&]<class Response>() {
    for (auto& s : all) {
      if (s.kind != "response" || s.api != info_of<Response>().name) continue;
      const auto version = static_cast<std::int16_t>(s.version);
      SCOPED_TRACE(s.api + " response " + std::to_string(version));
      const auto bytes = unframed(s.frame);
      const auto got = decode_response<Response>(bytes, version);
      ASSERT_TRUE(got.ok()) << got.error().text;
      EXPECT_EQ(got->correlation_id, s.correlation);
      EXPECT_EQ(print(got->response, version, everything), s.text);
      EXPECT_EQ(joined(encode_response(got->response, version, s.correlation)), s.frame);
      ++compared;
    }
  });
  EXPECT_EQ(compared, all.size());
  EXPECT_GT(compared, 200u);
}

}  // namespace
}  // namespace troupe::kafka
