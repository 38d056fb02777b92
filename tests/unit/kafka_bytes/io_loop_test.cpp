#include "apps/gateways/kafka/io_loop.hpp"

#include <gtest/gtest.h>

#include <future>

namespace troupe::kafka {
namespace {

using namespace std::chrono_literals;

struct numbered : letter {
  numbered(std::vector<int>& l, int n) : list{l}, number{n} {}
  void deliver() override { list.push_back(number); }
  std::vector<int>& list;
  int number;
};

class IoLoop : public testing::Test {
protected:
  void SetUp() override { loop->start(); }
  void TearDown() override { loop->finish(false); }
  /// Until all that was put or posted before is done.
  void settle() {
    std::promise<void> done;
    loop->post([&] { done.set_value(); });
    done.get_future().wait();
  }
  std::shared_ptr<io_loop> loop = std::make_shared<io_loop>();
};

TEST_F(IoLoop, DeliversEveryLetterInTheOrderOfItsSender) {
  constexpr int senders = 4, each = 5000;
  std::vector<std::vector<int>> seen(senders);
  std::vector<std::thread> threads;
  for (int s = 0; s < senders; ++s)
    threads.emplace_back([&, s] {
      for (int i = 0; i < each; ++i) loop->put(std::make_unique<numbered>(seen[static_cast<std::size_t>(s)], i));
    });
  for (auto& t : threads) t.join();
  settle();
  for (auto& list : seen) {
    ASSERT_EQ(list.size(), static_cast<std::size_t>(each));
    EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
  }
}

TEST_F(IoLoop, AnswersWithWhatIsLostWhenAnActorDropsTheQuestion) {
  std::promise<int> answered;
  {
    auto reply = reply_on<int>(loop, -1, [&](int n) { answered.set_value(n); });
  }
  EXPECT_EQ(answered.get_future().get(), -1);
}

TEST_F(IoLoop, BringsAnAnswerFromAnotherThread) {
  std::promise<int> answered;
  std::thread{[reply = reply_on<int>(loop, -1, [&](int n) { answered.set_value(n); })] { reply(42); }}.join();
  EXPECT_EQ(answered.get_future().get(), 42);
}

struct waiter : timed {
  void due() override { woken.set_value(); }
  std::promise<void> woken;
};

TEST_F(IoLoop, KeepsDeadlinesAndForgetsThoseThatAreCancelledOrGone) {
  auto cancelled = std::make_shared<waiter>(), kept = std::make_shared<waiter>();
  auto gone = std::make_shared<waiter>();
  loop->post([&] {
    auto first = loop->at(boot_clock::now() + 1ms, cancelled);
    loop->at(boot_clock::now() + 2ms, gone);
    loop->at(boot_clock::now() + 5ms, kept);
    loop->cancel(first);
    gone.reset();
  });
  kept->woken.get_future().wait();
  settle();
  EXPECT_EQ(cancelled->woken.get_future().wait_for(0s), std::future_status::timeout);
}

TEST(IoLoopEnd, DropsWhatComesAfterTheEnd) {
  auto loop = std::make_shared<io_loop>();
  loop->start();
  std::vector<int> seen;
  std::atomic<bool> stop{false};
  std::thread sender{[&] {
    while (!stop) loop->put(std::make_unique<numbered>(seen, 1));
  }};
  loop->finish(true);
  stop = true;
  sender.join();
  const auto before = seen.size();
  loop->put(std::make_unique<numbered>(seen, 1));
  EXPECT_EQ(seen.size(), before);
}

}  // namespace
}  // namespace troupe::kafka
