#include "runtime/store/table.hpp"

#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <limits>
#include <mutex>
#include <system_error>

#include "runtime/base/crc32c.hpp"
#include "runtime/store/environment.hpp"
#include "runtime/store/page_audit.hpp"

// Files: <directory>/data.mdb, an environment of LMDB with default sync and one unnamed tree; lock.mdb beside it may be
// deleted while nobody has the table open.
//
//   key    0x01 | the caller's key            value   crc32c u32 | the caller's value
//   key    0x00                               value   crc32c u32 | number of the last commit u64
//
// The checksum covers key and value as they lie in the file. The row of the last commit ties the rows to the meta page
// that LMDB chose: a damaged meta page could otherwise show an earlier state as if it were the last.
//
// A table is made under <directory>/new and renamed when it is whole and synced, so a data.mdb that is there is a
// table; and a lock.mdb without data.mdb is a loss, not a new table.

namespace troupe::store {

namespace {

constexpr std::size_t key_bytes_max = 500;
constexpr std::size_t crc_bytes = 4;
constexpr std::uint64_t page_bytes = 4096;
/// Kept allocated beyond the file's end, so that commits which give space back work on a full disk.
constexpr std::uint64_t reserve_bytes = 1 << 20;
constexpr auto commit_row = std::byte{0}, caller_row = std::byte{1};

MDB_val to_val(byte_view bytes) {
  return {bytes.size(), const_cast<std::byte*>(bytes.data())};
}
byte_view to_view(const MDB_val& value) {
  return {static_cast<const std::byte*>(value.mv_data), value.mv_size};
}

std::vector<std::byte> stored_key(byte_view key) {
  std::vector<std::byte> stored{caller_row};
  stored.insert(stored.end(), key.begin(), key.end());
  return stored;
}

std::vector<std::byte> stored_value(byte_view key, byte_view value) {
  std::vector<std::byte> stored(crc_bytes + value.size());
  store_le(stored.data(), crc32c(value, crc32c(key)));
  std::copy(value.begin(), value.end(), stored.begin() + crc_bytes);
  return stored;
}

/// The value without its checksum; nothing if they do not fit.
std::optional<byte_view> checked_value(byte_view key, byte_view stored) {
  if (stored.size() < crc_bytes) return std::nullopt;
  const auto value = stored.subspan(crc_bytes);
  if (load_le<std::uint32_t>(stored.data()) != crc32c(value, crc32c(key))) return std::nullopt;
  return value;
}

std::string printable(byte_view key) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (auto b : key.first(std::min<std::size_t>(key.size(), 32))) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

struct close_environment {
  void operator()(MDB_env* env) const { mdb_env_close(env); }
};
using environment = std::unique_ptr<MDB_env, close_environment>;

struct abort_transaction {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
using transaction = std::unique_ptr<MDB_txn, abort_transaction>;

struct close_cursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};

class lmdb_table final : public table {
public:
  lmdb_table(std::filesystem::path file, std::uint64_t map_bytes) : file_{std::move(file)}, map_bytes_{map_bytes} {}

  result<void> start() {
    auto claim = environment_claim::take(file_);
    if (!claim) return claim.error();
    claim_ = std::move(*claim);
    if (auto audited = audit(); !audited) return audited;
    return open_environment(file_.parent_path());
  }

  /// An empty table in `directory`, durable but for the directory's own entries.
  result<void> make(const std::filesystem::path& directory) {
    if (auto opened = open_environment(directory); !opened) return opened;
    return commit({});
  }

  result<std::optional<std::vector<std::byte>>> get(byte_view key) const override {
    auto txn = begin(MDB_RDONLY);
    if (!txn) return txn.error();
    const auto stored = stored_key(key);
    auto k = to_val(stored);
    MDB_val v{};
    const int code = mdb_get(txn->get(), dbi_, &k, &v);
    if (code == MDB_NOTFOUND) return std::optional<std::vector<std::byte>>{};
    if (code) return trouble("mdb_get", code);
    const auto value = checked_value(stored, to_view(v));
    if (!value) return damaged_row(stored);
    return std::optional{std::vector(value->begin(), value->end())};
  }

