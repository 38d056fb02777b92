#include "tests/store/faulty_disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "runtime/base/check.hpp"
#include "runtime/base/random.hpp"

// Calls are forwarded as raw system calls; one lock makes each watched call one moment.

namespace troupe::test {

namespace {

namespace fs = std::filesystem;
constexpr std::size_t page_bytes = 4096, sector_bytes = 512;

/// A file as it is, and as a disk would have it.
struct node {
  bool directory{false};
  std::string live, durable;
  std::set<std::size_t> dirty;  // pages of `live` that are not in `durable`
  bool resized{false};

  void write(std::size_t at, const char* bytes, std::size_t count) {
    if (count == 0) return;
    if (live.size() < at + count) live.resize(at + count);
    live.replace(at, count, bytes, count);
    for (auto p = at / page_bytes; p <= (at + count - 1) / page_bytes; ++p) dirty.insert(p);
  }
  void sync() {
    durable.resize(live.size());
    for (auto p : dirty)
      if (p * page_bytes < live.size()) durable.replace(p * page_bytes, page_bytes, live, p * page_bytes, page_bytes);
    dirty.clear();
    resized = false;
  }
  /// What a cut leaves of it.
  std::string remains(random_source& chance, double survival, bool torn) const {
    auto left = durable;
    if (resized && live.size() < left.size() && chance.chance(survival)) left.resize(live.size());
    const auto unit = torn ? sector_bytes : page_bytes;
    for (auto p : dirty) {
      for (auto at = p * page_bytes; at < (p + 1) * page_bytes && at < live.size(); at += unit) {
        if (!chance.chance(survival)) continue;
        const auto count = std::min(unit, live.size() - at);
        if (left.size() < at + count) left.resize(at + count);
        left.replace(at, count, live, at, count);
      }
    }
    return left;
  }
};
using node_ptr = std::shared_ptr<node>;
using names = std::map<std::string, node_ptr>;  // by path; a directory is a node without content

/// A change of names that its directories' sync makes durable.
struct name_change {
  std::set<std::string> directories;
  std::function<void(names&)> apply;
};

struct descriptor {
  node_ptr file;
  std::string path;
  bool synced_writes;
};

struct state {
  std::recursive_mutex mutex;
  std::atomic<bool> watching{false};
  std::string root;
  names live, durable;
  std::vector<name_change> pending;
  std::map<int, descriptor> open;
  std::uint64_t calls{0}, struck{0};
  std::atomic<bool> cut{false};
  faulty_disk::cut_plan plan;
  std::uint64_t cut_at{0};
  struct armed_fault : faulty_disk::fault {
    std::uint64_t seen{0};
  };
  std::vector<armed_fault> faults;
  std::function<void(const std::string&)> on_sync;
};
state& disk() {
  static state it;
  return it;
}

// Our own work on files must not come back to us.
thread_local bool own_call = false;
struct own_calls {
  own_calls() { std::swap(own_call, before_); }
  ~own_calls() { own_call = before_; }
  bool before_{true};
};

bool passes() {
  return own_call || !disk().watching.load(std::memory_order_acquire);
}

std::string parent_of(const std::string& path) {
  return fs::path{path}.parent_path().string();
}

/// Absolute path of what a call names; empty if it is not watched.
std::string watched_path(int at, const char* name) {
  std::string path = name;
  if (path.empty() || path[0] != '/') {
    char where[4096];
    const auto link = at == AT_FDCWD ? std::string{"/proc/self/cwd"} : "/proc/self/fd/" + std::to_string(at);
    const auto n = ::readlink(link.c_str(), where, sizeof where);
    if (n <= 0) return {};
    path = std::string{where, static_cast<std::size_t>(n)} + "/" + path;
  }
  path = fs::path{path}.lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto& root = disk().root;
  const bool below =
      path.compare(0, root.size(), root) == 0 && (path.size() == root.size() || path[root.size()] == '/');
  return below ? path : std::string{};
}

void write_image(const names& what, const faulty_disk::cut_plan& plan, random_source& chance) {
  const auto& root = disk().root;
  fs::create_directories(plan.image);
  for (const auto& [path, file] : what) {  // parents sort before what is in them
    if (path == root) continue;
    const auto target = plan.image / path.substr(root.size() + 1);
    if (!fs::is_directory(target.parent_path())) continue;  // its directory's name was lost
    if (file->directory) {
      fs::create_directory(target);
    } else {
      const auto left = file->remains(chance, plan.survival, plan.torn);
      std::ofstream{target, std::ios::binary} << left;
    }
  }
}

void cut() {
  auto& d = disk();
  if (d.cut || d.plan.image.empty()) return;
  const own_calls ours;
  random_source chance{d.plan.seed};
  auto left = d.durable;
  // A change survives alone, but never without those before it in the same directories: journals keep order.
  std::set<std::string> lost;
  for (const auto& change : d.pending) {
    const bool blocked = std::any_of(change.directories.begin(), change.directories.end(),
                                     [&](const std::string& at) { return lost.contains(at); });
    if (!blocked && chance.chance(d.plan.survival))
      change.apply(left);
    else
      lost.insert(change.directories.begin(), change.directories.end());
  }
  write_image(left, d.plan, chance);
  if (d.plan.at_cut) d.plan.at_cut();
  d.cut = true;
}

/// One more call has done its live effect; if it syncs, that is still to come.
void moment() {
  auto& d = disk();
  if (++d.calls == d.cut_at) cut();
}

void change_names(std::set<std::string> directories, std::function<void(names&)> apply) {
  auto& d = disk();
  apply(d.live);
  d.pending.push_back({std::move(directories), std::move(apply)});
  moment();
}

void sync_names(const std::string& directory) {
  auto& d = disk();
  std::erase_if(d.pending, [&](const name_change& change) {
    if (!change.directories.contains(directory)) return false;
    change.apply(d.durable);
    return true;
  });
}

/// The errno a call must fail with, or 0 for a short write.
std::optional<int> strike(faulty_disk::operation on, const std::string& path) {
  auto& d = disk();
  for (auto& f : d.faults) {
    if (f.on != on || path.find(f.path_part) == std::string::npos) continue;
    if (++f.seen < f.nth || f.seen >= f.nth + f.times) continue;
    ++d.struck;
    return f.error;
  }
  return std::nullopt;
}

int fail(int error) {
  errno = error;
  return -1;
}

/// Any kind of write: `forward` does `count` bytes, `at` says where they go.
template <class Forward, class Bytes>
ssize_t write_through(int fd, std::size_t count, std::optional<off_t> at, Forward forward, Bytes bytes) {
  if (passes()) return forward(count);
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto found = d.open.find(fd);
  if (found == d.open.end()) return forward(count);
  const auto file = found->second;
  if (auto error = strike(faulty_disk::operation::write, file.path)) {
    if (*error) return fail(*error);
    count /= 2;
  }
  const auto where = static_cast<std::size_t>(at ? *at : ::lseek(fd, 0, SEEK_CUR));
  const auto written = forward(count);
  if (written <= 0) return written;
  const std::string content = bytes(static_cast<std::size_t>(written));
  file.file->write(where, content.data(), content.size());
  moment();
  if (file.synced_writes) file.file->sync();
  return written;
}

std::string joined(const iovec* parts, int n, std::size_t count) {
  std::string all;
  for (int i = 0; i < n && all.size() < count; ++i)
    all.append(static_cast<const char*>(parts[i].iov_base), std::min(parts[i].iov_len, count - all.size()));
  return all;
}

int sync_through(int fd, long number) {
  if (passes()) return static_cast<int>(::syscall(number, fd));
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto found = d.open.find(fd);
  if (found == d.open.end()) return static_cast<int>(::syscall(number, fd));
  const auto file = found->second;
  if (auto error = strike(faulty_disk::operation::sync, file.path)) return fail(*error ? *error : EIO);
  moment();
  if (file.file->directory)
    sync_names(file.path);
  else
    file.file->sync();
  if (d.on_sync) d.on_sync(file.path);
  return 0;
}

int open_through(int at, const char* name, int flags, mode_t mode) {
  const auto forward = [&] { return static_cast<int>(::syscall(SYS_openat, at, name, flags, mode)); };
  if (passes()) return forward();
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto path = watched_path(at, name);
  if (path.empty()) return forward();
  const int fd = forward();
  if (fd < 0) return fd;
  auto found = d.live.find(path);
  if (found == d.live.end()) {
    TROUPE_CHECK(flags & O_CREAT);
    auto made = std::make_shared<node>();
    change_names({parent_of(path)}, [path, made](names& n) { n[path] = made; });
    found = d.live.find(path);
  } else if (flags & O_TRUNC && !found->second->live.empty()) {
    found->second->live.clear();
    found->second->dirty.clear();
    found->second->resized = true;
    moment();
  }
  d.open[fd] = {found->second, path, (flags & (O_DSYNC | O_SYNC)) != 0};
  return fd;
}

int close_through(int fd) {
  if (!passes()) {
    auto& d = disk();
    const std::lock_guard lock{d.mutex};
    d.open.erase(fd);
    return static_cast<int>(::syscall(SYS_close, fd));
  }
  return static_cast<int>(::syscall(SYS_close, fd));
}

int resize_through(int fd, off_t size) {
  if (passes()) return static_cast<int>(::syscall(SYS_ftruncate, fd, size));
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const int done = static_cast<int>(::syscall(SYS_ftruncate, fd, size));
  const auto found = d.open.find(fd);
  if (done == 0 && found != d.open.end()) {
    found->second.file->live.resize(static_cast<std::size_t>(size));
    found->second.file->resized = true;
    moment();
  }
  return done;
}

int mkdir_through(int at, const char* name, mode_t mode) {
  const auto forward = [&] { return static_cast<int>(::syscall(SYS_mkdirat, at, name, mode)); };
  if (passes()) return forward();
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto path = watched_path(at, name);
  const int done = forward();
  if (done == 0 && !path.empty()) {
    auto made = std::make_shared<node>();
    made->directory = true;
    change_names({parent_of(path)}, [path, made](names& n) { n[path] = made; });
  }
  return done;
}

int unlink_through(int at, const char* name, int flags) {
  const auto forward = [&] { return static_cast<int>(::syscall(SYS_unlinkat, at, name, flags)); };
  if (passes()) return forward();
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto path = watched_path(at, name);
  const int done = forward();
  if (done == 0 && !path.empty()) change_names({parent_of(path)}, [path](names& n) { n.erase(path); });
  return done;
}

int rename_through(int from_at, const char* from, int to_at, const char* to) {
  const auto forward = [&] { return static_cast<int>(::syscall(SYS_renameat, from_at, from, to_at, to)); };
  if (passes()) return forward();
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  const auto old_path = watched_path(from_at, from), new_path = watched_path(to_at, to);
  const int done = forward();
  if (done == 0 && !old_path.empty()) {
    const auto file = d.live.at(old_path);
    TROUPE_CHECK(!new_path.empty() && !file->directory);
    change_names({parent_of(old_path), parent_of(new_path)}, [old_path, new_path, file](names& n) {
      n.erase(old_path);
      n[new_path] = file;
    });
  }
  return done;
}

}  // namespace

faulty_disk& faulty_disk::instance() {
  static faulty_disk it;
  return it;
}

void faulty_disk::watch(const fs::path& root) {
  auto& d = disk();
  release();
  const own_calls ours;
  d.root = fs::canonical(root).string();
  auto add = [&](const fs::path& path, bool directory) {
    auto found = std::make_shared<node>();
    found->directory = directory;
    if (!directory) {
      std::ifstream in{path, std::ios::binary};
      found->live.assign(std::istreambuf_iterator<char>{in}, {});
      found->durable = found->live;
    }
    d.live[path.string()] = found;
  };
  add(d.root, true);
  for (const auto& entry : fs::recursive_directory_iterator{d.root}) add(entry.path(), entry.is_directory());
  d.durable = d.live;
  d.watching.store(true, std::memory_order_release);
}

void faulty_disk::release() {
  auto& d = disk();
  d.watching.store(false, std::memory_order_release);
  const std::lock_guard lock{d.mutex};
  d.live.clear();
  d.durable.clear();
  d.pending.clear();
  d.open.clear();
  d.faults.clear();
  d.on_sync = nullptr;
  d.plan = {};
  d.calls = d.struck = d.cut_at = 0;
  d.cut = false;
}

void faulty_disk::plan_cut(cut_plan plan) {
  auto& d = disk();
  const std::lock_guard lock{d.mutex};
  d.plan = std::move(plan);
  d.cut_at = d.plan.at_call ? d.calls + d.plan.at_call : 0;
}

void faulty_disk::cut_now() {
  const std::lock_guard lock{disk().mutex};
  cut();
}

bool faulty_disk::was_cut() const {
  return disk().cut;
}

std::uint64_t faulty_disk::calls() const {
  const std::lock_guard lock{disk().mutex};
  return disk().calls;
}

void faulty_disk::add_fault(fault f) {
  const std::lock_guard lock{disk().mutex};
  disk().faults.push_back({std::move(f)});
}

void faulty_disk::clear_faults() {
  const std::lock_guard lock{disk().mutex};
  disk().faults.clear();
}

std::uint64_t faulty_disk::struck() const {
  const std::lock_guard lock{disk().mutex};
  return disk().struck;
}

void faulty_disk::on_sync(std::function<void(const std::string&)> hear) {
  const std::lock_guard lock{disk().mutex};
  disk().on_sync = std::move(hear);
}

bool faulty_disk::dirty(const std::string& path_part) const {
  const auto& d = disk();
  return std::any_of(d.live.begin(), d.live.end(), [&](const auto& file) {
    return !file.second->dirty.empty() && file.first.find(path_part) != std::string::npos;
  });
}

}  // namespace troupe::test

