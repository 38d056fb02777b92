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
  epoch @1 :Int64;  # the offset of this record when it was first written
  kafkaHost @2 :Text;
  kafkaPort @3 :UInt16;
  rack @4 :Text;
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
