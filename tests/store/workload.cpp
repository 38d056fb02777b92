#include "tests/store/workload.hpp"

#include <algorithm>
#include <future>
#include <sstream>

#include "runtime/base/crc32c.hpp"

namespace troupe::test {

using store::batch;
using store::durability;
using store::log_identity;
using store::log_store;

namespace {

constexpr std::uint64_t magic = 0x48435441'42505254;
constexpr std::size_t head_bytes = 40;
constexpr std::uint16_t checked_from = 24;

std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// magic, slot, generation, base, offsets, size, number; then what follows from the number.
std::vector<std::byte> bytes_of(int slot, std::int64_t generation, const stamp& s, std::size_t size) {
  std::vector<std::byte> bytes(size);
  store_le(bytes.data(), magic);
  store_le(bytes.data() + 8, static_cast<std::uint32_t>(slot));
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(generation));
  store_le(bytes.data() + 16, s.base);
  store_le(bytes.data() + 24, s.offsets);
  store_le(bytes.data() + 28, static_cast<std::uint32_t>(size));
  store_le(bytes.data() + 32, s.number);
  auto x = mixed(s.number + 1);
  for (auto at = head_bytes; at < size; at += 8) {
    x += 0x9e3779b97f4a7c15;
    const auto word = x ^ (x >> 29);
    std::memcpy(bytes.data() + at, &word, std::min<std::size_t>(8, size - at));
  }
  return bytes;
}

std::int64_t end_of(const stamp& s) {
  return s.base + s.offsets;
}

bool same(const log_content& a, const log_content& b) {
  return (!a.exists && !b.exists) || a == b;
}

}  // namespace

std::string to_string(const log_content& c) {
  std::ostringstream text;
  if (!c.exists) return "no log";
  text << "generation " << c.generation << " [" << c.start << ", " << c.end << ")";
  if (c.mark) text << " mark " << c.mark->first << " '" << c.mark->second << "'";
  text << " batches:";
  const auto n = c.batches.size();
  for (std::size_t i = n > 6 ? n - 6 : 0; i < n; ++i)
    text << " " << c.batches[i].base << "+" << c.batches[i].offsets << "#" << c.batches[i].number;
  text << " (" << n << ")";
  return text.str();
}

// -- histories ------------------------------------------------------------------------------------------

void carry_out(contents& all, const step& s) {
  if (s.what == step::kind::clean) return;
  auto& log = all[s.slot];
  switch (s.what) {
    case step::kind::append:
      log.batches.insert(log.batches.end(), s.batches.begin(), s.batches.end());
      log.end = end_of(s.batches.back());
      break;
    case step::kind::truncate:
      while (!log.batches.empty() && end_of(log.batches.back()) > s.at) {
        log.end = std::max(log.start, log.batches.back().base);
        log.batches.pop_back();
      }
      if (log.mark && log.mark->first > log.end) log.mark.reset();
      break;
    case step::kind::trim:
      log.start = std::max(log.start, std::min(s.at, log.end));
      std::erase_if(log.batches, [&](const stamp& b) { return end_of(b) <= log.start; });
      break;
    case step::kind::restart:
      log.start = log.end = s.at;
      log.batches.clear();
      log.mark.reset();
      break;
    case step::kind::mark:
      log.mark = {s.at, s.state};
      break;
    case step::kind::drop:
      log = {.generation = log.generation};
      break;
    case step::kind::create:
      log = {.generation = s.generation, .exists = true};
      break;
    case step::kind::clean:
      break;
  }
}

