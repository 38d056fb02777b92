#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/store/catalogue.hpp"
#include "runtime/store/lmdb_device.hpp"
#include "runtime/store/recovery.hpp"
#include "tests/store/workload.hpp"
#include "tests/support/scratch.hpp"

// Damaged files of a store that nobody has open: flipped bits, cut, missing, replaced and foreign bytes. Whatever is
// done to them: no crash, no wrong byte, what is damaged is named, everything else stays readable.
//
// A byte is wrong if the log did not hold it at its offset in the state that it should be in: after an orderly close
// the last one; after a kill any that it had since the last truncation or restart in a sealed segment, because the
// unsynced end of the newest may be forgotten. All that is readable must be of one such state. A trim that is forgotten
// brings back what was right there, so what was trimmed since the last truncation or restart counts as held.

namespace troupe::test {
namespace {

namespace fs = std::filesystem;
using store::durability;
using store::log_store;

constexpr int slots = 6;
constexpr std::size_t batch_bytes_max = 30'000;
constexpr std::uint64_t block_bytes = 64 << 10;

durability level_of(int slot) {
  return slot % 2 ? durability::interval : durability::group;
}

store::options small_store() {
  return {.lanes = 1,
          .segment_bytes = 1 << 20,
          .block_bytes = block_bytes,
          .interval = std::chrono::milliseconds{5},
          .reserve_bytes = 1 << 20,
          .reader_threads = 1};
}

/// A store, and what is in it.
struct specimen {
  scratch_directory dir;
  fs::path closed{dir.path() / "closed"};  ///< closed in order
  fs::path killed{dir.path() / "killed"};  ///< as `kill -9` would leave it
  contents start, inside;
  std::vector<step> steps;                 ///< from `start` to `inside`
  std::map<int, std::uint64_t> cuts_open;  ///< truncations and restarts of a slot outside of sealed segments

