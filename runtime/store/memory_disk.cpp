#include "runtime/store/memory_disk.hpp"

#include <algorithm>

namespace troupe::store {

namespace {
/// A segment that is filled costs no copies; a huge one that is not costs no memory.
constexpr std::uint64_t reserve_max = 4 << 20;
constexpr std::uint64_t sector_bytes = 512;
}  // namespace

class memory_segment final : public segment_file {
public:
  memory_segment(memory_disk& disk, const segment_name& name, std::shared_ptr<memory_disk::file> file)
      : disk_{disk}, path_{to_string(name)}, file_{std::move(file)} {}

  const std::string& path() const override { return path_; }

  result<std::uint64_t> append(std::uint64_t sequence, std::size_t size,
                               const std::function<void(byte_span)>& fill) override {
    std::scoped_lock lock{disk_.mutex_};
    const auto stored = stored_bytes(size);
    // Some pages of the tree come first, more or fewer.
    auto& bytes = file_->bytes;
    const auto start = file_->end + (sequence % 3) * page_bytes, end = start + page_head_bytes + stored;
    auto [failed, written] = std::exchange(disk_.fail_append_, {});
    auto kept = end;
    if (failed != errc{}) kept = start + static_cast<std::uint64_t>(static_cast<double>(end - start) * written);
    // A disk that gets full writes short.
    const auto most = bytes.size() + (disk_.capacity_ - std::min(disk_.capacity_, disk_.used()));
    if (kept > most) {
      failed = errc::storage_full;
      kept = most;
    }
    if (failed == errc{}) {
      bytes.resize(std::max<std::size_t>(bytes.size(), end));
      fill(byte_span{bytes}.subspan(start + page_head_bytes, stored));
    } else {
      std::vector<std::byte> all(end - start);
      fill(byte_span{all}.subspan(page_head_bytes));
      kept = std::max(start, kept - kept % sector_bytes);
      bytes.resize(std::max<std::size_t>(bytes.size(), kept == start ? 0 : kept));
      std::copy_n(all.begin(), kept - start, bytes.begin() + static_cast<std::ptrdiff_t>(start));
    }
    file_->mark_dirty(file_->end);
    if (failed == errc::storage_full) {
      void_block(start + page_head_bytes);
      return {failed, "no space for " + path_};
    }
    file_->end = bytes.size();
    if (failed != errc{}) return {failed, "write to " + path_ + " failed"};
    return start + page_head_bytes;
  }

  result<void> sync() override {
    std::scoped_lock lock{disk_.mutex_};
    if (std::exchange(disk_.fail_sync_, false)) return {errc::storage_failed, "sync of " + path_ + " failed"};
    file_->synced = file_->bytes.size();
    file_->dirty.clear();
    return {};
  }
  void finish() override {}

  result<void> read(std::uint64_t position, byte_span into) const override {
    std::scoped_lock lock{disk_.mutex_};
    if (position > file_->bytes.size() || into.size() > file_->bytes.size() - position)
      return {errc::storage_damaged, path_ + " ends before position " + std::to_string(position + into.size())};
    std::copy_n(file_->bytes.begin() + static_cast<std::ptrdiff_t>(position), into.size(), into.begin());
    return {};
  }
  std::uint64_t size() const override {
    std::scoped_lock lock{disk_.mutex_};
    return file_->bytes.size();
  }
  std::shared_ptr<const int> descriptor() const override { return nullptr; }
  bool resident(std::uint64_t, std::uint64_t) const override { return false; }

  result<void> write_index(byte_view bytes) override {
    std::scoped_lock lock{disk_.mutex_};
    if (disk_.used() + bytes.size() > disk_.capacity_) return {errc::storage_full, "no space for the index"};
    file_->index.assign(bytes.begin(), bytes.end());
    return {};
  }
  result<void> read_index(std::uint64_t position, byte_span into) const override {
    std::scoped_lock lock{disk_.mutex_};
    if (position > file_->index.size() || into.size() > file_->index.size() - position)
      return {errc::storage_damaged, "the index of " + path_ + " is too short"};
    std::copy_n(file_->index.begin() + static_cast<std::ptrdiff_t>(position), into.size(), into.begin());
    return {};
  }
  std::uint64_t index_size() const override {
    std::scoped_lock lock{disk_.mutex_};
    return file_->index.size();
  }

private:
  /// As on a real disk: a block whose commit failed must not be found there later.
  void void_block(std::uint64_t position) {
    auto& bytes = file_->bytes;
    if (position >= bytes.size()) return;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(position),
                std::min<std::size_t>(block_header_bytes, bytes.size() - position), std::byte{0});
  }

  memory_disk& disk_;
  const std::string path_;
  std::shared_ptr<memory_disk::file> file_;
};

void memory_disk::file::mark_dirty(std::uint64_t from) {
  while (!dirty.empty() && dirty.back() >= from / page_bytes) dirty.pop_back();
  for (auto page = from / page_bytes; page * page_bytes < bytes.size(); ++page) dirty.push_back(page);
}

