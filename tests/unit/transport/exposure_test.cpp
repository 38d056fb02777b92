#include <gtest/gtest.h>

#include "runtime/transport/transport.hpp"

namespace troupe {
namespace {

TEST(Exposure, WithoutTlsPeersStayWithinTheMachine) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "localhost", "::ffff:127.0.0.1"})
    EXPECT_TRUE(check_exposure({host, 9300}, false, false)) << host;
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "example.com", "::ffff:10.0.0.1", ""}) {
    EXPECT_FALSE(check_exposure({host, 9300}, false, false)) << host;
    EXPECT_TRUE(check_exposure({host, 9300}, true, false)) << host;
    EXPECT_TRUE(check_exposure({host, 9300}, false, true)) << host;
  }
}

TEST(Exposure, TheRefusalSaysWhatToDo) {
  const auto no = check_exposure({"0.0.0.0", 9300}, false, false);
  ASSERT_FALSE(no);
  EXPECT_EQ(no.code(), errc::invalid_request);
  for (const char* word : {"--cluster=0.0.0.0:9300", "--cluster-certificate", "--insecure"})
    EXPECT_NE(no.error().text.find(word), std::string::npos) << word;
}

}  // namespace
}  // namespace troupe
