#include "runtime/store/environment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <set>
#include <system_error>

namespace troupe::store {

namespace {

error failed_call(errc code, const char* call, const std::filesystem::path& path) {
  return {code, path.string() + ": " + call + ": " + std::generic_category().message(errno)};
}

/// statfs magics of filesystems that other machines may write to.
struct remote_filesystem {
  std::uint32_t magic;
  const char* name;
};
constexpr std::array remote_filesystems{
    remote_filesystem{0x6969, "NFS"},        remote_filesystem{0xFF534D42, "CIFS"},
    remote_filesystem{0xFE534D42, "SMB2"},   remote_filesystem{0x517B, "SMB"},
    remote_filesystem{0x5346414F, "AFS"},    remote_filesystem{0x6B414653, "kAFS"},
    remote_filesystem{0x00C36400, "Ceph"},   remote_filesystem{0x01021997, "9P"},
    remote_filesystem{0x0BD00BD0, "Lustre"}, remote_filesystem{0x73757245, "Coda"},
    remote_filesystem{0x7461636F, "OCFS2"},  remote_filesystem{0x01161970, "GFS2"},
    remote_filesystem{0x47504653, "GPFS"},   remote_filesystem{0x19830326, "BeeGFS"}};

/// Which environments this process has open. The one thing here that is shared by a whole process, because the file
/// locks it protects are.
struct open_environments {
  std::mutex mutex;
  std::set<std::pair<dev_t, ino_t>> known;
  static open_environments& instance() {
    static open_environments it;
    return it;
  }
};

}  // namespace

result<void> require_local_filesystem(const std::filesystem::path& directory) {
  struct statfs info {};
  if (::statfs(directory.c_str(), &info) != 0) return failed_call(errc::system, "statfs", directory);
  const auto magic = static_cast<std::uint32_t>(info.f_type);
  const auto found = std::find_if(remote_filesystems.begin(), remote_filesystems.end(),
                                  [&](const remote_filesystem& x) { return x.magic == magic; });
  if (found != remote_filesystems.end())
    return {errc::system, directory.string() + " lies on " + found->name +
                              ": a network filesystem cannot keep LMDB's files safely; use a local disk"};
  return {};
}

result<void> sync_directory(const std::filesystem::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed_call(errc::storage_failed, "open", directory);
  const int failed = ::fsync(fd);
  const auto why = failed ? failed_call(errc::storage_failed, "fsync", directory) : error{};
  ::close(fd);
  if (failed) return why;
  return {};
}

result<environment_claim> environment_claim::take(const std::filesystem::path& data_file) {
  struct stat info {};
  if (::stat(data_file.c_str(), &info) != 0) return failed_call(errc::system, "stat", data_file);
  auto& open = open_environments::instance();
  const std::lock_guard lock{open.mutex};
  const identity id{info.st_dev, info.st_ino};
  if (!open.known.insert(id).second) return {errc::in_use, data_file.string() + " is open in this process already"};
  return environment_claim{id};
}

environment_claim::~environment_claim() {
  if (held_ == identity{}) return;
  auto& open = open_environments::instance();
  const std::lock_guard lock{open.mutex};
  open.known.erase(held_);
}

}  // namespace troupe::store
