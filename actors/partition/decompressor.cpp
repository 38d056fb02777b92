#include "actors/partition/decompressor.hpp"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace troupe {

namespace {

constexpr std::size_t window_bytes = 64 << 10;
/// A context that grew beyond this (a zstd frame may ask for 128 MiB) is not kept for the next batch.
constexpr std::size_t kept_bytes_max = 16 << 20;

error damaged(std::string_view codec, std::string_view what) {
  return {errc::invalid_record,
          "the " + std::string{codec} + " data of the batch does not unpack: " + std::string{what}};
}

}  // namespace

std::string_view to_string(compression codec) noexcept {
  switch (codec) {
    case compression::none:
      return "none";
    case compression::gzip:
      return "gzip";
    case compression::snappy:
      return "snappy";
    case compression::lz4:
      return "lz4";
    case compression::zstd:
      return "zstd";
  }
  return "unknown";
}

/// Room for one piece, with `headroom` before it.
class decompressor::window {
public:
  explicit window(std::size_t size = 0) : bytes_(headroom + size) {}
  std::byte* data() noexcept { return bytes_.data() + headroom; }
  std::size_t size() const noexcept { return bytes_.size() - headroom; }
  void grow_to(std::size_t size) {
    if (size > this->size()) bytes_ = std::vector<std::byte>(headroom + size);
  }
  byte_span first(std::size_t count) noexcept { return {data(), count}; }

private:
  std::vector<std::byte> bytes_;
};

class decompressor::stream {
public:
  virtual ~stream() = default;
  virtual result<void> open(byte_view packed) = 0;
  /// The next piece; empty at the end. Never more than `left` + one window.
  virtual result<byte_span> next(std::uint64_t left) = 0;
  virtual std::size_t memory() const noexcept { return 0; }
};

class decompressor::gzip_stream final : public stream {
public:
  gzip_stream() : window_(window_bytes) {
    constexpr int gzip_only = 16 + MAX_WBITS;
    usable_ = ::inflateInit2(&z_, gzip_only) == Z_OK;
  }
  ~gzip_stream() override {
    if (usable_) ::inflateEnd(&z_);
  }

  result<void> open(byte_view packed) override {
    if (!usable_ || ::inflateReset(&z_) != Z_OK) return {errc::internal, "zlib has no memory"};
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
    z_.avail_in = static_cast<uInt>(packed.size());
    ended_ = false;
    return {};
  }

  result<byte_span> next(std::uint64_t) override {
    z_.next_out = reinterpret_cast<Bytef*>(window_.data());
    z_.avail_out = static_cast<uInt>(window_.size());
    while (z_.avail_out > 0 && !ended_) {
      const auto before = z_.avail_in + z_.avail_out;
      const int status = ::inflate(&z_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        // A gzip file may have several members; readers take them as one.
        ended_ = z_.avail_in == 0;
        if (!ended_ && ::inflateReset(&z_) != Z_OK) return damaged("gzip", "a further member");
      } else if (status != Z_OK || z_.avail_in + z_.avail_out == before) {
        return damaged("gzip", z_.msg != nullptr ? z_.msg : "it ends early");
      }
    }
    return window_.first(window_.size() - z_.avail_out);
  }

private:
  z_stream z_{};
  window window_;
  bool usable_{false}, ended_{false};
};

class decompressor::lz4_stream final : public stream {
public:
  lz4_stream() : window_(window_bytes) {
    if (::LZ4F_isError(::LZ4F_createDecompressionContext(&context_, LZ4F_VERSION)) != 0) context_ = nullptr;
  }
  ~lz4_stream() override { ::LZ4F_freeDecompressionContext(context_); }

  result<void> open(byte_view packed) override {
    if (context_ == nullptr) return {errc::internal, "lz4 has no memory"};
    ::LZ4F_resetDecompressionContext(context_);
    packed_ = packed;
    within_ = !packed.empty();
    return {};
  }

  result<byte_span> next(std::uint64_t) override {
    while (within_ || !packed_.empty()) {
      std::size_t in = packed_.size(), out = window_.size();
      const auto hint = ::LZ4F_decompress(context_, window_.data(), &out, packed_.data(), &in, nullptr);
      if (::LZ4F_isError(hint) != 0) return damaged("lz4", ::LZ4F_getErrorName(hint));
      packed_ = packed_.subspan(in);
      within_ = hint != 0;  // zero: a frame has ended; another may follow
      if (out > 0) return window_.first(out);
      if (in == 0 && within_) return damaged("lz4", "it ends early");
    }
    return byte_span{};
  }

private:
  ::LZ4F_dctx* context_{nullptr};
  window window_;
  byte_view packed_;
  bool within_{false};
};

class decompressor::zstd_stream final : public stream {
public:
  zstd_stream() : context_{::ZSTD_createDCtx()}, window_(window_bytes) {}
  ~zstd_stream() override { ::ZSTD_freeDCtx(context_); }