  result<void> scan(byte_view from, byte_view to,
                    const std::function<bool(byte_view, byte_view)>& visit) const override {
    auto txn = begin(MDB_RDONLY);
    if (!txn) return txn.error();
    MDB_cursor* raw = nullptr;
    if (const int code = mdb_cursor_open(txn->get(), dbi_, &raw)) return trouble("mdb_cursor_open", code);
    const std::unique_ptr<MDB_cursor, close_cursor> cursor{raw};
    const auto first = stored_key(from);
    auto k = to_val(first);
    MDB_val v{};
    for (auto op = MDB_SET_RANGE;; op = MDB_NEXT) {
      const int code = mdb_cursor_get(raw, &k, &v, op);
      if (code == MDB_NOTFOUND) return {};
      if (code) return trouble("mdb_cursor_get", code);
      const auto key = to_view(k);
      // Also of the row that ends the range: a damaged key could end it early.
      const auto value = checked_value(key, to_view(v));
      if (!value) return damaged_row(key);
      const auto name = key.subspan(1);
      if (!to.empty() && !std::lexicographical_compare(name.begin(), name.end(), to.begin(), to.end())) return {};
      if (!visit(name, *value)) return {};
    }
  }

  result<void> commit(const std::vector<change>& changes) override {
    const std::lock_guard one_writer{writing_};
    for (const auto& c : changes)
      if (c.key.empty() || c.key.size() > key_bytes_max)
        return {errc::invalid_request, file_.string() + ": a key must have 1 to " + std::to_string(key_bytes_max) +
                                           " bytes, this has " + std::to_string(c.key.size())};
    if (auto room = make_room(changes); !room) return room;
    auto txn = begin(0);
    if (!txn) return txn.error();
    if (const int code = put_all(txn->get(), changes)) {
      txn->reset();  // before anything was written
      return gave_up("mdb_put", code);
    }
    // Frees the transaction whether it works or not.
    if (const int code = mdb_txn_commit(txn->release())) return gave_up("mdb_txn_commit", code);
    return {};
  }

private:
  error trouble(const char* call, int code) const {
    const auto kind = code == MDB_READERS_FULL ? errc::busy
                      : code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID
                          ? errc::storage_damaged
                          : errc::storage_failed;
    return {kind, file_.string() + ": " + call + ": " + mdb_strerror(code)};
  }
  error damaged_row(byte_view key) const {
    return {errc::storage_damaged, file_.string() + ": row " + printable(key) + ": its checksum does not match"};
  }

