#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/store/segment_device.hpp"
#include "runtime/store/table.hpp"

/// What logs and segments there are (docs/formats.md 1.1): the few facts that must be known before a journal is read.
/// Every change is durable when the call returns. Thread-safe.
namespace troupe::store {

class catalogue {
public:
  struct log_row {
    log_info info;
    unsigned lane{0};
  };
  struct segment_row {
    segment_name name;
    std::uint64_t id{0};
    std::uint64_t next{0};  ///< the first sequence it does not hold, all below is synced; 0: it has not ended
    bool sealed{false};
    bool cuts_lost{false};  ///< a truncation or restart was in a block that is lost: nothing older is certain
    std::uint32_t cuts{0};  ///< ended: truncations and restarts in it
  };

  /// `lanes` counts only when the catalogue is new.
  static result<std::unique_ptr<catalogue>> open(std::unique_ptr<table>, unsigned lanes);

  unsigned lanes() const { return lanes_; }
  std::vector<log_row> logs() const;
  std::vector<segment_row> segments() const;

  result<std::vector<log_row>> create(const std::vector<log_identity>&, durability);
  result<void> drop(const std::vector<log_id>&);
  result<void> put(const segment_row&);
  result<void> remove(const std::vector<segment_name>&);

private:
  explicit catalogue(std::unique_ptr<table> rows) : rows_{std::move(rows)} {}
  result<void> load();
  result<void> format(unsigned lanes);

  std::unique_ptr<table> rows_;
  unsigned lanes_{0};
  mutable std::mutex mutex_;
  std::uint32_t next_id_{1};
  std::map<log_id, log_row> logs_;
  std::map<log_identity, log_id> ids_;
  std::map<segment_name, segment_row> segments_;
};

}  // namespace troupe::store
