#include "runtime/transport/link.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <numeric>
#include <string>

#include "runtime/base/random.hpp"

namespace troupe {
namespace {

using namespace transport_wire;
using namespace std::chrono_literals;

constexpr std::uint64_t plenty = 1 << 30;

shared_bytes text(std::string_view t) {
  return shared_bytes::copy_of(as_bytes(t));
}
shared_bytes frame(std::size_t size, std::uint8_t fill = 1) {
  return shared_bytes::own(std::vector<std::byte>(size, std::byte{fill}));
}

/// A sender and the receiver at its peer, with nothing between them but what a test carries over.
struct pair {
  explicit pair(link_limits l = {}) : limits{l}, sender{l}, receiver{l} {}
  void open() { sender.opened({limits.window_bytes[0], limits.window_bytes[1]}, limits.frame_bytes_max, now); }
  std::optional<batch> next() {
    auto bytes = sender.next_batch({}, now);
    if (!bytes) return std::nullopt;
    EXPECT_LE(bytes->size(), batch_bytes_usual);
    auto parsed = parse_batch(*bytes);
    EXPECT_TRUE(parsed) << parsed.error().text;
    return *parsed;
  }
  /// Carries batches over until there are no more, receipts too if `answer`.
  std::vector<link_receiver::delivery> carry(bool answer = true) {
    std::vector<link_receiver::delivery> all;
    while (auto b = next()) {
      auto got = receiver.taken(*b);
      EXPECT_TRUE(got) << got.error().text;
      if (!got) break;
      all.insert(all.end(), got->begin(), got->end());
      if (answer) {
        EXPECT_TRUE(sender.acknowledged(receiver.receipt(), now));
      }
    }
    return all;
  }

