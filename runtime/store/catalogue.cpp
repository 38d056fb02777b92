#include "runtime/store/catalogue.hpp"

#include <algorithm>
#include <map>

namespace troupe::store {
namespace {

constexpr std::uint32_t format_version = 2;
constexpr unsigned lanes_max = 64;

using bytes = std::vector<std::byte>;

bytes key_of(char kind) {
  return {static_cast<std::byte>(kind)};
}
bytes key_of(log_id id) {
  bytes key(5, std::byte{'L'});
  store_be(key.data() + 1, id.value());
  return key;
}
bytes key_of(const segment_name& name) {
  bytes key(11, std::byte{'S'});
  key[1] = static_cast<std::byte>(name.lane);
  key[2] = static_cast<std::byte>(name.level);
  store_be(key.data() + 3, name.first);
  return key;
}
bytes value_of(std::uint32_t number) {
  bytes value(4);
  store_le(value.data(), number);
  return value;
}
bytes value_of(const catalogue::log_row& row) {
  bytes value(30);
  std::memcpy(value.data(), row.info.identity.topic.bytes.data(), 16);
  store_le(value.data() + 16, row.info.identity.partition.value());
  store_le(value.data() + 20, row.info.identity.added_at);
  value[28] = static_cast<std::byte>(row.info.level);
  value[29] = static_cast<std::byte>(row.lane);
  return value;
}
bytes value_of(const catalogue::segment_row& row) {
  bytes value(22);
  store_le(value.data(), row.id);
  store_le(value.data() + 8, row.next);
  value[16] = static_cast<std::byte>(row.sealed);
  value[17] = static_cast<std::byte>(row.cuts_lost);
  store_le(value.data() + 18, row.cuts);
  return value;
}

std::uint8_t u8(std::byte b) {
  return std::to_integer<std::uint8_t>(b);
}
bool is_level(std::uint8_t n) {
  return n <= static_cast<std::uint8_t>(durability::interval);
}

}  // namespace

result<std::unique_ptr<catalogue>> catalogue::open(std::unique_ptr<table> rows, unsigned lanes) {
  std::unique_ptr<catalogue> c{new catalogue{std::move(rows)}};
  auto format = c->rows_->get(key_of('F'));
  if (!format) return format.error();
  if (!*format) {
    if (auto made = c->format(lanes); !made) return made.error();
    return c;
  }
  const auto& value = **format;
  if (value.size() < 4) return {errc::storage_damaged, "the store's catalogue has a format row that is too short"};
  if (const auto version = load_le<std::uint32_t>(value.data()); version != format_version)
    return {errc::wrong_format, "the store has format " + std::to_string(version) + ", this program knows " +
                                    std::to_string(format_version)};
  if (value.size() != 24) return {errc::storage_damaged, "the store's catalogue has a format row of the wrong size"};
  c->lanes_ = load_le<std::uint32_t>(value.data() + 4);
  if (c->lanes_ == 0 || c->lanes_ > lanes_max)
    return {errc::storage_damaged, "the store's catalogue says " + std::to_string(c->lanes_) + " lanes"};
  if (auto loaded = c->load(); !loaded) return loaded.error();
  return c;
}

result<void> catalogue::format(unsigned lanes) {
  bytes value(24);
  store_le(value.data(), format_version);
  store_le(value.data() + 4, static_cast<std::uint32_t>(lanes));
  const auto disk = uuid::random();
  std::memcpy(value.data() + 8, disk.bytes.data(), 16);
  lanes_ = lanes;
  return rows_->commit({{key_of('F'), std::move(value)}, {key_of('N'), value_of(next_id_)}});
}

result<void> catalogue::load() {
  std::optional<error> bad;
  auto refuse = [&](std::string what) {
    bad = error{errc::storage_damaged, "the store's catalogue has a " + std::move(what)};
    return false;
  };
  auto scanned = rows_->scan({}, {}, [&](byte_view key, byte_view value) {
    const auto kind = static_cast<char>(key[0]);
    if (kind == 'N') {
      if (value.size() != 4) return refuse("next id of the wrong size");
      next_id_ = load_le<std::uint32_t>(value.data());
    } else if (kind == 'L') {
      if (key.size() != 5 || value.size() != 30) return refuse("log row of the wrong size");
      log_row row;
      row.info.id = log_id{load_be<std::uint32_t>(key.data() + 1)};
      std::memcpy(row.info.identity.topic.bytes.data(), value.data(), 16);
      row.info.identity.partition = partition_index{load_le<std::int32_t>(value.data() + 16)};
      row.info.identity.added_at = load_le<std::int64_t>(value.data() + 20);
      row.lane = u8(value[29]);
      if (!is_level(u8(value[28])) || row.lane >= lanes_) return refuse("log row with impossible values");
      row.info.level = static_cast<durability>(value[28]);
      ids_.emplace(row.info.identity, row.info.id);
      logs_.emplace(row.info.id, row);
    } else if (kind == 'S') {
      if (key.size() != 11 || value.size() != 22) return refuse("segment row of the wrong size");
      segment_row row;
      row.name.lane = u8(key[1]);
      row.name.first = load_be<std::uint64_t>(key.data() + 3);
      if (!is_level(u8(key[2])) || row.name.lane >= lanes_) return refuse("segment row with impossible values");
      row.name.level = static_cast<durability>(key[2]);
      row.id = load_le<std::uint64_t>(value.data());
      row.next = load_le<std::uint64_t>(value.data() + 8);
      row.sealed = value[16] != std::byte{0};
      row.cuts_lost = value[17] != std::byte{0};
      row.cuts = load_le<std::uint32_t>(value.data() + 18);
      segments_.emplace(row.name, row);
    }
    return true;
  });
  if (!scanned) return scanned;
  if (bad) return *bad;
  if (!logs_.empty() && logs_.rbegin()->first.value() >= next_id_) {
    refuse("log id beyond the next one");
    return *bad;
  }
  return {};
}

std::vector<catalogue::log_row> catalogue::logs() const {
  std::scoped_lock lock{mutex_};
  std::vector<log_row> out;
  for (const auto& [id, row] : logs_) out.push_back(row);
  return out;
}

std::vector<catalogue::segment_row> catalogue::segments() const {
  std::scoped_lock lock{mutex_};
  std::vector<segment_row> out;
  for (const auto& [name, row] : segments_) out.push_back(row);
  return out;
}

result<std::vector<catalogue::log_row>> catalogue::create(const std::vector<log_identity>& wanted, durability level) {
  std::scoped_lock lock{mutex_};
  std::vector<log_row> out, made;
  std::vector<table::change> changes;
  std::map<log_identity, std::size_t> places;  // in `made`
  auto next = next_id_;
  for (const auto& identity : wanted) {
    if (auto known = ids_.find(identity); known != ids_.end()) {
      out.push_back(logs_.at(known->second));
      continue;
    }
    const auto [place, first] = places.try_emplace(identity, made.size());
    if (first) {
      made.push_back({{log_id{next}, identity, level}, next % lanes_});
      changes.push_back({key_of(log_id{next}), value_of(made.back())});
      ++next;
    }
    out.push_back(made[place->second]);
  }
  if (made.empty()) return out;
  changes.push_back({key_of('N'), value_of(next)});
  if (auto done = rows_->commit(changes); !done) return done.error();
  next_id_ = next;
  for (const auto& row : made) {
    ids_.emplace(row.info.identity, row.info.id);
    logs_.emplace(row.info.id, row);
  }
  return out;
}

result<void> catalogue::drop(const std::vector<log_id>& ids) {
  std::scoped_lock lock{mutex_};
  std::vector<table::change> changes;
  for (auto id : ids)
    if (logs_.contains(id)) changes.push_back({key_of(id), std::nullopt});
  if (changes.empty()) return {};
  if (auto done = rows_->commit(changes); !done) return done;
  for (auto id : ids)
    if (auto it = logs_.find(id); it != logs_.end()) {
      ids_.erase(it->second.info.identity);
      logs_.erase(it);
    }
  return {};
}

result<void> catalogue::put(const segment_row& row) {
  std::scoped_lock lock{mutex_};
  if (auto done = rows_->commit({{key_of(row.name), value_of(row)}}); !done) return done;
  segments_[row.name] = row;
  return {};
}

result<void> catalogue::remove(const std::vector<segment_name>& names) {
  std::scoped_lock lock{mutex_};
  std::vector<table::change> changes;
  for (const auto& name : names) changes.push_back({key_of(name), std::nullopt});
  if (changes.empty()) return {};
  if (auto done = rows_->commit(changes); !done) return done;
  for (const auto& name : names) segments_.erase(name);
  return {};
}

}  // namespace troupe::store