void memory_disk::cut_power(random_source& random, double survives) {
  constexpr double torn = 0.25;
  std::scoped_lock lock{mutex_};
  for (auto& [name, old] : files_) {
    auto fresh = std::make_shared<file>(*old);  // who still holds the old one does no harm
    auto& bytes = fresh->bytes;
    auto end = fresh->synced;
    const auto lose = [&](std::uint64_t at, std::uint64_t count) {
      if (at < bytes.size())
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), std::min<std::size_t>(count, bytes.size() - at),
                    std::byte{0});
    };
    const auto keep = [&](std::uint64_t at, std::uint64_t count) {
      end = std::max<std::size_t>(end, std::min<std::size_t>(bytes.size(), at + count));
    };
    for (const auto page : fresh->dirty) {
      const auto at = page * page_bytes;
      if (random.chance(survives)) {
        keep(at, page_bytes);
      } else if (random.chance(torn)) {
        for (std::uint64_t sector = 0; sector < page_bytes; sector += sector_bytes)
          random.chance(0.5) ? keep(at + sector, sector_bytes) : lose(at + sector, sector_bytes);
      } else {
        lose(at, page_bytes);
      }
    }
    bytes.resize(end);
    fresh->end = fresh->synced = end;
    fresh->dirty.clear();
    old = std::move(fresh);
  }
}

bool memory_disk::flip_bit(const segment_name& name, std::uint64_t byte, unsigned bit) {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  if (it == files_.end() || byte >= it->second->bytes.size()) return false;
  it->second->bytes[byte] ^= static_cast<std::byte>(1u << bit);
  return true;
}

bool memory_disk::flip_index_bit(const segment_name& name, std::uint64_t byte, unsigned bit) {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  if (it == files_.end() || byte >= it->second->index.size()) return false;
  it->second->index[byte] ^= static_cast<std::byte>(1u << bit);
  return true;
}

bool memory_disk::cut(const segment_name& name, std::uint64_t bytes) {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  if (it == files_.end() || bytes >= it->second->bytes.size()) return false;
  it->second->bytes.resize(bytes);
  it->second->synced = std::min<std::size_t>(it->second->synced, bytes);
  it->second->end = std::min<std::size_t>(it->second->end, bytes);
  std::erase_if(it->second->dirty, [&](std::uint64_t page) { return (page + 1) * page_bytes > bytes; });
  return true;
}

std::uint64_t memory_disk::index_bytes_of(const segment_name& name) const {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  return it == files_.end() ? 0 : it->second->index.size();
}

std::uint64_t memory_disk::bytes_of(const segment_name& name) const {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  return it == files_.end() ? 0 : it->second->bytes.size();
}

result<std::unique_ptr<segment_file>> memory_disk::create(const segment_name& name, std::uint64_t segment_bytes) {
  std::scoped_lock lock{mutex_};
  if (used() + 2 * page_bytes > capacity_) return {errc::storage_full, "no space for " + to_string(name)};
  auto made = std::make_shared<file>();
  made->bytes.reserve(std::min<std::uint64_t>(segment_bytes, reserve_max));
  made->bytes.resize(2 * page_bytes);  // where LMDB has its meta pages
  made->end = made->synced = made->bytes.size();
  files_[name] = made;
  return std::unique_ptr<segment_file>{std::make_unique<memory_segment>(*this, name, made)};
}

result<std::unique_ptr<segment_file>> memory_disk::open(const segment_name& name) {
  std::scoped_lock lock{mutex_};
  auto it = files_.find(name);
  if (it == files_.end()) return {errc::storage_failed, to_string(name) + " does not exist"};
  return std::unique_ptr<segment_file>{std::make_unique<memory_segment>(*this, name, it->second)};
}

result<void> memory_disk::remove(const segment_name& name) {
  std::scoped_lock lock{mutex_};
  files_.erase(name);
  return {};
}

result<std::vector<segment_name>> memory_disk::list() {
  std::scoped_lock lock{mutex_};
  std::vector<segment_name> out;
  for (const auto& [name, f] : files_) out.push_back(name);
  return out;
}

segment_device::space memory_disk::free_space() {
  std::scoped_lock lock{mutex_};
  return {capacity_ - std::min(capacity_, used()), capacity_};
}

std::uint64_t memory_disk::used_bytes() const {
  std::scoped_lock lock{mutex_};
  return used();
}

std::uint64_t memory_disk::used() const {
  std::uint64_t sum = 0;
  for (const auto& [name, f] : files_) sum += f->bytes.size() + f->index.size();
  return sum;
}

// -- memory_table ---------------------------------------------------------------------------------------

namespace {
std::vector<std::byte> vector_of(byte_view bytes) {
  return {bytes.begin(), bytes.end()};
}
}  // namespace

result<std::optional<std::vector<std::byte>>> memory_table::get(byte_view key) const {
  std::scoped_lock lock{contents_->mutex};
  auto it = contents_->rows.find(vector_of(key));
  if (it == contents_->rows.end()) return std::optional<std::vector<std::byte>>{};
  return std::optional{it->second};
}

result<void> memory_table::scan(byte_view from, byte_view to,
                                const std::function<bool(byte_view key, byte_view value)>& visit) const {
  std::scoped_lock lock{contents_->mutex};
  const auto end = to.empty() ? contents_->rows.end() : contents_->rows.lower_bound(vector_of(to));
  for (auto it = contents_->rows.lower_bound(vector_of(from)); it != end; ++it)
    if (!visit(it->first, it->second)) break;
  return {};
}

result<void> memory_table::commit(const std::vector<change>& changes) {
  std::scoped_lock lock{contents_->mutex};
  for (const auto& c : changes) {
    if (c.value)
      contents_->rows[c.key] = *c.value;
    else
      contents_->rows.erase(c.key);
  }
  return {};
}

}  // namespace troupe::store
