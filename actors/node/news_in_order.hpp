#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "actors/controller/image.hpp"

namespace troupe {

/// Metadata that replicas and entities are told. A newer image may be taken in before an older one, since each goes
/// only to those whom it concerns; it counts once all before it are taken in, too.
///
/// Pure. Bound: the images that somebody has not taken in yet.
class news_in_order {
public:
  using image_ptr = std::shared_ptr<const metadata_image>;

  void told(image_ptr image) { told_.push_back({std::move(image), false}); }
  /// Everybody has taken this image in. The newest that counts now; null: none more than before.
  image_ptr taken_in(const image_ptr& image) {
    const auto waits = [&](const auto& n) { return !n.taken_in && n.image == image; };
    if (const auto at = std::ranges::find_if(told_, waits); at != told_.end()) at->taken_in = true;
    image_ptr newest;
    for (; !told_.empty() && told_.front().taken_in; told_.pop_front()) newest = std::move(told_.front().image);
    return newest;
  }

private:
  struct news {
    image_ptr image;
    bool taken_in;
  };
  std::deque<news> told_;
};

}  // namespace troupe
