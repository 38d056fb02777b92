#include "actors/controller/metadata_store.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/scratch.hpp"
#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

using bytes = std::vector<std::byte>;

/// A table in memory whose rows outlive it, and whose commits can be made to fail.
struct rows {
  std::map<bytes, bytes> all;
  std::optional<error> refuse;
};

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
    if (rows_.refuse) return *rows_.refuse;
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

std::unique_ptr<metadata_store> opened(rows& r, std::int64_t snapshot_every = 10'000) {
  auto store =
      metadata_store::open(std::make_unique<memory_table>(r), {.node = node_id{1}, .snapshot_every = snapshot_every});
  EXPECT_TRUE(store.ok()) << (store.ok() ? "" : store.error().text);
  return store.ok() ? std::move(*store) : nullptr;
}

std::vector<metadata_record> beginning() {
  return {cluster_formed{"c"}, node_registered{{node_id{1}, 1, {"localhost", 9092}, ""}}};
}

TEST(MetadataStore, GivesBackAfterAReopenWhatWasCommitted) {
  rows disk;
  auto store = opened(disk);
  EXPECT_EQ(store->image()->applied, meta_offset{-1});
  ASSERT_TRUE(store->commit(beginning()).ok());
  ASSERT_TRUE(store->commit({producer_ids_reserved{1000}}).ok());
  auto again = opened(disk);
  test::expect_same(*store->image(), *again->image());
  EXPECT_EQ(again->image()->applied, meta_offset{2});
}

TEST(MetadataStore, AnImageThatWasHandedOutNeverChanges) {
  rows disk;
  auto store = opened(disk);
  ASSERT_TRUE(store->commit(beginning()).ok());
  const auto before = store->image();
  ASSERT_TRUE(store->commit({producer_ids_reserved{1000}}).ok());
  EXPECT_EQ(before->next_producer_id, 0);
  EXPECT_EQ(store->image()->next_producer_id, 1000);
}

TEST(MetadataStore, SnapshotsReplaceTheRecordsThatTheyCover) {
  for (std::int64_t every : {1, 2, 7, 50}) {
    rows disk;
    random_source random{static_cast<std::uint64_t>(every)};
    const controller core{{.partitions_max = 100}, test::counted_ids()};
    auto store = opened(disk, every);
    ASSERT_TRUE(store->commit(beginning()).ok());
    for (int step = 0; step < 300; ++step) {
      ASSERT_TRUE(store->commit(test::random_step(random, core, *store->image())).ok());
      if (step % 10 != 0) continue;
      auto again = opened(disk, every);
      test::expect_same(*store->image(), *again->image());
      ASSERT_FALSE(HasFailure()) << "every " << every << ", step " << step;
      if (random.chance(0.3)) store = std::move(again);
    }
    // The identity, a snapshot, and fewer records than would make the next one.
    EXPECT_LT(disk.all.size(), 1 + store->image()->snapshot().size() + 30 + static_cast<std::size_t>(every));
  }
}

TEST(MetadataStore, ARefusedCommitChangesNothing) {
  rows disk;
  auto store = opened(disk);
  ASSERT_TRUE(store->commit(beginning()).ok());
  disk.refuse = error{errc::storage_full, "no space"};
  auto refused = store->commit({producer_ids_reserved{1000}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), errc::storage_full);
  EXPECT_EQ(store->image()->next_producer_id, 0);
  disk.refuse.reset();
  ASSERT_TRUE(store->commit({producer_ids_reserved{2000}}).ok());
  EXPECT_EQ(opened(disk)->image()->next_producer_id, 2000);
}

TEST(MetadataStore, RefusesTheDirectoryOfAnotherNodeOrOfANewerFormat) {
  rows disk;
  opened(disk);
  auto other = metadata_store::open(std::make_unique<memory_table>(disk), {.node = node_id{2}});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.code(), errc::wrong_format);
  EXPECT_NE(other.error().text.find("node 1"), std::string::npos) << other.error().text;

  store_be<std::uint32_t>(disk.all.begin()->second.data(), 2);
  auto newer = metadata_store::open(std::make_unique<memory_table>(disk), {.node = node_id{1}});
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.code(), errc::wrong_format);
  EXPECT_NE(newer.error().text.find("format 2"), std::string::npos) << newer.error().text;
}

TEST(MetadataStore, ASettingOfANewerVersionIsAnErrorAndNoCrash) {
  rows disk;
  auto store = opened(disk);
  ASSERT_TRUE(store->commit(beginning()).ok());
  const auto of_newer = encode(topic_created{uuid::random(), "t", false, {{}}, {{"setting.of.tomorrow", "1"}}});
  disk.all[{std::byte{'r'}, {}, {}, {}, {}, {}, {}, {}, std::byte{2}}] = of_newer;
  auto newer = metadata_store::open(std::make_unique<memory_table>(disk), {.node = node_id{1}});
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.code(), errc::wrong_format);
  EXPECT_NE(newer.error().text.find("setting.of.tomorrow"), std::string::npos) << newer.error().text;
}

TEST(MetadataStore, NamesWhatIsDamaged) {
  rows whole;
  auto store = opened(whole);
  ASSERT_TRUE(store->commit(beginning()).ok());
  ASSERT_TRUE(store->commit({producer_ids_reserved{1000}}).ok());

  const auto trouble = [](rows disk) {
    auto read = metadata_store::open(std::make_unique<memory_table>(disk), {.node = node_id{1}});
    EXPECT_FALSE(read.ok());
    return read.ok() ? error{} : read.error();
  };
  auto missing = whole;
  missing.all.erase(std::next(missing.all.begin(), 2));  // "i", record 0, record 1
  EXPECT_EQ(trouble(missing).code, errc::storage_damaged);
  EXPECT_NE(trouble(missing).text.find("record 2 follows record 0"), std::string::npos) << trouble(missing).text;

  auto garbage = whole;
  garbage.all.rbegin()->second.resize(3);
  EXPECT_EQ(trouble(garbage).code, errc::storage_damaged);
  auto stranger = whole;
  stranger.all[{std::byte{'z'}}] = {};
  EXPECT_EQ(trouble(stranger).code, errc::storage_damaged);
}

TEST(MetadataStore, LivesOnARealTable) {
  const test::scratch_directory scratch;
  const auto directory = scratch.path() / "metadata";
  for (int start = 0; start < 3; ++start) {
    auto store = metadata_store::open(directory, {.node = node_id{1}, .snapshot_every = 4});
    ASSERT_TRUE(store.ok()) << store.error().text;
    if (start == 0) {
      ASSERT_TRUE((*store)->commit(beginning()).ok());
    }
    EXPECT_EQ((*store)->image()->next_producer_id, start * 1000);
    ASSERT_TRUE((*store)->commit({producer_ids_reserved{(start + 1) * 1000}}).ok());
  }
}

}  // namespace
}  // namespace troupe
