#pragma once

#include <map>
#include <memory>
#include <vector>

#include "actors/controller/image.hpp"
#include "actors/controller/partition_plan.hpp"

namespace troupe {

/// What the controller is about to write: the image with it applied, and the records. Decisions that go into one batch
/// see each other through it.
///
/// Offsets in it are guesses (other entries of the log may come between); records carry none of them.
class draft {
public:
  explicit draft(std::shared_ptr<const metadata_image> base) : base_{std::move(base)} {}

  /// Without the changes of partitions since the last record: ask `partition` for those.
  const metadata_image& image() const { return copy_ ? *copy_ : *base_; }
  /// nullptr: there is none.
  const partition_state* partition(const partition_ref&) const;
  /// `see(where, state, topic)` for every partition, in order, until it returns false. It may `set` partitions.
  template <class See>
  void each_partition(See see) const {
    for (const auto& [name, t] : image().topics)
      for (std::size_t i = 0; i < t->partitions.size(); ++i) {
        const partition_ref where{t->id, partition_index{static_cast<std::int32_t>(i)}};
        if (!see(where, *partition(where, *t), *t)) return;
      }
  }

  /// Nothing, when it is as it was.
  void set(const partition_ref&, partition_state);
  void add(metadata_record);
  /// Shards of one kind; `state.since` does not count.
  void set(const std::string& kind, std::uint32_t shard, shard_state);
  /// All changes become records; `image` has them all.
  void flush();

  /// So many changes of partitions and shards, and other records.
  std::size_t size() const { return changes_; }
  /// After `flush`.
  std::vector<metadata_record> take() { return std::move(records_); }

private:
  const partition_state* partition(const partition_ref&, const topic&) const;
  void write(metadata_record);

  std::shared_ptr<const metadata_image> base_;
  std::unique_ptr<metadata_image> copy_;
  std::map<partition_ref, partition_state> partitions_;
  std::map<std::string, std::map<std::uint32_t, shard_state>> shards_;
  std::vector<metadata_record> records_;
  std::size_t changes_{0};
};

}  // namespace troupe
