// The processes of a GPU's check. The child computes and says what it begins and what it found, a line each. The parent, which holds
// nothing on the GPU, knows by them what a child was at that crashed, hangs or was ended.
#include "cli/device_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "bench/report.h"
#include "cli/commands.h"
#include "io/descriptor.h"
#include "io/process.h"
#include "io/text.h"
#include "kernels/check.h"
#include "train/signals.h"

namespace temper {

constinit DeviceCheckSettings device_check_settings;

namespace {

using Clock = std::chrono::steady_clock;

// The lines, of fields with tabs between them.
constexpr const char* begins = "begin";  // an operation, or this:
constexpr const char* opening = "opening the GPU";
constexpr const char* found = "found";        // an operation, error, bound, seconds, what is wrong
constexpr const char* not_made = "not made";  // why

void say(const std::vector<std::string>& fields) {
  std::string line;
  for (std::string field : fields) {
    std::ranges::replace_if(
        field, [](unsigned char letter) { return letter < ' '; }, ' ');
    line += (line.empty() ? "" : "\t") + field;
  }
  write_output(line + "\n");
}

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream all(line);
  for (std::string field; std::getline(all, field, '\t');) fields.push_back(field);
  fields.resize(std::max<std::size_t>(fields.size(), 6));
  return fields;
}

/// The check could not be made, by no fault of the GPU.
struct NotChecked : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Child {
 public:
  Child(const GpuToCheck& gpu, const std::vector<std::string>& operations, const std::vector<Fast>& without) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw NotChecked(std::string("there is no pipe: ") + std::strerror(errno));
    from_ = Descriptor(ends[0]);
    const Descriptor to(ends[1]);
    Command command;
    command.words = {"/proc/self/exe", "doctor", "--gpu", std::to_string(gpu.number), "--precision", name_of(gpu.precision)};
    for (const Fast way : without) command.words.insert(command.words.end(), {"--without", std::to_string(static_cast<int>(way))});
    for (const std::string& each : operations) command.words.insert(command.words.end(), {"--operation", each});
    command.environment = environment();
    command.output = to.get();
    command.own_group = command.ends_with_us = true;
    command.called = "temper";
    try {
      process_ = start_program(command);
    } catch (const Error& error) {
      throw NotChecked(error.what());
    }
  }
  ~Child() {
    if (!end()) ::kill(-process_, SIGKILL);
    end(std::chrono::seconds(10));
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  enum class Heard : std::uint8_t { line, end, nothing };
  /// Its next line, if it comes in time.
  Heard next(std::string& line, std::chrono::milliseconds patience) {
    const auto deadline = Clock::now() + patience;
    while (true) {
      if (const std::size_t end = text_.find('\n'); end != text_.npos) {
        line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return Heard::line;
      }
      if (StopSignals::requested()) throw NotChecked(std::string("stopped by ") + StopSignals::name());
      if (Clock::now() >= deadline) return Heard::nothing;
      pollfd ready{from_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      std::array<char, 4096> piece;
      const ssize_t count = ::read(from_.get(), piece.data(), piece.size());
      if (count == 0) return Heard::end;
      if (count > 0) text_.append(piece.data(), static_cast<std::size_t>(count));
    }
  }

  /// How it has ended, if it does in time: the driver may hold a process for ever.
  std::optional<ProcessEnd> end(std::chrono::milliseconds patience = {}) {
    const auto deadline = Clock::now() + patience;
    try {
      while (!end_ && !(end_ = process_end(process_)) && Clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    } catch (const Error&) {  // somebody has had SIGCHLD ignored
      end_ = ProcessEnd{};
    }
    return end_;
  }

 private:
  Descriptor from_;
  std::string text_;
  pid_t process_ = -1;
  std::optional<ProcessEnd> end_;
};

std::string how_it_ended(const std::optional<ProcessEnd>& end) {
  if (!end) return "its process is gone, but does not end";
  if (end->signal == 0) return fmt::format("its process ended with exit code {}", end->exit_code);
  return fmt::format("crashed with signal {} ({})", end->signal, ::strsignal(end->signal));
}

bool is_from_outside(const std::optional<ProcessEnd>& end) {
  return end && (end->signal == SIGKILL || end->signal == SIGTERM || end->signal == SIGINT || end->signal == SIGHUP);
}

/// One child after another until all operations are done: each ends behind the first that is wrong, since nobody knows what state
/// the GPU is in then.
std::vector<OperationFinding> check_in_children(const GpuToCheck& gpu, const std::vector<std::string>& operations,
                                                const std::vector<Fast>& without) {
  const auto patience = device_check_settings.patience;
  std::vector<OperationFinding> findings;
  bool ended_from_outside = false;
  while (findings.size() < operations.size()) {
    Child child(gpu, {operations.begin() + static_cast<std::ptrdiff_t>(findings.size()), operations.end()}, without);
    std::string line, at = opening;
    Clock::time_point begin = Clock::now();
    Child::Heard heard;
    while ((heard = child.next(line, patience)) == Child::Heard::line) {
      const std::vector<std::string> fields = fields_of(line);
      if (fields[0] == not_made) throw NotChecked(fields[1]);
      if (fields[0] == begins) {
        at = fields[1];
        begin = Clock::now();
      } else if (fields[0] == found && fields[1] == at) {
        findings.push_back({at, fields[5], std::stod(fields[2]), std::stod(fields[3]), std::stod(fields[4])});
        at.clear();
      }
    }
    if (heard == Child::Heard::end && at.empty()) continue;
    std::string wrong = fmt::format("did not end within {:g} s", std::chrono::duration<double>(patience).count());
    if (heard == Child::Heard::end) {
      const std::optional<ProcessEnd> end = child.end(patience);
      wrong = how_it_ended(end);
      const bool is_no_fault = is_from_outside(end) || (at == opening && end && end->signal == 0);
      if (is_no_fault && ended_from_outside) throw NotChecked(wrong);
      ended_from_outside = is_no_fault;
      if (is_no_fault) continue;
    }
    if (at == opening)
      throw Error(ExitCode::unexpected, "device_check: {} {}; see what nvidia-smi says, or use device=cpu", at, wrong);
    findings.push_back({at, wrong, 0, 0, std::chrono::duration<double>(Clock::now() - begin).count()});
  }
  return findings;
}

CudaOptions options_for(const GpuToCheck& gpu, const std::vector<Fast>& without = {}) {
  CudaOptions options;
  options.without = without;
  options.tf32 = gpu.precision == Precision::tf32;
  options.device = gpu.number;
  return options;
}

/// What a check holds for.
struct Machine {
  DeviceInfo info;
  std::string key;

  explicit Machine(const GpuToCheck& gpu)
      : info(cuda_device(options_for(gpu))), key(gpu_check_key(info, nvidia_driver(), version_and_build)) {}
};

DeviceFindings check_now(const GpuToCheck& gpu, const std::vector<std::string>& operations, ChoiceCache& record) {
  DeviceFindings findings =
      check_device(operations, [&](const auto& names, const auto& without) { return check_in_children(gpu, names, without); });
  record_findings(record, gpu.precision, findings);
  return findings;
}

void refuse(const OperationFinding& wrong, const GpuToCheck& gpu, const DeviceInfo& info) {
  throw Error(
      ExitCode::unexpected,
      "device_check: {} goes wrong on {} ({}) with precision={}, and there is no other way to do it: {}; use device=cpu, or "
      "another driver. `temper doctor --check` checks again, scripts/gpu_check.sh looks closer, and device_check=off trains "
      "all the same",
      wrong.operation, info.name, info.features, name_of(gpu.precision), wrong.wrong);
}

std::string told(const std::pair<Fast, std::string>& way) {
  const FastWay& fast = fast_ways[static_cast<std::size_t>(way.first)];
  return fmt::format("{} is bad here, {} takes its plain way, which is slower: {}", fast.name, fast.operation, way.second);
}

/// Waits until no other process checks; they find the same. None where there is no folder to have a lock in.
Descriptor lock_of_checks() {
  const std::string path = cache_file("gpu_choices.lock");
  Descriptor lock = path.empty() ? Descriptor() : open_descriptor(path, O_RDWR | O_CREAT);
  while (lock && ::flock(lock.get(), LOCK_EX) != 0 && errno == EINTR) continue;
  return lock;
}

std::vector<std::string> all_of(DeviceUse use) {
  return device_check_settings.operations.empty() ? operations_of(use) : device_check_settings.operations;
}

}  // namespace

std::vector<Fast> bad_ways(const GpuToCheck& gpu, DeviceUse use, DeviceCheck check) {
  if (check == DeviceCheck::off) return {};
  const Machine machine(gpu);
  const bool always = check == DeviceCheck::always;
  const std::vector<std::string> operations = all_of(use);
  ChoiceCache record(choices_file(), machine.key);
  const auto missing = [&] { return always ? operations : recorded_findings(record, gpu.precision, operations).missing; };
  if (!missing().empty()) {
    const Descriptor lock = always ? Descriptor() : lock_of_checks();
    if (lock) record = ChoiceCache(choices_file(), machine.key);  // another process may have checked meanwhile
    try {
      if (const std::vector<std::string> names = missing(); !names.empty()) {
        tell(fmt::format("device_check: {} operations of {} are held against a reference, once for this driver and this temper",
                         names.size(), machine.info.name));
        check_now(gpu, names, record);
      }
    } catch (const NotChecked& why) {
      const std::string message = fmt::format("device_check: {} could not be checked: {}", machine.info.name, why.what());
      if (always) throw Error(ExitCode::unexpected, message + "; device_check=auto goes on all the same");
      tell("warning: " + message);
    }
  }
  const DeviceFindings findings = recorded_findings(record, gpu.precision, operations);
  if (const OperationFinding* wrong = findings.wrong()) refuse(*wrong, gpu, machine.info);
  if (gpu.number == 0)  // of several ranks one tells it
    for (const auto& way : findings.bad_ways) tell("device_check: " + told(way));
  return findings.without();
}

void check_gpu_now(const GpuToCheck& gpu) {
  const Machine machine(gpu);
  ChoiceCache record(choices_file(), machine.key);
  std::optional<OperationFinding> wrong;
  try {
    const DeviceFindings findings = check_now(gpu, all_of(DeviceUse::training), record);
    for (const OperationFinding& each : findings.operations)
      write_output(fmt::format(
          "{} {:<24} {:5}  {:6.2f} s  {}\n", name_of(gpu.precision), each.operation, each.wrong.empty() ? "right" : "BAD",
          each.seconds, each.wrong.empty() ? fmt::format("error {:.2g}, at most {:.2g}", each.error, each.bound) : each.wrong));
    for (const auto& way : findings.bad_ways) write_output(fmt::format("{} {}\n", name_of(gpu.precision), told(way)));
    if (const OperationFinding* first = findings.wrong()) wrong = *first;
  } catch (const NotChecked& why) {
    throw Error(ExitCode::unexpected, "--check: {} could not be checked: {}", machine.info.name, why.what());
  }
  if (wrong) refuse(*wrong, gpu, machine.info);
}

std::string known_of_gpu(std::int64_t number) {
  std::string text;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    const Machine machine({precision, number});
    ChoiceCache record(choices_file(), machine.key);
    const DeviceFindings findings = recorded_findings(record, precision, all_of(DeviceUse::training));
    std::string said =
        findings.missing.empty() ? "every operation is right" : "not checked yet; the first run does, or temper doctor --check";
    if (const OperationFinding* wrong = findings.wrong()) said = fmt::format("{} is bad: {}", wrong->operation, wrong->wrong);
    text += fmt::format("            precision {}: {}\n", name_of(precision), said);
    for (const auto& way : findings.bad_ways) text += "            " + told(way) + "\n";
  }
  return text;
}

void check_operations_here(const std::vector<std::string>& operations, const GpuToCheck& gpu, const std::vector<Fast>& without) {
  try {
    say({begins, opening});
    const std::unique_ptr<Ops> ops = make_cuda_ops(options_for(gpu, without));
    for (const std::string& name : operations) {
      say({begins, name});
      OperationFinding finding{name};
      try {
        finding = check_operation(name, gpu.precision, *ops, device_check_settings.most_work);
      } catch (const OutOfMemory&) {
        throw;  // others may have taken it all
      } catch (const std::exception& error) {
        finding.wrong = error.what();
      }
      say({found, name, fmt::format("{:.3g}", finding.error), fmt::format("{:.3g}", finding.bound),
           fmt::format("{:.3f}", finding.seconds), finding.wrong});
      if (!finding.wrong.empty()) break;
    }
    ::_exit(0);  // after an error nothing can be given back
  } catch (const std::exception& error) {
    say({not_made, error.what()});
  }
  ::_exit(0);
}

}  // namespace temper
