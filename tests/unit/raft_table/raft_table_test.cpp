#include "runtime/raft/raft_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "actors/controller/former_metadata.hpp"
#include "runtime/raft/quorum_codec.hpp"
#include "runtime/store/memory_disk.hpp"
#include "tests/support/former_metadata_store.hpp"
#include "tests/support/scratch.hpp"
#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

using rows = std::map<std::vector<std::byte>, std::vector<std::byte>>;
using bytes = std::vector<std::byte>;
const raft_peer self{node_id{1}, {{9, 9}}}, other{node_id{2}, {{8}}};

/// A table in memory that counts commits, and refuses them on demand.
class counting_table final : public store::table {
public:
  struct state {
    std::shared_ptr<store::memory_table::contents> contents = std::make_shared<store::memory_table::contents>();
    int commits{0};
    std::optional<error> refuse;
    rows& all() { return contents->rows; }
  };
  explicit counting_table(state& s) : state_{s}, rows_{s.contents} {}
  result<std::optional<bytes>> get(byte_view key) const override { return rows_.get(key); }
  result<void> scan(byte_view from, byte_view to,
                    const std::function<bool(byte_view, byte_view)>& visit) const override {
    return rows_.scan(from, to, visit);
  }
  result<void> commit(const std::vector<change>& changes) override {
    if (state_.refuse) return *state_.refuse;
    ++state_.commits;
    for (const auto& c : changes) {
      if (!c.value) {
        EXPECT_TRUE(state_.all().contains(c.key)) << "deletes what is not there";
      }
    }
    return rows_.commit(changes);
  }

private:
  state& state_;
  store::memory_table rows_;
};
using disk = counting_table::state;

result<raft_table::former> adopt(const store::table& table) {
  auto found = read_former_metadata(table, self.node);
  if (!found) return found.error();
  TROUPE_CHECK(found->has_value());
  raft_table::former former{raft_index{(*found)->image.applied.value()}, {}, std::move((*found)->rows)};
  const auto records = (*found)->image.snapshot();
  if (!records.empty()) former.image = shared_bytes::own(encode_all(records));
  return former;
}

result<std::unique_ptr<raft_table>> open(disk& d, node_id node = self.node, uuid id = self.disk) {
  return raft_table::open(std::make_unique<counting_table>(d), {node, id, &adopt});
}
std::unique_ptr<raft_table> opened(disk& d) {
  auto table = open(d);
  EXPECT_TRUE(table.ok()) << (table.ok() ? "" : table.error().text);
  return table.ok() ? std::move(*table) : nullptr;
}

void expect_same(const raft_stored& a, const raft_stored& b) {
  EXPECT_EQ(a.hard, b.hard);
  ASSERT_EQ(a.snapshot != nullptr, b.snapshot != nullptr);
  if (a.snapshot) {
    EXPECT_EQ(a.snapshot->index, b.snapshot->index);
    EXPECT_EQ(a.snapshot->term, b.snapshot->term);
    EXPECT_EQ(a.snapshot->members, b.snapshot->members);
    EXPECT_EQ(a.snapshot->sessions, b.snapshot->sessions);
    EXPECT_TRUE(std::ranges::equal(a.snapshot->image.view(), b.snapshot->image.view()));
  }
  ASSERT_EQ(a.entries.size(), b.entries.size());
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    const auto &x = a.entries[i], &y = b.entries[i];
    EXPECT_EQ(std::tie(x.term, x.index, x.kind, x.client, x.sequence, x.members),
              std::tie(y.term, y.index, y.kind, y.client, y.sequence, y.members));
    EXPECT_TRUE(std::ranges::equal(x.payload.view(), y.payload.view()));
  }
}

shared_bytes some_bytes(random_source& random, std::size_t count) {
  bytes all(count);
  for (auto& b : all) b = static_cast<std::byte>(random());
  return shared_bytes::own(std::move(all));
}

/// What raft would write, at random, and what it comes to.
class history {
public:
  explicit history(std::uint64_t seed) : random_{seed} {}

