#include "apps/gateways/rest/limits.hpp"

#include <gtest/gtest.h>

namespace troupe::rest {
namespace {

using namespace std::chrono_literals;

TEST(Limits, ABodyMayLeaveOutAllButTheLimit) {
  const auto all = *limit_request(R"({"limit": 100, "period_ms": 60000, "burst": 20, "cost": 2})");
  EXPECT_EQ(all.by, (limit::rule{100, 60s, 20}));
  EXPECT_EQ(all.cost, 2u);
  const auto least = *limit_request(R"({"limit": 7})");
  EXPECT_EQ(least.by, (limit::rule{7, 1s, 7}));
  EXPECT_EQ(least.cost, 1u);
}

TEST(Limits, WrongBodiesAreNamed) {
  for (const auto* body :
       {"", "[]", "7", "{}", R"({"burst": 1})", R"({"limit": -1})", R"({"limit": 1.5})", R"({"limit": "1"})",
        R"({"limit": 4294967296})", R"({"limit": 0})", R"({"limit": 1, "period_ms": 0})", R"({"limit": 1, "more": 1})",
        R"({"limit": 1, "period_ms": 86400001})", R"({"limit": 1000001})"})
    EXPECT_EQ(limit_request(body).code(), errc::invalid_request) << body;
  EXPECT_NE(limit_request(R"({"limit": 1, "more": 1})").error().text.find("more"), std::string::npos);
}

TEST(Limits, TimesAreRoundedUpSoThatWhoComesBackThenIsAllowed) {
  const limit::request asked{{10, 1s, 5}, 1};
  const auto no = limit_answer(asked, {false, 0, 100'000'001ns, 500ms});
  EXPECT_EQ(no.status, 429u);
  EXPECT_EQ(no.body, R"({"allowed":false,"limit":10,"remaining":0,"reset_after_ms":500,"retry_after_ms":101})"
                     "\n");
  EXPECT_EQ(no.headers, (std::vector<std::pair<std::string, std::string>>{{"Retry-After", "1"}}));
  const auto yes = limit_answer(asked, {true, 4, 0ns, 100ms});
  EXPECT_EQ(yes.status, 200u);
  EXPECT_TRUE(yes.headers.empty());
}

}  // namespace
}  // namespace troupe::rest
