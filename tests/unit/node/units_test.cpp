#include "apps/node/units.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using namespace std::chrono_literals;

TEST(Units, DurationsAreANumberAndAUnit) {
  EXPECT_EQ(*parse_duration("200ms"), 200ms);
  EXPECT_EQ(*parse_duration("10s"), 10s);
  EXPECT_EQ(*parse_duration("5min"), 5min);
  EXPECT_EQ(*parse_duration("1h"), 1h);
  EXPECT_EQ(*parse_duration("14d"), 336h);
  EXPECT_EQ(*parse_duration("0ms"), 0ms);
}

TEST(Units, OtherDurationsAreRefused) {
  for (auto text : {"", "10", "s", "-1s", "1.5s", "10 s", "10S", "10m", "1h30min", "99999999999999999999d",
                    "106751991168d", "36526d"})
    EXPECT_FALSE(parse_duration(text)) << text;
  EXPECT_EQ(parse_duration("5m").error().text,
            "\"5m\" is no duration: a whole number with ms, s, min, h or d, as in 200ms or 14d");
}

TEST(Units, SizesAreBytesOrHaveABinaryUnit) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("1048588"), 1048588u);
  EXPECT_EQ(*parse_size("64KiB"), 65536u);
  EXPECT_EQ(*parse_size("512MiB"), 512ull << 20);
  EXPECT_EQ(*parse_size("4GiB"), 4ull << 30);
  EXPECT_EQ(*parse_size("1TiB"), 1ull << 40);
}

TEST(Units, OtherSizesAreRefused) {
  for (auto text : {"", "MiB", "-1", "1.5GiB", "1 MiB", "1MB", "1mib", "1M", "8388608TiB", "18446744073709551616"})
    EXPECT_FALSE(parse_size(text)) << text;
  EXPECT_EQ(parse_size("1MB").error().text,
            "\"1MB\" is no size: bytes, or a whole number with KiB, MiB, GiB or TiB, as in 512MiB");
}

TEST(Units, TextsGoThereAndBackInTheLargestUnit) {
  for (auto text : {"0ms", "1ms", "1500ms", "90s", "10min", "36h", "14d"})
    EXPECT_EQ(duration_text(*parse_duration(text)), text);
  EXPECT_EQ(duration_text(60'000ms), "1min");
  for (auto text : {"0", "1", "1025", "1KiB", "100MiB", "1536MiB", "2GiB", "3TiB"})
    EXPECT_EQ(size_text(*parse_size(text)), text);
}

TEST(Units, ShownTextsAreShortAndHarmless) {
  EXPECT_EQ(in_quotes("a b"), "\"a b\"");
  EXPECT_EQ(in_quotes("\x1b[2J\n"), "\"?[2J?\"");
  EXPECT_EQ(in_quotes(std::string(200, 'x')), "\"" + std::string(100, 'x') + "…\"");
}

}  // namespace
}  // namespace troupe
