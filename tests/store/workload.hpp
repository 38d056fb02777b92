#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/random.hpp"
#include "runtime/store/log.hpp"

/// Random histories of several logs whose outcome can be told from the disk alone.
///
/// Every batch says who it is (slot, generation, base, a number never used twice) and derives the rest of its bytes
/// from that, so wrong bytes are seen without remembering what was written. A history is a list of steps that depends
/// on the seed and on the state it starts from, never on timing: whoever knows both can say what the logs look like
/// after any number of steps. After a crash every log must look as it did after some step, no earlier than the last
/// one that was acknowledged.
namespace troupe::test {

struct stamp {
  std::int64_t base{0};
  std::int32_t offsets{0};
  std::uint64_t number{0};
  friend bool operator==(const stamp&, const stamp&) = default;
};

/// What one log holds. `slot` names it for the test; each time it is dropped and made anew its generation rises.
struct log_content {
  std::int64_t generation{0};
  bool exists{false};
  std::int64_t start{0}, end{0};
  std::vector<stamp> batches;  // that reach above `start`
  std::optional<std::pair<std::int64_t, std::string>> mark;
  friend bool operator==(const log_content&, const log_content&) = default;
};
std::string to_string(const log_content&);
using contents = std::map<int, log_content>;  // by slot

/// One call of a log's owner.
struct step {
  enum class kind { append, truncate, trim, restart, mark, drop, create, clean } what;
  int slot{0};
  std::vector<stamp> batches;  // append
  std::int64_t at{0};          // truncate, trim, restart, mark
  std::string state;           // mark
  std::int64_t generation{0};  // create
};

struct history_options {
  std::uint64_t seed{1};
  std::size_t batch_bytes_max{20'000};
  /// Slots from this one on are never dropped.
  int kept_from{2};
  bool only_append{false};
};

class history {
public:
  history(contents start, const history_options& options)
      : options_{options}, chance_{options.seed}, now_{std::move(start)} {}
  /// Makes the next step and applies it.
  step next();
  const contents& now() const { return now_; }

private:
  history_options options_;
  random_source chance_;
  contents now_;
  std::map<int, std::set<std::int64_t>> ends_;
};
void carry_out(contents&, const step&);

store::log_identity identity_of(int slot, std::int64_t generation);
store::batch make_batch(int slot, std::int64_t generation, const stamp&, std::size_t batch_bytes_max);
/// The stamps of whole batches side by side. An error says what is wrong with the bytes.
result<std::vector<stamp>> parse_batches(byte_view bytes, int slot, std::int64_t generation);

/// All logs below `slots` as the store has them, every byte read and checked. `trouble` gets a line for all that is not
/// right (damage, gaps, wrong bytes); what could be read is in the result.
contents read_contents(store::log_store&, int slots, std::vector<std::string>& trouble);

/// One log from `from` on. Stops at the first error.
struct log_reading {
  std::vector<stamp> batches;
  std::optional<error> failed;
  std::optional<std::string> wrong_bytes;  ///< the store handed out what nobody wrote
};
log_reading read_log(store::log_store&, log_id, int slot, std::int64_t generation, log_offset from, log_offset end);

/// Steps done, by slot.
using step_counts = std::map<int, std::uint64_t>;

/// Is `found` what the logs looked like after some of `steps`, which began at `start`? Every slot must be at or after
/// its `acknowledged` step. Slots in `one_order` must all fit one moment of the whole history: their lane has one
/// order. Says what does not fit.
std::vector<std::string> compare(const contents& start, const std::vector<step>& steps, const step_counts& acknowledged,
                                 const contents& found, const std::vector<int>& one_order);

/// Plays steps against a store and notes what it acknowledges.
class player {
public:
  using heard = std::function<void(int slot, std::uint64_t steps)>;
  /// `level` says the durability of a slot's logs. `acknowledged`, if given, hears of each slot's progress on the
  /// store's threads.
  player(store::log_store&, int slots, std::function<store::durability(int)> level, std::size_t batch_bytes_max,
         heard acknowledged = {});
  ~player();
  /// Gives the step to the store; waits while more than `outstanding` wait for their acknowledgement. False: the store
  /// has refused something, or `stop` was called.
  bool play(const step&, std::size_t outstanding);
  /// Waits until everything is acknowledged. False as above.
  bool settle() { return wait_below(1); }
  void stop();
  step_counts acknowledged() const;
  std::optional<error> refusal() const;

private:
  struct shared;
  class listener;
  bool wait_below(std::size_t outstanding);
  void hear(int slot, log_id);

  store::log_store& store_;
  std::function<store::durability(int)> level_;
  std::size_t batch_bytes_max_;
  std::map<int, log_id> ids_;
  std::shared_ptr<shared> shared_;
};

}  // namespace troupe::test
