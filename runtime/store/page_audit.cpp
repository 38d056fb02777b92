#include "runtime/store/page_audit.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <optional>
#include <system_error>
#include <vector>

namespace troupe::store {

namespace {

// The file format of LMDB 0.9 (data version 1) on a 64-bit little-endian machine. Offsets within a page, a node, the
// record of a tree in a meta page.
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t page_header = 16;  // number u64, pad u16, flags u16, lower u16 and upper u16 (or run length u32)
constexpr std::size_t node_header = 8;   // data size or child page (lo u16, hi u16), flags u16, key size u16
constexpr std::size_t inline_node_max = 2038;  // larger nodes move their data to overflow pages
constexpr std::size_t key_max = 511;
constexpr std::uint64_t no_page = ~std::uint64_t{0};
constexpr unsigned depth_max = 32;  // LMDB's cursors have a stack of that size

constexpr std::uint16_t branch_page = 1, leaf_page = 2, overflow_page = 4, meta_page = 8;
constexpr std::uint16_t node_in_overflow = 1;
constexpr std::uint16_t integer_key_flag = 8, no_subdirectory_flag = 0x4000;
constexpr std::uint32_t magic_number = 0xBEEFC0DE;

struct tree {
  std::uint32_t pad;
  std::uint16_t flags, depth;
  std::uint64_t branch_pages, leaf_pages, overflow_pages, rows, root;
};
struct meta {
  std::uint64_t map_bytes;
  tree free, main;
  std::uint64_t last_page, transaction;
};

tree load_tree(const std::byte* at) {
  return {load_le<std::uint32_t>(at),      load_le<std::uint16_t>(at + 4),  load_le<std::uint16_t>(at + 6),
          load_le<std::uint64_t>(at + 8),  load_le<std::uint64_t>(at + 16), load_le<std::uint64_t>(at + 24),
          load_le<std::uint64_t>(at + 32), load_le<std::uint64_t>(at + 40)};
}

using page = std::array<std::byte, page_bytes>;

struct node {
  std::uint16_t flags;
  byte_view key, data;
  std::uint64_t child;        // in a branch: its page; with node_in_overflow: the first page of the data
  std::uint32_t value_bytes;  // in a leaf
};

/// Keys that a subtree may hold: from <= key < to.
struct bounds {
  std::optional<byte_view> from, to;
};

bool before(byte_view a, byte_view b, bool integers) {
  if (integers) return load_le<std::uint64_t>(a.data()) < load_le<std::uint64_t>(b.data());
  const int order = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  return order ? order < 0 : a.size() < b.size();
}

class auditor {
public:
  auditor(int fd, const std::string& name, const audit_options& options) : fd_{fd}, name_{name}, options_{options} {}

  result<page_audit> run() {
    if (measure() && read_metas() && walk_free_tree() && walk_main_tree() && check_tail()) return report_;
    return std::move(error_);
  }

private:
  using visit_row = std::function<bool(std::uint64_t page, const node&)>;
  struct walked {
    std::uint64_t branch_pages{0}, leaf_pages{0}, overflow_pages{0}, rows{0};
  };

  bool damaged(std::uint64_t number, const std::string& what) {
    error_ = {errc::storage_damaged, name_ + ": page " + std::to_string(number) + ": " + what};
    return false;
  }

  bool measure() {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return unreadable("fstat");
    file_bytes_ = static_cast<std::uint64_t>(info.st_size);
    if (file_bytes_ < 2 * page_bytes)
      return damaged(0, "the file has " + std::to_string(file_bytes_) + " bytes, too few for its two meta pages");
    return true;
  }

  bool unreadable(const char* call) {
    error_ = {errc::storage_failed, name_ + ": " + call + ": " + std::generic_category().message(errno)};
    return false;
  }

