#pragma once

#include <filesystem>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"

namespace troupe {

/// A node's data directory, locked for as long as this object lives. The lock is the kernel's (flock), so a process
/// that dies in any way leaves none behind.
///
///     <directory>/lock        held while a node runs; its text names the process, for the error of the second one
///     <directory>/identity    format, node id, disk id; written once, checked at every start
///     <directory>/log         the store's logs
///     <directory>/metadata    the metadata table
class data_directory {
public:
  /// Opens or creates. Errors: in_use (another node runs on it, with its pid), wrong_format (a newer format, another
  /// node's directory, or a folder that holds something else), system.
  static result<data_directory> open(const std::filesystem::path&, node_id);

  data_directory(data_directory&& other) noexcept;
  data_directory& operator=(data_directory&&) = delete;
  ~data_directory();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path logs() const { return path_ / "log"; }
  std::filesystem::path metadata() const { return path_ / "metadata"; }
  /// Drawn when the directory was made: a wiped disk is another one.
  const uuid& disk_id() const { return disk_id_; }

private:
  data_directory(std::filesystem::path path, int lock) : path_{std::move(path)}, lock_{lock} {}
  std::filesystem::path path_;
  int lock_{-1};
  uuid disk_id_;
};

}  // namespace troupe
