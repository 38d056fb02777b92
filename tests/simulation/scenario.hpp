#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.hpp"
#include "tests/simulation/stage.hpp"

/// A scenario is a story told as text, played on a simulated cluster: commands from column one on, and below each, four
/// spaces in, what has to come of it. Nothing below a command: it has nothing to say. `#` begins a comment.
///
///     # A silent leader is replaced once the controller and one other node miss it.
///     cluster nodes=3 seed=1
///         nodes 1,2,3 active; controller 1; voters 1,2,3
///     topic orders 2,3,1 min.insync.replicas=2
///     produce orders/0 10
///         stored [0, 10)
///     isolate 2
///     wait leader orders/0 = 3 within 3s
///     state orders/0
///         leader 3, epoch 1, isr 1,3
///     peace
///         quiet
///
/// N is a node (2), some (1,3), `all`, or `controller`: whoever it is then. P is a partition (orders/0), D a duration
/// (300ms, 11s, 2min, 1h, 10y). Ranges of offsets are half-open.
///
/// The cluster      cluster nodes=3 [running=1] [seed=1] [drift=9%] [trust-refused=off] [entities=on]    first of all;
///                  forms itself
/// Lives            start N    kill N    cut power N    stop N    pause N    resume N    new disk N
/// Network          isolate N [from N]    cut N -> N    heal [N]
///                  slow link N -> N 125kB/s    weather fair|[loss=5%] [repeat=10%] [late=20%] [late-max=700ms]
/// Letters          lose KIND [from N] [to N]    hold KIND [from N] [to N]    lose nothing    release [twice]
///                  KIND is a name in stage.cpp (alter_isr, heartbeat_answer, ...), or `raft`: all of raft's. What is
///                  held arrives when it is released, and from then on nothing is held.
/// Disks, clocks    slow disk N 1s..4s    fail sync N    fail write N [after 40%]    fill disk N [but 6000]
///                  free disk N    drift N +9%    wall N -1h
/// Requests         topic NAME REPLICAS... [setting=value]...    grow NAME REPLICAS...    config NAME setting=value...
///                  reassign P REPLICAS    cancel P    elect P    remove N    drain N    keep N (neither)
///                  want voters 5    vote N always|never|automatic
///                  They say nothing when they are granted.
/// Clients          produce P 10 [acks=1] [to=N] [within=D] [producer=7 sequence=0]
///                  send P 10 ... (the same, not waited for)    answers [within=D]
///                  read P [from=0] [at=N]    latest P [at=N]
///                  load (two producers, two consumers until `peace`, as in storms)
/// Entities         call KIND/KEY [times=5] [at=N] [within=D]    with entities=on, of the kinds in entity_shell.cpp
/// Time             tick D    wait QUERY = TEXT within D    wait QUERY != TEXT within D
/// Queries          leader P    isr P    elr P    replicas P    epoch P    state P    roles P    role N P    log N P
///                  end N P    watermark N P    setting NAME min.insync.replicas
///                  serving P (the leader by the newest metadata, if it knows and has a lease)
///                  node N    nodes    lease N    controller    voters    quorum    violations
///                  owner KIND/KEY    done KIND/KEY (calls that it has done, as its owner knows)
/// The end          peace: all faults end, every node runs, and within 30 s everything serves again (P5)
///
/// All checkers of the storms watch; what they find stands below the command during which it was found, and fails the
/// scenario whatever the text expects.
namespace troupe::sim {

class scenario {
public:
  /// Error invalid_request; its text begins with file and line.
  static result<scenario> parse(std::string file, std::string_view text);

  struct difference {
    std::size_t line{0};
    std::string command;
    std::vector<std::string> expected, actual;
  };
  struct outcome {
    std::vector<difference> differences;
    std::vector<std::string> violations;
    std::string text;   ///< the scenario, with what happened in place of what was expected
    std::string story;  ///< the last lines, if something was wrong
    std::uint64_t fingerprint{0};
    bool ok() const { return differences.empty() && violations.empty(); }
  };
  struct staging {
    std::function<void(const std::string&)> told{};  ///< gets each line of the story, the commands among them
    std::optional<std::uint64_t> seed{};             ///< another than the text's
  };
  outcome play(const staging&) const;
  outcome play() const { return play({}); }
  const std::string& file() const { return file_; }

private:
  struct step {
    std::size_t line{0};
    std::vector<std::string> before;  ///< comments and empty lines
    std::string command;
    std::vector<std::string> expected;
    action what;
  };
  std::string file_;
  stage_options set_;
  std::vector<step> steps_;
  std::vector<std::string> after_;
};

/// What was wrong, for a person; empty: nothing.
std::string complaint(const scenario&, const scenario::outcome&);

/// The scenarios in a folder, or the one file that `path` is; sorted.
std::vector<std::string> scenarios_at(const std::string& path);
/// Error system: it cannot be read.
result<std::string> read_text(const std::string& file);
result<void> write_text(const std::string& file, std::string_view);

}  // namespace troupe::sim
