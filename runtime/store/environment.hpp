#pragma once

#include <sys/types.h>

#include <filesystem>
#include <utility>

#include "runtime/base/result.hpp"

/// What has to hold around an LMDB environment, whoever opens it.
namespace troupe::store {

/// LMDB needs coherent shared memory between map and file, and POSIX locks that work: refuses network filesystems.
/// Errors: system.
result<void> require_local_filesystem(const std::filesystem::path& directory);

/// Makes what was created, renamed or removed in `directory` durable. Errors: storage_failed.
result<void> sync_directory(const std::filesystem::path& directory);

/// The right of this process to open one environment, by device and inode. LMDB opens the same file twice without
/// complaint, and closing one of the two then drops the locks of the other: another process could walk in.
class environment_claim {
public:
  /// `data_file` must exist. Errors: in_use, system.
  static result<environment_claim> take(const std::filesystem::path& data_file);

  environment_claim() = default;
  environment_claim(environment_claim&& other) noexcept : held_{std::exchange(other.held_, {})} {}
  environment_claim& operator=(environment_claim&& other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~environment_claim();

private:
  using identity = std::pair<dev_t, ino_t>;
  explicit environment_claim(identity held) : held_{held} {}
  identity held_{};
};

}  // namespace troupe::store