// -- what the store and liblmdb call instead of the C library -------------------------------------------

using namespace troupe::test;

extern "C" {

int open(const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_through(AT_FDCWD, name, flags, mode);
}
int open64(const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_through(AT_FDCWD, name, flags, mode);
}
int openat(int at, const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_through(at, name, flags, mode);
}
int openat64(int at, const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_through(at, name, flags, mode);
}
int close(int fd) {
  return close_through(fd);
}

ssize_t write(int fd, const void* from, size_t count) {
  return write_through(
      fd, count, std::nullopt, [&](std::size_t n) { return ::syscall(SYS_write, fd, from, n); },
      [&](std::size_t n) {
        return std::string{static_cast<const char*>(from), n};
      });
}
ssize_t pwrite(int fd, const void* from, size_t count, off_t at) {
  return write_through(
      fd, count, at, [&](std::size_t n) { return ::syscall(SYS_pwrite64, fd, from, n, at); },
      [&](std::size_t n) {
        return std::string{static_cast<const char*>(from), n};
      });
}
ssize_t pwrite64(int fd, const void* from, size_t count, off64_t at) {
  return pwrite(fd, from, count, at);
}
ssize_t writev(int fd, const iovec* parts, int n) {
  std::size_t count = 0;
  for (int i = 0; i < n; ++i) count += parts[i].iov_len;
  return write_through(
      fd, count, std::nullopt,
      [&](std::size_t some) {
        if (some == count) return ::syscall(SYS_writev, fd, parts, n);
        const auto half = joined(parts, n, some);
        return ::syscall(SYS_write, fd, half.data(), half.size());
      },
      [&](std::size_t some) { return joined(parts, n, some); });
}
ssize_t pwritev(int fd, const iovec* parts, int n, off_t at) {
  std::size_t count = 0;
  for (int i = 0; i < n; ++i) count += parts[i].iov_len;
  return write_through(
      fd, count, at,
      [&](std::size_t some) {
        const auto all = joined(parts, n, some);
        return ::syscall(SYS_pwrite64, fd, all.data(), all.size(), at);
      },
      [&](std::size_t some) { return joined(parts, n, some); });
}
ssize_t pwritev64(int fd, const iovec* parts, int n, off64_t at) {
  return pwritev(fd, parts, n, at);
}

int fsync(int fd) {
  return sync_through(fd, SYS_fsync);
}
int fdatasync(int fd) {
  return sync_through(fd, SYS_fdatasync);
}
int ftruncate(int fd, off_t size) noexcept {
  return resize_through(fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  return resize_through(fd, size);
}

int mkdir(const char* name, mode_t mode) noexcept {
  return mkdir_through(AT_FDCWD, name, mode);
}
int mkdirat(int at, const char* name, mode_t mode) noexcept {
  return mkdir_through(at, name, mode);
}
int unlink(const char* name) noexcept {
  return unlink_through(AT_FDCWD, name, 0);
}
int unlinkat(int at, const char* name, int flags) noexcept {
  return unlink_through(at, name, flags);
}
int rmdir(const char* name) noexcept {
  return unlink_through(AT_FDCWD, name, AT_REMOVEDIR);
}
int remove(const char* name) noexcept {
  const int done = unlink_through(AT_FDCWD, name, 0);
  return done < 0 && (errno == EISDIR || errno == EPERM) ? unlink_through(AT_FDCWD, name, AT_REMOVEDIR) : done;
}
int rename(const char* from, const char* to) noexcept {
  return rename_through(AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int from_at, const char* from, int to_at, const char* to) noexcept {
  return rename_through(from_at, from, to_at, to);
}
}
