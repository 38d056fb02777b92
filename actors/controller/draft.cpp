#include "actors/controller/draft.hpp"

namespace troupe {

const partition_state* draft::partition(const partition_ref& where) const {
  if (const auto at = partitions_.find(where); at != partitions_.end()) return &at->second;
  return image().find(where);
}

const partition_state* draft::partition(const partition_ref& where, const topic& t) const {
  if (!partitions_.empty())
    if (const auto at = partitions_.find(where); at != partitions_.end()) return &at->second;
  return &t.partitions[static_cast<std::size_t>(where.index.value())];
}

void draft::set(const partition_ref& where, partition_state state) {
  const auto* before = partition(where);
  TROUPE_CHECK(before != nullptr);
  if (state == *before) return;
  partitions_.insert_or_assign(where, std::move(state));
  ++changes_;
}

void draft::set(const std::string& kind, std::uint32_t shard, shard_state state) {
  shards_[kind].insert_or_assign(shard, state);
  ++changes_;
}

void draft::add(metadata_record record) {
  flush();
  write(std::move(record));
  ++changes_;
}

void draft::flush() {
  if (!partitions_.empty()) {
    partitions_changed r;
    for (auto& [where, state] : partitions_) r.changes.push_back({where, std::move(state)});
    partitions_.clear();
    write(std::move(r));
  }
  for (auto& [kind, changed] : std::exchange(shards_, {})) {
    shards_changed r{kind, static_cast<std::uint32_t>(image().shards.at(kind).size()), {}};
    for (const auto& [shard, state] : changed) r.changes.push_back({shard, state});
    write(std::move(r));
  }
}

void draft::write(metadata_record record) {
  if (!copy_) copy_ = std::make_unique<metadata_image>(*base_);
  copy_->apply(meta_offset{copy_->applied.value() + 1}, record);
  records_.push_back(std::move(record));
}

}  // namespace troupe
