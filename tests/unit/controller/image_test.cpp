#include "actors/controller/image.hpp"

#include <gtest/gtest.h>

#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

TEST(MetadataImage, FindsTopicsByNameAndId) {
  auto image = test::cluster_of(1);
  const controller core{{}, test::counted_ids()};
  test::apply_all(image, core.create_topics(image, {{.name = "orders"}}, false).records);
  const auto topic = image.find("orders");
  ASSERT_NE(topic, nullptr);
  EXPECT_EQ(image.find(topic->id), topic);
  EXPECT_EQ(image.find("order"), nullptr);
  EXPECT_EQ(image.find(test::id_of(99)), nullptr);
}

TEST(MetadataImage, AChangeOfOneTopicSharesTheOthers) {
  auto image = test::cluster_of(1);
  const controller core{{}, test::counted_ids()};
  test::apply_all(image, core.create_topics(image, {{.name = "a"}, {.name = "b"}}, false).records);
  auto before = image;
  test::apply_all(image, core.create_partitions(image, {{"a", 4, {}}}, false).records);
  EXPECT_EQ(before.find("a")->partitions.size(), 1u);
  EXPECT_EQ(image.find("a")->partitions.size(), 4u);
  EXPECT_EQ(image.find("b"), before.find("b"));
}

TEST(MetadataImage, ARecreatedTopicStartsAboveTheEpochsOfTheDeletedOne) {
  auto image = test::cluster_of(1);
  const controller core{{}, test::counted_ids()};
  for (int life = 0; life < 3; ++life) {
    test::apply_all(image, core.create_topics(image, {{.name = "orders"}}, false).records);
    EXPECT_EQ(image.find("orders")->partitions[0].epoch, leader_epoch{life});
    test::apply_all(image, core.create_partitions(image, {{"orders", 2, {}}}, false).records);
    EXPECT_EQ(image.find("orders")->partitions[1].epoch, leader_epoch{life});
    test::apply_all(image, core.delete_topics(image, {{"orders", {}}}).records);
  }
  EXPECT_EQ(image.first_epoch("other"), leader_epoch{0});
}

TEST(MetadataImage, ManyDeletedNamesAreFoldedIntoOneFloor) {
  auto image = test::cluster_of(1);
  const controller core{{}, test::counted_ids()};
  for (int life = 0; life < 3; ++life) {
    test::apply_all(image, core.create_topics(image, {{.name = "first"}}, false).records);
    test::apply_all(image, core.delete_topics(image, {{"first", {}}}).records);
  }
  for (std::size_t n = 0; n < metadata_image::retired_names_max; ++n) {
    const auto name = "t" + std::to_string(n);
    test::apply_all(image, core.create_topics(image, {{.name = name}}, false).records);
    test::apply_all(image, core.delete_topics(image, {{name, {}}}).records);
  }
  EXPECT_LE(image.retired_epochs.size(), metadata_image::retired_names_max);
  EXPECT_EQ(image.first_epoch("first"), leader_epoch{3});
  EXPECT_EQ(image.first_epoch("never seen"), leader_epoch{3});
}

TEST(MetadataImage, TheSameRecordsGiveTheSameImageAndASnapshotKeepsIt) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    random_source random{seed};
    const controller core{{.partitions_max = 60}, test::counted_ids()};
    auto image = test::cluster_of(3), twin = image;
    for (int step = 0; step < 200; ++step) {
      const auto records = test::random_step(random, core, image);
      test::apply_all(image, records);
      for (const auto& record : records)
        twin.apply(meta_offset{twin.applied.value() + 1}, decode_metadata_record(encode(record)).value());
      if (step % 20 != 0) continue;
      test::expect_same(image, twin);
      test::expect_same(image, metadata_image::restore(image.applied, image.snapshot()));
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ", step " << step;
    }
  }
}

TEST(MetadataImage, ASnapshotIsNeverLongerThanTheHistory) {
  random_source random{5};
  const controller core{{}, test::counted_ids()};
  auto image = test::cluster_of(3);
  for (int step = 0; step < 1000; ++step) test::apply_all(image, test::random_step(random, core, image));
  EXPECT_LE(image.snapshot().size(), static_cast<std::size_t>(image.applied.value()) + 1);
}

TEST(MetadataImageDeathTest, ARecordOutOfOrderStopsTheProcess) {
  auto image = test::cluster_of(1);
  EXPECT_DEATH(image.apply(meta_offset{5}, producer_ids_reserved{10}), "applied");
  EXPECT_DEATH(test::apply_all(image, {topic_deleted{test::id_of(0)}}), "gone");
}

}  // namespace
}  // namespace troupe