  specimen() {
    const auto live = dir.path() / "live";
    fs::create_directory(live);
    auto opened = log_store::open(live, small_store(), [](const store::notice&) {});
    if (!opened) throw std::runtime_error{opened.error().text};
    for (int i = 0; i < slots; ++i) {
      start[i] = {.generation = 1, .exists = true};
      if (!(*opened)->create({identity_of(i, 1)}, level_of(i))) throw std::runtime_error{"create"};
    }
    {
      player plays{**opened, slots, level_of, batch_bytes_max};
      history story{start, {.seed = 42, .batch_bytes_max = batch_bytes_max, .kept_from = 0}};
      for (int i = 0; i < 360; ++i) {
        steps.push_back(story.next());
        if (!plays.play(steps.back(), 16)) throw std::runtime_error{"refused: " + plays.refusal()->text};
      }
      if (!plays.settle()) throw std::runtime_error{"refused"};
      inside = story.now();
    }
    fs::copy(live, killed, fs::copy_options::recursive);
    (*opened)->close();
    opened->reset();
    fs::rename(live, closed);
    count_open_cuts();
  }
  void count_open_cuts() {
    const auto copy = dir.path() / "copy";
    fs::copy(killed, copy, fs::copy_options::recursive);
    auto rows = store::table::open(copy / "catalogue", 1 << 30);
    if (!rows) throw std::runtime_error{rows.error().text};
    const auto known = store::catalogue::open(std::move(*rows), 1);
    if (!known) throw std::runtime_error{known.error().text};
    std::map<log_id, int> slot_of;
    for (const auto& row : (*known)->logs()) slot_of[row.info.id] = row.info.identity.partition.value();
    const auto device = store::make_lmdb_device(copy);
    for (const auto& row : (*known)->segments()) {
      if (row.sealed) continue;
      const auto file = device->open(row.name);
      const auto found = store::scan_segment(**file, row.id);
      for (const auto& b : found->blocks)
        for (const auto& e : b.entries)
          if (is_cut(e.kind) && slot_of.contains(e.log)) ++cuts_open[slot_of[e.log]];
    }
  }
};

const specimen& the_specimen() {
  static const specimen it;
  return it;
}

/// Are all of these batches of one state that the log may be in? `after_kill`: see above.
bool held_together(const specimen& all, int slot, const std::vector<stamp>& found, bool after_kill) {
  std::map<std::uint64_t, stamp> missing;
  for (const auto& s : found) missing[s.number] = s;
  auto due = missing;  // those of `found` that the log ever had, by number
  std::uint64_t cuts = 0;
  for (const auto& s : all.steps)
    cuts += s.slot == slot && (s.what == step::kind::truncate || s.what == step::kind::restart);
  const auto open = all.cuts_open.find(slot);
  const auto certain = after_kill ? cuts - (open == all.cuts_open.end() ? 0 : open->second) : cuts;
  std::vector<stamp> held;
  std::uint64_t seen = 0;
  bool ever = false;
  auto look = [&] { ever = ever || (after_kill && seen >= certain && missing.empty()); };
  auto take_back = [&](std::int64_t end) {
    while (!held.empty() && held.back().base + held.back().offsets > end) {
      if (due.contains(held.back().number)) missing[held.back().number] = held.back();
      held.pop_back();
    }
  };
  look();
  for (const auto& s : all.steps) {
    if (s.slot != slot) continue;
    if (s.what == step::kind::drop || s.what == step::kind::create) held.clear(), missing = due;
    if (s.what == step::kind::truncate) take_back(s.at), ++seen;
    if (s.what == step::kind::restart) take_back(INT64_MIN), ++seen;
    for (const auto& b : s.batches) {
      held.push_back(b);
      if (auto it = missing.find(b.number); it != missing.end() && it->second == b) missing.erase(it);
      look();
    }
    look();
  }
  return ever || missing.empty();
}

/// Every batch of a log that can be read, whatever is damaged between them.
std::vector<stamp> all_readable(log_store& store, log_id id, int slot, std::int64_t generation,
                                const store::log_state& state, std::string& wrong) {
  std::set<std::int64_t> places{state.start.value()};
  for (const auto& s : the_specimen().steps)
    if (s.slot == slot)
      for (const auto& b : s.batches) places.insert(b.base);
  std::vector<stamp> found;
  for (auto at = state.start.value(); at < state.end.value();) {
    auto read = read_log(store, id, slot, generation, log_offset{at}, state.end);
    if (read.wrong_bytes) wrong = *read.wrong_bytes;
    if (!read.batches.empty()) at = std::max(at, read.batches.back().base);
    found.insert(found.end(), read.batches.begin(), read.batches.end());
    if (!read.failed) break;
    const auto next = places.upper_bound(at);
    if (next == places.end()) break;
    at = *next;
  }
  return found;
}

/// Did this log look like that at some time?
bool was_once(const specimen& all, int slot, const log_content& found) {
  std::vector<step> steps;
  for (const auto& s : all.steps)
    if (s.slot == slot) steps.push_back(s);
  return compare({{slot, all.start.at(slot)}}, steps, {}, {{slot, found}}, {}).empty();
}

std::vector<fs::path> files_of(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator{directory})
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

struct notices {
  std::mutex mutex;
  std::string text;
  store::notice_sink sink() {
    return [this](const store::notice& n) {
      const std::lock_guard lock{mutex};
      text += "    " + n.event + " " + n.fields + "\n";
    };
  }
};

struct expectation {
  std::optional<durability> hit;  ///< the chain that may have suffered; nothing: both
  std::uint64_t lost_max{0};      ///< bytes of batches
  bool tail_may_go{false};        ///< after an unclean stop a damaged end looks like one that was never finished
  bool may_not_open{false};
};

std::size_t bytes_of(int slot, const stamp& s) {
  return make_batch(slot, 1, s, batch_bytes_max).bytes.size();
}

/// Opens what is in `directory` and compares it with what it should be. Empty if it is as expected.
std::string judge(const fs::path& directory, const expectation& expected) {
  const auto& due = the_specimen().inside;
  notices heard;
  auto opened = log_store::open(directory, small_store(), heard.sink());
  if (!opened) {
    const auto& text = opened.error().text;
    if (!expected.may_not_open) return "does not open: " + text;
    // Named by its path.
    return text.find(directory.string()) != std::string::npos ? "" : "an error without a file: " + text;
  }
  auto& store = **opened;
  std::uint64_t lost = 0;
  std::map<int, log_id> ids;
  for (const auto& info : store.logs()) ids[info.identity.partition.value()] = info.id;
  for (const auto& [slot, log] : due) {
    const auto name = "log " + std::to_string(slot) + ": ";
    if (!log.exists) {
      if (ids.contains(slot)) return name + "exists again";
      continue;
    }
    if (!ids.contains(slot)) return name + "is gone\n" + heard.text;
    const auto state = store.state(ids[slot]);
    if (!state) return name + state.error().text;
    // What a lost block said of any log nobody knows, and the notice says just that.
    const bool block_lost = heard.text.find("state=lost") != std::string::npos;
    bool named = state->damaged_from || block_lost ||
                 heard.text.find("log=" + std::to_string(ids[slot].value()) + " ") != std::string::npos;
    std::optional<std::pair<std::int64_t, std::string>> mark;
    if (const auto& m = state->last_mark) mark = {m->at.value(), std::string{as_text(m->state)}};
    std::string wrong;
    const auto readable = all_readable(store, ids[slot], slot, log.generation, *state, wrong);
    if (!wrong.empty()) return name + wrong + "\n" + heard.text;
    if (!held_together(the_specimen(), slot, readable, expected.tail_may_go))
      return name + "shows what it did not hold: " +
             to_string({.generation = log.generation,
                        .exists = true,
                        .start = state->start.value(),
                        .end = state->end.value(),
                        .batches = readable}) +
             " for " + to_string(log) + "\n" + heard.text;
    bool whole = state->start.value() == log.start && state->end.value() == log.end && mark == log.mark;
    if (expected.tail_may_go && !whole) {
      // Then the log must be as it was earlier, or damaged and say so. (What of it is readable was right.)
      auto read = read_log(store, ids[slot], slot, log.generation, state->start, state->end);
      if (read.wrong_bytes) return name + *read.wrong_bytes + "\n" + heard.text;
      const log_content found{.generation = log.generation,
                              .exists = true,
                              .start = state->start.value(),
                              .end = state->end.value(),
                              .batches = read.batches,
                              .mark = mark};
      if (named || read.failed || was_once(the_specimen(), slot, found)) continue;
      return name + "never was like that, and nobody says so: " + to_string(found) + "\n" + heard.text;
    }
    // Batch by batch, so that one that is damaged does not hide those behind it.
    for (const auto& b : log.batches) {
      const log_offset from{std::max(b.base, log.start)};
      if (from >= state->end || from < state->start) {
        whole = false;
        lost += bytes_of(slot, b);
        continue;
      }
      auto read = read_log(store, ids[slot], slot, log.generation, from, log_offset{b.base + b.offsets});
      if (read.wrong_bytes) return name + *read.wrong_bytes + "\n" + heard.text;
      const bool another = read.failed ? read.failed->code == errc::internal : read.batches != std::vector{b};
      if (another) return name + "another batch at " + std::to_string(b.base) + "\n" + heard.text;
      if (read.failed && read.failed->code != errc::storage_damaged) return name + read.failed->text;
      if (!read.failed) continue;
      whole = false;
      named = true;
      lost += bytes_of(slot, b);
    }
    if (whole) continue;
    if (expected.hit && *expected.hit != level_of(slot))
      return name + "suffers from damage to another chain\n" + heard.text;
    if (!named)
      return name + "differs and nobody says so: [" + std::to_string(state->start.value()) + ", " +
             std::to_string(state->end.value()) + ") for " + to_string(log) + "\n" + heard.text;
  }
  if (lost > expected.lost_max)
    return std::to_string(lost) + " bytes lost, " + std::to_string(expected.lost_max) + " at most\n" + heard.text;
  return "";
}

class Damage : public ::testing::Test {
protected:
  const specimen& whole{the_specimen()};
  scratch_directory dir;
  random_source chance{99};
  fs::path store{dir.path() / "store"};

