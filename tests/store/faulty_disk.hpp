#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

/// A disk that loses what was not synced.
///
/// The program that links this file defines write, pwrite, fdatasync, open, rename … itself, so everything that the
/// store and liblmdb do to files passes through here on its way to the kernel. For the files below one directory it
/// remembers which bytes and which names a power cut could take:
///
///   write          the pages it touches are *live* but not durable, until fsync or fdatasync of that file (or at once,
///                  if it was opened with O_DSYNC)
///   create, mkdir, rename, unlink   live, but not durable until fsync of the directory
///
/// A *cut* writes into another directory what a power cut might leave at that moment: all that is durable, and of the
/// rest each page (or each sector, if pages may tear) and each change of a name with some probability. The live files
/// go on as if nothing had happened; the test opens the other directory. Bytes written through a memory map are not
/// seen; LMDB does that to its lock file only.
///
/// It can also refuse: let chosen calls fail, or write only a part.
namespace troupe::test {

class faulty_disk {
public:
  /// The one disk of this process (the functions of the C library have no place for another).
  static faulty_disk& instance();

  /// From now on, files below `root` are watched; what is there now is durable.
  void watch(const std::filesystem::path& root);
  /// Ends watching; drops plans and faults. No thread may use the files any more.
  void release();

  struct cut_plan {
    std::uint64_t at_call{0};  ///< cut at this call from now on, counting from 1; 0: only when `cut_now` says so
    double survival{0};        ///< probability of each page and name that was not synced
    bool torn{false};          ///< sectors of 512 bytes survive each for itself
    std::filesystem::path image;
    std::uint64_t seed{1};
    /// Runs at the moment of the cut, while no watched call can end: what is acknowledged now must survive.
    std::function<void()> at_cut;
  };
  void plan_cut(cut_plan);
  void cut_now();
  bool was_cut() const;
  /// Calls that changed or synced watched files, since `watch`.
  std::uint64_t calls() const;

  enum class operation { write, sync };
  struct fault {
    operation on{operation::write};
    std::string path_part;   ///< only files whose path contains this
    std::uint64_t nth{1};    ///< the first call that fails, counting matching calls from 1
    std::uint64_t times{1};  ///< so many in a row
    int error{0};            ///< errno; 0: write half of it and say so
  };
  void add_fault(fault);
  void clear_faults();
  /// How often a fault struck.
  std::uint64_t struck() const;

  /// Called after each successful sync of a watched file, with its path; no watched call ends meanwhile.
  void on_sync(std::function<void(const std::string& path)>);
  /// Is there any file whose path contains `path_part` with bytes that are not durable? Only within `on_sync`.
  bool dirty(const std::string& path_part) const;

private:
  faulty_disk() = default;
};

}  // namespace troupe::test
