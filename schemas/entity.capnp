@0xe27a1c6b09d4f358;
# What goes between the node that asks an entity and the node that owns it (runtime/entities/messages.hpp says what each
# message means). It travels in a NodeLetter. README.md has the rules for changing this file.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

struct EntityMessage {
  kind @0 :Text;  # of the shard
  shard @1 :UInt32;
  union {
    deliver @2 :EntityDeliver;
    reply @3 :EntityReply;
    moved @4 :EntityMoved;
    refused @5 :EntityRefused;
    handoverRequest @6 :Int32;  # epoch of the former owner
    handover @7 :ShardHandover;
  }
}

# One life of a node's router.
struct EntitySender {
  node @0 :Int32 = -1;
  epoch @1 :Int64 = -1;
}

struct EntityDeliver {
  epoch @0 :Int32 = -1;
  sender @1 :EntitySender;
  sequence @2 :UInt64;
  settled @3 :UInt64 = 1;
  key @4 :Text;
  payload @5 :Data;
}

struct EntityReply {
  sender @0 :EntitySender;
  sequence @1 :UInt64;
  payload @2 :Data;
}

struct EntityMoved {
  sender @0 :EntitySender;
  sequence @1 :UInt64;
  owner @2 :Int32 = -1;  # -1: nobody
  epoch @3 :Int32 = -1;
}

struct EntityRefused {
  sender @0 :EntitySender;
  sequence @1 :UInt64;
  why @2 :UInt16;  # as Error.code in peer.capnp
}

struct ShardHandover {
  epoch @0 :Int32 = -1;
  had @1 :ShardContents;  # null: nothing is left of it
}

struct ShardContents {
  entities @0 :List(EntityState);
  settled @1 :List(SettledSender);
  handled @2 :List(HandledMessage);
}

struct EntityState {
  key @0 :Text;
  state @1 :Data;  # as the kind writes it
}

struct SettledSender {
  sender @0 :EntitySender;
  below @1 :UInt64;
}

struct HandledMessage {
  key @0 :Text;
  sender @1 :EntitySender;
  sequence @2 :UInt64;
  reply @3 :Data;
  settled @4 :Bool;
}
