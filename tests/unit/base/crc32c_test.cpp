#include "runtime/base/crc32c.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/random.hpp"

namespace troupe {
namespace {

TEST(Crc32c, KnowsTheVectorsOfTheStandard) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32)), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, FastAndPortableFormsAgreeAtEveryLengthAndAlignment) {
  random_source random{1};
  std::vector<std::byte> bytes(40000);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  for (int round = 0; round < 500; ++round) {
    const auto from = random.below(64);
    const auto size = round < 300 ? random.below(3000) : random.below(bytes.size() - from);
    const byte_view view{bytes.data() + from, size};
    const auto seed = static_cast<std::uint32_t>(random());
    ASSERT_EQ(crc32c(view, seed), crc32c_portable(view, seed)) << "from " << from << " size " << size;
  }
}

TEST(Crc32c, GoesOnFromTheResultOfTheBytesBefore) {
  const auto text = as_bytes("the log is the database");
  EXPECT_EQ(crc32c(text.subspan(7), crc32c(text.first(7))), crc32c(text));
}

}  // namespace
}  // namespace troupe