  raft::write next() {
    auto& stored = model_;
    const auto base = stored.snapshot ? stored.snapshot->index : raft_index{};
    raft::write w{.number = ++number_};
    auto end = stored.entries.empty() ? base + 1 : stored.entries.back().index + 1;
    if (!stored.hard || random_.chance(0.2)) {
      term_ = term_ + 1;
      w.hard = {raft_term{term_}, random_.chance(0.5) ? std::optional{other} : std::nullopt, self.disk};
    }
    if (random_.chance(0.1)) {  // of what is here, or from elsewhere
      const bool foreign = random_.chance(0.5);
      const auto at = foreign ? end + 7 : end - 1;
      if (at > base || !stored.snapshot) {
        w.snapshot = std::make_shared<const raft_snapshot>(
            raft_snapshot{at,
                          raft_term{term_},
                          {{self, true}, {other, false}},
                          {{{{3, raft_index{1}}, 2, raft_index{1}}}, raft_index{1}},
                          some_bytes(random_, random_.below(3) * raft_table::piece_bytes + random_.below(3))});
        if (foreign && !stored.entries.empty()) w.cut_from = stored.entries.front().index;
        if (foreign) end = at + 1;
      }
    } else if (!stored.entries.empty() && end - 1 > base && random_.chance(0.2)) {
      end = std::max(base, stored.entries.front().index - 1) + 1;
      end = end +
            static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(stored.entries.back().index - end) + 1));
      w.cut_from = end;
    } else if (!stored.entries.empty() && stored.entries.front().index < base && random_.chance(0.3)) {
      w.drop_before = base - static_cast<std::int64_t>(random_.below(3)) + 1;
    }
    for (auto n = random_.below(4); n > 0; --n, end = end + 1) {
      raft_entry e{raft_term{term_}, end, raft_entry::kind_t::command, {random_(), raft_index{1}}, random_(), {}, {}};
      e.payload = some_bytes(random_, random_.below(100));
      if (random_.chance(0.2)) e.members = {{self, true}};
      w.entries.push_back(std::move(e));
    }
    take(w);
    return w;
  }
  const raft_stored& model() const { return model_; }

private:
  void take(const raft::write& w) {
    if (w.snapshot) model_.snapshot = w.snapshot;
    if (w.hard) model_.hard = w.hard;
    if (w.cut_from) std::erase_if(model_.entries, [&](const raft_entry& e) { return e.index >= *w.cut_from; });
    if (w.drop_before) std::erase_if(model_.entries, [&](const raft_entry& e) { return e.index < *w.drop_before; });
    model_.entries.insert(model_.entries.end(), w.entries.begin(), w.entries.end());
  }

  random_source random_;
  raft_stored model_;
  std::uint64_t number_{0};
  std::int64_t term_{0};
};

TEST(RaftTable, GivesBackAfterEachReopenWhatWasWritten) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    disk d;
    history h{seed};
    random_source random{seed};
    auto table = opened(d);
    expect_same(table->load().value(), {});
    for (int step = 0; step < 100; ++step) {
      std::vector<raft::write> writes;
      for (auto n = 1 + random.below(4); n > 0; --n) writes.push_back(h.next());
      const auto before = d.commits;
      ASSERT_TRUE(table->write(writes).ok());
      EXPECT_LE(d.commits, before + 1);
      auto again = opened(d);
      auto stored = again->load();
      ASSERT_TRUE(stored.ok()) << stored.error().text << ", seed " << seed << ", step " << step;
      expect_same(*stored, h.model());
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ", step " << step;
      if (random.chance(0.3)) table = std::move(again);
    }
    // Nothing is left of what was replaced.
    const auto& m = h.model();
    const auto pieces =
        m.snapshot ? 1 + (m.snapshot->image.size() + raft_table::piece_bytes - 1) / raft_table::piece_bytes : 0;
    EXPECT_EQ(d.all().size(), 3 + pieces + m.entries.size());
  }
}

