#include "tests/unit/store/log_support.hpp"

namespace troupe::store {
namespace {

TEST(LogStore, WhatWasAppendedIsReadBackAtOnceAndAfterARestart) {
  store_fixture f;
  f.open();
  const auto id = f.make(0), other = f.make(1);
  const auto batches = make_batches(0, 50);
  f.append(id, batches);
  f.append(other, {make_batch(0, 5)});
  EXPECT_EQ(*read_text(*f.store, id, 0), text_of(batches));
  EXPECT_GT(f.store->stats().hot_reads, 0u);
  EXPECT_EQ(f.state(id).end, log_offset{50});

  f.open();
  EXPECT_EQ(*read_text(*f.store, id, 0), text_of(batches));
  EXPECT_EQ(*read_text(*f.store, other, 3), text_of({make_batch(0, 5)}));  // the batch that holds 3
  EXPECT_GT(f.store->stats().cold_reads, 0u);
  EXPECT_EQ(f.store->create({identity(0)}, durability::group)->at(0), id);
  EXPECT_EQ(f.said("segment_recovered"), "");  // an orderly stop leaves nothing to scan
  EXPECT_EQ(f.said("log_damaged"), "");
}

TEST(LogStore, ReadsRespectTheirLimits) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, make_batches(0, 10, 1000));
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 2500, true})->next, log_offset{2});
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 10, true})->next, log_offset{1});
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 10, false})->next, log_offset{0});
  EXPECT_EQ(read_now(*f.store, id, 3, {log_offset{5}, 1 << 20, true})->bytes, 2000u);
  EXPECT_TRUE(read_now(*f.store, id, 10, {log_offset{20}, 1 << 20, true})->slices.empty());
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 1 << 20, true})->slices.size(), 1u);  // neighbours are merged
  ASSERT_TRUE(f.trim(id, 4));
  EXPECT_EQ(read_now(*f.store, id, 3, {log_offset{10}, 1 << 20, true}).code(), errc::offset_out_of_range);
}

}  // namespace
}  // namespace troupe::store
