#include "tests/simulation/entity_record.hpp"

#include "actors/partition/record_batch.hpp"
#include "runtime/base/check.hpp"
#include "tests/unit/partition/batches.hpp"

namespace troupe::sim {

namespace {

/// Numbers as eight bytes each, texts behind their length.
class writer {
public:
  void add(std::uint64_t x) { text_.append(reinterpret_cast<const char*>(&x), sizeof x); }
  void add(std::string_view text) {
    add(text.size());
    text_ += text;
  }
  void add(const entities::sender_id& s) {
    add(static_cast<std::uint64_t>(s.node.value()));
    add(static_cast<std::uint64_t>(s.node_epoch));
  }
  std::string take() { return std::move(text_); }

private:
  std::string text_;
};

class reader {
public:
  explicit reader(byte_view bytes) : rest_{bytes} {}
  std::uint64_t number() {
    const auto x = load_le<std::uint64_t>(rest_.data());
    rest_ = rest_.subspan(sizeof x);
    return x;
  }
  std::string_view text() {
    const auto size = number();
    const auto text = as_text(rest_.first(size));
    rest_ = rest_.subspan(size);
    return text;
  }
  entities::sender_id sender() {
    const node_id node{static_cast<std::int32_t>(number())};
    return {node, static_cast<std::int64_t>(number())};
  }

private:
  byte_view rest_;
};

std::int64_t varint(byte_view& from) {
  std::uint64_t raw = 0;
  for (int shift = 0;; shift += 7) {
    const auto b = std::to_integer<std::uint64_t>(from.front());
    from = from.subspan(1);
    raw |= (b & 0x7f) << shift;
    if (b < 0x80) break;
  }
  return static_cast<std::int64_t>(raw >> 1) ^ -static_cast<std::int64_t>(raw & 1);
}

/// Of the one record in a batch.
byte_view value_in(byte_view batch) {
  auto rest = batch.subspan(batch_header::header_bytes);
  varint(rest);                      // its length
  rest = rest.subspan(1);            // attributes
  varint(rest);                      // timestamp
  varint(rest);                      // offset
  TROUPE_CHECK(varint(rest) == -1);  // no key: the value has it
  const auto size = varint(rest);
  return rest.first(static_cast<std::size_t>(size));
}

}  // namespace

shared_bytes bytes_of(const std::vector<operation>& list) {
  return shared_bytes::copy_of(
      as_bytes(std::string_view{reinterpret_cast<const char*>(list.data()), list.size() * sizeof(operation)}));
}

std::vector<operation> operations_in(byte_view bytes) {
  std::vector<operation> out(bytes.size() / sizeof(operation));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = load_le<operation>(bytes.data() + i * sizeof(operation));
  return out;
}

std::vector<std::byte> batch_of(const entity_record& r) {
  writer w;
  w.add(r.key ? 1 : 0);
  if (r.key) {
    w.add(std::string_view{*r.key});
    w.add(as_text(bytes_of(r.state)));
    w.add(r.with.size());
    for (const auto& it : r.with) {
      w.add(it.sender);
      w.add(it.sequence);
      w.add(as_text(it.reply));
      w.add(it.settled ? 1 : 0);
    }
  } else {
    w.add(r.sender);
    w.add(r.settled);
  }
  testing_batches::test_batch b;
  b.records = {{.timestamp = 1'700'000'000'000, .key = std::nullopt, .value = w.take()}};
  return b.build();
}

void each_entity_record(byte_view batches, const std::function<void(const entity_record&)>& see) {
  while (batches.size() >= batch_header::header_bytes) {
    const auto size = batch_header{batches}.size();
    reader in{value_in(batches.first(size))};
    batches = batches.subspan(size);
    entity_record r;
    if (in.number() == 1) {
      r.key = in.text();
      r.state = operations_in(as_bytes(in.text()));
      for (auto left = in.number(); left > 0; --left) {
        auto& it = r.with.emplace_back();
        it.sender = in.sender();
        it.sequence = in.number();
        it.reply = shared_bytes::copy_of(as_bytes(in.text()));
        it.settled = in.number() == 1;
      }
    } else {
      r.sender = in.sender();
      r.settled = in.number();
    }
    see(r);
  }
}

}  // namespace troupe::sim
