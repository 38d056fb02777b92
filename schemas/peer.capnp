@0xc881677e3e876e3f;
# What the nodes of a cluster say to each other (actors/node/node_letter.hpp and what it includes say what each message
# means). README.md has the rules for changing this file.
#
# One letter is one Cap'n Proto message with one segment, in the standard stream framing.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");
using Metadata = import "metadata.capnp";
using Quorum = import "quorum.capnp";
using Entity = import "entity.capnp";
using Uuid = Metadata.Uuid;

struct NodeLetter {
  clusterId @0 :Text;
  from @1 :Life;
  body :union {
    raft @2 :RaftMessage;
    registration @3 :Registration;
    registrationAnswer @4 :RegistrationAnswer;
    heartbeat @5 :Heartbeat;
    heartbeatAnswer @6 :HeartbeatAnswer;
    relayed @7 :Heartbeat;
    relayedAnswer @8 :RelayedAnswer;
    farewell @9 :Life;
    alterIsr @10 :AlterIsr;
    alterIsrAnswer @11 :AlterIsrAnswer;
    logEnds @12 :LogEnds;
    shardReleased @13 :ShardReleased;
    releaseOrder @14 :ReleaseOrder;
    controllerRequest @15 :ControllerRequest;
    controllerReply @16 :ControllerReply;
    membership @17 :Membership;
    replicaFetch @18 :ReplicaFetch;
    replicaAnswer @19 :ReplicaAnswer;
    entity @20 :Entity.EntityMessage;
  }
}

struct Life {
  node @0 :Int32 = -1;
  epoch @1 :Int64 = -1;
}

struct Endpoint {
  host @0 :Text;
  port @1 :UInt16;
}

struct PartitionRef {
  topic @0 :Uuid;
  index @1 :Int32;
}

# Where an optional error is null, there was none. Numbers of runtime/base/errc.hpp; one that the reader does not know
# is `internal` to it.
struct Error {
  code @0 :UInt16;
  text @1 :Text;
}

# -- the quorum ---------------------------------------------------------------------------------------------------

struct RaftMessage {
  from @0 :Quorum.RaftPeer;
  to @1 :Quorum.RaftPeer;
  term @2 :Int64;
  body :union {
    preVote @3 :RaftVote;
    preVoteReply @4 :Bool;  # granted
    vote @5 :RaftVote;
    voteReply @6 :Bool;     # granted
    append @7 :RaftAppend;
    appendReply @8 :RaftAppendReply;
    install @9 :RaftInstall;
    installReply @10 :RaftInstallReply;
    handOver @11 :Void;
  }
}

struct RaftVote {
  lastIndex @0 :Int64;
  lastTerm @1 :Int64;
  handedOver @2 :Bool;  # of a vote
}

struct RaftAppend {
  previous @0 :Int64;
  previousTerm @1 :Int64;
  commit @2 :Int64;
  round @3 :UInt64;
  entries @4 :List(Quorum.RaftEntry);
}

struct RaftAppendReply {
  accepted @0 :Bool;
  round @1 :UInt64;
  match @2 :Int64;
  previous @3 :Int64;
  hint @4 :Int64;
  hintTerm @5 :Int64;
}

struct RaftInstall {
  index @0 :Int64;
  snapshotTerm @1 :Int64;
  round @2 :UInt64;
  offset @3 :UInt64;
  size @4 :UInt64;
  piece @5 :Data;
  members @6 :List(Quorum.RaftMember);
  sessions @7 :Quorum.RaftSessions;
}

struct RaftInstallReply {
  index @0 :Int64;
  round @1 :UInt64;
  received @2 :UInt64;
}

# -- a node and the controller ------------------------------------------------------------------------------------

struct Registration {
  clusterId @0 :Text;
  node @1 :Int32;
  disk @2 :Uuid;
  start @3 :UInt64;
  clean @4 :Bool;
  damaged @5 :List(PartitionRef);
  kafka @6 :Endpoint;
  peer @7 :Endpoint;
  rack @8 :Text;
  weight @9 :UInt16 = 1;
}

struct RegistrationAnswer {
  verdict @0 :UInt8;  # 0 accepted, 1 later, 2 wrong cluster, 3 superseded, 4 invalid
  start @1 :UInt64;
  nodeEpoch @2 :Int64 = -1;
  clusterId @3 :Text;
  controller @4 :Int32 = -1;
  disk @5 :Uuid;
}

struct Suspicion {
  subject @0 :Life;
  cause @1 :UInt8;  # 0 no lease, 1 silent, 2 gone
  ageMs @2 :Int64;
}

struct Heartbeat {
  from @0 :Life;
  applied @1 :Int64;
  sentNs @2 :Int64;  # on the sender's clock
  ready @3 :Bool;
  wantsToStop @4 :Bool;
  suspicions @5 :List(Suspicion);
  unreachable @6 :List(Life);
  diskFull @7 :Bool;
  wallMs @8 :Int64 = -9223372036854775808;  # since 1970, by the sender's wall clock; the default: not told
}

struct HeartbeatAnswer {
  to @0 :Life;
  sentNs @1 :Int64;  # as asked
  granted @2 :Bool;
  state @3 :UInt8;   # as Node.state in metadata.capnp
  mayStop @4 :Bool;
  fromController @5 :Bool;
  clocks @6 :UInt8;  # 0 unknown, 1 alone, 2 agreed, 3 disputed
  wallMs @7 :Int64;  # agreed: the time of day, since 1970
  applied @8 :Int64 = -1;  # the controller's metadata when it answered
}

struct RelayedAnswer {
  asker @0 :Int32;
  answer @1 :HeartbeatAnswer;
}