  bool read(std::uint64_t number, byte_span into) {
    std::size_t done = 0;
    while (done < into.size()) {
      const auto got =
          ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(number * page_bytes + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return unreadable("pread");
      if (got == 0) return damaged(number, "lies beyond the end of the file");
      done += static_cast<std::size_t>(got);
    }
    return true;
  }

  bool read_metas() {
    std::array<meta, 2> metas{};
    for (std::uint64_t i = 0; i < 2; ++i) {
      page raw;
      if (!read(i, raw)) return false;
      const auto* body = raw.data() + page_header;
      if (load_le<std::uint64_t>(raw.data()) != i) return damaged(i, "a meta page with another page's number");
      if (load_le<std::uint16_t>(raw.data() + 10) != meta_page) return damaged(i, "not a meta page");
      if (load_le<std::uint32_t>(body) != magic_number) return damaged(i, "no magic number of LMDB");
      if (load_le<std::uint32_t>(body + 4) != 1) return damaged(i, "not LMDB's data version 1");
      metas[i] = {load_le<std::uint64_t>(body + 16), load_tree(body + 24), load_tree(body + 72),
                  load_le<std::uint64_t>(body + 120), load_le<std::uint64_t>(body + 128)};
      const auto& m = metas[i];
      if (m.free.pad != page_bytes) return damaged(i, "the page size is not 4096");
      if ((m.free.flags & ~no_subdirectory_flag) != integer_key_flag) return damaged(i, "unknown environment flags");
      if (m.last_page < 1 || m.last_page >= options_.map_bytes / page_bytes)
        return damaged(i, "the last page, " + std::to_string(m.last_page) + ", lies outside the map");
      if (m.map_bytes <= m.last_page * page_bytes) return damaged(i, "the map is smaller than the pages in it");
    }
    const std::size_t newest = metas[0].transaction < metas[1].transaction;
    const auto transaction = metas[newest].transaction;
    // Transactions take turns, so a number that does not fit its neighbour is damage (or hides a newer snapshot).
    if (transaction > 0 && (transaction % 2 != newest || metas[1 - newest].transaction != transaction - 1))
      return damaged(newest, "transaction " + std::to_string(transaction) + " beside transaction " +
                                 std::to_string(metas[1 - newest].transaction));
    if (transaction == 0 && metas[1].transaction != 0) return damaged(1, "transactions out of turn");
    meta_number_ = options_.previous ? 1 - newest : newest;
    meta_ = metas[meta_number_];
    // The flags come with the first commit.
    const bool unwritten = meta_.transaction == 0 && meta_.main.flags == 0;
    if (meta_.main.flags != (options_.integer_keys ? integer_key_flag : 0) && !unwritten)
      return damaged(meta_number_, "unexpected flags of the main tree");
    newest_transaction_ = transaction;
    // After a failed write LMDB puts an older last page beside the newer trees of a previous snapshot.
    if (options_.previous)
      meta_.last_page =
          std::min(std::max(meta_.last_page, file_bytes_ / page_bytes - 1), options_.map_bytes / page_bytes - 1);
    report_ = {.meta_page = meta_number_,
               .transaction = meta_.transaction,
               .last_page = meta_.last_page,
               .rows = meta_.main.rows};
    used_.assign(meta_.last_page + 1, false);
    free_.assign(meta_.last_page + 1, false);
    return true;
  }

  bool walk_free_tree() {
    return walk_tree(meta_.free, true, [this](std::uint64_t at, const node& n) {
      const auto since = load_le<std::uint64_t>(n.key.data());
      if (since == 0 || since > newest_transaction_ + options_.previous)
        return damaged(at, "free pages of a transaction that never was");
      std::vector<std::byte> list;
      if (!load_value(at, n, list)) return false;
      if (list.size() < 8) return damaged(at, "a list of free pages without a length");
      const auto count = load_le<std::uint64_t>(list.data());
      if (count > list.size() / 8 - 1) return damaged(at, "a list of free pages longer than its value");
      auto above = no_page;
      for (std::uint64_t i = 1; i <= count; ++i) {
        const auto number = load_le<std::uint64_t>(list.data() + i * 8);
        if (number < 2 || number > meta_.last_page)
          return damaged(at, "page " + std::to_string(number) + " in a list of free pages does not exist");
        if (number >= above) return damaged(at, "a list of free pages is not in falling order");
        if (free_[number]) return damaged(at, "page " + std::to_string(number) + " is free twice");
        free_[number] = true;
        above = number;
        ++report_.pages_free;
      }
      return true;
    });
  }

  bool walk_main_tree() {
    return walk_tree(meta_.main, options_.integer_keys, [this](std::uint64_t at, const node& n) {
      if (!options_.row) return true;
      std::vector<std::byte> value;
      if (!load_value(at, n, value)) return false;
      auto accepted = options_.row(n.key, value);
      if (!accepted) error_ = accepted.error();
      return accepted.ok();
    });
  }

  bool walk_tree(const tree& t, bool integers, const visit_row& visit) {
    walked sums;
    if (t.root == no_page) {
      if (t.depth != 0) return damaged(meta_number_, "a tree with depth, but no root");
    } else {
      if (t.depth == 0 || t.depth > depth_max) return damaged(meta_number_, "a tree of impossible depth");
      if (!walk(t.root, t.depth, t.root, integers, {}, visit, sums)) return false;
    }
    if (sums.branch_pages != t.branch_pages || sums.leaf_pages != t.leaf_pages ||
        sums.overflow_pages != t.overflow_pages)
      return damaged(meta_number_, "counts other pages than its tree has");
    if (sums.rows != t.rows)
      return damaged(meta_number_,
                     "counts " + std::to_string(t.rows) + " rows, its tree has " + std::to_string(sums.rows));
    return true;
  }

  /// `levels` are left, this page included.
  bool walk(std::uint64_t number, unsigned levels, std::uint64_t root, bool integers, const bounds& within,
            const visit_row& visit, walked& sums) {
    page raw;
    if (!take(number, 1) || !read(number, raw)) return false;
    const bool leaf = levels == 1;
    if (load_le<std::uint64_t>(raw.data()) != number) return damaged(number, "carries another page's number");
    if (load_le<std::uint16_t>(raw.data() + 10) != (leaf ? leaf_page : branch_page))
      return damaged(number, leaf ? "not a leaf, where a leaf is due" : "not a branch, where a branch is due");
    std::vector<node> nodes;
    if (!parse(number, raw, leaf, nodes)) return false;
    // LMDB asserts two children, but not in its free tree, where it may leave one.
    if (nodes.empty() || (!leaf && nodes.size() < 2 && root != meta_.free.root))
      return damaged(number, "has too few nodes");
    if (!check_order(number, nodes, leaf, integers, within)) return false;

    ++(leaf ? sums.leaf_pages : sums.branch_pages);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto& n = nodes[i];
      if (leaf) {
        ++sums.rows;
        if ((n.flags & node_in_overflow) && !check_run(number, n, sums)) return false;
        if (!visit(number, n)) return false;
      } else {
        const bounds inner{i == 0 ? within.from : n.key,
                           i + 1 == nodes.size() ? within.to : std::optional{nodes[i + 1].key}};
        if (!walk(n.child, levels - 1, root, integers, inner, visit, sums)) return false;
      }
    }
    return true;
  }