  void fresh(const fs::path& from) {
    fs::remove_all(store);
    fs::copy(from, store, fs::copy_options::recursive);
  }
  static std::optional<durability> chain_of(const fs::path& file) {
    const auto text = file.string();
    if (text.find("/group/") != std::string::npos) return durability::group;
    if (text.find("/interval/") != std::string::npos) return durability::interval;
    return std::nullopt;
  }
  static bool in_catalogue(const fs::path& file) { return file.string().find("/catalogue/") != std::string::npos; }
  expectation one_block_of(const fs::path& file) const {
    return {.hit = chain_of(file),
            .lost_max = in_catalogue(file) || file.filename() != "data.mdb" ? 0 : block_bytes + batch_bytes_max,
            .may_not_open = in_catalogue(file)};
  }
  void flip(const fs::path& file, std::uint64_t at) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    char byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(at)), 1);
    byte ^= static_cast<char>(1 << chance.below(8));
    ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at)), 1);
    ::close(fd);
  }
  /// A place in a file: often in the heads of pages and blocks, which say most in few bits.
  std::uint64_t place_in(std::uint64_t size) {
    if (chance.chance(0.5)) return chance.below(size);
    return std::min(chance.below(size / 4096 + 1) * 4096 + chance.below(200), size - 1);
  }
  fs::path segment(durability level, std::size_t number) const {
    std::vector<fs::path> all;
    for (const auto& entry :
         fs::directory_iterator{store / "lane-0" / (level == durability::group ? "group" : "interval")})
      all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all.at(number);
  }
};