TEST(RaftTable, ARefusedWriteChangesNothing) {
  disk d;
  history h{1};
  auto table = opened(d);
  ASSERT_TRUE(table->load().ok());
  std::vector<raft::write> writes;
  for (int i = 0; i < 20; ++i) writes.push_back(h.next());
  d.refuse = error{errc::storage_full, "no space"};
  EXPECT_EQ(table->write(writes).code(), errc::storage_full);
  EXPECT_EQ(table->put({.starts = 1}).code(), errc::storage_full);
  EXPECT_EQ(table->past(), node_past{});
  d.refuse.reset();
  ASSERT_TRUE(table->write(writes).ok());
  expect_same(opened(d)->load().value(), h.model());
}

TEST(RaftTable, KeepsTheNodesPast) {
  disk d;
  auto table = opened(d);
  ASSERT_TRUE(table->load().ok());
  EXPECT_EQ(table->past(), (node_past{0, "", -1, false}));
  for (const auto& past : {node_past{1, "", -1, false}, node_past{2, "cluster", 77, true, "boot", "another"}}) {
    ASSERT_TRUE(table->put(past).ok());
    EXPECT_EQ(table->past(), past);
    table = opened(d);
    ASSERT_TRUE(table->load().ok());
    EXPECT_EQ(table->past(), past);
  }
}

/// Bytes as they were written before there were claims.
TEST(RaftTable, UnderstandsThePastThatEarlierVersionsWrote) {
  constexpr std::uint8_t written[] = {0,    0,    0,   0, 8,   0,   0,   0,    0, 0,    0,    0,    3,    0,    2,
                                      0,    3,    0,   0, 0,   0,   0,   0,    0, 0xb2, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 1,   0, 0,   0,   0,   0,    0, 0,    5,    0,    0,    0,    0x42,
                                      0,    0,    0,   5, 0,   0,   0,   0x2a, 0, 0,    0,    'c',  'l',  'u',  's',
                                      't',  'e',  'r', 0, 'b', 'o', 'o', 't',  0, 0,    0,    0};
  const node_past past{3, "cluster", 77, true, "boot"};
  disk d;
  auto table = opened(d);
  ASSERT_TRUE(table->load().ok());
  ASSERT_TRUE(table->put(past).ok());
  const auto row = std::ranges::find(d.all(), std::byte{'N'}, [](const auto& r) { return r.first.front(); });
  ASSERT_NE(row, d.all().end());
  const auto raw = as_bytes(std::span{written});
  row->second.assign(raw.begin(), raw.end());
  table = opened(d);
  ASSERT_TRUE(table->load().ok());
  EXPECT_EQ(table->past(), past);
}

TEST(RaftTable, LivesOnARealTable) {
  const test::scratch_directory scratch;
  history h{3};
  for (std::uint64_t start = 1; start <= 5; ++start) {
    auto lmdb = store::table::open(scratch.path() / "metadata", 1ull << 30);
    ASSERT_TRUE(lmdb.ok()) << lmdb.error().text;
    auto table = raft_table::open(std::move(*lmdb), {self.node, self.disk, {}});
    ASSERT_TRUE(table.ok()) << table.error().text;
    auto stored = (*table)->load();
    ASSERT_TRUE(stored.ok()) << stored.error().text;
    expect_same(*stored, h.model());
    EXPECT_EQ((*table)->past().starts, start - 1);
    ASSERT_TRUE((*table)->put({.starts = start}).ok());
    for (int i = 0; i < 10; ++i) ASSERT_TRUE((*table)->write(std::vector{h.next(), h.next()}).ok());
  }
}

