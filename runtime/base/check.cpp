#include "runtime/base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace troupe {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "E node invariant_broken condition=\"%s\" at=%s:%d\n", condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace troupe
