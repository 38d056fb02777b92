#include "apps/gateways/kafka/memory_budget.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace troupe::kafka {
namespace {

TEST(MemoryBudget, TellsOnceWhoWaitsWhenThereIsRoomAgain) {
  auto budget = std::make_shared<memory_budget>(800);
  int told = 0;
  budget->when_roomy([&] { ++told; });
  memory_lease first{budget}, second{budget};
  first.resize(700);
  second.resize(100);
  EXPECT_TRUE(budget->crowded());
  budget->wait_for_room();
  second.resize(50);
  EXPECT_EQ(told, 0);  // below the limit, but not by enough
  first.resize(600);
  EXPECT_EQ(told, 1);
  first.resize(0);
  EXPECT_EQ(told, 1);
}

TEST(MemoryBudget, TellsAtOnceWhenRoomCameBeforeTheWait) {
  memory_budget budget{800};
  int told = 0;
  budget.when_roomy([&] { ++told; });
  budget.wait_for_room();
  EXPECT_EQ(told, 1);
}

TEST(MemoryBudget, GivesTheOverdraftToOneAtATime) {
  memory_budget budget{100};
  int told = 0;
  budget.when_roomy([&] { ++told; });
  budget.take(100);
  EXPECT_TRUE(budget.try_overdraft());
  EXPECT_FALSE(budget.try_overdraft());
  budget.wait_for_room(true);
  EXPECT_EQ(told, 0);
  budget.return_overdraft();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(budget.try_overdraft());
}

TEST(MemoryBudget, AnOverdraftThatCameFreeBeforeTheWaitIsNotMissed) {
  memory_budget budget{100};
  int told = 0;
  budget.when_roomy([&] { ++told; });
  budget.take(100);
  EXPECT_TRUE(budget.try_overdraft());
  EXPECT_FALSE(budget.try_overdraft());  // somebody else is refused …
  budget.return_overdraft();             // … it is given back …
  budget.wait_for_room(true);            // … and only now the other one waits
  EXPECT_EQ(told, 1);
}

TEST(MemoryBudget, NeverLosesAByteAmongThreads) {
  auto budget = std::make_shared<memory_budget>(1000);
  std::atomic<int> told{0};
  budget->when_roomy([&] { ++told; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        memory_lease lease{budget};
        lease.resize(300);
        if (budget->crowded()) budget->wait_for_room();
        memory_lease more{budget};
        more.resize(100);
        lease.resize(500);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(budget->used(), 0u);
  budget->wait_for_room();
  EXPECT_GE(told.load(), 1);
}

}  // namespace
}  // namespace troupe::kafka
