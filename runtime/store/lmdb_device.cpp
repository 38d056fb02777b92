#include "runtime/store/lmdb_device.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <system_error>

#include "runtime/base/check.hpp"

/// LMDB writes, we read. A value of n·4096−16 bytes takes overflow pages of its own; the page head in front of the
/// memory that MDB_RESERVE hands out already says at which page of the file they will lie, so the position costs
/// neither a lookup nor a second transaction. All reading goes by position through a descriptor of our own: nothing
/// that a damaged tree page says can reach us. An environment is written only by the process that created it.
namespace troupe::store {
namespace {

namespace fs = std::filesystem;

error failure(errc code, const std::string& what, const std::string& path, int number) {
  return {code, what + " " + path + ": " + std::generic_category().message(number)};
}
/// Nothing was written, and it may go later: no space, or no descriptor left.
bool means_full(int number) {
  return number == ENOSPC || number == EDQUOT || number == EMFILE || number == ENFILE;
}
errc code_of(int number) {
  return means_full(number) ? errc::storage_full : errc::storage_failed;
}

std::shared_ptr<const int> own_descriptor(int fd) {
  return {new int{fd}, [](const int* p) {
            ::close(*p);
            delete p;
          }};
}

result<void> sync_directory(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failure(code_of(errno), "open", path, errno);
  const int failed = ::fsync(fd) ? errno : 0;
  ::close(fd);
  if (failed) return failure(errc::storage_failed, "sync of directory", path, failed);
  return {};
}

result<void> read_all(int fd, std::uint64_t position, byte_span into, const std::string& path) {
  while (!into.empty()) {
    const auto n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(errc::storage_failed, "read at " + std::to_string(position) + " of", path, errno);
    if (n == 0) return {errc::storage_damaged, path + " ends before position " + std::to_string(position)};
    position += static_cast<std::uint64_t>(n);
    into = into.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

result<void> write_all(int fd, byte_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(code_of(errno), "write of", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

class lmdb_segment final : public segment_file {
public:
  explicit lmdb_segment(fs::path directory)
      : directory_{std::move(directory)}, path_{directory_ / "data.mdb"}, index_path_{directory_ / "index"} {}
  ~lmdb_segment() override { finish(); }

  result<void> create(std::uint64_t segment_bytes) {
    std::error_code failed;
    fs::remove_all(directory_, failed);
    if (failed) return failure(code_of(failed.value()), "removal of", directory_, failed.value());
    if (!fs::create_directories(directory_, failed) && failed)
      return failure(code_of(failed.value()), "make directory", directory_, failed.value());
    int rc = mdb_env_create(&env_);
    // Address space, not disk: room for the last block and for what the tree takes beside it. Full means: roll.
    if (!rc) rc = mdb_env_set_mapsize(env_, segment_bytes + segment_bytes / 8 + (std::uint64_t{1} << 30));
    // `sync` is ours: whatever LMDB's own pages say after a power cut, nobody reads them.
    if (!rc) rc = mdb_env_open(env_, directory_.c_str(), MDB_NOTLS | MDB_NOMEMINIT | MDB_NOSYNC, 0644);
    MDB_txn* txn = nullptr;
    if (!rc) rc = mdb_txn_begin(env_, nullptr, 0, &txn);
    if (!rc) rc = mdb_dbi_open(txn, nullptr, MDB_INTEGERKEY, &dbi_);
    if (txn) {
      if (rc)
        mdb_txn_abort(txn);
      else
        rc = mdb_txn_commit(txn);
    }
    if (!rc) rc = mdb_env_sync(env_, 1);
    if (rc) return lmdb_failure("creation", rc);
    write_fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (write_fd_ < 0) return failure(code_of(errno), "open", path_, errno);
    if (auto opened = open(); !opened) return opened;
    if (auto synced = sync_directory(directory_); !synced) return synced;
    // The first segment of a chain brings its directories along.
    auto parent = directory_;
    for (int up = 0; up < 3; ++up) {
      parent = parent.parent_path();
      if (auto synced = sync_directory(parent); !synced) return synced;
    }
    return {};
  }

  result<void> open() {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failure(code_of(errno), "open", path_, errno);
    fd_ = own_descriptor(fd);
    // What is read through it is one log among many: read-ahead would fetch the others' bytes.
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return {};
  }

  const std::string& path() const override { return path_; }

  result<std::uint64_t> append(std::uint64_t sequence, std::size_t size,
                               const std::function<void(byte_span)>& fill) override {
    TROUPE_CHECK(env_);
    const auto stored = stored_bytes(size);
    MDB_txn* txn = nullptr;
    if (int rc = mdb_txn_begin(env_, nullptr, 0, &txn)) return lmdb_failure("write to", rc);
    MDB_val key{sizeof sequence, &sequence}, value{stored, nullptr};
    if (int rc = mdb_put(txn, dbi_, &key, &value, MDB_APPEND | MDB_RESERVE)) {
      mdb_txn_abort(txn);
      return lmdb_failure("write to", rc);
    }
    auto* const at = static_cast<std::byte*>(value.mv_data);
    const auto position = position_of(at, stored);
    fill({at, stored});
    if (int rc = mdb_txn_commit(txn)) {
      auto why = lmdb_failure("write to", rc);
      if (rc == EIO && ran_out_of_space(position + stored)) why.code = errc::storage_full;
      // The block may lie in the file although its commit failed. It must not be found there later.
      if (why.code == errc::storage_full)
        if (auto gone = void_block(position); !gone) return gone.error();
      return why;
    }
    return position;
  }

  result<void> sync() override {
    if (::fdatasync(*fd_)) return failure(errc::storage_failed, "sync of", path_, errno);
    return {};
  }

  void finish() override {
    if (env_) mdb_env_close(env_);
    env_ = nullptr;
    if (write_fd_ >= 0) ::close(write_fd_);
    write_fd_ = -1;
  }

  result<void> read(std::uint64_t position, byte_span into) const override {
    return read_all(*fd_, position, into, path_);
  }
  std::uint64_t size() const override {
    struct stat s {};
    return ::fstat(*fd_, &s) ? 0 : static_cast<std::uint64_t>(s.st_size);
  }
  std::shared_ptr<const int> descriptor() const override { return fd_; }

  bool resident(std::uint64_t position, std::uint64_t size) const override {
    // Asks for a byte at each end without waiting for the disk. What lies between came and goes with them.
    for (const auto at : {position, position + size - 1}) {
      std::byte byte;
      iovec into{&byte, 1};
      if (::preadv2(*fd_, &into, 1, static_cast<off_t>(at), RWF_NOWAIT) < 0 && errno == EAGAIN) return false;
    }
    return true;
  }

  result<void> write_index(byte_view bytes) override {
    const std::string temporary = index_path_ + ".new";
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return failure(code_of(errno), "open", temporary, errno);
    auto written = write_all(fd, bytes, temporary);
    if (written && ::fdatasync(fd)) written = failure(errc::storage_failed, "sync of", temporary, errno);
    ::close(fd);
    if (written && ::rename(temporary.c_str(), index_path_.c_str()))
      written = failure(errc::storage_failed, "rename of", temporary, errno);
    if (!written) {
      ::unlink(temporary.c_str());
      return written;
    }
    return sync_directory(directory_);
  }

  result<void> read_index(std::uint64_t position, byte_span into) const override {
    const int fd = ::open(index_path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failure(errc::storage_failed, "open", index_path_, errno);
    auto read = read_all(fd, position, into, index_path_);
    ::close(fd);
    return read;
  }

  std::uint64_t index_size() const override {
    struct stat s {};
    return ::stat(index_path_.c_str(), &s) ? 0 : static_cast<std::uint64_t>(s.st_size);
  }

private:
  /// Page head of LMDB 0.9: u64 page number, u16, u16 flags, u32 number of overflow pages.
  static std::uint64_t position_of(const std::byte* value, std::size_t stored) {
    const std::byte* const head = value - page_head_bytes;
    constexpr std::uint16_t overflow = 0x04;
    TROUPE_CHECK((load_le<std::uint16_t>(head + 10) & overflow) != 0);
    TROUPE_CHECK(load_le<std::uint32_t>(head + 12) == (stored + page_head_bytes) / page_bytes);
    return load_le<std::uint64_t>(head) * page_bytes + page_head_bytes;
  }

  /// LMDB calls a short write EIO, and a full disk writes short. It writes pages in rising order: that the file ends
  /// before the block does shows where it stopped, and no space left says why.
  bool ran_out_of_space(std::uint64_t block_end) const {
    struct statvfs s {};
    return size() < block_end && !::fstatvfs(write_fd_, &s) && std::uint64_t{s.f_bavail} * s.f_frsize < (1u << 20);
  }

  result<void> void_block(std::uint64_t position) {
    if (position >= size()) return {};
    const std::byte nothing[block_header_bytes]{};
    const auto n = ::pwrite(write_fd_, nothing, sizeof nothing, static_cast<off_t>(position));
    if (n != static_cast<ssize_t>(sizeof nothing) && !means_full(errno))
      return failure(errc::storage_failed, "write to", path_, errno);
    return {};
  }

  error lmdb_failure(const std::string& what, int rc) const {
    const bool full = rc == MDB_MAP_FULL || (rc > 0 && means_full(rc));
    return {full ? errc::storage_full : errc::storage_failed, what + " " + path_ + ": " + mdb_strerror(rc)};
  }

  fs::path directory_;
  std::string path_, index_path_;
  MDB_env* env_{nullptr};
  MDB_dbi dbi_{0};
  std::shared_ptr<const int> fd_;
  int write_fd_{-1};
};

constexpr const char* level_name(durability level) {
  return level == durability::group ? "group" : "interval";
}

class lmdb_device final : public segment_device {
public:
  explicit lmdb_device(fs::path directory) : directory_{std::move(directory)} {}

  result<std::unique_ptr<segment_file>> create(const segment_name& name, std::uint64_t segment_bytes) override {
    auto file = std::make_unique<lmdb_segment>(path_of(name));
    if (auto made = file->create(segment_bytes); !made) return made.error();
    return std::unique_ptr<segment_file>{std::move(file)};
  }

  result<std::unique_ptr<segment_file>> open(const segment_name& name) override {
    auto file = std::make_unique<lmdb_segment>(path_of(name));
    if (auto opened = file->open(); !opened) return opened.error();
    return std::unique_ptr<segment_file>{std::move(file)};
  }

  result<void> remove(const segment_name& name) override {
    std::error_code failed;
    fs::remove_all(path_of(name), failed);
    if (failed) return failure(errc::system, "remove", path_of(name), failed.value());
    return {};
  }

  result<std::vector<segment_name>> list() override {
    std::vector<segment_name> out;
    std::error_code failed;
    for (const auto& lane : fs::directory_iterator{directory_, failed}) {
      unsigned number = 0;
      if (!parse(lane.path().filename().string(), "lane-", 10, number)) continue;
      for (const auto level : {durability::group, durability::interval}) {
        std::error_code none;  // a chain that was never used has no directory
        for (const auto& segment : fs::directory_iterator{lane.path() / level_name(level), none}) {
          segment_no first = 0;
          if (parse(segment.path().filename().string(), "seg-", 16, first)) out.push_back({number, level, first});
        }
      }
    }
    if (failed) return failure(errc::storage_failed, "list", directory_, failed.value());
    return out;
  }

  space free_space() override {
    struct statvfs s {};
    if (::statvfs(directory_.c_str(), &s)) return {};
    return {std::uint64_t{s.f_bavail} * s.f_frsize, std::uint64_t{s.f_blocks} * s.f_frsize};
  }

private:
  template <class Number>
  static bool parse(const std::string& name, const std::string& prefix, int radix, Number& number) {
    if (name.compare(0, prefix.size(), prefix) != 0) return false;
    const char* const end = name.data() + name.size();
    const auto [stop, failed] = std::from_chars(name.data() + prefix.size(), end, number, radix);
    return failed == std::errc{} && stop == end;
  }
  fs::path path_of(const segment_name& name) const { return directory_ / to_string(name); }

  fs::path directory_;
};

}  // namespace

std::string to_string(const segment_name& name) {
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(name.first));
  return "lane-" + std::to_string(name.lane) + "/" + level_name(name.level) + "/seg-" + hex;
}

std::unique_ptr<segment_device> make_lmdb_device(std::filesystem::path directory) {
  return std::make_unique<lmdb_device>(std::move(directory));
}

}  // namespace troupe::store