/// Rows as the first version wrote them: they must be readable for ever.
TEST(RaftTable, RowsOfTheFirstVersionAreUnderstood) {
  const auto hex_of = [](byte_view row) {
    std::string text;
    for (const auto b : row)
      for (const auto nibble : {std::to_integer<unsigned>(b) >> 4, std::to_integer<unsigned>(b) & 15})
        text += "0123456789abcdef"[nibble];
    return text;
  };
  disk d;
  auto table = opened(d);
  ASSERT_TRUE(table->load().ok());
  raft::write w{.number = 1};
  w.hard = {raft_term{2}, other, self.disk};
  w.snapshot =
      std::make_shared<const raft_snapshot>(raft_snapshot{raft_index{3},
                                                          raft_term{1},
                                                          {{self, true}},
                                                          {{{{5, raft_index{1}}, 2, raft_index{3}}}, raft_index{1}},
                                                          shared_bytes::copy_of(as_bytes("image"))});
  w.entries = {{raft_term{2},
                raft_index{4},
                raft_entry::kind_t::command,
                {5, raft_index{1}},
                3,
                {},
                shared_bytes::copy_of(as_bytes("abc"))}};
  ASSERT_TRUE(table->write(std::span{&w, 1}).ok());
  ASSERT_TRUE(table->put({4, "cluster", 5, true, "boot"}).ok());
  const std::pair<std::string_view, std::string_view> samples[] = {
      {"43", "0000000005000000000000000400000004000000000000000500000000000000fcffffffffffffff0300000000000000"},
      {"450000000000000004",
       "000000000b00000000000000040003000200000000000000040000000000000000000000000000000300000000000000"
       "08000000020000000000000000000000090000001a000000050000000000000001000000000000006162630000000000"},
      {"48",
       "000000000a00000000000000010002000200000000000000040000000100010010000000020000000200000000000000"
       "00000000020000000000000000000008000000000000000000000000000009090000000000000000"},
      {"4e",
       "000000000a00000000000000030003000400000000000000faffffffffffffff01000000000000000900000042000000"
       "090000002a000000090000000a000000636c757374657200626f6f74000000000000000000000000"},
      {"5000000000", "696d616765"},
      {"53",
       "00000000160000000000000004000200030000000000000001000000000000000500000000000000befcfb9500000000"
       "05000000170000001c000000010001000400000001000100010000000000000000000000010001000100000000000000"
       "0000000002000000000000000000090900000000000000000100000000000000010000001f0000000400000002000100"
       "02000000000000000300000000000000000000000200000005000000000000000100000000000000"},
      {"69", "0000000200000001"},
  };
  std::size_t at = 0;
  ASSERT_EQ(d.all().size(), std::size(samples));
  for (const auto& [key, value] : d.all()) {
    EXPECT_EQ(hex_of(key), samples[at].first);
    EXPECT_EQ(hex_of(value), samples[at++].second);
  }
}

// -- damage -------------------------------------------------------------------------------------------------------

/// Entries 2 to 6, a snapshot at 3 in three pieces, a hard state, a past.
void fill(disk& d) {
  auto table = opened(d);
  ASSERT_TRUE(table->load().ok());
  random_source random{5};
  raft::write w{.number = 1};
  w.hard = {raft_term{2}, other, self.disk};
  w.snapshot = std::make_shared<const raft_snapshot>(raft_snapshot{
      raft_index{3}, raft_term{1}, {{self, true}}, {}, some_bytes(random, 2 * raft_table::piece_bytes + 5)});
  for (int i = 2; i < 7; ++i) w.entries.push_back({raft_term{2}, raft_index{i}});
  ASSERT_TRUE(table->write(std::span{&w, 1}).ok());
  ASSERT_TRUE(table->put({.starts = 4}).ok());
}
error trouble(disk& d) {
  auto table = open(d);
  if (!table) return table.error();
  auto stored = (*table)->load();
  EXPECT_FALSE(stored.ok());
  return stored.ok() ? error{} : stored.error();
}
bytes key(char kind, std::initializer_list<int> rest = {}) {
  bytes k{static_cast<std::byte>(kind)};
  for (int b : rest) k.push_back(static_cast<std::byte>(b));
  return k;
}
bytes entry_key(int index) {
  return key('E', {0, 0, 0, 0, 0, 0, 0, index});
}
bytes piece_key(int number) {
  return key('P', {0, 0, 0, number});
}

