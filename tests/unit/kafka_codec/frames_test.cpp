#include "apps/gateways/kafka/codec/frames.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "runtime/base/random.hpp"

namespace troupe::kafka {
namespace {

std::vector<std::byte> framed(std::size_t size, int fill) {
  std::vector<std::byte> bytes(4 + size, static_cast<std::byte>(fill));
  store_be(bytes.data(), static_cast<std::int32_t>(size));
  return bytes;
}

/// Writes as much of `bytes` as one read of the socket would get, at most `at_most`.
std::size_t feed(frame_splitter& splitter, byte_view bytes, std::size_t at_most = SIZE_MAX) {
  const auto space = splitter.prepare();
  const auto count = std::min({space.size(), bytes.size(), at_most});
  std::memcpy(space.data(), bytes.data(), count);
  splitter.commit(count);
  return count;
}

TEST(FrameSplitter, FramesComeOutWholeHoweverTheirBytesArrive) {
  random_source chance{5};
  for (int round = 0; round < 60; ++round) {
    std::vector<std::vector<std::byte>> sent;
    std::vector<std::byte> stream;
    for (int i = 0; i < 30; ++i) {
      static constexpr std::size_t sizes[] = {0, 1, 20, 300, 5'000, 70'000, 400'000};
      const auto frame = framed(chance.below(sizes[chance.below(i % 7 == 0 ? 7 : 5)] + 1), i);
      sent.push_back({frame.begin() + 4, frame.end()});
      stream.insert(stream.end(), frame.begin(), frame.end());
    }
    const std::size_t chunk = 1 + chance.below(round % 2 ? 50'000 : 3'000);
    frame_splitter splitter;
    std::vector<owned_bytes> got;
    for (std::size_t at = 0; at < stream.size();) {
      at += feed(splitter, byte_view{stream}.subspan(at), 1 + chance.below(chunk));
      for (;;) {
        auto next = splitter.next();
        ASSERT_TRUE(next.ok()) << next.error().text;
        if (!*next) break;
        // The receiver may write into it; the others must not notice.
        got.push_back(**next);
      }
      if (chance.chance(0.1)) splitter.rest();
    }
    ASSERT_EQ(got.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i)
      ASSERT_TRUE(std::ranges::equal(got[i].bytes, sent[i])) << "frame " << i;
    EXPECT_EQ(splitter.pending(), 0u);
  }
}

TEST(FrameSplitter, PipelinedSmallFramesShareOneBuffer) {
  frame_splitter splitter;
  std::vector<std::byte> stream;
  for (int i = 0; i < 10; ++i) {
    const auto frame = framed(100, i);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  EXPECT_EQ(feed(splitter, stream), stream.size());
  auto first = splitter.next();
  ASSERT_TRUE(first.ok() && *first);
  for (int i = 1; i < 10; ++i) {
    auto next = splitter.next();
    ASSERT_TRUE(next.ok() && *next);
    EXPECT_EQ((*next)->owner, (*first)->owner);
  }
}

TEST(FrameSplitter, AnAnnouncedSizeAllocatesNothing) {
  frame_splitter splitter;
  std::vector<std::byte> stream = framed(90 << 20, 1);
  feed(splitter, byte_view{stream}.first(4));
  ASSERT_TRUE(splitter.next().ok());
  EXPECT_LE(splitter.prepare().size(), 64u << 10);
  // From then on a buffer holds at most twice what has arrived.
  for (std::size_t at = 4; at < (1u << 20);) {
    const auto space = splitter.prepare().size();
    EXPECT_LE(at + space, std::max<std::size_t>(64 << 10, 2 * at));
    at += feed(splitter, byte_view{stream}.subspan(at), 10'000);
    ASSERT_TRUE(splitter.next().ok());
  }
}

TEST(FrameSplitter, TheSecondLargeFrameIsReadWhereItStays) {
  frame_splitter splitter;
  const auto frame = framed(1'000'000, 3);
  for (std::size_t at = 0; at < frame.size();) {
    at += feed(splitter, byte_view{frame}.subspan(at));
    if (at < frame.size()) {
      const auto next = splitter.next();
      ASSERT_TRUE(next.ok() && !*next);
    }
  }
  ASSERT_TRUE((*splitter.next()).has_value());

  // A slightly larger one comes in one piece, into memory that is handed out as it is.
  const auto next_frame = framed(1'010'000, 4);
  const auto* place = splitter.prepare().data();
  EXPECT_EQ(feed(splitter, next_frame), next_frame.size());
  auto next = splitter.next();
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_EQ((*next)->bytes.data(), place + 4);
}

TEST(FrameSplitter, FramesOutliveTheSplitter) {
  std::optional<owned_bytes> kept;
  {
    frame_splitter splitter;
    feed(splitter, framed(50, 8));
    kept = *splitter.next();
  }
  ASSERT_TRUE(kept);
  EXPECT_TRUE(std::ranges::all_of(kept->bytes, [](std::byte b) { return b == std::byte{8}; }));
}

TEST(FrameSplitter, AnIdleConnectionHoldsNoBuffer) {
  frame_splitter splitter;
  feed(splitter, framed(50, 8));
  std::weak_ptr<void> buffer = (*splitter.next())->owner;
  EXPECT_FALSE(buffer.expired());
  splitter.rest();
  EXPECT_TRUE(buffer.expired());
}

error refusal(std::initializer_list<int> start, frame_splitter::limits limits = {}) {
  frame_splitter splitter{limits};
  std::vector<std::byte> bytes;
  for (const int b : start) bytes.push_back(static_cast<std::byte>(b));
  feed(splitter, bytes);
  const auto next = splitter.next();
  if (next.ok()) {
    ADD_FAILURE() << "not refused";
    return {};
  }
  return next.error();
}

TEST(FrameSplitter, SizesThatAreNoneAreRefusedWithAHint) {
  EXPECT_EQ(refusal({0xff, 0xff, 0xff, 0xff}).code, errc::malformed);
  EXPECT_EQ(refusal({0x06, 0x40, 0x00, 0x01}).code, errc::message_too_large);  // 100 MiB + 1
  const auto tls = refusal({0x16, 0x03, 0x01, 0x02});
  EXPECT_EQ(tls.code, errc::message_too_large);
  EXPECT_NE(tls.text.find("TLS"), std::string::npos);
  EXPECT_NE(refusal({'G', 'E', 'T', ' '}).text.find("HTTP"), std::string::npos);
}

}  // namespace
}  // namespace troupe::kafka
