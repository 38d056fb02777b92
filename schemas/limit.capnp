@0xd5c1f28e7a640b93;
# What is asked of a rate limiter, an entity of the kind `limit`, and what it says (actors/limit/limiter.hpp). README.md
# has the rules for changing this file.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

struct LimitRequest {
  count @0 :UInt32;   # so many …
  periodNs @1 :Int64; # … in this time
  burst @2 :UInt32;   # so many at once
  cost @3 :UInt32;
}

struct LimitAnswer {
  invalid @0 :Text;   # null: it was decided
  allowed @1 :Bool;
  remaining @2 :UInt32;
  retryAfterNs @3 :Int64;
  resetAfterNs @4 :Int64;
}