  link_limits limits;
  instant now{};
  link_sender sender;
  link_receiver receiver;
};

TEST(Link, WhatIsPushedArrivesInOneBatch) {
  pair p;
  p.open();
  EXPECT_FALSE(p.next());
  p.sender.push(urgency::control, text("one"), p.now);
  p.sender.push(urgency::control, text(""), p.now);
  p.sender.push(urgency::control, text("three"), p.now);
  const auto b = p.next();
  ASSERT_TRUE(b);
  EXPECT_EQ(b->sequence, 1u);
  const auto got = p.receiver.taken(*b);
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 3u);
  EXPECT_EQ(as_text((*got)[0].frame), "one");
  EXPECT_EQ(as_text((*got)[1].frame), "");
  EXPECT_EQ(as_text((*got)[2].frame), "three");
  EXPECT_EQ(p.sender.queued_bytes(), 0u);
  EXPECT_FALSE(p.next());
}

TEST(Link, ControlGoesBeforeBulkThatWasThereFirst) {
  pair p;
  p.open();
  for (int i = 0; i < 10; ++i) p.sender.push(urgency::bulk, frame(100'000), p.now);
  ASSERT_TRUE(p.next());
  p.sender.push(urgency::control, text("urgent"), p.now);
  const auto b = p.next();
  ASSERT_TRUE(b);
  EXPECT_EQ(b->pieces.front().kind, urgency::control);
  EXPECT_EQ(as_text(b->pieces.front().bytes), "urgent");
  EXPECT_EQ(b->pieces.back().kind, urgency::bulk);
}

TEST(Link, FramesBeginWhereCapnProtoCanReadThem) {
  pair p;
  p.open();
  for (std::size_t n : {1, 7, 8, 9, 100, 70'000, 3}) p.sender.push(urgency::control, frame(n), p.now);
  for (const auto& d : p.carry()) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(d.frame.data()) % 8, 0u);
}

TEST(Link, ALargeFrameIsSplitAndPutTogetherAgain) {
  pair p;
  p.open();
  std::vector<std::byte> bytes(1'000'003);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  p.sender.push(urgency::bulk, shared_bytes::copy_of(bytes), p.now);
  const auto got = p.carry();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(std::ranges::equal(got[0].frame.view(), bytes));
}

TEST(Link, BulkStopsWithoutCreditAndGoesOnWithIt) {
  pair p{{.window_bytes = {1 << 20, 256 << 10}}};
  p.open();
  for (int i = 0; i < 20; ++i) p.sender.push(urgency::bulk, frame(50'000), p.now);
  auto got = p.carry(false);
  EXPECT_LE(p.sender.in_flight_bytes(urgency::bulk), 256u << 10);
  EXPECT_GT(p.sender.in_flight_bytes(urgency::bulk), 200u << 10);
  EXPECT_FALSE(p.sender.ready());

  // Control has credit of its own.
  p.sender.push(urgency::control, text("still here"), p.now);
  EXPECT_EQ(as_text(p.carry(false).at(0).frame), "still here");

  ASSERT_TRUE(p.receiver.owes_receipt());
  ASSERT_TRUE(p.sender.acknowledged(p.receiver.receipt(), p.now));
  EXPECT_TRUE(p.sender.ready());
  const auto rest = p.carry();
  EXPECT_EQ(got.size() + rest.size(), 20u);
}

TEST(Link, SmallBatchesGatherOnceSomeAreUnderWay) {
  pair p;
  p.open();
  int batches = 0;
  for (int i = 0; i < 1000; ++i) {
    p.sender.push(urgency::control, text("ping"), p.now);
    if (auto b = p.next()) {
      ++batches;
      ASSERT_TRUE(p.receiver.taken(*b));
    }
  }
  EXPECT_EQ(batches, 8);
  // The receiver has promised an answer by then, and then all the rest goes at once.
  ASSERT_TRUE(p.receiver.owes_receipt());
  ASSERT_TRUE(p.sender.acknowledged(p.receiver.receipt(), p.now));
  EXPECT_EQ(p.next()->pieces.size(), 992u);
}

TEST(Link, AFullQueueDropsAndCounts) {
  pair p{{.queue_bytes_max = {1000, 1000}}};
  p.open();
  EXPECT_TRUE(p.sender.push(urgency::bulk, frame(5000), p.now));  // alone it may be larger
  EXPECT_FALSE(p.sender.push(urgency::bulk, frame(1), p.now));
  EXPECT_TRUE(p.sender.push(urgency::control, frame(1), p.now));
  EXPECT_EQ(p.sender.total(urgency::bulk).dropped, 1u);
  EXPECT_EQ(p.carry().size(), 2u);
  EXPECT_TRUE(p.sender.push(urgency::bulk, frame(1), p.now));
}

TEST(Link, AFrameAboveThePeersLimitIsDropped) {
  pair p;
  p.sender.opened({plenty, plenty}, 1000, p.now);
  EXPECT_FALSE(p.sender.push(urgency::bulk, frame(1001), p.now));
  EXPECT_TRUE(p.sender.push(urgency::bulk, frame(1000), p.now));
}

TEST(Link, WithoutAConnectionOnlyALittleControlWaitsForASecond) {
  pair p;
  EXPECT_FALSE(p.sender.push(urgency::bulk, text("no"), p.now));
  EXPECT_TRUE(p.sender.push(urgency::control, text("too old"), p.now));
  EXPECT_FALSE(p.sender.push(urgency::control, frame(1 << 20), p.now));
  p.now += 800ms;
  EXPECT_TRUE(p.sender.push(urgency::control, text("in time"), p.now));
  p.now += 500ms;
  p.open();
  const auto got = p.carry();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(as_text(got[0].frame), "in time");
}

TEST(Link, ALostConnectionLosesWhatWasUnderWayAndBulkAndKeepsUnsentControl) {
  pair p{{.window_bytes = {100'000, 100'000}}};
  p.open();
  p.sender.push(urgency::control, frame(150'000), p.now);  // half sent
  p.sender.push(urgency::control, text("kept"), p.now);
  p.sender.push(urgency::bulk, frame(10), p.now);
  p.carry(false);
  p.sender.push(urgency::bulk, frame(10), p.now);
  p.sender.closed(p.now);
  p.receiver = link_receiver{p.limits};
  p.open();
  const auto got = p.carry();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(as_text(got[0].frame), "kept");
}

TEST(Link, BulkUnderWayShrinksWhileItDelaysAndGrowsAgain) {
  pair p;
  p.open();
  const auto round = [&](std::chrono::milliseconds takes) {
    while (p.sender.push(urgency::bulk, frame(100'000), p.now)) {
    }
    std::vector<batch> under_way;
    while (auto b = p.next()) under_way.push_back(std::move(*b));
    const auto most = p.sender.in_flight_bytes(urgency::bulk);
    p.now += takes;
    for (const auto& b : under_way) EXPECT_TRUE(p.receiver.taken(b));
    EXPECT_TRUE(p.sender.acknowledged(p.receiver.receipt(), p.now));
    return most;
  };
  round(1ms);
  EXPECT_GT(round(1ms), 3'900'000u);
  for (int i = 0; i < 20; ++i) round(50ms);
  EXPECT_LE(round(50ms), 256u << 10);
  for (int i = 0; i < 50; ++i) round(1ms);
  EXPECT_GT(round(1ms), 3'900'000u);
}

TEST(Link, AGapEndsTheLink) {
  pair p;
  p.open();
  p.sender.push(urgency::control, text("lost"), p.now);
  p.next();
  p.sender.push(urgency::control, text("next"), p.now);
  EXPECT_EQ(p.receiver.taken(*p.next()).code(), errc::malformed);
}

TEST(Link, MoreThanWasGrantedEndsTheLink) {
  pair p{{.window_bytes = {10'000, 10'000}}};
  p.sender.opened({plenty, plenty}, 1 << 20, p.now);  // a peer that does not care
  link_sender careless{{.window_bytes = {plenty, plenty}}};
  careless.opened({plenty, plenty}, 1 << 20, p.now);
  careless.push(urgency::bulk, frame(20'000), p.now);
  EXPECT_EQ(p.receiver.taken(*parse_batch(*careless.next_batch({}, p.now))).code(), errc::malformed);
}

TEST(Link, AReceiptThatCannotBeEndsTheLink) {
  pair p;
  p.open();
  p.sender.push(urgency::control, text("one"), p.now);
  ASSERT_TRUE(p.next());
  const auto control = p.limits.window_bytes[0], bulk = p.limits.window_bytes[1];
  EXPECT_FALSE(p.sender.acknowledged({2, {control, bulk}}, p.now));        // a batch that was not sent
  EXPECT_FALSE(p.sender.acknowledged({1, {control - 1, bulk}}, p.now));    // credit taken back
  EXPECT_FALSE(p.sender.acknowledged({1, {control, bulk + 100}}, p.now));  // credit for what was not sent
  EXPECT_TRUE(p.sender.acknowledged({1, {control, bulk}}, p.now));
  EXPECT_FALSE(p.sender.acknowledged({0, {control, bulk}}, p.now));  // backwards
}

TEST(Link, PiecesThatDoNotFitTogetherEndTheLink) {
  const auto taken = [](std::initializer_list<std::array<std::uint32_t, 3>> pieces) {  // frame bytes, offset, bytes
    batch_writer out{0};
    for (const auto& [whole, offset, bytes] : pieces) out.add(urgency::control, whole, offset, frame(bytes));
    const auto parsed = parse_batch(std::move(out).finish(1, {}));
    if (!parsed) return false;
    link_receiver r{{.frame_bytes_max = 1000}};
    return r.taken(*parsed).ok();
  };
  EXPECT_TRUE(taken({{20, 0, 10}, {20, 10, 10}, {5, 0, 5}}));
  EXPECT_FALSE(taken({{20, 10, 10}}));               // begins in its middle
  EXPECT_FALSE(taken({{20, 0, 10}, {20, 11, 9}}));   // a hole
  EXPECT_FALSE(taken({{20, 0, 10}, {20, 0, 10}}));   // twice
  EXPECT_FALSE(taken({{20, 0, 10}, {21, 10, 11}}));  // of another frame
  EXPECT_FALSE(taken({{20, 0, 10}, {5, 0, 5}}));     // another frame in between
  EXPECT_FALSE(taken({{1001, 0, 10}}));              // above the limit
  EXPECT_FALSE(taken({{20, 0, 21}}));                // more than the frame
  EXPECT_FALSE(taken({{20, 0, 0}, {20, 0, 20}}));    // nothing
  EXPECT_FALSE(taken({{20, 0xffffffff, 0xa}}));      // an offset that overflows
}

TEST(Link, EveryOneByteChangeOfABatchIsParsedOrRefused) {
  batch_writer out{0};
  out.add(urgency::control, 5, 0, text("hello"));
  out.add(urgency::bulk, 500, 100, frame(33));
  const auto good = std::move(out).finish(7, {3, {1000, 2000}});
  ASSERT_TRUE(parse_batch(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(parse_batch(good.slice(0, cut)));
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> bad{good.view().begin(), good.view().end()};
      bad[i] ^= static_cast<std::byte>(1 << bit);
      const auto parsed = parse_batch(shared_bytes::own(bad));
      EXPECT_TRUE(!parsed || parsed->pieces.size() <= 2);
    }
  EXPECT_FALSE(parse_batch(frame(batch_bytes_max + 8, 0)));
}

/// Any interleaving of pushing, sending, carrying, answering and losing the connection, with small limits: each urgency
/// arrives in order and once, nothing is lost while the connection holds, and every bound holds.
TEST(Link, AnyHistoryKeepsOrderAndBounds) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    random_source random{seed};
    link_limits limits;
    limits.frame_bytes_max = 1 + random.below(200'000);
    limits.queue_bytes_max = {1 + random.below(300'000), 1 + random.below(300'000)};
    limits.window_bytes = {8192 + random.below(200'000), 8192 + random.below(200'000)};
    limits.waiting_bytes_max = random.below(50'000);
    limits.window_bytes_min = 8192;
    link_sender sender{limits};
    std::optional<link_receiver> receiver;
    std::deque<shared_bytes> there, back;
    std::array<std::uint64_t, 2> pushed{}, seen{}, arrived{};
    bool lossless = true;
    instant now{};

    const auto carry = [&](bool all) {
      while (!there.empty()) {
        auto got = receiver->taken(*parse_batch(there.front()));
        ASSERT_TRUE(got) << "seed " << seed << ": " << got.error().text;
        there.pop_front();
        for (const auto& d : *got) {
          ASSERT_GE(d.frame.size(), 16u);
          const auto number = load_le<std::uint64_t>(d.frame.data());
          auto& last = seen[static_cast<std::size_t>(d.kind)];
          ASSERT_GT(number, last) << "seed " << seed;
          last = number;
          ++arrived[static_cast<std::size_t>(d.kind)];
          ASSERT_EQ(d.frame.data()[d.frame.size() - 1], static_cast<std::byte>(number));
        }
        if (receiver->owes_receipt()) back.push_back(batch_writer{0}.finish(1, receiver->receipt()));
        if (!all) break;
      }
    };
    const auto answer = [&] {
      while (!back.empty()) {
        ASSERT_TRUE(sender.acknowledged(parse_batch(back.front())->told, now)) << "seed " << seed;
        back.pop_front();
      }
    };
    const auto open = [&] {
      sender.opened({limits.window_bytes[0], limits.window_bytes[1]}, limits.frame_bytes_max, now);
      receiver.emplace(limits);
    };
    open();
    for (int step = 0; step < 400; ++step) {
      now += std::chrono::microseconds{random.below(5000)};
      switch (random.below(sender.is_open() ? 12 : 4)) {
        case 0:
        case 1:
        case 2: {
          const auto u = static_cast<urgency>(random.below(2));
          const auto size = 16 + random.below(random.chance(0.1) ? 250'000 : 2000);
          std::vector<std::byte> bytes(size);
          const auto number = ++pushed[static_cast<std::size_t>(u)];
          bytes.back() = static_cast<std::byte>(number);
          store_le(bytes.data(), number);
          sender.push(u, shared_bytes::own(std::move(bytes)), now);
          break;
        }
        case 3:
          if (!sender.is_open()) open();
          break;
        case 4:
          if (random.chance(0.02)) {
            sender.closed(now);
            there.clear();
            back.clear();
            lossless = false;
            ASSERT_EQ(sender.total(urgency::bulk).frames + sender.total(urgency::bulk).dropped, pushed[1]);
          }
          break;
        case 5:
        case 6:
        case 7:
          if (const bool ready = sender.ready(); auto b = sender.next_batch({}, now)) {
            ASSERT_TRUE(ready);
            there.push_back(*b);
          } else {
            ASSERT_FALSE(ready);
          }
          break;
        case 8:
        case 9:
        case 10:
          carry(false);
          break;
        case 11:
          answer();
      }
      for (auto u : {urgency::control, urgency::bulk})
        ASSERT_LE(sender.in_flight_bytes(u), limits.window_bytes[static_cast<std::size_t>(u)]);
      ASSERT_LE(sender.queued_bytes(),
                std::max<std::size_t>(limits.queue_bytes_max[0], limits.frame_bytes_max + 32) +
                    std::max<std::size_t>(limits.queue_bytes_max[1], limits.frame_bytes_max + 32));
      if (HasFatalFailure()) return;
    }
    if (!sender.is_open()) open();
    // From here on everything that waits must get through.
    for (int rounds = 0; sender.queued_bytes() > 0; ++rounds) {
      ASSERT_LT(rounds, 1000) << "stuck, seed " << seed;
      while (auto b = sender.next_batch({}, now)) there.push_back(*b);
      carry(true);
      // What an idle link does twice a second.
      back.push_back(batch_writer{0}.finish(1, receiver->receipt()));
      answer();
      if (HasFatalFailure()) return;
    }
    carry(true);
    for (std::size_t i = 0; lossless && i < 2; ++i)
      ASSERT_EQ(arrived[i] + sender.total(static_cast<urgency>(i)).dropped, pushed[i]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace troupe
