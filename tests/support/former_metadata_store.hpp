#pragma once

#include <memory>
#include <vector>

#include "actors/controller/former_metadata.hpp"

namespace troupe::test {

/// Writes metadata as nodes did before there were quorums: what actors/controller/former_metadata.hpp has to read.
class former_metadata_store {
public:
  former_metadata_store(store::table& table, node_id node, std::int64_t snapshot_every = 10'000)
      : table_{table}, snapshot_every_{snapshot_every} {
    bytes mine(8);
    store_be<std::uint32_t>(mine.data(), 1);
    store_be(mine.data() + 4, node.value());
    (void)table_.commit({{{std::byte{'i'}}, std::move(mine)}});
  }

  const metadata_image& image() const { return image_; }

  result<void> commit(const std::vector<metadata_record>& records) {
    if (records.empty()) return {};
    std::vector<store::table::change> changes;
    const auto before = image_.applied.value();
    for (const auto& record : records) {
      const meta_offset at{image_.applied.value() + 1};
      image_.apply(at, record);
      changes.push_back({record_key(at.value()), encode(record)});
    }
    if (image_.applied.value() - snapshot_at_ < snapshot_every_) return table_.commit(changes);
    changes.clear();  // the snapshot says it all
    for (auto offset = snapshot_at_ + 1; offset <= before; ++offset)
      changes.push_back({record_key(offset), std::nullopt});
    for (std::uint32_t i = 0; i < rows_; ++i) changes.push_back({snapshot_key(snapshot_at_, i), std::nullopt});
    snapshot_at_ = image_.applied.value();
    rows_ = 0;
    for (const auto& record : image_.snapshot())
      changes.push_back({snapshot_key(snapshot_at_, rows_++), encode(record)});
    return table_.commit(changes);
  }

private:
  using bytes = std::vector<std::byte>;
  static bytes record_key(std::int64_t offset) {
    bytes key(9, std::byte{'r'});
    store_be(key.data() + 1, offset);
    return key;
  }
  static bytes snapshot_key(std::int64_t offset, std::uint32_t index) {
    bytes key(13, std::byte{'s'});
    store_be(key.data() + 1, offset);
    store_be(key.data() + 9, index);
    return key;
  }

  store::table& table_;
  const std::int64_t snapshot_every_;
  metadata_image image_;
  std::int64_t snapshot_at_{-1};
  std::uint32_t rows_{0};
};

}  // namespace troupe::test
