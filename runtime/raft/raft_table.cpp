#include "runtime/raft/raft_table.hpp"

#include <algorithm>

#include "runtime/base/crc32c.hpp"
#include "runtime/raft/quorum_codec.hpp"

namespace troupe {

namespace {

using bytes = std::vector<std::byte>;

enum class row : char { identity = 'i', contents = 'C', entry = 'E', hard = 'H', past = 'N', piece = 'P', head = 'S' };

bytes key_of(row kind) {
  return {static_cast<std::byte>(kind)};
}
template <class Number>
bytes key_of(row kind, Number number) {
  bytes key(1 + sizeof number, static_cast<std::byte>(kind));
  store_be(key.data() + 1, number);
  return key;
}
bytes key_of(raft_index index) {
  return key_of(row::entry, static_cast<std::uint64_t>(index.value()));
}

error damaged(std::string text) {
  return {errc::storage_damaged, "quorum: " + std::move(text)};
}
std::string name_of(raft_index index) {
  return std::to_string(index.value());
}

/// A frame of one struct, as the value of a row.
template <class Root, class Fill>
bytes row_of(std::size_t bytes_expected, Fill fill) {
  schema::frame_writer<Root> frame{bytes_expected};
  fill(frame.root());
  const auto done = frame.finish();
  return {done.view().begin(), done.view().end()};
}
bytes row_of(const raft_hard_state& hard) {
  return row_of<schema::RaftHardState>(256, [&](auto& to) { schema::write(to, hard); });
}
bytes row_of(const raft_entry& entry) {
  return row_of<schema::RaftEntry>(schema::frame_bytes(entry), [&](auto& to) { schema::write(to, entry); });
}

}  // namespace

result<std::unique_ptr<raft_table>> raft_table::open(std::unique_ptr<store::table> table, options how) {
  auto self = std::unique_ptr<raft_table>{new raft_table{std::move(table), std::move(how)}};
  if (auto known = self->identify(); !known) return known.error();
  return self;
}

result<void> raft_table::identify() {
  auto found = table_->get(key_of(row::identity));
  if (!found) return found.error();
  if (!*found) return commit({{key_of(row::identity), identity()}}, {});
  const auto& value = **found;
  if (value.size() < 4) return damaged("the row that says whose it is has " + std::to_string(value.size()) + " bytes");
  const auto its_format = load_be<std::uint32_t>(value.data());
  if (its_format == 1 && options_.adopt) return take_over();
  if (its_format != format)
    return {errc::wrong_format,
            "the metadata has format " + std::to_string(its_format) + ", this version reads " + std::to_string(format)};
  if (value.size() != 8) return damaged("the row that says whose it is has " + std::to_string(value.size()) + " bytes");
  const node_id owner{load_be<std::int32_t>(value.data() + 4)};
  if (owner != options_.node)
    return {errc::wrong_format, "this data directory belongs to node " + std::to_string(owner.value()) +
                                    ", not to node " + std::to_string(options_.node.value())};
  return {};
}

/// The first entry after it comes at a higher index than anything in the image had, so what was an offset then (a
/// node's epoch) stays below what is one from now on.
result<void> raft_table::take_over() {
  auto found = options_.adopt(*table_);
  if (!found) return found.error();
  changes todo;
  for (auto& key : found->rows) todo.push_back({std::move(key), std::nullopt});
  todo.push_back({key_of(row::identity), identity()});
  contents after;
  if (!found->image.empty()) {
    const raft_snapshot snapshot{std::max(found->index, raft_index{1}),
                                 raft_term{1},
                                 {{{options_.node, options_.disk}, true}},
                                 {},
                                 found->image};
    put_snapshot(todo, after, snapshot);
    const raft_hard_state hard{raft_term{1}, {}, options_.disk};
    todo.push_back({key_of(row::hard), row_of(hard)});
    after.hard = true;
  }
  return commit(std::move(todo), after);
}

raft_table::bytes raft_table::identity() const {
  bytes mine(8);
  store_be(mine.data(), format);
  store_be(mine.data() + 4, options_.node.value());
  return mine;
}

result<void> raft_table::commit(changes todo, const contents& after) {
  todo.push_back({key_of(row::contents), row_of<schema::RaftRows>(64, [&](schema::RaftRows::Builder& to) {
                    to.setFirst(after.first.value());
                    to.setEnd(after.end.value());
                    to.setSnapshot(after.snapshot.value());
                    to.setHard(after.hard);
                    to.setPast(after.past);
                  })});
  if (auto done = table_->commit(todo); !done) return done;
  contents_ = after;
  return {};
}

// -- writing --------------------------------------------------------------------------------------------------

void raft_table::put_snapshot(changes& todo, contents& after, const raft_snapshot& s) const {
  const auto expected = 256 + schema::frame_bytes(s.members) + schema::frame_bytes(s.sessions);
  todo.push_back(
      {key_of(row::head), row_of<schema::RaftSnapshotHead>(expected, [&](schema::RaftSnapshotHead::Builder& to) {
         to.setIndex(s.index.value());
         to.setTerm(s.term.value());
         schema::write(to.initMembers(schema::count_of(s.members.size())), s.members);
         schema::write(to.initSessions(), s.sessions);
         to.setImageBytes(s.image.size());
         to.setImageCrc(crc32c(s.image));
       })});
  after.snapshot = s.index;
  after.pieces = 0;
  for (std::size_t at = 0; at < s.image.size(); at += piece_bytes) {
    const auto piece = s.image.view().subspan(at, std::min(piece_bytes, s.image.size() - at));
    todo.push_back({key_of(row::piece, after.pieces++), bytes{piece.begin(), piece.end()}});
  }
  for (auto old = after.pieces; old < contents_.pieces; ++old) todo.push_back({key_of(row::piece, old), std::nullopt});
}

result<void> raft_table::write(std::span<const raft::write> writes) {
  TROUPE_CHECK(loaded_);
  // What the writes come to: [first, end) is left of the rows that there are, `fresh` follows.
  auto first = contents_.first, end = contents_.end;
  std::map<raft_index, const raft_entry*> fresh;
  const raft_snapshot* snapshot = nullptr;
  const raft_hard_state* hard = nullptr;
  for (const auto& w : writes) {
    if (w.snapshot) snapshot = w.snapshot.get();
    if (w.hard) hard = &*w.hard;
    if (w.cut_from) {
      end = std::max(first, std::min(end, *w.cut_from));
      fresh.erase(fresh.lower_bound(*w.cut_from), fresh.end());
    }
    if (w.drop_before) {
      first = std::min(end, std::max(first, *w.drop_before));
      fresh.erase(fresh.begin(), fresh.lower_bound(*w.drop_before));
    }
    for (const auto& entry : w.entries) {
      if (first == end && fresh.empty()) first = end = entry.index;
      TROUPE_CHECK(entry.index == (fresh.empty() ? end : fresh.rbegin()->first + 1));
      fresh.emplace(entry.index, &entry);
    }
  }

  changes todo;
  auto after = contents_;
  if (snapshot) put_snapshot(todo, after, *snapshot);
  if (hard) {
    todo.push_back({key_of(row::hard), row_of(*hard)});
    after.hard = true;
  }
  for (auto i = contents_.first; i < contents_.end; i = i + 1)
    if ((i < first || i >= end) && !fresh.contains(i)) todo.push_back({key_of(i), std::nullopt});
  for (const auto& [index, entry] : fresh) todo.push_back({key_of(index), row_of(*entry)});
  after.first = first == end && !fresh.empty() ? fresh.begin()->first : first;
  after.end = fresh.empty() ? end : fresh.rbegin()->first + 1;
  if (todo.empty()) return {};
  return commit(std::move(todo), after);
}

result<void> raft_table::put(const node_past& past) {
  TROUPE_CHECK(loaded_);
  auto after = contents_;
  after.past = true;
  auto value = row_of<schema::NodePast>(256 + past.cluster_id.size() + past.boot_id.size() + past.claimed_by.size(),
                                        [&](schema::NodePast::Builder& to) {
                                          to.setStarts(past.starts);
                                          to.setClusterId(schema::text_of(past.cluster_id));
                                          to.setCleanEpoch(past.clean_epoch);
                                          to.setDistrusted(past.distrusted);
                                          to.setBootId(schema::text_of(past.boot_id));
                                          to.setClaimedBy(schema::text_of(past.claimed_by));
                                        });
  if (auto done = commit({{key_of(row::past), std::move(value)}}, after); !done) return done;
  past_ = past;
  return {};
}

// -- reading --------------------------------------------------------------------------------------------------

/// The rows as they come, in key order, and whether they are all there.
struct raft_table::reading {
  raft_stored stored;
  std::optional<contents> said;  ///< by the row "C"
  std::optional<node_past> past;
  struct head {
    raft_snapshot snapshot;
    std::uint64_t bytes{0};
    std::uint32_t crc{0};
  };
  std::optional<head> snapshot;
  bytes image;
  std::uint32_t pieces{0};