struct AlterIsr {
  partition @0 :PartitionRef;
  leader @1 :Life;
  leaderEpoch @2 :Int32;
  partitionEpoch @3 :Int64;
  isr @4 :List(Life);  # sorted by node
}

struct AlterIsrAnswer {
  partition @0 :PartitionRef;
  leaderEpoch @1 :Int32;
  partitionEpoch @2 :Int64;
  outcome @3 :UInt8;  # 0 accepted, 1 ineligible replica, 2 stale, 3 invalid, 4 later
  state @4 :Metadata.Partition;
}

struct LogEnd {
  partition @0 :PartitionRef;
  lastEpoch @1 :Int32 = -1;
  end @2 :Int64;
}

struct LogEnds {
  from @0 :Life;
  ends @1 :List(LogEnd);
}

struct ShardReleased {
  from @0 :Life;
  kind @1 :Text;
  shard @2 :UInt32;
  epoch @3 :Int32;
}

struct ReleaseOrder {
  kind @0 :Text;
  shard @1 :UInt32;
  epoch @2 :Int32;
}

# -- what a node asks of the controller -----------------------------------------------------------------------------

struct ControllerRequest {
  id @0 :UInt64;
  what :union {
    createTopics @1 :CreateTopics;
    deleteTopics @2 :List(DeletedTopic);
    createPartitions @3 :CreatePartitions;
    alterConfigs @4 :AlterConfigs;
    reserveProducerIds @5 :Int64;  # so many
    reassign @6 :List(Reassignment);
    electPreferred @7 :List(PartitionRef);
    removeNode @8 :RemoveNode;
    wantVoterCount @9 :Int32;
    drainNode @10 :Int32;
    setVoting @11 :SetVoting;
    electUncleanly @12 :List(PartitionRef);
  }
}

# The nodes of one partition.
struct NodeList {
  nodes @0 :List(Int32);
}

struct NewTopic {
  name @0 :Text;
  partitions @1 :Int32 = -1;
  replication @2 :Int16 = -1;
  assignments @3 :List(NodeList);
  overrides @4 :List(Metadata.Setting);  # sorted by name
}

struct CreateTopics {
  topics @0 :List(NewTopic);
  validateOnly @1 :Bool;
}

struct DeletedTopic {
  name @0 :Text;
  id @1 :Uuid;
}

struct Growth {
  name @0 :Text;
  count @1 :Int32;
  assignments @2 :List(NodeList);  # null: the controller chooses
}

struct CreatePartitions {
  topics @0 :List(Growth);
  validateOnly @1 :Bool;
}

struct SettingChange {
  name @0 :Text;
  operation @1 :UInt8;  # 0 set, 1 remove, 2 append, 3 subtract
  value @2 :Text;       # null: none
}

struct Reconfiguration {
  name @0 :Text;
  changes @1 :List(SettingChange);
  replaceAll @2 :Bool;
}

struct AlterConfigs {
  topics @0 :List(Reconfiguration);
  validateOnly @1 :Bool;
}

struct Reassignment {
  partition @0 :PartitionRef;
  target @1 :List(Int32);  # null: cancel
}

struct RemoveNode {
  node @0 :Int32;
  undo @1 :Bool;
}

struct SetVoting {
  node @0 :Int32;
  how @1 :UInt8;  # as NodeOrdered.votes in metadata.capnp
}

struct Decision {
  name @0 :Text;
  refused @1 :Error;  # null: done
  now @2 :Data;       # a MetadataRecord, topicCreated, of the topic as it is afterwards; null: none
}

struct ItemOutcome {
  refused @0 :Error;  # null: done
}

struct ControllerReply {
  id @0 :UInt64;
  applied @1 :Int64 = -1;
  decisions @2 :List(Decision);
  hasFirst @3 :Bool;
  first @4 :Int64;
  items @5 :List(ItemOutcome);
  failed @6 :Error;  # null: it was decided
}

# -- who is alive ---------------------------------------------------------------------------------------------------

struct Rumour {
  subject @0 :Life;
  incarnation @1 :UInt32;
  suspected @2 :Bool;
}

struct Membership {
  from @0 :Life;
  subject @1 :Life;  # of all but gossip; of a probe: whom it is to
  sequence @2 :UInt64;
  rumours @3 :List(Rumour);
  kind :union {
    probe @4 :Void;
    ack @5 :Ack;
    probeRequest @6 :Void;
    nack @7 :Void;
    gossip @8 :Void;
  }
}

struct Ack {
  incarnation @0 :UInt32;
  withoutLeaseMs @1 :Int64;
}

# -- the replicas of a partition --------------------------------------------------------------------------------------

struct Seat {
  partition @0 :PartitionRef;
  addedAt @1 :Int64;
}

struct ReplicaFetch {
  seat @0 :Seat;
  epoch @1 :Int32;
  id @2 :UInt64;
  offset @3 :Int64;
  lastEpoch @4 :Int32 = -1;
  watermark @5 :Int64;
  bytesMax @6 :UInt64;
}

struct ReplicaAnswer {
  seat @0 :Seat;
  epoch @1 :Int32;
  id @2 :UInt64;
  offset @3 :Int64;
  what :union {
    records @4 :ReplicaRecords;
    divergence @5 :Divergence;
    restart @6 :Int64;   # start
    refusal @7 :UInt16;  # as Error.code
  }
}

struct ReplicaRecords {
  watermark @0 :Int64;
  start @1 :Int64;
  runs @2 :List(Data);
}

struct Divergence {
  epoch @0 :Int32;
  end @1 :Int64;
}
