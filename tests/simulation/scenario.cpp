#include "tests/simulation/scenario.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace troupe::sim {

namespace {

constexpr std::string_view indent = "    ";
constexpr std::size_t story_lines = 60;

bool blank_or_comment(std::string_view line) {
  return line.find_first_not_of(" \t") == line.npos || line.front() == '#';
}

}  // namespace

result<scenario> scenario::parse(std::string file, std::string_view text) {
  scenario s;
  s.file_ = std::move(file);
  std::istringstream all{std::string{text}};
  std::size_t number = 0;
  bool below_command = false;
  auto wrong = [&](std::string_view what) {
    return error{errc::invalid_request, s.file_ + ":" + std::to_string(number) + ": " + std::string{what}};
  };
  for (std::string line; std::getline(all, line);) {
    ++number;
    if (blank_or_comment(line)) {
      s.after_.push_back(line);
      below_command = false;
      continue;
    }
    if (line.starts_with(indent)) {
      if (!below_command) return wrong("expected output stands directly below its command");
      s.steps_.back().expected.push_back(line.substr(indent.size()));
      continue;
    }
    if (line.front() == ' ' || line.front() == '\t')
      return wrong("a command begins in the first column, and output is indented by four spaces");
    step next;
    next.line = number;
    next.before = std::exchange(s.after_, {});
    next.command = line;
    if (s.steps_.empty()) {
      words w{line, 0};
      s.set_ = read_cluster(w);
      next.what = [](stage& on) { return on.form(); };
      if (const auto complaint = w.finished()) return wrong(*complaint);
    } else {
      words w{line, s.set_.cluster.nodes};
      next.what = read_command(w);
      if (const auto complaint = w.finished()) return wrong(*complaint);
    }
    s.steps_.push_back(std::move(next));
    below_command = true;
  }
  if (s.steps_.empty()) return wrong("a scenario begins with 'cluster'");
  return s;
}

scenario::outcome scenario::play(const staging& how) const {
  auto set = set_;
  if (how.seed) set.cluster.seed = *how.seed;
  stage on{set};
  auto& ground = on.world().ground();
  const auto& violations = on.world().judge().violations();
  ground.on_line = how.told;
  outcome out;
  auto keep = [&](const std::vector<std::string>& all, std::string_view before) {
    for (const auto& line : all) out.text.append(before).append(line).append("\n");
  };
  for (const auto& now : steps_) {
    const auto found = violations.size();
    ground.tell("> " + now.command);
    auto actual = now.what(on);
    for (const auto& line : actual) ground.tell("> " + std::string{indent} + line);
    for (auto i = found; i < violations.size(); ++i) actual.push_back("VIOLATION " + violations[i]);
    if (actual != now.expected) out.differences.push_back({now.line, now.command, now.expected, actual});
    keep(now.before, "");
    keep({now.command}, "");
    keep(actual, indent);
  }
  keep(after_, "");
  out.violations = violations;
  out.fingerprint = ground.fingerprint();
  if (!out.ok()) {
    const auto& story = ground.story();
    const auto skipped = story.size() - std::min(story.size(), story_lines);
    for (auto i = skipped; i < story.size(); ++i) out.story += story[i] + "\n";
  }
  return out;
}

std::string complaint(const scenario& s, const scenario::outcome& out) {
  std::string text;
  for (const auto& d : out.differences) {
    text += s.file() + ":" + std::to_string(d.line) + ": " + d.command + "\n";
    auto of = [](const std::vector<std::string>& all, std::string_view mark) {
      std::string marked;
      for (const auto& line : all) marked.append(mark).append(line).append("\n");
      return marked.empty() ? std::string{mark} + "(nothing)\n" : marked;
    };
    text += of(d.expected, "  expected  ") + of(d.actual, "  actual    ");
  }
  for (const auto& v : out.violations) text += s.file() + ": violated: " + v + "\n";
  if (!text.empty()) text += "The last of the story:\n" + out.story;
  return text;
}

std::vector<std::string> scenarios_at(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator{path})
    if (entry.path().extension() == ".txt") all.push_back(entry.path().string());
  std::sort(all.begin(), all.end());
  return all;
}

result<std::string> read_text(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return {errc::system, file + " cannot be read"};
  return text.str();
}

result<void> write_text(const std::string& file, std::string_view text) {
  std::ofstream out{file, std::ios::binary | std::ios::trunc};
  out << text << std::flush;
  if (!out) return {errc::system, file + " cannot be written"};
  return {};
}

}  // namespace troupe::sim
