#include "actors/node/news_in_order.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

std::shared_ptr<const metadata_image> image_at(std::int64_t offset) {
  auto image = std::make_shared<metadata_image>();
  image->applied = meta_offset{offset};
  return image;
}

TEST(NewsInOrder, CountsWhatIsTakenInWhenAllBeforeItIs) {
  const auto ten = image_at(10), eleven = image_at(11), twelve = image_at(12);
  news_in_order news;
  for (const auto& image : {ten, eleven, twelve}) news.told(image);
  EXPECT_EQ(news.taken_in(eleven), nullptr);
  EXPECT_EQ(news.taken_in(ten), eleven);
  EXPECT_EQ(news.taken_in(twelve), twelve);
}

TEST(NewsInOrder, CountsWhatIsToldTwiceAfterTheSecondTime) {
  const auto ten = image_at(10), eleven = image_at(11);
  news_in_order news;
  for (const auto& image : {ten, ten, eleven}) news.told(image);
  EXPECT_EQ(news.taken_in(eleven), nullptr);
  EXPECT_EQ(news.taken_in(ten), ten);
  EXPECT_EQ(news.taken_in(ten), eleven);
}

TEST(NewsInOrder, OverlooksWhatNobodyWasTold) {
  news_in_order news;
  EXPECT_EQ(news.taken_in(image_at(10)), nullptr);
}

}  // namespace
}  // namespace troupe