TEST_F(Damage, TheSpecimenIsWholeAndHasSealedSegmentsOfBothKinds) {
  fresh(whole.closed);
  EXPECT_EQ(judge(store, {}), "");
  EXPECT_TRUE(fs::exists(segment(durability::group, 0) / "index"));
  EXPECT_TRUE(fs::exists(segment(durability::interval, 0) / "index"));
  fresh(whole.killed);
  EXPECT_EQ(judge(store, {}), "");
}

TEST_F(Damage, AFlippedBitCostsAtMostOneBlockAndIsNamed) {
  for (int i = 0; i < 250 && !HasFailure(); ++i) {
    fresh(whole.closed);
    const auto files = files_of(store);
    const auto& file = files[chance.below(files.size())];
    const auto at = place_in(fs::file_size(file));
    flip(file, at);
    EXPECT_EQ(judge(store, one_block_of(file)), "") << file << " byte " << at;
  }
}

TEST_F(Damage, AFlippedBitAfterAKillIsNamedOrTakesTheUnfinishedEnd) {
  for (int i = 0; i < 100 && !HasFailure(); ++i) {
    fresh(whole.killed);
    const auto files = files_of(store);
    const auto& file = files[chance.below(files.size())];
    const auto at = place_in(fs::file_size(file));
    flip(file, at);
    auto expected = one_block_of(file);
    expected.tail_may_go = true;
    EXPECT_EQ(judge(store, expected), "") << file << " byte " << at;
  }
}

TEST_F(Damage, ManyFlippedBitsNeverYieldWrongBytes) {
  // By hand: TROUPE_DAMAGE_RUNS=5000.
  const auto* runs = std::getenv("TROUPE_DAMAGE_RUNS");
  for (int i = 0; i < (runs ? std::atoi(runs) : 200) && !HasFailure(); ++i) {
    const bool killed = chance.chance(0.5);
    fresh(killed ? whole.killed : whole.closed);
    const auto files = files_of(store);
    std::string places;
    for (auto n = chance.below(40) + 2; n > 0; --n) {
      const auto& file = files[chance.below(files.size())];
      if (in_catalogue(file)) continue;  // it would mostly not open
      const auto at = place_in(fs::file_size(file));
      flip(file, at);
      places += " " + file.lexically_relative(store).string() + ":" + std::to_string(at);
    }
    EXPECT_EQ(judge(store, {.lost_max = ~std::uint64_t{0}, .tail_may_go = killed}), "") << places;
  }
}

/// One lost block is told of by the next; of several, what they cut may be lost for good.
TEST_F(Damage, NeighbouringLostBlocksNeverBringBackWhatWasCut) {
  const auto* runs = std::getenv("TROUPE_DAMAGE_RUNS");
  for (int i = 0; i < (runs ? std::atoi(runs) : 200) && !HasFailure(); ++i) {
    const bool killed = chance.chance(0.5);
    fresh(killed ? whole.killed : whole.closed);
    std::string places;
    for (const auto& file : files_of(store)) {
      if (file.filename() == "index" && chance.chance(0.7)) fs::remove(file);  // so that the blocks are scanned
      if (file.filename() != "data.mdb" || in_catalogue(file)) continue;
      const auto bytes = read_file(file);
      std::vector<std::uint64_t> blocks;
      for (std::uint64_t at = troupe::store::page_head_bytes; at + 8 <= bytes.size(); at += troupe::store::page_bytes)
        if (bytes.compare(at, 8, "TROUPEB2") == 0) blocks.push_back(at);
      if (blocks.empty() || chance.chance(0.5)) continue;
      const auto first = chance.below(blocks.size());
      const auto end = std::min(first + 1 + chance.below(8), blocks.size());
      for (auto b = first; b < end; ++b) flip(file, blocks[b] + chance.below(64));
      places += " " + file.lexically_relative(store).string() + " blocks " + std::to_string(first) + ".." +
                std::to_string(end);
    }
    EXPECT_EQ(judge(store, {.lost_max = ~std::uint64_t{0}, .tail_may_go = killed}), "") << places;
  }
}

