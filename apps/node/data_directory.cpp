#include "apps/node/data_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>

namespace troupe {

namespace {

namespace fs = std::filesystem;

constexpr int format = 1;

error failed(const std::string& call, const fs::path& path) {
  return {errc::system, call + " " + path.string() + ": " + std::strerror(errno)};
}

/// Whole or not at all, also when the power fails: written aside, synced, renamed, directory synced.
result<void> write_durably(const fs::path& file, const std::string& text) {
  const auto aside = fs::path{file}.concat(".new");
  const int fd = ::open(aside.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return failed("open", aside);
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const auto why = failed("write", aside);
  ::close(fd);
  if (!written) return why;
  if (::rename(aside.c_str(), file.c_str()) != 0) return failed("rename", file);
  const int directory = ::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || ::fsync(directory) != 0) return failed("fsync", file.parent_path());
  ::close(directory);
  return {};
}

std::map<std::string, std::string> read_fields(const fs::path& file) {
  std::map<std::string, std::string> fields;
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);)
    if (const auto at = line.find('='); at != std::string::npos) fields[line.substr(0, at)] = line.substr(at + 1);
  return fields;
}

/// True when the folder holds nothing, or only what a start that was cut off before the identity was written left.
bool is_ours_to_take(const fs::path& path) {
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator{path, ignored}) {
    const auto name = entry.path().filename();
    if (name != "lock" && name != "identity.new" && name != "lost+found") return false;
  }
  return true;
}

}  // namespace

result<data_directory> data_directory::open(const fs::path& path, node_id node) {
  std::error_code why;
  fs::create_directories(path, why);
  if (why) return {errc::system, "cannot create the data directory " + path.string() + ": " + why.message()};

  const auto identity = path / "identity";
  const bool fresh = !fs::exists(identity);
  if (fresh && !is_ours_to_take(path))
    return {errc::wrong_format,
            path.string() + " is neither empty nor a data directory of Troupe; choose another with --data-dir"};

  const auto lock_file = path / "lock";
  const int lock = ::open(lock_file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock < 0) return failed("open", lock_file);
  data_directory out{path, lock};
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    const auto n = ::read(lock, holder, sizeof holder - 1);
    return {errc::in_use, "the data directory " + path.string() + " is in use by process " +
                              (n > 0 ? std::string{holder, static_cast<std::size_t>(n)} : "unknown") +
                              "; stop it, or choose another directory with --data-dir"};
  }
  const auto pid = std::to_string(::getpid());
  if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, pid.data(), pid.size(), 0) < 0) return failed("write", lock_file);

  if (fresh) {
    out.disk_id_ = uuid::random();
    auto written =
        write_durably(identity, "format=" + std::to_string(format) + "\nnode-id=" + std::to_string(node.value()) +
                                    "\ndisk-id=" + out.disk_id_.text() + "\n");
    if (!written) return written.error();
    return out;
  }
  auto fields = read_fields(identity);
  const auto disk = uuid::parse(fields["disk-id"]);
  if (!disk || fields["format"].empty() || fields["node-id"].empty())
    return {errc::storage_damaged,
            identity.string() + " is damaged: it must have the lines format, node-id and disk-id"};
  if (fields["format"] != std::to_string(format))
    return {errc::wrong_format, path.string() + " has format " + fields["format"] + "; this program knows format " +
                                    std::to_string(format) + ": use the newer program"};
  if (fields["node-id"] != std::to_string(node.value()))
    return {errc::wrong_format, path.string() + " belongs to node " + fields["node-id"] + ", not to node " +
                                    std::to_string(node.value()) + ": start with --node-id=" + fields["node-id"] +
                                    " or choose another directory with --data-dir"};
  out.disk_id_ = *disk;
  return out;
}

data_directory::data_directory(data_directory&& other) noexcept
    : path_{std::move(other.path_)}, lock_{std::exchange(other.lock_, -1)}, disk_id_{other.disk_id_} {}

data_directory::~data_directory() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace troupe