  /// The nodes of a page in key order. They must fill [upper, end) exactly: LMDB moves them in bulk.
  bool parse(std::uint64_t number, const page& raw, bool leaf, std::vector<node>& nodes) {
    const std::size_t lower = load_le<std::uint16_t>(raw.data() + 12), upper = load_le<std::uint16_t>(raw.data() + 14);
    if (lower < page_header || lower % 2 || upper < lower || upper > page_bytes || upper % 2)
      return damaged(number, "impossible bounds of its free space");
    const std::size_t count = (lower - page_header) / 2;
    std::bitset<page_bytes / 2> covered;
    std::size_t covered_bytes = 0;
    nodes.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = load_le<std::uint16_t>(raw.data() + page_header + i * 2);
      if (at < upper || at % 2 || at + node_header > page_bytes)
        return damaged(number, "node " + std::to_string(i) + " lies outside the page");
      const auto* head = raw.data() + at;
      const std::uint64_t lo = load_le<std::uint16_t>(head), hi = load_le<std::uint16_t>(head + 2),
                          flags = load_le<std::uint16_t>(head + 4);
      const std::size_t key_bytes = load_le<std::uint16_t>(head + 6);
      const auto value_bytes = static_cast<std::uint32_t>(hi << 16 | lo);
      if (leaf && (flags & ~std::uint64_t{node_in_overflow}))
        return damaged(number, "node " + std::to_string(i) + " has unknown flags");
      const bool outside = leaf && (flags & node_in_overflow);
      const std::size_t data_bytes = !leaf ? 0 : outside ? 8 : value_bytes;
      if (key_bytes > key_max || (leaf && !outside && data_bytes > inline_node_max) ||
          at + node_header + key_bytes + data_bytes > page_bytes)
        return damaged(number, "node " + std::to_string(i) + " is larger than it may be");
      const std::size_t bytes = (node_header + key_bytes + data_bytes + 1) / 2 * 2;
      for (std::size_t k = at / 2; k < (at + bytes) / 2; ++k) {
        if (covered[k]) return damaged(number, "node " + std::to_string(i) + " overlaps another");
        covered.set(k);
      }
      covered_bytes += bytes;
      const byte_view key{head + node_header, key_bytes}, data{head + node_header + key_bytes, data_bytes};
      const auto child = !leaf ? flags << 32 | hi << 16 | lo : outside ? load_le<std::uint64_t>(data.data()) : no_page;
      nodes.push_back({static_cast<std::uint16_t>(leaf ? flags : 0), key, data, child, value_bytes});
    }
    if (covered_bytes != page_bytes - upper) return damaged(number, "gaps between its nodes");
    return true;
  }

