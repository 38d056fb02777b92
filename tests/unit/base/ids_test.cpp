#include "runtime/base/ids.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(Uuid, TextGoesThereAndBack) {
  for (int i = 0; i < 100; ++i) {
    const auto id = uuid::random();
    EXPECT_EQ(id.text().size(), 22u);
    EXPECT_NE(id.text().front(), '-');
    EXPECT_EQ(uuid::parse(id.text()), id);
  }
  EXPECT_EQ(uuid{}.text(), "AAAAAAAAAAAAAAAAAAAAAA");
}

TEST(Uuid, RefusesOtherTexts) {
  EXPECT_FALSE(uuid::parse(""));
  EXPECT_FALSE(uuid::parse("AAAAAAAAAAAAAAAAAAAAA"));
  EXPECT_FALSE(uuid::parse("AAAAAAAAAAAAAAAAAAAA A"));
}

}  // namespace
}  // namespace troupe
