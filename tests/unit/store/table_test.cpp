#include "runtime/store/table.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

#include "runtime/base/random.hpp"
#include "tests/support/scratch.hpp"

namespace troupe::store {
namespace {

constexpr std::uint64_t map_bytes = 16 << 20;

std::vector<std::byte> bytes(std::string_view text) {
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

using rows = std::map<std::string, std::string>;

rows everything(const table& t) {
  rows found;
  auto ok = t.scan({}, {}, [&](byte_view key, byte_view value) {
    found.emplace(as_text(key), as_text(value));
    return true;
  });
  EXPECT_TRUE(ok.ok()) << ok.error().text;
  return found;
}

std::unique_ptr<table> open_table(const std::filesystem::path& directory) {
  auto opened = table::open(directory, map_bytes);
  EXPECT_TRUE(opened.ok()) << opened.error().text;
  return opened ? std::move(*opened) : nullptr;
}

/// Some commits of puts, overwrites and deletes, small and large; what should be there afterwards.
rows fill(table& t, random_source& chance, int commits) {
  rows model;
  for (int i = 0; i < commits; ++i) {
    std::vector<table::change> changes;
    for (auto n = chance.below(40) + 1; n > 0; --n) {
      auto key = "row/" + std::to_string(chance.below(400));
      if (chance.chance(0.3)) {
        changes.push_back({bytes(key), std::nullopt});
        model.erase(key);
      } else {
        std::string value(chance.chance(0.1) ? chance.below(20'000) : chance.below(200),
                          static_cast<char>('a' + chance.below(26)));
        changes.push_back({bytes(key), bytes(value)});
        model[key] = value;
      }
    }
    auto ok = t.commit(changes);
    EXPECT_TRUE(ok.ok()) << ok.error().text;
  }
  return model;
}

TEST(Table, RowsAreThereAfterReopening) {
  test::scratch_directory dir;
  random_source chance{1};
  rows model;
  {
    auto t = open_table(dir.path() / "t");
    model = fill(*t, chance, 50);
    EXPECT_EQ(everything(*t), model);
  }
  auto t = open_table(dir.path() / "t");
  EXPECT_EQ(everything(*t), model);
  EXPECT_EQ(as_text(*t->get(as_bytes(model.begin()->first)).value()), model.begin()->second);
  EXPECT_FALSE(t->get(as_bytes("nobody")).value());
}

TEST(Table, ScanIsHalfOpenAndStopsWhenAsked) {
  test::scratch_directory dir;
  auto t = open_table(dir.path() / "t");
  ASSERT_TRUE(
      t->commit(
           {{bytes("a"), bytes("1")}, {bytes("b"), bytes("2")}, {bytes("b1"), bytes("")}, {bytes("c"), bytes("4")}})
          .ok());
  std::string seen;
  auto note = [&](byte_view key, byte_view) {
    seen += std::string{as_text(key)} + ",";
    return seen.size() < 7;
  };
  ASSERT_TRUE(t->scan(as_bytes("b"), as_bytes("c"), note).ok());
  EXPECT_EQ(seen, "b,b1,");
  seen.clear();
  ASSERT_TRUE(t->scan({}, {}, note).ok());
  EXPECT_EQ(seen, "a,b,b1,");
}

TEST(Table, RefusesKeysItCannotStore) {
  test::scratch_directory dir;
  auto t = open_table(dir.path() / "t");
  EXPECT_EQ(t->commit({{{}, bytes("x")}}).code(), errc::invalid_request);
  EXPECT_EQ(t->commit({{bytes("kept out"), bytes("x")}, {bytes(std::string(501, 'k')), bytes("x")}}).code(),
            errc::invalid_request);
  EXPECT_TRUE(everything(*t).empty());
  EXPECT_TRUE(t->commit({{bytes(std::string(500, 'k')), bytes("x")}}).ok());
}

TEST(Table, AFullMapChangesNothingAndReadsGoOn) {
  test::scratch_directory dir;
  auto opened = table::open(dir.path() / "t", 1 << 20);
  ASSERT_TRUE(opened.ok());
  auto& t = **opened;
  rows model;
  errc refused{};
  for (int i = 0; i < 1000 && refused == errc{}; ++i) {
    const auto key = "k" + std::to_string(i);
    auto ok = t.commit({{bytes(key), bytes(std::string(9000, 'v'))}, {bytes(key + "/2"), bytes("2")}});
    if (ok) {
      model[key] = std::string(9000, 'v');
      model[key + "/2"] = "2";
    } else {
      refused = ok.code();
    }
  }
  EXPECT_EQ(refused, errc::storage_full);
  EXPECT_EQ(everything(t), model);
  // Deleting gives room again.
  ASSERT_TRUE(t.commit({{bytes("k0"), std::nullopt}, {bytes("k1"), std::nullopt}}).ok());
  ASSERT_TRUE(t.commit({{bytes("tiny"), bytes("x")}}).ok());
  EXPECT_TRUE(t.commit({{bytes("again"), bytes(std::string(9000, 'w'))}}).ok());
}

TEST(Table, TheSameDirectoryIsNotOpenedTwice) {
  test::scratch_directory dir;
  auto first = open_table(dir.path() / "t");
  EXPECT_EQ(table::open(dir.path() / "t", map_bytes).code(), errc::in_use);
  std::filesystem::create_directory_symlink(dir.path() / "t", dir.path() / "other");
  EXPECT_EQ(table::open(dir.path() / "other", map_bytes).code(), errc::in_use);
  first.reset();
  EXPECT_TRUE(table::open(dir.path() / "other", map_bytes).ok());
}

TEST(Table, ReadersSeeWholeCommitsWhileAWriterWrites) {
  test::scratch_directory dir;
  auto t = open_table(dir.path() / "t");
  ASSERT_TRUE(t->commit({{bytes("a"), bytes("0")}, {bytes("b"), bytes("0")}}).ok());
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    for (int i = 1; i <= 200; ++i) {
      const auto n = std::to_string(i);
      EXPECT_TRUE(t->commit({{bytes("a"), bytes(n)}, {bytes("b"), bytes(n)}}).ok());
    }
    done = true;
  }};
  rows seen;
  for (bool last = false; !last;) {
    last = done;
    seen = everything(*t);
    EXPECT_EQ(seen["a"], seen["b"]);
  }
  writer.join();
  EXPECT_EQ(seen["a"], "200");
}

TEST(Table, AMissingLockFileDoesNotMatterAMissingDataFileDoes) {
  test::scratch_directory dir;
  random_source chance{2};
  const auto model = fill(*open_table(dir.path() / "t"), chance, 5);
  std::filesystem::remove(dir.path() / "t" / "lock.mdb");
  EXPECT_EQ(everything(*open_table(dir.path() / "t")), model);
  std::filesystem::remove(dir.path() / "t" / "data.mdb");
  auto opened = table::open(dir.path() / "t", map_bytes);
  ASSERT_EQ(opened.code(), errc::storage_damaged);
  EXPECT_NE(opened.error().text.find("data.mdb"), std::string::npos);
}

TEST(Table, ALeftoverOfAnInterruptedCreationIsNoTable) {
  test::scratch_directory dir;
  std::filesystem::create_directories(dir.path() / "t" / "new");
  std::ofstream{dir.path() / "t" / "new" / "data.mdb"} << "half";
  auto t = open_table(dir.path() / "t");
  EXPECT_TRUE(everything(*t).empty());
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "t" / "new"));
}