TEST_F(Damage, ACutFileIsNamedAndTheRestIsReadable) {
  for (int i = 0; i < 80 && !HasFailure(); ++i) {
    const bool killed = i % 2 == 1;
    fresh(killed ? whole.killed : whole.closed);
    const auto files = files_of(store);
    const auto& file = files[static_cast<std::size_t>(i / 2) % files.size()];
    const auto size = fs::file_size(file);
    const auto left = i < 40 ? size / 2 : chance.below(size);
    fs::resize_file(file, left);
    expectation expected{.hit = chain_of(file), .tail_may_go = killed, .may_not_open = in_catalogue(file)};
    if (file.filename() == "data.mdb") expected.lost_max = size - left + block_bytes + batch_bytes_max;
    EXPECT_EQ(judge(store, expected), "") << file << " cut from " << size << " to " << left;
  }
}

TEST_F(Damage, LockFilesAndIndexesCanBeMadeAnew) {
  fresh(whole.closed);
  for (const auto& file : files_of(store))
    if (file.filename() == "lock.mdb") fs::remove(file);
  EXPECT_EQ(judge(store, {}), "");
  fresh(whole.closed);
  for (const auto& file : files_of(store))
    if (file.filename() == "index") fs::remove(file);
  EXPECT_EQ(judge(store, {}), "");
  // And what recovery has sealed again is as good as before.
  EXPECT_EQ(judge(store, {}), "");
}

TEST_F(Damage, AMissingSegmentIsNamedAndTheOthersAreReadable) {
  for (const auto level : {durability::group, durability::interval}) {
    fresh(whole.closed);
    const auto bytes = fs::file_size(segment(level, 0) / "data.mdb");
    fs::remove_all(segment(level, 0));
    EXPECT_EQ(judge(store, {.hit = level, .lost_max = bytes}), "");
  }
}

TEST_F(Damage, AMissingCatalogueIsNoNewStore) {
  fresh(whole.closed);
  fs::remove(store / "catalogue" / "data.mdb");
  EXPECT_EQ(judge(store, {.may_not_open = true}), "");
}

TEST_F(Damage, AStaleMetaPageHidesNothing) {
  for (const auto& from : {whole.closed, whole.killed}) {
    fresh(from);
    for (const auto& file : files_of(store)) {
      if (file.filename() != "data.mdb" || in_catalogue(file)) continue;
      // The older of the two, under both numbers.
      auto bytes = read_file(file);
      std::uint64_t first = 0, second = 0;
      std::memcpy(&first, bytes.data() + 144, 8);
      std::memcpy(&second, bytes.data() + 4096 + 144, 8);
      if (first < second)
        std::copy_n(bytes.begin() + 16, 136, bytes.begin() + 4096 + 16);
      else
        std::copy_n(bytes.begin() + 4096 + 16, 136, bytes.begin() + 16);
      write_file(file, bytes);
    }
    EXPECT_EQ(judge(store, {}), "");
  }
}

TEST_F(Damage, BlocksOfAnotherSegmentAreNotTakenForItsOwn) {
  for (const auto level : {durability::group, durability::interval}) {
    fresh(whole.killed);
    for (const auto& file : files_of(store))
      if (file.filename() == "index") fs::remove(file);  // so that everything is scanned
    const auto older = read_file(segment(level, 0) / "data.mdb"), newer = read_file(segment(level, 1) / "data.mdb");
    write_file(segment(level, 0) / "data.mdb", older + newer);
    write_file(segment(level, 1) / "data.mdb", newer + older);
    EXPECT_EQ(judge(store, {}), "");
  }
}

TEST_F(Damage, ABlockFoundTwiceCountsOnce) {
  fresh(whole.killed);
  for (const auto& file : files_of(store)) {
    if (file.filename() == "index") fs::remove(file);
    if (file.filename() != "data.mdb" || in_catalogue(file)) continue;
    const auto bytes = read_file(file);
    write_file(file, bytes + bytes);
  }
  EXPECT_EQ(judge(store, {}), "");
}

}  // namespace
}  // namespace troupe::test
