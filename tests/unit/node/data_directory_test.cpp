#include "apps/node/data_directory.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/scratch.hpp"

namespace troupe {
namespace {

namespace fs = std::filesystem;

class DataDirectory : public testing::Test {
protected:
  test::scratch_directory scratch_;
  const fs::path path_{scratch_.path() / "data"};
};

TEST_F(DataDirectory, KeepsItsIdentityOverRestarts) {
  uuid disk;
  {
    auto first = data_directory::open(path_, node_id{1});
    ASSERT_TRUE(first) << first.error().text;
    disk = first->disk_id();
  }
  auto second = data_directory::open(path_, node_id{1});
  ASSERT_TRUE(second) << second.error().text;
  EXPECT_EQ(second->disk_id(), disk);
  EXPECT_FALSE(disk.is_nil());
}

TEST_F(DataDirectory, IsNotSharedByTwoNodes) {
  auto first = data_directory::open(path_, node_id{1});
  ASSERT_TRUE(first);
  auto second = data_directory::open(path_, node_id{1});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.code(), errc::in_use);
  EXPECT_NE(second.error().text.find(std::to_string(::getpid())), std::string::npos) << second.error().text;
}

TEST_F(DataDirectory, OfAnotherNodeIsRefusedAndNamed) {
  { ASSERT_TRUE(data_directory::open(path_, node_id{1})); }
  auto other = data_directory::open(path_, node_id{2});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.code(), errc::wrong_format);
  EXPECT_NE(other.error().text.find("belongs to node 1"), std::string::npos) << other.error().text;
}

TEST_F(DataDirectory, ThatHoldsSomethingElseIsLeftAlone) {
  fs::create_directories(path_);
  std::ofstream{path_ / "thesis.txt"} << "years of work";
  auto opened = data_directory::open(path_, node_id{1});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.code(), errc::wrong_format);
  EXPECT_FALSE(fs::exists(path_ / "lock"));
}

TEST_F(DataDirectory, OfANewerFormatIsRefused) {
  { ASSERT_TRUE(data_directory::open(path_, node_id{1})); }
  std::ofstream{path_ / "identity"} << "format=2\nnode-id=1\ndisk-id=" << uuid::random().text() << "\n";
  auto opened = data_directory::open(path_, node_id{1});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.code(), errc::wrong_format);
}

TEST_F(DataDirectory, WithADamagedIdentitySaysSo) {
  { ASSERT_TRUE(data_directory::open(path_, node_id{1})); }
  std::ofstream{path_ / "identity"} << "fo";
  auto opened = data_directory::open(path_, node_id{1});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.code(), errc::storage_damaged);
}

}  // namespace
}  // namespace troupe
