#include "actors/node/letter_codec.hpp"

#include "runtime/base/overloaded.hpp"
#include "runtime/raft/quorum_codec.hpp"

namespace troupe::schema {

// -- writing

void write(RaftMessage::Builder to, const raft_message& m) {
  write(to.initFrom(), m.from);
  write(to.initTo(), m.to);
  to.setTerm(m.term.value());
  auto body = to.initBody();
  std::visit(overloaded{
                 [&](const raft_pre_vote& r) {
                   auto out = body.initPreVote();
                   out.setLastIndex(r.last_index.value());
                   out.setLastTerm(r.last_term.value());
                 },
                 [&](const raft_pre_vote_reply& r) { body.setPreVoteReply(r.granted); },
                 [&](const raft_vote& r) {
                   auto out = body.initVote();
                   out.setLastIndex(r.last_index.value());
                   out.setLastTerm(r.last_term.value());
                   out.setHandedOver(r.handed_over);
                 },
                 [&](const raft_vote_reply& r) { body.setVoteReply(r.granted); },
                 [&](const raft_append& r) {
                   auto out = body.initAppend();
                   out.setPrevious(r.previous.value());
                   out.setPreviousTerm(r.previous_term.value());
                   out.setCommit(r.commit.value());
                   out.setRound(r.round);
                   write_list(out.initEntries(count_of(r.entries.size())), r.entries);
                 },
                 [&](const raft_append_reply& r) {
                   auto out = body.initAppendReply();
                   out.setAccepted(r.accepted);
                   out.setRound(r.round);
                   out.setMatch(r.match.value());
                   out.setPrevious(r.previous.value());
                   out.setHint(r.hint.value());
                   out.setHintTerm(r.hint_term.value());
                 },
                 [&](const raft_install& r) {
                   auto out = body.initInstall();
                   out.setIndex(r.index.value());
                   out.setSnapshotTerm(r.snapshot_term.value());
                   out.setRound(r.round);
                   out.setOffset(r.offset);
                   out.setSize(r.size);
                   if (!r.piece.empty()) out.setPiece(data_of(r.piece));
                   if (!r.members.empty()) write(out.initMembers(count_of(r.members.size())), r.members);
                   if (r.sessions != raft_sessions{}) write(out.initSessions(), r.sessions);
                 },
                 [&](const raft_install_reply& r) {
                   auto out = body.initInstallReply();
                   out.setIndex(r.index.value());
                   out.setRound(r.round);
                   out.setReceived(r.received);
                 },
                 [&](const raft_hand_over&) { body.setHandOver(); },
             },
             m.body);
}

// -- reading

namespace {

decltype(raft_message::body) read(frame_reader& in, RaftMessage::Body::Reader from) {
  using body = RaftMessage::Body;
  switch (from.which()) {
    case body::PRE_VOTE: {
      in.entered("raft pre-vote");
      const auto r = from.getPreVote();
      return raft_pre_vote{raft_index{r.getLastIndex()}, raft_term{r.getLastTerm()}};
    }
    case body::PRE_VOTE_REPLY:
      return raft_pre_vote_reply{from.getPreVoteReply()};
    case body::VOTE: {
      in.entered("raft vote");
      const auto r = from.getVote();
      return raft_vote{raft_index{r.getLastIndex()}, raft_term{r.getLastTerm()}, r.getHandedOver()};
    }
    case body::VOTE_REPLY:
      return raft_vote_reply{from.getVoteReply()};
    case body::APPEND: {
      in.entered("raft append");
      const auto r = from.getAppend();
      return raft_append{raft_index{r.getPrevious()}, raft_term{r.getPreviousTerm()}, raft_index{r.getCommit()},
                         r.getRound(),
                         in.list("entries", r.getEntries(), [&](RaftEntry::Reader e) { return read(in, e); })};
    }
    case body::APPEND_REPLY: {
      in.entered("raft append reply");
      const auto r = from.getAppendReply();
      return raft_append_reply{r.getAccepted(),          r.getRound(),
                               raft_index{r.getMatch()}, raft_index{r.getPrevious()},
                               raft_index{r.getHint()},  raft_term{r.getHintTerm()}};
    }
    case body::INSTALL: {
      in.entered("raft install");
      const auto r = from.getInstall();
      return raft_install{raft_index{r.getIndex()},
                          raft_term{r.getSnapshotTerm()},
                          r.getRound(),
                          r.getOffset(),
                          r.getSize(),
                          in.slice("piece", r.getPiece()),
                          read(in, r.getMembers()),
                          read(in, r.getSessions())};
    }
    case body::INSTALL_REPLY: {
      in.entered("raft install reply");
      const auto r = from.getInstallReply();
      return raft_install_reply{raft_index{r.getIndex()}, r.getRound(), r.getReceived()};
    }
    case body::HAND_OVER:
      return raft_hand_over{};
  }
  in.unknown("kind", static_cast<unsigned>(from.which()));
  return {};
}

}  // namespace

raft_message read(frame_reader& in, RaftMessage::Reader from) {
  in.entered("raft message");
  raft_message m{read(from.getFrom()), read(from.getTo()), raft_term{from.getTerm()}, {}};
  m.body = read(in, from.getBody());
  return m;
}

}  // namespace troupe::schema
