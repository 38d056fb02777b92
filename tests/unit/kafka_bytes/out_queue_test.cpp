#include "apps/gateways/kafka/out_queue.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "runtime/base/random.hpp"

namespace troupe::kafka {
namespace {

/// A connected pair of sockets whose writing end does not block, and a file to send from.
class OutQueue : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ASSERT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    char name[] = "/tmp/troupe-out-queue-XXXXXX";
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    ::unlink(name);
    random_source random{7};
    for (auto& c : content) c = static_cast<char>(random());
    ASSERT_EQ(::write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    file = {new int{fd}, [](const int* p) {
              ::close(*p);
              delete p;
            }};
  }
  void TearDown() override {
    for (int end : ends)
      if (end >= 0) ::close(end);
  }
  store::slice in_file(std::uint64_t at, std::size_t size) {
    expected += content.substr(at, size);
    return {file, at, size, {}};
  }
  shared_bytes in_memory(std::size_t size) {
    const std::string text(size, static_cast<char>('a' + size % 26));
    expected += text;
    return shared_bytes::copy_of(as_bytes(text));
  }
  std::string read(std::size_t count) {
    std::string out(count, '\0');
    std::size_t have = 0;
    while (have < count) {
      const auto n = ::read(ends[1], out.data() + have, count - have);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    out.resize(have);
    return out;
  }

  int ends[2]{-1, -1};
  std::string content = std::string(2 << 20, '\0');
  std::shared_ptr<const int> file;
  std::string expected;
  out_queue queue;
};

TEST_F(OutQueue, SendsMemoryAndFilesInOrderHoweverLittleTheSocketTakes) {
  random_source random{3};
  for (int i = 0; i < 200; ++i) {
    if (random.chance(0.5))
      queue.push(in_memory(random.below(5000)));
    else {
      const auto at = random.below(content.size() - 70'000);
      queue.push(in_file(at, random.chance(0.5) ? random.below(2000) : random.below(70'000)));
    }
  }
  EXPECT_EQ(queue.bytes(), expected.size());
  std::string got;
  std::thread reader{[&] { got = read(expected.size()); }};
  std::uint64_t written = 0;
  for (;;) {
    const auto how = queue.write_to(ends[0], 1 << 20, written);
    ASSERT_NE(how, out_queue::progress::failed);
    if (how == out_queue::progress::drained) break;
    std::this_thread::yield();
  }
  reader.join();
  EXPECT_EQ(written, expected.size());
  EXPECT_TRUE(got == expected);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST_F(OutQueue, SaysWhenTheSocketTakesNoMoreAndWhenItsTurnIsOver) {
  for (int i = 0; i < 40; ++i) queue.push(in_memory(100'000));
  std::uint64_t written = 0;
  EXPECT_EQ(queue.write_to(ends[0], 1, written), out_queue::progress::yielded);
  EXPECT_GE(written, 1u);
  EXPECT_LT(written, expected.size());
  EXPECT_EQ(queue.write_to(ends[0], 1 << 30, written), out_queue::progress::blocked);
  EXPECT_EQ(queue.bytes(), expected.size() - written);
  EXPECT_EQ(read(written), expected.substr(0, written));
}

TEST_F(OutQueue, FailsWhenTheOtherEndIsGone) {
  ::close(std::exchange(ends[1], -1));
  queue.push(in_memory(10));
  std::uint64_t written = 0;
  EXPECT_EQ(queue.write_to(ends[0], 1 << 20, written), out_queue::progress::failed);
}

TEST_F(OutQueue, FailsWhenAFileIsShorterThanItsPiece) {
  for (const std::size_t size : {std::size_t{1000}, std::size_t{100'000}}) {
    queue.push(store::slice{file, content.size() - 10, size, {}});
    std::uint64_t written = 0;
    auto how = queue.write_to(ends[0], 1 << 20, written);
    for (int i = 0; i < 3 && how == out_queue::progress::yielded; ++i) how = queue.write_to(ends[0], 1 << 20, written);
    EXPECT_EQ(how, out_queue::progress::failed) << size;
    queue.clear();
  }
}

}  // namespace
}  // namespace troupe::kafka