step history::next() {
  using kind = step::kind;
  auto slot = std::next(now_.begin(), static_cast<std::ptrdiff_t>(chance_.below(now_.size())));
  const auto absent = std::find_if(now_.begin(), now_.end(), [](const auto& x) { return !x.second.exists; });
  if (absent != now_.end() && chance_.chance(0.5)) slot = absent;
  const auto& log = slot->second;
  step s{.what = kind::append, .slot = slot->first};
  const auto dice = options_.only_append ? 0 : chance_.below(100);
  if (!log.exists) {
    s.what = kind::create;
    s.generation = log.generation + 1;
  } else if (dice < 68 || (log.batches.empty() && dice < 85)) {
    auto base = log.end;
    for (auto n = chance_.below(4) + 1; n > 0; --n) {
      stamp b{.base = base, .offsets = static_cast<std::int32_t>(chance_.below(50) + 1), .number = mixed(chance_())};
      // No two appends of a history end alike, so that `durable(end)` says which one is meant.
      while (!ends_[slot->first].insert(end_of(b)).second) ++b.offsets;
      base = end_of(b);
      s.batches.push_back(b);
    }
  } else if (dice < 76) {
    s.what = kind::truncate;
    const auto lowest = end_of(log.batches.front());
    // Mostly near the end, as a follower does.
    const auto reach = chance_.chance(0.8) ? std::min<std::int64_t>(log.end - lowest, 200) : log.end - lowest;
    s.at = log.end - static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(reach) + 1));
  } else if (dice < 85) {
    s.what = kind::trim;
    const auto held = static_cast<std::uint64_t>(log.end - log.start);
    s.at = log.start + static_cast<std::int64_t>(chance_.below((chance_.chance(0.9) ? held / 2 : held) + 1));
  } else if (dice < 94) {
    s.what = kind::mark;
    s.at = log.end;
    s.state = "state " + std::to_string(chance_()) + std::string(chance_.below(300), '.');
  } else if (dice < 95) {
    s.what = kind::restart;
    s.at = static_cast<std::int64_t>(chance_.below(1'000'000'000));
  } else if (dice < 97 && slot->first < options_.kept_from) {
    s.what = kind::drop;
  } else {
    s.what = kind::clean;
  }
  carry_out(now_, s);
  return s;
}

log_identity identity_of(int slot, std::int64_t generation) {
  uuid topic;
  topic.bytes[0] = 1;
  return {topic, partition_index{slot}, generation};
}

batch make_batch(int slot, std::int64_t generation, const stamp& s, std::size_t batch_bytes_max) {
  // Many small, some large.
  const auto luck = mixed(s.number ^ 7);
  const auto range = luck % 4 == 0 ? batch_bytes_max : std::max<std::size_t>(batch_bytes_max / 16, 64);
  const auto size = head_bytes + (luck >> 8) % (range - head_bytes);
  batch b;
  b.base = log_offset{s.base};
  b.offsets = s.offsets;
  b.timestamp_max = static_cast<std::int64_t>(s.number % 1'000'000);
  b.bytes = shared_bytes::own(bytes_of(slot, generation, s, size));
  b.checked_from = checked_from;
  b.crc = crc32c(b.bytes.view().subspan(checked_from));
  return b;
}

// -- reading back -----------------------------------------------------------------------------------------

namespace {

/// The stamps of whole batches side by side; text if the bytes are not what was written.
std::optional<std::string> parse(byte_view bytes, int slot, std::int64_t generation, std::vector<stamp>& out) {
  while (!bytes.empty()) {
    if (bytes.size() < head_bytes || load_le<std::uint64_t>(bytes.data()) != magic) return "no batch where one is due";
    const std::size_t size = load_le<std::uint32_t>(bytes.data() + 28);
    if (size < head_bytes || size > bytes.size()) return "a batch of impossible size";
    const stamp s{load_le<std::int64_t>(bytes.data() + 16), load_le<std::int32_t>(bytes.data() + 24),
                  load_le<std::uint64_t>(bytes.data() + 32)};
    const auto due = bytes_of(slot, generation, s, size);
    if (!std::equal(due.begin(), due.end(), bytes.begin()))
      return "wrong bytes in the batch at " + std::to_string(s.base);
    out.push_back(s);
    bytes = bytes.subspan(size);
  }
  return std::nullopt;
}

result<store::read_result> read_now(log_store& store, log_id id, log_offset from, const store::read_limits& limits) {
  auto later = std::make_shared<std::promise<result<store::read_result>>>();
  auto at_once = store.read(id, from, limits, [later](auto found) { later->set_value(std::move(found)); });
  return at_once ? std::move(*at_once) : later->get_future().get();
}

}  // namespace

log_reading read_log(log_store& store, log_id id, int slot, std::int64_t generation, log_offset from, log_offset end) {
  log_reading done;
  while (from < end) {
    auto found = read_now(store, id, from, {.end = end, .bytes_max = 64 << 10});
    if (!found) {
      done.failed = found.error();
      return done;
    }
    const auto before = done.batches.size();
    for (const auto& piece : found->slices) {
      auto bytes = piece.load();
      if (!bytes) {
        done.failed = bytes.error();
        return done;
      }
      if (auto wrong = parse(*bytes, slot, generation, done.batches)) {
        done.wrong_bytes = *wrong + ", read from " + std::to_string(from.value());
        return done;
      }
    }
    if (done.batches.size() == before) {
      done.failed = {errc::internal, "nothing at " + std::to_string(from.value()) + " of a log that ends at " +
                                         std::to_string(end.value())};
      return done;
    }
    const auto& first = done.batches[before];
    if (first.base > from.value() || end_of(first) <= from.value() ||
        (before > 0 && first.base != end_of(done.batches[before - 1])) ||
        found->next.value() != end_of(done.batches.back()))
      done.wrong_bytes = "batches that do not follow each other at " + std::to_string(from.value());
    for (auto i = before + 1; i < done.batches.size(); ++i)
      if (done.batches[i].base != end_of(done.batches[i - 1]))
        done.wrong_bytes = "a gap before " + std::to_string(done.batches[i].base);
    if (done.wrong_bytes) return done;
    from = found->next;
  }
  return done;
}

contents read_contents(log_store& store, int slots, std::vector<std::string>& trouble) {
  contents all;
  for (int i = 0; i < slots; ++i) all[i];
  for (const auto& info : store.logs()) {
    const int slot = info.identity.partition.value();
    auto& log = all[slot];
    const auto name = "log " + std::to_string(slot) + ": ";
    if (log.exists) trouble.push_back(name + "two generations exist");
    auto state = store.state(info.id);
    if (!state) {
      trouble.push_back(name + state.error().text);
      continue;
    }
    log = {
        .generation = info.identity.added_at, .exists = true, .start = state->start.value(), .end = state->end.value()};
    if (state->last_mark) log.mark = {state->last_mark->at.value(), std::string{as_text(state->last_mark->state)}};
    if (state->damaged_from) trouble.push_back(name + "damaged from " + std::to_string(state->damaged_from->value()));
    auto read = read_log(store, info.id, slot, log.generation, state->start, state->end);
    log.batches = std::move(read.batches);
    if (read.failed) trouble.push_back(name + read.failed->text);
    if (read.wrong_bytes) trouble.push_back(name + *read.wrong_bytes);
  }
  return all;
}

std::vector<std::string> compare(const contents& start, const std::vector<step>& steps, const step_counts& acknowledged,
                                 const contents& found, const std::vector<int>& one_order) {
  contents model = start;
  step_counts counts;
  std::map<int, bool> fits, ever;
  std::map<int, log_content> promised;  // the least that must be there
  auto floor_of = [&](int slot) {
    const auto at = acknowledged.find(slot);
    return at == acknowledged.end() ? 0 : at->second;
  };
  auto look = [&](int slot) {
    const auto at = found.find(slot);
    fits[slot] = counts[slot] >= floor_of(slot) && at != found.end() && same(model[slot], at->second);
    ever[slot] = ever[slot] || fits[slot];
    if (counts[slot] == floor_of(slot)) promised[slot] = model[slot];
  };
  bool all_at_once = false;
  auto look_at_all = [&] {
    all_at_once = all_at_once || std::all_of(one_order.begin(), one_order.end(), [&](int slot) { return fits[slot]; });
  };
  for (const auto& [slot, log] : start) look(slot);
  look_at_all();
  for (const auto& s : steps) {
    if (s.what == step::kind::clean) continue;
    // Blocks may part the batches of one append.
    for (std::size_t i = 0; i + 1 < s.batches.size(); ++i) {
      step part = s;
      part.batches = {s.batches[i]};
      carry_out(model, part);
      look(s.slot);
      look_at_all();
    }
    step last = s;
    if (!s.batches.empty()) last.batches = {s.batches.back()};
    carry_out(model, last);
    ++counts[s.slot];
    look(s.slot);
    look_at_all();
  }
  std::vector<std::string> trouble;
  for (const auto& [slot, log] : start)
    if (!ever[slot])
      trouble.push_back("log " + std::to_string(slot) + " is\n    " + to_string(found.at(slot)) +
                        "\n  which it never was since its acknowledged step " + std::to_string(floor_of(slot)) +
                        ", when it was\n    " + to_string(promised[slot]) + "\n  and at last\n    " +
                        to_string(model[slot]));
  if (trouble.empty() && !all_at_once) trouble.push_back("the logs are each right, but not of one moment");
  return trouble;
}

// -- playing ------------------------------------------------------------------------------------------------

struct player::shared {
  struct waiting {
    std::uint64_t count;              // the slot's steps when this one is done
    std::optional<std::int64_t> end;  // append
  };
  struct slot_state {
    std::int64_t generation{0};
    std::uint64_t played{0}, acknowledged{0};
    std::deque<waiting> outstanding;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::map<int, slot_state> slots;
  std::optional<error> refusal;
  bool stopped{false};
  heard hear;

  void acknowledge(int slot, std::uint64_t count) {  // under the lock
    auto& s = slots[slot];
    if (count <= s.acknowledged) return;
    s.acknowledged = count;
    while (!s.outstanding.empty() && s.outstanding.front().count <= count) s.outstanding.pop_front();
    if (hear) hear(slot, count);
    changed.notify_all();
  }
  std::size_t outstanding() const {
    std::size_t n = 0;
    for (const auto& [slot, s] : slots) n += s.outstanding.size();
    return n;
  }
  void refuse(const error& why) {
    if (!refusal) refusal = why;
    changed.notify_all();
  }
};

class player::listener final : public store::log_listener {
public:
  listener(std::shared_ptr<shared> to, int slot, std::int64_t generation)
      : to_{std::move(to)}, slot_{slot}, generation_{generation} {}

  void durable(log_offset end) override {
    const std::lock_guard lock{to_->mutex};
    auto& s = to_->slots[slot_];
    if (s.generation != generation_) return;
    for (const auto& w : s.outstanding)
      if (w.end == end.value()) return to_->acknowledge(slot_, w.count);
  }
  void refused(log_offset, const error& why) override {
    const std::lock_guard lock{to_->mutex};
    if (to_->slots[slot_].generation == generation_) to_->refuse(why);
  }

private:
  std::shared_ptr<shared> to_;
  int slot_;
  std::int64_t generation_;
};

player::player(log_store& store, int slots, std::function<durability(int)> level, std::size_t batch_bytes_max,
               heard acknowledged)
    : store_{store}, level_{std::move(level)}, batch_bytes_max_{batch_bytes_max}, shared_{std::make_shared<shared>()} {
  shared_->hear = std::move(acknowledged);
  for (int slot = 0; slot < slots; ++slot) shared_->slots[slot];
  for (const auto& info : store.logs()) {
    const int slot = info.identity.partition.value();
    shared_->slots[slot].generation = info.identity.added_at;
    hear(slot, info.id);
  }
}

player::~player() {
  for (const auto& [slot, id] : ids_) store_.listen(id, nullptr);
}

void player::hear(int slot, log_id id) {
  ids_[slot] = id;
  store_.listen(id, std::make_shared<listener>(shared_, slot, shared_->slots[slot].generation));
}

bool player::play(const step& s, std::size_t outstanding) {
  if (!wait_below(outstanding)) return false;
  if (s.what == step::kind::clean) {
    store_.clean();
    return true;
  }
  std::int64_t generation = 0;
  std::uint64_t count = 0;
  {
    const std::lock_guard lock{shared_->mutex};
    auto& slot = shared_->slots[s.slot];
    count = ++slot.played;
    if (s.what == step::kind::drop) slot.generation = -1;  // what it still says does not count
    if (s.what == step::kind::create) slot.generation = s.generation;
    generation = slot.generation;
    if (s.what != step::kind::drop && s.what != step::kind::create)
      slot.outstanding.push_back({count, s.batches.empty() ? std::nullopt : std::optional{end_of(s.batches.back())}});
  }
  auto done = [to = shared_, slot = s.slot, generation, count](result<void> how) {
    const std::lock_guard lock{to->mutex};
    if (to->slots[slot].generation != generation) return;
    if (how)
      to->acknowledge(slot, count);
    else
      to->refuse(how.error());
  };
  auto finished = [&](const result<void>& how) {
    const std::lock_guard lock{shared_->mutex};
    if (how)
      shared_->acknowledge(s.slot, count);
    else
      shared_->refuse(how.error());
  };
  switch (s.what) {
    case step::kind::append: {
      std::vector<batch> batches;
      for (const auto& b : s.batches) batches.push_back(make_batch(s.slot, generation, b, batch_bytes_max_));
      store_.append(ids_.at(s.slot), std::move(batches));
      break;
    }
    case step::kind::truncate:
      store_.truncate(ids_.at(s.slot), log_offset{s.at}, done);
      break;
    case step::kind::trim:
      store_.trim(ids_.at(s.slot), log_offset{s.at}, done);
      break;
    case step::kind::restart:
      store_.restart_at(ids_.at(s.slot), log_offset{s.at}, done);
      break;
    case step::kind::mark:
      store_.put_mark(ids_.at(s.slot), {log_offset{s.at}, shared_bytes::copy_of(as_bytes(s.state))}, done);
      break;
    case step::kind::drop:
      finished(store_.drop({ids_.at(s.slot)}));
      ids_.erase(s.slot);
      break;
    case step::kind::create: {
      auto made = store_.create({identity_of(s.slot, s.generation)}, level_(s.slot));
      if (made) hear(s.slot, made->front());
      finished(made ? result<void>{} : result<void>{made.error()});
      break;
    }
    case step::kind::clean:
      break;
  }
  const std::lock_guard lock{shared_->mutex};
  return !shared_->refusal && !shared_->stopped;
}

bool player::wait_below(std::size_t outstanding) {
  std::unique_lock lock{shared_->mutex};
  shared_->changed.wait(lock,
                        [&] { return shared_->refusal || shared_->stopped || shared_->outstanding() < outstanding; });
  return !shared_->refusal && !shared_->stopped;
}

void player::stop() {
  const std::lock_guard lock{shared_->mutex};
  shared_->stopped = true;
  shared_->changed.notify_all();
}

step_counts player::acknowledged() const {
  const std::lock_guard lock{shared_->mutex};
  step_counts counts;
  for (const auto& [slot, s] : shared_->slots) counts[slot] = s.acknowledged;
  return counts;
}

std::optional<error> player::refusal() const {
  const std::lock_guard lock{shared_->mutex};
  return shared_->refusal;
}

}  // namespace troupe::test
