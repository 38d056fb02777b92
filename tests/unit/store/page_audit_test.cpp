#include "runtime/store/page_audit.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <lmdb.h>
#include <unistd.h>

#include <map>

#include "runtime/base/random.hpp"
#include "tests/support/scratch.hpp"

// The audit beside LMDB itself: whatever LMDB wrote passes, and whatever passes LMDB can walk.

namespace troupe::store {
namespace {

constexpr std::uint64_t map_bytes = 64 << 20;

/// Opens what every environment here has: its unnamed tree.
MDB_dbi main_tree(MDB_txn* txn, unsigned flags = 0) {
  MDB_dbi dbi = 0;
  EXPECT_EQ(mdb_dbi_open(txn, nullptr, flags, &dbi), 0);
  return dbi;
}

void must(int code) {
  ASSERT_EQ(code, 0) << mdb_strerror(code);
}

struct environment {
  explicit environment(const std::filesystem::path& directory, unsigned flags) {
    must(mdb_env_create(&env));
    must(mdb_env_set_mapsize(env, map_bytes));
    must(mdb_env_open(env, directory.c_str(), MDB_NOTLS | flags, 0600));
  }
  ~environment() { mdb_env_close(env); }
  MDB_env* env{nullptr};
};

result<page_audit> audit(const std::filesystem::path& directory, const audit_options& options) {
  const auto file = directory / "data.mdb";
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  auto audited = audit_pages(fd, file.string(), options);
  ::close(fd);
  return audited;
}

TEST(PageAudit, AFreshFileIsSound) {
  test::scratch_directory dir;
  { environment e{dir.path(), 0}; }
  auto audited = audit(dir.path(), {.map_bytes = map_bytes});
  ASSERT_TRUE(audited.ok()) << audited.error().text;
  EXPECT_EQ(audited->transaction, 0u);
  EXPECT_EQ(audited->rows, 0u);
}

TEST(PageAudit, WhateverLmdbWritesIsSound) {
  for (const unsigned integer_keys : {0u, 1u}) {
    test::scratch_directory dir;
    random_source chance{7 + integer_keys};
    environment e{dir.path(), MDB_NOSYNC | MDB_NOMEMINIT};
    std::map<std::string, std::string> model;
    for (int round = 0; round < 400; ++round) {
      MDB_txn* txn = nullptr;
      must(mdb_txn_begin(e.env, nullptr, 0, &txn));
      const auto dbi = main_tree(txn, integer_keys ? MDB_INTEGERKEY : 0);
      auto changed = model;
      const bool shrink = round % 100 > 60;
      for (auto n = chance.below(round % 10 == 0 ? 600 : 20); n > 0; --n) {
        std::string key;
        if (integer_keys) {
          const std::uint64_t number = chance.below(3000);
          key.assign(reinterpret_cast<const char*>(&number), 8);
        } else {
          key = std::string(chance.below(8) == 0 ? 300 : 1, 'k') + std::to_string(chance.below(3000));
        }
        MDB_val k{key.size(), key.data()};
        if (chance.chance(shrink ? 0.8 : 0.3)) {
          const int code = mdb_del(txn, dbi, &k, nullptr);
          ASSERT_TRUE(code == 0 || code == MDB_NOTFOUND);
          changed.erase(key);
        } else {
          std::string value(chance.chance(0.1) ? chance.below(30'000) : chance.below(300), 'v');
          MDB_val v{value.size(), value.data()};
          must(mdb_put(txn, dbi, &k, &v, 0));
          changed[key] = value;
        }
      }
      if (chance.chance(0.1)) {
        mdb_txn_abort(txn);
      } else {
        must(mdb_txn_commit(txn));
        model = std::move(changed);
      }
      std::uint64_t seen = 0;
      auto audited = audit(dir.path(), {.map_bytes = map_bytes,
                                        .integer_keys = integer_keys != 0,
                                        .row = [&](byte_view key, byte_view value) -> result<void> {
                                          ++seen;
                                          EXPECT_EQ(model[std::string{as_text(key)}], as_text(value));
                                          return {};
                                        }});
      ASSERT_TRUE(audited.ok()) << "round " << round << ": " << audited.error().text;
      EXPECT_EQ(audited->rows, model.size());
      EXPECT_EQ(seen, model.size());
      EXPECT_EQ(audited->pages_used + audited->pages_free + 1, audited->last_page) << "round " << round;
    }
  }
}

TEST(PageAudit, WhatPassesLmdbCanWalkAndWrite) {
  test::scratch_directory dir;
  random_source chance{11};
  {
    environment e{dir.path(), MDB_NOSYNC};
    for (int round = 0; round < 30; ++round) {
      MDB_txn* txn = nullptr;
      must(mdb_txn_begin(e.env, nullptr, 0, &txn));
      const auto dbi = main_tree(txn);
      for (int i = 0; i < 60; ++i) {
        auto key = std::to_string(chance.below(2000));
        std::string value(chance.chance(0.1) ? 9000 : 40, 'v');
        MDB_val k{key.size(), key.data()}, v{value.size(), value.data()};
        must(mdb_put(txn, dbi, &k, &v, 0));
      }
      must(mdb_txn_commit(txn));
    }
  }
  const auto file = dir.path() / "data.mdb";
  const auto whole = test::read_file(file);
  int passed = 0;
  for (int i = 0; i < 400; ++i) {
    auto damaged = whole;
    for (auto n = chance.below(3) + 1; n > 0; --n) {
      const auto at = chance.chance(0.5) ? chance.below(whole.size())
                                         : chance.below(whole.size() / 4096) * 4096 + chance.below(300);
      damaged[at] ^= static_cast<char>(1 << chance.below(8));
    }
    test::write_file(file, damaged);
    auto audited = audit(dir.path(), {.map_bytes = map_bytes});
    if (!audited) {
      EXPECT_EQ(audited.code(), errc::storage_damaged);
      continue;
    }
    ++passed;
    environment e{dir.path(), MDB_NOSYNC};
    MDB_txn* txn = nullptr;
    must(mdb_txn_begin(e.env, nullptr, 0, &txn));
    MDB_cursor* cursor = nullptr;
    must(mdb_cursor_open(txn, main_tree(txn), &cursor));
    MDB_val k, v;
    std::uint64_t rows = 0;
    unsigned sum = 0;
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
      ++rows;
      for (auto b : byte_view{static_cast<const std::byte*>(v.mv_data), v.mv_size}) sum += std::to_integer<unsigned>(b);
      if (rows % 3 == 0) must(mdb_cursor_del(cursor, 0));
    }
    EXPECT_EQ(rows, audited->rows);
    EXPECT_NE(sum, 0u);
    mdb_cursor_close(cursor);
    must(mdb_txn_commit(txn));
    auto after = audit(dir.path(), {.map_bytes = map_bytes});
    EXPECT_TRUE(after.ok()) << after.error().text;
  }
  EXPECT_GT(passed, 50);
}

TEST(PageAudit, NoFileOfNonsenseHurts) {
  test::scratch_directory dir;
  random_source chance{13};
  { environment e{dir.path(), 0}; }
  const auto file = dir.path() / "data.mdb";
  const auto head = test::read_file(file);
  for (int i = 0; i < 300; ++i) {
    std::string content(chance.below(40'000), '\0');
    for (auto& c : content) c = static_cast<char>(chance());
    if (chance.chance(0.5)) content = head.substr(0, std::min(head.size(), content.size())) + content;
    test::write_file(file, content);
    auto audited = audit(dir.path(), {.map_bytes = map_bytes});
    if (!audited) {
      EXPECT_EQ(audited.code(), errc::storage_damaged) << audited.error().text;
    }
  }
}

}  // namespace
}  // namespace troupe::store