/// What must hold for any damage: an error that names the file, or every row as it was.
void expect_named_or_harmless(const std::filesystem::path& directory, const rows& model, const std::string& damage) {
  auto opened = table::open(directory, map_bytes);
  if (!opened) {
    EXPECT_EQ(opened.code(), errc::storage_damaged) << damage << ": " << opened.error().text;
    EXPECT_NE(opened.error().text.find("data.mdb"), std::string::npos) << opened.error().text;
    return;
  }
  EXPECT_EQ(everything(**opened), model) << damage;
}

TEST(Table, FlippedBitsAreNamedOrHarmless) {
  test::scratch_directory dir;
  random_source chance{3};
  const auto model = fill(*open_table(dir.path() / "t"), chance, 60);
  const auto file = dir.path() / "t" / "data.mdb";
  const auto whole = test::read_file(file);
  for (int i = 0; i < 1500; ++i) {
    auto damaged = whole;
    std::string places;
    // A third in the meta pages and the headers of pages, which carry most of the structure in few bits.
    for (auto n = chance.chance(0.8) ? 1 : chance.below(8) + 2; n > 0; --n) {
      const auto pages = whole.size() / 4096;
      const auto at = i % 3 == 0   ? chance.below(2) * 4096 + chance.below(160)
                      : i % 3 == 1 ? chance.below(pages) * 4096 + chance.below(64)
                                   : chance.below(whole.size());
      damaged[at] ^= static_cast<char>(1 << chance.below(8));
      places += " byte " + std::to_string(at);
    }
    test::write_file(file, damaged);
    expect_named_or_harmless(dir.path() / "t", model, "flips at" + places);
  }
}

TEST(Table, ATruncatedFileIsNamed) {
  test::scratch_directory dir;
  random_source chance{4};
  const auto model = fill(*open_table(dir.path() / "t"), chance, 20);
  const auto file = dir.path() / "t" / "data.mdb";
  const auto whole = test::read_file(file);
  for (const auto size : {whole.size() / 2, whole.size() - 4096, whole.size() - 1, std::size_t{8192}, std::size_t{4096},
                          std::size_t{100}, std::size_t{0}}) {
    test::write_file(file, whole.substr(0, size));
    expect_named_or_harmless(dir.path() / "t", model, "cut to " + std::to_string(size));
  }
}

TEST(Table, EveryFlipInTheMetaPagesIsNamedOrHarmless) {
  test::scratch_directory dir;
  random_source chance{5};
  for (int commits = 1; commits <= 4; ++commits) {
    const auto name = dir.path() / std::to_string(commits);
    const auto model = fill(*open_table(name), chance, commits);
    const auto whole = test::read_file(name / "data.mdb");
    for (std::size_t at = 0; at < 2 * 4096; at += at % 4096 == 151 ? 4096 - 151 : 1) {
      for (int bit = 0; bit < 8; ++bit) {
        auto damaged = whole;
        damaged[at] ^= static_cast<char>(1 << bit);
        test::write_file(name / "data.mdb", damaged);
        expect_named_or_harmless(name, model, "bit " + std::to_string(bit) + " of byte " + std::to_string(at));
      }
    }
  }
}

}  // namespace
}  // namespace troupe::store