TEST(RaftTable, ARowThatIsLostIsNamed) {
  const std::pair<bytes, std::string> cases[] = {
      {key('C'), "the row that says what there is is missing"},
      {entry_key(2), "entry 2 is missing"},
      {entry_key(4), "entry 4 is missing"},
      {entry_key(6), "entry 6 is missing"},
      {key('H'), "the hard state (term and vote) is missing"},
      {key('N'), "the node's past is missing"},
      {key('S'), "the head of the snapshot at 3 is missing"},
      {piece_key(0), "piece 0 of the snapshot is missing"},
      {piece_key(1), "piece 1 of the snapshot is missing"},
      {piece_key(2), "piece 2 of the snapshot at 3 is missing"},
  };
  for (const auto& [lost, text] : cases) {
    disk d;
    fill(d);
    ASSERT_EQ(d.all().erase(lost), 1u) << text;
    const auto e = trouble(d);
    EXPECT_EQ(e.code, errc::storage_damaged);
    EXPECT_NE(e.text.find(text), std::string::npos) << e.text;
  }
}

TEST(RaftTable, ARowThatDoesNotDecodeIsNamed) {
  const std::pair<bytes, std::string> cases[] = {
      {key('i'), "whose it is"}, {key('C'), "what there is"}, {entry_key(4), "entry 4"},
      {key('H'), "hard state"},  {key('N'), "node's past"},   {key('S'), "head of the snapshot"},
  };
  for (const auto& [damaged, text] : cases) {
    disk d;
    fill(d);
    d.all().at(damaged).resize(3);
    const auto e = trouble(d);
    EXPECT_EQ(e.code, errc::storage_damaged);
    EXPECT_NE(e.text.find(text), std::string::npos) << e.text;
  }
}

TEST(RaftTable, RowsThatContradictEachOtherAreNamed) {
  const auto text_of = [](auto change) {
    disk d;
    fill(d);
    change(d.all());
    const auto e = trouble(d);
    EXPECT_EQ(e.code, errc::storage_damaged);
    return e.text;
  };
  EXPECT_NE(text_of([](rows& r) { r[piece_key(2)][0] ^= std::byte{1}; }).find("its checksum is another"),
            std::string::npos);
  EXPECT_NE(text_of([](rows& r) { r[piece_key(3)] = {}; }).find("in 4 pieces"), std::string::npos);
  EXPECT_NE(text_of([](rows& r) { r[entry_key(5)] = r[entry_key(4)]; }).find("entry 5 says it is 4"),
            std::string::npos);
  EXPECT_NE(text_of([](rows& r) { r[entry_key(9)] = r[entry_key(4)]; }).find("entry 9"), std::string::npos);
  EXPECT_NE(text_of([](rows& r) { r[key('z')] = {}; }).find("nobody writes"), std::string::npos);
  EXPECT_NE(text_of([](rows& r) { r[key('r', {1, 2})] = {}; }).find("nobody writes"), std::string::npos);
}

TEST(RaftTable, RefusesTheTableOfAnotherNodeDiskOrANewerFormat) {
  disk d;
  fill(d);
  const auto other_node = open(d, node_id{2});
  ASSERT_FALSE(other_node.ok());
  EXPECT_EQ(other_node.code(), errc::wrong_format);
  EXPECT_NE(other_node.error().text.find("node 1"), std::string::npos);
  EXPECT_EQ((*open(d, self.node, other.disk))->load().code(), errc::wrong_format);
  store_be<std::uint32_t>(d.all().at(key('i')).data(), 3);
  const auto newer = open(d);
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.code(), errc::wrong_format);
  EXPECT_NE(newer.error().text.find("format 3"), std::string::npos);
}

// -- what was there before a quorum -------------------------------------------------------------------------------