  result<void> audit() const {
    const int fd = ::open(file_.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return {errc::storage_failed, file_.string() + ": open: " + std::generic_category().message(errno)};
    auto audited = audit(fd);
    ::close(fd);
    return audited;
  }

  struct snapshot {
    page_audit pages;
    std::optional<std::uint64_t> committed;
  };
  result<snapshot> audit(int fd, bool previous) const {
    snapshot found;
    auto see = [&](byte_view key, byte_view stored) -> result<void> {
      const auto value = checked_value(key, stored);
      if (!value) return damaged_row(key);
      if (key[0] == commit_row && value->size() == 8) found.committed = load_le<std::uint64_t>(value->data());
      return {};
    };
    auto pages = audit_pages(fd, file_.string(), {.map_bytes = map_bytes_, .previous = previous, .row = see});
    if (!pages) return pages.error();
    found.pages = *pages;
    return found;
  }

  result<void> audit(int fd) const {
    auto newest = audit(fd, false);
    if (!newest) return newest.error();
    if (!newest->committed) return {errc::wrong_format, file_.string() + " is no table: no row of its last commit"};
    const auto number = newest->pages.transaction;
    if (*newest->committed != number)
      return {errc::storage_damaged, file_.string() + ": its rows are those of commit " +
                                         std::to_string(*newest->committed) + ", its meta page says " +
                                         std::to_string(number)};
    // Is what passes for the snapshot before really the one after? A flipped bit in its number looks like that, and so
    // does a meta page that LMDB took back because the disk refused it. In both cases the commit lies whole on disk,
    // and in the first it was acknowledged: we go on from there. If the snapshot before is unsound, it is of no use
    // to anyone and the next commit writes over it.
    auto other = audit(fd, true);
    if (!other || other->committed != number + 1) return {};
    std::array<std::byte, 16> last_page_and_number;
    store_le<std::uint64_t>(last_page_and_number.data(), other->pages.last_page);
    store_le<std::uint64_t>(last_page_and_number.data() + 8, number + 1);
    const auto place = static_cast<off_t>(other->pages.meta_page * page_bytes + 136);
    if (::pwrite(fd, last_page_and_number.data(), 16, place) != 16 || ::fdatasync(fd) != 0)
      return {errc::storage_failed, file_.string() + ": write: " + std::generic_category().message(errno)};
    return {};
  }

  result<void> open_environment(const std::filesystem::path& directory) {
    MDB_env* raw = nullptr;
    if (const int code = mdb_env_create(&raw)) return trouble("mdb_env_create", code);
    env_.reset(raw);
    if (const int code = mdb_env_set_mapsize(raw, map_bytes_)) return trouble("mdb_env_set_mapsize", code);
    // NOTLS: a reader belongs to its transaction, not to a thread, and there is no limit of 1,024 environments.
    if (const int code = mdb_env_open(raw, directory.c_str(), MDB_NOTLS, 0640)) return trouble("mdb_env_open", code);
    int dead = 0;
    if (const int code = mdb_reader_check(raw, &dead)) return trouble("mdb_reader_check", code);
    auto txn = begin(MDB_RDONLY);
    if (!txn) return txn.error();
    if (const int code = mdb_dbi_open(txn->get(), nullptr, 0, &dbi_)) return trouble("mdb_dbi_open", code);
    return {};
  }

  result<transaction> begin(unsigned flags) const {
    if (failed_) return {errc::storage_failed, file_.string() + ": an earlier write failed; nothing is tried again"};
    MDB_txn* raw = nullptr;
    if (const int code = mdb_txn_begin(env_.get(), nullptr, flags, &raw)) return trouble("mdb_txn_begin", code);
    return transaction{raw};
  }

  int put_all(MDB_txn* txn, const std::vector<change>& changes) const {
    auto put = [&](byte_view key, byte_view value) {
      const auto stored = stored_value(key, value);
      auto k = to_val(key), v = to_val(stored);
      return mdb_put(txn, dbi_, &k, &v, 0);
    };
    for (const auto& c : changes) {
      const auto key = stored_key(c.key);
      auto k = to_val(key);
      const int code = c.value ? put(key, *c.value) : mdb_del(txn, dbi_, &k, nullptr);
      if (code && code != MDB_NOTFOUND) return code;
    }
    std::array<std::byte, 8> number;
    store_le<std::uint64_t>(number.data(), mdb_txn_id(txn));
    return put({&commit_row, 1}, number);
  }

  /// Allocates disk space for the worst that `changes` can do, before LMDB writes: on a full disk it reports a short
  /// write as EIO, which must mean failure.
  result<void> make_room(const std::vector<change>& changes) {
    MDB_envinfo info{};
    MDB_stat tree{};
    mdb_env_info(env_.get(), &info);
    mdb_env_stat(env_.get(), &tree);
    std::uint64_t bytes = 0;
    for (const auto& c : changes) bytes += c.value ? 2 * (c.key.size() + c.value->size() + 64) : 0;
    // Copied on write: a path of the tree for each change, but never more than the tree. Then the free list.
    const auto copied = std::min<std::uint64_t>((changes.size() + 1) * (tree.ms_depth + 1),
                                                tree.ms_branch_pages + tree.ms_leaf_pages + 2);
    const auto end = (info.me_last_pgno + 1) * page_bytes;
    const auto needed = std::min(end + bytes + (copied + 16) * page_bytes, map_bytes_);
    if (reserved_ >= std::min(needed + reserve_bytes / 2, map_bytes_)) return {};

    const auto wanted = std::min(needed + reserve_bytes, map_bytes_);
    int fd = -1;
    mdb_env_get_fd(env_.get(), &fd);
    // The size stays as it is, so that it goes on to say what LMDB wrote.
    if (wanted <= end ||
        ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end), static_cast<off_t>(wanted - end)) == 0) {
      reserved_ = wanted;
      return {};
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      reserved_ = std::numeric_limits<std::uint64_t>::max();
      return {};
    }
    if (errno != ENOSPC && errno != EDQUOT) return gave_up("fallocate", errno);
    if (needed <= reserved_) return {};
    return {errc::storage_full, file_.string() + ": no space left on the device; nothing was changed"};
  }