  bool check_order(std::uint64_t number, const std::vector<node>& nodes, bool leaf, bool integers,
                   const bounds& within) {
    // The first key of a branch is not looked at by anyone: its child takes all that is smaller than the second.
    const std::size_t first = leaf ? 0 : 1;
    for (std::size_t i = first; i < nodes.size(); ++i) {
      const auto key = nodes[i].key;
      if (key.empty() || (integers && key.size() != 8))
        return damaged(number, "the key of node " + std::to_string(i) + " has an impossible size");
      const bool rising = i == first || before(nodes[i - 1].key, key, integers);
      if (!rising || (within.from && before(key, *within.from, integers)) ||
          (within.to && !before(key, *within.to, integers)))
        return damaged(number, "the key of node " + std::to_string(i) + " is out of order");
    }
    return true;
  }

  bool check_run(std::uint64_t leaf, const node& n, walked& sums) {
    std::array<std::byte, page_header> head;
    const std::uint64_t needed = (page_header - 1 + std::uint64_t{n.value_bytes}) / page_bytes + 1;
    if (n.child < 2 || n.child > meta_.last_page) return damaged(leaf, "names an overflow page that does not exist");
    if (!read(n.child, head)) return false;
    if (load_le<std::uint64_t>(head.data()) != n.child) return damaged(n.child, "carries another page's number");
    if (load_le<std::uint16_t>(head.data() + 10) != overflow_page)
      return damaged(n.child, "not an overflow page, where one is due");
    // A value that shrank within its transaction keeps its run, so the run may be longer.
    const std::uint64_t run = load_le<std::uint32_t>(head.data() + 12);
    if (run < needed) return damaged(n.child, "an overflow run too short for its value");
    sums.overflow_pages += run;
    return take(n.child, run);
  }

  bool take(std::uint64_t number, std::uint64_t run) {
    if (number < 2 || number > meta_.last_page || run > meta_.last_page - number + 1)
      return damaged(number, "does not exist, but is referred to");
    if ((number + run) * page_bytes > file_bytes_) return damaged(number, "reaches beyond the end of the file");
    for (auto i = number; i < number + run; ++i) {
      if (used_[i]) return damaged(i, "is referred to twice");
      used_[i] = true;
    }
    report_.pages_used += run;
    return true;
  }

  bool load_value(std::uint64_t at, const node& n, std::vector<std::byte>& value) {
    if (!(n.flags & node_in_overflow)) {
      value.assign(n.data.begin(), n.data.end());
      return true;
    }
    if (n.value_bytes > file_bytes_) return damaged(at, "a value larger than the file");
    value.resize(page_header + n.value_bytes);
    if (!read(n.child, value)) return false;
    value.erase(value.begin(), value.begin() + page_header);
    return true;
  }

  bool check_tail() {
    for (std::uint64_t i = 0; i <= meta_.last_page; ++i)
      if (used_[i] && free_[i]) return damaged(i, "is both free and in use");
    // LMDB does not write pages that are freed in the transaction that made them, so the file may end before its last
    // page; but then all that is missing is free.
    if (options_.previous) return true;
    for (std::uint64_t i = std::max<std::uint64_t>(2, file_bytes_ / page_bytes); i <= meta_.last_page; ++i)
      if (!free_[i])
        return damaged(i, "is missing: the file has " + std::to_string(file_bytes_) + " bytes, its last page is " +
                              std::to_string(meta_.last_page));
    return true;
  }

  int fd_;
  const std::string& name_;
  const audit_options& options_;
  std::uint64_t file_bytes_{0};
  meta meta_{};
  std::uint64_t meta_number_{0}, newest_transaction_{0};
  std::vector<bool> used_, free_;
  page_audit report_;
  error error_;
};

}  // namespace

result<page_audit> audit_pages(int fd, const std::string& name, const audit_options& options) {
  return auditor{fd, name, options}.run();
}

}  // namespace troupe::store