  result<void> row_of_one(row kind, const shared_bytes& value);
  result<void> entry(raft_index, const shared_bytes& value);
  result<void> piece(std::uint32_t number, byte_view value);
  result<void> take(byte_view key, byte_view value);
  result<void> complete();
};

result<void> raft_table::reading::take(byte_view key, byte_view value) {
  const auto kind = static_cast<row>(key[0]);
  if (key.size() == 1 && kind == row::identity) return {};
  if (key.size() == 1) return row_of_one(kind, shared_bytes::copy_of(value));
  if (key.size() == 9 && kind == row::entry)
    return entry(raft_index{load_be<std::int64_t>(key.data() + 1)}, shared_bytes::copy_of(value));
  if (key.size() == 5 && kind == row::piece) return piece(load_be<std::uint32_t>(key.data() + 1), value);
  return damaged("a row with a key of " + std::to_string(key.size()) + " bytes that nobody writes");
}

result<void> raft_table::reading::row_of_one(row kind, const shared_bytes& value) {
  using schema::frame_reader;
  const auto outcome = [](const auto& read) -> result<void> {
    if (read.ok()) return {};
    return damaged(read.error().text);
  };
  switch (kind) {
    case row::contents:
      return outcome(
          schema::read_frame<schema::RaftRows>("what there is", value, [&](frame_reader&, schema::RaftRows::Reader in) {
            said = contents{raft_index{in.getFirst()},
                            raft_index{in.getEnd()},
                            raft_index{in.getSnapshot()},
                            0,
                            in.getHard(),
                            in.getPast()};
            return true;
          }));
    case row::hard:
      return outcome(schema::read_frame<schema::RaftHardState>("hard state", value,
                                                               [&](frame_reader&, schema::RaftHardState::Reader in) {
                                                                 stored.hard = schema::read(in);
                                                                 return true;
                                                               }));
    case row::past:
      return outcome(
          schema::read_frame<schema::NodePast>("node's past", value, [&](frame_reader& in, schema::NodePast::Reader p) {
            past = node_past{
                p.getStarts(),     in.text("cluster id", p.getClusterId()), p.getCleanEpoch(),
                p.getDistrusted(), in.text("boot id", p.getBootId()),       in.text("claimed by", p.getClaimedBy())};
            return true;
          }));
    case row::head:
      return outcome(schema::read_frame<schema::RaftSnapshotHead>(
          "head of the snapshot", value, [&](frame_reader& in, schema::RaftSnapshotHead::Reader s) {
            snapshot = head{{raft_index{s.getIndex()},
                             raft_term{s.getTerm()},
                             schema::read(in, s.getMembers()),
                             schema::read(in, s.getSessions()),
                             {}},
                            s.getImageBytes(),
                            s.getImageCrc()};
            return true;
          }));
    default:
      return damaged(std::string{"a row \""} + static_cast<char>(kind) + "\" that nobody writes");
  }
}

result<void> raft_table::reading::entry(raft_index index, const shared_bytes& value) {
  auto read = schema::read_frame<schema::RaftEntry>(
      "entry", value, [](schema::frame_reader& in, schema::RaftEntry::Reader e) { return schema::read(in, e); });
  if (!read) return damaged("entry " + name_of(index) + ": " + read.error().text);
  if (read->index != index) return damaged("entry " + name_of(index) + " says it is " + name_of(read->index));
  auto& entries = stored.entries;
  if (!entries.empty() && index != entries.back().index + 1)
    return damaged("entry " + name_of(entries.back().index + 1) + " is missing");
  entries.push_back(std::move(*read));
  return {};
}

result<void> raft_table::reading::piece(std::uint32_t number, byte_view value) {
  if (number != pieces) return damaged("piece " + std::to_string(pieces) + " of the snapshot is missing");
  ++pieces;
  image.insert(image.end(), value.begin(), value.end());
  return {};
}

/// All rows have come.
result<void> raft_table::reading::complete() {
  if (!said) return damaged("the row that says what there is is missing");
  const auto& entries = stored.entries;
  const auto first = entries.empty() ? said->end : entries.front().index;
  const auto end = entries.empty() ? said->end : entries.back().index + 1;
  if (first > said->first) return damaged("entry " + name_of(said->first) + " is missing");
  if (end < said->end) return damaged("entry " + name_of(end) + " is missing");
  if (first < said->first || end > said->end)
    return damaged("entries [" + name_of(first) + ", " + name_of(end) + "), of which only [" + name_of(said->first) +
                   ", " + name_of(said->end) + ") should be there");
  if (said->hard != stored.hard.has_value())
    return damaged(said->hard ? "the hard state (term and vote) is missing" : "a hard state that was never written");
  if (said->past != past.has_value())
    return damaged(said->past ? "the node's past is missing" : "a node's past that was never written");

  const auto index = snapshot ? snapshot->snapshot.index : raft_index{-1};
  if (!snapshot && said->snapshot != index)
    return damaged("the head of the snapshot at " + name_of(said->snapshot) + " is missing");
  if (said->snapshot != index)
    return damaged("the snapshot at " + name_of(index) + " is not the one at " + name_of(said->snapshot));
  if (!snapshot) {
    if (pieces > 0) return damaged("pieces of a snapshot that is not there");
    return {};
  }
  const auto expected = (snapshot->bytes + piece_bytes - 1) / piece_bytes;
  if (pieces < expected)
    return damaged("piece " + std::to_string(pieces) + " of the snapshot at " + name_of(index) + " is missing");
  if (pieces > expected || image.size() != snapshot->bytes)
    return damaged("the snapshot at " + name_of(index) + " has " + std::to_string(image.size()) + " bytes in " +
                   std::to_string(pieces) + " pieces, not " + std::to_string(snapshot->bytes));
  if (crc32c(image) != snapshot->crc) return damaged("the snapshot at " + name_of(index) + ": its checksum is another");
  snapshot->snapshot.image = shared_bytes::own(std::move(image));
  stored.snapshot = std::make_shared<const raft_snapshot>(std::move(snapshot->snapshot));
  return {};
}

result<raft_stored> raft_table::load() {
  reading all;
  std::optional<error> trouble;
  const auto scanned = table_->scan({}, {}, [&](byte_view key, byte_view value) {
    if (auto taken = all.take(key, value); !taken) trouble = taken.error();
    return !trouble;
  });
  if (!scanned) return scanned.error();
  if (trouble) return *trouble;
  if (auto whole = all.complete(); !whole) return whole.error();
  if (auto sound = raft::sound({options_.node, options_.disk}, all.stored); !sound) return sound.error();
  contents_ = *all.said;
  contents_.pieces = all.pieces;
  past_ = all.past.value_or(node_past{});
  loaded_ = true;
  return std::move(all.stored);
}

}  // namespace troupe