  /// After a write that did not work, nothing of which is visible.
  error gave_up(const char* call, int code) {
    auto why = trouble(call, code);
    if (code == MDB_MAP_FULL || code == MDB_TXN_FULL || code == ENOSPC || code == EDQUOT) {
      // Unless it was the meta page that could not be written: then LMDB refuses to go on.
      MDB_txn* probe = nullptr;
      if (mdb_txn_begin(env_.get(), nullptr, 0, &probe) == MDB_SUCCESS) {
        mdb_txn_abort(probe);
        why.code = errc::storage_full;
        return why;
      }
    }
    failed_ = true;
    why.code = errc::storage_failed;
    return why;
  }

  const std::filesystem::path file_;
  const std::uint64_t map_bytes_;
  environment_claim claim_;  // outlives the environment
  environment env_;
  MDB_dbi dbi_{0};
  std::mutex writing_;
  std::uint64_t reserved_{0};  // the file's blocks are allocated up to here
  std::atomic<bool> failed_{false};
};

error failed_call(const char* call, const std::filesystem::path& path, const std::error_code& why) {
  const bool full = why == std::errc::no_space_on_device;
  return {full ? errc::storage_full : errc::storage_failed, path.string() + ": " + call + ": " + why.message()};
}

result<void> create(const std::filesystem::path& directory, std::uint64_t map_bytes) {
  const auto fresh = directory / "new", file = directory / "data.mdb";
  std::error_code failed;
  if (std::filesystem::exists(directory / "lock.mdb", failed))
    return {errc::storage_damaged, file.string() + " is missing, but its lock.mdb is there"};
  std::filesystem::remove_all(fresh, failed);
  if (failed) return failed_call("remove", fresh, failed);
  std::filesystem::create_directory(fresh, failed);
  if (failed) return failed_call("mkdir", fresh, failed);
  {
    lmdb_table made{fresh / "data.mdb", map_bytes};
    if (auto ok = made.make(fresh); !ok) return ok;
  }
  std::filesystem::rename(fresh / "data.mdb", file, failed);
  if (failed) return failed_call("rename", file, failed);
  std::filesystem::remove_all(fresh, failed);
  if (failed) return failed_call("remove", fresh, failed);
  if (auto synced = sync_directory(directory); !synced) return synced;
  const auto parent = std::filesystem::absolute(directory).lexically_normal();
  return sync_directory(parent.has_filename() ? parent.parent_path() : parent.parent_path().parent_path());
}

}  // namespace

result<std::unique_ptr<table>> table::open(const std::filesystem::path& directory, std::uint64_t map_bytes) {
  TROUPE_CHECK(map_bytes >= 64 * page_bytes && map_bytes % page_bytes == 0);
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return failed_call("mkdir", directory, failed);
  if (auto local = require_local_filesystem(directory); !local) return local.error();
  const auto file = directory / "data.mdb";
  const bool exists = std::filesystem::exists(file, failed);
  if (failed) return failed_call("stat", file, failed);
  if (!exists)
    if (auto made = create(directory, map_bytes); !made) return made.error();
  auto opened = std::make_unique<lmdb_table>(file, map_bytes);
  if (auto ok = opened->start(); !ok) return ok.error();
  return std::unique_ptr<table>{std::move(opened)};
}

}  // namespace troupe::store
