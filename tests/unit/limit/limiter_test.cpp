#include "actors/limit/limiter.hpp"

#include <gtest/gtest.h>

#include "runtime/base/random.hpp"

namespace troupe::limit {
namespace {

using namespace std::chrono_literals;

constexpr instant t0{1000s};
constexpr rule ten_a_second{10, 1s, 5};

TEST(Limiter, ABurstPassesAndThenTheRate) {
  bucket b{t0};
  for (std::uint32_t i = 0; i < 5; ++i) EXPECT_EQ(b.take(ten_a_second, 1, t0)->remaining, 4 - i);
  const auto refused = *b.take(ten_a_second, 1, t0);
  EXPECT_EQ(refused, (verdict{false, 0, 100ms, 500ms}));
  EXPECT_FALSE(b.take(ten_a_second, 1, t0 + 99ms)->allowed);
  EXPECT_TRUE(b.take(ten_a_second, 1, t0 + 100ms)->allowed);
  EXPECT_FALSE(b.take(ten_a_second, 1, t0 + 199ms)->allowed);
}

TEST(Limiter, WhatIsRefusedCostsNothing) {
  bucket b{t0};
  EXPECT_TRUE(b.take(ten_a_second, 3, t0)->allowed);
  EXPECT_EQ(*b.take(ten_a_second, 4, t0), (verdict{false, 2, 200ms, 300ms}));
  EXPECT_TRUE(b.take(ten_a_second, 2, t0)->allowed);
}

TEST(Limiter, ItFillsUpToItsBurstAndNotFurther) {
  bucket b{t0};
  EXPECT_TRUE(b.take(ten_a_second, 5, t0)->allowed);
  EXPECT_EQ(b.take(ten_a_second, 0, t0 + 250ms)->remaining, 2u);
  EXPECT_EQ(*b.take(ten_a_second, 0, t0 + 1h), (verdict{true, 5, 0ns, 0ns}));
  EXPECT_TRUE(b.take(ten_a_second, 5, t0 + 1h)->allowed);
  EXPECT_FALSE(b.take(ten_a_second, 1, t0 + 1h)->allowed);
}

TEST(Limiter, LookingTakesNothing) {
  bucket b{t0};
  EXPECT_EQ(b.take(ten_a_second, 0, t0)->remaining, 5u);
  EXPECT_EQ(b.take(ten_a_second, 0, t0)->remaining, 5u);
  EXPECT_EQ(b.debt(t0), 0ns);
}

TEST(Limiter, WhatIsNeverAllowedIsAnError) {
  bucket b{t0};
  EXPECT_EQ(b.take(ten_a_second, 6, t0).code(), errc::invalid_request);
  EXPECT_TRUE(check(ten_a_second).ok());
  EXPECT_TRUE(check({rule::most, 1ms, rule::most}).ok());
  for (const auto& wrong : {rule{0, 1s, 1}, rule{rule::most + 1, 1s, 1}, rule{1, 1s, 0}, rule{1, 1s, rule::most + 1},
                            rule{1, 0ns, 1}, rule{1, 24h + 1ns, 1}, rule{1, -1s, 1}, rule{1, 24h, 31}})
    EXPECT_EQ(check(wrong).code(), errc::invalid_request);
}

/// However it is asked: in any window, no more than the burst and what the rate gives in that time.
TEST(Limiter, NoWindowHasMoreThanItsShare) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    random_source random{seed};
    const rule r{static_cast<std::uint32_t>(1 + random.below(50)), std::chrono::milliseconds{1 + random.below(2000)},
                 static_cast<std::uint32_t>(1 + random.below(20))};
    bucket b{t0};
    auto now = t0;
    std::vector<std::pair<instant, std::uint32_t>> taken;
    for (int i = 0; i < 200; ++i) {
      now += std::chrono::microseconds{random.below(100'000)};
      const auto cost = static_cast<std::uint32_t>(random.below(r.burst + 1));
      const auto v = *b.take(r, cost, now);
      if (v.allowed) taken.emplace_back(now, cost);
      // What it says of later is so.
      if (!v.allowed) {
        auto then = b;
        EXPECT_FALSE(bucket{b}.take(r, cost, now + v.retry_after - 1ns)->allowed);
        EXPECT_TRUE(then.take(r, cost, now + v.retry_after)->allowed);
      }
    }
    for (std::size_t from = 0; from < taken.size(); ++from) {
      std::uint64_t sum = 0;
      for (std::size_t to = from; to < taken.size(); ++to) {
        sum += taken[to].second;
        const auto passed = std::chrono::duration<double>(taken[to].first - taken[from].first);
        EXPECT_LE(static_cast<double>(sum), r.burst + passed / r.period * r.count + 1e-3) << "seed " << seed;
      }
    }
  }
}

TEST(Limiter, AsAnEntityItMovesWithWhatItOwes) {
  const auto kind = type();
  auto here = kind.make("k", {}, t0);
  EXPECT_TRUE(here->is_as_new(t0));
  EXPECT_EQ(decode_answer(here->handle(encode(request{ten_a_second, 4}), t0))->remaining, 1u);
  EXPECT_FALSE(here->is_as_new(t0));
  const auto elsewhere = t0 + 100h;  // another clock
  auto there = kind.make("k", here->state(t0 + 100ms), elsewhere);
  EXPECT_EQ(decode_answer(there->handle(encode(request{ten_a_second, 0}), elsewhere))->remaining, 2u);
  EXPECT_TRUE(there->is_as_new(elsewhere + 300ms));
  EXPECT_TRUE(kind.make("k", as_bytes("nonsense!"), t0)->is_as_new(t0));
}

TEST(Limiter, WhatMakesNoSenseIsAnswered) {
  auto e = type().make("k", {}, t0);
  EXPECT_EQ(decode_answer(e->handle(shared_bytes::copy_of(as_bytes("x")), t0)).code(), errc::invalid_request);
  EXPECT_EQ(decode_answer(e->handle(encode(request{{0, 1s, 1}, 1}), t0)).code(), errc::invalid_request);
  EXPECT_EQ(decode_answer(e->handle(encode(request{ten_a_second, 6}), t0)).error().text,
            "a cost of 6 is never allowed with a burst of 5");
  EXPECT_EQ(decode_answer(shared_bytes::copy_of(as_bytes("x"))).code(), errc::malformed);
}

TEST(Limiter, RequestsAndAnswersComeBackAsTheyWentIn) {
  const auto r = *decode_request(encode(request{{1, 2ns, 3}, 4}));
  EXPECT_EQ(r.by, (rule{1, 2ns, 3}));
  EXPECT_EQ(r.cost, 4u);
  const verdict v{true, 1, 2ns, 3ns};
  EXPECT_EQ(*decode_answer(encode(result<verdict>{v})), v);
}

}  // namespace
}  // namespace troupe::limit
