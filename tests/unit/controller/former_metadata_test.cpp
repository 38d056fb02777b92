#include "actors/controller/former_metadata.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/former_metadata_store.hpp"
#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

using bytes = std::vector<std::byte>;

struct rows {
  std::map<bytes, bytes> all;
};

/// A table in memory whose rows outlive it.
class memory_table final : public store::table {
public:
  explicit memory_table(rows& r) : rows_{r} {}
  result<std::optional<bytes>> get(byte_view key) const override {
    const auto at = rows_.all.find(bytes{key.begin(), key.end()});
    return at == rows_.all.end() ? std::nullopt : std::optional{at->second};
  }
  result<void> scan(byte_view from, byte_view to,
                    const std::function<bool(byte_view, byte_view)>& visit) const override {
    for (auto at = rows_.all.lower_bound(bytes{from.begin(), from.end()}); at != rows_.all.end(); ++at)
      if ((!to.empty() && at->first >= bytes{to.begin(), to.end()}) || !visit(at->first, at->second)) break;
    return {};
  }
  result<void> commit(const std::vector<change>& changes) override {
    for (const auto& c : changes)
      if (c.value)
        rows_.all[c.key] = *c.value;
      else
        EXPECT_EQ(rows_.all.erase(c.key), 1u) << "deletes what is not there";
    return {};
  }

private:
  rows& rows_;
};

result<std::optional<former_metadata>> read(rows& disk, node_id node = node_id{1}) {
  return read_former_metadata(memory_table{disk}, node);
}

error trouble_with(rows disk, node_id node = node_id{1}) {
  const auto found = read(disk, node);
  EXPECT_FALSE(found.ok());
  return found.ok() ? error{} : found.error();
}

std::vector<metadata_record> beginning() {
  return {cluster_formed{"c"}, node_registered{{node_id{1}, 1, {"localhost", 9092}, ""}}};
}

/// "i", record 0, record 1, record 2.
rows three_records() {
  rows disk;
  memory_table table{disk};
  test::former_metadata_store store{table, node_id{1}};
  EXPECT_TRUE(store.commit(beginning()).ok());
  EXPECT_TRUE(store.commit({producer_ids_reserved{1000}}).ok());
  return disk;
}

TEST(FormerMetadata, AnEmptyTableNeverWasSuchANodes) {
  rows disk;
  const auto found = read(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(*found);
}

TEST(FormerMetadata, GivesBackWhatWasWrittenWithAndWithoutSnapshots) {
  for (std::int64_t every : {1, 2, 7, 50}) {
    rows disk;
    memory_table table{disk};
    random_source random{static_cast<std::uint64_t>(every)};
    const controller core{{.partitions_max = 100}, test::counted_ids()};
    test::former_metadata_store store{table, node_id{1}, every};
    ASSERT_TRUE(store.commit(beginning()).ok());
    for (int step = 0; step < 300; ++step) {
      ASSERT_TRUE(store.commit(test::random_step(random, core, store.image())).ok());
      if (step % 10 != 0) continue;
      const auto found = read(disk);
      ASSERT_TRUE(found.ok()) << found.error().text;
      test::expect_same(store.image(), (*found)->image);
      EXPECT_EQ((*found)->rows.size(), disk.all.size());
      ASSERT_FALSE(HasFailure()) << "every " << every << ", step " << step;
    }
  }
}

TEST(FormerMetadata, RefusesTheDirectoryOfAnotherNodeOrOfANewerFormat) {
  auto disk = three_records();
  const auto other = trouble_with(disk, node_id{2});
  EXPECT_EQ(other.code, errc::wrong_format);
  EXPECT_NE(other.text.find("node 1"), std::string::npos) << other.text;

  store_be<std::uint32_t>(disk.all.begin()->second.data(), 2);
  const auto newer = trouble_with(disk);
  EXPECT_EQ(newer.code, errc::wrong_format);
  EXPECT_NE(newer.text.find("format 2"), std::string::npos) << newer.text;
}

TEST(FormerMetadata, ASettingOfANewerVersionIsAnErrorAndNoCrash) {
  auto disk = three_records();
  const auto of_newer = encode(topic_created{uuid::random(), "t", false, {{}}, {{"setting.of.tomorrow", "1"}}});
  disk.all[{std::byte{'r'}, {}, {}, {}, {}, {}, {}, {}, std::byte{3}}] = of_newer;
  const auto newer = trouble_with(disk);
  EXPECT_EQ(newer.code, errc::wrong_format);
  EXPECT_NE(newer.text.find("setting.of.tomorrow"), std::string::npos) << newer.text;
}

TEST(FormerMetadata, NamesWhatIsDamaged) {
  const auto whole = three_records();
  auto missing = whole;
  missing.all.erase(std::next(missing.all.begin(), 2));
  EXPECT_EQ(trouble_with(missing).code, errc::storage_damaged);
  EXPECT_NE(trouble_with(missing).text.find("record 2 follows record 0"), std::string::npos);

  auto garbage = whole;
  garbage.all.rbegin()->second.resize(3);
  EXPECT_EQ(trouble_with(garbage).code, errc::storage_damaged);
  auto stranger = whole;
  stranger.all[{std::byte{'z'}}] = {};
  EXPECT_EQ(trouble_with(stranger).code, errc::storage_damaged);
}

}  // namespace
}  // namespace troupe
