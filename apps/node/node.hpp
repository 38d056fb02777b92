#pragma once

#include <memory>

#include "apps/node/options.hpp"
#include "runtime/base/result.hpp"

/// One node: everything that `main` starts, in the order in which it starts, and stops in the reverse.
///
/// Is       the wiring; it decides nothing. What it holds is listed in `node::state`, top to bottom.
/// Keeps    the lock of the data directory for as long as it lives.
/// Fails    at the start with one sentence for the operator; later, when a write or sync fails, by `fatal`: a node
/// whose disk
///          cannot be trusted must not go on answering (replication.md R10).
namespace troupe {

class node {
public:
  /// `fatal` is called at most once, from any thread, when the node has to end.
  static result<std::unique_ptr<node>> start(const node_options&, std::function<void(const error&)> fatal);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  /// What a person who started the node wants to read: addresses, where the data is, what to try.
  std::string banner() const;
  /// Not ready any more, no new work; answers what was asked, writes marks, syncs, closes. Once.
  void stop();

private:
  struct state;
  explicit node(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace troupe
