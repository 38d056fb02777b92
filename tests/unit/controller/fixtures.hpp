#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "actors/controller/controller.hpp"
#include "runtime/base/random.hpp"

/// What the controller's tests share: images made of records, and histories that a seed picks.
namespace troupe::test {

inline uuid id_of(std::uint64_t n) {
  uuid id;
  store_be(reinterpret_cast<std::byte*>(id.bytes.data()) + 8, n + 1);
  return id;
}

/// Ids in a row: what the controller would make is known in advance.
inline controller::id_source counted_ids() {
  return [n = std::uint64_t{0}]() mutable { return id_of(n++); };
}

inline void apply_all(metadata_image& image, const std::vector<metadata_record>& records) {
  for (const auto& record : records) image.apply(meta_offset{image.applied.value() + 1}, record);
}

/// A cluster with nodes 1 to `nodes`.
inline metadata_image cluster_of(int nodes) {
  metadata_image image;
  apply_all(image, {cluster_formed{"test-cluster"}});
  for (int n = 1; n <= nodes; ++n)
    apply_all(image, {node_registered{{node_id{n}, n, {"127.0.0.1", static_cast<std::uint16_t>(9091 + n)}, ""}}});
  return image;
}

inline void expect_same(const metadata_image& a, const metadata_image& b) {
  EXPECT_EQ(a.applied, b.applied);
  EXPECT_EQ(a.cluster_id, b.cluster_id);
  EXPECT_EQ(a.nodes, b.nodes);
  EXPECT_EQ(a.names, b.names);
  EXPECT_EQ(a.partition_count, b.partition_count);
  EXPECT_EQ(a.next_producer_id, b.next_producer_id);
  EXPECT_EQ(a.retired_epochs, b.retired_epochs);
  EXPECT_EQ(a.retired_floor, b.retired_floor);
  EXPECT_EQ(a.shards, b.shards);
  EXPECT_EQ(a.voter_count, b.voter_count);
  EXPECT_EQ(a.hash(), b.hash());
  ASSERT_EQ(a.topics.size(), b.topics.size());
  for (auto x = a.topics.begin(), y = b.topics.begin(); x != a.topics.end(); ++x, ++y) {
    EXPECT_EQ(x->first, y->first);
    EXPECT_EQ(*x->second, *y->second);
  }
}

/// Some request to the controller, mostly sensible; the records that it leads to.
inline std::vector<metadata_record> random_step(random_source& random, const controller& core,
                                                const metadata_image& image) {
  const auto name = [&] { return "t" + std::to_string(random.below(12)); };
  switch (random.below(6)) {
    case 0:
    case 1: {
      new_topic t{.name = name(), .partitions = static_cast<std::int32_t>(1 + random.below(5))};
      t.replication = static_cast<std::int16_t>(1 + random.below(3));
      if (random.chance(0.5)) t.overrides["retention.ms"] = std::to_string(random.below(1'000'000));
      return core.create_topics(image, {t}, false).records;
    }
    case 2:
      return core.delete_topics(image, {{name(), {}}}).records;
    case 3:
      return core.create_partitions(image, {{name(), static_cast<std::int32_t>(2 + random.below(8)), {}}}, false)
          .records;
    case 4: {
      setting_change c{.name = "max.message.bytes", .value = std::to_string(random.below(1'000'000))};
      if (random.chance(0.3)) c.op = setting_change::operation::remove;
      return core.alter_configs(image, {{name(), {c}}}, false).records;
    }
    default:
      return core.reserve_producer_ids(image, 1 + static_cast<std::int64_t>(random.below(1000))).records;
  }
}

}  // namespace troupe::test
