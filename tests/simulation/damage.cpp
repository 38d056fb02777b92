#include "tests/simulation/damage.hpp"

#include <algorithm>

#include "runtime/store/recovery.hpp"

namespace troupe::sim {

using namespace store;

namespace {

/// A block that a start has to miss: a later one says that it was durable.
std::string flip_in_block(machine& m, random_source& random, const catalogue::segment_row& row) {
  const auto file = m.disk.open(row.name);
  if (!file) return {};
  const auto scan = scan_segment(**file, row.id);
  if (!scan) return {};
  std::uint64_t sure = row.next;
  for (const auto& b : scan->blocks) sure = std::max(sure, b.whole ? b.header.durable_below : 0);
  std::vector<const scanned_block*> blocks;
  for (const auto& b : scan->blocks)
    if (b.header.sequence < sure) blocks.push_back(&b);
  if (blocks.empty()) return {};
  const auto& block = *blocks[random.below(blocks.size())];
  const auto byte = block.position + random.below(block.header.size);
  if (!m.disk.flip_bit(row.name, byte, static_cast<unsigned>(random.below(8)))) return {};
  return "a bit of block " + std::to_string(block.header.sequence) + " of " + to_string(row.name);
}

std::string damage_ended(machine& m, random_source& random, const catalogue::segment_row& row) {
  const auto name = to_string(row.name);
  const auto bytes = m.disk.bytes_of(row.name), index = m.disk.index_bytes_of(row.name);
  switch (random.below(4)) {
    case 0:
      if (index == 0) return {};
      m.disk.flip_index_bit(row.name, random.below(index), static_cast<unsigned>(random.below(8)));
      return "a bit of the index of " + name;
    case 1: {
      const auto end = bytes * random.below(100) / 100;
      return m.disk.cut(row.name, end) ? name + " ends at " + std::to_string(end) : "";
    }
    default:
      return flip_in_block(m, random, row);
  }
}

}  // namespace

std::string damage_logs(machine& m, random_source& random) {
  const auto known = catalogue::open(std::make_unique<memory_table>(m.table("catalogue")), 1);
  if (!known) return {};
  const auto segments = (*known)->segments();
  if (segments.empty()) return {};
  const auto& row = segments[random.below(segments.size())];
  return row.next == 0 ? flip_in_block(m, random, row) : damage_ended(m, random, row);
}

std::string damage_metadata(node_disk& d, random_source& random) {
  auto& s = d.stored;
  const auto newest = !s.entries.empty() ? s.entries.back().term : s.snapshot ? s.snapshot->term : raft_term{};
  switch (random.below(3)) {
    case 0:
      if (!s.hard || newest == raft_term{}) return {};
      s.hard.reset();
      return "its vote";
    case 1:
      if (s.entries.size() < 3) return {};
      s.entries.erase(s.entries.begin() + 1 + static_cast<std::ptrdiff_t>(random.below(s.entries.size() - 2)));
      return "an entry of its metadata log";
    default:
      if (!s.snapshot || s.snapshot->index < raft_index{1} ||
          (!s.entries.empty() && s.entries.front().index == raft_index{1}))
        return {};
      if (s.entries.empty()) return {};
      s.snapshot.reset();
      return "its metadata snapshot";
  }
}

}  // namespace troupe::sim