  result<void> open(byte_view packed) override {
    if (context_ == nullptr) return {errc::internal, "zstd has no memory"};
    ::ZSTD_DCtx_reset(context_, ZSTD_reset_session_only);
    packed_ = packed;
    within_ = !packed.empty();
    return {};
  }

  result<byte_span> next(std::uint64_t) override {
    while (within_ || !packed_.empty()) {
      ::ZSTD_inBuffer in{packed_.data(), packed_.size(), 0};
      ::ZSTD_outBuffer out{window_.data(), window_.size(), 0};
      const auto hint = ::ZSTD_decompressStream(context_, &out, &in);
      if (::ZSTD_isError(hint) != 0) return damaged("zstd", ::ZSTD_getErrorName(hint));
      packed_ = packed_.subspan(in.pos);
      within_ = hint != 0;
      if (out.pos > 0) return window_.first(out.pos);
      if (in.pos == 0 && within_) return damaged("zstd", "it ends early");
    }
    return byte_span{};
  }

  std::size_t memory() const noexcept override { return ::ZSTD_sizeof_DCtx(context_); }

private:
  ::ZSTD_DCtx* context_;
  window window_;
  byte_view packed_;
  bool within_{false};
};

/// Two forms: one raw block (librdkafka and most others), or the framing of Java's snappy library: eight magic bytes,
/// two versions (i32), then i32 length + raw block, repeated.
class decompressor::snappy_stream final : public stream {
public:
  result<void> open(byte_view packed) override {
    constexpr std::array<unsigned char, 8> magic{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
    constexpr std::size_t header = 16;
    framed_ = packed.size() >= header && std::memcmp(packed.data(), magic.data(), magic.size()) == 0;
    packed_ = framed_ ? packed.subspan(header) : packed;
    return {};
  }

  result<byte_span> next(std::uint64_t left) override {
    while (!packed_.empty()) {
      auto block = packed_;
      if (framed_) {
        if (packed_.size() < 4) return damaged("snappy", "it ends within a block's length");
        const auto size = load_be<std::int32_t>(packed_.data());
        if (size < 0 || static_cast<std::size_t>(size) > packed_.size() - 4)
          return damaged("snappy", "a block's length points beyond the end");
        block = packed_.subspan(4, static_cast<std::size_t>(size));
      }
      packed_ = packed_.subspan(static_cast<std::size_t>(block.data() + block.size() - packed_.data()));
      auto piece = unpack(as_text(block), left);
      if (!piece || !piece->empty()) return piece;
    }
    return byte_span{};
  }

  std::size_t memory() const noexcept override { return window_.size(); }

private:
  result<byte_span> unpack(std::string_view block, std::uint64_t left) {
    std::size_t size = 0;
    if (!::snappy::GetUncompressedLength(block.data(), block.size(), &size)) return damaged("snappy", "no length");
    // Three bytes of snappy yield at most 64: a greater claim is false, and nothing is allocated for it.
    if (size > left + window_bytes || size / 22 > block.size() + 1)
      return damaged("snappy", "it claims " + std::to_string(size) + " bytes");
    window_.grow_to(size);
    if (!::snappy::RawUncompress(block.data(), block.size(), reinterpret_cast<char*>(window_.data())))
      return damaged("snappy", "a block is damaged");
    return window_.first(size);
  }

  window window_;
  byte_view packed_;
  bool framed_{false};
};

decompressor::decompressor() = default;
decompressor::~decompressor() = default;

decompressor& decompressor::of_this_thread() {
  thread_local decompressor mine;
  return mine;
}

std::uint64_t decompressor::limit(std::size_t compressed) noexcept {
  return std::clamp<std::uint64_t>(ratio_max * compressed, output_always, output_max);
}

result<void> decompressor::open(compression codec, byte_view packed) {
  left_ = limit(packed.size());
  switch (codec) {
    case compression::gzip:
      return begin(gzip_, packed);
    case compression::snappy:
      return begin(snappy_, packed);
    case compression::lz4:
      return begin(lz4_, packed);
    case compression::zstd:
      return begin(zstd_, packed);
    case compression::none:
      break;
  }
  return {errc::internal, "not compressed"};
}

template <class Stream>
result<void> decompressor::begin(std::unique_ptr<Stream>& kept, byte_view packed) {
  if (!kept) kept = std::make_unique<Stream>();
  current_ = kept.get();
  return current_->open(packed);
}

result<byte_span> decompressor::next() {
  TROUPE_CHECK(current_ != nullptr);
  auto piece = current_->next(left_);
  if (!piece) return piece;
  if (piece->size() > left_)
    return {errc::invalid_record, "the batch unpacks to more than allowed (" + std::to_string(output_max >> 20) +
                                      " MiB, or " + std::to_string(ratio_max) + " times its size)"};
  left_ -= piece->size();
  return piece;
}

void decompressor::close() noexcept {
  if (current_ != nullptr && current_->memory() > kept_bytes_max) {
    zstd_.reset();
    snappy_.reset();
  }
  current_ = nullptr;
}

}  // namespace troupe