/// The rows of a node that was alone, with a snapshot and records behind it.
metadata_image fill_as_before(disk& d, int steps) {
  counting_table table{d};
  test::former_metadata_store store{table, self.node, 7};
  if (steps == 0) return store.image();
  EXPECT_TRUE(store.commit({cluster_formed{"c"}}).ok());
  random_source random{7};
  const controller core{{.partitions_max = 100}, test::counted_ids()};
  for (int i = 1; i < steps; ++i) {
    if (i == 1)
      EXPECT_TRUE(store.commit({node_registered{{self.node, -1, {"localhost", 9092}, ""}}}).ok());
    else
      EXPECT_TRUE(store.commit(test::random_step(random, core, store.image())).ok());
  }
  return store.image();
}

TEST(RaftTable, TakesOverTheMetadataOfASingleNodeOnce) {
  for (int steps : {1, 2, 5, 60}) {
    disk d;
    const auto before = fill_as_before(d, steps);
    d.commits = 0;
    auto table = opened(d);
    EXPECT_EQ(d.commits, 1);
    const auto stored = table->load().value();
    ASSERT_TRUE(stored.snapshot);
    EXPECT_EQ(stored.snapshot->index, raft_index{std::max<std::int64_t>(before.applied.value(), 1)});
    EXPECT_EQ(stored.snapshot->term, raft_term{1});
    EXPECT_EQ(stored.snapshot->members, (raft_members{{self, true}}));
    EXPECT_EQ(stored.hard, (raft_hard_state{raft_term{1}, {}, self.disk}));
    EXPECT_TRUE(stored.entries.empty());

    const auto records = decode_all_metadata_records(stored.snapshot->image).value();
    const auto image = metadata_image::restore(meta_offset{stored.snapshot->index.value()}, records);
    EXPECT_EQ(encode_all(image.snapshot()), encode_all(before.snapshot()));
    // Whatever is an offset in it lies below the entries to come.
    for (const auto& [id, node] : image.nodes) EXPECT_LE(node.node_epoch, stored.snapshot->index.value());
    for (const auto& [k, value] : d.all())
      EXPECT_NE(std::string{"iCHSP"}.find(static_cast<char>(k[0])), std::string::npos);

    // A second start finds a quorum's table, and leaves it as it is.
    const auto rows_now = d.all();
    expect_same(opened(d)->load().value(), stored);
    EXPECT_EQ(d.all(), rows_now);
    EXPECT_EQ(d.commits, 1);
  }
}

TEST(RaftTable, AMemberStartsFromWhatWasTakenOver) {
  disk d;
  const auto before = fill_as_before(d, 20);
  auto table = opened(d);
  instant now{};
  raft member{self, {}, table->load().value(), random_source{1}, now};
  std::uint64_t written = 0;
  std::optional<raft::leading> leads;
  for (int i = 0; i < 100 && !leads; ++i, now += std::chrono::milliseconds{50}) {
    auto todo = member.tick(now);
    for (std::size_t at = 0; at < todo.size(); ++at) {
      if (const auto* w = std::get_if<raft::write>(&todo[at])) {
        ASSERT_TRUE(table->write(std::span{w, 1}).ok());
        written = w->number;
        for (auto& more : member.written(now, written)) todo.push_back(std::move(more));
      } else if (const auto* l = std::get_if<raft::leading>(&todo[at])) {
        leads = *l;
      }
    }
  }
  ASSERT_TRUE(leads);
  EXPECT_GT(leads->index.value(), before.applied.value());
  EXPECT_EQ(opened(d)->load()->entries.size(), 1u);
}

TEST(RaftTable, ATableThatNothingWasEverWrittenToIsTakenOverAsANewOne) {
  disk d;
  fill_as_before(d, 0);
  auto table = opened(d);
  expect_same(table->load().value(), {});
}

TEST(RaftTable, DamagedMetadataIsNotTakenOver) {
  disk d;
  fill_as_before(d, 5);
  d.all().erase(std::next(d.all().begin(), 2));
  const auto rows_now = d.all();
  const auto e = trouble(d);
  EXPECT_EQ(e.code, errc::storage_damaged);
  EXPECT_EQ(d.all(), rows_now);
}

}  // namespace
}  // namespace troupe
