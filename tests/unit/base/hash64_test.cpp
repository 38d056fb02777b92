#include "runtime/base/hash64.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace troupe {
namespace {

TEST(Hash64, ItsValuesAreAFormatAndNeverChange) {
  EXPECT_EQ(hash64(""), 0u);
  EXPECT_EQ(hash64("user/1"), 0x2034a08ebce06673u);
  EXPECT_EQ(hash64("channel/a-key-of-more-than-two-words"), 0xc3a124815f9bebceu);
  EXPECT_EQ(hash64("user/1", 7), 0x9faca0cbe338c510u);
}

TEST(Hash64, LengthAndEveryByteCount) {
  std::set<std::uint64_t> seen;
  std::string zeros;
  for (int i = 0; i < 64; ++i, zeros += '\0') EXPECT_TRUE(seen.insert(hash64(zeros)).second) << i;
  for (std::size_t at = 0; at < 64; ++at) {
    auto one = zeros;
    one[at] = 1;
    EXPECT_TRUE(seen.insert(hash64(one)).second) << at;
  }
}

TEST(Hash64, NamesSpreadEvenlyOverShards) {
  constexpr int shards = 64, names = 64'000;
  std::vector<int> count(shards);
  for (int i = 0; i < names; ++i) ++count[hash64("user/" + std::to_string(i)) % shards];
  for (int n : count) EXPECT_NEAR(n, names / shards, 160);  // five standard deviations
}

}  // namespace
}  // namespace troupe
