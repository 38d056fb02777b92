@0xc957bba1be911a6c;
# What the metadata quorum keeps and passes on (runtime/raft/messages.hpp). README.md has the rules for changing this
# file; docs/formats.md says which rows of a table these structs are.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");
using Uuid = import "metadata.capnp".Uuid;

struct RaftPeer {
  node @0 :Int32;
  disk @1 :Uuid;
}

struct RaftMember {
  peer @0 :RaftPeer;
  voter @1 :Bool;
}

struct RaftClient {
  id @0 :UInt64;
  born @1 :Int64;
}

struct RaftEntry {
  term @0 :Int64;
  index @1 :Int64;
  kind @2 :UInt8;              # 0 command, 1 no-op, 2 members
  client @3 :RaftClient;       # of a command, as the next
  sequence @4 :UInt64;
  members @5 :List(RaftMember);  # of members: sorted by node
  payload @6 :Data;            # of a command
}

struct RaftHardState {
  term @0 :Int64;
  votedFor @1 :RaftPeer;  # null: for nobody
  disk @2 :Uuid;
}

struct RaftSession {
  client @0 :RaftClient;
  sequence @1 :UInt64;
  used @2 :Int64;
}

struct RaftSessions {
  known @0 :List(RaftSession);  # sorted by client
  forgotten @1 :Int64;
}

# A snapshot but for its image.
struct RaftSnapshotHead {
  index @0 :Int64;
  term @1 :Int64;
  members @2 :List(RaftMember);
  sessions @3 :RaftSessions;
  imageBytes @4 :UInt64;
  imageCrc @5 :UInt32;  # CRC-32C
}

# Which rows there are: without it, nobody would miss the last entry, or a vote.
struct RaftRows {
  first @0 :Int64;          # entries [first, end)
  end @1 :Int64;
  snapshot @2 :Int64 = -1;  # its index; -1: there is none
  hard @3 :Bool;
  past @4 :Bool;
}

# What a node has to know of its former lives, before it can ask anybody.
struct NodePast {
  starts @0 :UInt64;           # of processes on this disk
  clusterId @1 :Text;          # empty: never in a cluster
  cleanEpoch @2 :Int64 = -1;   # node epoch of the life that ended in order; -1: the last one did not
  distrusted @3 :Bool;
  bootId @4 :Text;             # of the machine, when this was written; empty: not known
  claimedBy @5 :Text;          # a cluster that has this node as a member, though another was founded here; empty: none
}
