@0xb3f7c1f2a9d04e61;
# The cluster's metadata: what every record of the metadata log says. README.md has the rules for changing this file.
#
# One record is one Cap'n Proto message with one segment, in the standard stream framing. The records in the order of
# their offsets give the image (actors/controller/image.hpp), on every node the same.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

struct MetadataRecord {
  union {
    clusterFormed @0 :ClusterFormed;
    nodeRegistered @1 :Node;
    topicCreated @2 :Topic;
    topicDeleted @3 :Uuid;
    partitionsAdded @4 :PartitionsAdded;
    topicConfigured @5 :TopicConfigured;
    producerIdsReserved @6 :Int64;  # ids below this one have been given away
    epochRetired @7 :EpochRetired;
    partitionsChanged @8 :List(PartitionChange);
    nodeChanged @9 :NodeChanged;
    shardsChanged @10 :ShardsChanged;
    votersWanted @11 :Int32;
    nodeOrdered @12 :NodeOrdered;
  }
}

# Sixteen bytes in network order: `high` has the first eight.
struct Uuid {
  high @0 :UInt64;
  low @1 :UInt64;
}

# Always the first record of a cluster.
struct ClusterFormed {
  clusterId @0 :Text;
}

struct Node {
  id @0 :Int32;
  epoch @1 :Int64;  # the offset of this record when it was first written; -1: it is being written now
  kafkaHost @2 :Text;
  kafkaPort @3 :UInt16;
  rack @4 :Text;
  peerHost @5 :Text;
  peerPort @6 :UInt16;
  disk @7 :Uuid;
  start @8 :UInt64;            # which start of the disk
  weight @9 :UInt16 = 1;
  state @10 :UInt8;            # 0 active, 1 fenced, 2 draining, 3 removed
  leaving @11 :Bool;
  unclean @12 :Bool;           # may have lost what it acknowledged
  since @13 :Int64 = -1;       # this and the next count in snapshots only
  lastTaken @14 :Int64 = -1;
  diskFull @15 :Bool;
}

struct NodeChanged {
  id @0 :Int32;
  state @1 :UInt8;     # as Node.state
  leaving @2 :Bool;
  diskFull @3 :UInt8;  # 0 as before, 1 no, 2 yes
}

# What the operator wants of a node, until the next such record or its removal. Snapshots have it behind the node.
struct NodeOrdered {
  id @0 :Int32;
  drained @1 :Bool;
  votes @2 :UInt8;  # 0 as the controller chooses, 1 always, 2 never
}

struct Replica {
  node @0 :Int32;
  addedAt @1 :Int64;
}

struct Partition {
  replicas @0 :List(Replica);
  isr @1 :List(Int32);
  leader @2 :Int32;  # -1: none
  leaderEpoch @3 :Int32;
  partitionEpoch @4 :Int64;
  adding @5 :List(Int32);
  removing @6 :List(Int32);
  elr @7 :List(Int32);
  lastKnownElr @8 :List(Int32);
  uncleanEpoch @9 :Int32 = -1;
  formerNode @10 :Int32 = -1;   # whose lease has to end before the leader handles messages of entities
  formerEpoch @11 :Int64 = -1;
}

# The partition as it is from now on. The changes of one topic stand together.
struct PartitionChange {
  topic @0 :Uuid;
  index @1 :Int32;
  state @2 :Partition;
}

struct Shard {
  owner @0 :Int32;  # -1: nobody
  epoch @1 :Int32;
  active @2 :Bool;
  formerNode @3 :Int32 = -1;  # whose lease has to end before it is active
  formerEpoch @4 :Int64 = -1;
  since @5 :Int64 = -1;       # counts in snapshots only
}

struct ShardChange {
  shard @0 :UInt32;
  state @1 :Shard;
}

struct ShardsChanged {
  kind @0 :Text;
  count @1 :UInt32;  # of all shards of the kind
  changes @2 :List(ShardChange);
}

struct Setting {
  name @0 :Text;
  value @1 :Text;
}

struct Topic {
  id @0 :Uuid;
  name @1 :Text;
  internal @2 :Bool;
  partitions @3 :List(Partition);  # in the order of their index
  overrides @4 :List(Setting);     # sorted by name
}

# Behind the partitions that the topic has.
struct PartitionsAdded {
  id @0 :Uuid;
  partitions @1 :List(Partition);
}

# The complete overrides from now on.
struct TopicConfigured {
  id @0 :Uuid;
  overrides @1 :List(Setting);
}

# Topics of this name start above `epoch`; an empty name: of any name. Only written into snapshots.
struct EpochRetired {
  name @0 :Text;
  epoch @1 :Int32;
}
